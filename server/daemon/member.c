/*
 * member.c - a psd that lends its shards to another's coordinator.
 *
 * Asks to join until it is answered, then says every two seconds that it lives.  A
 * coordinator that is silent may only be slow or away for a moment: the shards go on.
 * One that was started again and has a `state` folder still knows us.  One that has
 * forgotten us has none, so what our shards hold belongs to nobody: the process ends,
 * to be started again by whoever watches it.
 */
#include "common/wire/wire.h"
#include "server/daemon/daemon.h"
#include "server/daemon/files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)
#define JOIN_NS (30 * SECOND_NS)      /* then the coordinator counts as absent */
#define JOIN_AGAIN_NS (2 * SECOND_NS) /* without an answer */
#define BEAT_NS (2 * SECOND_NS)
#define SILENCE_NS (10 * SECOND_NS)
#define PART_LINGER_MS 1000

struct member {
    struct psd_daemon *daemon;
    const char        *coordinator; /* its endpoint */
    struct ps_link    *link;
    struct ps_decoder *decoder;
    uint64_t           request; /* the last one sent */
    uint64_t           heard_ns;
    uint64_t           next_beat_ns;
    bool               silent; /* and we have said so */
    bool               joined;
    uint32_t           first_shard; /* number of ours, in the cluster */
    struct psd_files   files;
};

/* `h` needs its kind and what is special to it. */
static ps_status say(struct member *m, struct ps_header *h)
{
    struct ps_parcel p = { .route = { .kind = PS_ROUTE_COORDINATOR } };
    ps_status        st;

    h->request = ++m->request;
    h->session = m->daemon->control;
    h->text = "";
    if (!h->name)
        h->name = "";
    h->token = m->daemon->config->token;
    st = ps_wire_encode(h, &p.head);
    return st ? st : ps_link_send(m->link, &p);
}

static ps_status say_join(struct member *m)
{
    const char      *endpoints[PS_SHARDS_MAX];
    struct ps_header h = { .kind = PS_MSG_JOIN, .name = m->daemon->host };

    psd_daemon_endpoints(m->daemon, endpoints);
    h.endpoints = endpoints;
    h.n_endpoints = m->daemon->n_shards;
    h.pid = (uint64_t)getpid();
    return say(m, &h);
}

static ps_status refused(const struct member *m, const struct ps_header *h)
{
    if (h->status == PS_ERR_UNKNOWN && m->joined)
        return ps_fail(PS_ERR_STALE,
                       "coordinator %s: was started again and does not know this psd",
                       m->coordinator);
    return ps_fail(h->status, "coordinator %s: %s", m->coordinator, h->text);
}

static ps_status take(struct member *m, const struct ps_header *h)
{
    m->heard_ns = ps_now_ns();
    if (m->silent)
        ps_log(PS_LOG_INFO, "coordinator %s: answers again", m->coordinator);
    m->silent = false;
    switch (h->kind) {
    case PS_MSG_JOIN_OK:
        m->joined = true;
        m->first_shard = h->index;
        return PS_OK;
    case PS_MSG_NOTICE:
        ps_log(PS_LOG_WARN, "coordinator %s: %s", m->coordinator, h->text);
        return PS_OK;
    case PS_MSG_ERROR: return refused(m, h);
    }
    return PS_OK;
}

static ps_status receive(struct member *m)
{
    struct ps_parcel p;
    struct ps_header h;
    ps_status        st = ps_link_receive(m->link, &p);

    if (st)
        return st == PS_ERR_TIMEOUT ? PS_OK : st;
    st = ps_wire_decode(m->decoder, p.head->data, p.head->len, &h);
    if (st == PS_OK)
        st = take(m, &h);
    else if (st == PS_ERR_BAD_MESSAGE)
        st = PS_OK; /* the decoder said why; what was asked is asked again */
    ps_parcel_drop(&p);
    return st;
}

/* Waits for an answer or the end until `until_ns` at most. */
static ps_status wait_for(struct member *m, uint64_t until_ns, bool *stopped)
{
    struct ps_poll polls[] = { { .signal = m->daemon->stop }, { .link = m->link } };
    uint64_t       now_ns = ps_now_ns();
    uint64_t       ns = until_ns > now_ns ? until_ns - now_ns : 0;
    ps_status      st = ps_net_poll(polls, 2, (int)((ns + 999999) / 1000000));

    *stopped = polls[0].ready;
    if (st == PS_OK && polls[1].ready)
        st = receive(m);
    return st;
}

static ps_status join(struct member *m, bool *stopped)
{
    uint64_t  until_ns = ps_now_ns() + JOIN_NS, again_ns = 0;
    ps_status st = PS_OK;

    while (st == PS_OK && !m->joined && !*stopped) {
        uint64_t now_ns = ps_now_ns();

        if (now_ns >= until_ns)
            return ps_fail(PS_ERR_UNAVAILABLE,
                           "coordinator %s: no answer for %" PRIu64 " s",
                           m->coordinator, JOIN_NS / SECOND_NS);
        if (now_ns >= again_ns) {
            st = say_join(m);
            again_ns = now_ns + JOIN_AGAIN_NS;
            if (st == PS_ERR_TIMEOUT)
                st = PS_OK;
        }
        if (st == PS_OK)
            st = wait_for(m, again_ns < until_ns ? again_ns : until_ns, stopped);
    }
    return st;
}

static ps_status beat(struct member *m, uint64_t now_ns)
{
    struct ps_header h = { .kind = PS_MSG_BEAT };
    ps_status        st = say(m, &h);

    m->next_beat_ns = now_ns + BEAT_NS;
    if (!m->silent && now_ns - m->heard_ns > SILENCE_NS) {
        m->silent = true;
        ps_log(PS_LOG_WARN,
               "coordinator %s: silent for %" PRIu64 " s, going on without",
               m->coordinator, SILENCE_NS / SECOND_NS);
    }
    return st == PS_ERR_TIMEOUT ? PS_OK : st; /* the queue is full of earlier ones */
}

static ps_status stay(struct member *m)
{
    bool      stopped = false;
    ps_status st = PS_OK;

    while (st == PS_OK && !stopped) {
        uint64_t now_ns = ps_now_ns();

        psd_files_look(&m->files, now_ns);
        if (now_ns >= m->next_beat_ns)
            st = beat(m, now_ns);
        if (st == PS_OK)
            st = wait_for(m, m->next_beat_ns, &stopped);
    }
    return st;
}

static ps_status open_member(struct member *m)
{
    ps_status st = psd_daemon_start_shards(m->daemon);

    if (!st)
        st = ps_decoder_new(&m->decoder);
    if (!st)
        st = ps_link_open(&m->link, m->daemon->net, m->coordinator);
    if (!st)
        ps_log(PS_LOG_INFO, "psd: joining %s with %u shard%s", m->coordinator,
               m->daemon->n_shards, m->daemon->n_shards == 1 ? "" : "s");
    return st;
}

static void close_member(struct member *m)
{
    struct ps_header h = { .kind = PS_MSG_PART };

    if (m->joined && say(m, &h))
        ps_log(PS_LOG_DEBUG, "coordinator %s: not told that we end", m->coordinator);
    ps_link_close(&m->link, m->joined ? PART_LINGER_MS : 0);
    ps_decoder_free(&m->decoder);
}

ps_status psd_daemon_join(struct psd_daemon *daemon)
{
    struct member m = { .daemon = daemon, .coordinator = daemon->config->coordinator };
    bool          stopped = false;
    ps_status     st = open_member(&m);

    if (!st)
        st = join(&m, &stopped);
    if (!st && m.joined) {
        ps_log(PS_LOG_INFO, "psd: ready, joined %s with %u shard%s from number %u",
               m.coordinator, daemon->n_shards, daemon->n_shards == 1 ? "" : "s",
               m.first_shard);
        st = psd_daemon_announce(daemon, m.coordinator);
    }
    if (!st && !stopped)
        st = stay(&m);
    close_member(&m);
    return st;
}
