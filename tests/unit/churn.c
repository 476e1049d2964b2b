/*
 * Workers that come and go at random, under loss, repetition and disorder: the real
 * coordinator, shards and clients in one thread.
 *
 * Every worker adds 1 to its own counters, one on each shard, in each iteration, so at
 * the end the counters say which pushes were applied, and the workers which of them
 * were acknowledged.  Worker 0 stays to the end, or the job would begin anew.
 */
#include "common/base/random.h"
#include "common/wire/wire.h"
#include "tests/sim/network.h"
#include "tests/unit/suite.h"

#include <stdio.h>

#define WORKERS 5u
#define SHARDS 3u /* and as many matrices: each shard has one */
#define ITERATIONS 60u
#define EPOCHS 12u
#define SLACK 2u
#define SILENCE 15u
#define STEPS_MAX 3000000u
#define LIVES_MAX 200u /* a client each; from here on everybody stays */

enum phase { AWAY, JOINING, OPENING, TRAINING, RESTING, LEAVING };

struct worker {
    enum phase         phase;
    struct psw_client *client;
    uint32_t           life; /* which of the network's clients */
    struct ps_ticket  *ticket;
    uint32_t           n_open;
    ps_matrix         *matrices[SHARDS];
    int64_t            one[WORKERS], value[SHARDS][WORKERS];
    bool               pushes;  /* what is under way */
    uint64_t           left;    /* batches of the epoch */
    uint64_t           acked;   /* iterations, in all lives */
    uint64_t           unacked; /* under way when it was killed */
};

static struct network     net;
static struct ps_job_spec job;
static struct worker      workers[WORKERS];
static uint32_t           n_lives;
static bool               in_epochs, closing;
static unsigned           kill_of, leave_of; /* one in so many; 0: never */
static uint64_t           n_epochs, n_joined, n_kills;

static bool happens(unsigned one_in)
{
    return one_in && n_lives < LIVES_MAX && network_draw(&net, one_in) == 0;
}

static struct ps_matrix_spec spec_of(uint32_t m)
{
    struct ps_matrix_spec s = {
        .dtype = PS_I64, .rows = 1, .cols = WORKERS, .optimiser = PS_ADD
    };

    snprintf(s.name, sizeof(s.name), "tally%u", m);
    return s;
}

static void set_out(struct worker *w, uint32_t rank, bool observer)
{
    struct psw_client_options o = { .job = job,
                                    .coordinator = "nowhere",
                                    .token = "",
                                    .rank = rank,
                                    .observer = observer,
                                    .pid = 100 + n_lives,
                                    .host = "here",
                                    .first_request = 1000 * (uint64_t)n_lives };

    w->life = n_lives++;
    w->n_open = 0;
    w->phase = JOINING;
    ck_assert_ok(psw_client_new(&w->client, &o));
    net.clients[w->life] = w->client;
    ck_assert_ok(psw_client_hello(w->client, net.now, &net.out, &w->ticket));
}

static void be_gone(struct worker *w)
{
    net.clients[w->life] = NULL;
    psw_client_free(&w->client); /* with its tickets */
    w->ticket = NULL;
    w->phase = AWAY;
}

static void move(struct worker *w, uint32_t moves)
{
    struct psw_span spans[SHARDS];

    for (uint32_t m = 0; m < SHARDS; m++)
        spans[m] = (struct psw_span){ .matrix = w->matrices[m],
                                      .count = WORKERS,
                                      .value = w->value[m],
                                      .gradient = w->one };
    w->pushes = moves & PSW_PUSH;
    ck_assert_ok(psw_client_move(w->client, net.now, moves, spans, SHARDS, &net.out,
                                 &w->ticket));
}

static void check_slack(const struct worker *w)
{
    uint64_t clock = psw_client_clock(w->client);

    for (uint32_t r = 0; job.strategy == PS_SSP && r < WORKERS; r++)
        if (workers[r].phase == TRAINING)
            ck_assert_uint_le(clock, psw_client_clock(workers[r].client) + SLACK);
}

/* What the ticket that is done has brought. */
static void take(struct worker *w)
{
    ps_status st = psw_ticket_result(w->ticket);

    if (w->phase == JOINING && st == PS_ERR_RANK) { /* not yet known to be lost */
        be_gone(w);
        return;
    }
    ck_assert_msg(st == PS_OK, "seed %ju: %s", (uintmax_t)net.options.seed,
                  ps_log_last_error());
    if (w->phase == OPENING && w->n_open < SHARDS)
        w->matrices[w->n_open++] = psw_ticket_matrix(w->ticket);
    else if (w->phase == OPENING)
        w->phase = TRAINING; /* the first values are here */
    else if (w->phase == TRAINING) {
        w->acked += w->pushes;
        check_slack(w);
    }
    psw_ticket_drop(&w->ticket);
    if (w->phase == JOINING) {
        w->phase = OPENING;
        w->left = network_draw(&net, 5);
        n_joined++;
    } else if (w->phase == RESTING) {
        w->phase = TRAINING;
        w->left = network_draw(&net, 5);
        n_epochs += w == &workers[0];
        closing = closing || n_epochs == EPOCHS;
    } else if (w->phase == LEAVING) {
        be_gone(w);
    }
}

static bool nobody_is_joining(void)
{
    for (uint32_t r = 1; r < WORKERS; r++)
        if (workers[r].phase == JOINING || workers[r].phase == OPENING)
            return false;
    return true;
}

static void train(struct worker *w, uint32_t rank)
{
    bool over = in_epochs ? closing : psw_client_clock(w->client) >= ITERATIONS;

    if (over && rank == 0)
        closing = true;
    if (over && rank == 0 && !nobody_is_joining())
        move(w, PSW_PULL); /* says to every shard how far it is */
    else if (over || (rank > 0 && happens(leave_of))) {
        w->phase = LEAVING;
        ck_assert_ok(psw_client_bye(w->client, net.now, "", &net.out, &w->ticket));
    } else if (in_epochs && w->left-- == 0) {
        w->phase = RESTING;
        ck_assert_ok(psw_client_rest(w->client, net.now, &net.out, &w->ticket));
    } else {
        move(w, PSW_PUSH | PSW_FINISH | PSW_PULL);
    }
}

static void start_next(struct worker *w, uint32_t rank)
{
    struct ps_matrix_spec spec = spec_of(w->n_open);

    if (w->phase == TRAINING)
        train(w, rank);
    else if (w->n_open < SHARDS)
        ck_assert_ok(
            psw_client_matrix(w->client, net.now, &spec, true, &net.out, &w->ticket));
    else
        move(w, PSW_PULL);
}

static void advance(uint32_t rank)
{
    struct worker *w = &workers[rank];

    if (w->phase == AWAY) {
        if (closing || (n_joined > 0 && network_draw(&net, 200) != 0))
            return;
        set_out(w, rank, false);
    } else if (rank > 0 && w->phase != LEAVING && happens(kill_of)) {
        w->unacked += w->phase == TRAINING && w->ticket && w->pushes;
        n_kills++;
        be_gone(w);
    } else if (!w->ticket || psw_ticket_done(w->ticket)) {
        if (w->ticket)
            take(w);
        if (w->phase != AWAY && !w->ticket)
            start_next(w, rank);
    }
    ck_assert_ok(network_post(&net, CLIENT, w->life));
}

static bool all_away(void)
{
    for (uint32_t r = 0; r < WORKERS; r++)
        if (workers[r].phase != AWAY)
            return false;
    return true;
}

static void pass(uint64_t seconds)
{
    uint64_t until = net.now + seconds * 1000000000;

    while (net.now < until || net.n_flights)
        ck_assert_ok(network_step(&net));
}

/* ---- what was counted ----------------------------------------------------------- */

static void run_ticket(struct worker *w)
{
    while (!psw_ticket_done(w->ticket)) {
        ck_assert_ok(network_post(&net, CLIENT, w->life));
        ck_assert_ok(network_step(&net));
    }
    ck_assert_ok(psw_ticket_result(w->ticket));
}

static void read_counters(int64_t value[SHARDS][WORKERS])
{
    static struct worker w;

    memset(&w, 0, sizeof(w));
    set_out(&w, 0, true);
    run_ticket(&w);
    psw_ticket_drop(&w.ticket);
    for (uint32_t m = 0; m < SHARDS; m++) {
        struct ps_matrix_spec spec = spec_of(m);

        ck_assert_ok(
            psw_client_matrix(w.client, net.now, &spec, false, &net.out, &w.ticket));
        run_ticket(&w);
        w.matrices[m] = psw_ticket_matrix(w.ticket);
        psw_ticket_drop(&w.ticket);
    }
    move(&w, PSW_PULL);
    run_ticket(&w);
    memcpy(value, w.value, sizeof(w.value));
    be_gone(&w);
}

/* Pushes that a shard has refused as late. */
static uint64_t late_on(uint32_t shard)
{
    struct ps_header   ask = { .kind = PS_MSG_STATS,
                               .request = 1,
                               .session = NETWORK_CONTROL };
    struct ps_outbox   out = { 0 };
    struct ps_parcel   p = { .route = { .kind = PS_ROUTE_PEER, .bytes = 1 } };
    struct ps_decoder *decoder;
    struct ps_header   h;
    uint64_t           late;

    ck_assert_ok(ps_decoder_new(&decoder));
    ck_assert_ok(ps_wire_encode(&ask, &p.head));
    psd_shard_handle(net.shards[shard], net.now, &p, &out);
    ck_assert_uint_eq(out.n, 1);
    ck_assert_ok(ps_wire_decode(decoder, out.parcels[0].head->data,
                                out.parcels[0].head->len, &h));
    ck_assert_uint_ge(h.n_job_stats, 2); /* the shard, the job, its matrices */
    ck_assert(h.job_stats[1].job != 0 && h.job_stats[1].matrix == 0);
    late = h.job_stats[1].late;
    ps_outbox_free(&out);
    ps_decoder_free(&decoder);
    return late;
}

static void check_counters(void)
{
    int64_t  counted[SHARDS][WORKERS];
    uint64_t acked = 0, unacked = 0;

    read_counters(counted);
    for (uint32_t r = 0; r < WORKERS; r++) {
        acked += workers[r].acked;
        unacked += workers[r].unacked;
    }
    for (uint32_t m = 0; m < SHARDS; m++) {
        uint64_t late = late_on(m), sum = 0; /* each shard has one, in turn */

        for (uint32_t r = 0; r < WORKERS; r++) {
            uint64_t n = (uint64_t)counted[m][r];

            sum += n;
            ck_assert_uint_le(n, workers[r].acked + workers[r].unacked);
            if (job.strategy == PS_ASP || job.strategy == PS_SSP)
                ck_assert_uint_ge(n, workers[r].acked);
        }
        ck_assert_uint_ge(sum + late, acked);
        ck_assert_uint_le(sum + late, acked + unacked);
        if (job.strategy == PS_ASP || job.strategy == PS_SSP)
            ck_assert_uint_eq(late, 0);
    }
    ck_assert_uint_gt(acked, EPOCHS);
}

static void churn(uint32_t strategy, uint64_t seed)
{
    struct network_options o = { .shards = SHARDS,
                                 .seed = seed,
                                 .repeat_percent = 10,
                                 .lose_percent = 5,
                                 .silence = SILENCE };

    job = ps_job_spec_default();
    strcpy(job.name, "churn");
    job.workers = WORKERS;
    job.strategy = strategy;
    job.slack = SLACK;
    memset(workers, 0, sizeof(workers));
    for (uint32_t r = 0; r < WORKERS; r++)
        workers[r].one[r] = 1;
    n_lives = 0;
    n_epochs = n_joined = n_kills = 0;
    closing = false;
    ck_assert_ok(network_open(&net, &o));
    for (unsigned steps = 0; !closing || !all_away(); steps++) {
        ck_assert_msg(steps < STEPS_MAX, "seed %ju: it hangs", (uintmax_t)seed);
        for (uint32_t r = 0; r < WORKERS; r++)
            advance(r);
        ck_assert_ok(network_step(&net));
    }
    pass(2 * SILENCE); /* until those killed last are lost */
    check_counters();
    network_close(&net);
}

static const uint32_t strategies[] = { PS_BSP, PS_BACKUP, PS_SSP, PS_ASP };

START_TEST(workers_that_leave_and_come_again_count_exactly)
{
    in_epochs = false;
    kill_of = 0;
    leave_of = 8;
    churn(strategies[_i % 4], (uint64_t)_i);
    ck_assert_uint_gt(n_joined, WORKERS);
}
END_TEST

START_TEST(workers_that_are_killed_and_come_again_count_once)
{
    in_epochs = false;
    kill_of = 1500;
    leave_of = 20;
    churn(strategies[_i % 4], (uint64_t)_i);
    ck_assert_uint_gt(n_joined, WORKERS);
}
END_TEST

START_TEST(epochs_end_whoever_comes_and_goes)
{
    in_epochs = true;
    kill_of = _i % 8 < 4 ? 0 : 3000;
    leave_of = 25;
    churn(strategies[_i % 4], (uint64_t)_i);
    ck_assert_uint_eq(n_epochs, EPOCHS);
}
END_TEST

static Suite *churn_suite(void)
{
    Suite *s = suite_create("churn");
    TCase *t = tcase_create("seeds");

    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, workers_that_leave_and_come_again_count_exactly, 0, 24);
    tcase_add_loop_test(t, workers_that_are_killed_and_come_again_count_once, 0, 24);
    tcase_add_loop_test(t, epochs_end_whoever_comes_and_goes, 0, 32);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(churn_suite)
