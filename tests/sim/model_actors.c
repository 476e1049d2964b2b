/* model_actors.c - messages through threads and links, and the shards; see model.h. */
#include "server/shard/request.h"
#include "tests/sim/model_private.h"

#include <stdlib.h>
#include <string.h>

#define FRAMING_BYTES 64u /* of a message, beside header and values: TCP/IP, ZMTP */

/* ---- mailboxes ------------------------------------------------------------------ */

void mailbox_put(struct mailbox *box, struct message *f)
{
    struct message **end = box->first ? box->end : &box->first;

    f->next = NULL;
    *end = f;
    box->end = &f->next;
}

struct message *mailbox_take(struct mailbox *box)
{
    struct message *f = box->first;

    if (f)
        box->first = f->next;
    return f;
}

void message_free(struct message *f)
{
    *f->link = f->younger;
    if (f->younger)
        f->younger->link = f->link;
    ps_parcel_drop(&f->parcel);
    free(f);
}

/* ---- addresses ------------------------------------------------------------------ */

static struct ps_route route_to(const struct actor *a)
{
    struct ps_route r = { .kind = PS_ROUTE_PEER, .bytes = 1 + sizeof(a->number) };

    r.id[0] = (uint8_t)a->kind;
    memcpy(r.id + 1, &a->number, sizeof(a->number));
    return r;
}

static struct actor *addressee(struct model *m, const struct ps_route *r)
{
    uint32_t number;

    if (r->kind == PS_ROUTE_SHARD)
        return &m->shards[r->index].actor;
    if (r->kind == PS_ROUTE_COORDINATOR || r->id[0] == ACTOR_COORDINATOR)
        return &m->coordinator_actor;
    memcpy(&number, r->id + 1, sizeof(number));
    return r->id[0] == ACTOR_SHARD ? &m->shards[number].actor
                                   : &m->workers[number].actor;
}

/* The sender as the receiver knows it. */
static struct ps_route route_from(const struct message *f)
{
    struct ps_route r = route_to(f->from);

    if (f->from->kind == ACTOR_SHARD && f->to->kind != ACTOR_SHARD)
        r = (struct ps_route){ .kind = PS_ROUTE_SHARD,
                               .index = (uint16_t)f->from->number };
    else if (f->from->kind == ACTOR_COORDINATOR && f->to->kind == ACTOR_WORKER)
        r = (struct ps_route){ .kind = PS_ROUTE_COORDINATOR };
    return r;
}

/* ---- sending -------------------------------------------------------------------- */

uint64_t model_payload(const struct model *m, const struct message *f)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < f->parcel.n_frames; i++)
        bytes += f->parcel.frames[i]->len;
    return bytes * m->one_for;
}

static void post_one(struct model *m, struct actor *from, struct ps_parcel *parcel)
{
    struct message *f = malloc(sizeof(*f));

    if (!f) {
        ps_parcel_drop(parcel);
        model_fail(m, ps_fail(PS_ERR_NO_MEMORY, "simulation: no memory for a message"));
        return;
    }
    *f = (struct message){ .from = from,
                           .to = addressee(m, &parcel->route),
                           .parcel = *parcel,
                           .younger = m->messages,
                           .link = &m->messages };
    if (m->messages)
        m->messages->link = &f->younger;
    m->messages = f;
    parcel->head = NULL;
    parcel->n_frames = 0;
    f->bytes = f->parcel.head->len + model_payload(m, f) + FRAMING_BYTES;
    f->parcel.route = route_from(f);
    if (!m->timed || from->kind == ACTOR_COORDINATOR ||
        f->to->kind == ACTOR_COORDINATOR) {
        mailbox_put(&m->at_once, f);
        return;
    }
    m->counts.messages++;
    mailbox_put(&from->out, f);
}

void actor_post(struct model *m, struct actor *from)
{
    for (size_t i = 0; i < m->outbox.n; i++)
        post_one(m, from, &m->outbox.parcels[i]);
    ps_outbox_clear(&m->outbox);
}

bool actor_send_next(struct model *m, struct actor *a, double us, double byte_ns)
{
    a->moving = mailbox_take(&a->out);
    if (a->moving)
        a->thread.left_ns =
            model_ns(us * 1e3 + byte_ns * (double)model_payload(m, a->moving));
    return a->moving;
}

static void process_put(struct model *m, struct process *p, struct message *f)
{
    mailbox_put(&p->box, f);
    thread_wake(m, &p->thread);
}

bool actor_sent(struct model *m, struct actor *a)
{
    struct message *f = a->moving;

    a->moving = NULL;
    if (f)
        process_put(m, a->process, f);
    return f;
}

/* ---- the threads of the sockets ------------------------------------------------- */

bool process_take(struct model *m, struct thread *t)
{
    struct process             *p = (struct process *)t;
    const struct ps_simulation *s = m->s;
    struct message             *f = p->moving = mailbox_take(&p->box);

    if (!f)
        return false;
    t->left_ns = model_ns(
        f->arrives ? s->receive_us * 1e3 + s->receive_byte_ns * (double)f->bytes
                   : s->send_us * 1e3 + s->send_byte_ns * (double)f->bytes);
    return true;
}

void process_receive(struct model *m, struct message *f)
{
    process_put(m, f->to->process, f);
}

void process_done(struct model *m, struct thread *t)
{
    struct process *p = (struct process *)t;
    struct message *f = p->moving;
    struct host    *there = f->to->thread.host;

    p->moving = NULL;
    if (f->arrives) {
        mailbox_put(&f->to->in, f);
        thread_wake(m, &f->to->thread);
        return;
    }
    f->arrives = true;
    if (there == t->host)
        process_receive(m, f);
    else
        link_put(m, &t->host->out, there->number, f);
}

/* ---- shards --------------------------------------------------------------------- */

static const struct psd_job *job_of(const struct shard *sh)
{
    return psd_shard_job(sh->shard, 1);
}

/* Takes the message. */
static void shard_handle(struct model *m, struct shard *sh, struct message *f)
{
    const struct psd_job *job = job_of(sh);
    struct ps_job_stats   was = { 0 };

    if (job)
        was = job->stats;
    psd_shard_handle(sh->shard, m->now_ns, &f->parcel, &m->outbox);
    actor_post(m, &sh->actor);
    job = job_of(sh);
    if (m->timed && job)
        counts_pushes(m, &was, &job->stats);
    message_free(f);
}

bool shard_take(struct model *m, struct thread *t)
{
    struct shard               *sh = (struct shard *)t;
    const struct ps_simulation *s = m->s;
    struct kernel_bytes         did;
    struct message             *f;

    if (actor_send_next(m, &sh->actor, s->shard_answer_us, s->shard_send_byte_ns))
        return true;
    f = mailbox_take(&sh->actor.in);
    if (!f)
        return false;
    model_kernels_count();
    shard_handle(m, sh, f);
    did = model_kernels_count();
    t->left_ns =
        model_ns(s->shard_message_us * 1e3 +
                 (double)m->one_for * (s->shard_check_byte_ns * (double)did.checked +
                                       s->shard_sum_byte_ns * (double)did.summed +
                                       s->shard_step_byte_ns * (double)did.stepped));
    actor_deliver_at_once(m);
    return true;
}

void shard_look(struct model *m, struct shard *sh)
{
    if (psd_shard_next_tick(sh->shard) > m->now_ns)
        return;
    psd_shard_tick(sh->shard, m->now_ns, &m->outbox);
    actor_post(m, &sh->actor);
    actor_deliver_at_once(m);
    thread_wake(m, &sh->actor.thread);
}

void shard_done(struct model *m, struct thread *t)
{
    actor_sent(m, (struct actor *)t);
}

/* ---- without time --------------------------------------------------------------- */

static void deliver(struct model *m, struct message *f)
{
    switch (f->to->kind) {
    case ACTOR_SHARD: shard_handle(m, (struct shard *)f->to, f); return;
    case ACTOR_WORKER: worker_get(m, (struct worker *)f->to, f); return;
    case ACTOR_COORDINATOR: break;
    }
    psd_coordinator_handle(m->coordinator, m->now_ns, &f->parcel, &m->outbox);
    actor_post(m, &m->coordinator_actor);
    message_free(f);
}

void actor_deliver_at_once(struct model *m)
{
    struct message *f;

    while ((f = mailbox_take(&m->at_once)))
        deliver(m, f);
}
