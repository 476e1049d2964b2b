/*
 * network.h - coordinator, shards and clients in one thread, and between them a network
 * that is a list.
 *
 * It delivers in an order drawn from a seed, and may deliver twice or not at all. There
 * is no socket and no clock; time passes only when nothing else can happen.
 */
#ifndef TESTS_SIM_NETWORK_H
#define TESTS_SIM_NETWORK_H

#include "server/coordinator/coordinator.h"
#include "server/shard/shard.h"
#include "worker/client.h"

#define NETWORK_CLIENTS 256u
#define NETWORK_CONTROL 99u /* the secret of the shards */

struct network_options {
    uint32_t shards;
    uint64_t seed;
    unsigned repeat_percent; /* of messages delivered twice */
    unsigned lose_percent;   /* of messages not delivered at all */
    unsigned silence;        /* seconds until a worker is lost; 0: they send no beats */
};

/* Who a message is for. */
enum party { COORDINATOR, SHARD, CLIENT };

struct flight {
    enum party       to;
    uint32_t         index;
    struct ps_parcel parcel; /* its route is the sender's address, as `to` sees it */
};

struct network {
    struct network_options  options;
    struct psd_coordinator *coordinator;
    struct psd_shard      **shards;
    struct psw_client *clients[NETWORK_CLIENTS]; /* the caller's; NULL: not there */
    struct ps_outbox   out;                      /* to be posted */
    struct flight     *flights;
    size_t             n_flights, room;
    uint64_t           now, draws;
};

ps_status network_open(struct network               *net,
                       const struct network_options *options) PS_CHECKED;
void      network_close(struct network *net);

uint64_t network_draw(struct network *net, uint64_t bound);

/* Sends what is in the outbox. */
ps_status network_post(struct network *net, enum party from, uint32_t index) PS_CHECKED;

/* Delivers a message, or lets a second pass. */
ps_status network_step(struct network *net) PS_CHECKED;

#endif
