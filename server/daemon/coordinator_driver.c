/*
 * coordinator_driver.c - the coordinator, its socket, and a link to every shard.
 *
 * Turns the main thread: waits for whoever speaks first (a peer, a shard, the clock,
 * the end), tells the coordinator, and carries its answers away.  With a `state` folder
 * what must survive of the coordinator is on disk before its answers go.
 */
#include "common/base/random.h"
#include "server/coordinator/coordinator.h"
#include "server/daemon/daemon.h"
#include "server/daemon/files.h"
#include "server/daemon/signals.h"
#include "server/snapshot/vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Under which the vault keeps the coordinator's state. */
#define STATE_KEY "coordinator"

/* Messages of one source before the others have their turn, and the state is written.
 */
#define BATCH 64

enum { STOP_POLL, SERVER_POLL, LINKS_POLL };

struct driver {
    struct psd_daemon      *daemon;
    struct psd_coordinator *coordinator;
    struct ps_server       *server;
    uint32_t                n_links; /* one for every shard of the cluster */
    struct ps_link         *links[PS_SHARDS_MAX]; /* NULL: its endpoint is no good */
    char             endpoints[PS_SHARDS_MAX][PS_ENDPOINT_BYTES]; /* of the links */
    struct ps_outbox out;
    bool             unkept; /* the state could not be written, and we have said so */
    struct psd_files files;
    struct ps_poll   polls[LINKS_POLL + PS_SHARDS_MAX];
};

static uint64_t ns_of(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static void connect_shard(struct driver *d, uint32_t i, const char *endpoint)
{
    ps_link_close(&d->links[i], 0);
    snprintf(d->endpoints[i], sizeof(d->endpoints[i]), "%s", endpoint);
    if (ps_link_open(&d->links[i], d->daemon->net, endpoint))
        /* the coordinator will lose it, as one that does not answer */
        ps_log(PS_LOG_WARN, "shard %u: cannot be reached", i);
    d->polls[LINKS_POLL + i].link = d->links[i];
    d->polls[LINKS_POLL + i].ready = false;
}

static void connect_new_shards(struct driver *d)
{
    d->n_links = psd_coordinator_n_shards(d->coordinator);
    for (uint32_t i = 0; i < d->n_links; i++) {
        const char *endpoint = psd_coordinator_shard_endpoint(d->coordinator, i);

        if (strcmp(endpoint, d->endpoints[i]) != 0)
            connect_shard(d, i, endpoint);
    }
}

static ps_status send_parcel(struct driver *d, struct ps_parcel *p)
{
    if (p->route.kind != PS_ROUTE_SHARD)
        return ps_server_send(d->server, p);
    if (p->route.index >= d->n_links || !d->links[p->route.index])
        return PS_ERR_UNAVAILABLE;
    return ps_link_send(d->links[p->route.index], p);
}

static ps_status write_state(struct driver *d, const struct ps_buf *state)
{
    ps_status st = psd_vault_keep(d->daemon->vault, STATE_KEY, state);

    if (st == PS_OK && d->unkept)
        ps_log(PS_LOG_INFO, "psd: the coordinator's state is on disk again");
    else if (st && !d->unkept)
        ps_log(PS_LOG_WARN, "psd: the coordinator's state is not on disk, and jobs "
                            "that change now would not survive the end of psd");
    d->unkept = st != PS_OK;
    if (st)
        psd_coordinator_unsaved(d->coordinator);
    return st == PS_ERR_IO || st == PS_ERR_STALE ? st : PS_OK;
}

/* A full disk does not stop the cluster; one that fails does. */
static ps_status keep_state(struct driver *d)
{
    struct ps_buf *state = NULL;
    ps_status      st = PS_OK;

    if (!d->daemon->vault)
        return PS_OK;
    st = psd_coordinator_save(d->coordinator, &state);
    if (st) {
        ps_outbox_clear(&d->out); /* as if lost on the way: there is no memory */
        return PS_OK;
    }
    if (state)
        st = write_state(d, state);
    ps_buf_drop(&state);
    return st;
}

/* What cannot be delivered is dropped: the coordinator, or who asked it, repeats. */
static ps_status deliver(struct driver *d)
{
    ps_status st = keep_state(d);

    if (st)
        return st;
    connect_new_shards(d);
    for (size_t i = 0; i < d->out.n; i++) {
        st = send_parcel(d, &d->out.parcels[i]);
        if (st)
            ps_log(PS_LOG_DEBUG, "coordinator: a message was not delivered: %s",
                   ps_status_text(st));
    }
    ps_outbox_clear(&d->out);
    return PS_OK;
}

static bool is_nothing(ps_status st)
{
    return st == PS_ERR_TIMEOUT || st == PS_ERR_NO_MEMORY;
}

static ps_status receive_from_peers(struct driver *d)
{
    ps_status st = PS_OK;

    for (int n = 0; st == PS_OK && n < BATCH; n++) {
        struct ps_parcel p;

        if ((st = ps_server_receive(d->server, &p)) == PS_OK)
            psd_coordinator_handle(d->coordinator, ps_now_ns(), &p, &d->out);
    }
    psd_coordinator_dropped(d->coordinator, ps_server_dropped(d->server));
    return st == PS_OK || is_nothing(st) ? deliver(d) : st;
}

static ps_status receive_from_shard(struct driver *d, uint32_t shard)
{
    ps_status st = PS_OK;

    for (int n = 0; st == PS_OK && n < BATCH; n++) {
        struct ps_parcel p;

        if ((st = ps_link_receive(d->links[shard], &p)) == PS_OK) {
            p.route.kind = PS_ROUTE_SHARD;
            p.route.index = (uint16_t)shard;
            psd_coordinator_handle(d->coordinator, ps_now_ns(), &p, &d->out);
        }
    }
    return st == PS_OK || is_nothing(st) ? deliver(d) : st;
}

static int wait_ms(const struct driver *d)
{
    uint64_t next_ns = psd_coordinator_next_tick(d->coordinator);
    uint64_t now_ns = ps_now_ns();

    if (next_ns == UINT64_MAX)
        return -1;
    if (next_ns <= now_ns)
        return 0;
    next_ns = (next_ns - now_ns + 999999) / 1000000;
    return next_ns < 60000 ? (int)next_ns : 60000;
}

static ps_status tick(struct driver *d)
{
    if (ps_now_ns() < psd_coordinator_next_tick(d->coordinator))
        return PS_OK;
    psd_coordinator_tick(d->coordinator, ps_now_ns(), &d->out);
    return deliver(d);
}

static ps_status serve(struct driver *d)
{
    ps_status st = PS_OK;

    while (st == PS_OK) {
        st = ps_net_poll(d->polls, LINKS_POLL + d->n_links, wait_ms(d));
        if (st || d->polls[STOP_POLL].ready)
            break;
        psd_files_look(&d->files, ps_now_ns());
        /* Shards before peers: answers make room for questions. */
        for (uint32_t i = 0; st == PS_OK && i < d->n_links; i++)
            if (d->polls[LINKS_POLL + i].ready)
                st = receive_from_shard(d, i);
        if (st == PS_OK && d->polls[SERVER_POLL].ready)
            st = receive_from_peers(d);
        if (st == PS_OK)
            st = tick(d);
    }
    return st;
}

static ps_status add_own_shards(struct driver *d)
{
    const char *endpoints[PS_SHARDS_MAX];
    uint32_t    first;
    ps_status   st;

    if (d->daemon->n_shards == 0)
        return PS_OK; /* it only coordinates */
    psd_daemon_endpoints(d->daemon, endpoints);
    st = psd_coordinator_add_shards(d->coordinator, ps_now_ns(), endpoints,
                                    d->daemon->n_shards, d->daemon->control,
                                    d->daemon->host, (uint64_t)getpid(), &first);
    connect_new_shards(d);
    return st;
}

static ps_status new_coordinator(struct driver *d)
{
    const struct ps_daemon_config *c = d->daemon->config;
    struct psd_coordinator_options o = {
        .server_epoch = d->daemon->server_epoch,
        .worker_silence_ns = ns_of(c->worker_silence),
        .shard_timeout_ns = ns_of(c->shard_timeout),
        .keep_finished = c->keep_finished,
        .max_jobs = c->max_jobs,
        .token = c->token,
        .endpoint = ps_server_endpoint(d->server),
        .recovery_wait_ns = ns_of(c->recovery_wait),
    };

    if (ps_random_secret(&o.random_seed, sizeof(o.random_seed)))
        return ps_fail(PS_ERR_SYSTEM, "psd: no random numbers: %m");
    return psd_coordinator_new(&d->coordinator, &o);
}

/* What an earlier start of this psd knew. */
static ps_status restore_state(struct driver *d)
{
    struct ps_buf *state = NULL;
    ps_status      st = PS_OK;

    if (d->daemon->vault)
        st = psd_vault_recall(d->daemon->vault, STATE_KEY, &state);
    if (!st && state)
        st = psd_coordinator_restore(d->coordinator, ps_now_ns(), state->data,
                                     state->len);
    ps_buf_drop(&state);
    return st;
}

/* Jobs that go back do so in lives that no other start of this psd has used: so it has
 * to be on disk that this one was there. */
static ps_status keep_first_state(struct driver *d)
{
    ps_status st = keep_state(d);

    if (!st && d->unkept)
        return ps_fail(PS_ERR_SYSTEM, "psd: the coordinator's state cannot be written");
    return st;
}

static ps_status open_driver(struct driver *d)
{
    ps_status st =
        ps_server_open(&d->server, d->daemon->net, d->daemon->config->listen);

    if (st) /* a bad address came from the configuration */
        return st == PS_ERR_BAD_ARG ? PS_ERR_CONFIG : st;
    d->polls[STOP_POLL].signal = d->daemon->stop;
    d->polls[SERVER_POLL].server = d->server;
    st = psd_daemon_start_shards(d->daemon);
    if (!st)
        st = new_coordinator(d);
    if (!st)
        st = restore_state(d);
    if (!st)
        st = add_own_shards(d);
    return st ? st : keep_first_state(d);
}

static ps_status ready(struct driver *d)
{
    const char *endpoint = ps_server_endpoint(d->server);

    ps_log(PS_LOG_INFO, "psd: ready on %s with %u shard%s", endpoint,
           d->daemon->n_shards, d->daemon->n_shards == 1 ? "" : "s");
    return psd_daemon_announce(d->daemon, endpoint);
}

static void close_driver(struct driver *d)
{
    if (d->coordinator && psd_signals_reason()) {
        psd_coordinator_close(d->coordinator, psd_signals_reason(), &d->out);
        if (deliver(d))
            ps_log(PS_LOG_WARN, "psd: nobody is told that it ends");
    }
    for (uint32_t i = 0; i < d->n_links; i++)
        ps_link_close(&d->links[i], 0);
    ps_server_close(&d->server);
    psd_coordinator_free(&d->coordinator);
    ps_outbox_free(&d->out);
}

ps_status psd_daemon_coordinate(struct psd_daemon *daemon)
{
    struct driver *d = calloc(1, sizeof(*d));
    ps_status      st;

    if (!d)
        return ps_fail(PS_ERR_NO_MEMORY, "psd: no memory for the coordinator");
    d->daemon = daemon;
    st = open_driver(d);
    if (!st)
        st = ready(d);
    if (!st)
        st = serve(d);
    close_driver(d);
    free(d);
    return st;
}
