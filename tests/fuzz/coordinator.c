/*
 * coordinator.c - a coordinator that gets whatever workers, tools, shards and joining
 * psds send.
 *
 * The input is a list of steps: messages of four peers and of the shards, answers to
 * what shards were asked, time.  Session numbers below 16 stand for the secrets that
 * peers were told.
 *
 * Everything that leaves is well formed, an answer is never answered, and whatever has
 * happened, the status is JSON and whoever asks for it gets it.
 */
#include "tests/fuzz/fuzz.h"

#include "server/coordinator/coordinator.h"

#include <jansson.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define CONTROL 200u
#define N_SHARDS 2u
#define PEERS 4u
#define SECRETS 16u
#define STEPS_MAX 200u
#define ASKED_MAX 64u
#define LAST_REQUEST UINT64_C(0x7777777777)

static struct psd_coordinator *coordinator;
static struct ps_outbox        out;
static uint64_t                now;
static uint64_t                secrets[SECRETS];
static unsigned                n_secrets;

/* What shards were asked and have not answered. */
static struct asked {
    uint16_t shard;
    uint32_t kind;
    uint64_t request;
} asked[ASKED_MAX];
static unsigned n_asked;

static bool answered_status; /* LAST_REQUEST, with JSON */

static void check_status(const struct ps_parcel *p)
{
    json_error_t error;
    json_t      *status;

    fuzz_require(p->n_frames == 1);
    status = json_loadb((const char *)p->frames[0]->data, p->frames[0]->len, 0, &error);
    fuzz_require(status != NULL);
    json_decref(status);
}

static void look_at(const struct ps_parcel *p)
{
    const struct ps_header *h = fuzz_sent(p);

    if (h->kind == PS_MSG_STATUS_OK) {
        check_status(p);
        answered_status |= h->request == LAST_REQUEST;
    }
    if (p->route.kind == PS_ROUTE_SHARD) {
        fuzz_require(p->route.index < psd_coordinator_n_shards(coordinator));
        if (n_asked < ASKED_MAX)
            asked[n_asked++] = (struct asked){ p->route.index, h->kind, h->request };
    } else if (h->session != 0 && n_secrets < SECRETS) {
        secrets[n_secrets++] = h->session;
    }
}

static size_t look(void)
{
    size_t n = out.n;

    for (size_t i = 0; i < out.n; i++)
        look_at(&out.parcels[i]);
    ps_outbox_clear(&out);
    return n;
}

static void give(struct ps_parcel *p)
{
    psd_coordinator_handle(coordinator, now, p, &out);
    fuzz_require(p->head == NULL && p->n_frames == 0);
    look();
}

static void send_message(struct fuzz_input *in, bool from_shard)
{
    struct fuzz_message m;
    struct ps_parcel    p;
    struct ps_route     route = { .kind = PS_ROUTE_PEER, .bytes = 1 };

    if (from_shard)
        route = (struct ps_route){ .kind = PS_ROUTE_SHARD,
                                   .index = fuzz_byte(in) % (N_SHARDS + 1) };
    else
        route.id[0] = fuzz_byte(in) % PEERS;
    fuzz_message(in, &m);
    if (m.h.session < n_secrets)
        m.h.session = secrets[m.h.session];
    if (fuzz_pack(&m, &route, &p))
        give(&p);
}

/* The shard that was asked last but `back` answers as it should, or that it cannot. */
static void shard_answers(uint8_t back, bool refuses)
{
    struct asked        a;
    struct ps_job_stats stats[2] = { { .skipped = 1 }, { .job = 1, .pushes = 5 } };
    struct ps_header    h = { .kind = PS_MSG_OK };
    struct ps_parcel    p = { .route = { .kind = PS_ROUTE_SHARD } };

    if (back >= n_asked)
        return;
    a = asked[n_asked - 1 - back];
    asked[n_asked - 1 - back] = asked[n_asked - 1];
    n_asked--;
    p.route.index = a.shard;
    h.request = a.request;
    if (a.kind == PS_MSG_STATS) {
        h.kind = PS_MSG_STATS_OK;
        h.n_job_stats = 2;
        h.job_stats = stats;
    }
    if (refuses) {
        h.kind = PS_MSG_ERROR;
        h.status = PS_ERR_NO_MEMORY;
        h.text = "shard: no memory";
    }
    fuzz_require(ps_wire_encode(&h, &p.head) == PS_OK);
    give(&p);
}

static void pass_time(uint64_t seconds)
{
    for (uint64_t i = 0; i < seconds; i++) {
        now += SECOND;
        psd_coordinator_tick(coordinator, now, &out);
        look();
    }
}

/* Shards answer or are lost: then the status is complete. */
static void ask_status(void)
{
    struct ps_header h = { .kind = PS_MSG_STATUS,
                           .request = LAST_REQUEST,
                           .token = "secret" };
    struct ps_parcel p = { .route = {
                               .kind = PS_ROUTE_PEER, .bytes = 1, .id = { 9 } } };

    answered_status = false;
    fuzz_require(ps_wire_encode(&h, &p.head) == PS_OK);
    give(&p);
    pass_time(30);
    fuzz_require(answered_status);
}

/* Two that answer each other must come to an end. */
static void answer_an_answer(void)
{
    struct ps_header h = {
        .kind = PS_MSG_ERROR, .request = 1, .status = -1, .text = ""
    };
    struct ps_parcel p = { .route = { .kind = PS_ROUTE_PEER, .bytes = 1 } };

    fuzz_require(ps_wire_encode(&h, &p.head) == PS_OK);
    psd_coordinator_handle(coordinator, now, &p, &out);
    for (size_t i = 0; i < out.n; i++)
        fuzz_require(out.parcels[i].route.kind == PS_ROUTE_SHARD);
    look();
}

static void step(struct fuzz_input *in)
{
    switch (fuzz_byte(in)) {
    case 't': pass_time(fuzz_number(in) % 40); break;
    case 's': send_message(in, true); break;
    case 'a': shard_answers(fuzz_byte(in), false); break;
    case 'r': shard_answers(fuzz_byte(in), true); break;
    default: send_message(in, false); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char *const       endpoints[] = { "ipc://one", "ipc://two" };
    struct fuzz_input              in = { bytes, n_bytes };
    uint32_t                       first;
    struct psd_coordinator_options options = {
        .server_epoch = 5,
        .random_seed = 1,
        .worker_silence_ns = 15 * SECOND,
        .shard_timeout_ns = 10 * SECOND,
        .keep_finished = 2,
        .max_jobs = 3,
        .token = fuzz_byte(&in) & 1 ? "secret" : "",
        .endpoint = "ipc://here",
    };

    fuzz_listen();
    now = SECOND;
    n_secrets = n_asked = 0;
    fuzz_require(psd_coordinator_new(&coordinator, &options) == PS_OK);
    fuzz_require(psd_coordinator_add_shards(coordinator, now, endpoints, N_SHARDS,
                                            CONTROL, "here", 1, &first) == PS_OK);
    for (unsigned n = 0; in.left > 0 && n < STEPS_MAX; n++)
        step(&in);
    answer_an_answer();
    ask_status();
    psd_coordinator_close(coordinator, "the end of the input", &out);
    look();
    ps_outbox_free(&out);
    psd_coordinator_free(&coordinator);
    return 0;
}
