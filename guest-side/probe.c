/* Steps that look whether an address can be reached from here: how a host proves what its guests can't reach. */
#include "steps.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static int probing = -1;
static int64_t probe_until;

static int read_address(char **arguments, struct sockaddr_in *address) {
  uint64_t port;
  *address = (struct sockaddr_in){.sin_family = AF_INET};
  if (inet_pton(AF_INET, arguments[0], &address->sin_addr) != 1) return EINVAL;
  if (read_number(arguments[1], 10, 65535, &port) != 0) return EINVAL;
  address->sin_port = htons((uint16_t)port);
  return 0;
}

void probe_forget(void) {
  if (probing >= 0) close(probing);
  probing = -1;
}

static int ended(int error) {
  probe_forget();
  return error;
}

int step_connect(char **arguments) {
  if (probing < 0) {
    struct sockaddr_in address;
    uint64_t ms;
    int error = read_address(arguments, &address);
    if (error == 0) error = read_number(arguments[2], 10, UINT32_MAX, &ms);
    if (error != 0) return error;
    probing = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probing < 0) return errno;
    probe_until = now_ms() + (int64_t)ms;
    if (connect(probing, (struct sockaddr *)&address, sizeof address) == 0) return ended(0);
    if (errno != EINPROGRESS) return ended(errno);
  }
  struct pollfd waiting = {.fd = probing, .events = POLLOUT};
  if (poll(&waiting, 1, 0) <= 0) return now_ms() >= probe_until ? ended(ETIMEDOUT) : NOT_YET;
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(probing, SOL_SOCKET, SO_ERROR, &error, &length) < 0) error = errno;
  return ended(error);
}

int step_datagram(char **arguments) {
  struct sockaddr_in address;
  int error = read_address(arguments, &address);
  if (error != 0) return error;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const char *text = arguments[2];
  if (sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address, sizeof address) < 0) error = errno;
  close(fd);
  return error;
}
