/* Logs of bounded size: NAME and, before it, NAME.1, each at most half of log_bytes. */
#pragma once

struct log {
  const char *name, *older;
  int fd; /* -1 before the first write */
  long bytes;
};

extern long log_bytes;

void log_write(struct log *log, const char *data, long n);
