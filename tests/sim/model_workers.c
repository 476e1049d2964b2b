/* model_workers.c - what a worker does; see model.h. */
#include "common/base/random.h"
#include "tests/sim/model_private.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#define LOOK_NS UINT64_C(1000000000)

#define STREAM_SPREAD 31u
#define STREAM_HICCUP 32u

/* ---- how long it computes ------------------------------------------------------- */

/* Spread evenly over the ranks. */
static bool is_slow(const struct ps_simulation *s, uint32_t rank)
{
    return floor((rank + 1) * s->slow_share + 1e-9) >
           floor(rank * s->slow_share + 1e-9);
}

/* A lognormal distribution with that mean and standard deviation. */
static uint64_t compute_ns(const struct model *m, const struct worker *w)
{
    const struct ps_simulation *s = m->s;
    const uint64_t              at = (uint64_t)w->actor.number << 32 | w->iteration;
    double                      ms = s->compute_ms;

    if (s->compute_spread > 0) {
        double variance = log(1 + s->compute_spread * s->compute_spread);

        ms *= exp(sqrt(variance) * ps_random_normal(s->seed, STREAM_SPREAD, at) -
                  variance / 2);
    }
    if (is_slow(s, w->actor.number))
        ms *= s->slow_factor;
    if (ps_random_uniform(s->seed, STREAM_HICCUP, at) < s->hiccup_rate)
        ms *= s->hiccup_factor;
    return model_ns(ms * 1e6);
}

/* ---- calls ---------------------------------------------------------------------- */

ps_status worker_move(struct model *m, struct worker *w, uint32_t moves)
{
    struct psw_span *spans = calloc(m->n_matrices, sizeof(*spans));
    uint64_t         first = 0;
    ps_status        st;

    if (!spans)
        return ps_fail(PS_ERR_NO_MEMORY, "simulation: no memory for a call");
    for (size_t i = 0; i < m->n_matrices; i++) {
        spans[i] = (struct psw_span){ .matrix = w->matrices[i],
                                      .count = m->matrices[i].cols,
                                      .value = m->value + first,
                                      .gradient = m->gradient + first };
        first += m->matrices[i].cols;
    }
    if (m->lends && moves & PSW_PUSH)
        moves |= PSW_LENT;
    st = psw_client_move(w->client, m->now_ns, moves, spans, (uint32_t)m->n_matrices,
                         &m->outbox, &w->ticket);
    free(spans);
    actor_post(m, &w->actor);
    return st;
}

/* It has slept. */
static void alarm_rings(struct model *m, struct event *e)
{
    struct worker *w =
        (struct worker *)(void *)((char *)e - offsetof(struct worker, alarm));

    w->stage = WORKER_CALLS;
    thread_wake(m, &w->actor.thread);
}

void worker_begin(struct model *m, struct worker *w)
{
    w->iteration++;
    w->stage = WORKER_COMPUTES;
    w->began_ns = m->now_ns;
    w->compute_ns = compute_ns(m, w);
    w->alarm.happen = alarm_rings;
    if (m->s->compute_sleeps)
        model_after(m, w->compute_ns, &w->alarm);
    else
        thread_wake(m, &w->actor.thread);
}

/* The answer to the whole call is there. */
static void end_iteration(struct model *m, struct worker *w)
{
    ps_status st = psw_ticket_result(w->ticket);

    psw_ticket_drop(&w->ticket);
    if (st) {
        model_fail(m, st);
        return;
    }
    counts_iteration(m, w);
    worker_begin(m, w);
}

/* Sends again what was not answered for long. */
void worker_look(struct model *m, struct worker *w)
{
    if (w->stage != WORKER_WAITS || m->now_ns - w->called_ns < LOOK_NS)
        return;
    psw_client_tick(w->client, m->now_ns, &m->outbox);
    actor_post(m, &w->actor);
    thread_wake(m, &w->actor.thread);
}

/* ---- its thread ----------------------------------------------------------------- */

/* Takes the message. */
void worker_get(struct model *m, struct worker *w, struct message *f)
{
    psw_client_handle(w->client, m->now_ns, &f->parcel, &m->outbox);
    actor_post(m, &w->actor);
    message_free(f);
}

/* Of a large push each request is made when the one before it has left. */
static bool sends_next(struct model *m, struct worker *w)
{
    const struct ps_simulation *s = m->s;

    if (m->lends && w->stage == WORKER_WAITS && !w->actor.out.first &&
        psw_client_next_tick(w->client) <= m->now_ns) {
        psw_client_tick(w->client, m->now_ns, &m->outbox);
        actor_post(m, &w->actor);
    }
    return actor_send_next(m, &w->actor, s->worker_message_us, s->worker_push_byte_ns);
}

bool worker_take(struct model *m, struct thread *t)
{
    struct worker              *w = (struct worker *)t;
    const struct ps_simulation *s = m->s;

    if (sends_next(m, w))
        return true;
    switch (w->stage) {
    case WORKER_OPENS: break;
    case WORKER_COMPUTES: t->left_ns = w->compute_ns; return !s->compute_sleeps;
    case WORKER_CALLS: t->left_ns = model_ns(s->worker_call_us * 1e3); return true;
    case WORKER_WAITS:
        w->reading = mailbox_take(&w->actor.in);
        if (w->reading)
            t->left_ns =
                model_ns(s->worker_message_us * 1e3 +
                         s->worker_pull_byte_ns * (double)model_payload(m, w->reading));
        return w->reading;
    }
    return false;
}

void worker_done(struct model *m, struct thread *t)
{
    struct worker  *w = (struct worker *)t;
    struct message *f = w->reading;
    ps_status       st;

    if (actor_sent(m, &w->actor))
        return;
    if (w->stage == WORKER_COMPUTES) {
        w->stage = WORKER_CALLS;
        return;
    }
    if (w->stage == WORKER_CALLS) {
        w->stage = WORKER_WAITS;
        w->called_ns = m->now_ns;
        st = worker_move(m, w, PSW_PUSH | PSW_FINISH | PSW_PULL);
        if (st)
            model_fail(m, st);
        counts_clock(m, w);
        return;
    }
    w->reading = NULL;
    worker_get(m, w, f);
    if (psw_ticket_done(w->ticket))
        end_iteration(m, w);
    actor_deliver_at_once(m);
}
