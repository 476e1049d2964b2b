/* heartbeat.c - see heartbeat.h. */
#include "worker/heartbeat.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEAT_NS UINT64_C(1000000000)

struct psw_heartbeat {
    struct ps_link    *link; /* the thread's while it runs */
    struct ps_decoder *decoder;
    uint64_t           last_request;
    uint64_t           epoch; /* of the last beat, */
    uint64_t           since; /* and the first request that had it */
    uint64_t           life;  /* number of the life that has it */
    pthread_t          thread;
    bool               running, is_observer;
    atomic_bool        stop;
    struct ps_signal  *stopped; /* wakes the thread to look at `stop` */
    struct ps_signal  *wake;    /* lent */

    pthread_mutex_t   lock; /* for what the next beat says: all of one moment */
    bool              has_lock;
    struct ps_header  who;
    struct ps_traffic traffic;

    _Atomic uint64_t heard_ns;
    _Atomic uint64_t over; /* epoch of the last life that is; 0: none */
    atomic_int       word; /* set last: whoever sees it may read `why` */
    char             why[PS_TEXT_BYTES];
};

static void beat(struct psw_heartbeat *hb)
{
    struct ps_traffic traffic;
    struct ps_parcel  p = { .route = { .kind = PS_ROUTE_COORDINATOR } };
    struct ps_header  h;

    pthread_mutex_lock(&hb->lock);
    h = hb->who;
    traffic = hb->traffic;
    pthread_mutex_unlock(&hb->lock);
    h.kind = PS_MSG_BEAT;
    h.request = ++hb->last_request;
    h.traffic = &traffic;
    hb->life = h.version;
    h.version = 0;
    if (h.server_epoch != hb->epoch) {
        hb->epoch = h.server_epoch;
        hb->since = h.request;
    }
    /* One beat more or less is nothing: the next one comes in a second. */
    if (ps_wire_encode(&h, &p.head) || ps_link_send(hb->link, &p))
        ps_log(PS_LOG_DEBUG, "heartbeat: %s", ps_log_last_error());
}

static void keep_word(struct psw_heartbeat *hb, const struct ps_header *h)
{
    if (atomic_load_explicit(&hb->word, memory_order_relaxed) != PS_OK)
        return;
    snprintf(hb->why, sizeof(hb->why), "%s", h->text);
    atomic_store_explicit(&hb->word, h->status < 0 ? h->status : PS_ERR_CLOSING,
                          memory_order_release);
    ps_signal_raise(hb->wake);
}

/*
 * Has the job gone back?  An answer to a beat of the epoch before is no news, nor that
 * a life began which is not later than this one: the worker has moved since.  An
 * observer that is not known any more is let in anew.
 */
static bool goes_back(const struct psw_heartbeat *hb, const struct ps_header *h)
{
    if (h->kind != PS_MSG_NOTICE && h->request < hb->since)
        return false;
    if (h->kind == PS_MSG_NOTICE && h->version > 0 && h->version <= hb->life)
        return false;
    if (h->kind == PS_MSG_OK)
        return h->server_epoch != 0 && h->server_epoch != hb->epoch;
    if (h->kind == PS_MSG_ERROR && h->status == PS_ERR_DENIED)
        return hb->is_observer;
    return h->status == PS_ERR_ROLLBACK && h->server_epoch != hb->epoch;
}

/* A notice that comes late, when the worker has gone on in another life of the job. */
static bool is_of_another_life(const struct psw_heartbeat *hb,
                               const struct ps_header     *h)
{
    return h->kind == PS_MSG_NOTICE && h->server_epoch != 0 &&
           h->server_epoch != hb->epoch;
}

static void hear(struct psw_heartbeat *hb, const struct ps_header *h)
{
    if (goes_back(hb, h)) {
        atomic_store_explicit(&hb->over, hb->epoch, memory_order_relaxed);
        ps_signal_raise(hb->wake);
    } else if (h->kind != PS_MSG_OK && h->status != PS_ERR_ROLLBACK &&
               !is_of_another_life(hb, h)) {
        keep_word(hb, h);
    }
}

static void listen_to(struct psw_heartbeat *hb)
{
    struct ps_parcel p;
    struct ps_header h;

    while (ps_link_receive(hb->link, &p) == PS_OK) {
        atomic_store_explicit(&hb->heard_ns, ps_now_ns(), memory_order_relaxed);
        if (ps_wire_decode(hb->decoder, p.head->data, p.head->len, &h) == PS_OK &&
            (h.kind == PS_MSG_OK || h.kind == PS_MSG_ERROR || h.kind == PS_MSG_NOTICE))
            hear(hb, &h);
        ps_parcel_drop(&p);
    }
}

static void *run(void *ctx)
{
    struct psw_heartbeat *hb = ctx;
    struct ps_poll        polls[] = { { .link = hb->link }, { .signal = hb->stopped } };
    uint64_t              next_ns = ps_now_ns();

    while (!atomic_load(&hb->stop)) {
        uint64_t now_ns = ps_now_ns();

        if (now_ns >= next_ns) {
            beat(hb);
            next_ns = now_ns + BEAT_NS;
        }
        if (ps_net_poll(polls, 2, (int)((next_ns - now_ns) / 1000000 + 1)))
            break;
        if (polls[0].ready)
            listen_to(hb);
    }
    return NULL;
}

/* The host's signals are for the host's threads. */
static ps_status start_thread(struct psw_heartbeat *hb)
{
    sigset_t all, before;
    int      failed;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&hb->thread, NULL, run, hb);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return ps_fail(PS_ERR_SYSTEM, "heartbeat: cannot start a thread: %s",
                       strerror(failed));
    hb->running = true;
    return PS_OK;
}

ps_status psw_heartbeat_start(struct psw_heartbeat **out, struct ps_net *net,
                              const char *coordinator, const struct ps_header *who,
                              struct ps_signal *wake)
{
    struct psw_heartbeat *hb = calloc(1, sizeof(*hb));
    ps_status             st;

    if (!hb)
        return ps_fail(PS_ERR_NO_MEMORY, "heartbeat: no memory");
    hb->who = *who;
    hb->is_observer = who->rank == UINT32_MAX;
    hb->wake = wake;
    hb->has_lock = pthread_mutex_init(&hb->lock, NULL) == 0;
    st = hb->has_lock ? ps_decoder_new(&hb->decoder)
                      : ps_fail(PS_ERR_NO_MEMORY, "heartbeat: no memory");
    if (!st)
        st = ps_signal_new(&hb->stopped);
    if (!st)
        st = ps_link_open(&hb->link, net, coordinator);
    if (!st)
        st = start_thread(hb);
    if (st) {
        psw_heartbeat_stop(&hb);
        return st;
    }
    *out = hb;
    return PS_OK;
}

void psw_heartbeat_stop(struct psw_heartbeat **heartbeat)
{
    struct psw_heartbeat *hb = *heartbeat;

    *heartbeat = NULL;
    if (!hb)
        return;
    if (hb->running) {
        atomic_store(&hb->stop, true);
        ps_signal_raise(hb->stopped);
        pthread_join(hb->thread, NULL);
    }
    ps_link_close(&hb->link, 0);
    ps_signal_free(&hb->stopped);
    ps_decoder_free(&hb->decoder);
    if (hb->has_lock)
        pthread_mutex_destroy(&hb->lock);
    free(hb);
}

void psw_heartbeat_tell(struct psw_heartbeat *hb, const struct ps_header *who,
                        uint64_t clock, const struct ps_traffic *traffic)
{
    pthread_mutex_lock(&hb->lock);
    hb->who = *who;
    hb->who.clock = clock;
    hb->traffic = *traffic;
    pthread_mutex_unlock(&hb->lock);
}

bool psw_heartbeat_is_over(const struct psw_heartbeat *hb, uint64_t epoch)
{
    return epoch != 0 && atomic_load_explicit(&hb->over, memory_order_relaxed) == epoch;
}

uint64_t psw_heartbeat_heard_ns(const struct psw_heartbeat *hb)
{
    return atomic_load_explicit(&hb->heard_ns, memory_order_relaxed);
}

ps_status psw_heartbeat_word(const struct psw_heartbeat *hb, const char **why)
{
    ps_status word = (ps_status)atomic_load_explicit(&hb->word, memory_order_acquire);

    *why = hb->why;
    return word;
}
