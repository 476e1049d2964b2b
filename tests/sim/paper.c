/* paper.c - see paper.h. */
#include "tests/sim/paper.h"

#include "tests/sim/model.h"

#include <jansson.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#define DIGITS 9 /* of a number in JSON */

struct paper {
    const struct paper_options *options;
    const struct ps_simulation *simulation;
    bool                        shows; /* progress */
    unsigned                    permille;
};

static void tell(void *ctx, enum ps_log_level level, const char *line)
{
    (void)ctx;
    if (level == PS_LOG_ERR)
        fprintf(stderr, "psim: %s\n", line);
}

/* ---- names ---------------------------------------------------------------------- */

/* "ssp 3", "backup 12", "asp staleness" */
static void name_strategy(const struct model_case *c, const struct model_result *r,
                          char *out, size_t room)
{
    static const char *const scales[] = { "",           "",          " workers",
                                          " staleness", " versions", " delay" };
    const struct ps_simulated_strategy *s = c->strategy;
    const char                         *name = ps_strategy_name(s->strategy);

    if (s->strategy == PS_BACKUP)
        snprintf(out, room, "%s %u", name, r->spares);
    else if (s->strategy == PS_SSP)
        snprintf(out, room, "%s %ju%s", name, (uintmax_t)s->slack, scales[s->scale]);
    else
        snprintf(out, room, "%s%s", name, scales[s->scale]);
}

/* ---- the table ------------------------------------------------------------------ */

static void print_head(const struct ps_simulation *s)
{
    printf("%s: %.4g MB of parameters, %g ms of work in an iteration, links of %.4g "
           "MB/s, seed %ju\n",
           s->name, (double)ps_simulation_elements(s) * sizeof(float) / 1e6,
           s->compute_ms, s->bandwidth / 1e6, (uintmax_t)s->seed);
    printf("%7s %6s %-14s %9s %11s %9s %9s %5s %7s %6s %6s %5s %6s %9s %6s %6s %6s\n",
           "workers", "shards", "strategy", "iter/s",
           s->batch ? "samples/s" : "gradients/s", "p50 ms", "p99 ms", "wait", "stale",
           "p99", "max", "ahead", "late", "link MB/s", "of it", "I/O", "shard");
}

static void print_row(const struct model_case *c, const struct model_result *r)
{
    char strategy[64];

    name_strategy(c, r, strategy, sizeof(strategy));
    printf("%7u %6u %-14s %9.4g %11.5g %9.4g %9.4g %4.0f%% %7.4g %6.0f %6.0f %5ju "
           "%5.1f%% %9.4g %5.0f%% %5.0f%% %5.0f%%\n",
           c->workers, c->shards, strategy, r->iterations_rate,
           c->simulation->batch ? r->samples_rate : r->gradients_rate,
           r->iteration.p50 * 1e3, r->iteration.p99 * 1e3, r->waiting * 100,
           r->staleness.mean, r->staleness.p99, r->staleness.max, (uintmax_t)r->ahead,
           r->late * 100, r->link_bytes / 1e6, r->link_busy * 100,
           r->sockets_most * 100, r->shard_most * 100);
}

/* ---- JSON ----------------------------------------------------------------------- */

static ps_status print_object(const struct model_case *c, const struct model_result *r)
{
    const struct ps_simulated_strategy *s = c->strategy;
    json_t                             *object =
        json_pack("{s:s, s:i, s:i, s:s, s:I, s:i, s:f, s:f, s:f}", "name",
                  c->simulation->name, "workers", (int)c->workers, "shards",
                  (int)c->shards, "strategy", ps_strategy_name(s->strategy), "slack",
                  (json_int_t)(s->strategy == PS_SSP ? s->slack : 0), "spares",
                  (int)(s->strategy == PS_BACKUP ? r->spares : 0), "seconds",
                  r->seconds, "iterations_per_second", r->iterations_rate,
                  "gradients_per_second", r->gradients_rate);
    json_t *more = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:f, s:f, s:f, "
        "s:f, s:f, s:I, s:I}",
        "iteration_mean", r->iteration.mean, "iteration_p50", r->iteration.p50,
        "iteration_p99", r->iteration.p99, "iteration_max", r->iteration.max, "waiting",
        r->waiting, "staleness_mean", r->staleness.mean, "staleness_p50",
        r->staleness.p50, "staleness_p99", r->staleness.p99, "staleness_max",
        r->staleness.max, "ahead_max", (json_int_t)r->ahead, "late", r->late,
        "link_bytes_per_second", r->link_bytes, "link_busy", r->link_busy, "shard_busy",
        r->shard_busy, "shard_busy_max", r->shard_most, "cores_busy_max", r->cores_busy,
        "sockets_busy_max", r->sockets_most, "messages", (json_int_t)r->messages,
        "resends", (json_int_t)r->resends);
    int bad = !object || !more || json_object_update(object, more) != 0;

    if (!bad && c->simulation->batch)
        bad = json_object_set_new(object, "samples_per_second",
                                  json_real(r->samples_rate)) != 0;
    if (!bad)
        bad =
            json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) != 0;
    putchar('\n');
    json_decref(object);
    json_decref(more);
    return bad ? ps_fail(PS_ERR_NO_MEMORY, "no memory for a line of JSON") : PS_OK;
}

/* ---- running -------------------------------------------------------------------- */

static void show(void *ctx, uint64_t done, uint64_t all)
{
    struct paper *p = ctx;
    unsigned      permille = (unsigned)(done * 1000 / all);

    if (!p->shows || permille == p->permille)
        return;
    p->permille = permille;
    fprintf(stderr, "%5.1f %%\b\b\b\b\b\b\b", permille / 10.0);
}

static void show_case(struct paper *p, const struct model_case *c)
{
    p->permille = 1001;
    if (p->shows)
        fprintf(stderr, "\r\033[K%u workers, %u shards, %s: ", c->workers, c->shards,
                ps_strategy_name(c->strategy->strategy));
}

static void hide(const struct paper *p)
{
    if (p->shows)
        fputs("\r\033[K", stderr);
}

static ps_status run_case(struct paper *p, uint32_t workers, uint32_t shards,
                          const struct ps_simulated_strategy *strategy)
{
    struct model_case   c = { .simulation = p->simulation,
                              .strategy = strategy,
                              .workers = workers,
                              .shards = shards,
                              .progress = show,
                              .ctx = p };
    struct model_result r;
    ps_status           st;

    show_case(p, &c);
    st = model_run(&c, &r);
    hide(p);
    if (st)
        return st;
    if (p->options->json)
        st = print_object(&c, &r);
    else
        print_row(&c, &r);
    if (!st && fflush(stdout) != 0)
        st = ps_fail(PS_ERR_SYSTEM, "standard output: %m");
    return st;
}

static ps_status run_all(struct paper *p)
{
    const struct ps_simulation *s = p->simulation;
    ps_status                   st = PS_OK;

    if (!p->options->json)
        print_head(s);
    for (size_t w = 0; w < s->n_workers; w++)
        for (size_t h = 0; h < s->n_shards; h++)
            for (size_t i = 0; !st && i < s->n_strategies; i++)
                st = run_case(p, s->workers[w], s->shards[h], &s->strategies[i]);
    return st;
}

/* Of what shards keep for each worker a small part is touched, all over it; and what is
 * given back is needed again at once. */
static void prepare_memory(void)
{
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, 64 << 20);
}

int paper_run(const struct paper_options *o)
{
    struct ps_simulation *s = NULL;
    struct paper          p = { .options = o };
    ps_status             st;

    ps_log_listen(tell, NULL, PS_LOG_ERR);
    prepare_memory();
    st = ps_simulation_load(&s, o->file, o->sets, o->n_sets);
    p.simulation = s;
    p.shows = !o->quiet && isatty(STDERR_FILENO) == 1;
    if (!st)
        st = run_all(&p);
    ps_simulation_free(&s);
    return ps_status_exit_code(st);
}
