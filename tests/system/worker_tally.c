/*
 * worker_tally.c - counters that eight workers keep together, against a psd that
 * tallies.sh has started.
 *
 *     worker_tally count   adds what is known beforehand to a dense and a sparse matrix
 *                          of integers, under asp, in many requests at once
 *     worker_tally sums    an observer looks whether the sums are what they must be
 *     worker_tally slack S counts its iterations, under ssp with slack S, with pauses
 *                          that differ from run to run, and looks with every pull
 *                          whether the slowest is within S iterations; says how far
 *                          ahead of it it was at most
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS 8u

static ps_worker *worker;

static void join(const char *strategy, uint64_t slack, int observer)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_settings      *settings;
    char              text[128];

    snprintf(text, sizeof(text), "job: {strategy: %s, slack: %" PRIu64 "}\n", strategy,
             slack);
    must(ps_settings_parse(&settings, text));
    opt.settings = settings;
    opt.workers = WORKERS;
    opt.observer = observer;
    must(ps_worker_open(&worker, &opt));
    ps_settings_free(&settings);
}

static ps_matrix_options counters(void)
{
    ps_matrix_options o = PS_MATRIX_OPTIONS;

    o.dtype = PS_I64;
    o.optimiser = PS_ADD;
    return o;
}

/* ---- exact sums ----------------------------------------------------------------- */

#define ROUNDS 12u
#define ELEMENTS 300000u /* several chunks */
#define PIECES 24u
#define KEYS 700u
#define ROWS 500u /* of a push, some of them twice */
#define COLS 3u

static ps_matrix *dense, *sparse;
static int64_t    values[ELEMENTS], row_values[KEYS * COLS];
static uint64_t   keys[KEYS];

static int64_t in_element(uint32_t rank, uint32_t round, uint32_t e)
{
    return (int64_t)(rank + 1) * (int64_t)((e + round) % 5) - 3;
}

static uint32_t key_of(uint32_t rank, uint32_t round, uint32_t j)
{
    return (rank * 37 + round * 101 + j * j) % KEYS;
}

static int64_t in_row(uint32_t rank, uint32_t round, uint32_t j, uint32_t col)
{
    return (int64_t)(j % 7) - (int64_t)(rank * col) + (int64_t)round * 1000000007;
}

static uint64_t name_of(uint32_t key)
{
    return key * 0x9e3779b97f4a7c15u;
}

static void open_counters(void)
{
    ps_matrix_options o = counters();

    must(ps_dense(worker, "dense", 1, ELEMENTS, &o, &dense));
    must(ps_sparse(worker, "sparse", COLS, &o, &sparse));
}

static void add_round(uint32_t rank, uint32_t round)
{
    const uint32_t piece = ELEMENTS / PIECES;
    ps_ticket     *tickets[PIECES];

    for (uint32_t e = 0; e < ELEMENTS; e++)
        values[e] = in_element(rank, round, e);
    for (uint32_t j = 0; j < ROWS; j++) {
        keys[j] = name_of(key_of(rank, round, j));
        for (uint32_t c = 0; c < COLS; c++)
            row_values[j * COLS + c] = in_row(rank, round, j, c);
    }
    for (uint32_t p = 0; p < PIECES; p++)
        must(ps_push_range_async(dense, p * piece, piece, values + p * piece,
                                 &tickets[p]));
    for (uint32_t j = 0; j < ROWS; j += 100)
        must(ps_push_rows(sparse, keys + j, 100, row_values + j * COLS));
    for (uint32_t p = 0; p < PIECES; p++)
        must(ps_wait(&tickets[p]));
}

static int count(void)
{
    join("asp", 0, 0);
    open_counters();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        add_round(ps_rank(worker), round);
        must(ps_finish(worker));
    }
    must(ps_worker_close(&worker));
    return 0;
}

static int same(const char *what, const int64_t *is, const int64_t *expected,
                uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (is[i] != expected[i]) {
            fprintf(stderr, "%s %u is %" PRId64 ", expected %" PRId64 "\n", what, i,
                    is[i], expected[i]);
            return 0;
        }
    return 1;
}

static int sums(void)
{
    static int64_t of_elements[ELEMENTS], of_rows[KEYS * COLS];
    int            right;

    for (uint32_t i = 0; i < WORKERS * ROUNDS; i++) {
        uint32_t rank = i / ROUNDS, round = i % ROUNDS;

        for (uint32_t e = 0; e < ELEMENTS; e++)
            of_elements[e] += in_element(rank, round, e);
        for (uint32_t k = 0; k < ROWS * COLS; k++)
            of_rows[key_of(rank, round, k / COLS) * COLS + k % COLS] +=
                in_row(rank, round, k / COLS, k % COLS);
    }
    for (uint32_t k = 0; k < KEYS; k++)
        keys[k] = name_of(k);
    join("asp", 0, 1);
    open_counters();
    must(ps_pull_any(dense, values));
    must(ps_pull_rows(sparse, keys, KEYS, row_values));
    right = same("element", values, of_elements, ELEMENTS) &&
            same("row element", row_values, of_rows, KEYS * COLS);
    must(ps_worker_close(&worker));
    return right ? 0 : 1;
}

/* ---- the slack ------------------------------------------------------------------- */

#define ITERATIONS 60u
#define STALL 20u   /* worker 0 waits here until all others are as far as they may be */
#define MATRICES 6u /* on all shards */

static void say_here(void)
{
    char  path[32];
    FILE *f;

    snprintf(path, sizeof(path), "here-%u", ps_rank(worker));
    f = fopen(path, "w");
    if (f)
        fclose(f);
}

/* Until all others are there, and some time to go further if anything lets them. */
static void stall(void)
{
    for (uint32_t r = 1; r < WORKERS; r++) {
        char path[32], otherwise[64];

        snprintf(path, sizeof(path), "here-%u", r);
        snprintf(otherwise, sizeof(otherwise),
                 "worker %u does not come as far as the slack", r);
        wait_for_file(path, otherwise);
    }
    nap_ms(100);
}

/* Mostly none, sometimes some milliseconds, rarely many. */
static void pause_a_while(void)
{
    double u = ps_random_at((uint64_t)getpid(), 1, ps_clock(worker));

    if (u > 0.5)
        nap_ms(u > 0.97 ? 40 : (long)(8 * u));
}

/* How far this worker is ahead of the slowest, as the counters say. */
static uint64_t lead(const int64_t *counted)
{
    uint64_t clock = ps_clock(worker), ahead = 0;

    for (uint32_t r = 0; r < WORKERS; r++)
        if ((uint64_t)counted[r] + ahead < clock)
            ahead = clock - (uint64_t)counted[r];
    return ahead;
}

static uint64_t look(ps_matrix **matrices, uint64_t slack)
{
    int64_t  counted[WORKERS];
    uint64_t most = 0;

    for (uint32_t m = 0; m < MATRICES; m++) {
        uint64_t ahead;

        must(ps_pull_any(matrices[m], counted));
        ahead = lead(counted);
        most = ahead > most ? ahead : most;
        if (ahead > slack || counted[ps_rank(worker)] != (int64_t)ps_clock(worker)) {
            fprintf(stderr,
                    "worker %u at clock %" PRIu64 " counts %" PRId64 " and is %" PRIu64
                    " ahead, expected %" PRIu64 " at most\n",
                    ps_rank(worker), ps_clock(worker), counted[ps_rank(worker)], ahead,
                    slack);
            exit(1);
        }
    }
    return most;
}

static int keep_slack(uint64_t slack)
{
    ps_matrix        *matrices[MATRICES];
    ps_matrix_options o = counters();
    int64_t           one[WORKERS] = { 0 };
    uint64_t          most = 0;

    join("ssp", slack, 0);
    one[ps_rank(worker)] = 1;
    for (uint32_t m = 0; m < MATRICES; m++) {
        char name[16];

        snprintf(name, sizeof(name), "clock%u", m);
        must(ps_dense(worker, name, 1, WORKERS, &o, &matrices[m]));
    }
    while (ps_clock(worker) < ITERATIONS) {
        uint64_t ahead = look(matrices, slack);

        most = ahead > most ? ahead : most;
        if (ps_rank(worker) == 0 && ps_clock(worker) == STALL)
            stall();
        if (ps_clock(worker) == STALL + slack)
            say_here();
        pause_a_while();
        for (uint32_t m = 0; m < MATRICES; m++)
            must(ps_push_any(matrices[m], one));
        must(ps_finish(worker));
    }
    printf("%" PRIu64 "\n", most);
    must(ps_worker_close(&worker));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "count") == 0)
        return count();
    if (argc == 2 && strcmp(argv[1], "sums") == 0)
        return sums();
    if (argc == 3 && strcmp(argv[1], "slack") == 0)
        return keep_slack(strtoull(argv[2], NULL, 10));
    return 64;
}
