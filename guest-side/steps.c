/* CONFIGURE: the steps a host makes a guest ready with. And READ. */
#include "steps.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* <linux/random.h>, which musl does not bring. */
#define ADD_ENTROPY _IOW('R', 0x03, int[2])

enum { MAX_ARGUMENTS = 5, STEP_RETRY_MS = 10 };

int make_directories(const char *path, mode_t mode) {
  char part[PATH_MAX];
  struct stat st;
  size_t length = strlen(path);
  if (length == 0) return ENOENT;
  if (length >= sizeof part) return ENAMETOOLONG;
  memcpy(part, path, length + 1);
  for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    /* A read-only or foreign parent says something else than EEXIST, even when it is there. */
    if (stat(part, &st) < 0 && mkdir(part, 0755) < 0 && errno != EEXIST) return errno;
    *slash = '/';
  }
  if (stat(part, &st) == 0) return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
  return mkdir(part, mode) < 0 ? errno : 0;
}

int read_number(const char *text, int base, uint64_t limit, uint64_t *number) {
  char *end;
  errno = 0;
  *number = strtoull(text, &end, base);
  return text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0 || *number > limit ? EINVAL : 0;
}

static int step_module(char **arguments) {
  int fd = open(arguments[0], O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = syscall(SYS_finit_module, fd, arguments[1], 0) < 0 && errno != EEXIST ? errno : 0;
  close(fd);
  return error;
}

static int step_mkdir(char **arguments) {
  uint64_t mode;
  if (read_number(arguments[1], 8, 07777, &mode) != 0) return EINVAL;
  return make_directories(arguments[0], (mode_t)mode);
}

static int read_flags(const char *text, unsigned long *flags) {
  static const struct {
    const char *name;
    unsigned long flag;
  } names[] = {{"ro", MS_RDONLY},     {"nosuid", MS_NOSUID},   {"nodev", MS_NODEV},
               {"noexec", MS_NOEXEC}, {"noatime", MS_NOATIME}, {"bind", MS_BIND},
               {"rec", MS_REC},       {"remount", MS_REMOUNT}, {"move", MS_MOVE}};
  *flags = 0;
  while (*text != 0) {
    size_t length = strcspn(text, ","), i = 0;
    while (i < 9 && (strlen(names[i].name) != length || memcmp(names[i].name, text, length) != 0)) i++;
    if (i == 9 && length > 0) return EINVAL;
    if (i < 9) *flags |= names[i].flag;
    text += length + (text[length] == ',');
  }
  return 0;
}

static int make_target(const char *path, const char *bound) {
  struct stat st;
  if (stat(path, &st) == 0) return 0;
  if (bound == NULL || stat(bound, &st) < 0 || S_ISDIR(st.st_mode)) return make_directories(path, 0755);
  /* What a file is bound over must be a file. */
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

static int step_mount(char **arguments) {
  unsigned long flags;
  const char *data = arguments[4][0] != 0 ? arguments[4] : NULL;
  int error = read_flags(arguments[3], &flags);
  if (error == 0) error = make_target(arguments[1], (flags & (MS_BIND | MS_MOVE)) != 0 ? arguments[0] : NULL);
  if (error != 0) return error;
  if (mount(arguments[0], arguments[1], arguments[2], flags, data) < 0) return errno;
  /* A bind takes no other flags at first. */
  unsigned long others = flags & ~(unsigned long)(MS_BIND | MS_REC);
  if ((flags & (MS_BIND | MS_REMOUNT)) != MS_BIND || others == 0) return 0;
  /* What it came with stays: where the mount is another namespace's, nothing else is allowed. */
  struct statvfs kept;
  if (statvfs(arguments[1], &kept) < 0) return errno;
  others |= kept.f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
  return mount(NULL, arguments[1], NULL, MS_REMOUNT | MS_BIND | others, NULL) < 0 ? errno : 0;
}

static int step_unmount(char **arguments) {
  return umount2(arguments[0], MNT_DETACH) < 0 ? errno : 0;
}

/*
 * Gives back the memory of what only the agent's start needed. Of the old root nothing else may be touched: the
 * host's file systems can be mounted in there, and a part of the new root can stand on it.
 */
static void forget_start(int old) {
  struct stat root, modules;
  int fd = openat(old, "lodge/modules", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  unlinkat(old, "lodge/modules.order", 0);
  unlinkat(old, "init", 0);
  if (fd < 0) return;
  DIR *dir = NULL;
  if (fstat(old, &root) == 0 && fstat(fd, &modules) == 0 && root.st_dev == modules.st_dev) dir = fdopendir(fd);
  if (dir == NULL) {
    close(fd);
    return;
  }
  /* Files only: a directory makes this fail. */
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) unlinkat(fd, entry->d_name, 0);
  closedir(dir);
}

/* Namespaces: the old root stays at /run/start, and can be unmounted. What came with the namespace can't be moved. */
static int change_root(const char *root) {
  static const char start[] = "run/start";
  if (chdir(root) < 0) return errno;
  int error = make_directories(start, 0700);
  if (error != 0) return error;
  if (syscall(SYS_pivot_root, ".", start) < 0 || chdir("/") < 0) return errno;
  return 0;
}

static int step_release(char **arguments) {
  return umount2(arguments[0], UMOUNT_NOFOLLOW) < 0 ? errno : 0;
}

static int step_root(char **arguments) {
  static const char *const moved[] = {"/dev", "/proc", "/sys", "/run"};
  unsigned long how = in_namespaces ? MS_BIND | MS_REC : MS_MOVE;
  for (size_t i = 0; i < 4; i++) {
    char target[PATH_MAX];
    if (snprintf(target, sizeof target, "%s%s", arguments[0], moved[i]) >= PATH_MAX) return ENAMETOOLONG;
    int error = make_directories(target, 0755);
    if (error != 0) return error;
    if (mount(moved[i], target, NULL, how, NULL) < 0) return errno;
  }
  if (in_namespaces) return change_root(arguments[0]);
  int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (chdir(arguments[0]) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) {
    int error = errno;
    if (old >= 0) close(old);
    return error;
  }
  if (old < 0) return 0;
  forget_start(old);
  close(old);
  return 0;
}

static int step_hostname(char **arguments) {
  return sethostname(arguments[0], strlen(arguments[0])) < 0 ? errno : 0;
}

static int step_clock(char **arguments) {
  uint64_t seconds, nanoseconds;
  if (read_number(arguments[0], 10, INT64_MAX, &seconds) != 0) return EINVAL;
  if (read_number(arguments[1], 10, 999999999, &nanoseconds) != 0) return EINVAL;
  struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)nanoseconds};
  return clock_settime(CLOCK_REALTIME, &time) < 0 ? errno : 0;
}

int digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static int step_entropy(char **arguments) {
  struct {
    int bits, bytes;
    uint8_t data[512];
  } entropy = {0};
  const char *text = arguments[0];
  size_t length = strlen(text) / 2;
  if (strlen(text) % 2 != 0 || length > sizeof entropy.data) return EINVAL;
  for (size_t i = 0; i < length; i++) {
    int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return EINVAL;
    entropy.data[i] = (uint8_t)(high << 4 | low);
  }
  entropy.bytes = (int)length;
  entropy.bits = entropy.bytes * 8;
  int fd = open("/dev/random", O_RDWR | O_CLOEXEC), error = 0;
  if (fd < 0) return errno;
  if (ioctl(fd, ADD_ENTROPY, &entropy) < 0) error = errno;
  close(fd);
  return error;
}

/* In one piece, as files of the kernel want it. Closes the file. */
static int write_text(int fd, const char *text) {
  size_t length = strlen(text), done = 0;
  int error = 0;
  while (error == 0 && done < length) {
    ssize_t n = write(fd, text + done, length - done);
    if (n > 0) done += (size_t)n;
    else if (n == 0) error = EIO;
    else if (errno != EINTR) error = errno;
  }
  if (close(fd) < 0 && error == 0) error = errno;
  return error;
}

static int step_write(char **arguments) {
  uint64_t mode;
  if (read_number(arguments[1], 8, 07777, &mode) != 0) return EINVAL;
  int fd = open(arguments[0], O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, (mode_t)mode);
  if (fd < 0) return errno;
  fchmod(fd, (mode_t)mode); /* what was there may have another; files of the kernel refuse it */
  return write_text(fd, arguments[2]);
}

static int step_append(char **arguments) {
  int fd = open(arguments[0], O_RDWR | O_APPEND | O_CREAT | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  char last = '\n';
  if (lseek(fd, -1, SEEK_END) >= 0 && read(fd, &last, 1) == 1 && last != '\n' && write(fd, "\n", 1) != 1) {
    int error = errno;
    close(fd);
    return error;
  }
  return write_text(fd, arguments[1]);
}

static int step_symlink(char **arguments) {
  struct stat st;
  if (lstat(arguments[1], &st) == 0 && !S_ISDIR(st.st_mode) && unlink(arguments[1]) < 0) return errno;
  return symlink(arguments[0], arguments[1]) < 0 ? errno : 0;
}

static int64_t waits_until; /* of the step at hand; 0: it has not begun */

int wait_or_fail(uint64_t ms, int error) {
  if (waits_until == 0) waits_until = now_ms() + (int64_t)ms;
  return now_ms() >= waits_until ? error : NOT_YET;
}

static int step_wait(char **arguments) {
  uint64_t ms;
  struct stat st;
  if (read_number(arguments[1], 10, UINT32_MAX, &ms) != 0) return EINVAL;
  if (stat(arguments[0], &st) == 0) return 0;
  return wait_or_fail(ms, ETIMEDOUT);
}

/* What a step changes: a part of this guest alone, which a test may try, or more. */
enum scope { FILES, GUEST, KERNEL };

static const struct verb {
  const char *name;
  step_function *run;
  uint8_t arguments;
  enum scope scope;
} verbs[] = {
    {"module", step_module, 2, KERNEL},      {"mkdir", step_mkdir, 2, FILES},
    {"mount", step_mount, 5, GUEST},         {"unmount", step_unmount, 1, GUEST},
    {"root", step_root, 1, GUEST},           {"hostname", step_hostname, 1, GUEST},
    {"interface", step_interface, 3, GUEST}, {"address", step_address, 2, GUEST},
    {"up", step_up, 1, GUEST},               {"route", step_route, 2, GUEST},
    {"clock", step_clock, 2, KERNEL},        {"entropy", step_entropy, 1, KERNEL},
    {"write", step_write, 3, FILES},         {"append", step_append, 2, FILES},
    {"symlink", step_symlink, 2, FILES},     {"wait", step_wait, 2, FILES},
    {"connect", step_connect, 3, FILES},     {"datagram", step_datagram, 3, FILES},
    {"release", step_release, 1, GUEST},
};

/* Under test nothing but files is ours; in namespaces the kernel is the host's. */
static bool may_do(enum scope scope) {
  return scope == FILES || (is_init && (scope == GUEST || !in_namespaces));
}

static char *texts, *texts_end, *next;
static uint32_t index_of_step, session_of_steps;

static void finish(int error, const char *what) {
  send_failure(CONFIGURED, session_of_steps, (uint32_t)error, error == 0 ? 0 : index_of_step, what);
  steps_forget();
}

void steps_forget(void) {
  free(texts);
  texts = NULL;
  waits_until = 0;
  probe_forget();
}

bool steps_pending(void) {
  return texts != NULL;
}

/* Goes on with the steps as far as they go. */
static void run_steps(void) {
  while (next < texts_end) {
    const char *name = next;
    const struct verb *verb = NULL;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
      if (strcmp(verbs[i].name, name) == 0) verb = &verbs[i];
    }
    char *arguments[MAX_ARGUMENTS], *text = next + strlen(next) + 1, what[256];
    if (verb == NULL) {
      snprintf(what, sizeof what, "unknown step %s", name);
      return finish(EINVAL, what);
    }
    for (int i = 0; i < verb->arguments; i++) {
      if (text == texts_end) return finish(EINVAL, name);
      arguments[i] = text;
      text += strlen(text) + 1;
    }
    int error = may_do(verb->scope) ? verb->run(arguments) : EPERM;
    if (error == NOT_YET) return wake_at(now_ms() + STEP_RETRY_MS);
    if (error != 0) {
      /* Of a mount the target says more than the source. */
      snprintf(what, sizeof what, "%s %s", name, arguments[verb->run == step_mount || verb->run == step_symlink]);
      return finish(error, what);
    }
    waits_until = 0;
    index_of_step++;
    next = text;
  }
  finish(0, "");
}

void steps_pump(void) {
  if (texts != NULL && out_room() >= SMALL_FRAME) run_steps();
}

enum verdict steps_take(const struct frame *frame) {
  index_of_step = 0;
  session_of_steps = frame->session;
  texts = malloc(frame->length + 1u);
  if (texts == NULL || (frame->length > 0 && frame->payload[frame->length - 1] != 0)) {
    finish(texts == NULL ? ENOMEM : EINVAL, "CONFIGURE");
    return TAKEN;
  }
  memcpy(texts, frame->payload, frame->length);
  next = texts;
  texts_end = texts + frame->length;
  run_steps();
  return TAKEN;
}

void read_file(const struct frame *frame) {
  static uint8_t content[MAX_PAYLOAD];
  uint32_t error = 0;
  size_t length = 4;
  char path[PATH_MAX + 32];
  uint64_t offset = 0;
  int fd = -1;
  if (frame->length == 0 || frame->payload[frame->length - 1] != 0) {
    error = EINVAL;
  } else if (frame->length > sizeof path) {
    error = ENAMETOOLONG;
  } else {
    /* The host's memory may change under it, so what it says is looked at once only. */
    memcpy(path, frame->payload, frame->length);
    path[frame->length - 1] = 0;
    const char *after = path + strlen(path) + 1;
    if (after < path + frame->length && read_number(after, 10, INT64_MAX, &offset) != 0) error = EINVAL;
  }
  if (error == 0) {
    fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || (offset > 0 && lseek(fd, (off_t)offset, SEEK_SET) < 0)) error = (uint32_t)errno;
  }
  while (error == 0 && length < sizeof content) {
    ssize_t n = read(fd, content + length, sizeof content - length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) error = (uint32_t)errno;
    if (n <= 0) break;
    length += (size_t)n;
  }
  if (fd >= 0) close(fd);
  if (error != 0) length = 4;
  memcpy(content, &error, 4);
  send_frame(CONTENT, 0, frame->session, content, length);
}
