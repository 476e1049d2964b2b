/* The wire, without a network: headers to bytes and back, and bytes that are no header.
 */
#include "common/wire/wire.h"
#include "common/base/random.h"
#include "common/wire/arena.h"
#include "tests/unit/suite.h"

#include <math.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const uint32_t kinds[] = {
    PS_MSG_ERROR,    PS_MSG_NOTICE,     PS_MSG_OK,        PS_MSG_HELLO,
    PS_MSG_WELCOME,  PS_MSG_MATRIX,     PS_MSG_MATRIX_OK, PS_MSG_LIST,
    PS_MSG_LIST_OK,  PS_MSG_REPORT,     PS_MSG_BEAT,      PS_MSG_BYE,
    PS_MSG_STATUS,   PS_MSG_STATUS_OK,  PS_MSG_WATCH,     PS_MSG_WATCH_OK,
    PS_MSG_JOIN,     PS_MSG_JOIN_OK,    PS_MSG_PART,      PS_MSG_JOB,
    PS_MSG_JOB_END,  PS_MSG_MATRIX_ADD, PS_MSG_MEMBERS,   PS_MSG_STATS,
    PS_MSG_STATS_OK, PS_MSG_PUSH,       PS_MSG_PUSH_OK,   PS_MSG_PULL,
    PS_MSG_PULL_OK,
};

static struct ps_decoder *decoder;
static struct ps_buf     *bytes;

static void a_decoder(void)
{
    ck_assert_ok(ps_decoder_new(&decoder));
}

static void no_decoder(void)
{
    ps_buf_drop(&bytes);
    ps_decoder_free(&decoder);
    ck_assert_ptr_null(decoder);
}

/* ---- a header with everything in it -------------------------------------------- */

static struct ps_job_spec    job;
static struct ps_matrix_spec matrices[2];
static struct ps_range       ranges[3] = { { 1, 0, 400 },
                                           { 2, 70000, 1 },
                                           { 3, UINT64_MAX - 5, 5 } };
static struct ps_slot_run    runs[2] = { { 0, 3 }, { 255, 4093 } };
static struct ps_member members[4] = { { 0, 1, PS_MEMBER_ACTIVE, UINT64_MAX, 5, 6 },
                                       { 4095, 0, PS_MEMBER_EXPECTED, 0, 0, 0 },
                                       { 2, 7, PS_MEMBER_LOST, 3, 0, 0 },
                                       { UINT32_MAX, 1, PS_MEMBER_ACTIVE, 9, 0, 0 } };
static const char      *endpoints[2] = { "tcp://127.0.0.1:5570", "ipc:///run/a b" };
static struct ps_report_record records[2] = { { 1, 2, 3, 4, "train/loss", -0.0 },
                                              { UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                                UINT32_MAX, "a", 0x1p-1074 } };
static struct ps_traffic       traffic = { 1, 2, 3, 4, 5, 6, 7, UINT64_MAX };
static struct ps_job_stats stats[2] = { { 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                          12, 13, 14, 15, 16, 17, 18, 19, 20, 21 },
                                        { .job = UINT32_MAX } };
static struct ps_part      sets[2] = { { 0, 1, 0, 1 }, { 255, 256, UINT64_MAX, 7 } };

static void some_specs(void)
{
    job = ps_job_spec_default();
    strcpy(job.name, "lenet");
    job.workers = 4096;
    job.seed = UINT64_MAX;
    job.clocks_per_epoch = 937;
    job.nfetch = 4;
    job.npush = 5;
    job.local = PS_LOCAL_SAME;
    job.average = PS_AVERAGE_MODEL;
    job.lambda = 0.1;
    job.strategy = PS_ASP;
    job.ack = PS_ACK_DURABLE;
    job.snapshot_every = 50;
    job.snapshot_ms = 2000;
    job.optimiser = ps_optimiser_spec_default(PS_ADAMW);
    job.optimiser.lr = 0.1;
    job.optimiser.momentum = -0.0;
    job.optimiser.ftrl_l1 = 0x1p-1074;
    job.optimiser.schedule =
        (struct ps_schedule_spec){ PS_LR_COSINE, 0.95, 1.0 / 3.0, 12, 34, true };
    matrices[0] = (struct ps_matrix_spec){ .name = "fc3.weight",
                                           .number = 7,
                                           .dtype = PS_F32,
                                           .rows = 784,
                                           .cols = 128,
                                           .init = PS_INIT_NORMAL,
                                           .init_a = -0.0,
                                           .init_b = 0.1,
                                           .optimiser = PS_ADAGRAD,
                                           .weight_decay = NAN };
    matrices[1] = (struct ps_matrix_spec){ .name = "embedding",
                                           .dtype = PS_I64,
                                           .sparse = true,
                                           .cols = 64,
                                           .optimiser = PS_ADD,
                                           .weight_decay = 0.5,
                                           .max_rows = 1000,
                                           .evict = PS_EVICT_LRU };
}

static struct ps_header full(uint32_t kind)
{
    bool one =
        kind == PS_MSG_MATRIX || kind == PS_MSG_MATRIX_OK || kind == PS_MSG_MATRIX_ADD;

    some_specs();
    return (struct ps_header){
        .kind = kind,
        .request = 77,
        .status = PS_ERR_SHAPE,
        .flags = kind == PS_MSG_PUSH ? PS_FLAG_FINISH | PS_FLAG_PULL : 0,
        .job = 3,
        .session = UINT64_MAX - 1,
        .rank = 1,
        .incarnation = 2,
        .server_epoch = 0x0123456789abcdef,
        .membership_epoch = 5,
        .map_epoch = 6,
        .seq = 12,
        .clock = UINT64_MAX,
        .epochs = 3,
        .version = 1000,
        .parts = 8,
        .batches = 4,
        .weight = 0.1,
        .after = 33,
        .wait_ms = 35,
        .index = 255,
        .n_shards = 256,
        .pid = 4711,
        .run = UINT64_MAX - 7,
        .text = "matrix fc1: push of 12 elements, expected 10 \xe2\x80\x94 so",
        .name = "lenet",
        .token = "pass word",
        .job_spec = &job,
        .n_matrices = one ? 1 : 2,
        .matrices = matrices,
        .n_ranges = COUNT(ranges),
        .ranges = ranges,
        .n_slot_runs = COUNT(runs),
        .slot_runs = runs,
        .n_members = COUNT(members),
        .members = members,
        .n_endpoints = COUNT(endpoints),
        .endpoints = endpoints,
        .n_reports = COUNT(records),
        .reports = records,
        .traffic = &traffic,
        .n_job_stats = COUNT(stats),
        .job_stats = stats,
        .n_sets = COUNT(sets),
        .sets = sets,
    };
}

/* A header that a worker might send a thousand times a second. */
static struct ps_header a_push(void)
{
    return (struct ps_header){ .kind = PS_MSG_PUSH,
                               .request = 1,
                               .job = 1,
                               .session = 0x1122334455667788,
                               .incarnation = 1,
                               .server_epoch = 0x0102030405060708,
                               .seq = 1,
                               .clock = 1,
                               .flags = PS_FLAG_FINISH,
                               .weight = 1.0,
                               .parts = 1,
                               .n_ranges = 2,
                               .ranges = ranges };
}

static void encode(const struct ps_header *h)
{
    ps_buf_drop(&bytes);
    ck_assert_ok(ps_wire_encode(h, &bytes));
    ck_assert_uint_le(bytes->len, PS_HEADER_BYTES);
}

static ps_status decode(struct ps_header *h)
{
    return ps_wire_decode(decoder, bytes->data, bytes->len, h);
}

/* ---- sameness, bit for bit ----------------------------------------------------- */

#define ck_assert_bits(a, b) ck_assert_mem_eq(&(a), &(b), sizeof(a))

static void assert_same_job(const struct ps_job_spec *a, const struct ps_job_spec *b)
{
    const struct ps_optimiser_spec *x = &a->optimiser, *y = &b->optimiser;

    ck_assert_str_eq(a->name, b->name);
    ck_assert_uint_eq(a->workers, b->workers);
    ck_assert_uint_eq(a->strategy, b->strategy);
    ck_assert_uint_eq(a->spares, b->spares);
    ck_assert_uint_eq(a->slack, b->slack);
    ck_assert_uint_eq(a->scale, b->scale);
    ck_assert_uint_eq(a->nfetch, b->nfetch);
    ck_assert_uint_eq(a->npush, b->npush);
    ck_assert_uint_eq(a->local, b->local);
    ck_assert_uint_eq(a->average, b->average);
    ck_assert_bits(a->lambda, b->lambda);
    ck_assert_uint_eq(a->ack, b->ack);
    ck_assert_uint_eq(a->snapshot_every, b->snapshot_every);
    ck_assert_uint_eq(a->snapshot_ms, b->snapshot_ms);
    ck_assert_uint_eq(a->max_rollback, b->max_rollback);
    ck_assert_uint_eq(a->aggregate, b->aggregate);
    ck_assert_uint_eq(a->on_loss, b->on_loss);
    ck_assert_uint_eq(a->nonfinite, b->nonfinite);
    ck_assert_uint_eq(a->seed, b->seed);
    ck_assert_uint_eq(a->clocks_per_epoch, b->clocks_per_epoch);
    ck_assert_uint_eq(x->kind, y->kind);
    ck_assert_mem_eq(&x->lr, &y->lr,
                     offsetof(struct ps_optimiser_spec, schedule) -
                         offsetof(struct ps_optimiser_spec, lr));
    ck_assert_uint_eq(x->schedule.kind, y->schedule.kind);
    ck_assert_bits(x->schedule.factor, y->schedule.factor);
    ck_assert_bits(x->schedule.floor, y->schedule.floor);
    ck_assert_uint_eq(x->schedule.every, y->schedule.every);
    ck_assert_uint_eq(x->schedule.warmup, y->schedule.warmup);
    ck_assert(x->schedule.epochs == y->schedule.epochs);
}

static void assert_same_matrix(const struct ps_matrix_spec *a,
                               const struct ps_matrix_spec *b)
{
    ck_assert_str_eq(a->name, b->name);
    ck_assert_uint_eq(a->number, b->number);
    ck_assert_uint_eq(a->dtype, b->dtype);
    ck_assert(a->sparse == b->sparse);
    ck_assert_uint_eq(a->rows, b->rows);
    ck_assert_uint_eq(a->cols, b->cols);
    ck_assert_uint_eq(a->init, b->init);
    ck_assert_bits(a->init_a, b->init_a);
    ck_assert_bits(a->init_b, b->init_b);
    ck_assert_uint_eq(a->optimiser, b->optimiser);
    ck_assert_bits(a->weight_decay, b->weight_decay);
    ck_assert_uint_eq(a->max_rows, b->max_rows);
    ck_assert_uint_eq(a->evict, b->evict);
}

static void assert_same_plain(const struct ps_header *a, const struct ps_header *b)
{
    ck_assert_uint_eq(a->kind, b->kind);
    ck_assert_uint_eq(a->request, b->request);
    ck_assert_int_eq(a->status, b->status);
    ck_assert_uint_eq(a->flags, b->flags);
    ck_assert_uint_eq(a->job, b->job);
    ck_assert_uint_eq(a->session, b->session);
    ck_assert_uint_eq(a->rank, b->rank);
    ck_assert_uint_eq(a->incarnation, b->incarnation);
    ck_assert_uint_eq(a->server_epoch, b->server_epoch);
    ck_assert_uint_eq(a->membership_epoch, b->membership_epoch);
    ck_assert_uint_eq(a->map_epoch, b->map_epoch);
    ck_assert_uint_eq(a->seq, b->seq);
    ck_assert_uint_eq(a->clock, b->clock);
    ck_assert_uint_eq(a->epochs, b->epochs);
    ck_assert_uint_eq(a->version, b->version);
    ck_assert_uint_eq(a->parts, b->parts);
    ck_assert_uint_eq(a->batches, b->batches);
    ck_assert_double_eq(a->weight, b->weight);
    ck_assert_uint_eq(a->after, b->after);
    ck_assert_uint_eq(a->wait_ms, b->wait_ms);
    ck_assert_uint_eq(a->index, b->index);
    ck_assert_uint_eq(a->n_shards, b->n_shards);
    ck_assert_uint_eq(a->pid, b->pid);
    ck_assert_uint_eq(a->run, b->run);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static void assert_same_lists(const struct ps_header *a, const struct ps_header *b)
{
    ck_assert_uint_eq(a->n_ranges, b->n_ranges);
    for (uint32_t i = 0; i < a->n_ranges; i++) {
        ck_assert_uint_eq(a->ranges[i].matrix, b->ranges[i].matrix);
        ck_assert_uint_eq(a->ranges[i].first, b->ranges[i].first);
        ck_assert_uint_eq(a->ranges[i].count, b->ranges[i].count);
    }
    ck_assert_uint_eq(a->n_slot_runs, b->n_slot_runs);
    for (uint32_t i = 0; i < a->n_slot_runs; i++) {
        ck_assert_uint_eq(a->slot_runs[i].shard, b->slot_runs[i].shard);
        ck_assert_uint_eq(a->slot_runs[i].n_slots, b->slot_runs[i].n_slots);
    }
    ck_assert_uint_eq(a->n_members, b->n_members);
    for (uint32_t i = 0; i < a->n_members; i++) {
        ck_assert_uint_eq(a->members[i].rank, b->members[i].rank);
        ck_assert_uint_eq(a->members[i].incarnation, b->members[i].incarnation);
        ck_assert_uint_eq(a->members[i].state, b->members[i].state);
        ck_assert_uint_eq(a->members[i].session, b->members[i].session);
        ck_assert_uint_eq(a->members[i].clock, b->members[i].clock);
        ck_assert_uint_eq(a->members[i].epochs, b->members[i].epochs);
    }
    ck_assert_uint_eq(a->n_endpoints, b->n_endpoints);
    for (uint32_t i = 0; i < a->n_endpoints; i++)
        ck_assert_str_eq(a->endpoints[i], b->endpoints[i]);
}

static void assert_same_accounts(const struct ps_header *a, const struct ps_header *b)
{
    ck_assert_uint_eq(a->n_reports, b->n_reports);
    for (uint32_t i = 0; i < a->n_reports; i++) {
        ck_assert_uint_eq(a->reports[i].number, b->reports[i].number);
        ck_assert_uint_eq(a->reports[i].clock, b->reports[i].clock);
        ck_assert_uint_eq(a->reports[i].time_us, b->reports[i].time_us);
        ck_assert_uint_eq(a->reports[i].rank, b->reports[i].rank);
        ck_assert_str_eq(a->reports[i].name, b->reports[i].name);
        ck_assert_bits(a->reports[i].value, b->reports[i].value);
    }
    ck_assert(!a->traffic == !b->traffic);
    if (a->traffic)
        ck_assert_mem_eq(a->traffic, b->traffic, sizeof(*a->traffic));
    ck_assert_uint_eq(a->n_sets, b->n_sets);
    for (uint32_t i = 0; i < a->n_sets; i++) {
        ck_assert_uint_eq(a->sets[i].index, b->sets[i].index);
        ck_assert_uint_eq(a->sets[i].n_shards, b->sets[i].n_shards);
        ck_assert_uint_eq(a->sets[i].set, b->sets[i].set);
        ck_assert_uint_eq(a->sets[i].life, b->sets[i].life);
    }
    ck_assert_uint_eq(a->n_job_stats, b->n_job_stats);
    for (uint32_t i = 0; i < a->n_job_stats; i++) {
        ck_assert_uint_eq(a->job_stats[i].job, b->job_stats[i].job);
        ck_assert_uint_eq(a->job_stats[i].matrix, b->job_stats[i].matrix);
        /* all that follows are u64 without holes */
        ck_assert_mem_eq(&a->job_stats[i].clock, &b->job_stats[i].clock,
                         sizeof(struct ps_job_stats) -
                             offsetof(struct ps_job_stats, clock));
    }
}

static void assert_same(const struct ps_header *a, const struct ps_header *b)
{
    assert_same_plain(a, b);
    ck_assert_str_eq(or_empty(a->text), or_empty(b->text));
    ck_assert_str_eq(or_empty(a->name), or_empty(b->name));
    ck_assert_str_eq(or_empty(a->token), or_empty(b->token));
    ck_assert(!a->job_spec == !b->job_spec);
    if (a->job_spec)
        assert_same_job(a->job_spec, b->job_spec);
    ck_assert_uint_eq(a->n_matrices, b->n_matrices);
    for (uint32_t i = 0; i < a->n_matrices; i++)
        assert_same_matrix(&a->matrices[i], &b->matrices[i]);
    assert_same_lists(a, b);
    assert_same_accounts(a, b);
}

/* ---- there and back ------------------------------------------------------------ */

START_TEST(every_kind_comes_back_as_it_went)
{
    struct ps_header sent = full(kinds[_i]), got;

    encode(&sent);
    ck_assert_ok(decode(&got));
    assert_same(&sent, &got);
}
END_TEST

START_TEST(a_job_that_bounds_its_rollbacks_comes_back_as_it_went)
{
    struct ps_header sent = full(PS_MSG_HELLO), got;

    job.strategy = PS_BSP;
    job.ack = PS_ACK_APPLIED;
    job.snapshot_ms = 0;
    job.max_rollback = UINT64_MAX;
    sent.job_spec = &job;
    encode(&sent);
    ck_assert_ok(decode(&got));
    assert_same(&sent, &got);
}
END_TEST

START_TEST(absent_parts_stay_absent)
{
    struct ps_header sent = { .kind = PS_MSG_OK }, got;

    encode(&sent);
    ck_assert_ok(decode(&got));
    assert_same(&sent, &got);
    ck_assert_str_eq(got.text, "");
    ck_assert_str_eq(got.name, "");
    ck_assert_str_eq(got.token, "");
    ck_assert_ptr_null(got.job_spec);
    ck_assert_ptr_null(got.traffic);
}
END_TEST

/* The bytes of protocol 1.  If this fails, the protocol has changed. */
START_TEST(the_bytes_of_a_push_are_fixed)
{
    static const uint8_t expected[] = {
        0x08, 0x01,                                           /* protocol */
        0x10, 0x32,                                           /* kind */
        0x18, 0x01,                                           /* request */
        0x20, 0x01,                                           /* job */
        0x29, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* session */
        0x38, 0x01,                                           /* incarnation */
        0x41, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* server_epoch */
        0x48, 0x01,                                           /* seq */
        0x50, 0x01,                                           /* clock */
        0x58, 0x01,                                           /* flags */
        0x61, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0x3f, /* weight */
        0x6a, 0x02, 0x01, 0x02,                               /* range_matrix */
        0x72, 0x04, 0x00, 0xf0, 0xa2, 0x04,                   /* range_first */
        0x7a, 0x03, 0x90, 0x03, 0x01,                         /* range_count */
        0x80, 0x01, 0x01,                                     /* parts */
    };
    struct ps_header push = a_push();

    encode(&push);
    ck_assert_uint_eq(bytes->len, sizeof(expected));
    ck_assert_mem_eq(bytes->data, expected, sizeof(expected));
}
END_TEST

START_TEST(a_warm_decoder_asks_for_no_memory)
{
    struct ps_header h;
    uint64_t         grown = 0;

    for (int round = 0; round < 10; round++) {
        if (round == 2)
            grown = ps_decoder_grown(decoder);
        for (size_t i = 0; i < COUNT(kinds); i++) {
            struct ps_header sent = full(kinds[i]);

            encode(&sent);
            ck_assert_ok(decode(&h));
        }
    }
    ck_assert_uint_eq(ps_decoder_grown(decoder), grown);
}
END_TEST

START_TEST(a_decoder_grows_once_for_a_large_message)
{
    struct ps_member *many = calloc(800, sizeof(*many));
    struct ps_header  sent = { .kind = PS_MSG_MEMBERS,
                               .n_members = 800,
                               .members = many },
                     got;
    uint64_t grown;

    for (uint32_t i = 0; i < 800; i++)
        many[i] = (struct ps_member){ i, 1, PS_MEMBER_ACTIVE, UINT64_MAX - i, 0, 0 };
    encode(&sent);
    for (int round = 0; round < 3; round++) {
        ck_assert_ok(decode(&got));
        assert_same(&sent, &got);
        if (round == 1)
            grown = ps_decoder_grown(decoder);
    }
    ck_assert_uint_eq(ps_decoder_grown(decoder), grown);
    free(many);
}
END_TEST

START_TEST(as_many_ranges_as_a_request_may_have)
{
    struct ps_range  many[PS_RANGES_MAX];
    struct ps_header sent = a_push(), got;

    for (uint32_t i = 0; i < PS_RANGES_MAX; i++)
        many[i] =
            (struct ps_range){ UINT32_MAX - i, UINT64_MAX / 2 - i, UINT64_MAX / 2 };
    sent.n_ranges = PS_RANGES_MAX;
    sent.ranges = many;
    encode(&sent);
    ck_assert_ok(decode(&got));
    assert_same(&sent, &got);
}
END_TEST

/* ---- bytes that are no header -------------------------------------------------- */

/* Nothing but these three may come of any bytes at all. */
static void assert_survives(const uint8_t *data, size_t n)
{
    struct ps_header h, again;
    ps_status        st = ps_wire_decode(decoder, data, n, &h);

    if (st != PS_OK) {
        ck_assert_msg(st == PS_ERR_BAD_MESSAGE || st == PS_ERR_PROTOCOL, "%s",
                      ps_status_text(st));
        ck_assert_uint_eq(h.n_ranges, 0);
        ck_assert_ptr_null(h.job_spec);
        ck_assert_str_eq(h.text, "");
        return;
    }
    /* What is accepted is sane enough to be sent on. */
    ps_buf_drop(&bytes);
    ck_assert_ok(ps_wire_encode(&h, &bytes));
    ck_assert_ok(ps_wire_decode(decoder, bytes->data, bytes->len, &again));
}

START_TEST(a_header_cut_short_anywhere_does_no_harm)
{
    struct ps_header sent = full(kinds[_i]);
    struct ps_buf   *whole;

    ck_assert_ok(ps_wire_encode(&sent, &whole));
    for (size_t n = 0; n < whole->len; n++) {
        uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees the edge */

        memcpy(exact + 1, whole->data, n);
        assert_survives(exact + 1, n);
        free(exact);
    }
    ps_buf_drop(&whole);
}
END_TEST

#define MUTATIONS 20000u

static uint64_t die(uint64_t *index, uint64_t sides)
{
    return ps_random_below(20240229, 1, (*index)++, sides);
}

/* One to four changes: a bit, a byte, a piece taken out, a piece doubled. */
static size_t mutate(uint8_t *data, size_t n, size_t room, uint64_t *index)
{
    uint64_t changes = 1 + die(index, 4);

    for (uint64_t i = 0; i < changes && n > 0; i++) {
        size_t at = die(index, n), len = 1 + die(index, n - at);

        switch (die(index, 4)) {
        case 0: data[at] ^= (uint8_t)(1u << die(index, 8)); break;
        case 1: data[at] = (uint8_t)die(index, 256); break;
        case 2:
            memmove(data + at, data + at + len, n - at - len);
            n -= len;
            break;
        case 3:
            if (n + len > room)
                break;
            memmove(data + at + len, data + at, n - at);
            n += len;
            break;
        }
    }
    return n;
}

START_TEST(twenty_thousand_damaged_headers_do_no_harm)
{
    uint8_t *data = malloc(PS_HEADER_BYTES);
    uint64_t index = 0;

    for (uint32_t i = 0; i < MUTATIONS; i++) {
        struct ps_header sent = i % 2 ? a_push() : full(kinds[i / 2 % COUNT(kinds)]);
        size_t           n;

        encode(&sent);
        memcpy(data, bytes->data, bytes->len);
        n = mutate(data, bytes->len, PS_HEADER_BYTES, &index);
        assert_survives(data, n);
    }
    free(data);
}
END_TEST

START_TEST(garbage_does_no_harm)
{
    uint8_t  data[512];
    uint64_t index = 0;

    for (int i = 0; i < 5000; i++) {
        size_t n = die(&index, sizeof(data));

        for (size_t b = 0; b < n; b++)
            data[b] = (uint8_t)die(&index, 256);
        assert_survives(data, n);
    }
}
END_TEST

START_TEST(nothing_is_no_header)
{
    struct ps_header h;

    ck_assert_status(ps_wire_decode(decoder, "", 0, &h), PS_ERR_BAD_MESSAGE);
    ck_assert_why("no protocol version, expected 1");
}
END_TEST

START_TEST(text_is_no_header)
{
    static const char http[] = "GET / HTTP/1.1\r\n\r\n";
    struct ps_header  h;

    ck_assert_status(ps_wire_decode(decoder, http, sizeof(http) - 1, &h),
                     PS_ERR_BAD_MESSAGE);
    ck_assert_why("header of 18 bytes cannot be parsed");
}
END_TEST

START_TEST(an_oversized_header_is_not_even_parsed)
{
    uint8_t         *data = calloc(1, PS_HEADER_BYTES + 1);
    struct ps_header h;

    ck_assert_status(ps_wire_decode(decoder, data, PS_HEADER_BYTES + 1, &h),
                     PS_ERR_BAD_MESSAGE);
    ck_assert_why("header of 16385 bytes, expected at most 16384");
    free(data);
}
END_TEST

/* 8000 empty job specs or members in one header: each costs two bytes to send. */
START_TEST(a_header_of_empty_parts_gets_no_endless_memory)
{
    static const uint8_t tags[][3] = { { 0xe2, 0x01, 0 }, { 0xfa, 0x01, 0 } };
    uint8_t             *data = malloc(PS_HEADER_BYTES);
    struct ps_header     h;

    for (size_t i = 0; i + 3 <= PS_HEADER_BYTES; i += 3)
        memcpy(data + i, tags[_i], 3);
    ck_assert_status(ps_wire_decode(decoder, data, PS_HEADER_BYTES / 3 * 3, &h),
                     PS_ERR_BAD_MESSAGE);
    free(data);
}
END_TEST

START_TEST(an_arena_gives_out_a_mebibyte_and_no_more)
{
    struct ps_arena arena = { 0 };
    size_t          pieces = 0;

    ck_assert_ptr_null(ps_arena_get(&arena, SIZE_MAX));
    ck_assert_ptr_null(ps_arena_get(&arena, PS_ARENA_MAX + 1));
    while (ps_arena_get(&arena, 1000))
        pieces++;
    ck_assert_uint_eq(pieces, PS_ARENA_MAX / 1008); /* in units of 16 bytes */
    ps_arena_reset(&arena);
    ck_assert_ptr_nonnull(ps_arena_get(&arena, PS_ARENA_MAX / 2));
    ps_arena_free(&arena);
}
END_TEST

static void append(const void *more, size_t n)
{
    struct ps_buf *longer;

    ck_assert_ok(ps_buf_new(&longer, bytes->len + n));
    memcpy(longer->data, bytes->data, bytes->len);
    memcpy(longer->data + bytes->len, more, n);
    longer->len = bytes->len + n;
    ps_buf_drop(&bytes);
    bytes = longer;
}

START_TEST(another_version_can_be_answered)
{
    static const uint8_t version_2[] = { 0x08, 0x02 }; /* the last one counts */
    struct ps_header     sent = a_push(), got;

    sent.request = 4242;
    encode(&sent);
    append(version_2, sizeof(version_2));
    ck_assert_status(decode(&got), PS_ERR_PROTOCOL);
    ck_assert_why("protocol version 2, expected 1");
    ck_assert_uint_eq(got.kind, PS_MSG_PUSH);
    ck_assert_uint_eq(got.request, 4242);
    ck_assert_uint_eq(got.session, 0);
}
END_TEST

START_TEST(fields_of_a_newer_peer_are_ignored)
{
    /* field 900 as varint, 901 as bytes, 902 as fixed64 */
    static const uint8_t newer[] = { 0xa0, 0x38, 0x05, 0xaa, 0x38, 0x02, 'h', 'i', 0xb1,
                                     0x38, 1,    2,    3,    4,    5,    6,   7,   8 };
    struct ps_header     sent = full(PS_MSG_HELLO), got;

    encode(&sent);
    append(newer, sizeof(newer));
    ck_assert_ok(decode(&got));
    assert_same(&sent, &got);
}
END_TEST

START_TEST(a_nul_inside_a_text_is_refused)
{
    static const uint8_t token[] = { 0xda, 0x01, 0x03, 'a', 0, 'b' };
    struct ps_header     sent = { .kind = PS_MSG_OK }, got;

    encode(&sent);
    append(token, sizeof(token));
    ck_assert_status(decode(&got), PS_ERR_BAD_MESSAGE);
    ck_assert_why("message ok: token with control character 0x00");
}
END_TEST

START_TEST(ranges_of_unequal_columns_are_refused)
{
    static const uint8_t one_more_first[] = { 0x72, 0x01, 0x07 };
    struct ps_header     sent = a_push(), got;

    encode(&sent);
    append(one_more_first, sizeof(one_more_first));
    ck_assert_status(decode(&got), PS_ERR_BAD_MESSAGE);
    ck_assert_why("message push: ranges with 2 matrices, 3 firsts and 2 counts");
    ck_assert_uint_eq(got.kind, PS_MSG_PUSH);
}
END_TEST

/* ---- every field in its range -------------------------------------------------- */

static struct ps_header        wrong;
static struct ps_range         wrong_ranges[3];
static struct ps_member        wrong_member;
static struct ps_slot_run      wrong_run;
static struct ps_report_record wrong_record;
static struct ps_job_spec      wrong_job;
static struct ps_matrix_spec   wrong_matrix;
static const char             *wrong_endpoint;

static void spoil_kind(void)
{
    wrong.kind = 99;
}
static void spoil_zero_kind(void)
{
    wrong.kind = 0;
}
static void spoil_flags(void)
{
    wrong.flags = PS_FLAG_OBSERVER;
}
static void spoil_new_flag(void)
{
    wrong.flags = 1u << 30;
}
static void spoil_status(void)
{
    wrong.status = 1;
}
static void spoil_far_status(void)
{
    wrong.status = -256;
}
static void spoil_weight(void)
{
    wrong.weight = -1;
}
static void spoil_nan_weight(void)
{
    wrong.weight = NAN;
}
static void spoil_infinite_weight(void)
{
    wrong.weight = INFINITY;
}
static void spoil_seq(void)
{
    wrong.seq = 0;
}
static void spoil_parts(void)
{
    wrong.parts = 0;
}
static void spoil_index(void)
{
    wrong.index = 256;
}
static void spoil_n_shards(void)
{
    wrong.n_shards = 257;
}
static void spoil_count(void)
{
    wrong_ranges[1].count = 0;
}
static void spoil_end(void)
{
    wrong_ranges[2].count = 6;
}
static void spoil_member_rank(void)
{
    wrong_member.rank = 4096;
}
static void spoil_member_state(void)
{
    wrong_member.state = 5;
}
static void spoil_member_zero(void)
{
    wrong_member.state = 0;
}
static void spoil_member_session(void)
{
    wrong_member.session = 0;
}
static void spoil_run_shard(void)
{
    wrong_run.shard = 256;
}
static void spoil_run_slots(void)
{
    wrong_run.n_slots = 0;
}
static void spoil_run_many(void)
{
    wrong_run.n_slots = 4097;
}
static void spoil_metric(void)
{
    strcpy(wrong_record.name, "a\tb");
}
static void spoil_no_metric(void)
{
    wrong_record.name[0] = '\0';
}
static void spoil_lr(void)
{
    wrong_job.optimiser.lr = NAN;
}
static void spoil_strategy(void)
{
    wrong_job.strategy = 99;
}
static void spoil_job_name(void)
{
    strcpy(wrong_job.name, "a/b");
}
static void spoil_dtype(void)
{
    wrong_matrix.dtype = 4;
}
static void spoil_rows(void)
{
    wrong_matrix.rows = UINT64_MAX;
}
static void spoil_matrix_name(void)
{
    wrong_matrix.name[0] = '\0';
}
static void spoil_endpoint(void)
{
    wrong_endpoint = "";
}
static void spoil_long_endpoint(void)
{
    static char endpoint[PS_ENDPOINT_BYTES + 1];

    memset(endpoint, 'a', PS_ENDPOINT_BYTES);
    wrong_endpoint = endpoint;
}
static void spoil_name(void)
{
    wrong.kind = PS_MSG_HELLO, wrong.name = "../x";
}
static void spoil_no_name(void)
{
    wrong.kind = PS_MSG_WATCH, wrong.name = "";
}
static void spoil_no_status(void)
{
    wrong.kind = PS_MSG_ERROR, wrong.status = 0;
}
static void spoil_no_spec(void)
{
    wrong.kind = PS_MSG_JOB, wrong.job_spec = NULL;
}
static void spoil_hello_spec(void)
{
    wrong.kind = PS_MSG_HELLO, wrong.job_spec = NULL, wrong.session = 0;
}
static void spoil_no_matrix(void)
{
    wrong.kind = PS_MSG_MATRIX, wrong.n_matrices = 0;
}
static void spoil_no_slots(void)
{
    wrong.kind = PS_MSG_MATRIX_ADD;
    wrong.n_slot_runs = 0;
}
static void spoil_no_endpoint(void)
{
    wrong.kind = PS_MSG_JOIN, wrong.n_endpoints = 0;
}

static const struct {
    void (*spoil)(void);
    const char *why;
} spoils[] = {
    { spoil_kind, "kind 99 is none of this protocol" },
    { spoil_zero_kind, "kind 0 is none of this protocol" },
    { spoil_flags, "message push: flags 0x8, expected none but 0x53" },
    { spoil_new_flag, "message push: flags 0x40000000" },
    { spoil_status, "message push: status 1, expected -255 to 0" },
    { spoil_far_status, "message push: status -256" },
    { spoil_weight, "message push: weight -1, expected a finite number from 0" },
    { spoil_nan_weight, "message push: weight nan" },
    { spoil_infinite_weight, "message push: weight inf" },
    { spoil_seq, "message push: seq 0, expected 1 or more" },
    { spoil_parts, "message push: parts 0 in a finishing push" },
    { spoil_index, "message push: shard 256, expected less than 256" },
    { spoil_n_shards, "message push: 257 shards, expected at most 256" },
    { spoil_count, "message push: range 1 is empty" },
    { spoil_end, "message push: range 2 from 18446744073709551610 of 6 elements" },
    { spoil_member_rank, "member 0 of rank 4096, expected less than 4096" },
    { spoil_member_state, "member 0 in state 5, expected 1 to 4" },
    { spoil_member_zero, "member 0 in state 0, expected 1 to 4" },
    { spoil_member_session, "member 0 is active without a session" },
    { spoil_run_shard, "slot run 0 of shard 256, expected less than 256" },
    { spoil_run_slots, "slot run 0 of 0 slots, expected 1 to 4096 in all" },
    { spoil_run_many, "slot run 0 of 4097 slots, expected 1 to 4096 in all" },
    { spoil_metric, "metric: byte 2 of the name is 0x09" },
    { spoil_no_metric, "metric: the name is empty" },
    { spoil_lr, "job lenet: optimiser.lr is nan" },
    { spoil_strategy,
      "job lenet: strategy is number 99, expected one of bsp, asp, ssp, backup" },
    { spoil_job_name, "job: byte 2 of the name is 0x2f" },
    { spoil_dtype, "matrix fc3.weight: dtype is number 4" },
    { spoil_rows, "matrix fc3.weight: 18446744073709551615 x 128 elements" },
    { spoil_matrix_name, "matrix: the name is empty" },
    { spoil_endpoint, "endpoint 0 is empty" },
    { spoil_long_endpoint, "endpoint of 256 bytes, expected at most 255" },
    { spoil_name, "job: byte 3 of the name is 0x2f" },
    { spoil_no_name, "job: the name is empty" },
    { spoil_no_status, "message error: status 0, expected the number of a failure" },
    { spoil_no_spec, "message job: no job_spec, expected one" },
    { spoil_hello_spec, "message hello: no job_spec, expected one" },
    { spoil_no_matrix, "message matrix: 0 matrices, expected one" },
    { spoil_no_slots, "message matrix_add: no slot_runs, expected at least one" },
    { spoil_no_endpoint, "message join: no endpoints, expected at least one" },
};

START_TEST(a_field_out_of_its_range_is_refused_with_a_sentence)
{
    struct ps_header got;

    wrong = full(PS_MSG_PUSH);
    wrong_member = members[0];
    wrong_run = runs[0];
    wrong_record = records[0];
    wrong_job = job;
    wrong_matrix = matrices[0];
    wrong_endpoint = endpoints[0];
    memcpy(wrong_ranges, ranges, sizeof(ranges));
    wrong.ranges = wrong_ranges;
    wrong.members = &wrong_member;
    wrong.slot_runs = &wrong_run;
    wrong.reports = &wrong_record;
    wrong.job_spec = &wrong_job;
    wrong.matrices = &wrong_matrix;
    wrong.endpoints = &wrong_endpoint;
    wrong.n_members = wrong.n_slot_runs = wrong.n_reports = 1;
    wrong.n_matrices = wrong.n_endpoints = 1;
    encode(&wrong);
    ck_assert_ok(decode(&got));

    spoils[_i].spoil();
    if (wrong.kind != PS_MSG_PUSH)
        wrong.flags = 0;
    encode(&wrong);
    ck_assert_status(decode(&got), PS_ERR_BAD_MESSAGE);
    ck_assert_why(spoils[_i].why);
    ck_assert_uint_eq(got.kind, wrong.kind);
    ck_assert_uint_eq(got.request, wrong.request);
}
END_TEST

START_TEST(a_name_has_at_most_127_bytes)
{
    char             name[PS_NAME_BYTES + 1] = { 0 };
    struct ps_header sent = { .kind = PS_MSG_WATCH, .name = name }, got;

    memset(name, 'x', PS_NAME_BYTES - 1);
    encode(&sent);
    ck_assert_ok(decode(&got));
    name[PS_NAME_BYTES - 1] = 'x';
    encode(&sent);
    ck_assert_status(decode(&got), PS_ERR_BAD_MESSAGE);
    ck_assert_why("message watch: name of 128 bytes, expected at most 127");
}
END_TEST

START_TEST(onlookers_see_members_without_their_sessions)
{
    static const struct ps_member active = { .rank = 1, .state = PS_MEMBER_ACTIVE };
    struct ps_header              sent = { .kind = PS_MSG_WATCH_OK,
                                           .n_members = 1,
                                           .members = &active },
                     got;

    encode(&sent);
    ck_assert_ok(decode(&got));
    assert_same(&sent, &got);
}
END_TEST

START_TEST(an_observer_says_hello_without_a_job_spec)
{
    struct ps_header sent = { .kind = PS_MSG_HELLO,
                              .flags = PS_FLAG_OBSERVER,
                              .name = "lenet" },
                     got;

    encode(&sent);
    ck_assert_ok(decode(&got));
}
END_TEST

/* ---- the sender's side --------------------------------------------------------- */

START_TEST(a_sentence_that_is_too_long_is_cut_between_characters)
{
    char             text[2 * PS_TEXT_BYTES + 1] = { 0 };
    struct ps_header sent = { .kind = PS_MSG_ERROR,
                              .status = PS_ERR_DATA,
                              .text = text },
                     got;

    for (size_t i = 0; i < PS_TEXT_BYTES; i++)
        memcpy(text + 2 * i, "\xc3\xa9", 2); /* e with an acute accent */
    encode(&sent);
    ck_assert_ok(decode(&got));
    ck_assert_uint_eq(strlen(got.text), PS_TEXT_BYTES - 2);
}
END_TEST

START_TEST(a_sentence_leaves_as_one_line)
{
    struct ps_header sent = { .kind = PS_MSG_BYE, .text = "out of\nideas\x1b[1m" }, got;

    encode(&sent);
    ck_assert_ok(decode(&got));
    ck_assert_str_eq(got.text, "out of ideas [1m");
}
END_TEST

START_TEST(a_header_that_would_be_too_large_is_not_sent)
{
    struct ps_member *many = calloc(PS_WORKERS_MAX, sizeof(*many));
    struct ps_header  h = { .kind = PS_MSG_MEMBERS,
                            .n_members = PS_WORKERS_MAX,
                            .members = many };

    for (uint32_t i = 0; i < PS_WORKERS_MAX; i++)
        many[i] = (struct ps_member){ i, 1, PS_MEMBER_ACTIVE, UINT64_MAX, 0, 0 };
    ck_assert_status(ps_wire_encode(&h, &bytes), PS_ERR_LIMIT);
    ck_assert_why("message members: header of");
    ck_assert_why("expected at most 16384");
    free(many);
}
END_TEST

START_TEST(more_items_than_a_list_may_hold_are_not_sent)
{
    struct ps_header h = a_push();

    h.n_ranges = PS_RANGES_MAX + 1;
    ck_assert_status(ps_wire_encode(&h, &bytes), PS_ERR_LIMIT);
    ck_assert_why("message push: 257 ranges, expected at most 256");
}
END_TEST

START_TEST(send_puts_header_and_frames_into_the_outbox)
{
    struct ps_outbox out = { 0 };
    struct ps_route  to = { .kind = PS_ROUTE_SHARD, .index = 3 };
    struct ps_header sent = a_push(), got;
    struct ps_buf   *frames[2];

    ck_assert_ok(ps_buf_copy(&frames[0], "keys", 4));
    ck_assert_ok(ps_buf_copy(&frames[1], "values", 6));
    ck_assert_ok(ps_wire_send(&out, &to, &sent, frames, 2));
    ck_assert_ptr_null(frames[0]);
    ck_assert_ptr_null(frames[1]);
    ck_assert_uint_eq(out.n, 1);
    ck_assert(ps_route_same(&out.parcels[0].route, &to));
    ck_assert_uint_eq(out.parcels[0].n_frames, 2);
    ck_assert_mem_eq(out.parcels[0].frames[1]->data, "values", 6);
    ck_assert_ok(ps_wire_decode(decoder, out.parcels[0].head->data,
                                out.parcels[0].head->len, &got));
    assert_same(&sent, &got);
    ps_outbox_free(&out);
}
END_TEST

START_TEST(send_drops_the_frames_of_what_it_cannot_send)
{
    struct ps_outbox out = { 0 };
    struct ps_route  to = { .kind = PS_ROUTE_COORDINATOR };
    struct ps_header h = a_push();
    struct ps_buf   *frames[PS_FRAMES_MAX + 1];

    for (uint32_t i = 0; i <= PS_FRAMES_MAX; i++)
        ck_assert_ok(ps_buf_new(&frames[i], 8));
    ck_assert_status(ps_wire_send(&out, &to, &h, frames, PS_FRAMES_MAX + 1),
                     PS_ERR_LIMIT);
    ck_assert_why("message push: 33 payload frames, expected at most 32");
    for (uint32_t i = 0; i <= PS_FRAMES_MAX; i++)
        ck_assert_ptr_null(frames[i]);
    ck_assert_uint_eq(out.n, 0);
    ps_outbox_free(&out);
}
END_TEST

START_TEST(every_kind_has_a_word)
{
    for (size_t i = 0; i < COUNT(kinds); i++)
        ck_assert_str_ne(ps_kind_name(kinds[i]), "unknown");
    ck_assert_str_eq(ps_kind_name(PS_MSG_PUSH_OK), "push_ok");
    ck_assert_str_eq(ps_kind_name(0), "unknown");
    ck_assert_str_eq(ps_kind_name(4), "unknown");
    ck_assert_str_eq(ps_kind_name(UINT32_MAX), "unknown");
}
END_TEST

static Suite *wire_suite(void)
{
    Suite *s = suite_create("wire");
    TCase *there = tcase_create("there and back");
    TCase *damage = tcase_create("damage");
    TCase *fields = tcase_create("fields");
    TCase *sender = tcase_create("sender");

    tcase_add_checked_fixture(there, a_decoder, no_decoder);
    tcase_add_loop_test(there, every_kind_comes_back_as_it_went, 0, (int)COUNT(kinds));
    tcase_add_test(there, absent_parts_stay_absent);
    tcase_add_test(there, a_job_that_bounds_its_rollbacks_comes_back_as_it_went);
    tcase_add_test(there, the_bytes_of_a_push_are_fixed);
    tcase_add_test(there, a_warm_decoder_asks_for_no_memory);
    tcase_add_test(there, a_decoder_grows_once_for_a_large_message);
    tcase_add_test(there, as_many_ranges_as_a_request_may_have);
    suite_add_tcase(s, there);

    tcase_set_timeout(damage, 120);
    tcase_add_checked_fixture(damage, a_decoder, no_decoder);
    tcase_add_loop_test(damage, a_header_cut_short_anywhere_does_no_harm, 0,
                        (int)COUNT(kinds));
    tcase_add_test(damage, twenty_thousand_damaged_headers_do_no_harm);
    tcase_add_test(damage, garbage_does_no_harm);
    tcase_add_test(damage, nothing_is_no_header);
    tcase_add_test(damage, text_is_no_header);
    tcase_add_test(damage, an_oversized_header_is_not_even_parsed);
    tcase_add_loop_test(damage, a_header_of_empty_parts_gets_no_endless_memory, 0, 2);
    tcase_add_test(damage, an_arena_gives_out_a_mebibyte_and_no_more);
    tcase_add_test(damage, another_version_can_be_answered);
    tcase_add_test(damage, fields_of_a_newer_peer_are_ignored);
    tcase_add_test(damage, a_nul_inside_a_text_is_refused);
    tcase_add_test(damage, ranges_of_unequal_columns_are_refused);
    suite_add_tcase(s, damage);

    tcase_add_checked_fixture(fields, a_decoder, no_decoder);
    tcase_add_loop_test(fields, a_field_out_of_its_range_is_refused_with_a_sentence, 0,
                        (int)COUNT(spoils));
    tcase_add_test(fields, a_name_has_at_most_127_bytes);
    tcase_add_test(fields, onlookers_see_members_without_their_sessions);
    tcase_add_test(fields, an_observer_says_hello_without_a_job_spec);
    suite_add_tcase(s, fields);

    tcase_add_checked_fixture(sender, a_decoder, no_decoder);
    tcase_add_test(sender, a_sentence_that_is_too_long_is_cut_between_characters);
    tcase_add_test(sender, a_sentence_leaves_as_one_line);
    tcase_add_test(sender, a_header_that_would_be_too_large_is_not_sent);
    tcase_add_test(sender, more_items_than_a_list_may_hold_are_not_sent);
    tcase_add_test(sender, send_puts_header_and_frames_into_the_outbox);
    tcase_add_test(sender, send_drops_the_frames_of_what_it_cannot_send);
    tcase_add_test(sender, every_kind_has_a_word);
    suite_add_tcase(s, sender);
    return s;
}

TEST_MAIN(wire_suite)
