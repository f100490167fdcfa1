#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000 };

struct lane {
  char bytes[262144];
  int from, to;
};

static struct lane to_client, to_program;
static int channel = -1, client = -1, line = -1;

/* Moves what it can from one descriptor to the other; gives 0 when the source has ended or the target is gone. */
static int carry(struct lane *lane, int source, int target) {
  if (lane->from == lane->to) {
    ssize_t n = read(source, lane->bytes, sizeof lane->bytes);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return 0;
    lane->from = 0;
    lane->to = n > 0 ? n : 0;
  }
  while (lane->from < lane->to) {
    ssize_t n = send(target, lane->bytes + lane->from, lane->to - lane->from, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    lane->from += n;
  }
  return 1;
}

static void drop_client(void) {
  close(client);
  client = -1;
  to_client.from = to_client.to = to_program.from = to_program.to = 0;
}

void relay_between(int listening, int to) {
  channel = listening;
  line = to;
}

enum { CHANNEL, CLIENT, LINE };

void relay_poll(struct pollfd polled[RELAY_POLLED]) {
  int client_pending = to_client.from < to_client.to, line_pending = to_program.from < to_program.to;
  polled[CHANNEL] = (struct pollfd){channel, POLLIN, 0};
  polled[CLIENT] = (struct pollfd){client, (line_pending ? 0 : POLLIN) | (client_pending ? POLLOUT : 0), 0};
  polled[LINE] = (struct pollfd){client < 0 ? -1 : line, (client_pending ? 0 : POLLIN) | (line_pending ? POLLOUT : 0), 0};
}

void relay_serve(const struct pollfd polled[RELAY_POLLED]) {
  if (polled[CLIENT].revents | polled[LINE].revents) {
    if (!carry(&to_client, line, client) || !carry(&to_program, client, line)) drop_client();
  }
  if (polled[CHANNEL].revents) {
    int fd = accept4(channel, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    /* A second owner is there only when the first has died: the newest has the line. */
    if (fd >= 0) {
      if (client >= 0) drop_client();
      client = fd;
    }
  }
}

void relay_finish(void) {
  while (client >= 0 && carry(&to_client, line, client)) {
    int waits = to_client.from < to_client.to;
    struct pollfd next = {waits ? client : line, waits ? POLLOUT : POLLIN, 0};
    if (poll(&next, 1, waits ? PATIENCE_MS : 0) <= 0) return;
  }
}
