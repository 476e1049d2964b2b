/* network.c - see network.h. */
#include "tests/sim/network.h"

#include "common/base/random.h"
#include "common/wire/wire.h"
#include "server/compute/backend.h"

#include <stdlib.h>

#define EPOCH 7u
#define SECOND_NS 1000000000ull

uint64_t network_draw(struct network *net, uint64_t bound)
{
    return ps_random_below(net->options.seed, 1, net->draws++, bound);
}

static ps_status take_off(struct network *net, enum party to, uint32_t index,
                          struct ps_parcel *p)
{
    if (net->n_flights == net->room) {
        size_t         room = net->room ? 2 * net->room : 64;
        struct flight *grown = realloc(net->flights, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "network: no memory");
        net->flights = grown;
        net->room = room;
    }
    net->flights[net->n_flights++] =
        (struct flight){ .to = to, .index = index, .parcel = *p };
    p->head = NULL;
    p->n_frames = 0;
    return PS_OK;
}

static struct ps_route peer(uint8_t kind, uint32_t index)
{
    return (struct ps_route){ .kind = PS_ROUTE_PEER,
                              .bytes = 2,
                              .id = { kind, (uint8_t)index } };
}

/* Turns "to" into an addressee and its view of the sender. */
static void address(enum party from, uint32_t from_index, struct flight *f)
{
    struct ps_route *r = &f->parcel.route;

    if (r->kind == PS_ROUTE_SHARD) {
        f->to = SHARD;
        f->index = r->index;
        *r = peer((uint8_t)from, from_index);
    } else if (r->kind == PS_ROUTE_COORDINATOR) {
        f->to = COORDINATOR;
        f->index = 0;
        *r = peer((uint8_t)from, from_index);
    } else {
        f->to = (enum party)r->id[0];
        f->index = r->id[1];
        *r = (struct ps_route){ .kind = from == SHARD ? PS_ROUTE_SHARD
                                                      : PS_ROUTE_COORDINATOR,
                                .index = (uint16_t)from_index };
    }
}

ps_status network_post(struct network *net, enum party from, uint32_t from_index)
{
    ps_status st = PS_OK;

    for (size_t i = 0; !st && i < net->out.n; i++) {
        struct flight f = { .parcel = net->out.parcels[i] };

        net->out.parcels[i].head = NULL;
        net->out.parcels[i].n_frames = 0;
        address(from, from_index, &f);
        if (network_draw(net, 100) < net->options.lose_percent) {
            ps_parcel_drop(&f.parcel);
            continue;
        }
        if (network_draw(net, 100) < net->options.repeat_percent) {
            struct ps_parcel twin;

            ps_parcel_share(&twin, &f.parcel);
            st = take_off(net, f.to, f.index, &twin);
        }
        if (!st)
            st = take_off(net, f.to, f.index, &f.parcel);
    }
    ps_outbox_clear(&net->out);
    return st;
}

static ps_status deliver_one(struct network *net)
{
    size_t        i = network_draw(net, net->n_flights);
    struct flight f = net->flights[i];

    net->flights[i] = net->flights[--net->n_flights];
    if (f.to == COORDINATOR)
        psd_coordinator_handle(net->coordinator, net->now, &f.parcel, &net->out);
    else if (f.to == SHARD)
        psd_shard_handle(net->shards[f.index], net->now, &f.parcel, &net->out);
    else if (f.to == CLIENT && net->clients[f.index])
        psw_client_handle(net->clients[f.index], net->now, &f.parcel, &net->out);
    else
        ps_parcel_drop(&f.parcel); /* of one that is gone */
    return network_post(net, f.to, f.index);
}

/* What the heartbeat's thread does in a process. */
static ps_status beat(struct network *net, uint32_t index)
{
    struct ps_header h = { .kind = PS_MSG_BEAT, .request = UINT64_MAX / 2 + net->now };
    struct ps_route  to = { .kind = PS_ROUTE_COORDINATOR };

    psw_client_sign(net->clients[index], &h);
    h.clock = psw_client_clock(net->clients[index]);
    if (h.job == 0)
        return PS_OK; /* not welcome yet */
    return ps_wire_send(&net->out, &to, &h, NULL, 0);
}

static ps_status pass_time(struct network *net)
{
    ps_status st;

    net->now += SECOND_NS;
    psd_coordinator_tick(net->coordinator, net->now, &net->out);
    st = network_post(net, COORDINATOR, 0);
    for (uint32_t i = 0; !st && i < NETWORK_CLIENTS; i++) {
        if (!net->clients[i])
            continue;
        psw_client_tick(net->clients[i], net->now, &net->out);
        if (net->options.silence)
            st = beat(net, i);
        if (!st)
            st = network_post(net, CLIENT, i);
    }
    return st;
}

ps_status network_step(struct network *net)
{
    return net->n_flights ? deliver_one(net) : pass_time(net);
}

ps_status network_open(struct network *net, const struct network_options *options)
{
    struct psd_coordinator_options o = {
        .server_epoch = EPOCH,
        .random_seed = 1,
        .worker_silence_ns =
            options->silence ? options->silence * SECOND_NS : UINT64_MAX / 2,
        .shard_timeout_ns = 3600 * SECOND_NS,
        .keep_finished = 4,
        .max_jobs = 4,
        .token = "",
        .endpoint = "nowhere",
    };
    struct psd_shard_options so = { .control = NETWORK_CONTROL,
                                    .backend = &psd_backend_cpu };
    const char              *endpoints[PS_SHARDS_MAX];
    uint32_t                 first;
    ps_status                st;

    *net = (struct network){ .options = *options, .now = 1 };
    net->shards = calloc(options->shards, sizeof(struct psd_shard *));
    if (!net->shards)
        return ps_fail(PS_ERR_NO_MEMORY, "network: no memory");
    st = psd_coordinator_new(&net->coordinator, &o);
    for (uint32_t s = 0; !st && s < options->shards; s++) {
        endpoints[s] = "ipc://nowhere";
        st = psd_shard_new(&net->shards[s], &so);
    }
    return st ? st
              : psd_coordinator_add_shards(net->coordinator, net->now, endpoints,
                                           options->shards, NETWORK_CONTROL, "here", 1,
                                           &first);
}

void network_close(struct network *net)
{
    for (uint32_t s = 0; net->shards && s < net->options.shards; s++)
        psd_shard_free(&net->shards[s]);
    for (size_t i = 0; i < net->n_flights; i++)
        ps_parcel_drop(&net->flights[i].parcel);
    psd_coordinator_free(&net->coordinator);
    ps_outbox_free(&net->out);
    free(net->flights);
    free(net->shards);
}
