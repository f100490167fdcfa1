/* The commands that run: their frames, their output, their ends. */
#include "session.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  CREDIT_BATCH = 262144, /* of standard input that is given back at once */
  KILL_AFTER_MS = 2000,
  /* How often a terminal that no process holds is looked at: its hang-up can't be waited out in poll(). */
  HUNG_UP_MS = 100,
};

static struct session sessions[MAX_SESSIONS];
static int top; /* all used ones are below */
static int turn;

static struct session *find(uint32_t id) {
  static struct session *last = sessions;
  if (id == 0) return NULL;
  if (last->used && last->id == id) return last;
  for (int i = 0; i < top; i++) {
    if (sessions[i].used && sessions[i].id == id) return last = &sessions[i];
  }
  return NULL;
}

static void close_output(struct session *s, int i) {
  if (s->outputs[i].fd < 0) return;
  if (s->is_terminal) input_close(s);
  close_fd(&s->outputs[i].fd);
  s->outputs[i].must_tell_end = true;
}

static void release(struct session *s) {
  input_close(s);
  for (int i = 0; i < 2; i++) close_output(s, i);
  close_fd(&s->starting);
  s->used = false;
  while (top > 0 && !sessions[top - 1].used) top--;
}

/* Before setsid() the group is not there yet, but the process is. */
static void signal_group(const struct session *s, int number) {
  if (s->group <= 1) return;
  if (kill(-s->group, number) < 0 && errno == ESRCH && !s->ended) kill(s->group, number);
}

void session_exec(const struct frame *frame) {
  struct refusal refusal = {.error = EAGAIN, .stage = NO_SESSION, .text = "too many sessions"};
  struct spawned spawned;
  int i = 0;
  while (i < MAX_SESSIONS && sessions[i].used) i++;
  if (find(frame->session) != NULL) {
    refusal = (struct refusal){.error = EEXIST, .stage = BAD_REQUEST, .text = "session"};
  } else if (halting()) {
    refusal = (struct refusal){.error = ESHUTDOWN, .stage = NO_SESSION, .text = "going down"};
  } else if (i < MAX_SESSIONS) {
    uint8_t *waiting = malloc(STDIN_CREDIT);
    if (waiting == NULL) {
      refusal = (struct refusal){.error = ENOMEM, .stage = NO_SESSION, .text = "memory"};
    } else if (spawn(frame, &spawned, &refusal)) {
      sessions[i] = (struct session){
          .used = true,
          .id = frame->session,
          .group = spawned.pid,
          .is_terminal = spawned.is_terminal,
          .starting = spawned.status,
          .in = spawned.in,
          .waiting = waiting,
          .in_credit = STDIN_CREDIT,
          .outputs = {{.fd = spawned.out, .credit = spawned.credit}, {.fd = spawned.err, .credit = spawned.credit}}};
      if (i >= top) top = i + 1;
      return;
    } else {
      free(waiting);
    }
  }
  send_failure(REFUSED, frame->session, refusal.error, refusal.stage, refusal.text);
}

/* ---- frames ---- */

/* Nothing more goes in or out; what is left of the group dies soon. */
static void close_session(struct session *s) {
  if (s->closed) return;
  input_close(s);
  for (int i = 0; i < 2; i++) close_output(s, i);
  s->closed = true;
  s->kill_at = now_ms() + KILL_AFTER_MS;
  signal_group(s, SIGHUP);
  signal_group(s, SIGCONT);
}

enum verdict session_frame(const struct frame *frame) {
  struct session *s = find(frame->session);
  uint32_t need[PONG + 1] = {[CREDIT] = 4, [SIGNAL] = 4, [RESIZE] = 4};
  if (frame->type != DATA && frame->length != need[frame->type]) return BROKEN;
  if (frame->session == 0 || (frame->type == CREDIT ? frame->stream - 1u > 1 : frame->stream != 0)) return BROKEN;
  if (s == NULL || s->closed) return TAKEN; /* it ended while this was under way */
  switch (frame->type) {
    case DATA:
      return input_take(s, frame->payload, frame->length);
    case END:
      s->in_ends = true;
      input_end(s);
      break;
    case CREDIT:
      s->outputs[frame->stream - 1].credit += get32(frame->payload);
      break;
    case SIGNAL:
      /* After the end its number may be another's. */
      if (!s->ended && get32(frame->payload) - 1 < 64) signal_group(s, (int)get32(frame->payload));
      break;
    case RESIZE:
      if (s->is_terminal && s->outputs[0].fd >= 0) {
        set_size(s->outputs[0].fd, get16(frame->payload), get16(frame->payload + 2));
      }
      break;
    case CLOSE:
      close_session(s);
      break;
  }
  return TAKEN;
}

void sessions_abandon(void) {
  for (int i = 0; i < top; i++) {
    if (!sessions[i].used) continue;
    close_session(&sessions[i]);
    sessions[i].id = 0;
  }
}

void sessions_signal(int number) {
  for (int i = 0; i < top; i++) {
    if (sessions[i].used && !sessions[i].ended) signal_group(&sessions[i], number);
  }
}

void sessions_hang_up(void) {
  for (int i = 0; i < top; i++) {
    if (sessions[i].used && !sessions[i].ended && sessions[i].is_terminal) signal_group(&sessions[i], SIGHUP);
  }
}

void sessions_kill(void) {
  for (int i = 0; i < top; i++) {
    if (sessions[i].used && (!sessions[i].ended || sessions[i].kill_at != 0)) signal_group(&sessions[i], SIGKILL);
  }
}

/* ---- output and ends ---- */

static void check_start(struct session *s) {
  struct refusal refusal;
  ssize_t n = read(s->starting, &refusal, sizeof refusal);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  close_fd(&s->starting);
  if (n == sizeof refusal) {
    refusal.text[sizeof refusal.text - 1] = 0;
    if (s->id != 0) send_failure(REFUSED, s->id, refusal.error, refusal.stage, refusal.text);
    return release(s);
  }
  if (s->id != 0) send_numbers(STARTED, 0, s->id, (uint32_t)s->group, 0, 1);
}

static void read_output(struct session *s, int i, int64_t now) {
  struct output *o = &s->outputs[i];
  while (o->fd >= 0) {
    struct iovec places[DATA_FRAMES];
    if (s->ended && o->left == 0) return close_output(s, i);
    int count = data_places(places, s->ended ? least(o->credit, o->left) : o->credit);
    if (count == 0) return;
    ssize_t n = readv(o->fd, places, count);
    if (n > 0) {
      data_send((unsigned)i + 1, s->id, (size_t)n);
      o->credit -= (size_t)n;
      if (s->ended) o->left -= (size_t)n;
      else if (!s->is_terminal) return; /* a pipe has given all it had, or all there was place for */
    } else if (n < 0 && errno == EAGAIN) {
      if (s->ended) close_output(s, i);
      return;
    } else if (n == 0 || errno != EINTR) {
      if (s->ended || !s->is_terminal) return close_output(s, i);
      /* A terminal that nobody holds may be opened again by a process of its session. */
      o->quiet_until = now + HUNG_UP_MS;
      return;
    }
  }
}

void sessions_child_ended(pid_t pid, int status) {
  for (int i = 0; i < top; i++) {
    struct session *s = &sessions[i];
    if (!s->used || s->ended || s->group != pid) continue;
    s->ended = true;
    s->status = status;
    input_close(s);
    for (int k = 0; k < 2; k++) {
      struct output *o = &s->outputs[k];
      int bytes = 0;
      if (o->fd < 0) continue;
      /* What others that hold the pipe write from now on is not waited for. A terminal is hung up for them. */
      if (s->is_terminal) o->left = UINT64_MAX;
      else if (ioctl(o->fd, FIONREAD, &bytes) == 0) o->left = (uint64_t)bytes;
    }
    return;
  }
}

/* Sends what is due of one session, as far as there is room. */
static void pump(struct session *s, int64_t now) {
  if (s->kill_at != 0 && now >= s->kill_at) {
    signal_group(s, SIGKILL);
    s->kill_at = 0;
  }
  if (s->kill_at != 0) wake_at(s->ended ? now + RETRY_MS : s->kill_at);
  if (s->starting >= 0 && s->ended && (s->id == 0 || out_room() >= SMALL_FRAME)) {
    check_start(s);
    if (!s->used) return;
  }
  if (s->id != 0 && s->starting < 0) {
    if (out_room() < SMALL_FRAME) return;
    if (s->in_owed >= CREDIT_BATCH && !s->ended && !s->closed) {
      send_numbers(CREDIT, 0, s->id, s->in_owed, 0, 1);
      s->in_credit += s->in_owed;
      s->in_owed = 0;
    }
    for (int i = 0; i < 2; i++) {
      struct output *o = &s->outputs[i];
      if (s->ended) read_output(s, i, now);
      if (!o->must_tell_end || s->closed) continue;
      if (out_room() < SMALL_FRAME) return;
      send_frame(END, (unsigned)i + 1, s->id, NULL, 0);
      o->must_tell_end = false;
    }
    if (s->ended && s->outputs[0].fd < 0 && s->outputs[1].fd < 0) {
      if (out_room() < SMALL_FRAME) return;
      uint32_t number = WIFSIGNALED(s->status) ? (uint32_t)WTERMSIG(s->status) : 0;
      send_numbers(EXIT, 0, s->id, WIFEXITED(s->status) ? (uint32_t)WEXITSTATUS(s->status) : 0, number, 2);
      s->id = 0;
    }
  }
  /* One that was closed is kept while others of its group live, so that they get their signal. */
  if (s->id != 0 || !s->ended) return;
  if (s->kill_at == 0 || (kill(-s->group, 0) < 0 && errno == ESRCH)) release(s);
}

void sessions_pump(int64_t now) {
  for (int i = 0; i < top; i++) {
    if (sessions[i].used) pump(&sessions[i], now);
  }
}

/* ---- poll ---- */

static short polled[SESSION_POLLS]; /* which session, and which of its files, an entry stands for */

enum { INPUT, OUTPUT, ERRORS, START };

int sessions_poll(struct pollfd *fds, int64_t now) {
  int count = 0;
  /* While the host is slow, nothing is read: what can't be sent stays with the processes. */
  bool may_send = out_room() > 0 && !channel_has_output();
  for (int i = 0; i < top; i++) {
    struct session *s = &sessions[i];
    if (!s->used) continue;
    if (s->starting >= 0) {
      if (!may_send && s->id != 0) continue;
      fds[count] = (struct pollfd){.fd = s->starting, .events = POLLIN};
      polled[count++] = (short)(i * 4 + START);
      continue;
    }
    if (s->in >= 0 && (s->waiting_length > 0 || s->in_ends)) {
      fds[count] = (struct pollfd){.fd = s->in, .events = POLLOUT};
      polled[count++] = (short)(i * 4 + INPUT);
    }
    for (int k = 0; k < 2 && may_send; k++) {
      const struct output *o = &s->outputs[k];
      if (o->fd < 0 || o->credit == 0) continue;
      if (o->quiet_until > now) {
        wake_at(o->quiet_until);
        continue;
      }
      fds[count] = (struct pollfd){.fd = o->fd, .events = POLLIN};
      polled[count++] = (short)(i * 4 + OUTPUT + k);
    }
  }
  return count;
}

void sessions_polled(const struct pollfd *fds, int count, int64_t now) {
  if (count > 0) turn = (turn + 1) % count;
  for (int n = 0; n < count; n++) {
    int i = (n + turn) % count; /* not always the same one first, as the buffer may be full after it */
    struct session *s = &sessions[polled[i] / 4];
    int what = polled[i] % 4;
    if (fds[i].revents == 0 || !s->used) continue;
    if (what == START && s->starting >= 0 && (s->id == 0 || out_room() >= SMALL_FRAME)) check_start(s);
    if (what == INPUT && s->in >= 0) input_flush(s);
    if (what == OUTPUT || what == ERRORS) read_output(s, what - OUTPUT, now);
  }
}
