/* gate.c - see gate.h. */
#include "server/gate/gate.h"

#include <stdlib.h>

/* What makes a strategy: a row of numbers, asked for nowhere else. */
struct rules {
    bool holds;      /* pushes wait for the close of their iteration */
    bool pull_waits; /* a pull at clock c waits for the close of c */
};

static struct rules rules_of(uint32_t strategy)
{
    static const struct rules table[] = {
        [PS_BSP] = { .holds = true, .pull_waits = true },
        [PS_ASP] = { .holds = false, .pull_waits = false },
    };

    return table[strategy];
}

struct seat {
    uint64_t finished; /* iterations */
    bool     active;
};

struct psd_gate {
    struct rules rules;
    uint64_t     closed; /* iterations; only where pushes are held */
    uint32_t     n_active;
    uint32_t     n_behind; /* active seats with finished == closed; 0: may close */
    uint32_t     n_seats;
    struct seat  seats[]; /* by rank */
};

ps_status psd_gate_new(struct psd_gate **out, uint32_t strategy, uint32_t n_workers)
{
    struct psd_gate *g;

    if (strategy != PS_BSP && strategy != PS_ASP)
        return ps_fail(PS_ERR_BAD_ARG, "gate: no strategy %u in this build", strategy);
    if (n_workers == 0)
        return ps_fail(PS_ERR_BAD_ARG, "gate: a job needs at least one worker");
    g = calloc(1, sizeof(*g) + n_workers * sizeof(g->seats[0]));
    if (!g)
        return ps_fail(PS_ERR_NO_MEMORY, "gate: no memory for %u workers", n_workers);
    g->rules = rules_of(strategy);
    g->n_seats = g->n_active = g->n_behind = n_workers;
    for (uint32_t r = 0; r < n_workers; r++)
        g->seats[r].active = true;
    *out = g;
    return PS_OK;
}

void psd_gate_free(struct psd_gate **gate)
{
    free(*gate);
    *gate = NULL;
}

enum psd_verdict psd_gate_pull(const struct psd_gate *g, uint64_t clock)
{
    if (g->rules.pull_waits && clock != PSD_GATE_NEWEST && clock > g->closed)
        return PSD_LATER;
    return PSD_NOW;
}

enum psd_verdict psd_gate_push(const struct psd_gate *g, uint32_t rank, uint64_t clock)
{
    if (rank >= g->n_seats || !g->seats[rank].active)
        return PSD_NEVER;
    if (clock <= g->seats[rank].finished)
        return PSD_STALE;
    /* Part of the iteration before is still under way: it overtook that part. */
    if (clock != g->seats[rank].finished + 1)
        return PSD_LATER;
    if (!g->rules.holds)
        return PSD_NOW;
    /* A worker may push ahead without pulling, but into one open iteration only. */
    return clock == g->closed + 1 ? PSD_HOLD : PSD_LATER;
}

void psd_gate_finish(struct psd_gate *g, uint32_t rank, uint64_t clock)
{
    g->seats[rank].finished = clock;
    if (g->rules.holds)
        g->n_behind--;
}

void psd_gate_leave(struct psd_gate *g, uint32_t rank)
{
    if (rank >= g->n_seats || !g->seats[rank].active)
        return;
    g->seats[rank].active = false;
    g->n_active--;
    if (g->seats[rank].finished == g->closed)
        g->n_behind--;
}

bool psd_gate_active(const struct psd_gate *g, uint32_t rank)
{
    return rank < g->n_seats && g->seats[rank].active;
}

uint64_t psd_gate_finished(const struct psd_gate *g, uint32_t rank)
{
    return rank < g->n_seats ? g->seats[rank].finished : 0;
}

/* A worker that left after finishing the open iteration still counts towards it, so
 * "somebody finished it" looks at every seat. */
bool psd_gate_may_close(const struct psd_gate *g)
{
    if (!g->rules.holds || g->n_behind > 0)
        return false;
    for (uint32_t r = 0; r < g->n_seats; r++)
        if (g->seats[r].finished > g->closed)
            return true;
    return false;
}

void psd_gate_close(struct psd_gate *g)
{
    g->closed++;
    g->n_behind = 0;
    for (uint32_t r = 0; r < g->n_seats; r++)
        if (g->seats[r].active && g->seats[r].finished == g->closed)
            g->n_behind++;
}

uint64_t psd_gate_clock(const struct psd_gate *g)
{
    uint64_t slowest = UINT64_MAX, fastest = 0;

    if (g->rules.holds)
        return g->closed;
    for (uint32_t r = 0; r < g->n_seats; r++) {
        if (g->seats[r].finished > fastest)
            fastest = g->seats[r].finished;
        if (g->seats[r].active && g->seats[r].finished < slowest)
            slowest = g->seats[r].finished;
    }
    return g->n_active ? slowest : fastest;
}

uint32_t psd_gate_missing(const struct psd_gate *g, uint32_t *ranks, uint32_t room)
{
    uint32_t n = 0;

    if (!g->rules.holds)
        return 0;
    for (uint32_t r = 0; r < g->n_seats; r++) {
        if (!g->seats[r].active || g->seats[r].finished > g->closed)
            continue;
        if (n < room)
            ranks[n] = r;
        n++;
    }
    return n;
}
