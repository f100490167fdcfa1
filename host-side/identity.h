/* Processes named so that an id that came again is never taken for the first one; text files written whole. */
#pragma once

#include <sys/types.h>

/* Start time in clock ticks since boot (proc(5), stat field 22); 0 when there is no such process. */
long long start_of(pid_t pid);

/* A text file in the working directory, written whole or not at all. 0 or -1. */
int write_file(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes "PID START" of this process. 0 or -1. */
int write_identity(const char *name);

/* The process that a file names, when it lives; else -1. */
pid_t read_identity(const char *path);
