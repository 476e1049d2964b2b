/* waiting.c - see waiting.h. */
#include "server/shard/waiting.h"

#include "server/shard/job.h"

#include <stdlib.h>

static uint32_t *count_of(struct psd_job *job, uint32_t rank)
{
    return rank < job->spec.workers ? &job->seats[rank].n_waiting
                                    : &job->waiting.n_observers;
}

/* The one that waits under the same session and request, or NULL; and how many wait of
 * that session.  Who has none that waits, as most who ask, need not be looked for. */
static struct psd_waiting *find(struct psd_job *job, const struct ps_header *h,
                                size_t *n_of_session)
{
    struct psd_waiting *found = NULL;
    size_t              n = 0;

    if (*count_of(job, h->rank) > 0)
        for (size_t i = 0; i < job->waiting.n; i++) {
            struct psd_waiting *w = &job->waiting.items[i];

            if (w->session != h->session)
                continue;
            n++;
            if (w->request == h->request)
                found = w;
        }
    *n_of_session = n;
    return found;
}

static ps_status make_room(struct psd_job *job)
{
    struct psd_waiting_list *list = &job->waiting;

    if (list->n == list->room) {
        size_t              room = list->room ? 2 * list->room : 16;
        struct psd_waiting *grown = realloc(list->items, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for %zu requests",
                           job->spec.name, room);
        list->items = grown;
        list->room = room;
    }
    return PS_OK;
}

static ps_status add(struct psd_job *job, const struct ps_header *h,
                     uint64_t deadline_ns, struct psd_waiting **out)
{
    struct psd_waiting_list *list = &job->waiting;
    ps_status                st = make_room(job);

    if (st)
        return st;
    if (list->n == 0 || deadline_ns < list->deadline_ns)
        list->deadline_ns = deadline_ns;
    ++*count_of(job, h->rank);
    *out = &list->items[list->n++];
    **out = (struct psd_waiting){ .session = h->session,
                                  .request = h->request,
                                  .rank = h->rank,
                                  .seq = h->seq,
                                  .clock = h->clock,
                                  .rest_seq = h->flags & PS_FLAG_REST ? h->seq : 0,
                                  .deadline_ns = deadline_ns };
    return PS_OK;
}

ps_status psd_waiting_park(struct psd_job *job, const struct ps_header *h,
                           struct ps_parcel *parcel, enum psd_reason reason,
                           uint64_t deadline_ns)
{
    size_t              n;
    struct psd_waiting *place = find(job, h, &n);

    if (place) {
        ps_parcel_drop(&place->parcel);
    } else if (n >= PSD_WAITING_PER_WORKER) {
        return ps_fail(PS_ERR_LIMIT, "job %s: more than %u requests of worker %u wait",
                       job->spec.name, PSD_WAITING_PER_WORKER, h->rank);
    } else {
        ps_status st = add(job, h, deadline_ns, &place);

        if (st)
            return st;
    }
    place->reason = reason;
    place->parcel = *parcel;
    parcel->head = NULL;
    parcel->n_frames = 0;
    return PS_OK;
}

/* Would the gate say no again?  A worker that is believed to be further than the gate
 * knows may be let in by its own pushes. */
static bool is_held_back(const struct psd_job *job, const struct psd_waiting *w)
{
    if (w->reason != PSD_FOR_GATE ||
        psd_gate_pull(job->gate, w->rank, w->clock) != PSD_LATER)
        return false;
    return w->rank >= job->spec.workers || job->seats[w->rank].window.low < w->seq ||
           psd_gate_finished(job->gate, w->rank) >= w->clock;
}

bool psd_waiting_may_go(const struct psd_job *job)
{
    for (size_t i = 0; i < job->waiting.n; i++)
        if (!is_held_back(job, &job->waiting.items[i]))
            return true;
    return false;
}

struct psd_waiting_list psd_waiting_take(struct psd_job *job)
{
    struct psd_waiting_list list = job->waiting;

    for (size_t i = 0; i < list.n; i++)
        --*count_of(job, list.items[i].rank);
    job->waiting = (struct psd_waiting_list){ 0 };
    return list;
}

void psd_waiting_forget(struct psd_job *job, size_t i)
{
    struct psd_waiting *w = &job->waiting.items[i];

    --*count_of(job, w->rank);
    ps_parcel_drop(&w->parcel);
}

void psd_waiting_keep(struct psd_job *job, size_t n)
{
    struct psd_waiting_list *list = &job->waiting;

    list->n = n;
    list->deadline_ns = UINT64_MAX;
    for (size_t i = 0; i < n; i++)
        if (list->items[i].deadline_ns < list->deadline_ns)
            list->deadline_ns = list->items[i].deadline_ns;
}

uint64_t psd_waiting_deadline(const struct psd_job *job)
{
    return job->waiting.n > 0 ? job->waiting.deadline_ns : UINT64_MAX;
}

void psd_waiting_free(struct psd_waiting_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        ps_parcel_drop(&list->items[i].parcel);
    free(list->items);
    *list = (struct psd_waiting_list){ 0 };
}
