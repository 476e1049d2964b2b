/*
 * sets.c - which snapshots of a job there are, who can read them, and which one to
 * take.
 *
 * Under bsp and backup a snapshot is whole when there is a part of every shard of the
 * same life and set.  Under asp and ssp each shard saves for itself, so the newest part
 * of each is taken.  A later life is newer than an earlier one, whatever the sets.
 *
 * With as many shards as parts each shard reads the part that it can read, so the map
 * stays.  Otherwise every shard reads all parts and picks what it owns.
 */
#include "server/coordinator/coordinator_private.h"

#include "common/base/plant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOBODY UINT32_MAX

/* Below 0, 0, above 0: a is older than b, the same, newer. */
static int compare(const struct ps_part *a, const struct ps_part *b)
{
    if (a->life != b->life)
        return a->life < b->life ? -1 : 1;
    if (a->set != b->set)
        return a->set < b->set ? -1 : 1;
    return 0;
}

/* Do the parts of a snapshot have one set? */
static bool is_common(const struct coord_job *job)
{
    return (job->spec.strategy == PS_BSP || job->spec.strategy == PS_BACKUP) &&
           !PSD_PLANTED(PLANT_MIXED_SETS);
}

/* ---- offers ---------------------------------------------------------------------- */

void coord_offer_take(struct coord_recovery *recovery, uint32_t shard,
                      const struct ps_header *h)
{
    struct coord_offer *offer = &recovery->offers[shard];

    free(offer->parts);
    offer->n = 0;
    offer->parts = calloc(h->n_sets + 1, sizeof(*offer->parts));
    offer->made = offer->parts != NULL;
    if (!offer->made)
        return;
    for (; offer->n < h->n_sets; offer->n++)
        offer->parts[offer->n] = h->sets[offer->n];
}

void coord_offers_forget(struct coord_recovery *recovery)
{
    for (uint32_t i = 0; i < PS_SHARDS_MAX; i++) {
        free(recovery->offers[i].parts);
        recovery->offers[i] = (struct coord_offer){ 0 };
    }
}

static bool is_usable(const struct psd_coordinator *c, const struct coord_job *job,
                      uint32_t shard)
{
    return !c->shards[shard].lost && job->recovery->offers[shard].made;
}

static bool can_read(const struct psd_coordinator *c, const struct coord_job *job,
                     uint32_t shard, const struct ps_part *part)
{
    const struct coord_offer *offer = &job->recovery->offers[shard];

    for (uint32_t i = 0; is_usable(c, job, shard) && i < offer->n; i++)
        if (offer->parts[i].index == part->index &&
            offer->parts[i].n_shards == part->n_shards &&
            !compare(&offer->parts[i], part))
            return true;
    return false;
}

/* Has it not failed before? */
static bool is_allowed(const struct coord_job *job, const struct ps_part *part)
{
    const struct ps_part *below =
        &job->recovery->below[is_common(job) ? 0 : part->index];

    return below->life == 0 || compare(part, below) < 0;
}

/* The newest part that is offered, allowed, below `below` (if any) and like `like`:
 * with its n_shards, and its index unless that is NOBODY.  n_shards 0: any. */
static bool newest(const struct psd_coordinator *c, const struct coord_job *job,
                   const struct ps_part *like, const struct ps_part *below,
                   struct ps_part *out)
{
    bool found = false;

    for (uint32_t i = 0; i < c->n_shards; i++) {
        const struct coord_offer *offer = &job->recovery->offers[i];

        for (uint32_t k = 0; is_usable(c, job, i) && k < offer->n; k++) {
            const struct ps_part *part = &offer->parts[k];

            if ((like->n_shards && part->n_shards != like->n_shards) ||
                (like->index != NOBODY && part->index != like->index) ||
                (below && compare(part, below) >= 0) || !is_allowed(job, part) ||
                (found && compare(part, out) <= 0))
                continue;
            *out = *part;
            found = true;
        }
    }
    return found;
}

/* ---- who reads what -------------------------------------------------------------- */

/* Shards for the parts, one for each: augmenting paths (Kuhn). */
struct matching {
    const struct psd_coordinator *c;
    const struct coord_job       *job;
    const struct ps_part         *parts;
    uint32_t                      part_of[PS_SHARDS_MAX]; /* by shard of the cluster */
    bool                          tried[PS_SHARDS_MAX];
};

static bool give(struct matching *m, uint32_t part, uint32_t shard)
{
    m->part_of[shard] = part;
    return true;
}

static bool find_shard(struct matching *m, uint32_t part)
{
    for (uint32_t s = 0; s < m->c->n_shards; s++) {
        if (m->tried[s] || !can_read(m->c, m->job, s, &m->parts[part]))
            continue;
        m->tried[s] = true;
        if (m->part_of[s] == NOBODY || find_shard(m, m->part_of[s]))
            return give(m, part, s);
    }
    return false;
}

/* Who has a part already keeps it if possible. */
static void keep_places(struct matching *m, uint32_t n)
{
    for (uint32_t i = 0; i < n && i < m->job->n_shards; i++) {
        uint32_t s = m->job->shards[i];

        if (m->part_of[s] == NOBODY && can_read(m->c, m->job, s, &m->parts[i]))
            m->part_of[s] = i;
    }
}

static bool has_shard(const struct matching *m, uint32_t part)
{
    for (uint32_t s = 0; s < m->c->n_shards; s++)
        if (m->part_of[s] == part)
            return true;
    return false;
}

static bool match(const struct psd_coordinator *c, const struct coord_job *job,
                  struct coord_choice *choice)
{
    struct matching m = { .c = c, .job = job, .parts = choice->parts };

    for (uint32_t s = 0; s < c->n_shards; s++)
        m.part_of[s] = NOBODY;
    keep_places(&m, choice->n_parts);
    for (uint32_t i = 0; i < choice->n_parts; i++) {
        memset(m.tried, 0, sizeof(m.tried));
        if (!has_shard(&m, i) && !find_shard(&m, i))
            return false;
    }
    for (uint32_t s = 0; s < c->n_shards; s++)
        if (m.part_of[s] != NOBODY)
            choice->shards[m.part_of[s]] = s;
    choice->n_shards = choice->n_parts;
    choice->own = true;
    return true;
}

/* Those that can read all parts (any, when there are none), at most as many as wanted.
 */
static bool take_readers(const struct psd_coordinator *c, const struct coord_job *job,
                         struct coord_choice *choice)
{
    choice->n_shards = 0;
    choice->own = false;
    for (uint32_t s = 0; s < c->n_shards && choice->n_shards < job->recovery->wanted;
         s++) {
        bool all = is_usable(c, job, s);

        for (uint32_t i = 0; i < choice->n_parts && all; i++)
            all = can_read(c, job, s, &choice->parts[i]);
        if (all)
            choice->shards[choice->n_shards++] = s;
    }
    return choice->n_shards > 0;
}

static bool assign(const struct psd_coordinator *c, const struct coord_job *job,
                   struct coord_choice *choice)
{
    return match(c, job, choice) || take_readers(c, job, choice);
}

/* ---- which one ------------------------------------------------------------------- */

static bool choose_common(const struct psd_coordinator *c, const struct coord_job *job,
                          struct coord_choice *out)
{
    struct ps_part any = { .index = NOBODY }, part, below;
    bool           first = true;

    while (newest(c, job, &any, first ? NULL : &below, &part)) {
        out->n_parts = part.n_shards;
        for (uint32_t i = 0; i < part.n_shards; i++) {
            out->parts[i] = part;
            out->parts[i].index = i;
        }
        if (assign(c, job, out))
            return true;
        below = part;
        first = false;
    }
    return false;
}

/* The newest part of each of n shards; false: one has none. */
static bool newest_of_each(const struct psd_coordinator *c, const struct coord_job *job,
                           uint32_t n, struct coord_choice *out)
{
    out->n_parts = n;
    for (uint32_t i = 0; i < n; i++) {
        struct ps_part like = { .index = i, .n_shards = n };

        if (!newest(c, job, &like, NULL, &out->parts[i]))
            return false;
    }
    return true;
}

static const struct ps_part *oldest_part(const struct coord_choice *choice)
{
    const struct ps_part *oldest = &choice->parts[0];

    for (uint32_t i = 1; i < choice->n_parts; i++)
        if (compare(&choice->parts[i], oldest) < 0)
            oldest = &choice->parts[i];
    return oldest;
}

/* Of layouts of several lives, the one whose oldest part is the newest. */
static bool choose_each(const struct psd_coordinator *c, const struct coord_job *job,
                        struct coord_choice *out)
{
    struct coord_choice one;
    bool                found = false;

    for (uint32_t n = 1; n <= PS_SHARDS_MAX; n++) {
        struct ps_part like = { .index = NOBODY, .n_shards = n }, part;

        memset(&one, 0, sizeof(one));
        if (!newest(c, job, &like, NULL, &part) || !newest_of_each(c, job, n, &one) ||
            !assign(c, job, &one) ||
            (found && compare(oldest_part(&one), oldest_part(out)) <= 0))
            continue;
        *out = one;
        found = true;
    }
    return found;
}

bool coord_choose(const struct psd_coordinator *c, const struct coord_job *job,
                  struct coord_choice *out)
{
    memset(out, 0, sizeof(*out));
    if (is_common(job) ? choose_common(c, job, out) : choose_each(c, job, out))
        return true;
    out->n_parts = 0;
    return take_readers(c, job, out);
}

void coord_choice_failed(struct coord_job *job, const struct coord_operation *load)
{
    struct coord_recovery     *r = job->recovery;
    const struct coord_choice *choice = &r->choice;

    for (uint32_t i = 0; i < choice->n_parts; i++)
        if (is_common(job))
            r->below[0] = choice->parts[0];
        else if (!choice->own || load->calls[i].status)
            r->below[i] = choice->parts[i];
}

/* ---- what has been saved --------------------------------------------------------- */

static void remember(struct coord_saved *saved, const struct ps_part *part)
{
    uint32_t at = 0;

    while (at < saved->n && compare(&saved->parts[at], part) > 0)
        at++;
    if (at == COORD_SETS_KEPT ||
        (at < saved->n && compare(&saved->parts[at], part) == 0))
        return;
    if (saved->n < COORD_SETS_KEPT)
        saved->n++;
    memmove(&saved->parts[at + 1], &saved->parts[at],
            (saved->n - at - 1) * sizeof(*saved->parts));
    saved->parts[at] = *part;
}

/* Those of older lives that lie behind the choice are of no use any more. */
static void remember_offers(struct coord_job *job, struct coord_saved *saved,
                            const struct ps_part *chosen)
{
    for (uint32_t s = 0; s < PS_SHARDS_MAX; s++) {
        const struct coord_offer *offer = &job->recovery->offers[s];

        for (uint32_t k = 0; k < offer->n; k++)
            if (offer->parts[k].index == chosen->index &&
                offer->parts[k].n_shards == chosen->n_shards &&
                compare(&offer->parts[k], chosen) <= 0)
                remember(saved, &offer->parts[k]);
    }
}

ps_status coord_saved_begin(struct coord_job *job)
{
    struct coord_saved *saved;

    if (!ps_job_is_saved(&job->spec))
        return PS_OK;
    saved = calloc(job->n_shards, sizeof(*saved));
    if (!saved)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for its snapshots",
                       job->spec.name);
    for (uint32_t i = 0;
         job->recovery && job->recovery->choice.own && i < job->n_shards; i++)
        remember_offers(job, &saved[i], &job->recovery->choice.parts[i]);
    free(job->saved);
    job->saved = saved;
    return PS_OK;
}

static bool has_set(const struct coord_saved *saved, const struct ps_part *part)
{
    for (uint32_t i = 0; i < saved->n; i++)
        if (!compare(&saved->parts[i], part))
            return true;
    return false;
}

/* The newest whole snapshot that is older than `below`, NULL: than none. */
static bool newest_whole(const struct coord_job *job, const struct ps_part *below,
                         struct ps_part *out)
{
    for (uint32_t k = 0; k < job->saved[0].n; k++) {
        const struct ps_part *part = &job->saved[0].parts[k];
        bool                  whole = !below || compare(part, below) < 0;

        for (uint32_t i = 1; i < job->n_shards && whole; i++)
            whole = has_set(&job->saved[i], part);
        if (!whole)
            continue;
        *out = *part;
        return true;
    }
    return false;
}

bool coord_saved_newest(const struct coord_job *job, uint64_t *set, uint64_t *clock)
{
    struct ps_part part;

    if (!job->saved)
        return false;
    if (is_common(job)) {
        if (!newest_whole(job, NULL, &part))
            return false;
        *set = *clock = part.set;
        return true;
    }
    *set = *clock = UINT64_MAX;
    for (uint32_t i = 0; i < job->n_shards; i++) {
        if (job->saved[i].n == 0)
            return false;
        if (job->saved[i].parts[0].set < *set)
            *set = job->saved[i].parts[0].set;
        if (job->saved[i].clock < *clock)
            *clock = job->saved[i].clock;
    }
    return true;
}

bool coord_choice_is_best(const struct coord_job    *job,
                          const struct coord_choice *choice)
{
    struct ps_part part;

    if (!job->has_set)
        return true;
    if (choice->n_parts == 0)
        return job->recovery->below[0].life != 0; /* what there was is damaged */
    if (job->recovery->below[0].life != 0 || !job->saved)
        return true;
    if (is_common(job))
        return !newest_whole(job, NULL, &part) ||
               compare(&choice->parts[0], &part) >= 0;
    for (uint32_t i = 0; i < choice->n_parts && i < job->n_shards; i++)
        if (choice->parts[i].n_shards == job->n_shards && job->saved[i].n > 0 &&
            compare(&choice->parts[i], &job->saved[i].parts[0]) < 0)
            return false;
    return true;
}

/* ---- and what is no longer needed ------------------------------------------------ */

static void keep(struct psd_coordinator *c, struct coord_job *job, uint32_t i,
                 const struct ps_part *oldest)
{
    struct ps_part   part = *oldest;
    struct ps_header h = {
        .kind = PS_MSG_KEEP,
        .job = job->number,
        .session = c->servers[c->shards[job->shards[i]].server].control,
        .server_epoch = job->epoch,
        .n_sets = 1,
        .sets = &part,
    };
    struct ps_route to = { .kind = PS_ROUTE_SHARD, .index = (uint16_t)job->shards[i] };

    part.index = i;
    part.n_shards = job->n_shards;
    if (!compare(&part, &job->saved[i].told) || c->shards[job->shards[i]].lost)
        return;
    job->saved[i].told = part;
    coord_send(c, &to, &h);
}

/* Two are kept: should the newest be damaged, there is the one before. */
static void keep_two(struct psd_coordinator *c, struct coord_job *job)
{
    struct ps_part first, second;

    if (is_common(job)) {
        if (!newest_whole(job, NULL, &first) || !newest_whole(job, &first, &second))
            return;
        for (uint32_t i = 0; i < job->n_shards; i++)
            keep(c, job, i, &second);
        return;
    }
    for (uint32_t i = 0; i < job->n_shards; i++)
        if (job->saved[i].n >= 2)
            keep(c, job, i, &job->saved[i].parts[1]);
}

static bool is_from(const struct psd_coordinator *c, const struct coord_job *job,
                    uint32_t shard, const struct ps_header *h)
{
    return job && job->saved && !job->recovery && !job->dropping && h->n_sets == 1 &&
           h->session == c->servers[c->shards[shard].server].control &&
           h->sets[0].life == job->life && h->sets[0].n_shards == job->n_shards &&
           job->shards[h->sets[0].index] == shard;
}

void coord_saved(struct psd_coordinator *c, uint32_t shard, const struct ps_header *h)
{
    struct coord_job *job = coord_job_at(c, h->job);
    uint64_t          set, clock, set_before = 0, clock_before = 0;
    bool              before;

    if (!is_from(c, job, shard, h))
        return; /* of a life that is over */
    before = coord_saved_newest(job, &set_before, &clock_before);
    remember(&job->saved[h->sets[0].index], &h->sets[0]);
    if (!compare(&job->saved[h->sets[0].index].parts[0], &h->sets[0]))
        job->saved[h->sets[0].index].clock = h->clock;
    if (coord_saved_newest(job, &set, &clock) &&
        (!before || set != set_before || clock != clock_before)) {
        c->touched = c->touched || !job->has_set;
        job->has_set = true;
        job->set_ns = c->now_ns;
    }
    keep_two(c, job);
}
