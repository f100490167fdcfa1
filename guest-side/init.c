/* What PID 1 does before and after. */
#include "agent.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { PORT_WAIT_MS = 30000 };

static const char line_path[] = "/dev/ttyS0";

static void mount_one(const char *type, const char *path, unsigned long flags, const char *options) {
  mkdir(path, 0755);
  /* EBUSY: the kernel has done it already. */
  if (mount(type, path, type, flags, options) < 0 && errno != EBUSY) {
    say("can't mount %s on %s: %s", type, path, strerror(errno));
  }
}

/* 0 to 2 must be something, or pipes would get these numbers. */
static void open_console(void) {
  int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) fd = open("/dev/null", O_RDWR);
  for (int i = 0; i < 3 && fd >= 0; i++) {
    if (fd != i) dup2(fd, i);
  }
  if (fd > 2) close(fd);
}

static char *read_text(const char *path, size_t limit) {
  char *text = malloc(limit + 1);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  size_t length = 0;
  while (text != NULL && fd >= 0 && length < limit) {
    ssize_t n = read(fd, text + length, limit - length);
    if (n <= 0) break;
    length += (size_t)n;
  }
  if (fd >= 0) close(fd);
  if (text != NULL) text[length] = 0;
  return text;
}

static void load_modules(void) {
  char *order = read_text("/lodge/modules.order", 1 << 20), *rest = order;
  for (char *path; (path = strsep(&rest, "\n")) != NULL;) {
    if (path[0] == 0) continue;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)) {
      say("can't load %s: %s", path, strerror(errno));
    }
    if (fd >= 0) close(fd);
  }
  free(order);
}

void init_machine(void) {
  umask(0);
  mount_one("devtmpfs", "/dev", MS_NOSUID, "mode=0755");
  open_console();
  mount_one("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount_one("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount_one("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755");
  mount_one("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666");
  mount_one("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd >= 0 && write(fd, "-1000", 5) != 5) say("can't set oom_score_adj: %s", strerror(errno));
  if (fd >= 0) close(fd);
  load_modules();
}

static void __attribute__((noreturn)) no_channel(const char *why) {
  say("no channel: %s", why);
  tcdrain(2);
  machine_down(false);
}

/* ---- virtio ---- */

static int open_port(void) {
  DIR *ports = opendir("/sys/class/virtio-ports");
  int fd = -1;
  for (struct dirent *entry; ports != NULL && fd < 0 && (entry = readdir(ports)) != NULL;) {
    char path[512];
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
    char *name = read_text(path, 64);
    if (name != NULL && strcmp(name, "lodge.0\n") == 0) {
      snprintf(path, sizeof path, "/dev/%s", entry->d_name);
      fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    free(name);
  }
  if (ports != NULL) closedir(ports);
  return fd;
}

static int wait_for_port(void) {
  int64_t until = now_ms() + PORT_WAIT_MS;
  struct timespec pause = {.tv_nsec = 2000000};
  for (;;) {
    int fd = open_port();
    if (fd >= 0 || now_ms() > until) return fd;
    nanosleep(&pause, NULL);
    if (pause.tv_nsec < 50000000) pause.tv_nsec += 2000000;
  }
}

/* ---- user-mode Linux ---- */

int open_line(void) {
  int fd = open(line_path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  struct termios modes;
  if (fd >= 0 && tcgetattr(fd, &modes) == 0) {
    cfmakeraw(&modes);
    modes.c_cflag |= CLOCAL | CREAD;
    modes.c_cflag &= ~(tcflag_t)HUPCL;
    tcsetattr(fd, TCSANOW, &modes);
  }
  return fd;
}

void init_channel(void) {
  char *command_line = read_text("/proc/cmdline", 65536), *rest = command_line;
  const char *value = NULL;
  for (char *word; (word = strsep(&rest, " \n")) != NULL;) {
    if (strncmp(word, "lodge.channel=", 14) == 0) value = word + 14;
  }
  if (value == NULL) no_channel("lodge.channel= is not on the kernel command line");
  if (strcmp(value, "virtio") == 0) {
    int fd = wait_for_port();
    if (fd < 0) no_channel("no virtio port named lodge.0");
    channel_use(fd, ON_VIRTIO, NULL);
  } else if (strcmp(value, "uml") == 0) {
    int memory = open("/dev/mmapper", O_RDWR | O_CLOEXEC), fd = open_line();
    if (memory < 0) no_channel("no /dev/mmapper");
    if (fd < 0) no_channel("no serial line 0");
    void *rings = mmap(NULL, RINGS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (rings == MAP_FAILED) no_channel("/dev/mmapper is too small");
    close(memory);
    channel_use(fd, ON_RING, rings);
  } else {
    no_channel("lodge.channel= is neither virtio nor uml");
  }
  free(command_line);
}

/* ---- the end ---- */

static bool is_of_kernel(const char *type) {
  static const char *const types[] = {"proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "rootfs", "cgroup2"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    if (strcmp(type, types[i]) == 0) return true;
  }
  return false;
}

void let_go_of_files(void) {
  sync();
  /* The last mounted first. */
  char *mounts = read_text("/proc/self/mounts", 1 << 20);
  for (char *end = mounts == NULL ? NULL : mounts + strlen(mounts); end != NULL && end > mounts;) {
    *--end = 0; /* the line's own end */
    char *line = memrchr(mounts, '\n', (size_t)(end - mounts));
    end = line == NULL ? mounts : line + 1;
    char *fields = end, *path = (strsep(&fields, " "), strsep(&fields, " ")), *type = strsep(&fields, " ");
    if (path == NULL || type == NULL || is_of_kernel(type)) continue;
    if (strcmp(path, "/") == 0) mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
    else if (umount2(path, 0) < 0) umount2(path, MNT_DETACH);
  }
  free(mounts);
}

void machine_down(bool again) {
  reboot(again ? RB_AUTOBOOT : RB_POWER_OFF);
  /* A machine that can't, stops; PID 1 must not end. */
  reboot(RB_HALT_SYSTEM);
  for (;;) pause();
}
