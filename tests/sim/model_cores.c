/* model_cores.c - threads on the cores of a host; see model.h. */
#include "tests/sim/model_private.h"

#define SLICE_NS UINT64_C(3000000) /* then it is another's turn */

static void dispatch(struct model *m, struct host *h);

/* The slice is over, or the piece. */
static void turn_ends(struct model *m, struct event *e)
{
    struct thread *t = (struct thread *)e;
    struct host   *h = t->host;

    t->left_ns -= t->slice_ns;
    t->busy_ns += t->slice_ns;
    h->n_running--;
    if (t->left_ns == 0) {
        t->has_piece = false;
        t->done(m, t);
    }
    t->state = THREAD_READY;
    t->next = NULL;
    *h->end = t;
    h->end = &t->next;
    dispatch(m, h);
}

static bool has_work(struct model *m, struct thread *t)
{
    if (!t->has_piece)
        t->has_piece = t->take(m, t);
    return t->has_piece;
}

static void dispatch(struct model *m, struct host *h)
{
    while (h->first && h->n_running < m->s->cores) {
        struct thread *t = h->first;

        h->first = t->next;
        if (!h->first)
            h->end = &h->first;
        if (!has_work(m, t)) {
            t->state = THREAD_IDLE;
            continue;
        }
        t->state = THREAD_RUNNING;
        t->slice_ns = t->left_ns < SLICE_NS ? t->left_ns : SLICE_NS;
        t->event.happen = turn_ends;
        h->n_running++;
        model_after(m, t->slice_ns, &t->event);
    }
}

static void is_awake(struct model *m, struct event *e)
{
    struct thread *t = (struct thread *)e;

    t->state = THREAD_READY;
    t->next = NULL;
    *t->host->end = t;
    t->host->end = &t->next;
    dispatch(m, t->host);
}

void thread_wake(struct model *m, struct thread *t)
{
    if (t->state != THREAD_IDLE)
        return;
    t->state = THREAD_WAKING;
    t->event.happen = is_awake;
    model_after(m, model_ns(m->s->wake_us * 1e3), &t->event);
}
