/*
 * The tree that a guest of namespaces starts in, in the place of an initramfs:
 *
 *   /lodge/host       the host's files with all that is mounted in them
 *   /lodge/read-only  the same, and nothing can be written
 *   /lodge/lower      the host's root file system alone, read-only (not in a user's namespaces, which forbid it)
 *   /dev /proc /run   its own; /sys too, read-only, where the kernel allows it
 *
 * No device of the host but the harmless ones works anywhere in it. All these give 0, or -1 with errno and, in
 * tree_failed, what could not be done.
 */
#pragma once

extern const char *tree_failed;

/* Makes it at a directory, which it hides, and goes there; the caller has a mount namespace of its own. */
int tree_make(const char *dir, int with_lower, const char *console);

/* Mounts /proc for the PID namespace, and /sys for the network namespace, of the caller. */
int tree_mount_kernel(void);

/*
 * Takes from /proc what is the host kernel's: of a guest whose root is the host's, only that it is not there, or can
 * not be written, keeps the host as it is. The network's own settings stay.
 */
int tree_guard_kernel(void);

/* Makes it the root. Nothing else of the host can be reached any more. */
int tree_enter(void);
