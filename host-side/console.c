#define _GNU_SOURCE
#include "console.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

enum { PIECE = 65536, TYPED = 65536 };

static struct log console_log = {"console.log", "console.log.1", -1, 0};
static struct log vmm_log = {"vmm.log", "vmm.log.1", -1, 0};

static int console = -1, typing = -1, out = -1, err = -1;
static int watchers[CONSOLE_MAX_WATCHERS];
static int watcher_count, watchers_polled;
static int held;
static char typed[TYPED];
static int typed_bytes;

void console_between(int listening, int to, int from, int complaints) {
  console = listening;
  typing = to;
  out = from;
  err = complaints;
}

void console_hold(void) { held = 1; }

static void type_pending(void) {
  if (typed_bytes == 0 || typing < 0) return;
  ssize_t n = write(typing, typed, typed_bytes);
  if (n > 0) {
    memmove(typed, typed + n, typed_bytes - n);
    typed_bytes -= n;
  } else if (errno != EAGAIN) {
    typed_bytes = 0;
  }
}

static void drop_watcher(int i) {
  close(watchers[i]);
  watchers[i] = watchers[--watcher_count];
}

static void from_watcher(int i) {
  char piece[4096];
  ssize_t n = read(watchers[i], piece, sizeof piece);
  if (n == 0 || (n < 0 && errno != EAGAIN)) {
    drop_watcher(i);
    return;
  }
  /* What the guest does not read in time is lost, as on a serial line. */
  if (n > 0 && typed_bytes + n <= TYPED) {
    memcpy(typed + typed_bytes, piece, n);
    typed_bytes += n;
    type_pending();
  }
}

/* Gives the descriptor, or -1 when there will be nothing more. */
static int pump(int fd, struct log *log, int shown) {
  static char piece[PIECE];
  ssize_t n = read(fd, piece, sizeof piece);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? fd : -1;
  if (n == 0) return -1;
  log_write(log, piece, n);
  /* A watcher that is too slow misses output rather than slow the guest down. */
  for (int i = 0; shown && i < watcher_count; i++)
    if (send(watchers[i], piece, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN) drop_watcher(i--);
  return fd;
}

enum { OUT, ERR, TYPING, CONSOLE, WATCHERS };

int console_poll(struct pollfd polled[CONSOLE_POLLED]) {
  polled[OUT] = (struct pollfd){held ? -1 : out, POLLIN, 0};
  polled[ERR] = (struct pollfd){err, POLLIN, 0};
  polled[TYPING] = (struct pollfd){typed_bytes > 0 ? typing : -1, POLLOUT, 0};
  polled[CONSOLE] = (struct pollfd){watcher_count < CONSOLE_MAX_WATCHERS ? console : -1, POLLIN, 0};
  for (int i = 0; i < watcher_count; i++) polled[WATCHERS + i] = (struct pollfd){watchers[i], POLLIN, 0};
  watchers_polled = watcher_count;
  return WATCHERS + watchers_polled;
}

void console_serve(const struct pollfd polled[CONSOLE_POLLED]) {
  /* Backwards, because dropping one moves the last into its place. */
  for (int i = watchers_polled - 1; i >= 0; i--)
    if (polled[WATCHERS + i].revents && i < watcher_count) from_watcher(i);
  if (polled[OUT].revents) out = pump(out, &console_log, 1);
  if (polled[ERR].revents) err = pump(err, &vmm_log, 0);
  if (polled[TYPING].revents) type_pending();
  if (polled[CONSOLE].revents) {
    int fd = accept4(console, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      watchers[watcher_count++] = fd;
      held = 0;
    }
  }
}

void console_finish(void) {
  while (out >= 0 && poll(&(struct pollfd){out, POLLIN, 0}, 1, 0) > 0) out = pump(out, &console_log, 1);
  while (err >= 0 && poll(&(struct pollfd){err, POLLIN, 0}, 1, 0) > 0) err = pump(err, &vmm_log, 0);
}
