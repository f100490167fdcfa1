/* PROGRAM as process 1 of namespaces of the host: user, PID, mount, network, UTS, IPC and cgroup. */
#pragma once

#include <sys/types.h>

struct netns {
  const char *dir;
  /* The caller has the right to mount what it likes: the guest may have a layer over the host's root. */
  int layered;
  char **argv;
  int channel; /* becomes descriptor 3; all others are closed */
};

/*
 * Starts PROGRAM, a static binary, with a TAP device for each wire. Its standard streams are a terminal, which is
 * also the guest's /dev/console: `*console` is our end of it. Gives its process id, or -1 with errno and, in
 * netns_failed, what could not be done.
 */
pid_t netns_start(const struct netns *how, int *console);

extern char netns_failed[160];
