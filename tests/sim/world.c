/* world.c - see world.h. */
#include "tests/sim/world.h"

#include "common/base/random.h"
#include "server/compute/backend.h"
#include "server/shard/request.h"
#include "worker/client_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define STREAM 18u
#define BEAT_NS PLAN_SECOND
#define SILENCE_NS (12 * PLAN_SECOND)
#define SHARD_TIMEOUT_NS (10 * PLAN_SECOND)
#define WAIT_MS 20000u
#define RECOVERY_WAIT_NS (5 * PLAN_SECOND)
#define SLOW_DISK 50u
#define ENDING_NS (PLAN_SECOND / 20)  /* until a psd whose disk failed has stopped */
#define RESTART_NS (PLAN_SECOND / 10) /* and is started again */
#define UNANSWERED_MAX 64u            /* requests of a worker to a shard */
#define STRAY_NS (20 * PLAN_SECOND)

uint64_t world_draw(struct world *w, uint64_t bound)
{
    return ps_random_below(w->plan->seed, STREAM, w->thrown++, bound);
}

void world_wrong(struct world *w, const char *fmt, ...)
{
    va_list args;

    if (w->wrong[0])
        return;
    va_start(args, fmt);
    vsnprintf(w->wrong, sizeof(w->wrong), fmt, args);
    va_end(args);
    world_say(w, "WRONG: %s", w->wrong);
}

void world_say(struct world *w, const char *fmt, ...)
{
    va_list args;

    if (!w->trace)
        return;
    fprintf(w->trace, "%10.6f  ", (double)w->now_ns / 1e9);
    va_start(args, fmt);
    vfprintf(w->trace, fmt, args);
    va_end(args);
    fputc('\n', w->trace);
}

/* ---- who is where --------------------------------------------------------------- */

static bool is_up(const struct world *w, const struct node *n)
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

static bool is_cut(const struct world *w, const struct node *from,
                   const struct node *to)
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

static struct node shard_at(const struct world *w, uint32_t host, uint32_t shard)
{
    return (struct node){ .kind = NODE_SHARD,
                          .host = (uint8_t)host,
                          .shard = (uint16_t)shard,
                          .life = w->hosts[host].life };
}

/* Life 0: whoever listens there. */
static void name_shard(const struct world *w, const struct node *n,
                       char out[PS_ENDPOINT_BYTES])
{
    snprintf(out, PS_ENDPOINT_BYTES, "ipc://%u.%u.%u", n->host, n->shard,
             w->plan->fixed_ports ? 0 : n->life);
}

static bool shard_named(const char *endpoint, struct node *n)
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

static bool is_shard(const struct node *named, const struct node *n)
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

/* ---- the heap of what is under way ---------------------------------------------- */

static bool is_before(const struct flight *a, const struct flight *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void swap_flights(struct flight *a, struct flight *b)
{
    struct flight t = *a;

    *a = *b;
    *b = t;
}

static bool take_off(struct world *w, const struct flight *f)
{
    size_t i = w->n_flights;

    if (w->n_flights == w->room) {
        size_t         room = w->room ? 2 * w->room : 256;
        struct flight *grown = realloc(w->flights, room * sizeof(*grown));

        if (!grown)
            return false;
        w->flights = grown;
        w->room = room;
    }
    w->flights[w->n_flights++] = *f;
    for (; i > 0 && is_before(&w->flights[i], &w->flights[(i - 1) / 2]);
         i = (i - 1) / 2)
        swap_flights(&w->flights[i], &w->flights[(i - 1) / 2]);
    return true;
}

static struct flight land(struct world *w)
{
    struct flight first = w->flights[0];
    size_t        i = 0;

    w->flights[0] = w->flights[--w->n_flights];
    for (;;) {
        size_t least = i;

        for (size_t c = 2 * i + 1; c <= 2 * i + 2; c++)
            if (c < w->n_flights && is_before(&w->flights[c], &w->flights[least]))
                least = c;
        if (least == i)
            return first;
        swap_flights(&w->flights[i], &w->flights[least]);
        i = least;
    }
}

/* ---- sending -------------------------------------------------------------------- */

static struct ps_route route_to(const struct node *n)
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
        return shard_named(psd_coordinator_shard_endpoint(w->coordinator, r->index),
                           to);
    return shard_named(psw_client_endpoint(w->seats[from->host].client, r->index), to);
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
    if (!take_off(w, f))
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

uint64_t world_life(const struct world *w, uint64_t epoch)
{
    for (size_t i = 0; i < w->n_seen; i++)
        if (w->seen[i].epoch == epoch)
            return w->seen[i].life;
    return 0;
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

static void say_message(struct world *w, const char *what, const struct flight *f)
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

static void post(struct world *w, const struct node *from)
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
        if (is_cut(w, &f.from, &f.to) || world_draw(w, 100) < lose) {
            say_message(w, "lost", &f);
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

/* ---- what is kept on disks ------------------------------------------------------- */

static uint64_t disk_time(struct world *w, const struct disk *d)
{
    uint64_t ns = w->plan->disk_ns + world_draw(w, w->plan->disk_ns);

    return w->now_ns + (d->slow_ns > w->now_ns ? SLOW_DISK * ns : ns);
}

/* While a disk is to fail, the first write does, and then one of two. */
static bool write_fails(struct world *w, struct disk *d)
{
    bool strikes = d->strikes;

    if (d->dead || d->fail_ns <= w->now_ns)
        return d->dead;
    d->strikes = false;
    return strikes || world_draw(w, 2);
}

/* What a psd does that cannot trust its disk any more, in a moment: it says that it
 * ends to its coordinator and nobody else. */
static void begin_end(struct world *w, uint32_t i)
{
    world_say(w, "host %u: its disk has failed", i);
    w->hosts[i].disk.dead = true;
    w->hosts[i].end_ns = w->now_ns + world_draw(w, ENDING_NS);
}

static void run_errands(struct world *w, const struct node *at)
{
    struct host      *h = &w->hosts[at->host];
    struct psd_errand errand;

    while (psd_shard_errand(h->shards[at->shard], &errand)) {
        bool fails =
            errand.kind == PSD_FORGET && !h->disk.dead && write_fails(w, &h->disk);

        if ((!fails || world_draw(w, 2)) &&
            disk_take(&h->disk, at->shard, &errand, disk_time(w, &h->disk)))
            world_wrong(w, "simulator: %s", ps_log_last_error());
        if (fails)
            begin_end(w, at->host);
    }
}

static void keep_memory(struct disk *d, struct ps_buf **memory)
{
    ps_buf_drop(&d->memory);
    d->memory = *memory;
    *memory = NULL;
}

/* Before anybody hears of it.  False: nobody may. */
static bool remember(struct world *w)
{
    struct host   *h = &w->hosts[0];
    struct ps_buf *memory;

    if (h->mute)
        return false;
    if (psd_coordinator_save(w->coordinator, &memory)) {
        world_wrong(w, "coordinator: %s", ps_log_last_error());
        return false;
    }
    if (!memory)
        return true;
    if (!write_fails(w, &h->disk)) {
        keep_memory(&h->disk, &memory);
        return true;
    }
    if (!h->disk.dead && world_draw(w, 2))
        keep_memory(&h->disk, &memory);
    ps_buf_drop(&memory);
    h->mute = true;
    if (!h->disk.dead)
        begin_end(w, 0);
    return false;
}

static void post_shard(struct world *w, const struct node *at)
{
    post(w, at);
    run_errands(w, at);
}

static void post_coordinator(struct world *w, const struct node *at)
{
    if (remember(w))
        post(w, at);
    else
        ps_outbox_clear(&w->out);
}

static void run_disk(struct world *w, uint32_t i)
{
    struct host       *h = &w->hosts[i];
    const struct disk *disks[PLAN_HOSTS];
    size_t             n = 0;
    uint64_t           n_works = h->disk.n_works;
    struct node        at = { .kind = NODE_SHARD, .host = (uint8_t)i, .life = h->life };

    if (!h->life || n_works == 0 || disk_next(&h->disk) > w->now_ns)
        return;
    if (disk_first(&h->disk)->kind == PSD_SAVE && write_fails(w, &h->disk)) {
        disk_fail(&h->disk, world_draw(w, 2));
        begin_end(w, i);
        return;
    }
    for (uint32_t k = 0; k < PLAN_HOSTS; k++)
        if (k == i || w->plan->shared)
            disks[n++] = &w->hosts[k].disk;
    at.shard = (uint16_t)disk_first(&h->disk)->shard;
    disk_finish(&h->disk, h->shards, w->now_ns, disks, n, &w->out);
    post_shard(w, &at);
}

static struct node client_node(const struct world *w, uint32_t i, enum node_kind kind)
{
    return (struct node){ .kind = (uint8_t)kind,
                          .host = (uint8_t)i,
                          .life = w->seats[i].life };
}

void world_post_client(struct world *w, uint32_t i)
{
    struct node from = client_node(w, i, NODE_CLIENT);

    post(w, &from);
}

/* ---- receiving ------------------------------------------------------------------ */

/* The number of a shard as the coordinator counts; false: it does not know it. */
static bool number_for_coordinator(const struct world *w, const struct node *shard,
                                   uint16_t *index)
{
    for (uint32_t i = 0; i < psd_coordinator_n_shards(w->coordinator); i++) {
        struct node n;

        if (shard_named(psd_coordinator_shard_endpoint(w->coordinator, i), &n) &&
            is_shard(&n, shard)) {
            *index = (uint16_t)i;
            return true;
        }
    }
    return false;
}

static bool number_for_client(const struct psw_client *c, const struct node *shard,
                              uint16_t *index)
{
    for (uint32_t i = 0; i < psw_client_n_shards(c); i++) {
        struct node n;

        if (shard_named(psw_client_endpoint(c, i), &n) && is_shard(&n, shard)) {
            *index = (uint16_t)i;
            return true;
        }
    }
    return false;
}

static void to_coordinator(struct world *w, struct flight *f)
{
    struct node at = f->to;

    f->parcel.route = route_to(&f->from);
    if (f->from.kind == NODE_SHARD) {
        f->parcel.route = (struct ps_route){ .kind = PS_ROUTE_SHARD };
        if (!number_for_coordinator(w, &f->from, &f->parcel.route.index)) {
            ps_parcel_drop(&f->parcel);
            return;
        }
    }
    psd_coordinator_handle(w->coordinator, w->now_ns, &f->parcel, &w->out);
    post_coordinator(w, &at);
}

/* What a shard keeps for later does not grow beyond what it may. */
static void watch_shard(struct world *w, const struct node *at)
{
    const struct psd_shard *shard = w->hosts[at->host].shards[at->shard];

    for (uint32_t number = 1; number <= w->version_job; number++) {
        const struct psd_job *job = psd_shard_job(shard, number);

        if (job && job->n_waiting > job->spec.workers * PSD_WAITING_PER_WORKER)
            world_wrong(w, "shard %u.%u: %zu requests wait", at->host, at->shard,
                        job->n_waiting);
    }
}

/* The same of a worker's unanswered requests. */
static void watch_client(struct world *w, uint32_t i)
{
    const struct psw_client *c = w->seats[i].client;

    for (uint32_t s = 0; s < c->n_shards; s++) {
        unsigned n = 0;

        for (const struct psw_request *r = c->shards[s].lane.queue.first; r;
             r = r->next)
            n++;
        if (n > UNANSWERED_MAX)
            world_wrong(w, "worker %u: %u requests to shard %u are kept", i, n, s);
    }
}

/* A rollback takes versions back. */
static void begin_life(struct world *w, const struct flight *f)
{
    struct ps_header h;

    if (f->from.kind == NODE_COORDINATOR &&
        !ps_wire_decode(w->decoder, f->parcel.head->data, f->parcel.head->len, &h) &&
        h.kind == PS_MSG_JOB)
        w->version[f->to.host][f->to.shard] = 0;
}

static void to_shard(struct world *w, struct flight *f)
{
    struct psd_shard *shard = w->hosts[f->to.host].shards[f->to.shard];

    begin_life(w, f);
    f->parcel.route = route_to(&f->from);
    psd_shard_handle(shard, w->now_ns, &f->parcel, &w->out);
    watch_shard(w, &f->to);
    post_shard(w, &f->to);
}

static void to_client(struct world *w, struct flight *f)
{
    struct psw_client *client = w->seats[f->to.host].client;

    f->parcel.route = (struct ps_route){ .kind = PS_ROUTE_COORDINATOR };
    if (f->from.kind == NODE_SHARD) {
        f->parcel.route.kind = PS_ROUTE_SHARD;
        if (!number_for_client(client, &f->from, &f->parcel.route.index)) {
            ps_parcel_drop(&f->parcel);
            return;
        }
    }
    psw_client_handle(client, w->now_ns, &f->parcel, &w->out);
    watch_client(w, f->to.host);
    post(w, &f->to);
}

/* What a psd does with its coordinator's answers. */
static void to_member(struct world *w, struct flight *f)
{
    struct ps_header h;

    if (!ps_wire_decode(w->decoder, f->parcel.head->data, f->parcel.head->len, &h)) {
        if (h.kind == PS_MSG_JOIN_OK)
            w->hosts[f->to.host].joined = true;
        else if (h.kind == PS_MSG_ERROR) /* not known any more: it begins anew */
            world_kill(w, f->to.host, w->now_ns + PLAN_SECOND);
    }
    ps_parcel_drop(&f->parcel);
}

/* What a heartbeat makes of its answers: has the job gone back? */
static bool goes_back(const struct seat *s, const struct ps_header *h)
{
    if (h->kind != PS_MSG_NOTICE && h->request < s->since_ns)
        return false;
    if (h->kind == PS_MSG_OK)
        return h->server_epoch != 0 && h->server_epoch != s->epoch;
    return h->status == PS_ERR_ROLLBACK && h->server_epoch != s->epoch;
}

static void to_heart(struct world *w, struct flight *f)
{
    struct seat     *s = &w->seats[f->to.host];
    struct ps_header h;

    if (!ps_wire_decode(w->decoder, f->parcel.head->data, f->parcel.head->len, &h)) {
        if (goes_back(s, &h)) {
            psw_client_roll_back(s->client, w->now_ns, &w->out);
            world_post_client(w, f->to.host);
        } else if (h.kind != PS_MSG_OK && h.status != PS_ERR_ROLLBACK &&
                   !(h.kind == PS_MSG_NOTICE && h.server_epoch != 0 &&
                     h.server_epoch != s->epoch)) {
            psw_client_notice(s->client, (ps_status)h.status, h.text);
        }
    }
    ps_parcel_drop(&f->parcel);
}

static bool is_stopped(const struct world *w, const struct node *n)
{
    return (n->kind == NODE_CLIENT || n->kind == NODE_HEART) &&
           w->seats[n->host].stop_ns > w->now_ns;
}

/* Of what a process had still to send when it was killed, some never leaves. */
static bool goes_with(struct world *w, const struct node *from)
{
    return !is_up(w, from) && from->kind != NODE_MEMBER && world_draw(w, 2);
}

static void deliver(struct world *w)
{
    struct flight f = land(w);

    if (goes_with(w, &f.from)) {
        say_message(w, "lost", &f);
        ps_parcel_drop(&f.parcel);
        return;
    }
    if (is_up(w, &f.to) && is_stopped(w, &f.to)) {
        f.at_ns = w->seats[f.to.host].stop_ns; /* it waits in the socket */
        if (!take_off(w, &f))
            world_wrong(w, "simulator: no memory");
        return;
    }
    if (!is_up(w, &f.to) || is_cut(w, &f.from, &f.to)) {
        say_message(w, "nobody", &f);
        ps_parcel_drop(&f.parcel);
        return;
    }
    say_message(w, "arrives", &f);
    w->n_delivered++;
    switch ((enum node_kind)f.to.kind) {
    case NODE_COORDINATOR: to_coordinator(w, &f); break;
    case NODE_SHARD: to_shard(w, &f); break;
    case NODE_CLIENT: to_client(w, &f); break;
    case NODE_MEMBER: to_member(w, &f); break;
    case NODE_HEART: to_heart(w, &f); break;
    }
}

/* ---- what happens by itself ----------------------------------------------------- */

static void beat_client(struct world *w, uint32_t i)
{
    struct node      from = client_node(w, i, NODE_HEART);
    struct ps_route  to = { .kind = PS_ROUTE_COORDINATOR };
    struct ps_header h = { .kind = PS_MSG_BEAT, .request = w->now_ns };

    w->seats[i].beat_ns = w->now_ns + BEAT_NS;
    psw_client_sign(w->seats[i].client, &h);
    h.clock = psw_client_clock(w->seats[i].client);
    if (h.job == 0)
        return; /* not welcome yet */
    if (h.server_epoch != w->seats[i].epoch) {
        w->seats[i].epoch = h.server_epoch;
        w->seats[i].since_ns = w->now_ns;
    }
    if (ps_wire_send(&w->out, &to, &h, NULL, 0))
        world_wrong(w, "simulator: %s", ps_log_last_error());
    post(w, &from);
}

static void beat_member(struct world *w, uint32_t i)
{
    struct host *host = &w->hosts[i];
    struct node  from = { .kind = NODE_MEMBER, .host = (uint8_t)i, .life = host->life };
    struct ps_route  to = { .kind = PS_ROUTE_COORDINATOR };
    char             names[PLAN_SHARDS][PS_ENDPOINT_BYTES];
    const char      *endpoints[PLAN_SHARDS];
    struct ps_header h = { .kind = host->joined ? PS_MSG_BEAT : PS_MSG_JOIN,
                           .request = w->now_ns,
                           .session = host->control,
                           .name = "host",
                           .token = "",
                           .text = "" };

    host->beat_ns = w->now_ns + 2 * BEAT_NS;
    for (uint32_t s = 0; s < host->n_shards; s++) {
        struct node n = shard_at(w, i, s);

        name_shard(w, &n, names[s]);
        endpoints[s] = names[s];
    }
    if (!host->joined) {
        h.n_endpoints = host->n_shards;
        h.endpoints = endpoints;
        h.pid = host->life;
    }
    if (ps_wire_send(&w->out, &to, &h, NULL, 0))
        world_wrong(w, "simulator: %s", ps_log_last_error());
    post(w, &from);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t seat_next(const struct seat *s)
{
    uint64_t next =
        s->life ? earlier(s->beat_ns, psw_client_next_tick(s->client)) : WORLD_NEVER;

    return next < s->stop_ns ? s->stop_ns : next;
}

static uint64_t host_next(const struct host *h, bool coordinates)
{
    uint64_t next = h->life && !coordinates ? h->beat_ns : WORLD_NEVER;

    if (!h->life && h->back_ns)
        return h->back_ns;
    if (h->life)
        next = earlier(next, disk_next(&h->disk));
    if (h->life && h->end_ns)
        next = earlier(next, h->end_ns);
    for (uint32_t s = 0; h->life && s < h->n_shards; s++)
        next = earlier(next, psd_shard_next_tick(h->shards[s]));
    return next;
}

uint64_t world_next(const struct world *w)
{
    uint64_t next = w->n_flights ? w->flights[0].at_ns : WORLD_NEVER;

    for (uint32_t i = 0; i < WORLD_CLIENTS; i++)
        next = earlier(next, seat_next(&w->seats[i]));
    for (uint32_t i = 0; i < PLAN_HOSTS; i++)
        next = earlier(next, host_next(&w->hosts[i], i == 0));
    if (w->coordinator)
        next = earlier(next, psd_coordinator_next_tick(w->coordinator));
    return next;
}

static void start_host(struct world *w, uint32_t i);
static void end_host(struct world *w, uint32_t i);

static void run_seat(struct world *w, uint32_t i)
{
    struct seat *s = &w->seats[i];

    if (!s->life || s->stop_ns > w->now_ns)
        return;
    if (psw_client_next_tick(s->client) <= w->now_ns) {
        psw_client_tick(s->client, w->now_ns, &w->out);
        world_post_client(w, i);
    }
    if (s->beat_ns <= w->now_ns)
        beat_client(w, i);
}

static void run_host(struct world *w, uint32_t i)
{
    struct host *h = &w->hosts[i];

    if (h->life && h->end_ns && h->end_ns <= w->now_ns)
        end_host(w, i);
    if (!h->life && h->back_ns && h->back_ns <= w->now_ns)
        start_host(w, i);
    if (!h->life)
        return;
    run_disk(w, i);
    for (uint32_t s = 0; s < h->n_shards; s++) {
        struct node at = shard_at(w, i, s);

        if (psd_shard_next_tick(h->shards[s]) > w->now_ns)
            continue;
        psd_shard_tick(h->shards[s], w->now_ns, &w->out);
        post_shard(w, &at);
    }
    if (i > 0 && h->beat_ns <= w->now_ns)
        beat_member(w, i);
}

static void run_coordinator(struct world *w)
{
    struct node at = { .kind = NODE_COORDINATOR, .life = w->hosts[0].life };

    if (!w->coordinator || psd_coordinator_next_tick(w->coordinator) > w->now_ns)
        return;
    psd_coordinator_tick(w->coordinator, w->now_ns, &w->out);
    post_coordinator(w, &at);
}

void world_run(struct world *w, uint64_t now_ns)
{
    if (w->now_ns < now_ns)
        w->now_ns = now_ns;
    if (w->n_flights && w->flights[0].at_ns <= w->now_ns) {
        deliver(w);
        return;
    }
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++)
        run_seat(w, i);
    for (uint32_t i = 0; i < PLAN_HOSTS; i++)
        run_host(w, i);
    run_coordinator(w);
}

/* ---- coming and going ----------------------------------------------------------- */

ps_status world_seat(struct world *w, uint32_t i, bool observer)
{
    struct seat              *s = &w->seats[i];
    struct psw_client_options o = { .job = w->plan->job,
                                    .coordinator = "coordinator",
                                    .token = "",
                                    .rank = observer ? 0 : i,
                                    .observer = observer,
                                    .pid = 100 + w->lives,
                                    .host = "worker",
                                    .wait_ms = WAIT_MS,
                                    .first_request = 1 + ((uint64_t)w->lives << 32) };
    ps_status                 st = psw_client_new(&s->client, &o);

    if (st)
        return st;
    s->life = ++w->lives;
    s->beat_ns = w->now_ns + BEAT_NS;
    return PS_OK;
}

void world_unseat(struct world *w, uint32_t i)
{
    psw_client_free(&w->seats[i].client);
    w->seats[i].life = 0;
}

static ps_status open_coordinator(struct world *w)
{
    struct psd_coordinator_options o = {
        .server_epoch = 1 + world_draw(w, UINT64_MAX - 1),
        .random_seed = world_draw(w, UINT64_MAX),
        .worker_silence_ns = SILENCE_NS,
        .shard_timeout_ns = SHARD_TIMEOUT_NS,
        .recovery_wait_ns = RECOVERY_WAIT_NS,
        .keep_finished = 4,
        .max_jobs = 4,
        .token = "",
        .endpoint = "coordinator",
    };
    const struct host   *host = &w->hosts[0];
    char                 names[PLAN_SHARDS][PS_ENDPOINT_BYTES];
    const char          *endpoints[PLAN_SHARDS];
    uint32_t             first;
    const struct ps_buf *memory = host->disk.memory;
    ps_status            st = psd_coordinator_new(&w->coordinator, &o);

    if (!st && memory)
        st = psd_coordinator_restore(w->coordinator, w->now_ns, memory->data,
                                     memory->len);
    if (st)
        return st;
    for (uint32_t s = 0; s < host->n_shards; s++) {
        struct node n = shard_at(w, 0, s);

        name_shard(w, &n, names[s]);
        endpoints[s] = names[s];
    }
    return psd_coordinator_add_shards(w->coordinator, w->now_ns, endpoints,
                                      host->n_shards, host->control, "host 0",
                                      host->life, &first);
}

static ps_status open_host(struct world *w, uint32_t i)
{
    struct host             *h = &w->hosts[i];
    struct psd_shard_options o = { .control = 1000 + w->lives,
                                   .backend = &psd_backend_cpu,
                                   .can_save = true };
    ps_status                st = PS_OK;

    world_say(w, "host %u starts", i);
    *h = (struct host){ .life = ++w->lives,
                        .control = o.control,
                        .beat_ns = w->now_ns,
                        .cut_ns = h->cut_ns,
                        .disk = h->disk };
    for (uint32_t s = 0; !st && s < w->plan->shards[i]; s++) {
        st = psd_shard_new(&h->shards[s], &o);
        h->n_shards += !st;
        w->version[i][s] = 0;
    }
    return st || i > 0 ? st : open_coordinator(w);
}

static void close_host(struct world *w, uint32_t i)
{
    struct host *h = &w->hosts[i];

    if (i == 0)
        psd_coordinator_free(&w->coordinator);
    for (uint32_t s = 0; s < h->n_shards; s++)
        psd_shard_free(&h->shards[s]);
    h->n_shards = h->life = 0;
    h->disk.dead = false;
}

void world_kill(struct world *w, uint32_t i, uint64_t back_ns)
{
    if (!w->hosts[i].life)
        return;
    world_say(w, "host %u is killed", i);
    close_host(w, i);
    disk_crash(&w->hosts[i].disk, world_draw(w, 2));
    w->hosts[i].back_ns = back_ns;
}

void world_break_disk(struct world *w, uint32_t i, uint64_t until_ns)
{
    w->hosts[i].disk.fail_ns = until_ns;
    w->hosts[i].disk.strikes = true;
}

/* That it has started is the first thing that a psd writes. */
static void start_host(struct world *w, uint32_t i)
{
    struct host *h = &w->hosts[i];

    if (write_fails(w, &h->disk)) {
        world_say(w, "host %u: its disk fails still", i);
        h->back_ns = w->now_ns + RESTART_NS + world_draw(w, PLAN_SECOND);
    } else if (open_host(w, i)) {
        world_wrong(w, "simulator: %s", ps_log_last_error());
    }
}

/* Its disk is exchanged in the time that the fault takes, with what is on it, or it is
 * started again on the same one at once. */
static void end_host(struct world *w, uint32_t i)
{
    struct host     *h = &w->hosts[i];
    struct node      at = { .kind = NODE_MEMBER, .host = (uint8_t)i, .life = h->life };
    struct ps_route  to = { .kind = PS_ROUTE_COORDINATOR };
    struct ps_header part = { .kind = PS_MSG_PART,
                              .request = w->now_ns,
                              .session = h->control,
                              .name = "",
                              .token = "",
                              .text = "" };

    world_say(w, "host %u ends", i);
    if (h->joined && ps_wire_send(&w->out, &to, &part, NULL, 0))
        world_wrong(w, "simulator: %s", ps_log_last_error());
    post(w, &at);
    close_host(w, i);
    disk_crash(&h->disk, false);
    h->back_ns = w->now_ns + RESTART_NS + world_draw(w, PLAN_SECOND);
    if (h->disk.fail_ns > h->back_ns && world_draw(w, 2)) {
        h->back_ns = h->disk.fail_ns;
        h->disk.fail_ns = 0;
    }
}

ps_status world_open(struct world *w, const struct plan *plan, FILE *trace)
{
    ps_status st;

    *w = (struct world){ .plan = plan, .now_ns = 1, .trace = trace };
    st = ps_decoder_new(&w->decoder);
    for (uint32_t i = 0; !st && i < plan->hosts; i++)
        st = open_host(w, i);
    return st;
}

void world_close(struct world *w)
{
    for (uint32_t i = 0; i < WORLD_CLIENTS; i++)
        world_unseat(w, i);
    for (uint32_t i = 0; i < PLAN_HOSTS; i++) {
        close_host(w, i);
        disk_free(&w->hosts[i].disk);
    }
    for (size_t i = 0; i < w->n_flights; i++)
        ps_parcel_drop(&w->flights[i].parcel);
    ps_decoder_free(&w->decoder);
    ps_outbox_free(&w->out);
    free(w->flights);
}
