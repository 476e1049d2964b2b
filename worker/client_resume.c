/*
 * client_resume.c - going on after a rollback; see client.h.
 *
 *     GOING -- roll_back --> PAUSING -- HELLO --> GREETING -- WELCOME --> OPENING
 *       ^                      ^                                            |
 *       |                      +------- again, from anywhere below ---------+
 *       +------------- RESUME_OK of all -- ASKING <-- MATRIX_OK of all -----+
 *
 * Requests of the resume have no ticket.  Numbers of requests are never used twice, so
 * an answer of an older life finds no request that it could answer.
 */
#include "worker/client_private.h"

#include "common/base/plant.h"

#include <stdio.h>

/* Before another HELLO when the one before led to nothing. */
#define AGAIN_NS (PSW_SECOND_NS / 10)

bool psw_is_resuming(const struct psw_client *c)
{
    return c->resume.stage != PSW_GOING;
}

bool psw_resume_owns(const struct psw_request *r)
{
    return !r->ticket && (r->kind == PS_MSG_HELLO || r->kind == PS_MSG_MATRIX ||
                          r->kind == PS_MSG_RESUME);
}

/* ---- how it begins --------------------------------------------------------------- */

/* A shard that does not know the job, or this life of it, has been started again. */
static bool is_elsewhere(const struct ps_header *h)
{
    return h->status == PS_ERR_ROLLBACK || h->status == PS_ERR_UNKNOWN ||
           (h->status == PS_ERR_STALE && h->seq == 0);
}

bool psw_resume_begins(const struct psw_client *c, const struct psw_lane *lane,
                       const struct ps_header *h)
{
    if (h->kind != PS_MSG_ERROR || !c->welcome)
        return false;
    if (h->status == PS_ERR_ROLLBACK)
        return true;
    return lane != &c->coordinator && ps_job_is_saved(&c->options.job) &&
           is_elsewhere(h);
}

/* What the caller has asked the coordinator waits; what a resume has asked goes. */
static void hold(struct psw_client *c)
{
    struct psw_queue    all = { 0 };
    struct psw_request *next;

    psw_lane_empty(&c->coordinator, &all);
    for (struct psw_request *r = all.first; r; r = next) {
        next = r->next;
        if (psw_resume_owns(r) || r->kind == PS_MSG_BYE)
            psw_request_free(r);
        else
            psw_queue_add(&c->resume.held.queue, r);
    }
}

static void greet(struct psw_client *c, uint64_t now_ns)
{
    struct psw_request *r;
    struct ps_header    h;

    psw_session_hello(c, &h);
    if (psw_request_new(c, NULL, &h, 0, &r)) {
        c->resume.due_ns = now_ns + PSW_SECOND_NS; /* no memory: later, perhaps */
        return;
    }
    psw_queue_add(&c->coordinator.queue, r);
    c->resume.stage = PSW_GREETING;
}

/* From the beginning, `pause_ns` from now. */
static void begin(struct psw_client *c, uint64_t now_ns, uint64_t pause_ns)
{
    for (uint32_t i = 0; i < c->n_shards; i++)
        psw_lane_clear(&c->shards[i].lane);
    hold(c);
    c->resume.stage = PSW_PAUSING;
    c->resume.due_ns = now_ns + pause_ns;
    psw_resume_tick(c, now_ns);
}

void psw_resume_tick(struct psw_client *c, uint64_t now_ns)
{
    if (c->resume.stage == PSW_PAUSING && now_ns >= c->resume.due_ns)
        greet(c, now_ns);
}

void psw_resume_go_back(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out)
{
    const enum psw_stage stage = c->resume.stage;

    /* The WELCOME that is waited for will be of the newest life. */
    if (c->broken || !c->welcome || stage == PSW_PAUSING || stage == PSW_GREETING)
        return;
    c->resume.untold = true;
    begin(c, now_ns, stage == PSW_GOING ? 0 : AGAIN_NS);
    psw_client_send(c, now_ns, out);
}

/* Who has said goodbye may be gone for the coordinator already, and would be refused.
 */
void psw_client_roll_back(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out)
{
    if (!c->leaving)
        psw_resume_go_back(c, now_ns, out);
}

/* ---- what it asks ---------------------------------------------------------------- */

/* No memory: from the beginning, later. */
static bool ask(struct psw_client *c, struct psw_lane *lane, struct ps_header *h,
                uint64_t now_ns)
{
    struct psw_request *r;

    if (psw_request_new(c, NULL, h, 0, &r)) {
        begin(c, now_ns, PSW_SECOND_NS);
        return false;
    }
    psw_queue_add(&lane->queue, r);
    c->resume.n_open++;
    return true;
}

static void ask_shards(struct psw_client *c, uint64_t now_ns)
{
    c->resume.stage = PSW_ASKING;
    c->resume.n_open = 0;
    c->resume.unmapped = false;
    if (c->options.observer)
        return; /* the shards do not count what it does */
    for (uint32_t i = 0; i < c->n_shards; i++) {
        struct ps_header h = { .kind = PS_MSG_RESUME };

        if (!ask(c, &c->shards[i].lane, &h, now_ns))
            return;
    }
}

static void open_matrices(struct psw_client *c, uint64_t now_ns)
{
    c->resume.stage = PSW_OPENING;
    c->resume.n_open = 0;
    c->resume.unmapped = true; /* also if another rollback comes between */
    for (const struct ps_matrix *m = c->matrices; m; m = m->next) {
        struct ps_matrix_spec spec = m->spec;
        struct ps_header      h = { .kind = PS_MSG_MATRIX,
                                    .n_matrices = 1,
                                    .matrices = &spec };

        spec.number = 0;
        if (!ask(c, &c->coordinator, &h, now_ns))
            return;
    }
    if (c->resume.n_open == 0)
        ask_shards(c, now_ns);
}

/* ---- what it is answered --------------------------------------------------------- */

/* It cannot go on. */
static void odd(struct psw_client *c, const struct psw_lane *lane, const char *what)
{
    char text[PS_TEXT_BYTES], name[PS_ENDPOINT_BYTES + 32];

    snprintf(text, sizeof(text), "job %s went back, and %s answered %s",
             c->options.job.name, psw_lane_name(lane, name, sizeof(name)), what);
    psw_client_notice(c, PS_ERR_BAD_MESSAGE, text);
}

static void welcomed(struct psw_client *c, const struct psw_lane *lane,
                     const struct ps_header *h, uint64_t now_ns)
{
    const uint64_t map_epoch = c->map_epoch;
    const uint32_t n_shards = c->n_shards;
    const char    *why;
    ps_status      st = psw_session_enter(c, h, &why);

    for (uint32_t i = 0; !st && c->options.observer && i < c->n_shards; i++)
        c->shards[i].done = h->clock;
    if (st == PS_ERR_NO_MEMORY)
        begin(c, now_ns, PSW_SECOND_NS);
    else if (st)
        odd(c, lane, why);
    else if (c->resume.unmapped || c->map_epoch != map_epoch || c->n_shards != n_shards)
        open_matrices(c, now_ns);
    else
        ask_shards(c, now_ns);
}

static void reopened(struct psw_client *c, const struct psw_lane *lane,
                     const struct ps_header *h, uint64_t now_ns)
{
    struct ps_matrix *m =
        h->n_matrices == 1 ? psw_session_matrix(c, h->matrices->name) : NULL;

    if (!m || !psw_session_same_shape(&m->spec, h->matrices))
        odd(c, lane, "with another matrix");
    else if (!psw_session_place(c, m, h))
        odd(c, lane, "with a map that does not fit the matrix");
    else if (--c->resume.n_open == 0)
        ask_shards(c, now_ns);
}

static void told_where(struct psw_client *c, const struct psw_lane *lane,
                       const struct ps_header *h)
{
    struct psw_shard *sh = &c->shards[lane->route.index];

    sh->done = h->clock;
    sh->seq = h->seq;
    sh->base = h->version;
    sh->epochs = h->after;
    c->resume.n_open--;
}

void psw_resume_answer(struct psw_client *c, const struct psw_lane *lane,
                       const struct ps_header *h, uint64_t now_ns)
{
    static const uint32_t expected[] = { [PSW_GREETING] = PS_MSG_WELCOME,
                                         [PSW_OPENING] = PS_MSG_MATRIX_OK,
                                         [PSW_ASKING] = PS_MSG_RESUME_OK };

    if (h->kind == PS_MSG_ERROR) {
        if (h->status == PS_ERR_ROLLBACK ||
            (c->resume.stage == PSW_ASKING && is_elsewhere(h)))
            begin(c, now_ns, AGAIN_NS);
        else
            psw_client_notice(c, (ps_status)h->status, h->text);
        return;
    }
    if (h->kind != expected[c->resume.stage])
        odd(c, lane, ps_kind_name(h->kind));
    else if (c->resume.stage == PSW_GREETING)
        welcomed(c, lane, h, now_ns);
    else if (c->resume.stage == PSW_OPENING)
        reopened(c, lane, h, now_ns);
    else
        told_where(c, lane, h);
}

/* ---- how it ends ----------------------------------------------------------------- */

/* The sentence of this rollback. */
static void say(const struct psw_client *c, char *text, size_t bytes)
{
    if (c->options.observer)
        snprintf(text, bytes, "job %s went back to an earlier clock",
                 c->options.job.name);
    else
        snprintf(text, bytes, "job %s went back to clock %ju, go on from there",
                 c->options.job.name, (uintmax_t)c->clock);
}

/* No failure of the older life is a reason to fail in the new one. */
static void fail_tickets(struct psw_client *c)
{
    const uint32_t waits = PSW_FOR_MATRIX | PSW_FOR_LIST;
    char           text[PS_TEXT_BYTES];

    say(c, text, sizeof(text));
    for (struct ps_ticket *t = c->tickets; t; t = t->next) {
        if (!(t->purpose & waits))
            psw_ticket_fail(t, PS_ERR_ROLLBACK, "%s", text);
        t->reported = true;
    }
}

/* What waited goes to the coordinator under new numbers.  Without memory for that it
 * goes as it is: the coordinator knows the member by its session. */
static void let_go(struct psw_client *c)
{
    struct ps_header h;

    for (struct psw_request *r = c->resume.held.queue.first; r; r = r->next) {
        if (ps_wire_decode(c->decoder, r->parcel.head->data, r->parcel.head->len, &h))
            continue;
        psw_client_sign(c, &h);
        if (!psw_request_change(c, r, &h))
            ps_log(PS_LOG_WARN, "request %ju: kept from before the rollback",
                   (uintmax_t)r->id);
    }
    psw_queue_move(&c->coordinator.queue, &c->resume.held.queue);
}

static void take_lowest(struct psw_client *c)
{
    c->clock = c->shards[0].done;
    c->epochs = c->shards[0].epochs;
    for (uint32_t i = 1; i < c->n_shards; i++) {
        if (PSD_PLANTED(PLANT_HIGHEST) ? c->shards[i].done > c->clock
                                       : c->shards[i].done < c->clock)
            c->clock = c->shards[i].done;
        if (c->shards[i].epochs < c->epochs)
            c->epochs = c->shards[i].epochs;
    }
}

void psw_resume_settle(struct psw_client *c)
{
    if (c->resume.stage != PSW_ASKING || c->resume.n_open > 0 || c->broken)
        return;
    take_lowest(c);
    c->told = 0;
    c->batches = 1;
    c->resume.stage = PSW_GOING;
    c->resume.n++;
    fail_tickets(c);
    let_go(c);
}

void psw_client_told(struct psw_client *c)
{
    if (!psw_is_resuming(c)) /* else it knows of the one before */
        c->resume.untold = false;
}

ps_status psw_client_may_move(struct psw_client *c)
{
    char      text[PS_TEXT_BYTES];
    ps_status st = psw_client_usable(c);

    if (st || psw_is_resuming(c) || !c->resume.untold)
        return st;
    say(c, text, sizeof(text));
    psw_client_told(c);
    return ps_fail(PS_ERR_ROLLBACK, "%s", text);
}
