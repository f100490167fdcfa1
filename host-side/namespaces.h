/* Namespaces for programs that run beside or as a guest. */
#pragma once

#include <sys/types.h>

/* In a user namespace that is new, and where nobody is known yet: one stays who one was. 0 or -1 with errno. */
int map_one(uid_t uid, gid_t gid);

/* The same, under other numbers there. */
int map_as(uid_t inside, uid_t uid, gid_t group_inside, gid_t gid);

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

/* The same for this process and a network namespace, in which there is nothing but a loopback interface that is down. */
int enter_network_namespace(void);
