#define _GNU_SOURCE
#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

long log_bytes = 4 << 20;

void log_write(struct log *log, const char *data, long n) {
  if (n > log_bytes / 2) {
    data += n - log_bytes / 2;
    n = log_bytes / 2;
  }
  if (log->fd < 0 || log->bytes + n > log_bytes / 2) {
    if (log->fd >= 0) {
      close(log->fd);
      rename(log->name, log->older);
    }
    log->fd = open(log->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    log->bytes = 0;
    if (log->fd < 0) return;
  }
  /* A full disk costs log lines, never the guest. */
  long written = write(log->fd, data, n);
  if (written > 0) log->bytes += written;
}
