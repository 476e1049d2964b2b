/*
 * saved.h - what the psds of a world have on their disks: the shards' errands, and the
 * coordinator's memory, which is written before anybody hears of what is in it.
 */
#ifndef TESTS_SIM_SAVED_H
#define TESTS_SIM_SAVED_H

#include "tests/sim/world.h"

/* Does a write fail that begins or ends now? */
bool saved_fails(struct world *w, struct disk *d);

/* Sends what is in the outbox, and takes a shard's errands. */
void saved_post_shard(struct world *w, const struct node *at);
void saved_post_coordinator(struct world *w, const struct node *at);

/* What is done on the disk of a host. */
void saved_run(struct world *w, uint32_t host);

#endif
