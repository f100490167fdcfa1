/* The relay between descriptor 3 of PROGRAM, which cannot listen itself, and one client. */
#pragma once

#include <poll.h>

/* How many descriptors it waits for. */
enum { RELAY_POLLED = 3 };

/* Joins whoever connects to a listening socket with a line; both -1 when there is nothing to relay. */
void relay_between(int listening, int line);

/* Says what to wait for. */
void relay_poll(struct pollfd polled[RELAY_POLLED]);

/* Does what can be done after the wait. */
void relay_serve(const struct pollfd polled[RELAY_POLLED]);

/* PROGRAM has ended: hands over what it still has said, to a client that takes it. */
void relay_finish(void);
