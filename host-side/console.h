/* The console of PROGRAM and its complaints: kept in logs of bounded size, the console shown to watchers who can type. */
#pragma once

#include <poll.h>

/* The most descriptors it waits for. */
enum { CONSOLE_MAX_WATCHERS = 16, CONSOLE_POLLED = 4 + CONSOLE_MAX_WATCHERS };

/*
 * What is typed goes to `typing`, what PROGRAM writes comes from `out` and `err` (-1 where there is no such thing), and
 * watchers come at the listening socket `console`. None of the first three may block.
 */
void console_between(int console, int typing, int out, int err);

/* Leaves what PROGRAM says where it is until somebody watches, who then sees all of it. */
void console_hold(void);

/* Says what to wait for; gives how many descriptors these are. */
int console_poll(struct pollfd polled[CONSOLE_POLLED]);

/* Does what can be done after the wait. */
void console_serve(const struct pollfd polled[CONSOLE_POLLED]);

/* PROGRAM has ended: its last words are still on the way. */
void console_finish(void);
