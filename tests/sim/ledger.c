/* ledger.c - see ledger.h. */
#include "tests/sim/ledger.h"

#include "worker/client_private.h"

#include <inttypes.h>

static bool is_held(const struct plan *plan)
{
    return plan->job.strategy == PS_BSP || plan->job.strategy == PS_BACKUP;
}

void ledger_meet(struct programme *p, uint32_t i)
{
    p->students[i].map_epoch = client_of(p, i)->map_epoch;
}

/* Under asp and ssp a worker that died in an iteration may have begun it on some shards
 * alone.  Whoever comes after it and goes on behind it leaves it so, also when the job
 * goes back and it is done again: the shards count it as finished. */
static void find_torn(struct ledger *l, uint64_t until, uint64_t lives)
{
    for (uint64_t t = 1; t < until; t++)
        if (l->high[t] > 0 && l->low[t] == 0 && l->begun_by[t] != lives)
            l->torn[t] = true;
}

void ledger_begin(struct programme *p, uint32_t i)
{
    struct student  *s = &p->students[i];
    struct ledger   *l = &p->ledgers[i];
    struct ps_header h = { 0 };
    uint64_t         life;

    s->iteration = psw_client_clock(client_of(p, i)) + 1;
    s->late = p->world.seats[i].n_late;
    psw_client_sign(client_of(p, i), &h);
    life = world_life(&p->world, h.server_epoch);
    if (!is_held(plan_in(p)))
        find_torn(l, s->iteration, s->lives);
    if (l->begun_in[s->iteration] != life)
        l->answered[s->iteration] = false;
    l->begun_in[s->iteration] = life;
    if (l->begun_by[s->iteration] == s->lives)
        return;
    l->begun_by[s->iteration] = s->lives;
    if (!is_held(plan_in(p)) || l->high[s->iteration] == 0)
        l->high[s->iteration]++;
}

void ledger_end(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    struct ledger  *l = &p->ledgers[i];
    const bool      late = p->world.seats[i].n_late != s->late;

    if (late && plan_in(p)->job.strategy != PS_BACKUP && !p->world.loses &&
        !p->disturbed && !p->went_back)
        world_wrong(&p->world,
                    "worker %u was too late for iteration %" PRIu64
                    ", and nobody had been lost",
                    i, s->iteration);
    if (late)
        p->disturbed = true; /* it was not waited for */
    l->answered[s->iteration] = !late;
    if (!late && plan_in(p)->job.strategy != PS_BACKUP && !l->torn[s->iteration])
        l->low[s->iteration] = 1;
}

/* What max_rollback promises, unless a disk refused to take a snapshot. */
static void check_rollback(struct programme *p, uint32_t r, uint64_t n, uint64_t clock)
{
    const uint64_t most = plan_in(p)->job.max_rollback;

    for (uint32_t h = 0; h < plan_in(p)->hosts; h++)
        if (p->world.hosts[h].disk.n_refused > 0)
            return;
    if (most > 0 && n > most)
        world_wrong(&p->world,
                    "the job went back to clock %" PRIu64 ", which takes %" PRIu64
                    " answered iterations from worker %u, expected %" PRIu64 " at most",
                    clock, n, r, most);
}

/* What was done after the clock to which the job went back may be gone, unless it was
 * acknowledged as durable. */
static void take_back(struct programme *p, uint32_t r, uint64_t clock, uint64_t life)
{
    struct ledger *l = &p->ledgers[r];
    uint64_t       n = 0;

    for (uint64_t t = clock + 1; t <= plan_in(p)->iterations; t++) {
        if (plan_in(p)->job.ack == PS_ACK_DURABLE || l->begun_in[t] >= life)
            continue;
        n += l->answered[t];
        l->answered[t] = false;
        l->low[t] = 0;
        if (is_held(plan_in(p)))
            l->high[t] = 0;
    }
    check_rollback(p, r, n, clock);
}

/* Until which iteration are all of the student's there still?  Under asp and ssp, with
 * another number of shards, it is where it was furthest: of any iteration there may be
 * shards that have lost it. */
static uint64_t kept_until(const struct programme *p, uint32_t i)
{
    const bool moved = p->students[i].map_epoch != client_of(p, i)->map_epoch;

    return moved && !is_held(plan_in(p)) ? 0 : psw_client_clock(client_of(p, i));
}

/* Of what was called durable nothing goes, and so not what a worker that died had begun
 * and nobody was told of: whoever comes after it does it once more. */
static bool has_remains(const struct programme *p, uint32_t i, uint64_t t)
{
    const struct ledger *l = &p->ledgers[i];

    return plan_in(p)->job.ack == PS_ACK_DURABLE && l->low[t] == 0 &&
           l->begun_by[t] != p->students[i].lives;
}

/* Whoever goes on does again what is gone, as the same life: it counts once. */
void ledger_go_back(struct programme *p, uint32_t i)
{
    uint64_t         clock = psw_client_clock(client_of(p, i));
    uint64_t         life;
    struct ps_header h = { 0 };
    struct ledger   *l = &p->ledgers[i];

    p->students[i].rollbacks = psw_client_rollbacks(client_of(p, i));
    world_say(&p->world, "worker %u goes back to clock %" PRIu64, i, clock);
    p->went_back = true;
    if (clock % plan_in(p)->nfetch != 0)
        p->off_window = true;
    psw_client_sign(client_of(p, i), &h);
    life = world_life(&p->world, h.server_epoch);
    if (plan_in(p)->job.ack == PS_ACK_DURABLE && i != OBSERVER)
        for (uint64_t t = clock + 1; t <= plan_in(p)->iterations; t++)
            if (l->low[t])
                world_wrong(&p->world,
                            "worker %u went back to clock %" PRIu64
                            ", and iteration %" PRIu64 " had been called durable",
                            i, clock, t);
    if (life > p->life)
        for (uint32_t r = 0; r < plan_in(p)->job.workers; r++)
            take_back(p, r, is_held(plan_in(p)) || r == i ? kept_until(p, i) : 0, life);
    else if (!is_held(plan_in(p)) && i != OBSERVER)
        take_back(p, i, kept_until(p, i), life);
    ledger_meet(p, i);
    if (life > p->life)
        p->life = life;
    for (uint64_t t = clock + 1; i != OBSERVER && t <= plan_in(p)->iterations; t++)
        if (l->begun_in[t] < life && (is_held(plan_in(p)) || !has_remains(p, i, t)))
            l->begun_by[t] = is_held(plan_in(p)) ? 0
                             : l->high[t]        ? p->students[i].lives
                                                 : 0;
}

/* Of an iteration that was never answered as a whole a job that went back to another
 * number of shards has what some of them had saved, and nobody does the rest. */
static bool may_lack(const struct programme *p, uint32_t r, uint64_t t)
{
    return p->ledgers[r].low[t] == 0 && p->ledgers[r].begun_in[t] < p->life;
}

/* What ssp promises: nobody whose clock is `slack` or more behind has been passed. */
void ledger_check_slack(struct programme *p, uint32_t i)
{
    const struct plan *plan = plan_in(p);
    uint64_t           clock = psw_client_clock(client_of(p, i));

    if (plan->job.strategy != PS_SSP || p->disturbed || p->world.loses)
        return;
    for (uint32_t g = 0; g < plan->groups; g++)
        for (uint32_t r = 0; r < plan->job.workers; r++)
            for (uint64_t t = 1; t + plan->job.slack <= clock; t++)
                if (p->students[i].tally[g][(t - 1) * PLAN_WORKERS + r] != 1 &&
                    !may_lack(p, r, t))
                    world_wrong(&p->world,
                                "worker %u at clock %" PRIu64 " with slack %" PRIu64
                                " does not see iteration %" PRIu64 " of worker %u",
                                i, clock, plan->job.slack, t, r);
}

/* The job may have gone back while nobody was there to be told. */
void ledger_meet_life(struct programme *p, uint32_t i, uint64_t life)
{
    uint64_t clock = is_held(plan_in(p)) ? psw_client_clock(client_of(p, i)) : 0;

    if (p->life == 0)
        p->life = life;
    if (life <= p->life)
        return;
    p->went_back = true;
    if (plan_in(p)->job.strategy == PS_BACKUP)
        return; /* which may be ahead of it: somebody else will tell how far it went */
    p->life = life;
    for (uint32_t r = 0; r < plan_in(p)->job.workers; r++)
        take_back(p, r, clock, life);
}

void ledger_check(struct programme *p, const char *where, uint32_t r, uint64_t t,
                  int64_t value)
{
    const struct ledger *l = &p->ledgers[r];

    if (value < l->low[t] || value > l->high[t])
        world_wrong(&p->world,
                    "%s: iteration %" PRIu64 " of worker %u counts %" PRId64
                    " times, expected %u to %u",
                    where, t, r, value, l->low[t], l->high[t]);
}
