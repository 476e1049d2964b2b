/* client.c - life, messages in, time; see client.h. */
#include "worker/client_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ps_status keep_strings(struct psw_client *c)
{
    c->coordinator_text = strdup(c->options.coordinator);
    c->token_text = strdup(c->options.token);
    c->host_text = strdup(c->options.host);
    if (!c->coordinator_text || !c->token_text || !c->host_text)
        return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory");
    c->options.coordinator = c->coordinator_text;
    c->options.token = c->token_text;
    c->options.host = c->host_text;
    snprintf(c->coordinator.endpoint, sizeof(c->coordinator.endpoint), "%s",
             c->coordinator_text);
    return PS_OK;
}

ps_status psw_client_new(struct psw_client              **out,
                         const struct psw_client_options *options)
{
    struct psw_client *c = calloc(1, sizeof(*c));
    ps_status          st;

    if (!c)
        return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory");
    c->options = *options;
    c->last_request = options->first_request;
    c->weight = 1.0;
    c->batches = 1;
    c->coordinator.route.kind = PS_ROUTE_COORDINATOR;
    st = keep_strings(c);
    if (!st)
        st = ps_decoder_new(&c->decoder);
    if (st) {
        psw_client_free(&c);
        return st;
    }
    *out = c;
    return PS_OK;
}

void psw_client_free(struct psw_client **client)
{
    struct psw_client *c = *client;

    *client = NULL;
    if (!c)
        return;
    psw_lane_clear(&c->coordinator);
    psw_lane_clear(&c->resume.held);
    while (c->tickets)
        psw_ticket_free(c->tickets);
    psw_session_leave(c);
    for (struct ps_matrix *m = c->matrices; m;) {
        struct ps_matrix *next = m->next;

        free(m);
        m = next;
    }
    free(c->reports);
    free(c->coordinator_text);
    free(c->token_text);
    free(c->host_text);
    ps_tray_clear(&c->tray);
    ps_decoder_free(&c->decoder);
    free(c);
}

const char *psw_lane_name(const struct psw_lane *lane, char *text, size_t bytes)
{
    if (lane->route.kind == PS_ROUTE_SHARD)
        snprintf(text, bytes, "shard %u (%s)", lane->route.index, lane->endpoint);
    else
        snprintf(text, bytes, "coordinator %s", lane->endpoint);
    return text;
}

ps_status psw_client_usable(const struct psw_client *c)
{
    return c->broken ? ps_fail(c->broken, "%s", c->why_broken) : PS_OK;
}

void psw_client_sign(const struct psw_client *c, struct ps_header *h)
{
    h->job = c->job;
    h->session = c->session;
    h->rank = c->options.rank;
    h->incarnation = c->incarnation;
    h->server_epoch = c->server_epoch;
    if (!h->text)
        h->text = "";
    if (!h->name)
        h->name = "";
    if (!h->token)
        h->token = "";
}

/* May the shard keep it for longer than its turn?  Under bsp and backup so may a push:
 * one for an iteration behind the open one. */
static bool may_wait(const struct ps_job_spec *job, const struct ps_header *h)
{
    if (job->ack == PS_ACK_DURABLE && h->flags & PS_FLAG_FINISH)
        return true;
    if (job->strategy == PS_ASP)
        return false;
    return job->strategy != PS_SSP || h->kind == PS_MSG_PULL || h->flags & PS_FLAG_PULL;
}

/* Numbers, signs and encodes; the caller adds frames and hangs it into a lane. */
ps_status psw_request_new(struct psw_client *c, struct ps_ticket *ticket,
                          struct ps_header *h, uint32_t n_pieces,
                          struct psw_request **out)
{
    struct psw_request *r = calloc(1, sizeof(*r) + n_pieces * sizeof(r->pieces[0]));
    ps_status           st;

    if (!r)
        return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory for a request");
    h->request = ++c->last_request;
    psw_client_sign(c, h);
    r->ticket = ticket;
    r->id = h->request;
    r->kind = h->kind;
    r->flags = h->flags;
    r->clock = h->clock;
    r->may_wait = may_wait(&c->options.job, h);
    r->n_pieces = n_pieces;
    st = ps_wire_encode_on(&c->tray, h, &r->parcel.head);
    if (st) {
        free(r);
        return st;
    }
    *out = r;
    return PS_OK;
}

bool psw_request_change(struct psw_client *c, struct psw_request *r,
                        struct ps_header *h)
{
    struct ps_buf *head;

    h->request = c->last_request + 1;
    if (ps_wire_encode(h, &head))
        return false;
    ps_parcel_drop(&r->parcel);
    r->parcel.head = head;
    r->id = ++c->last_request;
    r->kind = h->kind;
    r->flags = h->flags;
    return true;
}

bool psw_request_empty(struct psw_client *c, struct psw_request *r)
{
    struct ps_header h;

    if (ps_wire_decode(c->decoder, r->parcel.head->data, r->parcel.head->len, &h))
        return false;
    h.n_ranges = 0;
    h.flags &= ~(uint32_t)PS_FLAG_PULL;
    if (!psw_request_change(c, r, &h))
        return false;
    r->ticket = NULL;
    return true;
}

void psw_client_send(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out)
{
    if (c->held)
        return;
    psw_lane_send(&c->coordinator, now_ns, out, &c->traffic);
    for (uint32_t i = 0; i < c->n_shards; i++)
        psw_lend_send(c, &c->shards[i], now_ns, out);
}

void psw_client_hold(struct psw_client *c)
{
    c->held++;
}

void psw_client_release(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out)
{
    if (--c->held == 0)
        psw_client_send(c, now_ns, out);
}

void psw_client_notice(struct psw_client *c, ps_status status, const char *why)
{
    if (c->broken)
        return;
    c->broken = status < 0 ? status : PS_ERR_CLOSING;
    snprintf(c->why_broken, sizeof(c->why_broken), "%s",
             why[0] ? why : ps_status_text(c->broken));
    for (struct ps_ticket *t = c->tickets; t; t = t->next)
        psw_ticket_fail(t, c->broken, "%s", c->why_broken);
}

/* ---- messages in --------------------------------------------------------------- */

static struct psw_lane *lane_of(struct psw_client *c, const struct ps_route *from)
{
    if (from->kind == PS_ROUTE_COORDINATOR)
        return &c->coordinator;
    if (from->kind == PS_ROUTE_SHARD && from->index < c->n_shards)
        return &c->shards[from->index].lane;
    return NULL;
}

static void refuse(const struct psw_request *r, const struct psw_lane *lane,
                   ps_status status, const char *text)
{
    char about[2 * PS_NAME_BYTES], name[PS_ENDPOINT_BYTES + 32];

    if (!r->ticket)
        return;
    if (text[0]) {
        psw_ticket_fail(r->ticket, status, "%s", text);
        return;
    }
    psw_ticket_about(r->ticket, about, sizeof(about));
    psw_ticket_fail(r->ticket, status, "%s: %s says %s", about,
                    psw_lane_name(lane, name, sizeof(name)), ps_status_text(status));
}

/* Unless it was empty: then there is nothing to be done. */
static bool withdraw(struct psw_client *c, struct psw_request *r)
{
    return r->parcel.n_frames > 0 && psw_request_empty(c, r);
}

/*
 * An iteration does not wait for everyone, under backup, or not any more for one that
 * has joined again: to come too late is ordinary, and as good as done.  The worker goes
 * on from where the shard is, when the iteration that it is in has ended.
 */
static bool is_late(const struct psw_request *r, const struct ps_header *h)
{
    return r->kind == PS_MSG_PUSH && h->status == PS_ERR_STALE && h->seq != 0;
}

static void go_on_from(struct psw_client *c, uint64_t clock)
{
    if (clock > c->told)
        c->told = clock;
    if (c->told > c->clock && !psw_in_iteration(c))
        c->clock = c->told;
}

/* A job that goes back lets nobody in until that is done. */
static bool greet_again(struct psw_client *c, struct psw_request *r)
{
    struct ps_header h;

    psw_session_hello(c, &h);
    psw_client_sign(c, &h);
    return psw_request_change(c, r, &h);
}

/* Every answer but those of a resume comes through here.  True: the request, changed,
 * is to be sent again. */
static bool answered(struct psw_client *c, struct psw_lane *lane, struct psw_request *r,
                     const struct ps_header *h, const struct ps_parcel *in)
{
    if (r->flags & PS_FLAG_REST && r->kind == PS_MSG_PUSH) {
        psw_rest_answer(c, &c->shards[lane->route.index], r, h);
        return false;
    }
    if (r->kind == PS_MSG_HELLO && h->kind == PS_MSG_ERROR &&
        h->status == PS_ERR_ROLLBACK)
        return greet_again(c, r);
    if (h->kind == PS_MSG_ERROR) {
        ps_status st = h->status < 0 ? (ps_status)h->status : PS_ERR_BAD_MESSAGE;

        if (r->kind == PS_MSG_REPORT)
            psw_session_answer(c, r, h);
        if (is_late(r, h)) {
            go_on_from(c, h->clock);
        } else if (r->kind != PS_MSG_PUSH || st != PS_ERR_REPEATED) {
            refuse(r, lane, st, h->text);
            return r->kind == PS_MSG_PUSH && withdraw(c, r);
        }
    }
    if (lane == &c->coordinator) {
        psw_session_answer(c, r, h);
        return false;
    }
    return psw_answer_run(c, &c->shards[lane->route.index], r, h, in);
}

/* One that says of this life, or one before it, that it has begun comes late. */
static bool begins_another(const struct psw_client *c, const struct ps_header *h)
{
    if (h->version > 0)
        return h->version > c->job_life;
    return h->server_epoch == 0 || h->server_epoch != c->server_epoch;
}

/* One of another run comes late, too, and so does one of an older life: what ends the
 * life that it goes on in will be told again. */
static void noticed(struct psw_client *c, uint64_t now_ns, const struct ps_header *h,
                    struct ps_outbox *out)
{
    if (h->status == PS_ERR_ROLLBACK && begins_another(c, h))
        psw_client_roll_back(c, now_ns, out);
    if (h->status == PS_ERR_ROLLBACK ||
        (c->welcome && h->server_epoch != 0 && h->server_epoch != c->server_epoch))
        return;
    psw_client_notice(c, (ps_status)h->status, h->text);
}

static void take(struct psw_client *c, struct psw_lane *lane, uint64_t now_ns,
                 const struct ps_parcel *in, struct ps_outbox *out)
{
    struct psw_request *r;
    struct ps_header    h;
    char                name[PS_ENDPOINT_BYTES + 32];
    ps_status st = ps_wire_decode(c->decoder, in->head->data, in->head->len, &h);

    lane->heard_ns = now_ns;
    if (st && st != PS_ERR_PROTOCOL)
        return; /* damaged: as if lost */
    if (!st && h.kind == PS_MSG_NOTICE) {
        noticed(c, now_ns, &h, out);
        return;
    }
    r = psw_lane_answered(lane, h.request);
    if (!r)
        return;
    if (!st && psw_resume_owns(r)) {
        psw_request_free(r);
        psw_resume_answer(c, lane, &h, now_ns);
        return;
    }
    if (!st && psw_resume_begins(c, lane, &h)) {
        if (lane == &c->coordinator && r->kind != PS_MSG_BYE)
            psw_queue_add(&c->resume.held.queue, r);
        else
            psw_request_free(r);
        psw_resume_go_back(c, now_ns, out);
        return;
    }
    if (st && r->ticket)
        psw_ticket_fail(r->ticket, st, "%s: speaks another version of the protocol",
                        psw_lane_name(lane, name, sizeof(name)));
    if (!st && answered(c, lane, r, &h, in))
        psw_lane_again(lane, r, now_ns, out);
    else
        psw_request_free(r);
}

void psw_client_handle(struct psw_client *c, uint64_t now_ns, struct ps_parcel *in,
                       struct ps_outbox *out)
{
    struct psw_lane *lane = lane_of(c, &in->route);

    if (lane && in->head)
        take(c, lane, now_ns, in, out);
    ps_parcel_drop(in);
    psw_resume_settle(c);
    psw_session_tick(c, now_ns);
    psw_client_send(c, now_ns, out);
    psw_client_settle(c);
}

/* ---- time ---------------------------------------------------------------------- */

void psw_client_tick(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out)
{
    psw_resume_tick(c, now_ns);
    psw_session_tick(c, now_ns);
    psw_client_send(c, now_ns, out);
    psw_lane_tick(&c->coordinator, now_ns, out, &c->traffic);
    for (uint32_t i = 0; i < c->n_shards; i++)
        psw_lane_tick(&c->shards[i].lane, now_ns, out, &c->traffic);
    psw_client_settle(c);
}

uint64_t psw_client_next_tick(const struct psw_client *c)
{
    uint64_t next = psw_lane_next_tick(&c->coordinator);

    if (c->resume.stage == PSW_PAUSING && c->resume.due_ns < next)
        next = c->resume.due_ns;
    if (c->n_reports > 0 && c->n_reporting == 0 && !psw_is_resuming(c) &&
        c->reports_due_ns < next)
        next = c->reports_due_ns;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        uint64_t lane = psw_lane_next_tick(&c->shards[i].lane);

        if (lane < next)
            next = lane;
    }
    return next;
}

/* ---- what it knows ------------------------------------------------------------- */

const struct ps_job_spec *psw_client_job(const struct psw_client *c)
{
    return &c->options.job;
}

uint32_t psw_client_n_shards(const struct psw_client *c)
{
    return c->n_shards;
}

void psw_client_use(struct psw_client *c, struct ps_heap *heap)
{
    c->heap = heap;
}

const char *psw_client_endpoint(const struct psw_client *c, uint32_t shard)
{
    return c->shards[shard].lane.endpoint;
}

uint64_t psw_client_clock(const struct psw_client *c)
{
    return c->clock;
}

uint64_t psw_client_epochs(const struct psw_client *c)
{
    return c->epochs;
}

uint64_t psw_client_rollbacks(const struct psw_client *c)
{
    return c->resume.n;
}

uint32_t psw_client_life(const struct psw_client *c)
{
    return c->life;
}

uint64_t psw_client_epoch(const struct psw_client *c)
{
    return c->server_epoch;
}

uint64_t psw_client_job_life(const struct psw_client *c)
{
    return c->job_life;
}

bool psw_client_is_observer(const struct psw_client *c)
{
    return c->options.observer;
}

uint64_t psw_client_heard_ns(const struct psw_client *c)
{
    uint64_t last_ns = c->coordinator.heard_ns;

    for (uint32_t i = 0; i < c->n_shards; i++)
        if (c->shards[i].lane.heard_ns > last_ns)
            last_ns = c->shards[i].lane.heard_ns;
    return last_ns;
}

const struct ps_traffic *psw_client_traffic(const struct psw_client *c)
{
    return &c->traffic;
}

void psw_client_weight(struct psw_client *c, double samples)
{
    c->weight = samples;
}

void psw_client_batches(struct psw_client *c, uint32_t batches)
{
    c->batches = batches;
}

void psw_client_count_samples(struct psw_client *c, uint64_t samples)
{
    c->traffic.samples += samples;
}

const struct ps_matrix_spec *psw_matrix_spec(const ps_matrix *m)
{
    return &m->spec;
}

void *psw_matrix_owner(const ps_matrix *m)
{
    return m->client->options.owner;
}
