/* Keeps a program from writing to the host but where it may. See write-limits.c. */
#ifndef LODGE_WRITE_LIMITS_H
#define LODGE_WRITE_LIMITS_H

/*
 * To be called in a process that is to become the program. Gives the process a mount namespace in which the whole
 * tree is read-only but for `writable` (files and directories, each with what is mounted in it; none inside another)
 * and for `scratch`, a directory that gets a file system in memory of its own.
 *
 * 0, or -1 with errno: then the process must not go on, because it may have some of this and not the rest.
 */
int limit_writes(char *const *writable, int count, const char *scratch);

#endif
