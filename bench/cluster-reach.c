/*
 * Sends ICMP echo requests to many addresses and waits for their answers: what `ping` does, in one process for all,
 * because processes are dear in some guests. For bench/cluster.mjs.
 *
 *   cluster-reach FIRST COUNT OWN           to COUNT addresses from FIRST on, but OWN: each until it has answered
 *   cluster-reach FIRST 1 OWN TIMES BYTES   TIMES requests with BYTES of data, one after the other's answer
 *
 * Prints how many answered, and the first that did not. Exit code 1 when any did not within 60 s.
 */
#include <arpa/inet.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 65536, TRIES = 30, WAIT_MS = 2000, BURST = 32 };

static uint16_t id;

static uint16_t checksum(const unsigned char *bytes, int length) {
  uint32_t sum = 0;
  for (int i = 0; i < length; i += 2) sum += bytes[i] << 8 | (i + 1 < length ? bytes[i + 1] : 0);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons(~sum);
}

static int ask(int fd, uint32_t address, int number, int data) {
  static unsigned char packet[65536];
  struct icmphdr header = {.type = ICMP_ECHO};
  header.un.echo.id = htons(id);
  header.un.echo.sequence = htons(number);
  memset(packet, 0, sizeof header + data);
  memcpy(packet, &header, sizeof header);
  header.checksum = checksum(packet, sizeof header + data);
  memcpy(packet, &header, sizeof header);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
  return sendto(fd, packet, sizeof header + data, 0, (struct sockaddr *)&to, sizeof to) >= 0;
}

/* The address that answered within a time, 0 for none. */
static uint32_t answer(int fd, int wait_ms, int number) {
  unsigned char packet[65536];
  struct pollfd polled = {fd, POLLIN, 0};
  while (poll(&polled, 1, wait_ms) > 0) {
    ssize_t n = recv(fd, packet, sizeof packet, MSG_DONTWAIT);
    if (n < 20) continue;
    int at = (packet[0] & 15) * 4;
    if (n < at + 8 || packet[at] != ICMP_ECHOREPLY) continue;
    if ((packet[at + 4] << 8 | packet[at + 5]) != id) continue;
    if (number >= 0 && (packet[at + 6] << 8 | packet[at + 7]) != number) continue;
    return (uint32_t)packet[12] << 24 | packet[13] << 16 | packet[14] << 8 | packet[15];
  }
  return 0;
}

int main(int count, char **arguments) {
  if (count != 4 && count != 6) return 2;
  uint32_t first = ntohl(inet_addr(arguments[1])), own = ntohl(inet_addr(arguments[3]));
  int many = atoi(arguments[2]);
  if (many < 1 || many > MOST) return 2;
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  if (fd < 0) return perror("socket"), 2;
  id = getpid() ^ time(NULL);
  if (count == 6) {
    int times = atoi(arguments[4]), data = atoi(arguments[5]), answered = 0;
    for (int i = 0; i < times; i++) answered += ask(fd, first, i, data) && answer(fd, 60000, i) == first;
    printf("%d of %d\n", answered, times);
    return answered < times;
  }
  static char has_answered[MOST];
  int left = 0;
  for (int i = 0; i < many; i++) left += !(has_answered[i] = first + i == own);
  int all = left;
  for (int try = 0; try < TRIES && left > 0; try++) {
    for (int i = 0, burst = 0; i < many; i++) {
      if (has_answered[i]) continue;
      ask(fd, first + i, try, 8);
      uint32_t from;
      /* No faster than answers can be taken. */
      int wait = ++burst % BURST == 0 ? 20 : 0;
      while ((from = answer(fd, wait, -1)) != 0) {
        if (from - first < (uint32_t)many && !has_answered[from - first]) has_answered[from - first] = 1, left--;
      }
    }
    uint32_t from;
    while (left > 0 && (from = answer(fd, WAIT_MS, -1)) != 0) {
      if (from - first < (uint32_t)many && !has_answered[from - first]) has_answered[from - first] = 1, left--;
    }
  }
  printf("%d of %d", all - left, all);
  for (int i = 0; i < many && left > 0; i++) {
    if (has_answered[i]) continue;
    struct in_addr missing = {htonl(first + i)};
    printf(", not %s", inet_ntoa(missing));
    break;
  }
  printf("\n");
  return left > 0;
}
