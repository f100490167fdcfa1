/* The rings of user-mode Linux: memory shared with the host, a ring of bytes each way. Nothing of it is believed. */
#ifndef LODGE_RINGS_H
#define LODGE_RINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `memory`: RINGS_BYTES of it. */
void rings_use(uint8_t *memory);
/* Gives the host as many bytes as there is room for, and returns how many. When it has taken something, it tells. */
size_t rings_put(const uint8_t *bytes, size_t length);
/* Whether the host's count of what it has sent can be. */
bool rings_sound(void);
/* Passes over all that the host says it has sent. */
void rings_pass_over(void);
/* Bytes of the host that follow those given before, as far as they lie in one piece. They can change while they are read. */
size_t rings_get(const uint8_t **bytes);
/* Tells the host that its bytes have been taken, all given so far but the last `left`. */
void rings_taken(size_t left);
/* Whether the host must be told to look at the rings; asked once, it is as good as told. */
bool rings_ask_for_bell(void);

#endif
