/* servers.c - the psd processes of the cluster and their shards. */
#include "server/coordinator/coordinator_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A joined psd says that it lives every 2 s; this many shard timeouts of silence and
 * its shards are lost. */
#define SILENT_TIMEOUTS 3u

uint32_t psd_coordinator_n_shards(const struct psd_coordinator *c)
{
    return c->n_shards;
}

const char *psd_coordinator_shard_endpoint(const struct psd_coordinator *c,
                                           uint32_t                      shard)
{
    return c->shards[shard].endpoint;
}

static ps_status check_endpoints(const struct psd_coordinator *c,
                                 const struct coord_server *place, const char *host,
                                 const char *const *endpoints, uint32_t n)
{
    size_t bytes = 0;

    if (n == 0 || (!place && n > PS_SHARDS_MAX - c->n_shards))
        return ps_fail(n ? PS_ERR_LIMIT : PS_ERR_BAD_ARG,
                       "psd on %s: %u shards to add to %u, expected 1 or more and at "
                       "most %u in all",
                       host, n, c->n_shards, PS_SHARDS_MAX);
    for (uint32_t i = 0; i < c->n_shards; i++)
        if (!place || i - place->first_shard >= place->n_shards)
            bytes += strlen(c->shards[i].endpoint) + 3;
    for (uint32_t i = 0; i < n; i++) {
        if (endpoints[i][0] == '\0' || strlen(endpoints[i]) >= PS_ENDPOINT_BYTES)
            return ps_fail(PS_ERR_BAD_ARG,
                           "psd on %s: endpoint of %zu bytes, expected 1 to %u", host,
                           strlen(endpoints[i]), PS_ENDPOINT_BYTES - 1);
        bytes += strlen(endpoints[i]) + 3;
    }
    if (bytes > COORD_ENDPOINTS_BYTES)
        return ps_fail(PS_ERR_LIMIT,
                       "psd on %s: the shards' endpoints take %zu bytes together, at "
                       "most %u fit a message",
                       host, bytes, COORD_ENDPOINTS_BYTES);
    return PS_OK;
}

/* A psd that was replaced by another start of it leaves its numbers to that one, or to
 * another with as many shards: a cluster may be started again any number of times. */
static struct coord_server *place_of_old(struct psd_coordinator *c,
                                         const char *const *endpoints, uint32_t n)
{
    struct coord_server *found = NULL;

    for (uint32_t i = 0; i < c->n_servers; i++) {
        struct coord_server *server = &c->servers[i];

        if (!server->replaced || server->n_shards != n)
            continue;
        if (!strcmp(c->shards[server->first_shard].endpoint, endpoints[0]))
            return server;
        found = server;
    }
    return found;
}

ps_status psd_coordinator_add_shards(struct psd_coordinator *c, uint64_t now_ns,
                                     const char *const *endpoints, uint32_t n,
                                     uint64_t control, const char *host, uint64_t pid,
                                     uint32_t *first)
{
    struct coord_server *server = place_of_old(c, endpoints, n);
    ps_status            st = check_endpoints(c, server, host, endpoints, n);

    if (st)
        return st;
    *first = server ? server->first_shard : c->n_shards;
    if (!server) {
        server = &c->servers[c->n_servers++];
        c->n_shards += n;
    }
    *server = (struct coord_server){
        .pid = pid,
        .control = control,
        .heard_ns = now_ns,
        .first_shard = *first,
        .n_shards = n,
    };
    snprintf(server->host, sizeof(server->host), "%s", host);
    for (uint32_t i = 0; i < n; i++) {
        struct coord_shard *shard = &c->shards[*first + i];

        free(shard->stats);
        *shard = (struct coord_shard){ .server = (uint32_t)(server - c->servers) };
        snprintf(shard->endpoint, sizeof(shard->endpoint), "%s", endpoints[i]);
    }
    c->touched = true;
    c->arrivals++;
    ps_log(PS_LOG_INFO, "psd on %s (pid %ju): shards %u to %u", host, (uintmax_t)pid,
           *first, *first + n - 1);
    return PS_OK;
}

/* ---- losing and coming back -------------------------------------------------------
 */

void coord_shard_lose(struct psd_coordinator *c, uint32_t shard, const char *why)
{
    if (c->shards[shard].lost)
        return;
    c->shards[shard].lost = c->touched = true;
    ps_log(PS_LOG_WARN, "%s", why);
    if (c->stats)
        coord_operation_excuse(c->stats, shard);
    for (size_t i = 0; i < c->n_jobs; i++)
        coord_job_shard_lost(c, c->jobs[i], shard, why);
}

static void lose_server(struct psd_coordinator *c, struct coord_server *server,
                        const char *fact)
{
    server->lost = c->touched = true;
    for (uint32_t i = 0; i < server->n_shards; i++) {
        uint32_t shard = server->first_shard + i;
        char     why[PS_TEXT_BYTES];

        snprintf(why, sizeof(why), "shard %u at %s: its psd on %s (pid %ju) %s", shard,
                 c->shards[shard].endpoint, server->host, (uintmax_t)server->pid, fact);
        coord_shard_lose(c, shard, why);
    }
}

/* Jobs that failed stay so; new ones may use the shard.  Of those that are over and
 * kept it has missed who came to look at them. */
void coord_shard_heard(struct psd_coordinator *c, uint32_t shard)
{
    if (!c->shards[shard].lost || c->servers[c->shards[shard].server].lost)
        return;
    c->shards[shard].lost = false;
    c->touched = true;
    c->arrivals++;
    ps_log(PS_LOG_INFO, "shard %u: is back", shard);
    for (size_t i = 0; i < c->n_jobs; i++)
        coord_job_shard_back(c->jobs[i], shard);
}

static void server_heard(struct psd_coordinator *c, struct coord_server *server,
                         const struct coord_request *r)
{
    server->heard_ns = c->now_ns;
    server->route = r->asker.route;
    server->lost = false;
    c->touched = true;
    for (uint32_t i = 0; i < server->n_shards; i++)
        coord_shard_heard(c, server->first_shard + i);
}

void coord_servers_tick(struct psd_coordinator *c)
{
    uint64_t silence_ns = SILENT_TIMEOUTS * c->options.shard_timeout_ns;

    for (uint32_t i = 0; i < c->n_servers; i++) {
        struct coord_server *server = &c->servers[i];
        char                 fact[64];

        if (!server->joined || server->lost ||
            c->now_ns - server->heard_ns < silence_ns)
            continue;
        snprintf(fact, sizeof(fact), "was silent for %g s",
                 (double)silence_ns / (double)COORD_SECOND_NS);
        lose_server(c, server, fact);
    }
}

/* ---- requests of a psd --------------------------------------------------------------
 */

static struct coord_server *find_server(struct psd_coordinator *c, uint64_t control)
{
    for (uint32_t i = 0; control != 0 && i < c->n_servers; i++)
        if (c->servers[i].joined && !c->servers[i].parted &&
            c->servers[i].control == control)
            return &c->servers[i];
    return NULL;
}

static bool has_endpoint(const struct psd_coordinator *c,
                         const struct coord_server *server, const struct ps_header *h)
{
    for (uint32_t i = 0; i < server->n_shards; i++)
        for (uint32_t k = 0; k < h->n_endpoints; k++)
            if (!strcmp(c->shards[server->first_shard + i].endpoint, h->endpoints[k]))
                return true;
    return false;
}

/* A psd that was started again listens where the old one did; whoever sends there
 * would reach shards that know nothing. */
static void replace_restarted(struct psd_coordinator *c, const struct ps_header *h)
{
    for (uint32_t i = 0; i < c->n_servers; i++) {
        struct coord_server *server = &c->servers[i];

        if (!server->joined || server->replaced || !has_endpoint(c, server, h))
            continue;
        server->parted = server->replaced = true;
        lose_server(c, server, "was started again");
    }
}

static ps_status add_joined(struct psd_coordinator *c, const struct coord_request *r,
                            struct coord_server **out)
{
    const struct ps_header *h = r->h;
    uint32_t                first;
    ps_status               st;

    if (h->session == 0)
        return ps_fail(PS_ERR_BAD_MESSAGE, "psd on %s: join without a control secret",
                       h->name);
    replace_restarted(c, h);
    st = psd_coordinator_add_shards(c, c->now_ns, h->endpoints, h->n_endpoints,
                                    h->session, h->name, h->pid, &first);
    if (st)
        return st;
    *out = &c->servers[c->shards[first].server];
    (*out)->joined = true;
    return PS_OK;
}

ps_status coord_join(struct psd_coordinator *c, const struct coord_request *r)
{
    struct coord_server *server;
    struct ps_header     answer = { .kind = PS_MSG_JOIN_OK };
    ps_status            st = coord_check_token(c, r->h->token);

    if (st)
        return st;
    server = find_server(c, r->h->session);
    if (!server)
        st = add_joined(c, r, &server);
    if (st)
        return st;
    server_heard(c, server, r);
    answer.index = server->first_shard;
    answer.n_shards = c->n_shards;
    answer.server_epoch = c->options.server_epoch;
    coord_answer(c, &r->asker, &answer, NULL, 0);
    return PS_OK;
}

ps_status coord_server_beat(struct psd_coordinator *c, const struct coord_request *r)
{
    struct coord_server *server = find_server(c, r->h->session);

    if (!server)
        return ps_fail(PS_ERR_UNKNOWN, "coordinator: a beat of a psd that has not "
                                       "joined");
    server_heard(c, server, r);
    coord_answer_ok(c, &r->asker);
    return PS_OK;
}

ps_status coord_part(struct psd_coordinator *c, const struct coord_request *r)
{
    struct coord_server *server = find_server(c, r->h->session);

    if (server) {
        server->parted = true;
        lose_server(c, server, "has ended");
    }
    coord_answer_ok(c, &r->asker); /* also to one who parts twice */
    return PS_OK;
}
