#define _GNU_SOURCE
#include "identity.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_text(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = 0;
  return n;
}

long long start_of(pid_t pid) {
  char path[32], stat[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  read_text(path, stat, sizeof stat);
  char *field = strrchr(stat, ')');
  for (int i = 2; field && i < 22; i++) field = strchr(field + 1, ' ');
  return field ? atoll(field) : 0;
}

int write_file(const char *name, const char *format, ...) {
  char part[64], text[128];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  snprintf(part, sizeof part, "%s.part", name);
  int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  int whole = write(fd, text, n) == n;
  close(fd);
  if (whole) return rename(part, name);
  unlink(part);
  return -1;
}

int write_identity(const char *name) { return write_file(name, "%d %lld\n", getpid(), start_of(getpid())); }

pid_t read_identity(const char *path) {
  char text[64];
  int pid;
  long long start;
  if (read_text(path, text, sizeof text) <= 0 || sscanf(text, "%d %lld", &pid, &start) != 2) return -1;
  return start != 0 && start_of(pid) == start ? pid : -1;
}
