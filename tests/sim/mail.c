/* mail.c - see mail.h. */
#include "tests/sim/mail.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STRAY_NS (20 * PLAN_SECOND)

/* ---- who is where --------------------------------------------------------------- */

bool mail_is_up(const struct world *w, const struct node *n)
{
    const struct host *h;

    if (n->kind == NODE_CLIENT || n->kind == NODE_HEART)
        return w->seats[n->host].life == n->life;
    h = &w->hosts[n->host];
    return h->life != 0 && (h->life == n->life || n->life == 0);
}

static uint64_t cut_until(const struct world *w, const struct node *n)
{
    return n->kind == NODE_CLIENT || n->kind == NODE_HEART ? w->seats[n->host].cut_ns
                                                           : w->hosts[n->host].cut_ns;
}

bool mail_is_cut(const struct world *w, const struct node *from, const struct node *to)
{
    bool same_host =
        from->host == to->host && from->kind < NODE_CLIENT && to->kind < NODE_CLIENT;

    return !same_host &&
           (cut_until(w, from) > w->now_ns || cut_until(w, to) > w->now_ns);
}

/* A number below 64 for the order of messages. */
static unsigned number_of(const struct node *n)
{
    switch ((enum node_kind)n->kind) {
    case NODE_COORDINATOR: return 0;
    case NODE_MEMBER: return 1u + n->host;
    case NODE_SHARD: return 8u + n->host * PLAN_SHARDS + n->shard;
    case NODE_CLIENT: return 32u + n->host;
    case NODE_HEART: return 48u + n->host;
    }
    return 63;
}

struct node mail_shard(const struct world *w, uint32_t host, uint32_t shard)
{
    return (struct node){ .kind = NODE_SHARD,
                          .host = (uint8_t)host,
                          .shard = (uint16_t)shard,
                          .life = w->hosts[host].life };
}

/* Life 0: whoever listens there. */
void mail_name_shard(const struct world *w, const struct node *n,
                     char out[PS_ENDPOINT_BYTES])
{
    snprintf(out, PS_ENDPOINT_BYTES, "ipc://%u.%u.%u", n->host, n->shard,
             w->plan->fixed_ports ? 0 : n->life);
}

bool mail_shard_named(const char *endpoint, struct node *n)
{
    unsigned host, shard, life;

    if (sscanf(endpoint, "ipc://%u.%u.%u", &host, &shard, &life) != 3)
        return false;
    *n = (struct node){ .kind = NODE_SHARD,
                        .host = (uint8_t)host,
                        .shard = (uint16_t)shard,
                        .life = life };
    return true;
}

bool mail_is_shard(const struct node *named, const struct node *n)
{
    return named->host == n->host && named->shard == n->shard &&
           (named->life == 0 || named->life == n->life);
}

static const char *node_name(const struct node *n, char text[32])
{
    static const char *const kinds[] = { "",      "coordinator", "member",
                                         "shard", "worker",      "heart" };

    if (n->kind == NODE_SHARD)
        snprintf(text, 32, "shard %u.%u", n->host, n->shard);
    else
        snprintf(text, 32, "%s %u", kinds[n->kind], n->host);
    return text;
}

/* ---- what is under way ---------------------------------------------------------- */

bool mail_take_off(struct world *w, const struct flight *f)
{
    struct flight *kept = malloc(sizeof(*kept));

    if (!kept)
        return false;
    *kept = *f;
    if (queue_put(&w->flights, (struct queued){ f->at_ns, f->order, kept }))
        return true;
    free(kept);
    return false;
}

struct flight mail_land(struct world *w)
{
    struct flight *kept = queue_take(&w->flights).what;
    struct flight  first = *kept;

    free(kept);
    return first;
}

/* ---- sending -------------------------------------------------------------------- */

struct ps_route mail_route_to(const struct node *n)
{
    struct ps_route r = { .kind = PS_ROUTE_PEER, .bytes = sizeof(*n) };

    memcpy(r.id, n, sizeof(*n));
    return r;
}

/* Whom a parcel of `from` is for; false: nobody. */
static bool addressee(const struct world *w, const struct node *from,
                      const struct ps_route *r, struct node *to)
{
    if (r->kind == PS_ROUTE_PEER) {
        memcpy(to, r->id, sizeof(*to));
        return true;
    }
    if (r->kind == PS_ROUTE_COORDINATOR) {
        *to = (struct node){ .kind = NODE_COORDINATOR, .life = w->hosts[0].life };
        return true;
    }
    if (from->kind == NODE_COORDINATOR)
        return mail_shard_named(
            psd_coordinator_shard_endpoint(w->coordinator, r->index), to);
    return mail_shard_named(psw_client_endpoint(w->seats[from->host].client, r->index),
                            to);
}

static uint64_t arrival(struct world *w, const struct flight *f)
{
    const struct plan *p = w->plan;
    uint64_t           at_ns =
        w->now_ns + p->latency_ns + (p->jitter_ns ? world_draw(w, p->jitter_ns) : 0);
    uint64_t *last_ns = &w->last_ns[number_of(&f->from)][number_of(&f->to)];

    /* What is said once in a life must come late now and then. */
    unsigned stray = p->stray_percent * (f->from.kind == NODE_COORDINATOR ? 8 : 1);

    if (!w->calm && world_draw(w, 100) < stray)
        return at_ns + world_draw(w, STRAY_NS); /* on an older connection, say */
    if (p->in_order) {
        if (at_ns < *last_ns)
            at_ns = *last_ns;
        *last_ns = at_ns;
    }
    return at_ns;
}

static void launch(struct world *w, struct flight *f)
{
    f->at_ns = arrival(w, f);
    f->order = w->n_sent++;
    if (!mail_take_off(w, f))
        world_wrong(w, "simulator: no memory");
}

/* Versions of a shard only go up. */
static void watch_version(struct world *w, const struct node *from,
                          const struct ps_parcel *p)
{
    struct ps_header h;
    uint64_t        *last = &w->version[from->host][from->shard];

    if (ps_wire_decode(w->decoder, p->head->data, p->head->len, &h))
        world_wrong(w, "shard %u.%u sends a header that cannot be read: %s", from->host,
                    from->shard, ps_log_last_error());
    else if (h.kind == PS_MSG_PULL_OK) {
        if (h.job != w->version_job) { /* another run of it */
            memset(w->version, 0, sizeof(w->version));
            w->version_job = h.job;
        }
        if (h.version < *last)
            world_wrong(w, "shard %u.%u: version %" PRIu64 " after %" PRIu64,
                        from->host, from->shard, h.version, *last);
        *last = h.version;
    }
}

static void count_late(struct world *w, const struct node *to,
                       const struct ps_parcel *p)
{
    struct ps_header h;

    if (to->kind == NODE_CLIENT &&
        !ps_wire_decode(w->decoder, p->head->data, p->head->len, &h) &&
        h.kind == PS_MSG_ERROR && h.status == PS_ERR_STALE && h.seq != 0)
        w->seats[to->host].n_late++;
}

/* Is anybody lost for the shards?  Which lives are there? */
static void watch_members(struct world *w, const struct ps_parcel *p)
{
    struct ps_header h;

    if (ps_wire_decode(w->decoder, p->head->data, p->head->len, &h))
        return;
    if (h.kind == PS_MSG_JOB && world_life(w, h.server_epoch) == 0 &&
        w->n_seen < WORLD_LIVES) {
        w->seen[w->n_seen].epoch = h.server_epoch;
        w->seen[w->n_seen++].life = ((uint64_t)h.job << 48) + h.after;
    }
    if (h.kind != PS_MSG_MEMBERS)
        return;
    for (uint32_t i = 0; i < h.n_members; i++)
        if (h.members[i].state == PS_MEMBER_LOST)
            w->loses = true;
}

void mail_say(struct world *w, const char *what, const struct flight *f)
{
    struct ps_header h;
    char             from[32], to[32];

    if (!w->trace ||
        ps_wire_decode(w->decoder, f->parcel.head->data, f->parcel.head->len, &h))
        return;
    world_say(w,
              "%-9s %s -> %s  %s request %" PRIu64 " seq %" PRIu64 " clock %" PRIu64
              " version %" PRIu64 " flags %u life %04x map %" PRIu64 " status %d %s",
              what, node_name(&f->from, from), node_name(&f->to, to),
              ps_kind_name(h.kind), h.request, h.seq, h.clock, h.version, h.flags,
              (unsigned)h.server_epoch & 0xffff, h.map_epoch, h.status, h.text);
}

void mail_post(struct world *w, const struct node *from)
{
    unsigned lose = w->calm ? 0 : w->plan->lose_percent;
    unsigned repeat = w->calm ? 0 : w->plan->repeat_percent;

    for (size_t i = 0; i < w->out.n; i++) {
        struct flight f = { .from = *from, .parcel = w->out.parcels[i] };

        w->out.parcels[i].head = NULL;
        w->out.parcels[i].n_frames = 0;
        if (from->kind == NODE_SHARD)
            watch_version(w, from, &f.parcel);
        if (from->kind == NODE_COORDINATOR)
            watch_members(w, &f.parcel);
        if (!addressee(w, from, &f.parcel.route, &f.to)) {
            ps_parcel_drop(&f.parcel);
            continue;
        }
        if (from->kind == NODE_SHARD)
            count_late(w, &f.to, &f.parcel);
        if (mail_is_cut(w, &f.from, &f.to) || world_draw(w, 100) < lose) {
            mail_say(w, "lost", &f);
            ps_parcel_drop(&f.parcel);
            continue;
        }
        if (world_draw(w, 100) < repeat) {
            struct flight twin = f;

            ps_parcel_share(&twin.parcel, &f.parcel);
            launch(w, &twin);
        }
        launch(w, &f);
    }
    ps_outbox_clear(&w->out);
}
