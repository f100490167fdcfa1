/*
 * confine: starts a program that serves a guest, apart from the host, and ends with it.
 *
 *   confine [--bare | --user] [--read-only DIR] [--for PATH] [--try] -- PROGRAM [ARG...]
 *
 * PROGRAM is process 1 of a PID namespace, with mounts of its own. It is killed when confine is, and so is all that
 * it starts. Descriptors are handed on. Ends as PROGRAM does, with 128 + n for signal n.
 *
 *   --user       for an ordinary user: in a user namespace in which PROGRAM is who it is on the host, and has all
 *                capabilities over what is this user's. Whatever it asks to become by setgroups(2), setresuid(2) or
 *                setresgid(2), it is told that it did, and stays this user: there is nobody else that it could be.
 *   --bare       no namespace at all, for a program that wants none; it is still killed with confine
 *   --read-only  the directory and all that is mounted in it cannot be written by PROGRAM, whatever it tries
 *   --for        not looked at: names in the process list what this is for
 *   --try        PROGRAM gets, as descriptor 3, a listening socket on which a client has connected and gone: for
 *                seeing whether a server of one connection starts and ends well
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "namespaces.h"

static void die(const char *what) {
  fprintf(stderr, "confine: %s: %s\n", what, strerror(errno));
  _exit(125);
}

/* ---- what the kernel's headers say, which musl comes without ---- */

/* linux/mount.h */
struct mount_attributes {
  uint64_t set, clear, propagation, userns_fd;
};
enum { MOUNT_READ_ONLY = 1, AT_WHOLE_TREE = 0x8000, SYS_MOUNT_SETATTR = 442 };

/* linux/capability.h, version 3 */
struct capability_head {
  uint32_t version;
  int pid;
};
struct capability_set {
  uint32_t effective, permitted, inheritable;
};
static const uint32_t capability_version = 0x20080522;

/* linux/filter.h, linux/seccomp.h, linux/audit.h */
struct filter_step {
  uint16_t code;
  uint8_t if_true, if_false;
  uint32_t value;
};
struct filter {
  uint16_t length;
  const struct filter_step *steps;
};
enum { LOAD = 0x20, EQUALS = 0x15, RETURN = 0x06, NUMBER_AT = 0, ARCH_AT = 4, FILTER_MODE = 2 };
static const uint32_t allow = 0x7fff0000, fail_with = 0x00050000, x86_64 = 0xc000003e;

/* ---- */

static void make_read_only(const char *directory) {
  /* The root is a mount of our own already, and would only be hidden by another one. */
  int is_root = strcmp(directory, "/") == 0;
  if (!is_root && mount(directory, directory, NULL, MS_BIND | MS_REC, NULL) < 0) die(directory);
  /* What the host mounts there later would come without the attribute. */
  if (mount(NULL, directory, NULL, MS_PRIVATE | MS_REC, NULL) < 0) die(directory);
  struct mount_attributes attributes = {.set = MOUNT_READ_ONLY};
  if (syscall(SYS_MOUNT_SETATTR, AT_FDCWD, directory, AT_WHOLE_TREE, &attributes, sizeof attributes) < 0) {
    if (errno == ENOSYS) fprintf(stderr, "confine: a directory is shared read-only by Linux 5.12 and newer only\n");
    die(directory);
  }
}

/* Capabilities of a user who is not root are lost when a program starts, unless they are ambient. */
static void keep_capabilities(void) {
  struct capability_head head = {capability_version, 0};
  struct capability_set set[2];
  if (syscall(SYS_capget, &head, set) < 0) die("capget");
  for (int i = 0; i < 2; i++) set[i].inheritable = set[i].permitted;
  if (syscall(SYS_capset, &head, set) < 0) die("capset");
  for (int capability = 0; capability < 64; capability++) {
    if ((set[capability / 32].permitted >> (capability % 32) & 1) == 0) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) die("ambient capabilities");
  }
}

static void stay_this_user(void) {
  static const struct filter_step steps[] = {
      {LOAD, 0, 0, ARCH_AT},           {EQUALS, 0, 4, x86_64},       {LOAD, 0, 0, NUMBER_AT},
      {EQUALS, 3, 0, SYS_setgroups},   {EQUALS, 2, 0, SYS_setresuid}, {EQUALS, 1, 0, SYS_setresgid},
      {RETURN, 0, 0, allow},
      /* Errno 0: the call is not made, and gives 0. */
      {RETURN, 0, 0, fail_with},
  };
  const struct filter filter = {sizeof steps / sizeof *steps, steps};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, FILTER_MODE, &filter) < 0) die("seccomp");
}

/* A socket as the keeper gives one, on which somebody has called and hung up. */
static void listen_to_nobody(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  socklen_t length = offsetof(struct sockaddr_un, sun_path);
  int listening = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  /* Without a path the kernel finds a name. */
  if (listening < 0 || client < 0 || bind(listening, (struct sockaddr *)&address, length) < 0) die("socket");
  length = sizeof address;
  if (getsockname(listening, (struct sockaddr *)&address, &length) < 0 || listen(listening, 1) < 0 ||
      connect(client, (struct sockaddr *)&address, length) < 0)
    die("socket");
  close(client);
  if (listening == 3) return;
  if (dup2(listening, 3) < 0) die("dup2");
  close(listening);
}

int main(int argc, char **argv) {
  const char *read_only = NULL;
  int bare = 0, user = 0, try = 0, i = 1;
  for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
    if (!strcmp(argv[i], "--bare")) bare = 1;
    else if (!strcmp(argv[i], "--user")) user = 1;
    else if (!strcmp(argv[i], "--try")) try = 1;
    else if (!strcmp(argv[i], "--read-only") && i + 1 < argc) read_only = argv[++i];
    else if (!strcmp(argv[i], "--for") && i + 1 < argc) i++;
    else break;
  }
  if (i + 1 >= argc || strcmp(argv[i], "--") != 0 || (bare && (user || read_only))) {
    fprintf(stderr, "usage: confine [--bare | --user] [--read-only DIR] [--for PATH] [--try] -- PROGRAM [ARG...]\n");
    return 125;
  }
  char **program = argv + i + 1;

  if (try) listen_to_nobody();
  /* Ended by the one who started it, who may be gone already when the child first asks to be told of that. */
  int lifeline[2];
  if (pipe2(lifeline, O_CLOEXEC) < 0) die("pipe");
  int apart = CLONE_NEWPID | CLONE_NEWNS;
  if (!bare && (user ? enter_as_oneself(CLONE_NEWUSER | apart) : unshare(apart)) < 0) die("namespaces");
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    close(lifeline[1]);
    if (!bare) {
      if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0) die("mounts");
      if (read_only) make_read_only(read_only);
    }
    if (user) {
      keep_capabilities();
      stay_this_user();
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (poll(&(struct pollfd){lifeline[0], POLLIN, 0}, 1, 0) != 0) _exit(125);
    execvp(program[0], program);
    die(program[0]);
  }
  close(lifeline[0]);
  /* Whoever waits for the other end of a descriptor is to see the program's end, not ours. */
  for (int fd = 3; fd < 16; fd++)
    if (fd != lifeline[1]) close(fd);
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) die("wait");
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
