/*
 * keeper: stays with one virtual machine process, whatever becomes of the rest of lodge.
 *
 *   keeper [--lifeline] [--watched] [--contain [--scratch PATH [--writable PATH]...]] [--relay]
 *          [--small-pages] [--apart] [--bridges FILE] [--wire MAC | --stream-wire MAC | --tap BRIDGE NAME MTU]...
 *          [--netns | --netns-as-is] --dir DIR [--log-bytes N] [--beside SOCKET N PROGRAM [ARG...]]... -- PROGRAM [ARG...]
 *
 * It starts PROGRAM, keeps the console (PROGRAM's standard input and output) and its complaints (standard
 * error) in files of bounded size, lets others watch and type at DIR/console.sock, and writes DIR/exit when
 * PROGRAM has ended. One such process per guest lets a host agent die and come back without any guest
 * noticing, at some tens of kilobytes each.
 *
 *   --lifeline   standard input is a pipe from the owner: when it ends, PROGRAM is killed and DIR removed
 *                SIGTERM then ends neither keeper nor PROGRAM: Slurm sends it, and SIGCONT before it, to all processes
 *                of a step, and the owner has something to do with PROGRAM before it ends
 *   --watched    the owner will watch the console: nothing is read from it before, so that all is seen
 *   --contain    PROGRAM runs in a PID namespace, so that whatever it starts ends with it; without the
 *                privilege to make one, what is left is killed by hand
 *   --scratch    PROGRAM can write on the host only what --writable names, and has a directory in memory of its own
 *                here, which is its TMPDIR unless there is one; not where no mount namespace can be made (confine.c)
 *   --relay      PROGRAM gets a socket as descriptor 3, joined to whoever connects to DIR/channel.sock
 *
 *   --small-pages
 *                the kernel gives PROGRAM no transparent huge pages
 *   --beside     N words that start another program first, with a socket that listens at DIR/SOCKET as descriptor
 *                3; PROGRAM is killed when it ends, and it when PROGRAM ends
 *   --apart      keeper and PROGRAM are in a network namespace with nothing in it
 *   --wire       PROGRAM gets a socket for the frames of a network interface, joined to whoever connects to
 *                DIR/netN.sock (wire.h), N counting from 0; the sockets are descriptors 4 and up
 *   --stream-wire
 *                the same, with a stream instead of datagrams
 *   --tap        instead of a socket PROGRAM gets a TAP device of the kernel, joined to a bridge in the namespace
 *                whose holder the file after --bridges names (taps.h, holder.c)
 *   --netns      PROGRAM, a static binary, is process 1 of namespaces of its own in a tree of its own (tree.h), as root;
 *                wires are TAP devices with the given hardware addresses, and its console is a terminal
 *   --netns-as-is
 *                the same without rights over the host's mounts: in the tree there is no lodge/lower
 *
 * DIR/keeper holds "PID START", START being its start time in clock ticks since boot (proc(5), stat field 22).
 * On standard output comes one line: {"pid":N,"contained":true|false,"confined":true|false}, or {"error":"..."}.
 * DIR/exit holds "code N" or "signal N", or "lost I code N" when the program beside it with index I (from 0) ended
 * first. SIGINT makes it kill PROGRAM, and so does SIGTERM without --lifeline.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "beside.h"
#include "console.h"
#include "identity.h"
#include "listen.h"
#include "log.h"
#include "namespaces.h"
#include "netns.h"
#include "relay.h"
#include "taps.h"
#include "wire.h"
#include "write-limits.h"

static const char *dir;
static int lifeline, contain, relay, small_pages, apart, netns, layered, has_taps;
static char *scratch, **writable, *bridges;
static int writable_count;

static pid_t program;
static int contained, confined;

static void say_error(const char *what) {
  char line[512];
  int n = snprintf(line, sizeof line, "{\"error\":\"%s: %s\"}\n", what, strerror(errno));
  if (write(1, line, n) < 0) _exit(125);
}

static void die(const char *what) {
  say_error(what);
  if (program > 0) kill(program, SIGKILL);
  _exit(125);
}

static void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

static void die_of_taps(void) {
  char what[128];
  snprintf(what, sizeof what, "bridges: %s", taps_failed);
  die(what);
}

static int listen_or_die(const char *name) {
  int fd = listen_at(name);
  if (fd < 0) die(name);
  return fd;
}

/* Tried in a process that ends with it: half of a confinement can neither be used nor undone. */
static int can_confine(void) {
  pid_t trial = fork();
  int status;
  if (trial == 0) _exit(enter_pid_namespace() < 0 || limit_writes(writable, writable_count, scratch) < 0);
  return trial > 0 && waitpid(trial, &status, 0) == trial && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void exec_program(char **argv, int in, int out, int err, int channel, int report) {
  sigset_t blocked;
  sigemptyset(&blocked);
  if (lifeline) sigaddset(&blocked, SIGTERM);
  /* User-mode Linux traces its processes, and panics where one is stopped by a signal that it has not sent. */
  sigaddset(&blocked, SIGCONT);
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  /* All out of the way first, whatever numbers they have. */
  int above = 4 + MAX_WIRES, ends[MAX_WIRES];
  report = fcntl(report, F_DUPFD_CLOEXEC, above);
  for (int i = 0; i < wire_count(); i++) ends[i] = fcntl(wire_program_end(i), F_DUPFD_CLOEXEC, above);
  if (channel >= 0) dup2(channel, 3);
  for (int i = 0; i < wire_count(); i++) {
    dup2(ends[i], 4 + i);
    /* The program's own affair: user-mode Linux expects a socket that waits. */
    fcntl(4 + i, F_SETFL, fcntl(4 + i, F_GETFL) & ~O_NONBLOCK);
  }
  /* User-mode Linux makes the guest's files itself, and these have been through the mask of their own process. */
  if (contain) umask(0);
  execvp(argv[0], argv);
  int why = errno;
  if (write(report, &why, sizeof why) < 0) _exit(126);
  _exit(126);
}

/* Runs as process 1 of the PID namespace: a plain init, so that PROGRAM itself keeps normal signal rules. */
static void be_init(char **argv, int in, int out, int err, int channel, int report) {
  pid_t main_pid = fork();
  if (main_pid == 0) exec_program(argv, in, out, err, channel, report);
  close(in);
  close(out);
  close(err);
  close(report);
  if (channel >= 0) close(channel);
  wires_close_program_ends();
  for (;;) {
    int status;
    pid_t ended = wait(&status);
    if (ended != main_pid) continue;
    /* A signal cannot be passed on by dying of it: process 1 is immune. 128 + n says it as a shell does. */
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  }
}

/* What is open to PROGRAM; -1 where there is none. */
struct streams {
  int in, out, err, channel;
};

/* The console is a terminal, and complaints go there too. */
static struct streams start_namespaces(char **argv, const int pair[2]) {
  const struct netns how = {.dir = dir, .layered = layered, .argv = argv, .channel = pair[1]};
  int terminal;
  program = netns_start(&how, &terminal);
  if (program < 0) {
    char what[256];
    snprintf(what, sizeof what, "namespaces: %s", netns_failed);
    die(what);
  }
  wires_close_program_ends();
  if (relay) close(pair[1]);
  if (relay) set_nonblocking(pair[0]);
  set_nonblocking(terminal);
  return (struct streams){terminal, terminal, -1, pair[0]};
}

static struct streams start(char **argv) {
  int in[2], out[2], err[2], pair[2] = {-1, -1}, report[2];
  if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 ||
      pipe2(report, O_CLOEXEC) < 0)
    die("pipe");
  if (relay) {
    int bytes = 1 << 20;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die("socketpair");
    for (int i = 0; i < 2; i++) setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  }
  if (netns) return start_namespaces(argv, pair);
  if (beside_start(err[1]) < 0) die("a program beside the guest");
  pid_t self = getpid();
  int may_confine = contain && scratch && can_confine();
  contained = contain && enter_pid_namespace() == 0;
  confined = contained && may_confine;
  program = fork();
  if (program < 0) die("fork");
  if (program == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* The keeper may have been killed before the line above took effect. */
    if (!contained && getppid() != self) _exit(126);
    if (confined && limit_writes(writable, writable_count, scratch) < 0) {
      int why = errno;
      _exit(write(report[1], &why, sizeof why) < 0 ? 125 : 126);
    }
    if (confined) setenv("TMPDIR", scratch, 0);
    if (contained) be_init(argv, in[0], out[1], err[1], pair[1], report[1]);
    exec_program(argv, in[0], out[1], err[1], pair[1], report[1]);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  close(report[1]);
  if (relay) close(pair[1]);
  wires_close_program_ends();
  int why;
  if (read(report[0], &why, sizeof why) == sizeof why) {
    errno = why;
    die(argv[0]);
  }
  close(report[0]);
  set_nonblocking(in[1]);
  set_nonblocking(out[0]);
  set_nonblocking(err[0]);
  if (relay) set_nonblocking(pair[0]);
  return (struct streams){in[1], out[0], err[0], pair[0]};
}

/* Without a PID namespace: what PROGRAM started is now the keeper's own (it is the subreaper). */
static void kill_orphans(void) {
  char path[64], list[4096];
  for (int round = 0; round < 100; round++) {
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, list, sizeof list - 1);
    if (fd >= 0) close(fd);
    if (n <= 0) return;
    list[n] = 0;
    for (char *p = list; *p;) {
      long pid = strtol(p, &p, 10);
      if (pid > 0) kill(pid, SIGKILL);
      else break;
    }
    while (waitpid(-1, NULL, WNOHANG) > 0);
    usleep(1000);
  }
}

static void finish(int status) {
  kill_orphans();
  int code = WIFSIGNALED(status) ? 0 : WEXITSTATUS(status);
  const struct beside_end *lost = beside_lost();
  if (lost) write_file("exit", "lost %d code %d\n", lost->index, lost->code);
  else if (WIFSIGNALED(status)) write_file("exit", "signal %d\n", WTERMSIG(status));
  else if (contained && code > 128) write_file("exit", "signal %d\n", code - 128);
  else write_file("exit", "code %d\n", code);
}

static void remove_dir(void) {
  if (chdir("/") < 0) _exit(125);
  execl("/bin/rm", "rm", "-rf", "--", dir, (char *)NULL);
  _exit(125);
}

int main(int argc, char **argv) {
  int i = 1, words;
  if ((writable = calloc(argc, sizeof *writable)) == NULL) return 125;
  for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
    if (!strcmp(argv[i], "--lifeline")) lifeline = 1;
    else if (!strcmp(argv[i], "--watched")) console_hold();
    else if (!strcmp(argv[i], "--contain")) contain = 1;
    else if (!strcmp(argv[i], "--relay")) relay = 1;
    else if (!strcmp(argv[i], "--small-pages")) small_pages = 1;
    else if (!strcmp(argv[i], "--scratch") && i + 1 < argc) scratch = argv[++i];
    else if (!strcmp(argv[i], "--writable") && i + 1 < argc) writable[writable_count++] = argv[++i];
    else if (!strcmp(argv[i], "--apart")) apart = 1;
    else if (!strcmp(argv[i], "--netns")) netns = layered = 1;
    else if (!strcmp(argv[i], "--netns-as-is")) netns = 1;
    else if (!strcmp(argv[i], "--wire") && i + 1 < argc && wire_add(argv[i + 1], 0)) i++;
    else if (!strcmp(argv[i], "--stream-wire") && i + 1 < argc && wire_add(argv[i + 1], 1)) i++;
    else if (!strcmp(argv[i], "--bridges") && i + 1 < argc) bridges = argv[++i];
    else if (!strcmp(argv[i], "--tap") && i + 3 < argc && tap_add(argv[i + 1], argv[i + 2], argv[i + 3])) {
      i += 3;
      has_taps = 1;
    } else if (!strcmp(argv[i], "--dir") && i + 1 < argc) dir = argv[++i];
    else if (!strcmp(argv[i], "--log-bytes") && i + 1 < argc) log_bytes = atol(argv[++i]);
    else if (!strcmp(argv[i], "--beside") && (words = beside_add(argc - i - 1, argv + i + 1)) > 0) i += words;
    else break;
  }
  if (i + 1 >= argc || strcmp(argv[i], "--") != 0 || !dir || dir[0] != '/' || log_bytes < 4096 ||
      (has_taps && !bridges)) {
    fprintf(stderr, "usage: keeper [--lifeline] [--watched] [--contain] [--scratch PATH] [--writable PATH]... [--relay] [--small-pages] [--apart] [--bridges FILE] [--wire MAC | --stream-wire MAC | --tap BRIDGE NAME MTU]... [--netns | --netns-as-is] --dir DIR [--log-bytes N] [--beside SOCKET N PROGRAM [ARG...]]... -- PROGRAM [ARG...]\n");
    return 125;
  }
  char **program_argv = argv + i + 1;
  if (chdir(dir) < 0) die(dir);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  signal(SIGPIPE, SIG_IGN);
  /* As of a full disk, the limit of file sizes costs log lines. */
  signal(SIGXFSZ, SIG_IGN);
  /* The terminal's signals are for lodge, which decides what the guest gets to know. */
  setsid();

  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGINT);
  sigaddset(&watched, SIGHUP);
  sigprocmask(SIG_BLOCK, &watched, NULL);
  int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  int console = listen_or_die("console.sock");
  int channel = relay ? listen_or_die("channel.sock") : -1;

  write_identity("keeper");
  /* While this process still is who it was. */
  if (taps_open(bridges) < 0) die_of_taps();
  if (apart && enter_network_namespace() < 0) die("namespaces: a network namespace");
  if (wires_open() < 0) die("network sockets");
  /* Inherited through fork and exec. */
  if (small_pages && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) < 0) die("PR_SET_THP_DISABLE");

  struct streams streams = start(program_argv);
  console_between(console, streams.in, streams.out, streams.err);
  relay_between(channel, streams.channel);
  printf("{\"pid\":%d,\"contained\":%s,\"confined\":%s}\n", program, contained ? "true" : "false",
         confined ? "true" : "false");
  fflush(stdout);
  /* From here on nobody waits for our output. */
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, 1);
  dup2(null, 2);

  int orphaned = 0, status = -1;
  for (;;) {
    enum { LIFELINE, SIGNALS, RELAY, WIRES = RELAY + RELAY_POLLED, CONSOLE = WIRES + WIRES_POLLED };
    struct pollfd polled[CONSOLE + CONSOLE_POLLED];
    polled[LIFELINE] = (struct pollfd){lifeline && !orphaned ? 0 : -1, POLLIN, 0};
    polled[SIGNALS] = (struct pollfd){signals, POLLIN, 0};
    relay_poll(polled + RELAY);
    struct pollfd *of_console = polled + WIRES + wires_poll(polled + WIRES);
    int count = of_console - polled + console_poll(of_console);
    if (poll(polled, count, beside_patience()) < 0 && errno != EINTR) die("poll");

    relay_serve(polled + RELAY);
    wires_serve(polled + WIRES);
    console_serve(of_console);
    if (polled[LIFELINE].revents) {
      char ignored[256];
      if (read(0, ignored, sizeof ignored) <= 0) {
        orphaned = 1;
        kill(program, SIGKILL);
      }
    }
    if (polled[SIGNALS].revents) {
      struct signalfd_siginfo info;
      while (read(signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD && !(lifeline && info.ssi_signo == SIGTERM)) kill(program, SIGKILL);
    }
    for (int ended_status; status < 0;) {
      pid_t ended = waitpid(-1, &ended_status, WNOHANG);
      if (ended <= 0) break;
      if (ended == program) status = ended_status;
      else beside_ended(ended, ended_status);
    }
    if (status < 0 && beside_patience() == 0) {
      beside_give_up();
      kill(program, SIGKILL);
    }
    if (status >= 0) {
      console_finish();
      relay_finish();
      finish(status);
      if (orphaned) remove_dir();
      return 0;
    }
  }
}
