/*
 * callback.c - tickets that nobody waits for: a function is told how they went.
 *
 * A callback runs on the thread of the caller, where the library is between two steps
 * of its own: when a call begins, and between two rounds of one that waits.  It is
 * taken off the list and its ticket is freed before it runs, and no other one runs
 * inside it, so it may call what it likes, calls that wait included.
 *
 * Each runs once.  A ticket has the worker's time from when it was handed over; what is
 * not done when the worker goes is told so.
 */
#include "worker/worker_private.h"

#include "common/net/net.h"

#include <stdlib.h>

struct psw_callback {
    struct psw_callback *next;
    struct ps_ticket    *ticket;
    ps_done_fn          *fn;
    void                *ctx;
    uint64_t             number; /* they count from 1, per worker */
    uint64_t             deadline_ns;
};

static bool is_due(const ps_worker *w, const struct psw_callback *c, uint64_t now_ns)
{
    if (!psw_ticket_done(c->ticket) && now_ns >= c->deadline_ns)
        psw_ticket_give_up(c->ticket, now_ns, psw_heard_beat_ns(w), w->timeout_ms);
    return psw_ticket_done(c->ticket);
}

/* The first that is due of those up to `number`, off the list; NULL: none. */
static struct psw_callback *take_due(ps_worker *w, uint64_t number)
{
    uint64_t              now_ns = ps_now_ns();
    struct psw_callback **link = &w->callbacks;

    while (*link && (*link)->number <= number && !is_due(w, *link, now_ns))
        link = &(*link)->next;
    if (*link && (*link)->number <= number) {
        struct psw_callback *c = *link;

        *link = c->next;
        return c;
    }
    return NULL;
}

static void tell(ps_worker *w, struct psw_callback *c)
{
    ps_status   st = psw_ticket_result(c->ticket);
    ps_done_fn *fn = c->fn;
    void       *ctx = c->ctx;

    psw_ticket_drop(&c->ticket);
    free(c);
    w->n_called++;
    fn(ctx, st);
}

void psw_callbacks_run(ps_worker *w)
{
    const uint64_t       number = w->n_promised; /* later ones wait for the next time */
    const uint64_t       started_ns = w->started_ns;
    struct psw_callback *c;

    if (!w->callbacks || w->is_calling)
        return;
    w->is_calling = true;
    while ((c = take_due(w, number)))
        tell(w, c);
    w->is_calling = false;
    w->started_ns = started_ns; /* the call in progress is not younger for it */
}

bool psw_callbacks_end(ps_worker *w, const char *why)
{
    bool any = w->callbacks != NULL;

    w->is_closing = true;
    w->is_calling = true;
    while (w->callbacks) {
        struct psw_callback *c = w->callbacks;

        w->callbacks = c->next;
        psw_ticket_abort(c->ticket, why);
        tell(w, c);
    }
    w->is_calling = false;
    return any;
}

ps_status ps_then(ps_ticket **ticket, ps_done_fn *fn, void *ctx)
{
    ps_worker           *w = ticket && *ticket ? psw_ticket_owner(*ticket) : NULL;
    struct psw_callback *c, **end;
    ps_status            st;

    if (!w)
        return ps_fail(PS_ERR_BAD_ARG, "then: no ticket, or it was waited for before");
    if (!fn)
        return ps_fail(PS_ERR_BAD_ARG, "then: the function is NULL");
    st = psw_begin(w);
    if (st == PS_ERR_FORKED)
        *ticket = NULL; /* the parent's: it frees it */
    if (st)
        return st;
    c = malloc(sizeof(*c));
    if (!c)
        return ps_fail(PS_ERR_NO_MEMORY, "then: no memory");
    *c = (struct psw_callback){ .ticket = *ticket,
                                .fn = fn,
                                .ctx = ctx,
                                .number = ++w->n_promised,
                                .deadline_ns =
                                    w->started_ns + w->timeout_ms * UINT64_C(1000000) };
    for (end = &w->callbacks; *end; end = &(*end)->next)
        ;
    *end = c;
    psw_ticket_will_be_told(*ticket);
    *ticket = NULL;
    return PS_OK;
}

/* When something has to happen even if nothing comes. */
static uint64_t first_deadline(const ps_worker *w, uint64_t until_ns)
{
    for (const struct psw_callback *c = w->callbacks; c; c = c->next)
        if (c->deadline_ns < until_ns)
            until_ns = c->deadline_ns;
    return until_ns;
}

ps_status ps_progress(ps_worker *w, int timeout_ms)
{
    ps_status st = psw_enter(w);
    uint64_t  before, until_ns;
    uintptr_t outside;

    if (!st && timeout_ms < 0)
        st = ps_fail(PS_ERR_BAD_ARG, "progress: a time of %d ms, expected 0 or more",
                     timeout_ms);
    if (st)
        return st;
    before = w->n_called;
    outside = psw_hold(w);
    until_ns = w->started_ns + (uint64_t)timeout_ms * UINT64_C(1000000);
    psw_callbacks_run(w);
    do {
        bool wait = w->callbacks && !w->is_calling && w->n_called == before;

        st = psw_round(w, wait ? first_deadline(w, until_ns) : 0);
        psw_callbacks_run(w);
    } while (!st && w->callbacks && !w->is_calling && w->n_called == before &&
             ps_now_ns() < until_ns);
    psw_let_go(w, outside);
    return st;
}
