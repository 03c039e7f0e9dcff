/* wire.h: a bad network for system tests: two network namespaces, and between them a wire that the test program is.
 *
 *   near 10.77.0.2 ── tun ── a thread of the test program ── tun ── 10.77.0.1 far
 *
 * The thread carries the packets, late or not at all. It is what `tc netem` does, without asking for a kernel that
 * has it, and in the same order for the same seed. It takes root and /dev/net/tun; nothing of it stays behind.
 *
 * While the wire exists, the thread that made it is in the near namespace, and so is all that it starts. Tests'
 * main thread. One at a time; a new one ends what a failed test left behind. */
#ifndef TESTS_WIRE_H
#define TESTS_WIRE_H

#include <stdbool.h>

#define WIRE_FAR "10.77.0.1"

struct wire;
struct wire *wire_start(void); /* a perfect one; NULL: not possible here, and a line says why */
void wire_stop(struct wire *); /* back to where the thread was */

/* For packets from now on, in each direction. */
void wire_delay(struct wire *, int ms, unsigned lost_of_1000);
void wire_block_udp(struct wire *, bool);
void wire_cut(struct wire *, bool);

void wire_move(struct wire *,
               const char *address); /* the near end has this address of 10.77.0.0/24 from now on */

/* The calling thread is in the far namespace between these two. NULL: nothing happens. */
void wire_enter_far(struct wire *);
void wire_leave_far(struct wire *);

#endif
