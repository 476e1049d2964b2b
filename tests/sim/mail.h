/*
 * mail.h - who is where in a world, and the messages that are under way.
 *
 * A message takes as long as the plan says, may be lost, come twice, or come late by
 * seconds; what shards and the coordinator tell is looked at as it leaves.
 */
#ifndef TESTS_SIM_MAIL_H
#define TESTS_SIM_MAIL_H

#include "tests/sim/world.h"

bool mail_is_up(const struct world *w, const struct node *n);

/* One of them is cut off now, and they are not on one host. */
bool mail_is_cut(const struct world *w, const struct node *from, const struct node *to);

/* The process that is there now. */
struct node mail_shard(const struct world *w, uint32_t host, uint32_t shard);

/* Its endpoint, and back; life 0: whoever listens there. */
void mail_name_shard(const struct world *w, const struct node *n,
                     char out[PS_ENDPOINT_BYTES]);
bool mail_shard_named(const char *endpoint, struct node *n);
bool mail_is_shard(const struct node *named, const struct node *n);

struct ps_route mail_route_to(const struct node *n);

/* Sends what is in the outbox. */
void mail_post(struct world *w, const struct node *from);

/* The next one to arrive; there is one. */
struct flight mail_land(struct world *w);

/* On its way, to arrive at f->at_ns.  False: no memory. */
bool mail_take_off(struct world *w, const struct flight *f);

/* For the trace. */
void mail_say(struct world *w, const char *what, const struct flight *f);

#endif
