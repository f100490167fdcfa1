// Makes a TAP in this network namespace, runs a command beside it, and passes its frames to standard output and from
// standard input, each after its length as 4 bytes, big-endian. Ends with the command. For dhcp.test.ts.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what) {
  perror(what);
  exit(99);
}

static int read_whole(uint8_t *to, size_t length) {
  for (size_t have = 0; have < length;) {
    ssize_t bytes = read(0, to + have, length - have);
    if (bytes <= 0) return 0;
    have += (size_t)bytes;
  }
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 4) return 99;
  int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (tap < 0) die("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
  if (ioctl(tap, TUNSETIFF, &request) < 0) die("TUNSETIFF");
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  request.ifr_hwaddr.sa_family = 1;
  if (sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", (uint8_t *)&request.ifr_hwaddr.sa_data[0],
             (uint8_t *)&request.ifr_hwaddr.sa_data[1], (uint8_t *)&request.ifr_hwaddr.sa_data[2],
             (uint8_t *)&request.ifr_hwaddr.sa_data[3], (uint8_t *)&request.ifr_hwaddr.sa_data[4],
             (uint8_t *)&request.ifr_hwaddr.sa_data[5]) != 6)
    return 99;
  if (ioctl(control, SIOCSIFHWADDR, &request) < 0) die("SIOCSIFHWADDR");
  request.ifr_flags = IFF_UP;
  if (ioctl(control, SIOCSIFFLAGS, &request) < 0) die("SIOCSIFFLAGS");

  pid_t command = fork();
  if (command < 0) die("fork");
  if (command == 0) {
    dup2(2, 1);
    close(0);
    execvp(argv[3], argv + 3);
    die(argv[3]);
  }
  static uint8_t frame[65536];
  struct pollfd waits[2] = {{.fd = tap, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  int status;
  while (waitpid(command, &status, WNOHANG) == 0) {
    if (poll(waits, 2, 50) < 0 && errno != EINTR) die("poll");
    if (waits[0].revents & POLLIN) {
      ssize_t bytes = read(tap, frame, sizeof frame);
      uint32_t length = htonl((uint32_t)bytes);
      if (bytes > 0 && (write(1, &length, 4) != 4 || write(1, frame, (size_t)bytes) != bytes)) die("write");
    }
    if (waits[1].revents & (POLLIN | POLLHUP)) {
      uint32_t length;
      if (!read_whole((uint8_t *)&length, 4) || ntohl(length) > sizeof frame) return 98;
      if (!read_whole(frame, ntohl(length)) || write(tap, frame, ntohl(length)) < 0) return 98;
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}
