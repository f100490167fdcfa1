#define _GNU_SOURCE
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "namespaces.h"
#include "tree.h"
#include "wire.h"

/* linux/if_tun.h, which musl comes without. */
#define TUN_SET_INTERFACE _IOW('T', 202, int)
#define TUN_SET_OWNER _IOW('T', 204, int)
enum { IS_TAP = 2, WITHOUT_HEADER = 0x1000 };

enum { OTHERS = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP };

char netns_failed[160];

/* What the child tells: that it failed, or, with a descriptor, that here is the TAP device of the next wire. */
struct word {
  int error;
  char what[128];
};

static void tell(int socket, const struct word *word, int fd) {
  char control[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec piece = {(void *)word, sizeof *word};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  if (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) _exit(126);
}

static void __attribute__((noreturn)) give_up(int socket, const char *what) {
  struct word word = {.error = errno};
  snprintf(word.what, sizeof word.what, "%s", what);
  tell(socket, &word, -1);
  _exit(126);
}

/* ---- in the child ---- */

/* With an address of its own, and an owner: one without could be used by anybody in the namespace. */
static int make_tap(int wire) {
  struct ifreq request = {.ifr_flags = IS_TAP | WITHOUT_HEADER};
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  snprintf(request.ifr_name, sizeof request.ifr_name, "tap%d", wire);
  if (fd < 0 || ioctl(fd, TUN_SET_INTERFACE, &request) < 0 || ioctl(fd, TUN_SET_OWNER, (long)geteuid()) < 0) return -1;
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  memcpy(request.ifr_hwaddr.sa_data, wire_mac(wire), 6);
  return ioctl(fd, SIOCSIFHWADDR, &request) < 0 ? -1 : fd;
}

static void make_taps(int socket) {
  for (int i = 0; i < wire_count(); i++) {
    int tap = make_tap(i);
    if (tap < 0) give_up(socket, "a TAP device");
    tell(socket, &(struct word){0}, tap);
    close(tap);
  }
}

/* All users and groups that there are here are the same there. Format of the maps: user_namespaces(7). */
static int map_as_here(const char *kind, pid_t pid) {
  char here[32], path[64], text[4096], map[4096];
  snprintf(here, sizeof here, "proc/self/%s", kind);
  snprintf(path, sizeof path, "proc/%d/%s", pid, kind);
  FILE *lines = fopen(here, "re");
  size_t length = 0;
  if (!lines) return -1;
  while (fgets(text, sizeof text, lines) && length < sizeof map - 64) {
    unsigned inside, outside, count;
    if (sscanf(text, "%u %u %u", &inside, &outside, &count) == 3)
      length += snprintf(map + length, sizeof map - length, "%u %u %u\n", inside, inside, count);
  }
  fclose(lines);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  int done = fd >= 0 && write(fd, map, length) == (ssize_t)length;
  if (fd >= 0) close(fd);
  return done ? 0 : -1;
}

static int open_namespace(pid_t pid, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "proc/%d/ns/%s", pid, name);
  return open(path, O_RDONLY | O_CLOEXEC);
}

/*
 * As root. What is mounted here belongs to the user namespace that we are still in; copied into the guest's own, it
 * can be neither undone nor changed there (mount_namespaces(7), "Restrictions on mount namespaces"). The guest's root
 * is the host's by number, so that files are whose they are; it must not be by its rights. Of the kernel's files in
 * /proc many ask for no more than the number.
 */
static void become_guest_of_root(int socket) {
  int made[2], done[2];
  char byte;
  if (pipe2(made, O_CLOEXEC) < 0 || pipe2(done, O_CLOEXEC) < 0) give_up(socket, "pipe");
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) give_up(socket, "/proc");
  /* A process that has the namespaces, so that they can be set up from outside of them. */
  pid_t holder = fork();
  if (holder == 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) _exit(1);
    if (write(made[1], "", 1) == 1 && read(done[0], &byte, 1) < 0) _exit(1);
    _exit(0);
  }
  close(made[1]);
  if (holder < 0 || read(made[0], &byte, 1) != 1) give_up(socket, "a user namespace");
  if (map_as_here("uid_map", holder) < 0 || map_as_here("gid_map", holder) < 0) give_up(socket, "the users of a namespace");
  int user = open_namespace(holder, "user"), network = open_namespace(holder, "net");
  if (user < 0 || network < 0 || setns(network, CLONE_NEWNET) < 0) give_up(socket, "a network namespace");
  if (write(done[1], "", 1) < 0) give_up(socket, "pipe");
  waitpid(holder, NULL, 0);
  make_taps(socket);
  if (umount2("proc", MNT_DETACH) < 0 || tree_mount_kernel() < 0 || tree_guard_kernel() < 0 || tree_enter() < 0)
    give_up(socket, tree_failed);
  if (setns(user, CLONE_NEWUSER) < 0 || unshare(OTHERS) < 0) give_up(socket, "namespaces of its own");
}

/* linux/capability.h, version 3: two sets of 32. */
struct capability_head {
  unsigned version;
  int pid;
};
struct capability_set {
  unsigned effective, permitted, inheritable;
};

/* Capabilities of who is not root are lost when a program starts, unless they are ambient. */
static void keep_capabilities(int socket) {
  struct capability_head head = {0x20080522, 0};
  struct capability_set set[2];
  if (syscall(SYS_capget, &head, set) < 0) give_up(socket, "capget");
  for (int i = 0; i < 2; i++) set[i].inheritable = set[i].permitted;
  if (syscall(SYS_capset, &head, set) < 0) give_up(socket, "capset");
  for (int capability = 0; capability < 64; capability++) {
    if ((set[capability / 32].permitted >> (capability % 32) & 1) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) give_up(socket, "ambient capabilities");
  }
}

static void __attribute__((noreturn)) run(const struct netns *how, int socket, int terminal, const char *console,
                                          uid_t uid, gid_t gid) {
  int program = open(how->argv[0], O_RDONLY | O_CLOEXEC);
  if (program < 0) give_up(socket, how->argv[0]);
  if (!how->layered && map_one(uid, gid) < 0) give_up(socket, "the users of a namespace");
  if (tree_make(how->dir, how->layered, console) < 0) give_up(socket, tree_failed);
  if (how->layered) {
    become_guest_of_root(socket);
  } else {
    make_taps(socket);
    if (tree_mount_kernel() < 0 || tree_enter() < 0) give_up(socket, tree_failed);
    keep_capabilities(socket);
  }
  /* The terminal is this session's: a command that opens the console must not take it, and hang it up at its end. */
  setsid();
  ioctl(terminal, TIOCSCTTY, 0);
  int channel = fcntl(how->channel, F_DUPFD_CLOEXEC, 16);
  socket = fcntl(socket, F_DUPFD_CLOEXEC, 16);
  program = fcntl(program, F_DUPFD_CLOEXEC, 16);
  for (int i = 0; i < 3; i++) dup2(terminal, i);
  dup2(channel, 3);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  /* The last of all: a change of rights takes it back. Should the keeper be gone already, the channel tells. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  syscall(SYS_execveat, program, "", how->argv, environment, AT_EMPTY_PATH);
  give_up(socket, how->argv[0]);
}

/* ---- in the keeper ---- */

/* Listens until the child's end closes, which is when its program runs. */
static int hear(int socket) {
  for (int wire = 0;;) {
    struct word word;
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec piece = {&word, sizeof word};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n != sizeof word) return n == 0 && wire == wire_count() ? 0 : -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (word.error != 0 || !header || header->cmsg_type != SCM_RIGHTS) {
      snprintf(netns_failed, sizeof netns_failed, "%s", word.what);
      errno = word.error;
      return -1;
    }
    int tap;
    memcpy(&tap, CMSG_DATA(header), sizeof tap);
    wire_use_tap(wire++, tap);
  }
}

/* Both ends of a new terminal; the path is that of the program's end. */
static int open_terminal(int *terminal, char *path, size_t size) {
  int number, unlocked = 0, ours = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (ours < 0 || ioctl(ours, TIOCSPTLCK, &unlocked) < 0 || ioctl(ours, TIOCGPTN, &number) < 0) return -1;
  snprintf(path, size, "/dev/pts/%d", number);
  *terminal = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  return *terminal < 0 ? -1 : ours;
}

pid_t netns_start(const struct netns *how, int *console) {
  int terminal, pair[2];
  char path[32];
  snprintf(netns_failed, sizeof netns_failed, "a terminal");
  *console = open_terminal(&terminal, path, sizeof path);
  if (*console < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return -1;
  snprintf(netns_failed, sizeof netns_failed, "new namespaces");
  int flags = how->layered ? CLONE_NEWPID | CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | OTHERS;
  uid_t uid = getuid();
  gid_t gid = getgid();
  pid_t pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid < 0) return -1;
  if (pid == 0) {
    close(pair[0]);
    run(how, pair[1], terminal, path, uid, gid);
  }
  close(pair[1]);
  close(terminal);
  snprintf(netns_failed, sizeof netns_failed, "a process in its namespaces");
  int error = hear(pair[0]) < 0 ? errno : 0;
  close(pair[0]);
  if (error == 0) return pid;
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  errno = error;
  return -1;
}
