/* A command that runs, as sessions.c and input.c see it. */
#ifndef LODGE_SESSION_H
#define LODGE_SESSION_H

#include "agent.h"

#include <unistd.h>

struct output {
  int fd;
  bool must_tell_end;
  uint64_t credit;
  uint64_t left; /* what may still be read after the process ended */
  int64_t quiet_until;
};

struct session {
  bool used;
  uint32_t id; /* 0: nobody wants to hear of it any more */
  pid_t group; /* the process's id, which is its group's too */
  bool is_terminal, ended, closed;
  int starting; /* tells of a failure, or closes when the program runs; -1 from then on */
  int status;   /* how it ended */
  int64_t kill_at;

  int in;
  bool in_ends;         /* the host has sent its last byte */
  bool in_line_is_open; /* the last byte to a terminal was not the end of a line */
  uint8_t *waiting;     /* a circle of STDIN_CREDIT bytes that the process has not taken yet */
  size_t waiting_from, waiting_length;
  uint32_t in_credit; /* what the host may still send */
  uint32_t in_owed;   /* what has been passed on since the last CREDIT */

  struct output outputs[2];
};

static inline void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* input.c */
enum verdict input_take(struct session *s, const uint8_t *bytes, uint32_t length);
/* Passes on what the process takes of what it had no place for. */
void input_flush(struct session *s);
/* Ends the input when the host has and all was passed on. */
void input_end(struct session *s);
/* Nothing more goes in; what waited counts as passed on, so that the host does not wait for it. */
void input_close(struct session *s);

#endif
