/* Bytes to frames and back. */
#include "agent.h"
#include "rings.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

enum {
  IN = 256 << 10,
  /* DATA goes up to a mark only: a command that writes without end must leave room for answers. */
  OUT_DATA = DATA_FRAMES * MAX_FRAME,
  OUT = OUT_DATA + 2 * MAX_FRAME,
  /* After so many bytes the parser lets the rest of the agent have its turn. */
  TURN = 512 << 10,
  /* How often a host that is gone is looked for, should nothing have told of it. */
  GONE_RETRY_MS = 1000,
  /* Less place than this is not worth a read. */
  SMALL_READ = 4096,
};

/* All of a SYNC but its nonce: what the parser looks for after garbage. */
static const uint8_t sync_start[] = "\x4c\x01\0\0\0\0\0\0\x18\0\0\0lodge-sync-v1\0\0";
enum { SYNC_START = sizeof sync_start, NONCE = 8, SYNC_FRAME = SYNC_START + NONCE };
_Static_assert(SYNC_START == HEADER + 16, "the magic has 16 bytes");

struct channel channel = {.fd = -1};

static uint8_t in[IN];
static const uint8_t *at = in; /* what has been read and not yet been parsed, in `in` or in the ring */
static size_t left;
static uint8_t held[MAX_FRAME]; /* a frame that came in pieces */
static size_t held_length;
static bool hunting = true;
static bool synced;
static bool has_sent; /* something since the last HELLO */
static bool paused; /* the next frame must wait */
static bool has_more; /* the parser stopped for another reason than that it had read all */

static uint8_t out[OUT];
static size_t out_from, out_to;

void channel_use(int fd, enum transport transport, uint8_t *memory) {
  channel.fd = fd;
  channel.transport = transport;
  if (transport == ON_RING) rings_use(memory);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ---- output ---- */

size_t out_room(void) {
  return synced ? OUT - out_to : 0;
}

bool channel_has_output(void) {
  return out_to > out_from;
}

void channel_forget_output(void) {
  out_from = out_to = 0;
}

static uint8_t *start_frame(enum frame_type type, unsigned stream, uint32_t session, size_t length) {
  uint8_t *header = out + out_to;
  uint16_t stream16 = (uint16_t)stream;
  uint32_t length32 = (uint32_t)length;
  header[0] = 0x4c;
  header[1] = (uint8_t)type;
  memcpy(header + 2, &stream16, 2);
  memcpy(header + 4, &session, 4);
  memcpy(header + 8, &length32, 4);
  out_to += HEADER + length;
  has_sent = true;
  return header + HEADER;
}

void send_frame(enum frame_type type, unsigned stream, uint32_t session, const void *payload, size_t length) {
  if (out_room() < HEADER + length) return; /* callers have looked; this only keeps the memory whole */
  uint8_t *place = start_frame(type, stream, session, length);
  if (length > 0) memcpy(place, payload, length);
}

void send_numbers(enum frame_type type, unsigned stream, uint32_t session, uint32_t a, uint32_t b, int count) {
  uint32_t numbers[] = {a, b};
  send_frame(type, stream, session, numbers, (size_t)count * 4);
}

void send_failure(enum frame_type type, uint32_t session, uint32_t a, uint32_t b, const char *text) {
  uint8_t payload[SMALL_FRAME - HEADER] = {0};
  memcpy(payload, &a, 4);
  memcpy(payload + 4, &b, 4);
  size_t length = strnlen(text, sizeof payload - 9);
  memcpy(payload + 8, text, length);
  send_frame(type, 0, session, payload, 8 + length + 1);
}

int data_places(struct iovec *places, size_t limit) {
  size_t to = out_to;
  int count = 0;
  if (!synced) return 0;
  while (limit > 0 && count < DATA_FRAMES && to + HEADER + SMALL_READ <= OUT_DATA) {
    size_t length = least(least(OUT_DATA - to - HEADER, MAX_PAYLOAD), limit);
    places[count++] = (struct iovec){out + to + HEADER, length};
    to += HEADER + length;
    limit -= length;
  }
  return count;
}

void data_send(unsigned stream, uint32_t session, size_t length) {
  while (length > 0) {
    size_t n = least(length, MAX_PAYLOAD);
    start_frame(DATA, stream, session, n);
    length -= n;
  }
}

void channel_lost(void) {
  /* The keeper of namespaces holds the other end for as long as the guest may live; process 1 takes all with it. */
  if (!is_init || in_namespaces) {
    sessions_kill();
    exit(0);
  }
  if (!channel.gone) {
    /* A hang-up shows in poll() all the time; an edge-triggered epoll tells when it changes, and is quiet else. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    channel.watch = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(channel.watch, EPOLL_CTL_ADD, channel.fd, &event);
  }
  channel.gone = true;
  channel.quiet_until = now_ms() + GONE_RETRY_MS;
  synced = false;
  hunting = true;
  paused = false;
  held_length = left = 0;
  channel_forget_output();
}

static void flush_to_stream(void) {
  while (channel_has_output() && !channel.gone) {
    ssize_t n = write(channel.fd, out + out_from, out_to - out_from);
    if (n < 0 && errno == EINTR) continue;
    /* A virtio port says EAGAIN also while no host is there, and ENOMEM when memory is short: both pass. */
    if (n < 0 && errno == ENOMEM) channel.quiet_until = now_ms() + RETRY_MS;
    if (n < 0 && (errno == EAGAIN || errno == ENOMEM)) return;
    if (n <= 0) return channel_lost();
    out_from += (size_t)n;
  }
}

/* A line that takes no more has bells on it that have not been heard yet. */
static void ring_bell(void) {
  ssize_t n = write(channel.fd, "", 1);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) channel_lost();
}

void channel_flush(void) {
  if (channel.gone) return;
  if (channel.transport == ON_RING) {
    out_from += rings_put(out + out_from, out_to - out_from);
    if (rings_ask_for_bell()) ring_bell();
  } else flush_to_stream();
  if (!channel_has_output()) channel_forget_output();
}

void channel_retry(void) {
  struct epoll_event event;
  epoll_wait(channel.watch, &event, 1, 0);
  channel.quiet_until = now_ms() + GONE_RETRY_MS;
  if (channel.transport == ON_RING) {
    /* A line that was hung up stays so until it is opened again. */
    int fd = open_line();
    if (fd >= 0) dup3(fd, channel.fd, O_CLOEXEC);
    if (fd >= 0) close(fd);
  }
  struct pollfd fd = {.fd = channel.fd, .events = POLLIN};
  if (poll(&fd, 1, 0) < 0 || (fd.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return;
  channel.gone = false;
  channel.quiet_until = 0;
  close(channel.watch);
}

/* ---- input ---- */

static bool from_host(uint8_t type) {
  const uint32_t types = 1u << SYNC | 1u << CONFIGURE | 1u << EXEC | 1u << DATA | 1u << END | 1u << CREDIT |
                         1u << SIGNAL | 1u << RESIZE | 1u << CLOSE | 1u << READ | 1u << HALT | 1u << PING;
  return type < 32 && (types >> type & 1) != 0;
}

static bool read_header(const uint8_t *bytes, struct frame *frame) {
  *frame = (struct frame){
      .type = bytes[1], .stream = get16(bytes + 2), .session = get32(bytes + 4), .length = get32(bytes + 8)};
  return bytes[0] == 0x4c && from_host(frame->type) && frame->length <= MAX_PAYLOAD;
}

/* From here on this host is the only one there is. */
static void answer_sync(const uint8_t *nonce) {
  uint8_t payload[NONCE + 4 + sizeof(struct utsname)];
  struct utsname names;
  uint32_t version = PROTOCOL_VERSION;
  uname(&names);
  memcpy(payload, nonce, NONCE);
  memcpy(payload + NONCE, &version, 4);
  size_t length = strlen(names.release) + 1;
  memcpy(payload + NONCE + 4, names.release, length);
  sessions_abandon();
  steps_forget();
  channel_forget_output();
  if (has_sent) {
    /* As a host does it: the frame that is broken off, here or on the way, ends before the HELLO. */
    memset(out, 0, MAX_FRAME);
    out_to = MAX_FRAME;
  }
  synced = true;
  send_frame(HELLO, 0, 0, payload, NONCE + 4 + length);
  has_sent = false;
}

static enum verdict give(struct frame *frame, const uint8_t *payload) {
  frame->payload = payload;
  if (frame->type != SYNC) return take_frame(frame);
  if (frame->length != 24 || memcmp(payload, sync_start + HEADER, 16) != 0) return BROKEN;
  answer_sync(payload + 16);
  return TAKEN;
}

static void skip(size_t length) {
  at += length;
  left -= length;
}

static void drop_held(size_t length) {
  held_length -= length;
  memmove(held, held + length, held_length);
}

/* Brings `held` up to a length, as far as there are bytes. */
static bool hold(size_t length) {
  if (held_length < length) {
    size_t n = least(length - held_length, left);
    memcpy(held + held_length, at, n);
    held_length += n;
    skip(n);
  }
  return held_length >= length;
}

/* What a turn of the parser came to: something was done; more bytes are needed; a frame can't be taken yet. */
enum step { DONE, HUNGRY, PAUSED };

/* Looks for a SYNC, whatever else comes. What has been seen and what follows a SYNC are both in `held`. */
static enum step hunt(void) {
  hold(MAX_FRAME);
  uint8_t *found = memmem(held, held_length, sync_start, SYNC_START);
  if (found == NULL) {
    drop_held(held_length - least(held_length, SYNC_START - 1));
    return left > 0 ? DONE : HUNGRY;
  }
  drop_held((size_t)(found - held));
  if (!hold(SYNC_FRAME)) return HUNGRY;
  hunting = false;
  answer_sync(held + SYNC_START);
  drop_held(SYNC_FRAME);
  return DONE;
}

static enum step after(enum verdict verdict) {
  if (verdict == LATER) return PAUSED;
  if (verdict == BROKEN) hunting = true;
  return DONE;
}

static enum step parse_in_place(void) {
  while (left > 0 && *at == 0) skip(1);
  uint8_t header[HEADER]; /* copied, as what stands in the ring can change under our eyes */
  struct frame frame;
  if (left >= HEADER) {
    memcpy(header, at, HEADER);
    if (!read_header(header, &frame)) return after(BROKEN);
    if (left - HEADER >= frame.length) {
      enum verdict verdict = give(&frame, at + HEADER);
      if (verdict == TAKEN) skip(HEADER + frame.length);
      return after(verdict);
    }
  }
  hold(HEADER); /* from here on it is a frame in pieces */
  return held_length > 0 && left > 0 ? DONE : HUNGRY;
}

static enum step parse_held(void) {
  size_t zeros = 0;
  while (zeros < held_length && held[zeros] == 0) zeros++;
  if (zeros > 0) {
    drop_held(zeros);
    return DONE;
  }
  struct frame frame;
  if (!hold(HEADER)) return HUNGRY;
  if (!read_header(held, &frame)) return after(BROKEN);
  if (!hold(HEADER + frame.length)) return HUNGRY;
  enum verdict verdict = give(&frame, held + HEADER);
  if (verdict == TAKEN) drop_held(HEADER + frame.length);
  return after(verdict);
}

static void tell_taken(void) {
  if (channel.transport == ON_RING) rings_taken(left);
}

static bool refill_from_ring(void) {
  if (!rings_sound()) {
    /*
     * Garbage. What stands in the ring has been read before, and commands must not run twice: go on where it says, and
     * have the host see it, since nothing that it says is heard before its next SYNC.
     */
    rings_pass_over();
    hunting = true;
    held_length = left = 0;
    tell_taken();
  }
  left = rings_get(&at);
  return left > 0;
}

static void refill_from_stream(void) {
  size_t length = 0;
  while (length < IN) {
    /* A virtio port gives at most a page at a time. */
    ssize_t n = read(channel.fd, in + length, IN - length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      if (length == 0) channel_lost();
      break;
    }
    length += (size_t)n;
    if (channel.transport == ON_SOCKET && length >= SMALL_READ) break;
  }
  at = in;
  left = length;
}

/* The bytes on the line only say that the rings are worth a look. */
static void read_bells(void) {
  ssize_t n = read(channel.fd, in, IN);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) channel_lost();
}

bool channel_wants_input(void) {
  /* Bells are wanted always: one may tell of room for output. */
  return channel.transport == ON_RING || (left == 0 && !paused);
}

bool channel_wants_output(void) {
  return channel.transport != ON_RING && channel_has_output();
}

/* Every answer must find its place. */
static bool has_room(void) {
  return hunting || out_room() >= MAX_FRAME + SMALL_FRAME;
}

void channel_take(bool readable) {
  if (readable && channel.transport == ON_RING) read_bells();
  if (readable && channel.transport != ON_RING && left == 0) refill_from_stream();
  size_t taken = 0;
  enum step step = DONE;
  while (taken < TURN && step == DONE && has_room()) {
    size_t before = left;
    step = hunting ? hunt() : held_length > 0 ? parse_held() : parse_in_place();
    taken += before - left;
    tell_taken();
    if (step == HUNGRY && channel.transport == ON_RING && refill_from_ring()) step = DONE;
  }
  paused = step == PAUSED;
  has_more = step == DONE;
}

bool channel_has_more(void) {
  return paused ? !steps_pending() : has_more && has_room();
}
