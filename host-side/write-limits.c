/*
 * A mount namespace in which a program can write only where it may.
 *
 * The writable trees are set aside as detached copies, everything is made read-only at once, and the copies are put
 * back where they were. All of it is in the mounts of this namespace: the host's own stay as they are, and what others
 * have open there does not matter. In a user namespace these mounts are locked together, so that not even a namespace
 * made inside makes them writable again.
 *
 * What the host mounts later (automounts above all) still comes in, so that paths work as on the host; such mounts
 * are not read-only.
 *
 * Read-only mounts say nothing about devices, sockets and pipes: those open as their modes allow.
 *
 * Needs open_tree and move_mount (Linux 5.2) and mount_setattr (Linux 5.12).
 */
#define _GNU_SOURCE
#include "write-limits.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/mount.h> and <linux/fcntl.h>, which musl does not bring. */
enum { OPEN_TREE_CLONE_FLAG = 1, AT_RECURSIVE_FLAG = 0x8000, MOVE_FROM_EMPTY_PATH = 4, ATTR_RDONLY = 1 };

struct mount_attributes {
  uint64_t set, clear, propagation, user_namespace;
};

enum { MOST_TREES = 256 };

/* As large as /dev/shm, where such a program's memory would be otherwise; the kernel's default where there is none. */
static int mount_scratch(const char *path) {
  char options[64] = "mode=700";
  struct statvfs shared;
  if (statvfs("/dev/shm", &shared) == 0 && shared.f_blocks > 0)
    snprintf(options, sizeof options, "mode=700,size=%llu", (unsigned long long)shared.f_blocks * shared.f_frsize);
  return mount("scratch", path, "tmpfs", MS_NOSUID | MS_NODEV, options);
}

int limit_writes(char *const *writable, int count, const char *scratch) {
  int trees[MOST_TREES];
  if (count > MOST_TREES) {
    errno = E2BIG;
    return -1;
  }
  if (unshare(CLONE_NEWNS) < 0) return -1;
  /* Nothing done here reaches the host; what the host does still comes here. */
  if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) return -1;
  for (int i = 0; i < count; i++) {
    trees[i] = syscall(SYS_open_tree, AT_FDCWD, writable[i], OPEN_TREE_CLONE_FLAG | AT_RECURSIVE_FLAG | O_CLOEXEC);
    if (trees[i] < 0) return -1;
  }
  struct mount_attributes read_only = {.set = ATTR_RDONLY};
  if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE_FLAG, &read_only, sizeof read_only) < 0) return -1;
  for (int i = 0; i < count; i++) {
    if (syscall(SYS_move_mount, trees[i], "", AT_FDCWD, writable[i], MOVE_FROM_EMPTY_PATH) < 0) return -1;
    close(trees[i]);
  }
  if (mount_scratch(scratch) < 0) return -1;
  /* The current directory is still on the mount that was there before. */
  char here[4096];
  return getcwd(here, sizeof here) == NULL || chdir(here) < 0 ? -1 : 0;
}
