/*
 * Network interfaces of PROGRAM, which cannot listen itself: each is joined to one client of DIR/netN.sock. On the
 * program's side frames are datagrams of a socket, a TAP device, or a stream as on the client's side: there they have
 * their length before them, as four bytes, the most significant first.
 *
 * QEMU has a server for such streams itself. In version 7.2 its connections block: a client that does not read stops
 * the whole virtual machine, and one that sends a length of 0 is never read from again.
 */
#pragma once

#include <poll.h>

enum { MAX_WIRES = 32, WIRES_POLLED = 3 * MAX_WIRES };

/* Takes the hardware address of one more interface; 0 when it is none, or there are too many. */
int wire_add(const char *mac, int is_stream);

/* One more interface, whose device the program gets itself: it is joined to nothing here. Its index, or -1. */
int wire_add_given(void);

/* The device of such a wire. */
void wire_give(int wire, int device);

int wire_count(void);

/* Six bytes. */
const unsigned char *wire_mac(int wire);

/* Makes all sockets. 0, or -1 with errno. */
int wires_open(void);

/* The program's end of a wire. */
int wire_program_end(int wire);

/* The program has its ends, or, under namespaces, no use for them. */
void wires_close_program_ends(void);

/* Puts a TAP device in the place of a wire's socket. */
void wire_use_tap(int wire, int tap);

/* Says what to wait for. Gives how many that are. */
int wires_poll(struct pollfd *polled);

/* Does what can be done after the wait. */
void wires_serve(const struct pollfd *polled);
