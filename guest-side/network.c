/* The steps that set up network interfaces. IPv4, by the ioctls of netdevice(7). */
#include "steps.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAC = 6, APPEARS_MS = 10000 };

static int ask(unsigned long what, void *request) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int error = ioctl(fd, what, request) < 0 ? errno : 0;
  close(fd);
  return error;
}

static int request_for(const char *name, struct ifreq *request) {
  *request = (struct ifreq){0};
  if (name[0] == 0 || strlen(name) >= sizeof request->ifr_name) return ENODEV;
  strcpy(request->ifr_name, name);
  return 0;
}

static int read_mac(const char *text, uint8_t mac[MAC]) {
  if (strlen(text) != 3 * MAC - 1) return EINVAL;
  for (int i = 0; i < MAC; i++) {
    int high = digit(text[3 * i]), low = digit(text[3 * i + 1]);
    if (high < 0 || low < 0 || (i < MAC - 1 && text[3 * i + 2] != ':')) return EINVAL;
    mac[i] = (uint8_t)(high << 4 | low);
  }
  return 0;
}

/* The name of the interface with this hardware address, in the request; ENODEV when there is none. */
static int find(const uint8_t mac[MAC], struct ifreq *request) {
  struct if_nameindex *all = if_nameindex();
  int error = all == NULL ? errno : ENODEV;
  for (struct if_nameindex *one = all; error == ENODEV && one->if_index != 0; one++) {
    if (request_for(one->if_name, request) != 0 || ask(SIOCGIFHWADDR, request) != 0) continue;
    if (request->ifr_hwaddr.sa_family == ARPHRD_ETHER && memcmp(request->ifr_hwaddr.sa_data, mac, MAC) == 0) error = 0;
  }
  if (all != NULL) if_freenameindex(all);
  return error;
}

static int rename_to(const char *old, const char *new) {
  struct ifreq request;
  int error = request_for(old, &request);
  if (error != 0 || strlen(new) >= sizeof request.ifr_newname) return EINVAL;
  strcpy(request.ifr_newname, new);
  return ask(SIOCSIFNAME, &request);
}

/* By its hardware address: what the kernel calls it depends on the driver and the order in which they were found. */
int step_interface(char **arguments) {
  uint8_t mac[MAC];
  uint64_t mtu;
  const char *name = arguments[1];
  if (read_mac(arguments[0], mac) != 0 || read_number(arguments[2], 10, 65535, &mtu) != 0) return EINVAL;
  if (name[0] == 0 || strlen(name) >= IFNAMSIZ || strchr(name, '%') != NULL) return EINVAL;
  struct ifreq request;
  int error = find(mac, &request);
  /* A driver may still be at it. */
  if (error == ENODEV) return wait_or_fail(APPEARS_MS, ENODEV);
  if (error != 0) return error;
  if (strcmp(request.ifr_name, name) != 0) {
    error = rename_to(request.ifr_name, name);
    /* Another has the name: its own turn comes. The kernel puts a number in the place of %d. */
    if (error == EEXIST && rename_to(name, "other%d") == 0) error = rename_to(request.ifr_name, name);
    if (error != 0) return error;
  }
  request_for(name, &request);
  request.ifr_mtu = (int)mtu;
  return ask(SIOCSIFMTU, &request);
}

/* ADDRESS/PREFIX, with the prefix as a mask. */
static int read_prefix(const char *text, struct in_addr *address, struct in_addr *mask) {
  char copy[INET_ADDRSTRLEN];
  uint64_t bits;
  size_t length = strcspn(text, "/");
  if (text[length] != '/' || length >= sizeof copy) return EINVAL;
  memcpy(copy, text, length);
  copy[length] = 0;
  if (inet_pton(AF_INET, copy, address) != 1 || read_number(text + length + 1, 10, 32, &bits) != 0) return EINVAL;
  mask->s_addr = bits == 0 ? 0 : htonl(~(uint32_t)0 << (32 - bits));
  return 0;
}

static void put(struct sockaddr *place, struct in_addr address) {
  struct sockaddr_in internet = {.sin_family = AF_INET, .sin_addr = address};
  memcpy(place, &internet, sizeof internet);
}

int step_address(char **arguments) {
  struct in_addr address, mask;
  struct ifreq request;
  if (read_prefix(arguments[1], &address, &mask) != 0) return EINVAL;
  int error = request_for(arguments[0], &request);
  if (error != 0) return error;
  put(&request.ifr_addr, address);
  error = ask(SIOCSIFADDR, &request);
  if (error != 0) return error;
  put(&request.ifr_netmask, mask);
  return ask(SIOCSIFNETMASK, &request);
}

int step_up(char **arguments) {
  struct ifreq request;
  int error = request_for(arguments[0], &request);
  if (error == 0) error = ask(SIOCGIFFLAGS, &request);
  if (error != 0) return error;
  request.ifr_flags |= IFF_UP;
  return ask(SIOCSIFFLAGS, &request);
}

int step_route(char **arguments) {
  struct in_addr destination, mask, gateway;
  if (read_prefix(arguments[0], &destination, &mask) != 0) return EINVAL;
  if (inet_pton(AF_INET, arguments[1], &gateway) != 1) return EINVAL;
  struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
  put(&route.rt_dst, destination);
  put(&route.rt_genmask, mask);
  put(&route.rt_gateway, gateway);
  int error = ask(SIOCADDRT, &route);
  return error == EEXIST ? 0 : error;
}
