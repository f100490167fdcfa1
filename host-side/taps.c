#define _GNU_SOURCE
#include "taps.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "identity.h"
#include "wire.h"

/* linux/if_tun.h, which musl comes without. */
#define TUN_SET_INTERFACE _IOW('T', 202, int)
enum { IS_TAP = 2, WITHOUT_HEADER = 0x1000, WITH_OFFLOADS = 0x4000 };
/* linux/sockios.h */
enum { BRIDGE_ADD_INTERFACE = 0x89a2 };

char taps_failed[96];

static struct tap {
  int wire, mtu;
  const char *bridge, *name;
} taps[MAX_WIRES];
static int count;

int tap_add(const char *bridge, const char *name, const char *mtu) {
  int wire = wire_add_given();
  if (wire < 0 || strlen(bridge) >= IFNAMSIZ || strlen(name) >= IFNAMSIZ || atoi(mtu) <= 0) return 0;
  taps[count++] = (struct tap){.wire = wire, .mtu = atoi(mtu), .bridge = bridge, .name = name};
  return 1;
}

/* What the child tells; the descriptors themselves it shares with us. */
struct told {
  int error;
  char what[sizeof taps_failed];
  int fds[MAX_WIRES];
};

static void __attribute__((noreturn)) give_up(struct told *told, const char *what, const char *which) {
  told->error = errno ? errno : EIO;
  snprintf(told->what, sizeof told->what, "%s%s", what, which);
  _exit(1);
}

/* Gives whether the namespace is another than ours, then open as `fd`. */
static int open_namespace(struct told *told, pid_t pid, const char *name, int fd) {
  char path[64];
  struct stat there, here;
  snprintf(path, sizeof path, "/proc/self/ns/%s", name);
  if (stat(path, &here) < 0) give_up(told, "looking at ", path);
  snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, name);
  int opened = open(path, O_RDONLY | O_CLOEXEC);
  if (opened < 0 || fstat(opened, &there) < 0) give_up(told, "the namespace of its bridge: ", name);
  int is_other = there.st_ino != here.st_ino || there.st_dev != here.st_dev;
  if (is_other && dup3(opened, fd, O_CLOEXEC) < 0) give_up(told, "the namespace of its bridge: ", name);
  close(opened);
  return is_other;
}

static void set_or_give_up(struct told *told, int control, unsigned long what, struct ifreq *request, const char *name) {
  if (ioctl(control, what, request) < 0) give_up(told, "setting up ", name);
}

/* Joined and up before it is told of: who has it can send. */
static int make_tap(struct told *told, int control, const struct tap *tap) {
  struct ifreq request = {.ifr_flags = IS_TAP | WITHOUT_HEADER | WITH_OFFLOADS};
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) give_up(told, "/dev/net/tun", "");
  strcpy(request.ifr_name, tap->name);
  if (ioctl(fd, TUN_SET_INTERFACE, &request) < 0) give_up(told, "making ", tap->name);
  request.ifr_mtu = tap->mtu;
  set_or_give_up(told, control, SIOCSIFMTU, &request, tap->name);
  struct ifreq bridge = {.ifr_ifindex = if_nametoindex(tap->name)};
  strcpy(bridge.ifr_name, tap->bridge);
  if (ioctl(control, BRIDGE_ADD_INTERFACE, &bridge) < 0) give_up(told, "joining bridge ", tap->bridge);
  set_or_give_up(told, control, SIOCGIFFLAGS, &request, tap->name);
  request.ifr_flags |= IFF_UP;
  set_or_give_up(told, control, SIOCSIFFLAGS, &request, tap->name);
  return fd;
}

static void __attribute__((noreturn)) make_taps(struct told *told, const char *holder_file) {
  pid_t holder = read_identity(holder_file);
  errno = ESRCH;
  if (holder < 0) give_up(told, "what holds the bridges of the cluster", "");
  int is_others_user = open_namespace(told, holder, "user", USER_FD);
  if (!open_namespace(told, holder, "net", NETWORK_FD)) give_up(told, "the bridges are in the host's namespace", "");
  if (is_others_user && setns(USER_FD, CLONE_NEWUSER) < 0) give_up(told, "the user namespace of its bridge", "");
  if (setns(NETWORK_FD, CLONE_NEWNET) < 0) give_up(told, "the network namespace of its bridge", "");
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) give_up(told, "socket", "");
  for (int i = 0; i < count; i++) told->fds[i] = make_tap(told, control, &taps[i]);
  close(control);
  _exit(0);
}

int taps_open(const char *holder_file) {
  if (count == 0) return 0;
  struct told *told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (told == MAP_FAILED) return -1;
  snprintf(told->what, sizeof told->what, "a process in the namespace of the bridges");
  told->error = EIO;
  /* Who has entered a user namespace does not come back: a child goes, with our own table of descriptors. */
  pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) {
    told->error = 0;
    make_taps(told, holder_file);
  }
  int status;
  if (child < 0) told->error = errno;
  else
    while (waitpid(child, &status, 0) < 0 && errno == EINTR);
  int error = told->error;
  for (int i = 0; i < count && error == 0; i++) wire_give(taps[i].wire, told->fds[i]);
  snprintf(taps_failed, sizeof taps_failed, "%s", told->what);
  munmap(told, sizeof *told);
  errno = error;
  return error == 0 ? 0 : -1;
}
