/* programme.c - see programme.h. */
#include "tests/sim/programme.h"

#include "common/base/random.h"
#include "tests/sim/calls.h"
#include "tests/sim/ledger.h"
#include "tests/sim/verdict.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CALL_NS (30 * PLAN_SECOND)
#define AWAY_NS PLAN_SECOND
#define END_NS (600 * PLAN_SECOND) /* after the last fault */
#define STEPS_MAX 3000000u
#define NOTICED_NS (45 * PLAN_SECOND) /* by then a psd that is gone counts as lost */
#define SLOW_FACTOR 20u
#define PATIENCE_STREAM 18u

/* ---- from stage to stage ----------------------------------------------------------
 */

/* Who lends its gradients may have them back at any time, by losing patience. */
static uint64_t patience_ns(const struct programme *p, uint32_t i)
{
    const struct plan    *plan = plan_in(p);
    const struct student *s = &p->students[i];

    if (!plan->lends || s->stage != STAGE_FINISH ||
        ps_random_below(plan->seed + i, PATIENCE_STREAM, s->iteration, 8) > 0)
        return CALL_NS;
    return plan->latency_ns * (1 + s->iteration % 3);
}

static void enter(struct programme *p, uint32_t i, enum stage stage)
{
    p->students[i].stage = stage;
    p->students[i].deadline_ns = p->world.now_ns + patience_ns(p, i);
}

/* Its buffers are its own again. */
static void drop_tickets(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];

    psw_ticket_drop(&s->ticket);
    psw_ticket_drop(&s->rows);
    psw_ticket_drop(&s->embed);
    ps_view_release(&s->view);
    calls_spoil(p, i);
}

static void go_away(struct programme *p, uint32_t i, uint64_t for_ns)
{
    struct student *s = &p->students[i];

    drop_tickets(p, i);
    world_unseat(&p->world, i);
    s->stage = STAGE_AWAY;
    s->wake_ns = p->world.now_ns + for_ns;
    s->doomed_ns = 0;
}

static void kill_worker(struct programme *p, uint32_t i, uint64_t for_ns)
{
    world_say(&p->world, "worker %u is killed", i);
    p->disturbed = true;
    go_away(p, i, for_ns);
}

static void come(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];

    if (world_seat(&p->world, i, i == OBSERVER))
        world_wrong(&p->world, "simulator: %s", ps_log_last_error());
    s->lives = p->world.seats[i].life;
    s->opened = 0;
    s->rollbacks = 0;
    s->wake_ns = 0;
    enter(p, i, STAGE_HELLO);
}

static enum stage next_iteration(const struct programme *p, uint32_t i)
{
    const struct plan *plan = plan_in(p);
    uint64_t           clock = psw_client_clock(client_of(p, i));

    if (clock >= plan->iterations)
        return plan->rests ? STAGE_REST : STAGE_WAIT;
    if (clock % plan->nfetch == 0 && !plan->rides)
        return STAGE_PULL;
    if (clock % plan->nfetch == 0 && plan->views)
        return STAGE_VIEW;
    return plan->sparse ? STAGE_PULL_EMBED : STAGE_COMPUTE;
}

static enum stage after(const struct programme *p, uint32_t i)
{
    const struct plan    *plan = plan_in(p);
    const struct student *s = &p->students[i];

    switch (s->stage) {
    case STAGE_HELLO: return STAGE_OPEN;
    case STAGE_OPEN:
        return s->opened < calls_n_matrices(plan) ? STAGE_OPEN : STAGE_PULL;
    case STAGE_PULL:
        if (i == OBSERVER)
            return STAGE_DONE;
        if (psw_client_clock(client_of(p, i)) >= plan->iterations)
            return plan->rests ? STAGE_REST : STAGE_WAIT;
        if (plan->views)
            return STAGE_VIEW;
        return plan->sparse ? STAGE_PULL_EMBED : STAGE_COMPUTE;
    case STAGE_VIEW: return plan->sparse ? STAGE_PULL_EMBED : STAGE_COMPUTE;
    case STAGE_PULL_EMBED: return STAGE_COMPUTE;
    case STAGE_PUSH_ROWS: return plan->sparse ? STAGE_PUSH_EMBED : STAGE_FINISH;
    case STAGE_PUSH_EMBED: return STAGE_FINISH;
    case STAGE_FINISH: return next_iteration(p, i);
    case STAGE_REST: return STAGE_WAIT;
    case STAGE_DRAIN: return STAGE_BYE;
    default: return STAGE_DONE;
    }
}

static ps_status start(struct programme *p, uint32_t i)
{
    struct student       *s = &p->students[i];
    struct psw_client    *c = client_of(p, i);
    struct ps_outbox     *out = &p->world.out;
    uint64_t              now_ns = p->world.now_ns;
    struct ps_matrix_spec spec;

    switch (s->stage) {
    case STAGE_HELLO: return psw_client_hello(c, now_ns, out, &s->ticket);
    case STAGE_OPEN:
        spec = calls_spec(plan_in(p), s->opened);
        return psw_client_matrix(c, now_ns, &spec, i != OBSERVER, out, &s->ticket);
    case STAGE_PULL: return calls_pull_dense(p, i);
    case STAGE_VIEW: return calls_view(p, i);
    case STAGE_PULL_EMBED: return calls_pull_embed(p, i);
    case STAGE_PUSH_ROWS: return calls_push_rows(p, i);
    case STAGE_PUSH_EMBED: return calls_push_embed(p, i);
    case STAGE_FINISH: return calls_finish(p, i);
    case STAGE_REST: return psw_client_rest(c, now_ns, out, &s->ticket);
    case STAGE_DRAIN: return psw_client_drain(c, now_ns, out, &s->ticket);
    case STAGE_BYE: return psw_client_bye(c, now_ns, "", out, &s->ticket);
    default: return PS_OK;
    }
}

/* After a call that took too long. */
static enum stage stage_again(const struct programme *p, uint32_t i)
{
    const struct student *s = &p->students[i];

    switch (s->stage) {
    case STAGE_PUSH_ROWS:
    case STAGE_PUSH_EMBED:
    case STAGE_FINISH: /* it will arrive; the values that it was to bring are missing */
        return plan_in(p)->rides ? STAGE_PULL : next_iteration(p, i);
    case STAGE_REST: /* the others may have ended the epoch before this one came again
                      */
        return STAGE_WAIT;
    default: return s->stage;
    }
}

/* A call has failed: what would a program do that wants to go on? */
static void cope(struct programme *p, uint32_t i, ps_status st)
{
    struct student *s = &p->students[i];
    const bool      leaves = s->stage >= STAGE_DRAIN;

    world_say(&p->world, "worker %u: %s", i, ps_log_last_error());
    switch (st) {
    case PS_ERR_ROLLBACK:
        ledger_go_back(p, i);
        drop_tickets(p, i);
        enter(p, i, s->stage <= STAGE_OPEN ? s->stage : STAGE_PULL);
        return;
    case PS_ERR_TIMEOUT:
    case PS_ERR_UNAVAILABLE:
        if (st == PS_ERR_UNAVAILABLE &&
            p->world.now_ns < s->deadline_ns) { /* the job has failed */
            if (plan_in(p)->saved && s->stage > STAGE_OPEN)
                world_wrong(&p->world, "worker %u: %s", i, ps_log_last_error());
            break;
        }
        if (s->stage > STAGE_OPEN) {
            drop_tickets(p, i);
            enter(p, i, stage_again(p, i));
            return;
        }
        break;
    case PS_ERR_RANK:
    case PS_ERR_STALE:
    case PS_ERR_UNKNOWN:
    case PS_ERR_DENIED: break;
    default:
        world_wrong(&p->world, "worker %u: %s (%s)", i, ps_log_last_error(),
                    ps_status_text(st));
        return;
    }
    p->disturbed = true;
    go_away(p, i, AWAY_NS);
    if (leaves) { /* whoever came now would begin another run */
        s->stage = STAGE_DONE;
        p->failed = true; /* or over: what its shards have may be gone already */
    }
}

/* A job that is over makes way for another of the same name, which all have to come to.
 */
static void meet_job(struct programme *p, uint32_t i)
{
    struct ps_header h = { 0 };

    psw_client_sign(client_of(p, i), &h);
    if (i != OBSERVER && h.job == p->job)
        ledger_meet_life(p, i, world_life(&p->world, h.server_epoch));
    if (i == OBSERVER || h.job <= p->job)
        return;
    if (p->job)
        p->disturbed = true;
    p->job = h.job;
    memset(p->ledgers, 0, sizeof(p->ledgers));
    for (uint32_t other = 0; other < plan_in(p)->job.workers; other++)
        if (p->students[other].stage > STAGE_HELLO && other != i)
            go_away(p, other, AWAY_NS);
}

/* All tallies have come since its clock is what it is. */
static bool sees_all(const struct programme *p, uint32_t i)
{
    const enum stage stage = p->students[i].stage;

    return i != OBSERVER &&
           (stage == STAGE_PULL || (stage == STAGE_VIEW && !plan_in(p)->rides));
}

static void close_call(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];

    if (s->stage == STAGE_HELLO) {
        ledger_meet(p, i);
        meet_job(p, i);
    }
    if (s->stage == STAGE_OPEN)
        s->matrices[s->opened++] = psw_ticket_matrix(s->ticket);
    if (s->stage == STAGE_VIEW)
        calls_look(p, i);
    if (sees_all(p, i))
        ledger_check_slack(p, i);
    if (s->stage == STAGE_FINISH)
        ledger_end(p, i);
    drop_tickets(p, i);
    enter(p, i, after(p, i));
}

static bool is_done(const struct ps_ticket *t)
{
    return !t || psw_ticket_done(t);
}

static ps_status result_of(const struct student *s)
{
    ps_status st = s->rows ? psw_ticket_result(s->rows) : PS_OK;

    if (!st && s->embed)
        st = psw_ticket_result(s->embed);
    return st ? st : psw_ticket_result(s->ticket);
}

/* The call in progress: is it over?  True: the worker has moved. */
static bool look(struct programme *p, uint32_t i)
{
    struct student   *s = &p->students[i];
    struct ps_ticket *all[] = { s->ticket, s->rows, s->embed };
    ps_status         st;

    for (size_t k = 0; p->world.now_ns >= s->deadline_ns && k < 3; k++)
        if (all[k])
            psw_ticket_give_up(all[k], p->world.now_ns, 0, CALL_NS / 1000000);
    if (!is_done(s->ticket) || !is_done(s->rows) || !is_done(s->embed))
        return false;
    st = result_of(s);
    if (st)
        cope(p, i, st);
    else
        close_call(p, i);
    return true;
}

static void begin_compute(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    uint64_t        ns = plan_in(p)->compute_ns;

    ledger_begin(p, i);
    ns += world_draw(&p->world, ns);
    if (p->world.seats[i].slow_ns > p->world.now_ns)
        ns *= SLOW_FACTOR;
    s->wake_ns = p->world.now_ns + ns;
}

static bool all_wait(const struct programme *p)
{
    for (uint32_t i = 0; i < plan_in(p)->job.workers; i++)
        if (p->students[i].stage < STAGE_WAIT)
            return false;
    return true;
}

/* What has no ticket.  True: the worker has moved. */
static bool pass(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];

    switch (s->stage) {
    case STAGE_AWAY:
        if (p->world.now_ns < s->wake_ns)
            return false;
        come(p, i);
        return true;
    case STAGE_COMPUTE:
        if (s->wake_ns == 0)
            begin_compute(p, i);
        if (p->world.now_ns < s->wake_ns)
            return false;
        s->wake_ns = 0;
        if (psw_client_clock(client_of(p, i)) >= s->iteration) {
            enter(p, i, next_iteration(p, i)); /* a push given up was too late */
            return true;
        }
        calls_compute(p, i);
        enter(p, i, STAGE_PUSH_ROWS);
        return true;
    case STAGE_WAIT:
        if (psw_client_rollbacks(client_of(p, i)) != s->rollbacks) {
            psw_client_told(client_of(p, i));
            ledger_go_back(p, i);
            enter(p, i, STAGE_PULL);
            return true;
        }
        /* What was saved of a job that is over stays on disks, but nobody reads it into
         * the shards again: it must not end before its losses are noticed. */
        if (!all_wait(p) || p->world.now_ns < plan_in(p)->heal_ns + NOTICED_NS)
            return false;
        enter(p, i, STAGE_DRAIN);
        return true;
    default: return false;
    }
}

static bool is_passing(enum stage stage)
{
    return stage == STAGE_AWAY || stage == STAGE_COMPUTE || stage == STAGE_WAIT ||
           stage == STAGE_DONE;
}

/* Pushes of rows are not waited for: the next call starts behind them. */
static void start_call(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    ps_status       st = start(p, i);

    world_post_client(&p->world, i);
    if (st)
        cope(p, i, st);
    else if (s->stage == STAGE_FINISH && s->doomed_ns)
        kill_worker(p, i, s->doomed_ns);
    else if (s->stage == STAGE_PUSH_ROWS || s->stage == STAGE_PUSH_EMBED)
        enter(p, i, after(p, i));
}

static void advance(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];

    if (p->world.seats[i].life && p->world.seats[i].stop_ns > p->world.now_ns)
        return;
    for (bool moved = true; moved && !p->world.wrong[0];) {
        if (is_passing(s->stage)) {
            moved = pass(p, i);
        } else if (!s->ticket) {
            start_call(p, i);
        } else {
            moved = look(p, i);
        }
    }
}

/* ---- faults -----------------------------------------------------------------------
 */

static void strike(struct programme *p, const struct fault *f)
{
    struct world *w = &p->world;
    uint64_t      until_ns = w->now_ns + f->for_ns;

    switch (f->kind) {
    case FAULT_WORKER_KILL:
        world_say(w, "FAULT worker %u killed", f->who);
        if (!w->seats[f->who].life || p->students[f->who].stage >= STAGE_WAIT)
            return;
        if (world_draw(w, 2))
            p->students[f->who].doomed_ns = f->for_ns;
        else
            kill_worker(p, f->who, f->for_ns);
        return;
    case FAULT_WORKER_GONE:
        world_say(w, "FAULT worker %u gone", f->who);
        /* One that never came is waited for. */
        if (!w->seats[f->who].life || p->students[f->who].stage <= STAGE_HELLO ||
            p->students[f->who].stage >= STAGE_WAIT)
            return;
        p->disturbed = true;
        go_away(p, f->who, 0);
        p->students[f->who].stage = STAGE_DONE;
        return;
    case FAULT_WORKER_SLOW: w->seats[f->who].slow_ns = until_ns; return;
    case FAULT_WORKER_CUT:
        world_say(w, "FAULT worker %u cut off", f->who);
        w->seats[f->who].cut_ns = until_ns;
        return;
    case FAULT_HOST_CUT:
        world_say(w, "FAULT host %u cut off", f->who);
        w->hosts[f->who].cut_ns = until_ns;
        return;
    case FAULT_WORKER_STOP:
        world_say(w, "FAULT worker %u stopped", f->who);
        w->seats[f->who].stop_ns = until_ns;
        return;
    case FAULT_HOST_KILL: world_kill(w, f->who, until_ns); return;
    case FAULT_DISK_FULL: w->hosts[f->who].disk.full_ns = until_ns; return;
    case FAULT_DISK_SLOW: w->hosts[f->who].disk.slow_ns = until_ns; return;
    case FAULT_DISK_FAILS: world_break_disk(w, f->who, until_ns); return;
    case FAULT_KINDS: return;
    }
}

static const struct fault *next_fault(const struct programme *p)
{
    const struct fault *next = NULL;

    for (uint32_t i = 0; i < plan_in(p)->n_faults; i++)
        if (!(p->next_fault & 1u << i) &&
            (!next || plan_in(p)->faults[i].at_ns < next->at_ns))
            next = &plan_in(p)->faults[i];
    return next;
}

static void run_faults(struct programme *p)
{
    for (const struct fault *f = next_fault(p); f && f->at_ns <= p->world.now_ns;
         f = next_fault(p)) {
        p->next_fault |= 1u << (f - plan_in(p)->faults);
        strike(p, f);
    }
    if (p->world.now_ns >= plan_in(p)->heal_ns && !p->world.calm) {
        world_say(&p->world, "HEALED");
        p->world.calm = true;
    }
}

/* ---- the run ----------------------------------------------------------------------
 */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t student_next(const struct programme *p, uint32_t i)
{
    const struct student *s = &p->students[i];
    uint64_t              next = WORLD_NEVER;

    if (s->stage == STAGE_AWAY || s->stage == STAGE_COMPUTE)
        next = s->wake_ns;
    else if (s->ticket)
        next = s->deadline_ns;
    if (p->world.seats[i].life && next < p->world.seats[i].stop_ns)
        next = p->world.seats[i].stop_ns;
    return next;
}

static uint64_t next_time(const struct programme *p)
{
    uint64_t            next = world_next(&p->world);
    const struct fault *f = next_fault(p);

    for (uint32_t i = 0; i < WORLD_CLIENTS; i++)
        if ((p->begun && i < plan_in(p)->job.workers) ||
            (i == OBSERVER && p->observing))
            next = earlier(next, student_next(p, i));
    if (f)
        next = earlier(next, f->at_ns);
    if (!p->world.calm)
        next = earlier(next, plan_in(p)->heal_ns);
    else if (p->world.now_ns < plan_in(p)->heal_ns + NOTICED_NS)
        next = earlier(next, plan_in(p)->heal_ns + NOTICED_NS);
    return next;
}

static bool is_ready(const struct programme *p)
{
    return p->world.coordinator &&
           psd_coordinator_n_shards(p->world.coordinator) >= plan_n_shards(plan_in(p));
}

static bool all_gone(const struct programme *p)
{
    for (uint32_t i = 0; i < plan_in(p)->job.workers; i++)
        if (p->students[i].stage != STAGE_DONE)
            return false;
    return true;
}

void programme_step(struct programme *p)
{
    uint64_t next = next_time(p);

    if (next == WORLD_NEVER || ++p->n_steps > STEPS_MAX ||
        p->world.now_ns > plan_in(p)->heal_ns + END_NS) {
        world_wrong(&p->world, "no end after %g s and %" PRIu64 " steps",
                    (double)p->world.now_ns / 1e9, p->n_steps);
        return;
    }
    world_run(&p->world, next);
    run_faults(p);
    if (!p->begun && is_ready(p))
        p->begun = true;
    for (uint32_t i = 0; p->begun && i < plan_in(p)->job.workers; i++)
        advance(p, i);
    if (p->observing)
        advance(p, OBSERVER);
}

/* Nothing has happened that the model may remember. */
static bool is_comparable(const struct programme *p)
{
    const struct plan *plan = plan_in(p);

    if (p->off_window)
        return false;
    return plan->job.strategy == PS_BSP && !p->failed && !p->disturbed &&
           !p->world.loses;
}

static void read_all(struct programme *p, struct outcome *o)
{
    while (!p->world.wrong[0] && !p->world.calm)
        programme_step(p);
    if (p->failed) /* with a psd that was lost, and nothing was saved */
        return;
    p->observing = true;
    p->students[OBSERVER].stage = STAGE_AWAY;
    while (!p->world.wrong[0] && p->students[OBSERVER].stage != STAGE_DONE)
        programme_step(p);
    if (p->world.wrong[0])
        return;
    verdict_tallies(p);
    verdict_rows(p);
    if (!p->world.wrong[0])
        verdict_hash(p, o->hash);
}

struct outcome programme_run(const struct plan *plan, uint32_t without, FILE *trace)
{
    struct programme *p = calloc(1, sizeof(*p));
    struct outcome    o = { .wrong = "simulator: no memory" };

    if (!p)
        return o;
    p->next_fault = without;
    if (world_open(&p->world, plan, trace))
        world_wrong(&p->world, "simulator: %s", ps_log_last_error());
    while (!p->world.wrong[0] && !all_gone(p))
        programme_step(p);
    if (!p->world.wrong[0])
        read_all(p, &o);
    o.comparable = is_comparable(p);
    o.n_messages = p->world.n_sent;
    o.n_lives = p->world.lives;
    o.virtual_ns = p->world.now_ns;
    memcpy(o.wrong, p->world.wrong, sizeof(o.wrong));
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++)
        if (p->world.seats[i].client)
            drop_tickets(p, i);
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++) {
        ps_view_release(&p->students[i].view);
        ps_view_release(&p->students[i].held);
    }
    world_close(&p->world);
    free(p);
    return o;
}

void programme_compare(const struct plan *plan, struct outcome *o)
{
    const struct plan calm = plan_calm(plan);
    struct outcome    c;

    if (o->wrong[0] || !o->comparable)
        return;
    c = programme_run(&calm, 0, NULL);
    if (c.wrong[0])
        snprintf(o->wrong, sizeof(o->wrong), "undisturbed: %.900s", c.wrong);
    else if (strcmp(c.hash, o->hash) != 0)
        snprintf(o->wrong, sizeof(o->wrong),
                 "the model differs from that of the undisturbed run");
}
