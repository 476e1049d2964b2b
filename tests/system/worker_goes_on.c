/*
 * worker_goes_on.c - a worker whose psd is killed and comes back, against a psd that
 * goes_on.sh has started.
 *
 *     worker_goes_on END GATE...   counts to END under bsp, adding 1 to an integer
 *                                  matrix in each iteration
 *
 * It goes on whenever its job has gone back, and says how often that was, and what the
 * sum is at the end.  At clock GATE it waits for the file JOB-GATE, so that it is not
 * through before the play has killed what it wants to kill.
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ELEMENTS 100000u
#define WORKERS 2u
#define PAUSE_MS 2

static int64_t values[ELEMENTS], ones[ELEMENTS];

/* Every element is what all workers have added up to clock t. */
static void check_sums(uint64_t t)
{
    for (uint32_t i = 0; i < ELEMENTS; i++)
        if (values[i] != (int64_t)(WORKERS * t)) {
            fprintf(stderr, "element %u is %" PRId64 " at clock %" PRIu64 "\n", i,
                    values[i], t);
            exit(1);
        }
}

static ps_status one_iteration(ps_worker *w, ps_matrix *m, uint64_t t)
{
    ps_status st = ps_pull_range(m, 0, ELEMENTS, values);

    if (st)
        return st;
    check_sums(t);
    nap_ms(PAUSE_MS);
    st = ps_push_range(m, 0, ELEMENTS, ones);
    return st ? st : ps_finish(w);
}

static void wait_at_gates(ps_worker *w, uint64_t t, char **gates)
{
    char file[256], otherwise[300];

    for (; *gates; gates++) {
        snprintf(file, sizeof(file), "%s-%s", ps_job(w), *gates);
        snprintf(otherwise, sizeof(otherwise), "%s did not come", file);
        if (t == strtoull(*gates, NULL, 10))
            wait_for_file(file, otherwise);
    }
}

int main(int argc, char **argv)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_matrix_options counters = PS_MATRIX_OPTIONS;
    uint64_t          end = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, t;
    unsigned          went_back = 0;
    ps_settings      *settings;
    ps_worker        *w;
    ps_matrix        *m;

    must(ps_settings_parse(
        &settings, "job: {strategy: bsp, aggregate: sum, snapshot_every: 10}\n"));
    opt.settings = settings;
    opt.workers = WORKERS;
    counters.dtype = PS_I64;
    counters.optimiser = PS_ADD;
    for (uint32_t i = 0; i < ELEMENTS; i++)
        ones[i] = 1;
    must(ps_worker_open(&w, &opt));
    must(ps_dense(w, "tally", 100, ELEMENTS / 100, &counters, &m));
    while ((t = ps_clock(w)) < end) {
        ps_status st;

        wait_at_gates(w, t, argv + 2);
        st = one_iteration(w, m, t);

        if (st == PS_ERR_ROLLBACK)
            went_back++;
        else
            must(st);
    }
    printf("went back %u times, at clock %" PRIu64 "\n", went_back, t);
    must(ps_worker_close(&w));
    ps_settings_free(&settings);
    return 0;
}
