/* cluster.c - see cluster.h. */
#include "tests/sim/cluster.h"

#include "common/base/random.h"
#include "tests/sim/network.h"
#include "tests/sim/toy.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 200000u

struct worker {
    struct psw_client *client; /* the network has it, too */
    struct ps_ticket  *ticket;
    unsigned           step; /* how many operations have been started before training */
    bool               done;
    ps_matrix         *matrices[TOY_MATRICES];
    void              *value[TOY_MATRICES], *grad[TOY_MATRICES];
};

struct cluster {
    const struct cluster_options *options;
    struct network                net;
    struct worker                *workers;
};

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
    return psw_client_move(w->client, c->net.now, moves, spans, TOY_MATRICES,
                           &c->net.out, &w->ticket);
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
        return psw_client_hello(w->client, c->net.now, &c->net.out, &w->ticket);
    if (step <= TOY_MATRICES) {
        spec = matrix_spec(step - 1);
        return psw_client_matrix(w->client, c->net.now, &spec, true, &c->net.out,
                                 &w->ticket);
    }
    step -= TOY_MATRICES + 1;
    if (step == 0)
        return move(c, w, PSW_PULL);
    if (step == 1)
        return psw_client_bye(w->client, c->net.now, "", &c->net.out, &w->ticket);
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
    return st ? st : network_post(&c->net, CLIENT, rank);
}

/* ---- life ---------------------------------------------------------------------- */

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
        c->net.clients[w] = c->workers[w].client;
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
    network_close(&c->net);
    free(c->workers);
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
            st = network_step(&c->net);
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
    struct cluster         c = { .options = options };
    struct network_options o = { .shards = options->shards,
                                 .seed = options->seed,
                                 .repeat_percent = options->repeat_percent,
                                 .lose_percent = options->lose_percent };
    ps_status              st = network_open(&c.net, &o);

    if (!st)
        st = make_workers(&c);
    if (!st)
        st = run(&c);
    if (!st)
        hash_values(&c, hash);
    free_cluster(&c);
    return st;
}
