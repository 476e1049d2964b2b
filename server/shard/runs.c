/* runs.c - see runs.h. */
#include "server/shard/runs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void psd_runs_free(struct psd_runs *r)
{
    free(r->runs);
    *r = (struct psd_runs){ 0 };
}

ps_status psd_runs_reserve(struct psd_runs *r, uint64_t sets)
{
    uint64_t        room = r->n + 2 * sets;
    struct psd_run *grown;

    if (room <= r->room)
        return PS_OK;
    if (room > UINT32_MAX)
        return ps_fail(PS_ERR_LIMIT, "runs: %ju of them, expected at most %ju",
                       (uintmax_t)room, (uintmax_t)UINT32_MAX);
    grown = realloc(r->runs, room * sizeof(*grown));
    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "runs: no memory for %ju", (uintmax_t)room);
    r->runs = grown;
    r->room = (uint32_t)room;
    return PS_OK;
}

/* How many runs begin at `at` or before. */
static uint32_t runs_until(const struct psd_runs *r, uint64_t at)
{
    uint32_t low = 0, high = r->n;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (r->runs[middle].from <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t number_before(const struct psd_runs *r, uint32_t i)
{
    return i > 0 ? r->runs[i - 1].number : 0;
}

uint64_t psd_runs_at(const struct psd_runs *r, uint64_t at, uint64_t *end)
{
    uint32_t i = runs_until(r, at);

    if (i < r->n && r->runs[i].from < *end)
        *end = r->runs[i].from;
    return number_before(r, i);
}

void psd_runs_set(struct psd_runs *r, uint64_t from, uint64_t to, uint64_t number)
{
    uint32_t       last = runs_until(r, to);
    uint32_t       first = from > 0 ? runs_until(r, from - 1) : 0;
    uint64_t       after = number_before(r, last); /* holds from `to` on */
    struct psd_run made[2];
    uint32_t       n = 0;

    assert(from < to);
    if (number != number_before(r, first))
        made[n++] = (struct psd_run){ from, number };
    if (number != after)
        made[n++] = (struct psd_run){ to, after };
    assert(r->n - (last - first) + n <= r->room);
    if (r->n > last)
        memmove(r->runs + first + n, r->runs + last,
                (r->n - last) * sizeof(r->runs[0]));
    if (n > 0)
        memcpy(r->runs + first, made, n * sizeof(made[0]));
    r->n = r->n - (last - first) + n;
}
