#define _GNU_SOURCE
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/mount.h, which musl comes without. */
struct mount_attributes {
  uint64_t set, clear, propagation, userns_fd;
};
enum { READ_ONLY = 1, NO_DEVICES = 4, CLONE_TREE = 1, CLOSE_ON_EXEC = O_CLOEXEC, WHOLE = 0x8000, FROM_ITSELF = 4 };
enum { CALL_OPEN_TREE = 428, CALL_MOVE_MOUNT = 429, CALL_MOUNT_SETATTR = 442 };

const char *tree_failed = "";

static int fail(const char *what) {
  tree_failed = what;
  return -1;
}

/* A copy of what is mounted at a path; with all below it where `depth` is WHOLE. */
static int copy_tree(const char *path, int depth) {
  return syscall(CALL_OPEN_TREE, AT_FDCWD, path, CLONE_TREE | CLOSE_ON_EXEC | depth);
}

static int restrict_tree(int tree, int depth, uint64_t attributes) {
  struct mount_attributes wanted = {.set = attributes};
  return syscall(CALL_MOUNT_SETATTR, tree, "", AT_EMPTY_PATH | depth, &wanted, sizeof wanted);
}

static int put_tree(int tree, const char *path) {
  int result = syscall(CALL_MOVE_MOUNT, tree, "", AT_FDCWD, path, FROM_ITSELF);
  close(tree);
  return result;
}

static int bind_file(const char *source, const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return -1;
  close(fd);
  return mount(source, path, NULL, MS_BIND, NULL);
}

static int make_devices(const char *console) {
  static const char *const names[] = {"null", "zero", "full", "random", "urandom", "tty"};
  if (mount("dev", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=1m") < 0) return fail("/dev");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char source[32], path[32];
    snprintf(source, sizeof source, "/dev/%s", names[i]);
    snprintf(path, sizeof path, "dev/%s", names[i]);
    if (bind_file(source, path) < 0) return fail(names[i]);
  }
  if (bind_file(console, "dev/console") < 0) return fail("/dev/console");
  mkdir("dev/pts", 0755);
  mkdir("dev/shm", 0755);
  if (mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,mode=0620,ptmxmode=0666") < 0)
    return fail("/dev/pts");
  if (symlink("pts/ptmx", "dev/ptmx") < 0) return fail("/dev/ptmx");
  if (mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") < 0) return fail("/dev/shm");
  return 0;
}

int tree_make(const char *dir, int with_lower, const char *console) {
  static const char *const directories[] = {"lodge",          "lodge/host", "lodge/read-only", "lodge/lower",
                                            "lodge/own",      "dev",        "proc",            "sys",
                                            "run"};
  /* What is mounted on the host later does not come here, and nothing of here goes there. */
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return fail("mounts of one's own");
  int host = copy_tree("/", WHOLE), read_only = copy_tree("/", WHOLE), lower = -1;
  if (host < 0 || read_only < 0) return fail("a copy of the host's mounts (Linux 5.12 and newer)");
  if (restrict_tree(host, WHOLE, NO_DEVICES) < 0 || restrict_tree(read_only, WHOLE, NO_DEVICES | READ_ONLY) < 0)
    return fail("the host's files without devices (Linux 5.12 and newer)");
  if (with_lower) {
    lower = copy_tree("/", 0);
    if (lower < 0 || restrict_tree(lower, 0, NO_DEVICES | READ_ONLY) < 0) return fail("the host's root alone");
  }
  if (mount("lodge", dir, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") < 0 || chdir(dir) < 0) return fail(dir);
  for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
    if (mkdir(directories[i], 0755) < 0) return fail(directories[i]);
  if (put_tree(host, "lodge/host") < 0 || put_tree(read_only, "lodge/read-only") < 0) return fail("the host's files");
  if (with_lower && put_tree(lower, "lodge/lower") < 0) return fail("the host's root");
  if (mount("run", "run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") < 0) return fail("/run");
  return make_devices(console);
}

int tree_mount_kernel(void) {
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) return fail("/proc");
  /* Without it a guest does not see its interfaces there, and nothing else is missing. */
  if (mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) < 0 && errno != EPERM)
    return fail("/sys");
  return 0;
}

/* Read-only for a directory; nothing at all for a file that could be written, or that not everybody may read. */
static int guard(const char *path) {
  struct stat st;
  if (lstat(path, &st) < 0) return errno == ENOENT ? 0 : -1;
  if (S_ISREG(st.st_mode) && (st.st_mode & 0222) == 0 && (st.st_mode & 0444) == 0444) return 0;
  if (S_ISREG(st.st_mode)) return mount("dev/null", path, NULL, MS_BIND, NULL);
  if (!S_ISDIR(st.st_mode)) return 0;
  int tree = copy_tree(path, WHOLE);
  if (tree < 0 || restrict_tree(tree, WHOLE, READ_ONLY) < 0) return -1;
  return put_tree(tree, path);
}

int tree_guard_kernel(void) {
  int network = copy_tree("proc/sys/net", 0);
  if (network < 0) return fail("/proc/sys/net");
  DIR *all = opendir("proc");
  if (!all) return fail("/proc");
  for (struct dirent *entry; (entry = readdir(all)) != NULL;) {
    char path[PATH_MAX];
    const char *name = entry->d_name;
    if (name[0] == '.' || (name[0] >= '0' && name[0] <= '9')) continue;
    snprintf(path, sizeof path, "proc/%s", name);
    if (guard(path) < 0) return fail("/proc, without what is the kernel's");
  }
  closedir(all);
  return put_tree(network, "proc/sys/net") < 0 ? fail("/proc/sys/net") : 0;
}

int tree_enter(void) {
  /* The old root lands on the new one, and is let go of there. */
  if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0) return fail("the root");
  return 0;
}
