/* receive.c - see receive.h. */
#include "tests/sim/receive.h"

#include "server/shard/request.h"
#include "tests/sim/mail.h"
#include "tests/sim/saved.h"
#include "worker/client_private.h"

#define UNANSWERED_MAX 64u /* requests of a worker to a shard */

/* The number of a shard as the coordinator counts; false: it does not know it. */
static bool number_for_coordinator(const struct world *w, const struct node *shard,
                                   uint16_t *index)
{
    for (uint32_t i = 0; i < psd_coordinator_n_shards(w->coordinator); i++) {
        struct node n;

        if (mail_shard_named(psd_coordinator_shard_endpoint(w->coordinator, i), &n) &&
            mail_is_shard(&n, shard)) {
            *index = (uint16_t)i;
            return true;
        }
    }
    return false;
}

static bool number_for_client(const struct psw_client *c, const struct node *shard,
                              uint16_t *index)
{
    for (uint32_t i = 0; i < psw_client_n_shards(c); i++) {
        struct node n;

        if (mail_shard_named(psw_client_endpoint(c, i), &n) &&
            mail_is_shard(&n, shard)) {
            *index = (uint16_t)i;
            return true;
        }
    }
    return false;
}

static void to_coordinator(struct world *w, struct flight *f)
{
    struct node at = f->to;

    f->parcel.route = mail_route_to(&f->from);
    if (f->from.kind == NODE_SHARD) {
        f->parcel.route = (struct ps_route){ .kind = PS_ROUTE_SHARD };
        if (!number_for_coordinator(w, &f->from, &f->parcel.route.index)) {
            ps_parcel_drop(&f->parcel);
            return;
        }
    }
    psd_coordinator_handle(w->coordinator, w->now_ns, &f->parcel, &w->out);
    saved_post_coordinator(w, &at);
}

/* Nobody is kept waiting whom the gate lets through. */
static void watch_waiting(struct world *w, const struct node *at,
                          const struct psd_job *job)
{
    for (size_t i = 0; i < job->waiting.n; i++) {
        const struct psd_waiting *r = &job->waiting.items[i];

        if (r->reason == PSD_FOR_GATE &&
            psd_gate_pull(job->gate, r->rank, r->clock) == PSD_NOW)
            world_wrong(w, "shard %u.%u: a pull of worker %u at %ju waits at %ju",
                        at->host, at->shard, r->rank, (uintmax_t)r->clock,
                        (uintmax_t)psd_gate_clock(job->gate));
    }
}

/* What a shard keeps for later does not grow beyond what it may. */
static void watch_shard(struct world *w, const struct node *at)
{
    const struct psd_shard *shard = w->hosts[at->host].shards[at->shard];

    for (uint32_t number = 1; number <= w->version_job; number++) {
        const struct psd_job *job = psd_shard_job(shard, number);

        if (!job)
            continue;
        watch_waiting(w, at, job);
        if (job->waiting.n > job->spec.workers * PSD_WAITING_PER_WORKER)
            world_wrong(w, "shard %u.%u: %zu requests wait", at->host, at->shard,
                        job->waiting.n);
    }
}

/* The same of a worker's unanswered requests. */
static void watch_client(struct world *w, uint32_t i)
{
    const struct psw_client *c = w->seats[i].client;

    for (uint32_t s = 0; s < c->n_shards; s++) {
        unsigned n = 0;

        for (const struct psw_request *r = c->shards[s].lane.queue.first; r;
             r = r->next)
            n++;
        if (n > UNANSWERED_MAX)
            world_wrong(w, "worker %u: %u requests to shard %u are kept", i, n, s);
    }
}

/* A rollback takes versions back. */
static void begin_life(struct world *w, const struct flight *f)
{
    struct ps_header h;

    if (f->from.kind == NODE_COORDINATOR &&
        !ps_wire_decode(w->decoder, f->parcel.head->data, f->parcel.head->len, &h) &&
        h.kind == PS_MSG_JOB)
        w->version[f->to.host][f->to.shard] = 0;
}

static void to_shard(struct world *w, struct flight *f)
{
    struct psd_shard *shard = w->hosts[f->to.host].shards[f->to.shard];

    begin_life(w, f);
    f->parcel.route = mail_route_to(&f->from);
    psd_shard_handle(shard, w->now_ns, &f->parcel, &w->out);
    watch_shard(w, &f->to);
    saved_post_shard(w, &f->to);
}

/* What a sheet stands for does not go over a network. */
static void lose_sheets(struct world *w, struct ps_parcel *p)
{
    if (p->n_frames == 1 && p->frames[0]->sheet && world_draw(w, 4) == 0)
        ps_buf_drop(&p->frames[--p->n_frames]);
}

static void to_client(struct world *w, struct flight *f)
{
    struct psw_client *client = w->seats[f->to.host].client;

    f->parcel.route = (struct ps_route){ .kind = PS_ROUTE_COORDINATOR };
    if (f->from.kind == NODE_SHARD) {
        f->parcel.route.kind = PS_ROUTE_SHARD;
        if (!number_for_client(client, &f->from, &f->parcel.route.index)) {
            ps_parcel_drop(&f->parcel);
            return;
        }
    }
    lose_sheets(w, &f->parcel);
    psw_client_handle(client, w->now_ns, &f->parcel, &w->out);
    watch_client(w, f->to.host);
    mail_post(w, &f->to);
}

/* What a psd does with its coordinator's answers. */
static void to_member(struct world *w, struct flight *f)
{
    struct ps_header h;

    if (!ps_wire_decode(w->decoder, f->parcel.head->data, f->parcel.head->len, &h)) {
        if (h.kind == PS_MSG_JOIN_OK)
            w->hosts[f->to.host].joined = true;
        else if (h.kind == PS_MSG_ERROR) /* not known any more: it begins anew */
            world_kill(w, f->to.host, w->now_ns + PLAN_SECOND);
    }
    ps_parcel_drop(&f->parcel);
}

/* What a heartbeat makes of its answers: has the job gone back? */
static bool goes_back(const struct seat *s, const struct ps_header *h)
{
    if (h->kind != PS_MSG_NOTICE && h->request < s->since_ns)
        return false;
    if (h->kind == PS_MSG_NOTICE && h->version > 0)
        return h->status == PS_ERR_ROLLBACK &&
               h->version > psw_client_job_life(s->client);
    if (h->kind == PS_MSG_OK)
        return h->server_epoch != 0 && h->server_epoch != s->epoch;
    return h->status == PS_ERR_ROLLBACK && h->server_epoch != s->epoch;
}

static void to_heart(struct world *w, struct flight *f)
{
    struct seat     *s = &w->seats[f->to.host];
    struct ps_header h;

    if (!ps_wire_decode(w->decoder, f->parcel.head->data, f->parcel.head->len, &h)) {
        if (goes_back(s, &h)) {
            psw_client_roll_back(s->client, w->now_ns, &w->out);
            world_post_client(w, f->to.host);
        } else if (h.kind != PS_MSG_OK && h.status != PS_ERR_ROLLBACK &&
                   !(h.kind == PS_MSG_NOTICE && h.server_epoch != 0 &&
                     h.server_epoch != s->epoch)) {
            psw_client_notice(s->client, (ps_status)h.status, h.text);
        }
    }
    ps_parcel_drop(&f->parcel);
}

static bool is_stopped(const struct world *w, const struct node *n)
{
    return (n->kind == NODE_CLIENT || n->kind == NODE_HEART) &&
           w->seats[n->host].stop_ns > w->now_ns;
}

/* Of what a process had still to send when it was killed, some never leaves. */
static bool goes_with(struct world *w, const struct node *from)
{
    return !mail_is_up(w, from) && from->kind != NODE_MEMBER && world_draw(w, 2);
}

void receive_next(struct world *w)
{
    struct flight f = mail_land(w);

    if (goes_with(w, &f.from)) {
        mail_say(w, "lost", &f);
        ps_parcel_drop(&f.parcel);
        return;
    }
    if (mail_is_up(w, &f.to) && is_stopped(w, &f.to)) {
        f.at_ns = w->seats[f.to.host].stop_ns; /* it waits in the socket */
        if (!mail_take_off(w, &f))
            world_wrong(w, "simulator: no memory");
        return;
    }
    if (!mail_is_up(w, &f.to) || mail_is_cut(w, &f.from, &f.to)) {
        mail_say(w, "nobody", &f);
        ps_parcel_drop(&f.parcel);
        return;
    }
    mail_say(w, "arrives", &f);
    w->n_delivered++;
    switch ((enum node_kind)f.to.kind) {
    case NODE_COORDINATOR: to_coordinator(w, &f); break;
    case NODE_SHARD: to_shard(w, &f); break;
    case NODE_CLIENT: to_client(w, &f); break;
    case NODE_MEMBER: to_member(w, &f); break;
    case NODE_HEART: to_heart(w, &f); break;
    }
}
