/* world.c - see world.h. */
#include "tests/sim/world.h"

#include "common/base/random.h"
#include "server/compute/backend.h"
#include "tests/sim/mail.h"
#include "tests/sim/receive.h"
#include "tests/sim/saved.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define STREAM 18u
#define BEAT_NS PLAN_SECOND
#define SILENCE_NS (12 * PLAN_SECOND)
#define SHARD_TIMEOUT_NS (10 * PLAN_SECOND)
#define WAIT_MS 20000u
#define RECOVERY_WAIT_NS (5 * PLAN_SECOND)
#define RESTART_NS (PLAN_SECOND / 10) /* and is started again */

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
uint64_t world_life(const struct world *w, uint64_t epoch)
{
    for (size_t i = 0; i < w->n_seen; i++)
        if (w->seen[i].epoch == epoch)
            return w->seen[i].life;
    return 0;
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

    mail_post(w, &from);
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
    mail_post(w, &from);
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
        struct node n = mail_shard(w, i, s);

        mail_name_shard(w, &n, names[s]);
        endpoints[s] = names[s];
    }
    if (!host->joined) {
        h.n_endpoints = host->n_shards;
        h.endpoints = endpoints;
        h.pid = host->life;
    }
    if (ps_wire_send(&w->out, &to, &h, NULL, 0))
        world_wrong(w, "simulator: %s", ps_log_last_error());
    mail_post(w, &from);
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
    uint64_t next = w->flights.n ? w->flights.heap[0].at_ns : WORLD_NEVER;

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
    saved_run(w, i);
    for (uint32_t s = 0; s < h->n_shards; s++) {
        struct node at = mail_shard(w, i, s);

        if (psd_shard_next_tick(h->shards[s]) > w->now_ns)
            continue;
        psd_shard_tick(h->shards[s], w->now_ns, &w->out);
        saved_post_shard(w, &at);
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
    saved_post_coordinator(w, &at);
}

void world_run(struct world *w, uint64_t now_ns)
{
    if (w->now_ns < now_ns)
        w->now_ns = now_ns;
    if (w->flights.n && w->flights.heap[0].at_ns <= w->now_ns) {
        receive_next(w);
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
                                    .window = w->plan->window,
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
        struct node n = mail_shard(w, 0, s);

        mail_name_shard(w, &n, names[s]);
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

    if (saved_fails(w, &h->disk)) {
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
    mail_post(w, &at);
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
    while (w->flights.n > 0) {
        struct flight f = mail_land(w);

        ps_parcel_drop(&f.parcel);
    }
    ps_decoder_free(&w->decoder);
    ps_outbox_free(&w->out);
    queue_free(&w->flights);
}
