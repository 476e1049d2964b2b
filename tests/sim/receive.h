/*
 * receive.h - a message arrives, and what its addressee does with it: the real
 * coordinator, shard or client, or the few lines that the daemon and a heartbeat have
 * around them.
 */
#ifndef TESTS_SIM_RECEIVE_H
#define TESTS_SIM_RECEIVE_H

#include "tests/sim/world.h"

/* The next message; there is one. */
void receive_next(struct world *w);

#endif
