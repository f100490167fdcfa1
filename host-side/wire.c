#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "listen.h"

enum {
  LENGTH = 4,
  LEAST_FRAME = 14,          /* an Ethernet header */
  MOST_FRAME = 65535 + 18,   /* with the header and a VLAN tag */
  FROM_PROGRAM = 16,         /* frames that are taken at once */
  TO_PROGRAM = 64,
  ROUNDS = 8,                /* after so many times all others have their turn */
  IN_BYTES = 262144,
  OUT_BYTES = FROM_PROGRAM * (LENGTH + MOST_FRAME), /* all of a batch */
  BEGUN_BYTES = 262144,
  SOCKET_BYTES = 1 << 20,
};

static struct wire {
  unsigned char mac[6];
  int listening, client;
  int line; /* our end towards the program */
  int program_end;
  enum { DATAGRAMS, TAP, STREAM, GIVEN } kind;
  int line_is_full;
  /* What the client has sent, and the program has not taken. */
  unsigned char *in;
  int in_from, in_to;
  /* What the client did not take at once. */
  unsigned char *out;
  int out_from, out_to;
  /* Of a stream: the beginning of a frame that the program has not sent whole, ... */
  unsigned char *begun;
  int begun_bytes;
  /* ... and the end of one that it has not taken whole, which it gets whatever becomes of the client. */
  unsigned char *rest;
  int rest_from, rest_to;
} wires[MAX_WIRES];
static int count;

/* Shared by all wires: empty whenever nothing is being done. */
static unsigned char batch[FROM_PROGRAM][LENGTH + MOST_FRAME];

int wire_add(const char *mac, int is_stream) {
  unsigned bytes[6];
  char after;
  if (count == MAX_WIRES || strlen(mac) != 17) return 0;
  if (sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4], &bytes[5],
             &after) != 6)
    return 0;
  struct wire *wire = &wires[count++];
  *wire = (struct wire){.listening = -1, .client = -1, .line = -1, .program_end = -1};
  wire->kind = is_stream ? STREAM : DATAGRAMS;
  for (int i = 0; i < 6; i++) wire->mac[i] = bytes[i];
  return 1;
}

int wire_add_given(void) {
  if (count == MAX_WIRES) return -1;
  wires[count] = (struct wire){.listening = -1, .client = -1, .line = -1, .program_end = -1, .kind = GIVEN};
  return count++;
}

void wire_give(int wire, int device) { wires[wire].program_end = device; }

int wire_count(void) { return count; }

const unsigned char *wire_mac(int wire) { return wires[wire].mac; }

/* By force where that is allowed: a burst should find its place, as in the rings of a network card. */
static void widen(int fd) {
  int bytes = SOCKET_BYTES;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

int wires_open(void) {
  for (int i = 0; i < count; i++) {
    char name[16];
    int pair[2];
    snprintf(name, sizeof name, "net%d.sock", i);
    struct wire *wire = &wires[i];
    if (wire->kind == GIVEN) continue;
    wire->listening = listen_at(name);
    wire->in = malloc(IN_BYTES);
    wire->out = malloc(OUT_BYTES);
    if (wire->listening < 0 || !wire->in || !wire->out) return -1;
    if (wire->kind == STREAM) {
      wire->begun = malloc(BEGUN_BYTES);
      wire->rest = malloc(LENGTH + MOST_FRAME);
      if (!wire->begun || !wire->rest) return -1;
    }
    int type = wire->kind == STREAM ? SOCK_STREAM : SOCK_DGRAM;
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) return -1;
    widen(pair[0]);
    widen(pair[1]);
    wire->line = pair[0];
    wire->program_end = pair[1];
  }
  return 0;
}

int wire_program_end(int wire) { return wires[wire].program_end; }

void wires_close_program_ends(void) {
  for (int i = 0; i < count; i++) {
    if (wires[i].program_end >= 0) close(wires[i].program_end);
    wires[i].program_end = -1;
  }
}

void wire_use_tap(int wire, int tap) {
  close(wires[wire].line);
  wires[wire].line = tap;
  wires[wire].kind = TAP;
}

static void drop_client(struct wire *wire) {
  close(wire->client);
  wire->client = -1;
  wire->in_from = wire->in_to = wire->out_from = wire->out_to = wire->line_is_full = 0;
}

static void drop_line(struct wire *wire) {
  close(wire->line);
  wire->line = -1;
}

/* ---- from the program to the client ---- */

static void put_length(unsigned char *place, unsigned length) {
  for (int i = 0; i < LENGTH; i++) place[i] = length >> (8 * (LENGTH - 1 - i));
}

static unsigned length_at(const unsigned char *place) {
  return (unsigned)place[0] << 24 | (unsigned)place[1] << 16 | (unsigned)place[2] << 8 | place[3];
}

/* Datagrams, each in a row of the batch. Gives how many, 0 when there are none, -1 when there never will be. */
static int take_datagrams(const struct wire *wire, struct iovec *pieces) {
  struct mmsghdr messages[FROM_PROGRAM];
  struct iovec places[FROM_PROGRAM];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < FROM_PROGRAM; i++) {
    places[i] = (struct iovec){batch[i] + LENGTH, MOST_FRAME};
    messages[i].msg_hdr.msg_iov = &places[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  int n = syscall(SYS_recvmmsg, wire->line, messages, FROM_PROGRAM, MSG_DONTWAIT, NULL);
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  for (int i = 0; i < n; i++) {
    put_length(batch[i], messages[i].msg_len);
    pieces[i] = (struct iovec){batch[i], LENGTH + messages[i].msg_len};
  }
  return n;
}

/* A TAP device gives one frame a call, so they can stand close together. */
static int take_from_tap(const struct wire *wire, struct iovec *pieces) {
  unsigned char *place = batch[0];
  int n = 0;
  for (; n < FROM_PROGRAM; n++) {
    ssize_t length = read(wire->line, place + LENGTH, MOST_FRAME);
    if (length < 0 && errno != EAGAIN && errno != EINTR && n == 0) return -1;
    if (length <= 0) break;
    put_length(place, length);
    pieces[n] = (struct iovec){place, LENGTH + length};
    place += LENGTH + length;
  }
  return n;
}

/* Sends what is left of an earlier batch. Gives 0 when the client is gone. */
static int flush(struct wire *wire) {
  while (wire->out_from < wire->out_to) {
    ssize_t n = send(wire->client, wire->out + wire->out_from, wire->out_to - wire->out_from,
                     MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    wire->out_from += n;
  }
  wire->out_from = wire->out_to = 0;
  return 1;
}

static int send_batch(struct wire *wire, struct iovec *pieces, int n) {
  struct msghdr message = {.msg_iov = pieces, .msg_iovlen = n};
  ssize_t sent = wire->out_to > 0 ? 0 : sendmsg(wire->client, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return 0;
  size_t done = sent < 0 ? 0 : sent, whole = 0;
  for (int i = 0; i < n; i++) whole += pieces[i].iov_len;
  /* The client is behind by all that has a place: these are lost. */
  if (wire->out_to + whole > OUT_BYTES) return 1;
  for (int i = 0; i < n; i++) {
    size_t length = pieces[i].iov_len, skipped = done < length ? done : length;
    memcpy(wire->out + wire->out_to, (unsigned char *)pieces[i].iov_base + skipped, length - skipped);
    wire->out_to += length - skipped;
    done -= skipped;
  }
  return 1;
}

/* All whole frames of a stream, as they are, in one piece. */
static int take_stream(struct wire *wire, struct iovec *pieces) {
  /* What was taken before is gone; what was begun stands at the front. */
  ssize_t length = read(wire->line, wire->begun + wire->begun_bytes, BEGUN_BYTES - wire->begun_bytes);
  if (length < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (length == 0) return -1;
  wire->begun_bytes += length;
  int whole = 0;
  while (wire->begun_bytes - whole >= LENGTH) {
    unsigned frame = length_at(wire->begun + whole);
    /* No QEMU that is in order sends this, and where the next frame begins can't be known. */
    if (frame > MOST_FRAME) return -1;
    if ((unsigned)(wire->begun_bytes - whole - LENGTH) < frame) break;
    whole += LENGTH + frame;
  }
  pieces[0] = (struct iovec){wire->begun, whole};
  return 1;
}

static void keep_begun(struct wire *wire, size_t whole) {
  wire->begun_bytes -= whole;
  memmove(wire->begun, wire->begun + whole, wire->begun_bytes);
}

/*
 * Whether a program's frames must be taken also while its client takes none. User-mode Linux (6.1) panics some time
 * after its socket was full for half a second: its driver then forgets what it has queued, and later counts it as sent.
 */
static int must_drain(const struct wire *wire) { return wire->kind == DATAGRAMS; }

static void from_program(struct wire *wire) {
  struct iovec pieces[FROM_PROGRAM];
  for (int round = 0; round < ROUNDS && (wire->out_to == 0 || must_drain(wire)); round++) {
    int n = wire->kind == TAP      ? take_from_tap(wire, pieces)
            : wire->kind == STREAM ? take_stream(wire, pieces)
                                   : take_datagrams(wire, pieces);
    if (n < 0) drop_line(wire);
    if (n <= 0) return;
    /* With nobody on the other end frames are lost, as on a cable that is not plugged in. */
    if (wire->client >= 0 && !send_batch(wire, pieces, n)) drop_client(wire);
    if (wire->kind == STREAM) keep_begun(wire, pieces[0].iov_len);
  }
}

/* ---- from the client to the program ---- */

/* Gives 0 while there is still a part of a frame that the program has not taken. */
static int finish_rest(struct wire *wire) {
  while (wire->rest_from < wire->rest_to) {
    ssize_t sent = send(wire->line, wire->rest + wire->rest_from, wire->rest_to - wire->rest_from,
                        MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) break;
    wire->rest_from += sent;
  }
  return wire->rest_from == wire->rest_to;
}

/* The same as give() for a stream. Frames go with their lengths, and none is ever cut off. */
static int give_stream(struct wire *wire, const struct iovec *frames, int n) {
  struct iovec pieces[TO_PROGRAM];
  for (int i = 0; i < n; i++)
    pieces[i] = (struct iovec){(unsigned char *)frames[i].iov_base - LENGTH, LENGTH + frames[i].iov_len};
  struct msghdr message = {.msg_iov = pieces, .msg_iovlen = n};
  ssize_t sent = finish_rest(wire) ? sendmsg(wire->line, &message, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return n;
  int done = 0;
  for (size_t left = sent < 0 ? 0 : sent; left > 0; done++) {
    size_t length = pieces[done].iov_len, part = left < length ? left : length;
    left -= part;
    if (part == length) continue;
    wire->rest_from = 0;
    wire->rest_to = length - part;
    memcpy(wire->rest, (unsigned char *)pieces[done].iov_base + part, length - part);
  }
  wire->line_is_full = done < n || wire->rest_from < wire->rest_to;
  return done;
}

/* Gives how many of the frames are dealt with; with those that cannot be sent at all they are lost. */
static int give(struct wire *wire, const struct iovec *frames, int n) {
  if (wire->kind == STREAM) return give_stream(wire, frames, n);
  struct mmsghdr messages[TO_PROGRAM];
  memset(messages, 0, sizeof messages);
  for (int i = 0; i < n; i++) {
    messages[i].msg_hdr.msg_iov = (struct iovec *)&frames[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  int done = 0;
  while (done < n) {
    int sent = wire->kind == TAP ? (write(wire->line, frames[done].iov_base, frames[done].iov_len) < 0 ? -1 : 1)
                            : syscall(SYS_sendmmsg, wire->line, messages + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
      wire->line_is_full = 1;
      return done;
    }
    /* An interface that is down takes none. */
    done += sent < 0 ? (errno == EINTR ? 0 : 1) : sent;
  }
  return done;
}

/* Gives the program what it takes of the frames that are whole. Gives 0 when what the client sends is no frames. */
static int deliver(struct wire *wire) {
  for (;;) {
    struct iovec frames[TO_PROGRAM];
    int n = 0, at = wire->in_from, broken = 0;
    while (n < TO_PROGRAM && wire->in_to - at >= LENGTH) {
      unsigned length = length_at(wire->in + at);
      broken = length == 0 || length > MOST_FRAME;
      if (broken || (unsigned)(wire->in_to - at - LENGTH) < length) break;
      if (length >= LEAST_FRAME) frames[n++] = (struct iovec){wire->in + at + LENGTH, length};
      at += LENGTH + length;
    }
    int given = n > 0 && wire->line >= 0 ? give(wire, frames, n) : n;
    if (given < n) {
      wire->in_from = (unsigned char *)frames[given].iov_base - LENGTH - wire->in;
      return 1;
    }
    wire->in_from = at;
    if (broken) return 0;
    if (n < TO_PROGRAM) return 1;
  }
}

static int from_client(struct wire *wire) {
  if (!wire->line_is_full) {
    if (wire->in_from > 0) {
      memmove(wire->in, wire->in + wire->in_from, wire->in_to - wire->in_from);
      wire->in_to -= wire->in_from;
      wire->in_from = 0;
    }
    /* There always is room: what is left is less than a whole frame. */
    ssize_t n = recv(wire->client, wire->in + wire->in_to, IN_BYTES - wire->in_to, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return 0;
    if (n > 0) wire->in_to += n;
  }
  wire->line_is_full = 0;
  return deliver(wire);
}

/* ---- the loop ---- */

enum { LISTENING, CLIENT, LINE };

int wires_poll(struct pollfd *polled) {
  for (int i = 0; i < count; i++) {
    const struct wire *wire = &wires[i];
    int out_waits = wire->out_to > 0;
    struct pollfd *three = polled + 3 * i;
    three[LISTENING] = (struct pollfd){wire->listening, POLLIN, 0};
    three[CLIENT] = (struct pollfd){wire->client, (wire->line_is_full ? 0 : POLLIN) | (out_waits ? POLLOUT : 0), 0};
    int line_waits = wire->line_is_full || wire->rest_from < wire->rest_to;
    three[LINE] = (struct pollfd){wire->line, (out_waits && !must_drain(wire) ? 0 : POLLIN) | (line_waits ? POLLOUT : 0), 0};
  }
  return 3 * count;
}

static void serve(struct wire *wire, const struct pollfd *three) {
  short client = three[CLIENT].revents, line = three[LINE].revents;
  if (wire->client < 0 && (line & POLLOUT)) finish_rest(wire);
  if (wire->client >= 0 && (client & POLLOUT) && !flush(wire)) drop_client(wire);
  if (wire->client >= 0 && ((client & POLLIN) || (line & POLLOUT)) && !from_client(wire)) drop_client(wire);
  /* Gone while nothing was wanted of it. */
  if (wire->client >= 0 && (client & (POLLHUP | POLLERR)) && !(client & POLLIN)) drop_client(wire);
  if (line & POLLIN) from_program(wire);
  else if (wire->line >= 0 && (line & (POLLHUP | POLLERR | POLLNVAL))) drop_line(wire);
  if (three[LISTENING].revents) {
    int fd = accept4(wire->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    /* A second one is there only when the first has died: the newest has the wire. */
    if (fd >= 0) {
      if (wire->client >= 0) drop_client(wire);
      wire->client = fd;
      widen(fd);
    }
  }
}

void wires_serve(const struct pollfd *polled) {
  for (int i = 0; i < count; i++) serve(&wires[i], polled + 3 * i);
}
