/* Namespaces for programs that run beside or as a guest. */
#pragma once

/*
 * The calling process gets new namespaces (CLONE_NEWUSER among the flags) in which it stays who it is, with all
 * rights over them. 0 or -1 with errno.
 */
int enter_as_oneself(int flags);

/*
 * Makes children go to a new PID namespace. An ordinary user needs a user namespace of their own for it.
 * 0 or -1 with errno.
 */
int enter_pid_namespace(void);
