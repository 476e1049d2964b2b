/* shard_thread.c - see shard_thread.h. */
#include "server/daemon/shard_thread.h"

#include "common/base/slice.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Messages between two looks at the stop signal. */
#define BATCH 64

/* What was taken in or is to leave by then is worth a message of its own. */
#define DELIVER_BYTES (64u << 10)

struct psd_shard_thread {
    pthread_t         thread;
    struct ps_signal *failed; /* the daemon's */
    struct ps_signal *stop;
    _Atomic(const char *)
              why;    /* for the workers, or NULL; set before `stop` is raised */
    ps_status status; /* read after the join */
    char      endpoint[PS_ENDPOINT_BYTES];

    /* from here on the thread's own */
    struct ps_server *server;
    struct psd_shard *shard;
    struct psd_desk  *desk; /* at the clerk's; NULL: none */
    struct ps_outbox  out;
    struct ps_spin    spin;
};

/* What cannot be delivered is dropped: who wanted it asks again. */
static void deliver(struct psd_shard_thread *t)
{
    ps_status st = ps_server_send_all(t->server, t->out.parcels, t->out.n);

    if (st)
        ps_log(PS_LOG_DEBUG, "%s: an answer was not delivered: %s", t->endpoint,
               ps_status_text(st));
    ps_outbox_clear(&t->out);
}

/* ---- errands --------------------------------------------------------------------- */

static void tell(struct psd_shard_thread *t, struct psd_answer *a)
{
    const uint64_t now_ns = ps_now_ns();

    switch (a->kind) {
    case PSD_SAVE:
        psd_shard_saved(t->shard, now_ns, a->id, a->status, a->why, &t->out);
        break;
    case PSD_LOAD:
        psd_shard_loaded(t->shard, now_ns, a->id, a->images, a->n, a->status, a->why,
                         &t->out);
        break;
    case PSD_LIST:
        psd_shard_listed(t->shard, now_ns, a->id, a->parts, a->n, a->status, a->why,
                         &t->out);
        break;
    case PSD_FORGET: break;
    }
}

/* What there was no memory for has failed. */
static void put_errand(struct psd_shard_thread *t, struct psd_errand *e)
{
    ps_status         st = psd_desk_put(t->desk, e);
    struct psd_answer no = { .kind = e->kind, .id = e->id, .status = st };

    if (st == PS_OK)
        return;
    snprintf(no.why, sizeof(no.why), "%s", ps_log_last_error());
    tell(t, &no);
}

static void put_errands(struct psd_shard_thread *t)
{
    struct psd_errand e;

    while (t->desk && psd_shard_errand(t->shard, &e))
        put_errand(t, &e);
    deliver(t);
}

static void take_answers(struct psd_shard_thread *t)
{
    struct psd_answer *a;

    ps_signal_clear(psd_desk_signal(t->desk));
    while ((a = psd_desk_take(t->desk))) {
        tell(t, a);
        psd_answer_free(&a);
        put_errands(t);
    }
}

/* ---- messages -------------------------------------------------------------------- */

static size_t bytes_of(const struct ps_parcel *parcels, size_t n)
{
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += ps_parcel_room(&parcels[i]);
    return bytes;
}

/*
 * Handles what is there, at most a batch.  PS_ERR_TIMEOUT: nothing more is there.
 * Answers to the first message leave before anybody looks for a second one, which takes
 * a call of the system; those to the others leave together, as far as they are small:
 * nobody waits for one while another's large push is added.
 */
static ps_status serve_batch(struct psd_shard_thread *t)
{
    struct ps_parcel p;
    uint64_t         now_ns = 0; /* the same for all that came together */
    size_t           bytes = 0;
    bool             is_first = true;
    ps_status        st = PS_OK;

    for (int i = 0; st == PS_OK && i < BATCH; i++) {
        size_t n_before = t->out.n;
        bool   begins = !ps_server_has_more(t->server);

        st = ps_server_receive(t->server, &p);
        if (st)
            break;
        if (begins)
            now_ns = ps_now_ns();
        bytes += bytes_of(&p, 1);
        psd_shard_handle(t->shard, now_ns, &p, &t->out);
        bytes += bytes_of(t->out.parcels + n_before, t->out.n - n_before);
        if (bytes >= DELIVER_BYTES || (is_first && !ps_server_has_more(t->server))) {
            put_errands(t);
            bytes = 0;
            is_first = false;
        }
    }
    put_errands(t);
    return st;
}

/* For poll: rounded up, -1 for never. */
static int milliseconds_until(uint64_t then_ns)
{
    uint64_t now_ns = ps_now_ns();

    if (then_ns == UINT64_MAX)
        return -1;
    return then_ns <= now_ns ? 0 : (int)((then_ns - now_ns + 999999) / 1000000);
}

static ps_status serve(struct psd_shard_thread *t)
{
    struct ps_poll polls[] = {
        { .server = t->server },
        { .signal = t->stop },
        { .signal = t->desk ? psd_desk_signal(t->desk) : NULL },
    };
    ps_status st = PS_OK;

    while (st == PS_OK) {
        st = ps_net_poll_spinning(
            polls, 3, milliseconds_until(psd_shard_next_tick(t->shard)), &t->spin);
        if (st || polls[1].ready)
            return st;
        if (polls[2].ready)
            take_answers(t);
        if (polls[0].ready)
            st = serve_batch(t);
        psd_shard_dropped(t->shard, ps_server_dropped(t->server));
        psd_shard_tick(t->shard, ps_now_ns(), &t->out);
        put_errands(t);
        if (st == PS_ERR_TIMEOUT || st == PS_ERR_NO_MEMORY)
            st = PS_OK; /* a message lost for want of memory is sent again */
    }
    return st;
}

static void *run(void *arg)
{
    struct psd_shard_thread *t = arg;

    ps_slice_set(PS_SLICE_SHORT_NS);
    t->status = serve(t);
    if (t->status)
        ps_signal_raise(t->failed);
    if (t->why) {
        psd_shard_close(t->shard, t->why, &t->out);
        deliver(t);
    }
    ps_server_close(&t->server);
    return NULL;
}

static void free_thread(struct psd_shard_thread **t)
{
    ps_server_close(&(*t)->server);
    psd_shard_free(&(*t)->shard);
    psd_desk_free(&(*t)->desk);
    ps_signal_free(&(*t)->stop);
    ps_outbox_free(&(*t)->out);
    free(*t);
    *t = NULL;
}

/*
 * It is where it belongs from its first instruction on: what it touches first, which is
 * all that it allocates, then lies in memory next to its CPU.  The name is what
 * top(1) and perf(1) show.
 */
static int start_thread(struct psd_shard_thread *t, uint32_t number, int cpu)
{
    pthread_attr_t attributes;
    cpu_set_t      set;
    char           name[16]; /* the kernel's bound */
    int            failed = pthread_attr_init(&attributes);

    if (failed)
        return failed;
    CPU_ZERO(&set);
    if (cpu >= 0) {
        CPU_SET((unsigned)cpu, &set);
        failed = pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
    }
    if (!failed)
        failed = pthread_create(&t->thread, &attributes, run, t);
    pthread_attr_destroy(&attributes);
    snprintf(name, sizeof(name), "psd shard %u", number % 1000);
    if (!failed)
        pthread_setname_np(t->thread, name);
    return failed;
}

static ps_status start(struct psd_shard_thread               *t,
                       const struct psd_shard_thread_options *o)
{
    ps_status st = ps_signal_new(&t->stop);
    int       failed;

    if (!st && o->clerk)
        st = psd_desk_new(&t->desk, o->clerk);
    if (!st)
        st = psd_shard_new(&t->shard, &o->shard);
    if (!st)
        st = ps_server_open(&t->server, o->net, o->endpoint);
    if (st)
        return st;
    strcpy(t->endpoint, ps_server_endpoint(t->server));
    if (o->shard.shares)
        ps_server_share(t->server);
    t->spin.most_ns = o->spin_us * UINT64_C(1000);
    t->failed = o->failed;
    failed = start_thread(t, o->number, o->cpu);
    if (failed)
        return ps_fail(PS_ERR_SYSTEM, "shard at %s: cannot start a thread: %s",
                       t->endpoint, strerror(failed));
    return PS_OK;
}

ps_status psd_shard_thread_start(struct psd_shard_thread              **out,
                                 const struct psd_shard_thread_options *o)
{
    struct psd_shard_thread *t = calloc(1, sizeof(*t));
    ps_status                st;

    if (!t)
        return ps_fail(PS_ERR_NO_MEMORY, "shard at %s: no memory", o->endpoint);
    st = start(t, o);
    if (st) {
        free_thread(&t);
        return st;
    }
    *out = t;
    return PS_OK;
}

const char *psd_shard_thread_endpoint(const struct psd_shard_thread *t)
{
    return t->endpoint;
}

void psd_shard_thread_stop(struct psd_shard_thread *t, const char *why)
{
    t->why = why;
    ps_signal_raise(t->stop);
}

ps_status psd_shard_thread_join(struct psd_shard_thread **t)
{
    ps_status st;

    if (!*t)
        return PS_OK;
    pthread_join((*t)->thread, NULL);
    st = (*t)->status;
    free_thread(t);
    return st;
}
