/*
 * The guest side of the agent protocol (docs/reference/agent-protocol.md).
 *
 *   init.c      what PID 1 does before and after: mounts, modules, finding the channel, going down
 *   frames.c    bytes to frames and back, over a stream or the rings
 *   rings.c     the rings of user-mode Linux
 *   sessions.c  the commands that run, their output and their ends
 *   input.c     their standard input
 *   spawn.c     from an EXEC frame to a process
 *   steps.c     CONFIGURE and READ
 *   network.c   the steps of network interfaces
 *   probe.c     the steps that look what can be reached
 *   halt.c      HALT
 *   agent.c     the event loop
 *
 * Nothing here waits for anything but in poll(): a host that stops reading and a command that stops reading must
 * not keep the other commands from running. Only CONFIGURE and READ may be held up, by the file systems they touch.
 */
#ifndef LODGE_AGENT_H
#define LODGE_AGENT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

enum {
  PROTOCOL_VERSION = 2,
  HEADER = 12,
  MAX_PAYLOAD = 262144,
  MAX_FRAME = HEADER + MAX_PAYLOAD,
  STDIN_CREDIT = 1048576,
  MAX_SESSIONS = 512,
  DATA_FRAMES = 4,
  /* The rings of user-mode Linux: bytes of each, and of the file with both. */
  RING = 2 << 20,
  RINGS_BYTES = 2 * 4096 + 2 * RING,
  /* More than any frame the agent sends without having been asked, texts included. */
  SMALL_FRAME = 512,
  /* How often what can't be waited for in poll() is looked at. */
  RETRY_MS = 50,
};

enum frame_type {
  SYNC = 1,
  HELLO,
  CONFIGURE,
  CONFIGURED,
  EXEC,
  STARTED,
  REFUSED,
  DATA,
  END, /* EOF in the document; C has that name already */
  CREDIT,
  SIGNAL,
  RESIZE,
  EXIT,
  CLOSE,
  READ,
  CONTENT,
  HALT,
  HALTED,
  PING = 20,
  PONG,
};

enum stage { NO_SESSION = 1, BAD_REQUEST, BAD_USER, BAD_DIRECTORY, BAD_PROGRAM };

struct frame {
  uint8_t type;
  uint16_t stream;
  uint32_t session;
  uint32_t length;
  const uint8_t *payload;
};

/* What became of a frame: done; not now, show it again; it breaks the rules. */
enum verdict { TAKEN, LATER, BROKEN };

static inline uint16_t get16(const uint8_t *at) {
  uint16_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static inline uint32_t get32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static inline size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

/* agent.c */
extern bool is_init; /* PID 1 of a guest; otherwise under test, where the machine is not ours */
/* PID 1 of a guest that is namespaces of the host: its files, processes and network are ours, the kernel is not. */
extern bool in_namespaces;
int64_t now_ms(void);
/* One line on the console. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
enum verdict take_frame(const struct frame *frame);
/* Makes the event loop come round again by that time. */
void wake_at(int64_t ms);
/*
 * Lets a process that writes go on writing when that wakes the agent, so that on one CPU it is a megabyte and not
 * a line that is taken at a time. A process that waits costs nothing: then the agent is next at once.
 */
void be_patient(bool patient);
/* Whether the agent has no children at all. */
bool childless(void);

/* init.c */
void init_machine(void);
void init_channel(void);
void machine_down(bool again) __attribute__((noreturn));
/* Writes everything back and lets go of what is mounted. May hang where a file system does. */
void let_go_of_files(void);
/* Opens the serial line of user-mode Linux. */
int open_line(void);

/* frames.c */
enum transport { ON_SOCKET, ON_VIRTIO, ON_RING };
struct channel {
  int fd;
  enum transport transport;
  bool gone;           /* the host is not there */
  int watch;           /* then this tells that it may be back */
  int64_t quiet_until; /* until then poll() has nothing to say about it */
};
extern struct channel channel;
/* `rings`: RINGS_BYTES of memory shared with the host, where the transport has them. */
void channel_use(int fd, enum transport transport, uint8_t *rings);
/* Takes in what is there, as far as the answers find their place. */
void channel_take(bool readable);
/* Whether it could go on at once. */
bool channel_has_more(void);
void channel_flush(void);
bool channel_has_output(void);
/* What to wait for in poll(). */
bool channel_wants_input(void);
bool channel_wants_output(void);
void channel_forget_output(void);
/* Looks whether a host that was gone is back. */
void channel_retry(void);
void channel_lost(void);
/* How much may be sent now; nothing while no host has said SYNC. */
size_t out_room(void);
void send_frame(enum frame_type type, unsigned stream, uint32_t session, const void *payload, size_t length);
void send_numbers(enum frame_type type, unsigned stream, uint32_t session, uint32_t a, uint32_t b, int count);
/* `a`, `b` and a text, cut where it is too long. */
void send_failure(enum frame_type type, uint32_t session, uint32_t a, uint32_t b, const char *text);
/*
 * Where the bytes of DATA frames can be read to in one go, at most DATA_FRAMES places and `limit` bytes; the frames'
 * headers stand between. Returns how many places; data_send() makes frames of what was read.
 */
struct iovec;
int data_places(struct iovec *places, size_t limit);
void data_send(unsigned stream, uint32_t session, size_t length);

/* sessions.c */
struct pollfd;
void session_exec(const struct frame *frame);
enum verdict session_frame(const struct frame *frame);
/* Ends all sessions as CLOSE does, and nobody will hear of them again. */
void sessions_abandon(void);
void sessions_signal(int number);
void sessions_kill(void);
/* Tells those with a terminal that it is gone: shells heed that, and not SIGTERM. */
void sessions_hang_up(void);
void sessions_child_ended(pid_t pid, int status);
/* Sends what is due, and looks at the times. */
void sessions_pump(int64_t now);
int sessions_poll(struct pollfd *fds, int64_t now);
void sessions_polled(const struct pollfd *fds, int count, int64_t now);
enum { SESSION_POLLS = 3 * MAX_SESSIONS };

/* spawn.c */
struct spawned {
  pid_t pid;
  int in, out, err;      /* the agent's ends; with a terminal in and out are one, and err is -1 */
  int status;            /* a struct refusal comes out of it, or its end when the program runs */
  bool is_terminal;
  uint64_t credit;
};
struct refusal {
  uint32_t error, stage;
  char text[256];
};
bool spawn(const struct frame *frame, struct spawned *spawned, struct refusal *refusal);
void set_size(int fd, unsigned rows, unsigned columns);

/* steps.c */
enum verdict steps_take(const struct frame *frame);
void steps_forget(void);
bool steps_pending(void);
void steps_pump(void);
void read_file(const struct frame *frame);
int make_directories(const char *path, mode_t mode);

/* halt.c */
enum verdict halt_take(const struct frame *frame);
bool halting(void);
void halt_pump(int64_t now);
void halt_child_ended(pid_t pid);

#endif
