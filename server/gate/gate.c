/* gate.c - see gate.h. */
#include "server/gate/gate.h"

#include <stdlib.h>

#define SLACK_ANY UINT64_MAX

struct seat {
    uint64_t finished; /* iterations */
    bool     active;
};

struct psd_gate {
    /* what makes a strategy: a row of numbers, set once */
    bool     holds; /* pushes wait for the close of their iteration */
    uint64_t slack; /* clocks that a pull may be ahead of psd_gate_clock */
    uint32_t spares;

    uint64_t    closed;  /* iterations; only where pushes are held */
    uint64_t    slowest; /* == min(finished) over active seats; where they are not */
    uint32_t    n_active;
    uint32_t    n_behind; /* active seats that have not finished closed + 1 */
    uint32_t    n_here;   /* seats, active or not, that have */
    uint32_t    n_seats;
    struct seat seats[]; /* by rank */
};

static ps_status set_strategy(struct psd_gate *g, const struct ps_job_spec *job)
{
    switch ((enum ps_strategy)job->strategy) {
    case PS_BSP: g->holds = true; return PS_OK;
    case PS_BACKUP:
        g->holds = true;
        g->spares = job->spares;
        return PS_OK;
    case PS_SSP: g->slack = job->slack; return PS_OK;
    case PS_ASP: g->slack = SLACK_ANY; return PS_OK;
    }
    return ps_fail(PS_ERR_BAD_ARG, "gate: no strategy %u in this build", job->strategy);
}

ps_status psd_gate_new(struct psd_gate **out, const struct ps_job_spec *job)
{
    struct psd_gate *g;
    ps_status        st;

    if (job->workers == 0)
        return ps_fail(PS_ERR_BAD_ARG, "gate: a job needs at least one worker");
    g = calloc(1, sizeof(*g) + job->workers * sizeof(g->seats[0]));
    if (!g)
        return ps_fail(PS_ERR_NO_MEMORY, "gate: no memory for %u workers",
                       job->workers);
    st = set_strategy(g, job);
    if (st) {
        free(g);
        return st;
    }
    g->n_seats = g->n_active = g->n_behind = job->workers;
    for (uint32_t r = 0; r < g->n_seats; r++)
        g->seats[r].active = true;
    *out = g;
    return PS_OK;
}

void psd_gate_free(struct psd_gate **gate)
{
    free(*gate);
    *gate = NULL;
}

enum psd_verdict psd_gate_pull(const struct psd_gate *g, uint32_t rank, uint64_t clock)
{
    uint64_t reached = psd_gate_clock(g);

    if (clock == PSD_GATE_NEWEST)
        return PSD_NOW;
    if (!g->holds && rank < g->n_seats && clock > g->seats[rank].finished)
        return PSD_LATER; /* its own push is still under way */
    return clock <= reached || clock - reached <= g->slack ? PSD_NOW : PSD_LATER;
}

/* A worker may push ahead without pulling, but into one open iteration only. */
static enum psd_verdict push_held(const struct psd_gate *g, uint64_t finished,
                                  uint64_t clock)
{
    if (clock <= g->closed || clock <= finished)
        return PSD_STALE;
    return clock == g->closed + 1 ? PSD_HOLD : PSD_LATER;
}

enum psd_verdict psd_gate_push(const struct psd_gate *g, uint32_t rank, uint64_t clock)
{
    if (rank >= g->n_seats || !g->seats[rank].active)
        return PSD_NEVER;
    if (g->holds)
        return push_held(g, g->seats[rank].finished, clock);
    if (clock <= g->seats[rank].finished)
        return PSD_STALE;
    /* Else part of the iteration before is still under way: it overtook that part. */
    return clock == g->seats[rank].finished + 1 ? PSD_NOW : PSD_LATER;
}

/* Over active seats; the fastest of all when none is active. */
static uint64_t slowest_of(const struct psd_gate *g)
{
    uint64_t slowest = UINT64_MAX, fastest = 0;

    for (uint32_t r = 0; r < g->n_seats; r++) {
        if (g->seats[r].finished > fastest)
            fastest = g->seats[r].finished;
        if (g->seats[r].active && g->seats[r].finished < slowest)
            slowest = g->seats[r].finished;
    }
    return g->n_active ? slowest : fastest;
}

void psd_gate_finish(struct psd_gate *g, uint32_t rank, uint64_t clock)
{
    uint64_t was = g->seats[rank].finished;

    g->seats[rank].finished = clock;
    if (g->holds) {
        g->n_behind--;
        g->n_here++;
    } else if (was == g->slowest) { /* only a slowest worker can move the minimum */
        g->slowest = slowest_of(g);
    }
}

void psd_gate_leave(struct psd_gate *g, uint32_t rank)
{
    if (rank >= g->n_seats || !g->seats[rank].active)
        return;
    g->seats[rank].active = false;
    g->n_active--;
    if (g->seats[rank].finished <= g->closed)
        g->n_behind--;
    if (!g->holds)
        g->slowest = slowest_of(g);
}

uint32_t psd_gate_n_active(const struct psd_gate *g)
{
    return g->n_active;
}

/* A worker that left after finishing the open iteration still counts towards it. */
bool psd_gate_may_close(const struct psd_gate *g)
{
    return g->holds && g->n_here > 0 && g->n_behind <= g->spares;
}

void psd_gate_close(struct psd_gate *g)
{
    g->closed++;
    g->n_behind = g->n_active;
    g->n_here = 0;
}

uint64_t psd_gate_clock(const struct psd_gate *g)
{
    return g->holds ? g->closed : g->slowest;
}

uint32_t psd_gate_missing(const struct psd_gate *g, uint32_t *ranks, uint32_t room)
{
    uint32_t n = 0;

    if (g->slack == SLACK_ANY)
        return 0;
    for (uint32_t r = 0; r < g->n_seats; r++) {
        if (!g->seats[r].active || g->seats[r].finished > psd_gate_clock(g))
            continue;
        if (n < room)
            ranks[n] = r;
        n++;
    }
    return n;
}
