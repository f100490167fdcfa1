/* Standard input of a command: what it does not take at once waits here, and credit goes back as it takes it. */
#include "session.h"

#include <stdlib.h>
#include <sys/uio.h>
#include <termios.h>

void input_close(struct session *s) {
  if (!s->is_terminal) close_fd(&s->in);
  s->in = -1;
  s->in_owed += (uint32_t)s->waiting_length;
  s->waiting_length = 0;
  free(s->waiting);
  s->waiting = NULL;
}

static ssize_t write_input(struct session *s, const struct iovec *pieces, int count) {
  ssize_t n;
  do n = writev(s->in, pieces, count);
  while (n < 0 && errno == EINTR);
  if (n > 0) s->in_owed += (uint32_t)n;
  if (n < 0 && errno != EAGAIN && errno != ENOMEM) input_close(s); /* it reads no more: the rest goes nowhere */
  return n < 0 ? 0 : n;
}

void input_end(struct session *s) {
  if (!s->in_ends || s->in < 0 || s->waiting_length > 0) return;
  if (s->is_terminal) {
    /* The end-of-file character ends a file at the start of a line only; elsewhere the first one ends the line. */
    struct termios modes;
    if (tcgetattr(s->in, &modes) == 0 && modes.c_cc[VEOF] != 0) {
      uint8_t ends[2] = {modes.c_cc[VEOF], modes.c_cc[VEOF]};
      size_t length = (modes.c_lflag & ICANON) != 0 && s->in_line_is_open ? 2 : 1;
      if (write(s->in, ends, length) < 0 && errno == EAGAIN) return;
    }
  }
  input_close(s);
}

void input_flush(struct session *s) {
  if (s->in >= 0 && s->waiting_length > 0) {
    size_t first = least(s->waiting_length, STDIN_CREDIT - s->waiting_from);
    struct iovec pieces[2] = {{s->waiting + s->waiting_from, first}, {s->waiting, s->waiting_length - first}};
    size_t n = (size_t)write_input(s, pieces, 2);
    if (s->in >= 0) {
      s->waiting_from = (s->waiting_from + n) % STDIN_CREDIT;
      s->waiting_length -= n;
    }
  }
  input_end(s);
}

enum verdict input_take(struct session *s, const uint8_t *bytes, uint32_t length) {
  if (length > s->in_credit) return BROKEN;
  s->in_credit -= length;
  if (length == 0 || s->in_ends) return TAKEN;
  if (s->in < 0) {
    s->in_owed += length; /* nobody reads it, but the host must not wait for that */
    return TAKEN;
  }
  s->in_line_is_open = bytes[length - 1] != '\n';
  size_t n = 0;
  if (s->waiting_length == 0) {
    struct iovec piece = {(void *)bytes, length};
    n = (size_t)write_input(s, &piece, 1);
    if (s->in < 0) {
      s->in_owed += length;
      return TAKEN;
    }
  }
  /* The credit keeps this within the circle. */
  size_t rest = length - n, to = (s->waiting_from + s->waiting_length) % STDIN_CREDIT;
  size_t first = least(rest, STDIN_CREDIT - to);
  memcpy(s->waiting + to, bytes + n, first);
  memcpy(s->waiting, bytes + n + first, rest - first);
  s->waiting_length += rest;
  return TAKEN;
}
