/* The steps of CONFIGURE, as the files that do them see one another. */
#ifndef LODGE_STEPS_H
#define LODGE_STEPS_H

#include "agent.h"

enum { NOT_YET = -1 };

/* A step takes its arguments and gives 0, an errno, or NOT_YET. */
typedef int step_function(char **arguments);

/* 0, or EINVAL for what is no number up to a limit. */
int read_number(const char *text, int base, uint64_t limit, uint64_t *number);
/* The value of a hexadecimal digit, or less than 0. */
int digit(char c);
/* NOT_YET until the step at hand has waited so long; then an errno. */
int wait_or_fail(uint64_t ms, int error);

/* network.c */
int step_interface(char **arguments);
int step_address(char **arguments);
int step_up(char **arguments);
int step_route(char **arguments);

/* probe.c */
int step_connect(char **arguments);
int step_datagram(char **arguments);
void probe_forget(void);

#endif
