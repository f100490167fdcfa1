/* The agent: PID 1 of a guest that lodge boots, and lodge's hands in it. This file is its event loop. */
#include "agent.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WAIT_MS = 1000 * 3600 };

bool is_init, in_namespaces;
static int64_t wake;

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void wake_at(int64_t ms) {
  if (ms < wake) wake = ms;
}

bool childless(void) {
  siginfo_t info;
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

void say(const char *format, ...) {
  static const char name[] = "lodge-agent: ";
  char line[512];
  va_list arguments;
  memcpy(line, name, sizeof name);
  va_start(arguments, format);
  vsnprintf(line + sizeof name - 1, sizeof line - sizeof name, format, arguments);
  va_end(arguments);
  size_t length = strlen(line);
  line[length++] = '\n';
  /* A console that takes nothing must not hold us up. */
  if (write(2, line, length) < 0) return;
}

enum verdict take_frame(const struct frame *frame) {
  switch (frame->type) {
    case CONFIGURE:
    case EXEC:
    case READ:
      /* These may rest on steps that are under way. */
      if (steps_pending()) return LATER;
      if (frame->type == CONFIGURE) return steps_take(frame);
      if (frame->type == EXEC && frame->session == 0) return BROKEN;
      if (frame->type == EXEC) session_exec(frame);
      else read_file(frame);
      return TAKEN;
    case HALT:
      return halt_take(frame);
    case PING:
      if (frame->length > 64) return BROKEN;
      send_frame(PONG, 0, frame->session, frame->payload, frame->length);
      return TAKEN;
    default:
      return session_frame(frame);
  }
}

void be_patient(bool patient) {
  struct sched_param none = {0};
  syscall(SYS_sched_setscheduler, 0, patient ? SCHED_BATCH : SCHED_OTHER, &none); /* musl's own does nothing */
}

static void reap(void) {
  pid_t pid;
  int status;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    halt_child_ended(pid);
    sessions_child_ended(pid, status);
  }
}

static int watch_children(void) {
  struct sigaction standard = {.sa_handler = SIG_DFL}, ignored = {.sa_handler = SIG_IGN};
  for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);
  sigaction(SIGPIPE, &ignored, NULL);
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_SETMASK, &children, NULL);
  return signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void __attribute__((noreturn)) run(int signals) {
  static struct pollfd fds[2 + SESSION_POLLS];
  bool readable = false;
  for (;;) {
    int64_t now = now_ms();
    wake = now + MAX_WAIT_MS;
    if (channel.gone && now >= channel.quiet_until) channel_retry();
    channel_take(readable);
    steps_pump();
    sessions_pump(now);
    halt_pump(now);
    channel_flush();

    bool quiet = now < channel.quiet_until;
    if (quiet || channel.gone) wake_at(channel.quiet_until);
    short events = (short)((channel_wants_input() ? POLLIN : 0) | (channel_wants_output() ? POLLOUT : 0));
    fds[0] = (struct pollfd){.fd = channel.fd, .events = events};
    if (quiet) fds[0].fd = -1;
    if (channel.gone) fds[0] = (struct pollfd){.fd = channel.watch, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = signals, .events = POLLIN};
    int count = sessions_poll(fds + 2, now);
    int64_t wait = channel_has_more() ? 0 : wake - now;
    if (poll(fds, (nfds_t)count + 2, wait < 0 ? 0 : (int)wait) < 0) {
      for (int i = 0; i < count + 2; i++) fds[i].revents = 0;
    }
    struct signalfd_siginfo info;
    while (fds[1].revents != 0 && read(signals, &info, sizeof info) == sizeof info) continue;
    if (fds[1].revents != 0) reap();
    if (channel.gone) {
      if (fds[0].revents != 0) channel_retry();
      fds[0].revents = 0;
    }
    readable = (fds[0].revents & POLLIN) != 0;
    /* A hang-up can't be waited out in poll(). What the host has said before is read first. */
    if ((fds[0].revents & (POLLHUP | POLLERR)) != 0) {
      if (!(events & POLLIN)) channel.quiet_until = now_ms() + RETRY_MS;
      readable = (events & POLLIN) != 0;
    }
    sessions_polled(fds + 2, count, now);
  }
}

/*
 * In namespaces, and for tests on the host: the protocol on a socket that was inherited, and the rings in a file.
 * The directory after --namespaces only stands there to be seen on the host.
 */
static bool use_arguments(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "--namespaces") == 0 && getpid() == 1) {
    if (fcntl(atoi(argv[2]), F_GETFD) < 0) return false;
    is_init = in_namespaces = true;
    channel_use(atoi(argv[2]), ON_SOCKET, NULL);
    return true;
  }
  bool on_ring = argc == 5 && strcmp(argv[1], "--uml-fd") == 0 && strcmp(argv[3], "--ring") == 0;
  if (!on_ring && !(argc == 3 && strcmp(argv[1], "--fd") == 0)) return false;
  int fd = atoi(argv[2]);
  void *rings = NULL;
  if (on_ring) {
    int file = open(argv[4], O_RDWR | O_CLOEXEC);
    rings = mmap(NULL, RINGS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (rings == MAP_FAILED) return false;
    close(file);
  }
  if (fcntl(fd, F_GETFD) < 0) return false;
  channel_use(fd, on_ring ? ON_RING : ON_SOCKET, rings);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  return true;
}

int main(int argc, char **argv) {
  is_init = getpid() == 1 && (argc < 2 || strncmp(argv[1], "--", 2) != 0);
  if (is_init) {
    init_machine();
    init_channel();
    if (chdir("/") < 0) say("can't go to /: %s", strerror(errno));
  } else if (!use_arguments(argc, argv)) {
    say("this is the init of a guest; --namespaces is for the keeper, --fd N and --uml-fd N --ring FILE for tests");
    return 2;
  }
  umask(0);
  be_patient(true);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    if (is_init && !in_namespaces) files.rlim_max = 1048576;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  run(watch_children());
}
