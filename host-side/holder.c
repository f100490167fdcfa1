/*
 * holder: keeps the network namespace that the bridges of a cluster are in.
 *
 *   holder DIR [PID]
 *
 * Without the privilege to make one, it is in a user namespace too, where this user is root. DIR/bridges names the
 * holder: "PID START" as in the directories of guests. With the id of a keeper (taps.h) it takes the namespace that
 * this one has open, whose holder was killed.
 *
 * It ends by itself when DIR/bridges does not name it any more, and when no guest has been on a bridge for a minute.
 * The bridges go with it as soon as nobody has a device there open. On standard output comes "ready", or why not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "identity.h"
#include "namespaces.h"
#include "taps.h"

enum { LOOK_SECONDS = 2, IDLE_LOOKS = 30 };

static void __attribute__((noreturn)) die(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  fflush(stdout);
  _exit(1);
}

static int write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int whole = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  close(fd);
  return whole ? 0 : -1;
}

/* Root is needed in a user namespace: `ip` and `tc`, run in it, would lose the rights of anybody else. */
static void make_namespace(void) {
  if (unshare(CLONE_NEWNET) < 0) {
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) die("a network namespace");
    if (map_as(0, uid, 0, gid) < 0) die("the users of a namespace");
  }
  /* The kernel would take part in the network itself. Where it lets nobody say so, `fabric prove` sees its routes. */
  write_text("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
}

static int open_kept(const char *keeper, int number) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/fd/%d", keeper, number);
  return open(path, O_RDONLY | O_CLOEXEC);
}

static void join_namespace(const char *keeper) {
  int user = open_kept(keeper, USER_FD), network = open_kept(keeper, NETWORK_FD);
  if (network < 0) die("the namespace that a guest has open");
  if (user >= 0 && setns(user, CLONE_NEWUSER) < 0) die("the user namespace that a guest has open");
  if (setns(network, CLONE_NEWNET) < 0) die("the namespace that a guest has open");
  if (user >= 0) close(user);
  close(network);
}

/* Guests have a TAP device each, which is there for as long as they have it open. */
static int has_guests(int control) {
  struct if_nameindex *all = if_nameindex();
  int found = 0;
  for (struct if_nameindex *one = all; one && one->if_index; one++) {
    struct ifreq request = {0};
    if (strncmp(one->if_name, "t-", 2) != 0) continue;
    strncpy(request.ifr_name, one->if_name, IFNAMSIZ - 1);
    found |= ioctl(control, SIOCGIFFLAGS, &request) == 0;
  }
  if (all) if_freenameindex(all);
  return found;
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 3 || argv[1][0] != '/') {
    fprintf(stderr, "usage: holder DIR [PID]\n");
    return 125;
  }
  if (chdir(argv[1]) < 0) die(argv[1]);
  setsid();
  if (argc == 3) join_namespace(argv[2]);
  else make_namespace();
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) die("socket");
  if (write_identity("bridges") < 0) die("bridges");
  printf("ready\n");
  fflush(stdout);
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  for (int idle = 0; idle < IDLE_LOOKS; sleep(LOOK_SECONDS)) {
    /* A directory that was removed has no files. */
    if (read_identity("bridges") != getpid()) return 0;
    idle = has_guests(control) ? 0 : idle + 1;
  }
  unlink("bridges");
  return 0;
}
