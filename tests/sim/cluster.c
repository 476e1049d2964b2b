/* cluster.c - see cluster.h. */
#include "tests/sim/cluster.h"

#include "common/base/random.h"
#include "server/compute/backend.h"
#include "server/coordinator/coordinator.h"
#include "server/shard/shard.h"
#include "tests/sim/toy.h"
#include "worker/client.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL 99u
#define EPOCH 7u
#define QUIET_NS 1000000000ull /* how far time jumps when nothing is under way */
#define STEPS_MAX 200000u

/* Who a message is for. */
enum party { COORDINATOR, SHARD, CLIENT };

struct flight {
    enum party       to;
    uint32_t         index;
    struct ps_parcel parcel; /* its route is the sender's address, as `to` sees it */
};

struct worker {
    struct psw_client *client;
    struct ps_ticket  *ticket;
    unsigned           step; /* how many operations have been started before training */
    bool               done;
    ps_matrix         *matrices[TOY_MATRICES];
    void              *value[TOY_MATRICES], *grad[TOY_MATRICES];
};

struct cluster {
    const struct cluster_options *options;
    struct psd_coordinator       *coordinator;
    struct psd_shard            **shards;
    struct worker                *workers;
    struct ps_outbox              out;
    struct flight                *flights;
    size_t                        n_flights, room;
    uint64_t                      now, draws;
};

static uint64_t draw(struct cluster *c, uint64_t bound)
{
    return ps_random_below(c->options->seed, 1, c->draws++, bound);
}

/* ---- the network --------------------------------------------------------------- */

static ps_status take_off(struct cluster *c, enum party to, uint32_t index,
                          struct ps_parcel *p)
{
    if (c->n_flights == c->room) {
        size_t         room = c->room ? 2 * c->room : 64;
        struct flight *grown = realloc(c->flights, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "cluster: no memory");
        c->flights = grown;
        c->room = room;
    }
    c->flights[c->n_flights++] =
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

static ps_status post(struct cluster *c, enum party from, uint32_t from_index)
{
    ps_status st = PS_OK;

    for (size_t i = 0; !st && i < c->out.n; i++) {
        struct flight f = { .parcel = c->out.parcels[i] };

        c->out.parcels[i].head = NULL;
        c->out.parcels[i].n_frames = 0;
        address(from, from_index, &f);
        if (draw(c, 100) < c->options->lose_percent) {
            ps_parcel_drop(&f.parcel);
            continue;
        }
        if (draw(c, 100) < c->options->repeat_percent) {
            struct ps_parcel twin;

            ps_parcel_share(&twin, &f.parcel);
            st = take_off(c, f.to, f.index, &twin);
        }
        if (!st)
            st = take_off(c, f.to, f.index, &f.parcel);
    }
    ps_outbox_clear(&c->out);
    return st;
}

static ps_status deliver_one(struct cluster *c)
{
    size_t        i = draw(c, c->n_flights);
    struct flight f = c->flights[i];

    c->flights[i] = c->flights[--c->n_flights];
    switch (f.to) {
    case COORDINATOR:
        psd_coordinator_handle(c->coordinator, c->now, &f.parcel, &c->out);
        break;
    case SHARD: psd_shard_handle(c->shards[f.index], c->now, &f.parcel, &c->out); break;
    case CLIENT:
        psw_client_handle(c->workers[f.index].client, c->now, &f.parcel, &c->out);
        break;
    }
    return post(c, f.to, f.index);
}

static ps_status pass_time(struct cluster *c)
{
    ps_status st;

    c->now += QUIET_NS;
    psd_coordinator_tick(c->coordinator, c->now, &c->out);
    st = post(c, COORDINATOR, 0);
    for (uint32_t w = 0; !st && w < c->options->workers; w++) {
        psw_client_tick(c->workers[w].client, c->now, &c->out);
        st = post(c, CLIENT, w);
    }
    return st;
}

/* ---- a worker's programme ------------------------------------------------------ */

static struct ps_matrix_spec matrix_spec(unsigned m)
{
    struct ps_matrix_spec s = { .dtype = toy_shapes[m].dtype,
                                .rows = toy_shapes[m].rows,
                                .cols = toy_shapes[m].cols,
                                .init = PS_INIT_NORMAL,
                                .init_b = 0.5,
                                .weight_decay = NAN };

    snprintf(s.name, sizeof(s.name), "%s", toy_shapes[m].name);
    return s;
}

static ps_status move(struct cluster *c, struct worker *w, uint32_t moves)
{
    struct psw_span spans[TOY_MATRICES];

    for (unsigned m = 0; m < TOY_MATRICES; m++)
        spans[m] = (struct psw_span){ .matrix = w->matrices[m],
                                      .count = toy_elements(m),
                                      .value = w->value[m],
                                      .gradient = w->grad[m] };
    return psw_client_move(w->client, c->now, moves, spans, TOY_MATRICES, &c->out,
                           &w->ticket);
}

static ps_status train_step(struct cluster *c, struct worker *w, uint32_t rank,
                            uint64_t t)
{
    for (unsigned m = 0; m < TOY_MATRICES; m++)
        toy_gradient(m, rank, t, ps_random_normal, w->value[m], w->grad[m]);
    psw_client_weight(w->client, toy_weight(rank));
    return move(c, w, PSW_PUSH | PSW_FINISH | PSW_PULL);
}

/* hello, three matrices, pull, steps until the clock is TOY_ITERATIONS, bye.  A worker
 * that came too late goes on from where the others are. */
static ps_status start_next(struct cluster *c, struct worker *w, uint32_t rank)
{
    unsigned              step = w->step;
    uint64_t              clock = psw_client_clock(w->client);
    struct ps_matrix_spec spec;

    if (step == TOY_MATRICES + 2 && clock < TOY_ITERATIONS)
        return train_step(c, w, rank, clock + 1);
    w->step++;
    if (step == 0)
        return psw_client_hello(w->client, c->now, &c->out, &w->ticket);
    if (step <= TOY_MATRICES) {
        spec = matrix_spec(step - 1);
        return psw_client_matrix(w->client, c->now, &spec, true, &c->out, &w->ticket);
    }
    step -= TOY_MATRICES + 1;
    if (step == 0)
        return move(c, w, PSW_PULL);
    if (step == 1)
        return psw_client_bye(w->client, c->now, "", &c->out, &w->ticket);
    w->done = true;
    return PS_OK;
}

static ps_status advance(struct cluster *c, uint32_t rank)
{
    struct worker *w = &c->workers[rank];
    ps_status      st;

    if (w->done || (w->ticket && !psw_ticket_done(w->ticket)))
        return PS_OK;
    if (w->ticket) {
        if (w->step >= 2 && w->step <= TOY_MATRICES + 1)
            w->matrices[w->step - 2] = psw_ticket_matrix(w->ticket);
        st = psw_ticket_result(w->ticket);
        psw_ticket_drop(&w->ticket);
        if (st)
            return st;
    }
    st = start_next(c, w, rank);
    return st ? st : post(c, CLIENT, rank);
}

/* ---- life ---------------------------------------------------------------------- */

static ps_status make_servers(struct cluster *c)
{
    struct psd_coordinator_options o = {
        .server_epoch = EPOCH,
        .random_seed = 1,
        .worker_silence_ns = UINT64_MAX / 2, /* clients here send no heartbeat */
        .shard_timeout_ns = 3600 * 1000000000ull,
        .keep_finished = 4,
        .max_jobs = 4,
        .token = "",
        .endpoint = "nowhere",
    };
    struct psd_shard_options so = { .control = CONTROL, .backend = &psd_backend_cpu };
    const char              *endpoints[PS_SHARDS_MAX];
    uint32_t                 first;
    ps_status                st = psd_coordinator_new(&c->coordinator, &o);

    c->shards = calloc(c->options->shards, sizeof(struct psd_shard *));
    if (!c->shards)
        return ps_fail(PS_ERR_NO_MEMORY, "cluster: no memory");
    for (uint32_t s = 0; !st && s < c->options->shards; s++) {
        endpoints[s] = "ipc://nowhere";
        st = psd_shard_new(&c->shards[s], &so);
    }
    return st ? st
              : psd_coordinator_add_shards(c->coordinator, c->now, endpoints,
                                           c->options->shards, CONTROL, "here", 1,
                                           &first);
}

static ps_status make_workers(struct cluster *c)
{
    ps_status st = PS_OK;

    c->workers = calloc(c->options->workers, sizeof(*c->workers));
    if (!c->workers)
        return ps_fail(PS_ERR_NO_MEMORY, "cluster: no memory");
    for (uint32_t w = 0; !st && w < c->options->workers; w++) {
        struct psw_client_options o = { .job = c->options->job,
                                        .coordinator = "nowhere",
                                        .token = "",
                                        .rank = w,
                                        .pid = 100 + w,
                                        .host = "here",
                                        .first_request = 1 };

        o.job.workers = c->options->workers;
        for (unsigned m = 0; m < TOY_MATRICES; m++) {
            c->workers[w].value[m] = calloc(1, toy_bytes(m));
            c->workers[w].grad[m] = calloc(1, toy_bytes(m));
            if (!c->workers[w].value[m] || !c->workers[w].grad[m])
                return ps_fail(PS_ERR_NO_MEMORY, "cluster: no memory");
        }
        st = psw_client_new(&c->workers[w].client, &o);
    }
    return st;
}

static void free_cluster(struct cluster *c)
{
    for (uint32_t w = 0; c->workers && w < c->options->workers; w++) {
        psw_client_free(&c->workers[w].client);
        for (unsigned m = 0; m < TOY_MATRICES; m++) {
            free(c->workers[w].value[m]);
            free(c->workers[w].grad[m]);
        }
    }
    for (uint32_t s = 0; c->shards && s < c->options->shards; s++)
        psd_shard_free(&c->shards[s]);
    for (size_t i = 0; i < c->n_flights; i++)
        ps_parcel_drop(&c->flights[i].parcel);
    psd_coordinator_free(&c->coordinator);
    ps_outbox_free(&c->out);
    free(c->flights);
    free(c->workers);
    free(c->shards);
}

static bool all_done(const struct cluster *c)
{
    for (uint32_t w = 0; w < c->options->workers; w++)
        if (!c->workers[w].done)
            return false;
    return true;
}

static ps_status run(struct cluster *c)
{
    ps_status st = PS_OK;

    for (unsigned steps = 0; !st && !all_done(c); steps++) {
        if (steps == STEPS_MAX)
            return ps_fail(PS_ERR_TIMEOUT, "cluster: not done after %u steps, seed %ju",
                           steps, (uintmax_t)c->options->seed);
        for (uint32_t w = 0; !st && w < c->options->workers; w++)
            st = advance(c, w);
        if (!st)
            st = c->n_flights ? deliver_one(c) : pass_time(c);
    }
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(toy_shapes[*(const unsigned *)a].name,
                  toy_shapes[*(const unsigned *)b].name);
}

/* As ps_model_hash in ps/worker.h documents it, from worker 0's values. */
static void hash_values(const struct cluster *c, char hash[65])
{
    unsigned                 order[TOY_MATRICES];
    unsigned char            digest[32];
    crypto_generichash_state state;

    for (unsigned m = 0; m < TOY_MATRICES; m++)
        order[m] = m;
    qsort(order, TOY_MATRICES, sizeof(order[0]), by_name);
    crypto_generichash_init(&state, NULL, 0, sizeof(digest));
    for (unsigned i = 0; i < TOY_MATRICES; i++) {
        const struct toy_shape *s = &toy_shapes[order[i]];
        uint32_t                dtype = s->dtype;

        crypto_generichash_update(&state, (const void *)s->name, strlen(s->name) + 1);
        crypto_generichash_update(&state, (const void *)&dtype, sizeof(dtype));
        crypto_generichash_update(&state, (const void *)&s->rows, sizeof(s->rows));
        crypto_generichash_update(&state, (const void *)&s->cols, sizeof(s->cols));
        crypto_generichash_update(&state, c->workers[0].value[order[i]],
                                  toy_bytes(order[i]));
    }
    crypto_generichash_final(&state, digest, sizeof(digest));
    sodium_bin2hex(hash, 65, digest, sizeof(digest));
}

ps_status cluster_train(const struct cluster_options *options, char hash[65])
{
    struct cluster c = { .options = options, .now = 1 };
    ps_status      st = make_servers(&c);

    if (!st)
        st = make_workers(&c);
    if (!st)
        st = run(&c);
    if (!st)
        hash_values(&c, hash);
    free_cluster(&c);
    return st;
}
