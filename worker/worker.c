/* worker.c - a worker's life, and driving its client over ZeroMQ. */
#include "worker/worker_private.h"

#include "common/base/random.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAREWELL_MS 200         /* for a goodbye that nobody waits for */
#define LOOK_NS UINT64_C(50000) /* between two looks of calls that do not wait */

const char *ps_why(void)
{
    return ps_log_last_error();
}

const char *ps_version(void)
{
    return PACKAGE_VERSION;
}

/* ---- the library's lines -------------------------------------------------------- */

static struct {
    ps_line_fn *fn;
    void       *ctx;
} listener;

static void pass_line(void *ctx, enum ps_log_level level, const char *line)
{
    (void)ctx;
    listener.fn(listener.ctx, (int)level, line);
}

void ps_listen(ps_line_fn *fn, void *ctx, int up_to_level)
{
    listener.fn = fn;
    listener.ctx = ctx;
    ps_log_listen(fn ? pass_line : NULL, NULL, (enum ps_log_level)up_to_level);
}

/* ---- driving -------------------------------------------------------------------- */

static struct ps_link *link_for(const ps_worker *w, const struct ps_route *route)
{
    if (route->kind == PS_ROUTE_COORDINATOR)
        return w->link;
    return route->index < w->n_links ? w->links[route->index] : NULL;
}

/* What cannot be sent now is as good as lost, and resent like it. */
static void deliver(ps_worker *w)
{
    struct ps_parcel *parcels = w->outbox.parcels;

    for (size_t at = 0, n; at < w->outbox.n; at += n) {
        struct ps_link *link = link_for(w, &parcels[at].route);

        for (n = 1; at + n < w->outbox.n; n++)
            if (!ps_route_same(&parcels[at + n].route, &parcels[at].route))
                break;
        if (link && ps_link_send_all(link, parcels + at, n))
            ps_log(PS_LOG_DEBUG, "worker: %s", ps_log_last_error());
    }
    ps_outbox_clear(&w->outbox);
}

static ps_status set_polls(ps_worker *w)
{
    struct ps_poll *polls = realloc(w->polls, (2 + w->n_links) * sizeof(*polls));

    if (!polls)
        return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory");
    polls[0] = (struct ps_poll){ .link = w->link };
    polls[1] = (struct ps_poll){ .signal = w->wake };
    for (uint32_t i = 0; i < w->n_links; i++)
        polls[2 + i] = (struct ps_poll){ .link = w->links[i] };
    w->polls = polls;
    return PS_OK;
}

/* What the servers were lent they may still read, so nothing is put into that heap any
 * more. */
static void disconnect_shards(ps_worker *w)
{
    if (w->heap)
        psw_client_use(w->client, NULL);
    ps_heap_free(&w->heap);
    while (w->n_links > 0)
        ps_link_close(&w->links[--w->n_links], 0);
    free(w->links);
    w->links = NULL;
}

/* New connections, also to servers that it knows: what was under way on the old ones is
 * of another life. */
static ps_status connect_shards(ps_worker *w)
{
    uint32_t  n = psw_client_n_shards(w->client);
    ps_status st = PS_OK;

    disconnect_shards(w);
    w->life = psw_client_life(w->client);
    w->links = calloc(n, sizeof(struct ps_link *));
    if (!w->links)
        return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory for %u shards", n);
    while (!st && w->n_links < n) {
        st = ps_link_open(&w->links[w->n_links], w->net,
                          psw_client_endpoint(w->client, w->n_links));
        if (!st)
            ps_link_share(w->links[w->n_links++]);
    }
    if (!st)
        st = ps_heap_new(&w->heap);
    if (!st)
        psw_client_use(w->client, w->heap);
    if (!st)
        st = set_polls(w);
    if (st)
        disconnect_shards(w);
    return st;
}

/* After a rollback the shards may be others. */
static void follow_shards(ps_worker *w)
{
    ps_status st;

    if (w->life == 0 || w->life == psw_client_life(w->client))
        return;
    st = connect_shards(w);
    if (st)
        psw_client_notice(w->client, st, ps_log_last_error());
}

/* It is the same time for all that came together. */
static void receive(ps_worker *w, struct ps_link *link, const struct ps_route *from)
{
    struct ps_parcel p;
    uint64_t         now_ns = ps_now_ns();

    while (ps_link_receive(link, &p) == PS_OK) {
        p.route = *from;
        psw_client_handle(w->client, now_ns, &p, &w->outbox);
        follow_shards(w);
        if (ps_link_has_more(link))
            continue;
        deliver(w);
        now_ns = ps_now_ns();
    }
}

static void listen_to_heart(ps_worker *w)
{
    const char *why;
    ps_status   word;

    ps_signal_clear(w->wake);
    if (!w->heartbeat)
        return;
    word = psw_heartbeat_word(w->heartbeat, &why);
    if (word)
        psw_client_notice(w->client, word, why);
    if (psw_heartbeat_is_over(w->heartbeat, psw_client_epoch(w->client)))
        psw_client_roll_back(w->client, ps_now_ns(), &w->outbox);
}

static void tell_heart(ps_worker *w)
{
    struct ps_header who = { 0 };

    if (!w->heartbeat)
        return;
    psw_client_sign(w->client, &who);
    who.version = psw_client_job_life(w->client);
    psw_heartbeat_tell(w->heartbeat, &who, psw_client_clock(w->client),
                       psw_client_traffic(w->client));
}

static int milliseconds_until(uint64_t then_ns, uint64_t now_ns)
{
    if (then_ns <= now_ns)
        return 0;
    return (int)((then_ns - now_ns + 999999) / 1000000);
}

ps_status psw_round(ps_worker *w, uint64_t then_ns)
{
    uint64_t  tick_ns = psw_client_next_tick(w->client);
    ps_status st;

    deliver(w);
    st = ps_net_poll_spinning(
        w->polls, 2 + w->n_links,
        milliseconds_until(tick_ns < then_ns ? tick_ns : then_ns, ps_now_ns()),
        &w->spin);
    if (st)
        return st;
    if (w->polls[0].ready)
        receive(w, w->link, &(struct ps_route){ .kind = PS_ROUTE_COORDINATOR });
    if (w->polls[1].ready)
        listen_to_heart(w);
    for (uint32_t i = 0; i < w->n_links; i++)
        if (w->polls[2 + i].ready)
            receive(w, w->links[i],
                    &(struct ps_route){ .kind = PS_ROUTE_SHARD, .index = (uint16_t)i });
    w->looked_ns = ps_now_ns();
    psw_client_tick(w->client, w->looked_ns, &w->outbox);
    deliver(w);
    tell_heart(w);
    return PS_OK;
}

/* A look asks the kernel several times, which would be most of what a small request
 * costs; whoever waits looks anyway. */
ps_status psw_progress(ps_worker *w)
{
    deliver(w);
    return w->started_ns - w->looked_ns < LOOK_NS ? PS_OK : psw_round(w, 0);
}

uint64_t psw_heard_beat_ns(const ps_worker *w)
{
    return w->heartbeat ? psw_heartbeat_heard_ns(w->heartbeat) : 0;
}

/* The address of something that each thread has of its own. */
static uintptr_t this_thread(void)
{
    static _Thread_local char mine;

    return (uintptr_t)&mine;
}

/* Two threads at once are seen when one of them waits, as a call mostly does. */
static bool is_another_s(ps_worker *w)
{
    uintptr_t thread = atomic_load(&w->thread);

    return thread && thread != this_thread();
}

ps_status psw_enter(ps_worker *w)
{
    if (!w)
        return ps_fail(PS_ERR_BAD_ARG, "worker: NULL, expected an open one");
    if (!psw_is_at_home(&w->home))
        return ps_fail(PS_ERR_FORKED,
                       "worker: opened by process %jd, used in its child",
                       (intmax_t)w->home.pid);
    if (is_another_s(w))
        return ps_fail(PS_ERR_BAD_ARG, "worker: used by two threads at once");
    if (w->is_closing)
        return ps_fail(PS_ERR_CLOSING, "worker: it is being closed");
    w->started_ns = ps_now_ns();
    return PS_OK;
}

ps_status psw_begin(ps_worker *w)
{
    ps_status st = psw_enter(w);

    if (!st && w->callbacks) {
        psw_callbacks_run(w);
        w->started_ns = ps_now_ns();
    }
    return st;
}

uintptr_t psw_hold(ps_worker *w)
{
    return atomic_exchange(&w->thread, this_thread());
}

void psw_let_go(ps_worker *w, uintptr_t outside)
{
    atomic_store(&w->thread, outside);
}

/* See yield.h. */
static void let_others_go_first(ps_worker *w)
{
    const uint64_t now_ns = ps_now_ns();

    if (!psw_yield_may(&w->yield, now_ns))
        return;
    sched_yield();
    psw_yield_took(&w->yield, now_ns, ps_now_ns());
}

static ps_status wait_done(ps_worker *w, struct ps_ticket *t)
{
    uint64_t  deadline_ns = w->started_ns + w->timeout_ms * UINT64_C(1000000);
    uintptr_t outside = psw_hold(w);
    bool      waited = false;
    ps_status st = PS_OK;

    while (!st && !psw_ticket_done(t)) {
        uint64_t now_ns = ps_now_ns();

        waited = true;
        if (now_ns >= deadline_ns) {
            psw_ticket_give_up(t, now_ns, psw_heard_beat_ns(w), w->timeout_ms);
        } else {
            st = psw_round(w, deadline_ns);
            psw_callbacks_run(w);
        }
    }
    deliver(w);
    if (waited)
        let_others_go_first(w);
    psw_let_go(w, outside);
    return st;
}

ps_status psw_wait_result(ps_worker *w, struct ps_ticket **ticket)
{
    ps_status st = wait_done(w, *ticket);

    if (!st) /* else waiting itself failed, and that is the reason */
        st = psw_ticket_result(*ticket);
    if (st)
        psw_ticket_drop(ticket);
    if (st == PS_ERR_UNAVAILABLE)
        w->gone_ns = ps_now_ns();
    return st;
}

ps_status psw_wait(ps_worker *w, struct ps_ticket **ticket)
{
    ps_status st = psw_wait_result(w, ticket);

    if (!st)
        psw_ticket_drop(ticket);
    return st;
}

/* ---- opening -------------------------------------------------------------------- */

static void dispose(ps_worker **worker, int farewell_ms)
{
    ps_worker *w = *worker;

    *worker = NULL;
    psw_heartbeat_stop(&w->heartbeat);
    disconnect_shards(w);
    ps_link_close(&w->link, farewell_ms);
    free(w->polls);
    ps_signal_free(&w->wake);
    ps_outbox_free(&w->outbox);
    psw_models_free(w);
    free(w->own_begins);
    psw_client_free(&w->client);
    ps_net_free(&w->net);
    psw_home_leave(&w->home);
    free(w);
}

/*
 * What a shard gets of a call's time: it knows whom a pull waits for, so it should give
 * up first and say so, with time left for its answer to travel.
 */
static uint32_t answer_time_ms(uint32_t timeout_ms)
{
    uint32_t travel_ms = timeout_ms / 10 < 1000 ? timeout_ms / 10 : 1000;

    return timeout_ms - travel_ms;
}

static ps_status make_client(ps_worker *w, const struct psw_options *o)
{
    char                      host[PS_NAME_BYTES] = "";
    struct psw_client_options options = {
        .job = o->job,
        .coordinator = o->coordinator,
        .token = o->token,
        .rank = o->rank,
        .observer = o->observer,
        .pid = (uint64_t)w->home.pid,
        .host = host,
        .wait_ms = answer_time_ms(w->timeout_ms),
        .owner = w,
    };

    if (gethostname(host, sizeof(host) - 1))
        memcpy(host, "?", 2);
    if (ps_random_secret(&options.first_request, 4))
        return ps_fail(PS_ERR_SYSTEM, "worker: no random numbers: %m");
    return psw_client_new(&w->client, &options);
}

static ps_status connect_coordinator(ps_worker *w, const struct psw_options *o)
{
    ps_status st = ps_link_open(&w->link, w->net, o->coordinator);

    if (st == PS_ERR_BAD_ARG && o->coordinator_from)
        return ps_fail(PS_ERR_CONFIG, "%s: %s", o->coordinator_from,
                       ps_log_last_error());
    memcpy(w->coordinator, o->coordinator, sizeof(w->coordinator));
    return st;
}

static ps_status hello(ps_worker *w)
{
    struct ps_ticket *t;
    ps_status         st = psw_client_hello(w->client, w->started_ns, &w->outbox, &t);

    return st ? st : psw_wait(w, &t);
}

static ps_status start_heart(ps_worker *w)
{
    struct ps_header who = { .kind = PS_MSG_BEAT };

    psw_client_sign(w->client, &who);
    who.version = psw_client_job_life(w->client);
    return psw_heartbeat_start(&w->heartbeat, w->net, w->coordinator, &who, w->wake);
}

static ps_status join(ps_worker *w, const struct psw_options *o)
{
    ps_status st = make_client(w, o);

    if (!st)
        st = ps_net_new(&w->net);
    if (!st)
        st = ps_signal_new(&w->wake);
    if (!st)
        st = connect_coordinator(w, o);
    if (!st)
        st = set_polls(w);
    if (!st)
        st = hello(w);
    if (!st)
        st = start_heart(w);
    w->missed = psw_client_clock(w->client);
    return st ? st : connect_shards(w);
}

ps_status ps_worker_open(ps_worker **out, const ps_worker_options *options)
{
    struct psw_options *o = malloc(sizeof(*o));
    ps_worker          *w = calloc(1, sizeof(*w));
    ps_status           st;

    if (!o || !w) {
        free(o);
        free(w);
        return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory");
    }
    st = psw_options_resolve(options, o);
    psw_home_take(&w->home);
    w->timeout_ms = o->timeout_ms;
    w->spin.most_ns = o->spin_us * UINT64_C(1000);
    w->started_ns = ps_now_ns();
    if (!st)
        st = join(w, o);
    free(o);
    if (st && w->client && psw_client_n_shards(w->client) > 0) {
        ps_worker_abandon(&w, "it could not start"); /* it had joined already */
    } else if (st) {
        dispose(&w, 0);
    }
    if (!st)
        *out = w;
    return st;
}

/* ---- closing -------------------------------------------------------------------- */

/* In a child nothing may be touched: the parent's connections are in there. */
static bool is_parents(ps_worker **worker)
{
    if (psw_is_at_home(&(*worker)->home))
        return false;
    *worker = NULL;
    return true;
}

/* Is the server known to be gone, so that waiting for it again is in vain? */
static bool is_gone(const ps_worker *w)
{
    return w->gone_ns && psw_client_heard_ns(w->client) < w->gone_ns &&
           psw_heartbeat_heard_ns(w->heartbeat) < w->gone_ns;
}

static ps_status drain(ps_worker *w)
{
    struct ps_ticket *t;
    ps_status         st = PS_OK;

    w->is_closing = true;
    w->started_ns = ps_now_ns();
    if (is_gone(w))
        st = ps_fail(PS_ERR_UNAVAILABLE,
                     "job %s: left without goodbye, coordinator %s does not answer",
                     ps_job(w), w->coordinator);
    if (!st)
        st = psw_client_drain(w->client, w->started_ns, &w->outbox, &t);
    return st ? st : psw_wait(w, &t);
}

static ps_status goodbye(ps_worker *w)
{
    struct ps_ticket *t;
    ps_status         st = psw_client_bye(w->client, ps_now_ns(), "", &w->outbox, &t);

    return st ? st : psw_wait(w, &t);
}

/* May it go now?  Not from one of its callbacks, nor while another thread is inside. */
static ps_status may_close(ps_worker *w)
{
    if (is_another_s(w))
        return ps_fail(PS_ERR_BAD_ARG, "worker: used by two threads at once");
    if (w->is_calling)
        return ps_fail(PS_ERR_BAD_ARG, "worker: closed by a callback of its own");
    return PS_OK;
}

/* Both in the time of one call.  What was refused on the way is no reason to stay. */
ps_status ps_worker_close(ps_worker **worker)
{
    char      why[PS_TEXT_BYTES];
    ps_status st, left;

    if (!worker || !*worker)
        return PS_OK;
    if (is_parents(worker))
        return ps_fail(PS_ERR_FORKED, "worker: opened by another process");
    st = may_close(*worker);
    if (st)
        return st;
    st = drain(*worker);
    if (st == PS_ERR_ROLLBACK) {
        (*worker)->is_closing = false; /* it may make up for what is lost */
        return st;
    }
    snprintf(why, sizeof(why), "%s", ps_log_last_error());
    psw_callbacks_end(*worker, "the worker is closed");
    if (st == PS_ERR_TIMEOUT || st == PS_ERR_UNAVAILABLE) {
        ps_worker_abandon(worker, why);
        return st;
    }
    left = goodbye(*worker);
    if (left == PS_ERR_ROLLBACK) {
        (*worker)->is_closing = false;
        return left;
    }
    dispose(worker, 0);
    if (st && left)
        return ps_fail(st, "%s", why); /* the first failure is the one to tell */
    return st ? st : left;
}

void ps_worker_abandon(ps_worker **worker, const char *reason)
{
    struct ps_ticket *t;

    if (!worker || !*worker || is_parents(worker) || may_close(*worker))
        return;
    psw_callbacks_end(*worker, "the worker was abandoned");
    if (psw_client_bye((*worker)->client, ps_now_ns(),
                       reason && reason[0] ? reason : "without a reason",
                       &(*worker)->outbox, &t) == PS_OK)
        deliver(*worker);
    dispose(worker, FAREWELL_MS);
}

/* ---- asking and telling --------------------------------------------------------- */

uint32_t ps_rank(const ps_worker *w)
{
    struct ps_header h = { 0 };

    psw_client_sign(w->client, &h);
    return h.rank;
}

int ps_is_observer(const ps_worker *w)
{
    return psw_client_is_observer(w->client);
}

uint32_t ps_workers(const ps_worker *w)
{
    return psw_client_job(w->client)->workers;
}

uint64_t ps_clock(const ps_worker *w)
{
    return psw_client_clock(w->client);
}

uint64_t ps_seed(const ps_worker *w)
{
    return psw_client_job(w->client)->seed;
}

const char *ps_job(const ps_worker *w)
{
    return psw_client_job(w->client)->name;
}

uint32_t ps_n_shards(const ps_worker *w)
{
    return psw_client_n_shards(w->client);
}

ps_status ps_finish(ps_worker *w)
{
    struct ps_ticket *t;
    ps_status         st = psw_begin(w);

    if (!st)
        st = psw_models_may_finish(w, NULL);
    if (!st)
        st = psw_move(w, PSW_FINISH, NULL, 0, &t);
    return st ? st : psw_wait(w, &t);
}

ps_status ps_epoch_end(ps_worker *w)
{
    struct ps_ticket *t;
    ps_status         st = psw_begin(w);

    if (!st)
        st = psw_models_may_finish(w, NULL);
    if (!st)
        st = psw_client_rest(w->client, w->started_ns, &w->outbox, &t);
    return st ? st : psw_wait(w, &t);
}

ps_status ps_weight(ps_worker *w, double samples)
{
    ps_status st = psw_begin(w);

    if (st)
        return st;
    if (!isfinite(samples) || samples < 0)
        return ps_fail(PS_ERR_BAD_ARG, "weight: %g samples, expected 0 or more",
                       samples);
    psw_client_weight(w->client, samples);
    return PS_OK;
}

ps_status ps_report(ps_worker *w, const char *metric, double value)
{
    ps_status st = psw_begin(w);

    if (st)
        return st;
    if (!metric)
        return ps_fail(PS_ERR_BAD_ARG, "report: the name is NULL");
    st = psw_client_report(w->client, w->started_ns, metric, value);
    return st ? st : psw_progress(w);
}

void ps_count_samples(ps_worker *w, uint64_t samples)
{
    if (w && psw_is_at_home(&w->home))
        psw_client_count_samples(w->client, samples);
}
