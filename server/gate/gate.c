/* gate.c - see gate.h. */
#include "server/gate/gate.h"

#include "common/base/plant.h"

#include <stdlib.h>

#define SLACK_ANY UINT64_MAX

struct seat {
    uint64_t finished; /* iterations: pushed, or never to be pushed */
    bool     active;
    bool     resting; /* until the next epoch; nobody waits for it */
    bool     early;   /* of the next epoch: rests until this one has ended */
    bool     here;    /* its gradient is in the open iteration */
};

struct psd_gate {
    /* what makes a strategy: a row of numbers, set once */
    bool     holds; /* pushes wait for the close of their iteration */
    uint64_t slack; /* clocks that a pull may be ahead of psd_gate_clock */
    uint32_t spares;

    uint64_t    closed;  /* iterations; only where pushes are held */
    uint64_t    slowest; /* == slowest_of(); where they are not */
    uint64_t    epochs;  /* that have ended */
    uint32_t    n_active;
    uint32_t    n_waited;  /* active seats that do not rest */
    uint32_t    n_behind;  /* of those, that have not finished closed + 1 */
    uint32_t    n_absent;  /* of those, that have skipped it */
    uint32_t    n_skipped; /* active seats, resting or not, that have skipped it */
    uint32_t    n_here;    /* seats, active or not, whose gradient for it is here */
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

static bool is_waited_for(const struct seat *s)
{
    return s->active && !s->resting;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Of those who are waited for; when all active ones rest the fastest of them, when none
 * is active the fastest there was. */
static uint64_t slowest_of(const struct psd_gate *g)
{
    uint64_t slowest = UINT64_MAX, fastest = 0;

    for (uint32_t r = 0; r < g->n_seats; r++) {
        const struct seat *s = &g->seats[r];

        if (is_waited_for(s) && s->finished < slowest)
            slowest = s->finished;
        if (s->active || g->n_active == 0)
            fastest = later(fastest, s->finished);
    }
    return g->n_waited ? slowest : fastest;
}

static void recount(struct psd_gate *g)
{
    g->n_active = g->n_waited = g->n_behind = g->n_absent = 0;
    g->n_skipped = g->n_here = 0;
    for (uint32_t r = 0; r < g->n_seats; r++) {
        const struct seat *s = &g->seats[r];

        g->n_active += s->active;
        g->n_waited += is_waited_for(s);
        g->n_behind += is_waited_for(s) && s->finished <= g->closed;
        g->n_absent += is_waited_for(s) && s->finished > g->closed && !s->here;
        g->n_skipped += s->active && s->finished > g->closed && !s->here;
        g->n_here += s->here;
    }
    if (!g->holds)
        g->slowest = slowest_of(g);
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
    g->n_seats = job->workers;
    for (uint32_t r = 0; r < g->n_seats; r++)
        g->seats[r].active = true;
    recount(g);
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
    return clock <= reached || clock - reached <= g->slack + PSD_PLANTED(PLANT_SLACK)
               ? PSD_NOW
               : PSD_LATER;
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
    if (g->seats[rank].early)
        return PSD_LATER;
    if (g->holds)
        return push_held(g, g->seats[rank].finished, clock);
    if (clock <= g->seats[rank].finished)
        return PSD_STALE;
    /* Else part of the iteration before is still under way: it overtook that part. */
    return clock == g->seats[rank].finished + 1 ? PSD_NOW : PSD_LATER;
}

void psd_gate_finish(struct psd_gate *g, uint32_t rank, uint64_t clock)
{
    struct seat *s = &g->seats[rank];
    uint64_t     was = s->finished;

    s->finished = clock;
    if (g->holds) {
        s->here = true;
        g->n_here++;
        g->n_behind -= is_waited_for(s);
    } else if (was == g->slowest) { /* only a slowest worker can move the minimum */
        g->slowest = slowest_of(g);
    }
}

/* ---- coming and going ---------------------------------------------------------- */

void psd_gate_leave(struct psd_gate *g, uint32_t rank)
{
    if (rank >= g->n_seats || PSD_PLANTED(PLANT_DEAD_COUNTS))
        return;
    g->seats[rank].active = g->seats[rank].resting = g->seats[rank].early = false;
    recount(g);
}

void psd_gate_join(struct psd_gate *g, uint32_t rank, uint64_t clock)
{
    struct seat *s;

    if (rank >= g->n_seats)
        return;
    s = &g->seats[rank];
    s->finished = later(clock, psd_gate_clock(g) + (s->here ? 1 : 0));
    s->active = true;
    s->resting = s->early = false;
    recount(g);
}

void psd_gate_defer(struct psd_gate *g, uint32_t rank, uint64_t epochs)
{
    if (rank >= g->n_seats || !g->seats[rank].active || epochs <= g->epochs)
        return;
    g->seats[rank].resting = g->seats[rank].early = true;
    recount(g);
}

bool psd_gate_is_early(const struct psd_gate *g, uint32_t rank)
{
    return rank < g->n_seats && g->seats[rank].early;
}

bool psd_gate_raise(struct psd_gate *g, uint32_t rank, uint64_t clock)
{
    if (rank >= g->n_seats || clock <= g->seats[rank].finished)
        return false;
    g->seats[rank].finished = clock;
    recount(g);
    return true;
}

uint64_t psd_gate_resume(const struct psd_gate *g, uint32_t rank)
{
    return g->holds ? g->closed : g->seats[rank].finished;
}

uint32_t psd_gate_n_active(const struct psd_gate *g)
{
    return g->n_active;
}

/* ---- closing ------------------------------------------------------------------- */

/* A worker that left after finishing the open iteration still counts towards it; one
 * that skips it is one of its spares. */
bool psd_gate_may_close(const struct psd_gate *g)
{
    uint32_t spares = g->spares > g->n_skipped ? g->spares - g->n_skipped : 0;

    if (!g->holds)
        return false;
    if (g->n_here > 0)
        return g->n_behind <= spares + PSD_PLANTED(PLANT_SPARES);
    return g->n_behind == 0 && g->n_absent > 0; /* nobody will push for it */
}

void psd_gate_close(struct psd_gate *g)
{
    g->closed =
        g->n_here > 0 ? g->closed + 1 : slowest_of(g); /* all that are skipped */
    for (uint32_t r = 0; r < g->n_seats; r++)
        g->seats[r].here = false;
    recount(g);
}

/* ---- the end of an epoch ------------------------------------------------------- */

void psd_gate_rest(struct psd_gate *g, uint32_t rank, uint64_t clock)
{
    struct seat *s = &g->seats[rank];

    s->finished = later(s->finished, clock);
    s->resting = true;
    recount(g);
}

void psd_gate_rouse(struct psd_gate *g, uint32_t rank)
{
    g->seats[rank].resting = false;
    recount(g);
}

bool psd_gate_may_wake(const struct psd_gate *g)
{
    return g->n_active > 0 && g->n_waited == 0 && !psd_gate_may_close(g);
}

/*
 * Every shard comes to the same clock.  What a worker has finished when it rests, it
 * has finished on all of them.  Where pushes are applied at once that is all that
 * counts. Where they are held, no iteration can be closed any more: with nobody to wait
 * for, a single gradient is enough to close one, so the last that is closed is the last
 * for which anybody pushed.  One exception: a worker that was lost may have pushed it
 * to some shards only, and they alone closed it.  Workers go on from the latest clock
 * that they are told, and the other shards learn it from their next messages.
 */
uint64_t psd_gate_wake(struct psd_gate *g)
{
    uint64_t clock = g->closed;

    for (uint32_t r = 0; r < g->n_seats; r++)
        if (g->seats[r].active)
            clock = later(clock, g->seats[r].finished);
    for (uint32_t r = 0; r < g->n_seats; r++)
        if (g->seats[r].active) {
            g->seats[r].finished = clock;
            g->seats[r].resting = g->seats[r].early = false;
        }
    g->epochs++;
    if (g->holds)
        g->closed = clock;
    recount(g);
    return clock;
}

/* ---- what it says -------------------------------------------------------------- */

uint64_t psd_gate_clock(const struct psd_gate *g)
{
    return g->holds ? g->closed : g->slowest;
}

uint64_t psd_gate_epochs(const struct psd_gate *g)
{
    return g->epochs;
}

/* Those who are waited for and have not finished more than `clock`. */
static uint32_t list_waited(const struct psd_gate *g, uint64_t clock, uint32_t *ranks,
                            uint32_t room)
{
    uint32_t n = 0;

    for (uint32_t r = 0; r < g->n_seats; r++) {
        if (!is_waited_for(&g->seats[r]) || g->seats[r].finished > clock)
            continue;
        if (n < room)
            ranks[n] = r;
        n++;
    }
    return n;
}

uint32_t psd_gate_missing(const struct psd_gate *g, uint32_t *ranks, uint32_t room)
{
    if (g->slack == SLACK_ANY)
        return 0;
    return list_waited(g, psd_gate_clock(g), ranks, room);
}

uint32_t psd_gate_restless(const struct psd_gate *g, uint32_t *ranks, uint32_t room)
{
    return list_waited(g, UINT64_MAX, ranks, room);
}

/* ---- what is kept of it -------------------------------------------------------- */

uint64_t psd_gate_finished(const struct psd_gate *g, uint32_t rank)
{
    return g->seats[rank].finished;
}

struct psd_gate_seat psd_gate_look(const struct psd_gate *g, uint32_t rank)
{
    const struct seat   *s = &g->seats[rank];
    struct psd_gate_seat kept = { .finished = s->finished,
                                  .active = s->active,
                                  .early = s->early,
                                  .rested = s->resting && !s->early };

    if (g->holds && kept.finished > g->closed)
        kept.finished = g->closed; /* what it has pushed since is not in the model */
    return kept;
}

void psd_gate_restore(struct psd_gate *g, uint64_t closed, uint64_t epochs,
                      const struct psd_gate_seat *seats)
{
    g->closed = g->holds ? closed : 0;
    g->epochs = epochs;
    for (uint32_t r = 0; r < g->n_seats; r++)
        g->seats[r] = (struct seat){ .finished = seats[r].finished,
                                     .active = seats[r].active,
                                     .resting = seats[r].early,
                                     .early = seats[r].early };
    recount(g);
}
