/* Programs that run beside PROGRAM for as long as it does: each serves one socket of DIR. */
#pragma once

#include <sys/types.h>

/* How a program ended that PROGRAM cannot do without: its index, and its exit code, 128 + n for signal n. */
struct beside_end {
  int index, code;
};

/* Takes SOCKET N PROGRAM [ARG...] off a command line. How many words that were, or 0 where it makes no sense. */
int beside_add(int argc, char **argv);

/* Starts them all; what they say goes to a descriptor. 0, or -1 with errno. */
int beside_start(int complaints);

/* A child of this process has ended, which may be one of these. */
void beside_ended(pid_t pid, int status);

/*
 * Milliseconds until PROGRAM is to be killed for the want of one that has ended; -1: not so far, 0: now.
 * One that ends well may do so because PROGRAM hung up a moment before it ends, so there is some time for that.
 */
int beside_patience(void);

/* PROGRAM is killed for the want of one. */
void beside_give_up(void);

/* The one for which PROGRAM had to be killed; NULL when that was not so. */
const struct beside_end *beside_lost(void);
