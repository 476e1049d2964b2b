/*
 * The shard, without a network: the test is the coordinator and every worker.  A
 * cluster here is one to four shards that share the matrices by the map.
 */
#include "server/shard/shard.h"
#include "common/base/random.h"
#include "common/place/place.h"
#include "common/wire/wire.h"
#include "tests/unit/suite.h"

#include <math.h>
#include <stdio.h>

#define CONTROL 4711u
#define EPOCH 9u
#define SESSION(rank) (1000u + (rank))
#define OBSERVER_SESSION 77u
#define SHARDS_MAX 4u
#define N 20000u /* elements of the dense matrix: 80 KB, so it is cut into slots */

static struct psd_shard  *shards[SHARDS_MAX];
static uint32_t           n_shards;
static struct ps_decoder *decoder;
static struct ps_outbox   out;
static struct ps_job_spec job;
static struct ps_place    place;
static uint64_t           seq[8][SHARDS_MAX];  /* by rank and shard */
static uint64_t           base[8][SHARDS_MAX]; /* of the worker's last pull */
static uint64_t           next_request;

static struct ps_route route_of(uint32_t rank)
{
    return (
        struct ps_route){ .kind = PS_ROUTE_PEER, .bytes = 4, .id = { (uint8_t)rank } };
}

static struct ps_header header(uint32_t kind)
{
    return (struct ps_header){ .kind = kind,
                               .request = ++next_request,
                               .job = 1,
                               .server_epoch = EPOCH,
                               .text = "",
                               .name = "",
                               .token = "" };
}

/* Hands a message to a shard; frames are copied.  The answers pile up in `out`. */
static void hand(uint32_t shard, uint32_t rank, const struct ps_header *h,
                 const void *frame0, size_t bytes0, const void *frame1, size_t bytes1)
{
    struct ps_parcel p = { .route = route_of(rank) };

    ck_assert_ok(ps_wire_encode(h, &p.head));
    if (frame0)
        ck_assert_ok(ps_buf_copy(&p.frames[p.n_frames++], frame0, bytes0));
    if (frame1)
        ck_assert_ok(ps_buf_copy(&p.frames[p.n_frames++], frame1, bytes1));
    psd_shard_handle(shards[shard], 0, &p, &out);
}

/* The answer to a request: its header, or kind 0 when there is none yet. */
static struct ps_header answer_to(uint64_t request, struct ps_parcel **parcel)
{
    for (size_t i = 0; i < out.n; i++) {
        struct ps_header h;

        ck_assert_ok(ps_wire_decode(decoder, out.parcels[i].head->data,
                                    out.parcels[i].head->len, &h));
        if (h.request != request)
            continue;
        if (parcel)
            *parcel = &out.parcels[i];
        return h;
    }
    return (struct ps_header){ 0 };
}

static void forget_answers(void)
{
    ps_outbox_clear(&out);
}

static void expect_ok(uint64_t request)
{
    struct ps_header h = answer_to(request, NULL);

    ck_assert_msg(h.kind == PS_MSG_OK, "answer is %s: %s", ps_kind_name(h.kind),
                  h.text ? h.text : "");
}

static void expect_error(uint64_t request, ps_status status)
{
    struct ps_header h = answer_to(request, NULL);

    ck_assert_uint_eq(h.kind, PS_MSG_ERROR);
    ck_assert_int_eq(h.status, status);
    ck_assert_uint_gt(strlen(h.text), 0);
}

static void send_members(uint64_t epoch, const uint32_t *states)
{
    struct ps_member members[9];
    uint32_t         n = 0;

    for (; n < job.workers; n++)
        members[n] = (struct ps_member){
            .rank = n, .incarnation = 1, .state = states[n], .session = SESSION(n)
        };
    members[n++] = (struct ps_member){ .rank = UINT32_MAX,
                                       .incarnation = 1,
                                       .state = PS_MEMBER_ACTIVE,
                                       .session = OBSERVER_SESSION };
    for (uint32_t s = 0; s < n_shards; s++) {
        struct ps_header h = header(PS_MSG_MEMBERS);

        h.session = CONTROL;
        h.membership_epoch = epoch;
        h.members = members;
        h.n_members = n;
        hand(s, 99, &h, NULL, 0, NULL, 0);
        expect_ok(h.request);
    }
}

static struct ps_job_spec spec_of(uint32_t workers, uint32_t strategy,
                                  uint32_t optimiser)
{
    struct ps_job_spec spec = ps_job_spec_default();

    strcpy(spec.name, "test");
    spec.workers = workers;
    spec.strategy = strategy;
    spec.seed = 5;
    spec.optimiser = ps_optimiser_spec_default(optimiser);
    spec.optimiser.lr = 0.5;
    return spec;
}

static void cluster_for(uint32_t n, struct ps_job_spec spec)
{
    static const uint32_t active[8] = { 2, 2, 2, 2, 2, 2, 2, 2 };

    job = spec;
    n_shards = n;
    memset(seq, 0, sizeof(seq));
    memset(base, 0, sizeof(base));
    for (uint32_t s = 0; s < n; s++) {
        struct psd_shard_options o = { .control = CONTROL,
                                       .backend = &psd_backend_cpu };
        struct ps_header         h = header(PS_MSG_JOB);

        ck_assert_ok(psd_shard_new(&shards[s], &o));
        h.session = CONTROL;
        h.index = s;
        h.n_shards = n;
        h.job_spec = &job;
        hand(s, 99, &h, NULL, 0, NULL, 0);
        expect_ok(h.request);
    }
    send_members(1, active);
}

/* bsp and sgd, with members in these states. */
static void cluster_of(uint32_t n, uint32_t workers, const uint32_t *states)
{
    cluster_for(n, spec_of(workers, PS_BSP, PS_SGD));
    send_members(2, states);
}

static void cluster(uint32_t n, uint32_t workers, uint32_t strategy, uint32_t optimiser)
{
    cluster_for(n, spec_of(workers, strategy, optimiser));
}

static void end_cluster(void)
{
    for (uint32_t s = 0; s < n_shards; s++)
        psd_shard_free(&shards[s]);
    n_shards = 0;
    forget_answers();
}

static struct ps_matrix_spec matrix_spec(uint32_t number, const char *name)
{
    struct ps_matrix_spec m = { .number = number,
                                .dtype = PS_F32,
                                .rows = 1,
                                .cols = N,
                                .init = PS_INIT_UNIFORM,
                                .init_a = -1,
                                .init_b = 1,
                                .weight_decay = NAN };

    strcpy(m.name, name);
    return m;
}

static void add_matrix(const struct ps_matrix_spec *m, ps_status expected)
{
    struct ps_slot_run runs[SHARDS_MAX];
    uint64_t           load[SHARDS_MAX] = { 0 };
    uint32_t           n;

    ps_place_cut(&place, m);
    ps_place_assign(&place, load, n_shards);
    n = ps_place_runs(&place, runs, SHARDS_MAX);
    ck_assert_uint_le(n, SHARDS_MAX);
    for (uint32_t s = 0; s < n_shards; s++) {
        struct ps_header h = header(PS_MSG_MATRIX_ADD);

        h.session = CONTROL;
        h.matrices = m;
        h.n_matrices = 1;
        h.slot_runs = runs;
        h.n_slot_runs = n;
        hand(s, 99, &h, NULL, 0, NULL, 0);
        if (expected)
            expect_error(h.request, expected);
        else
            expect_ok(h.request);
    }
}

static struct ps_header worker_header(uint32_t kind, uint32_t rank, uint64_t clock)
{
    struct ps_header h = header(kind);

    h.rank = rank;
    h.incarnation = 1;
    h.session = SESSION(rank);
    h.clock = clock;
    h.weight = 1;
    return h;
}

/* The only push of a worker for iteration t to a shard. */
static struct ps_header finishing_push(uint32_t rank, uint64_t t, uint64_t number,
                                       const struct ps_range *range)
{
    struct ps_header h = worker_header(PS_MSG_PUSH, rank, t);

    h.seq = number;
    h.flags = PS_FLAG_FINISH;
    h.parts = 1;
    h.ranges = range;
    h.n_ranges = 1;
    return h;
}

/* Pushes elements [from, to) for iteration t, to whichever shards own them; finishes
 * on every shard.  Gives the request of shard 0. */
static uint64_t push_part(uint32_t rank, uint64_t t, uint64_t from, uint64_t to,
                          const float *grad, double weight)
{
    uint64_t        first_request = 0;
    struct ps_piece piece;

    for (uint32_t s = 0; s < n_shards; s++) {
        struct ps_header h = worker_header(PS_MSG_PUSH, rank, t);
        struct ps_range  ranges[8];
        static float     payload[N + 64];
        size_t           n = 0;

        for (uint64_t at = from; ps_place_next(&place, &at, to, &piece);) {
            if (piece.shard != s)
                continue;
            ranges[h.n_ranges++] = (struct ps_range){ .matrix = 1,
                                                      .first = piece.first,
                                                      .count = piece.count };
            memcpy(payload + n, grad + piece.first, piece.count * sizeof(float));
            n += (piece.count + 1) / 2 * 2;
        }
        h.ranges = ranges;
        h.version = base[rank][s];
        h.seq = ++seq[rank][s];
        h.flags = PS_FLAG_FINISH;
        h.parts = 1;
        h.weight = weight;
        hand(s, rank, &h, h.n_ranges ? payload : NULL, n * sizeof(float), NULL, 0);
        if (s == 0)
            first_request = h.request;
    }
    return first_request;
}

static uint64_t push(uint32_t rank, uint64_t t, const float *grad)
{
    return push_part(rank, t, 0, N, grad, 1);
}

/* Asks every shard for its part at `clock`; false when one does not answer yet. */
static bool pull(uint32_t rank, uint64_t clock, float *value)
{
    bool            all = true;
    struct ps_piece piece;

    for (uint64_t at = 0; ps_place_next(&place, &at, N, &piece);) {
        struct ps_header  h = worker_header(PS_MSG_PULL, rank, clock);
        struct ps_range   range = { .matrix = 1, piece.first, piece.count };
        struct ps_header  answer;
        struct ps_parcel *p = NULL;
        size_t            n = 0;

        h.ranges = &range;
        h.n_ranges = 1;
        hand(piece.shard, rank, &h, NULL, 0, NULL, 0);
        answer = answer_to(h.request, &p);
        if (answer.kind != PS_MSG_PULL_OK) {
            all = false;
            continue;
        }
        base[rank][piece.shard] = answer.version;
        for (uint32_t f = 0; f < p->n_frames; f++) {
            size_t bytes = p->frames[f]->len;

            if (n + bytes > piece.count * sizeof(float))
                bytes = piece.count * sizeof(float) - n;
            memcpy((char *)(value + piece.first) + n, p->frames[f]->data, bytes);
            n += bytes;
        }
        ck_assert_uint_eq(n, piece.count * sizeof(float));
    }
    return all;
}

static void gradient(uint32_t rank, uint64_t t, float *g)
{
    for (uint32_t i = 0; i < N; i++)
        g[i] = (float)ps_random_normal(rank, t, i);
}

static float value[N], start[N], g[8][N];

static void dense_matrix(void)
{
    struct ps_matrix_spec m = matrix_spec(1, "w");

    add_matrix(&m, PS_OK);
    ck_assert(pull(0, 0, start));
    forget_answers();
}

static void make_decoder(void)
{
    ck_assert_ok(ps_decoder_new(&decoder));
}

static void free_all(void)
{
    end_cluster();
    ps_outbox_free(&out);
    ps_decoder_free(&decoder);
}

START_TEST(bsp_step_is_the_weighted_mean)
{
    const float one[N] = { 1, 1 };
    const float three[N] = { 3, 5 };

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push_part(0, 1, 0, N, one, 1);
    push_part(1, 1, 0, N, three, 3);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * (0.25f * 1 + 0.75f * 3));
    ck_assert_float_eq(value[1], start[1] - 0.5f * (0.25f * 1 + 0.75f * 5));
    ck_assert_float_eq(value[2], start[2]);
}
END_TEST

/* An empty one, or one of all elements, that says how many batches are behind it. */
static void push_batches(uint32_t rank, uint64_t t, const float *grad, double weight,
                         uint32_t batches)
{
    struct ps_range  all = { .matrix = 1, .count = N };
    struct ps_header h = finishing_push(rank, t, ++seq[rank][0], &all);

    h.weight = weight;
    h.batches = batches;
    hand(0, rank, &h, grad, N * sizeof(float), NULL, 0);
}

/* Batches of 2 samples each: a sum of three gradients, and one of two in a window that
 * was cut short.  What is missing in the second sum is not discounted again. */
START_TEST(sums_of_batches_are_weighed_by_the_samples_of_one)
{
    const float three[N] = { 1 + 2 + 3 };
    const float two[N] = { 4 + 5 };

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push_batches(0, 1, three, 6, 3);
    push_batches(1, 1, two, 4, 2);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * (0.5f * 6 + 0.5f * 9));
}
END_TEST

static struct ps_job_stats account(uint32_t shard)
{
    struct ps_header h = header(PS_MSG_STATS);

    h.session = CONTROL;
    h.job = 1;
    hand(shard, 99, &h, NULL, 0, NULL, 0);
    h = answer_to(h.request, NULL);
    ck_assert_uint_eq(h.kind, PS_MSG_STATS_OK);
    ck_assert_uint_ge(h.n_job_stats, 2);
    ck_assert_uint_eq(h.job_stats[1].matrix, 0);
    return h.job_stats[1];
}

START_TEST(batches_of_finished_pushes_are_counted)
{
    gradient(0, 1, g[0]);
    cluster(1, 2, PS_BACKUP, PS_SGD);
    dense_matrix();
    push_batches(0, 1, g[0], 6, 3);
    ck_assert_uint_eq(account(0).batches, 3);
    push_batches(1, 1, g[0], 4, 2); /* too late: one of two is enough */
    ck_assert_uint_eq(account(0).late, 1);
    ck_assert_uint_eq(account(0).batches, 3);
    push_batches(0, 2, g[0], 1, 0); /* whoever says nothing means one */
    ck_assert_uint_eq(account(0).batches, 4);
}
END_TEST

static struct ps_job_spec averaging(uint32_t strategy)
{
    struct ps_job_spec spec = spec_of(2, strategy, PS_ADAM);

    spec.average = PS_AVERAGE_MODEL;
    return spec;
}

START_TEST(differences_of_models_are_averaged_and_added)
{
    const float one[N] = { 1 };
    const float three[N] = { 3 };

    cluster_for(1, averaging(PS_BSP));
    dense_matrix();
    push_part(0, 1, 0, N, one, 1);
    push_part(1, 1, 0, N, three, 3);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] + (0.25f * 1 + 0.75f * 3));
    ck_assert_uint_eq(account(0).state_bytes, 0); /* the optimiser is the workers' */
}
END_TEST

START_TEST(differences_of_models_are_scaled_and_added_at_once)
{
    const float        three[N] = { 3 };
    struct ps_job_spec spec = averaging(PS_ASP);

    spec.scale = PS_SCALE_WORKERS;
    cluster_for(1, spec);
    dense_matrix();
    push(0, 1, three);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] + 0.5f * 3);
}
END_TEST

/* Runs 3 iterations of 3 workers in this order of arrival; leaves the result in `to`.
 */
static void bsp_run(uint32_t n, const uint32_t order[3], float *to)
{
    cluster(n, 3, PS_BSP, PS_NESTEROV);
    dense_matrix();
    for (uint64_t t = 1; t <= 3; t++)
        for (int i = 0; i < 3; i++) {
            gradient(order[i], t, g[0]);
            push(order[i], t, g[0]);
        }
    ck_assert(pull(0, 3, to));
    end_cluster();
}

START_TEST(order_of_arrival_and_number_of_shards_change_no_bit)
{
    static const uint32_t orders[][3] = { { 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 } };
    static float          other[N];

    bsp_run(1, orders[0], value);
    for (uint32_t n = 1; n <= SHARDS_MAX; n++)
        for (int o = 0; o < 3; o++) {
            bsp_run(n, orders[o], other);
            ck_assert_mem_eq(value, other, sizeof(value));
        }
}
END_TEST

/* Parts that overlap, and minus zeros in them: where the matrix is cut must not show.
 */
START_TEST(overlapping_parts_change_no_bit_either)
{
    static float first[N], minus_zero[N];

    for (uint32_t i = 0; i < N; i++)
        minus_zero[i] = -0.0f;
    for (uint32_t n = 1; n <= SHARDS_MAX; n++) {
        cluster(n, 2, PS_BSP, PS_MOMENTUM);
        dense_matrix();
        for (uint64_t t = 1; t <= 2; t++) {
            gradient(1, t, g[1]);
            push_part(0, t, 100, 15001, minus_zero, 1);
            push_part(1, t, 7777, N, g[1], 1);
        }
        ck_assert(pull(0, 2, n == 1 ? first : value));
        if (n > 1)
            ck_assert_mem_eq(first, value, sizeof(value));
        ck_assert_mem_eq(start, first, 100 * sizeof(float)); /* nobody pushed these */
        end_cluster();
    }
}
END_TEST

START_TEST(pull_is_answered_when_its_iteration_closes)
{
    cluster(2, 2, PS_BSP, PS_SGD);
    dense_matrix();
    gradient(0, 1, g[0]);
    push(0, 1, g[0]);
    forget_answers();
    ck_assert(!pull(0, 1, value));
    ck_assert_uint_eq(out.n, 0);
    push(1, 1, g[0]);
    ck_assert_uint_eq(out.n, 2 + 2); /* two acknowledgements and the two that waited */
}
END_TEST

START_TEST(pull_that_waits_too_long_is_told_for_whom)
{
    static const uint32_t half[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_EXPECTED };
    struct ps_range       range = { .matrix = 1, 0, 16 };
    struct ps_header      h;

    cluster_of(1, 2, half);
    dense_matrix();
    h = worker_header(PS_MSG_PULL, 0, 1);
    h.ranges = &range;
    h.n_ranges = 1;
    h.wait_ms = 1000;
    push_part(0, 1, 0, 0, value, 1);
    hand(0, 0, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), 1000000000);
    psd_shard_tick(shards[0], 999999999, &out);
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, 0);
    psd_shard_tick(shards[0], 1000000000, &out);
    expect_error(h.request, PS_ERR_TIMEOUT);
    ck_assert_str_eq(answer_to(h.request, NULL).text,
                     "job test: iteration 1 waits for worker 1 (not joined yet)");
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), UINT64_MAX);
}
END_TEST

START_TEST(push_pull_is_one_round_trip)
{
    struct ps_header  h;
    struct ps_range   range = { .matrix = 1, 0, 16 };
    float             one[16] = { 1 };
    struct ps_parcel *p = NULL;
    uint64_t          request;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = ++seq[0][0];
    h.flags = PS_FLAG_FINISH | PS_FLAG_PULL;
    h.parts = 1;
    h.ranges = &range;
    h.n_ranges = 1;
    request = h.request;
    hand(0, 0, &h, one, sizeof(one), NULL, 0);
    ck_assert_uint_eq(out.n, 0);
    hand(0, 0, &h, one, sizeof(one), NULL, 0); /* sent again while it waits */
    ck_assert_uint_eq(out.n, 0);
    push_part(1, 1, 0, 0, one, 1);
    ck_assert_uint_eq(answer_to(request, &p).kind, PS_MSG_PULL_OK);
    ck_assert_uint_eq(out.n, 2); /* it waited once, though it came twice */
    ck_assert_float_eq(((float *)(void *)p->frames[0]->data)[0], start[0] - 0.25f);
}
END_TEST

START_TEST(repeated_push_is_acknowledged_and_not_applied)
{
    struct ps_range  range = { .matrix = 1, 0, 1 };
    float            one = 1;
    struct ps_header h;
    uint64_t         version;

    cluster(1, 1, PS_ASP, PS_SGD);
    dense_matrix();
    h = finishing_push(0, 1, 1, &range);
    hand(0, 0, &h, &one, sizeof(one), NULL, 0);
    version = answer_to(h.request, NULL).version;
    for (uint64_t t = 2; t < 5; t++) {
        seq[0][0] = t - 1;
        push_part(0, t, 0, 0, &one, 1);
    }
    forget_answers();
    hand(0, 0, &h, &one, sizeof(one), NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(answer_to(h.request, NULL).version, version);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
}
END_TEST

START_TEST(asp_applies_at_once)
{
    const float one[N] = { 1 };

    cluster(2, 2, PS_ASP, PS_SGD);
    dense_matrix();
    push(1, 1, one);
    push(1, 2, one);
    ck_assert(pull(0, 0, value));
    ck_assert_float_eq(value[0], start[0] - 1.0f);
}
END_TEST

START_TEST(backup_divides_by_what_was_accepted)
{
    const float two[N] = { 2 }, four[N] = { 4 };
    uint64_t    late;

    cluster(2, 3, PS_BACKUP, PS_SGD);
    dense_matrix();
    push(2, 1, four);
    ck_assert(!pull(2, 1, value));
    push(0, 1, two);
    ck_assert(pull(2, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 3);

    late = push(1, 1, four);
    expect_error(late, PS_ERR_STALE);
    ck_assert_uint_eq(answer_to(late, NULL).clock, 1);
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 3);

    push(1, 2, two); /* it goes on from there */
    push(0, 2, two);
    ck_assert(pull(2, 2, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 5);
}
END_TEST

START_TEST(late_push_that_comes_twice_is_late_twice)
{
    const float      one[N] = { 1 };
    uint64_t         late, again;
    struct ps_header h;

    cluster(1, 2, PS_BACKUP, PS_SGD);
    dense_matrix();
    push(0, 1, one);
    late = push(1, 1, one);
    h = worker_header(PS_MSG_PUSH, 1, 1);
    h.seq = seq[1][0];
    h.flags = PS_FLAG_FINISH;
    h.parts = 1;
    again = h.request;
    hand(0, 1, &h, NULL, 0, NULL, 0);
    expect_error(late, PS_ERR_STALE);
    expect_error(again, PS_ERR_STALE);
}
END_TEST

/* The iteration closes between the two pushes of a worker for it. */
START_TEST(half_of_a_late_iteration_is_dropped)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    const float      one[N] = { 1 };
    struct ps_header h;

    cluster(1, 2, PS_BACKUP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PUSH, 1, 1);
    h.seq = ++seq[1][0];
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 1, &h, one, 16 * sizeof(float), NULL, 0);
    push(0, 1, one);
    expect_error(push(1, 1, one), PS_ERR_STALE);
    push(1, 2, one);
    ck_assert(pull(1, 2, value));
    ck_assert_float_eq(value[0], start[0] - 1.0f);
}
END_TEST

START_TEST(ssp_waits_for_the_slowest_and_sees_its_own)
{
    struct ps_job_spec spec = spec_of(2, PS_SSP, PS_SGD);
    const float        one[N] = { 1 };

    spec.slack = 1;
    cluster_for(2, spec);
    dense_matrix();
    push(0, 1, one);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
    push(0, 2, one);
    forget_answers();
    ck_assert(!pull(0, 2, value));
    push(1, 1, one);
    ck_assert_uint_eq(out.n, 2 + 2); /* two acknowledgements and the two that waited */
    ck_assert(pull(0, 2, value));
    ck_assert_float_eq(value[0], start[0] - 1.5f);
}
END_TEST

START_TEST(scale_divides_by_workers)
{
    struct ps_job_spec spec = spec_of(4, PS_ASP, PS_SGD);
    const float        one[N] = { 1 };

    spec.scale = PS_SCALE_WORKERS;
    cluster_for(1, spec);
    dense_matrix();
    push(3, 1, one);
    ck_assert(pull(0, 0, value));
    ck_assert_float_eq(value[0], start[0] - 0.125f);
}
END_TEST

START_TEST(scale_divides_by_staleness)
{
    struct ps_job_spec spec = spec_of(2, PS_ASP, PS_SGD);
    const float        one[N] = { 1 };

    spec.scale = PS_SCALE_STALENESS;
    cluster_for(1, spec);
    dense_matrix();
    push(0, 1, one); /* has seen everything */
    push(1, 1, one); /* has not seen that one: half */
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.75f);
    push(1, 2, one); /* has seen both */
    ck_assert(pull(1, 2, value));
    ck_assert_float_eq(value[0], start[0] - 1.25f);
}
END_TEST

/* Worker 0 asks for its next values before it pushes, as training with prefetch does:
 * what they lack is counted when they are used. */
START_TEST(staleness_is_counted_from_the_values_that_were_used)
{
    const float one[N] = { 1 };
    uint64_t    used;

    cluster(1, 2, PS_ASP, PS_SGD);
    dense_matrix();
    push(1, 1, one);
    push(1, 2, one);
    ck_assert(pull(0, 0, value));
    ck_assert_uint_eq(base[0][0], 2);
    base[0][0] = 0; /* that was for the next iteration */
    push(0, 1, one);
    ck_assert_uint_eq(account(0).staleness_max, 2);
    ck_assert_uint_eq(account(0).staleness_sum, 0 + 1 + 2);
    base[0][0] = used = 2;
    push(0, 2, one); /* lacks its own push before */
    ck_assert_uint_eq(account(0).staleness_sum, 0 + 1 + 2 + 1);
    ck_assert_uint_eq(account(0).staleness_max, used);
}
END_TEST

START_TEST(iteration_in_parts_is_as_old_as_its_oldest)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    const float      one[N] = { 1 };
    struct ps_header h;

    cluster(1, 2, PS_ASP, PS_SGD);
    dense_matrix();
    push(1, 1, one);
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = ++seq[0][0];
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 0, &h, one, 16 * sizeof(float), NULL, 0);
    h = finishing_push(0, 1, ++seq[0][0], &range);
    h.parts = 2;
    h.version = 1;
    hand(0, 0, &h, one, 16 * sizeof(float), NULL, 0);
    ck_assert_uint_eq(account(0).version, 2);
    ck_assert_uint_eq(account(0).staleness_max, 1);
}
END_TEST

/* What is wrong with a push, and the answer it gets. */
enum fault {
    SHORT_PAYLOAD,
    EXTRA_FRAME,
    UNKNOWN_MATRIX,
    BEYOND_THE_END,
    NOT_A_NUMBER,
    WRONG_SESSION,
    OLD_EPOCH,
    OLD_INCARNATION,
    STRANGE_RANK,
    OBSERVER,
    FAR_AHEAD,
    OF_THE_FUTURE,
    N_FAULTS
};

static const ps_status answers[N_FAULTS] = {
    PS_ERR_BAD_MESSAGE, PS_ERR_BAD_MESSAGE, PS_ERR_UNKNOWN,  PS_ERR_SHAPE,
    PS_ERR_NONFINITE,   PS_ERR_DENIED,      PS_ERR_ROLLBACK, PS_ERR_STALE,
    PS_ERR_DENIED,      PS_ERR_DENIED,      PS_ERR_BAD_ARG,  PS_ERR_BAD_MESSAGE,
};

START_TEST(refused_push_leaves_no_trace)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    float            one[16] = { 1 };
    size_t           bytes = sizeof(one);
    struct ps_header h;

    cluster(1, 1, PS_ASP, PS_SGD);
    dense_matrix();
    h = finishing_push(0, 1, 1, &range);
    switch ((enum fault)_i) {
    case SHORT_PAYLOAD: bytes -= 8; break;
    case EXTRA_FRAME: break;
    case UNKNOWN_MATRIX: range.matrix = 2; break;
    case BEYOND_THE_END: range.first = N - 8; break;
    case NOT_A_NUMBER: one[15] = NAN; break;
    case WRONG_SESSION: h.session++; break;
    case OLD_EPOCH: h.server_epoch--; break;
    case OLD_INCARNATION: h.incarnation = 0; break;
    case STRANGE_RANK: h.rank = 1; break;
    case OBSERVER:
        h.rank = UINT32_MAX;
        h.session = OBSERVER_SESSION;
        break;
    case FAR_AHEAD: h.seq = 2000; break;
    case OF_THE_FUTURE: h.version = 1; break;
    case N_FAULTS: break;
    }
    hand(0, 0, &h, one, bytes, _i == EXTRA_FRAME ? one : NULL, sizeof(one));
    expect_error(h.request, answers[_i]);
    ck_assert(pull(0, 0, value));
    ck_assert_mem_eq(value, start, sizeof(value));

    one[15] = 0;
    push_part(0, 1, 0, 16, one, 1); /* the same clock and number are still welcome */
    ck_assert(pull(0, 0, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
}
END_TEST

START_TEST(nonfinite_push_can_be_skipped)
{
    const float        nan_first[N] = { NAN, 1 };
    const float        one[N] = { 1, 1 };
    struct ps_job_spec spec = spec_of(2, PS_BSP, PS_SGD);

    spec.nonfinite = PS_NONFINITE_SKIP;
    cluster_for(1, spec);
    dense_matrix();
    push(0, 1, nan_first);
    push(1, 1, one);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[1], start[1] - 0.25f);
}
END_TEST

START_TEST(iteration_goes_on_without_the_one_that_left)
{
    static const uint32_t gone[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_LOST };
    const float           one[N] = { 1 };

    cluster(2, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push(0, 1, one);
    ck_assert(!pull(0, 1, value));
    send_members(2, gone);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
    forget_answers();
    expect_error(push(1, 1, one), PS_ERR_RANK);
}
END_TEST

START_TEST(half_of_an_iteration_of_a_lost_worker_is_dropped)
{
    static const uint32_t gone[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_LOST };
    struct ps_range       range = { .matrix = 1, 0, 16 };
    const float           one[N] = { 1 };
    struct ps_header      h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PUSH, 1, 1);
    h.seq = 1;
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 1, &h, one, 16 * sizeof(float), NULL, 0);
    send_members(2, gone);
    push(0, 1, one);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
}
END_TEST

/* ---- coming again --------------------------------------------------------------- */

/* Tells shard 0 of one member; gives the clock that it answers. */
static uint64_t tell_member(uint32_t rank, uint32_t incarnation, uint32_t state,
                            uint64_t clock)
{
    static uint64_t  epoch = 1000;
    struct ps_member m = { .rank = rank,
                           .incarnation = incarnation,
                           .state = state,
                           .session = SESSION(rank) + 100 * incarnation - 100,
                           .clock = clock };
    struct ps_header h = header(PS_MSG_MEMBERS);

    h.session = CONTROL;
    h.membership_epoch = ++epoch;
    h.members = &m;
    h.n_members = 1;
    hand(0, 99, &h, NULL, 0, NULL, 0);
    expect_ok(h.request);
    return answer_to(h.request, NULL).clock;
}

/* A push of one element by worker 1 that has come again, or another message of it. */
static struct ps_header of_second_life(struct ps_header h)
{
    h.incarnation = 2;
    h.session = SESSION(1) + 100;
    return h;
}

static const struct ps_range only_element = { .matrix = 1, 0, 1 };

static uint64_t push_one(struct ps_header h, float x)
{
    hand(0, h.rank, &h, &x, sizeof(x), NULL, 0);
    return h.request;
}

START_TEST(worker_that_comes_again_starts_anew_and_is_waited_for)
{
    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    push_one(finishing_push(1, 1, 1, &only_element), 1);
    push_one(finishing_push(0, 2, 2, &only_element), 1);
    tell_member(1, 1, PS_MEMBER_LOST, 0); /* closes 2 */
    ck_assert_uint_eq(tell_member(1, 2, PS_MEMBER_ACTIVE, 0), 2);
    push_one(finishing_push(0, 3, 3, &only_element), 1);
    ck_assert(!pull(0, 3, value));
    expect_error(push_one(finishing_push(1, 3, 2, &only_element), 1), PS_ERR_STALE);
    /* its numbers begin at 1 again */
    push_one(of_second_life(finishing_push(1, 3, 1, &only_element)), 3);
    ck_assert(pull(0, 3, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * (1 + 1 + 2));
}
END_TEST

START_TEST(half_of_an_iteration_of_an_earlier_life_is_dropped)
{
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = finishing_push(1, 1, 1, &only_element);
    h.parts = 2;
    push_one(h, 50);
    tell_member(1, 2, PS_MEMBER_ACTIVE, 0); /* nobody had missed it */
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    ck_assert(!pull(0, 1, value));
    push_one(of_second_life(finishing_push(1, 1, 1, &only_element)), 3);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 2);
}
END_TEST

START_TEST(iteration_finished_in_an_earlier_life_counts_and_is_not_asked_for_again)
{
    struct ps_header answer;
    uint64_t         late;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push_one(finishing_push(1, 1, 1, &only_element), 3);
    tell_member(1, 1, PS_MEMBER_LOST, 0);
    ck_assert_uint_eq(tell_member(1, 2, PS_MEMBER_ACTIVE, 0), 0);
    late = push_one(of_second_life(finishing_push(1, 1, 1, &only_element)), 70);
    expect_error(late, PS_ERR_STALE);
    answer = answer_to(late, NULL);
    ck_assert_uint_eq(answer.seq, 1); /* late, and not of an older life */
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 2);
}
END_TEST

START_TEST(worker_that_begins_later_is_not_waited_for_before)
{
    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    tell_member(1, 1, PS_MEMBER_LOST, 0);
    tell_member(1, 2, PS_MEMBER_ACTIVE, 0);
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    ck_assert(!pull(0, 1, value));
    tell_member(1, 2, PS_MEMBER_ACTIVE, 2);
    ck_assert(pull(0, 1, value));
    push_one(finishing_push(0, 2, 2, &only_element), 1);
    ck_assert(pull(0, 2, value));
    push_one(finishing_push(0, 3, 3, &only_element), 1);
    ck_assert(!pull(0, 3, value));
}
END_TEST

/* As if another shard had been further when all went on. */
START_TEST(worker_is_believed_that_skips_iterations_when_nothing_is_under_way)
{
    struct ps_header h;

    cluster(1, 1, PS_BSP, PS_SGD);
    dense_matrix();
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    h = worker_header(PS_MSG_PULL, 0, 4);
    h.ranges = &only_element;
    h.n_ranges = 1;
    h.seq = 2;
    hand(0, 0, &h, NULL, 0, NULL, 0); /* its push 2 is under way */
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, 0);
    h.request = ++next_request;
    h.seq = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, PS_MSG_PULL_OK);
    ck_assert_uint_eq(answer_to(h.request, NULL).clock, 4);
    push_one(finishing_push(0, 8, 2, &only_element), 1);
    ck_assert(pull(0, 8, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 2);
}
END_TEST

/* ---- the end of an epoch -------------------------------------------------------- */

static struct ps_header rest(uint32_t rank, uint64_t clock, uint64_t number)
{
    struct ps_header h = worker_header(PS_MSG_PUSH, rank, clock);

    h.weight = 0;
    h.flags = PS_FLAG_REST;
    h.seq = number;
    h.wait_ms = 1000;
    return h;
}

static uint64_t send_rest(uint32_t rank, uint64_t clock, uint64_t number)
{
    struct ps_header h = rest(rank, clock, number);

    hand(0, rank, &h, NULL, 0, NULL, 0);
    return h.request;
}

static void expect_rested(uint64_t request, uint64_t clock)
{
    struct ps_header h = answer_to(request, NULL);

    ck_assert_uint_eq(h.kind, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(h.clock, clock);
}

static const uint32_t strategies[] = { PS_BSP, PS_ASP, PS_SSP, PS_BACKUP };

START_TEST(workers_with_fewer_batches_go_on_with_the_others)
{
    uint64_t short_one, long_one, again;

    cluster(1, 2, strategies[_i], PS_SGD);
    dense_matrix();
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    if (strategies[_i] == PS_BSP)
        push_one(finishing_push(1, 1, 1, &only_element), 1);
    short_one = send_rest(0, 1, 2);
    ck_assert_uint_eq(answer_to(short_one, NULL).kind, 0);
    for (uint64_t t = strategies[_i] == PS_BSP ? 2 : 1; t <= 9; t++)
        push_one(finishing_push(1, t, t, &only_element), 1);
    ck_assert(answer_to(short_one, NULL).kind == 0);
    long_one = send_rest(1, 9, 10);
    expect_rested(short_one, 9);
    expect_rested(long_one, 9);
    again = send_rest(0, 1, 2); /* the answer was lost */
    expect_rested(again, 9);
    push_one(finishing_push(0, 10, 3, &only_element), 1);
    push_one(finishing_push(1, 10, 11, &only_element), 1);
    again = send_rest(0, 1, 2);
    expect_rested(again, 9); /* in the words of the first time */
}
END_TEST

START_TEST(rest_waits_for_the_pushes_before_it)
{
    uint64_t early, other;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    other = send_rest(1, 0, 1);
    early = send_rest(0, 1, 2); /* it has overtaken push 1 */
    ck_assert_uint_eq(answer_to(early, NULL).kind, 0);
    ck_assert_uint_eq(answer_to(other, NULL).kind, 0);
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    expect_rested(early, 1);
    expect_rested(other, 1);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
}
END_TEST

START_TEST(those_who_rest_wake_when_the_last_one_leaves)
{
    uint64_t request;

    cluster(1, 2, strategies[_i], PS_SGD);
    dense_matrix();
    request = send_rest(0, 0, 1);
    ck_assert_uint_eq(answer_to(request, NULL).kind, 0);
    tell_member(1, 1, PS_MEMBER_LOST, 0);
    expect_rested(request, 0);
}
END_TEST

START_TEST(rest_that_waits_too_long_is_told_for_whom)
{
    static const uint32_t half[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_EXPECTED };
    uint64_t              request, again;

    cluster_of(1, 2, half);
    dense_matrix();
    request = send_rest(0, 0, 1);
    psd_shard_tick(shards[0], 1000000000, &out);
    expect_error(request, PS_ERR_TIMEOUT);
    ck_assert_str_eq(
        answer_to(request, NULL).text,
        "job test: the end of the epoch waits for worker 1 (not joined yet)");
    again = send_rest(0, 0, 1); /* repeated: the same words */
    expect_error(again, PS_ERR_TIMEOUT);
    again = send_rest(0, 0, 2); /* tried again */
    ck_assert_uint_eq(answer_to(again, NULL).kind, 0);
    send_members(3, (const uint32_t[]){ PS_MEMBER_ACTIVE, PS_MEMBER_ACTIVE });
    request = send_rest(1, 0, 1);
    expect_rested(request, 0);
    expect_rested(again, 0);
}
END_TEST

START_TEST(worker_that_pushes_does_not_rest_any_more)
{
    uint64_t request;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    request = send_rest(1, 0, 1);
    push_one(finishing_push(1, 1, 2, &only_element), 3);
    expect_error(request, PS_ERR_TIMEOUT);
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 2);
    request = send_rest(0, 1, 2);
    ck_assert_uint_eq(answer_to(request, NULL).kind, 0);
    request = send_rest(1, 0, 3);
    expect_rested(request, 1);
}
END_TEST

START_TEST(rest_that_comes_after_the_next_push_is_no_rest)
{
    uint64_t late;

    cluster(1, 2, PS_ASP, PS_SGD);
    dense_matrix();
    push_one(finishing_push(1, 1, 2, &only_element), 1); /* number 1 was a rest */
    late = send_rest(1, 0, 1);
    expect_error(late, PS_ERR_TIMEOUT);
    late = send_rest(0, 0, 1);
    ck_assert_uint_eq(answer_to(late, NULL).kind, 0);
}
END_TEST

START_TEST(rest_with_values_is_refused)
{
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = rest(0, 0, 1);
    h.ranges = &only_element;
    h.n_ranges = 1;
    expect_error(push_one(h, 1), PS_ERR_BAD_MESSAGE);
    h = rest(0, 0, 1);
    h.flags |= PS_FLAG_FINISH;
    h.parts = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    expect_error(h.request, PS_ERR_BAD_MESSAGE);
}
END_TEST

/* ---- what every strategy promises ------------------------------------------------ */

START_TEST(backup_iteration_holds_all_workers_but_the_spares)
{
    const float one[N] = { 1 };

    cluster_for(1, spec_of(5, PS_BACKUP, PS_ADD));
    dense_matrix();
    /* In each iteration another one is late; the counter takes what the others say. */
    for (uint64_t t = 1; t <= 30; t++) {
        for (uint32_t i = 0; i < 5; i++) {
            uint32_t rank = (uint32_t)((t + i) % 5);

            ck_assert_uint_eq(account(0).version, i < 4 ? t - 1 : t);
            push_part(rank, t, 0, 1, one, 1);
        }
        ck_assert(pull(0, t, value));
        ck_assert_float_eq(value[0], start[0] + 4 * (float)t);
    }
    ck_assert_uint_eq(account(0).late, 30);
}
END_TEST

START_TEST(older_member_list_changes_nothing)
{
    static const uint32_t gone[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_LOST };
    const float           one[N] = { 1 };

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    send_members(1, gone);
    push(1, 1, one);
    push(0, 1, one);
    ck_assert(pull(0, 1, value));
}
END_TEST

static uint64_t push_rows(uint32_t rank, uint64_t t, const uint64_t *keys, uint64_t n,
                          const float *rows, uint64_t cols)
{
    struct ps_header h = worker_header(PS_MSG_PUSH, rank, t);
    struct ps_range  range = { .matrix = 2, 0, n };

    h.seq = ++seq[rank][0];
    h.flags = PS_FLAG_FINISH;
    h.parts = 1;
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, rank, &h, keys, n * sizeof(*keys), rows, n * cols * sizeof(*rows));
    return h.request;
}

static const float *pull_rows(uint32_t rank, uint64_t clock, const uint64_t *keys,
                              uint64_t n)
{
    struct ps_header  h = worker_header(PS_MSG_PULL, rank, clock);
    struct ps_range   range = { .matrix = 2, 0, n };
    struct ps_parcel *p = NULL;

    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, rank, &h, keys, n * sizeof(*keys), NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, &p).kind, PS_MSG_PULL_OK);
    ck_assert_uint_eq(p->n_frames, 1);
    return (const float *)(const void *)p->frames[0]->data;
}

static void sparse_matrix_of(uint64_t max_rows, uint32_t evict)
{
    struct ps_matrix_spec m = matrix_spec(2, "rows");

    m.sparse = true;
    m.rows = 0;
    m.cols = 2;
    m.init = PS_INIT_ZERO;
    m.max_rows = max_rows;
    m.evict = evict;
    add_matrix(&m, PS_OK);
}

static void sparse_matrix(void)
{
    sparse_matrix_of(0, PS_EVICT_NONE);
}

/* Asks for up to 16 of the rows that there are; gives the request. */
static uint64_t list_rows(uint32_t rank, uint64_t clock, uint32_t wait_ms)
{
    struct ps_header h = worker_header(PS_MSG_ROWS, rank, clock);
    struct ps_range  range = { .matrix = 2, .first = 0, .count = 16 };

    h.ranges = &range;
    h.n_ranges = 1;
    h.wait_ms = wait_ms;
    hand(0, rank, &h, NULL, 0, NULL, 0);
    return h.request;
}

/* Are these the rows, in some order? */
static bool lists(uint64_t request, const uint64_t *keys, size_t n)
{
    struct ps_parcel *p = NULL;
    size_t            found = 0;

    ck_assert_uint_eq(answer_to(request, &p).kind, PS_MSG_ROWS_OK);
    if (p->n_frames == 0)
        return n == 0;
    for (size_t i = 0; i < n * n; i++)
        if (i / n < p->frames[0]->len / sizeof(*keys))
            found += ((const uint64_t *)(const void *)p->frames[0]->data)[i / n] ==
                     keys[i % n];
    return found == n && p->frames[0]->len == n * sizeof(*keys) &&
           p->frames[1]->len == n * 2 * sizeof(float);
}

static void everyone_pulls(void)
{
    for (uint32_t r = 0; r < job.workers; r++)
        ck_assert(pull(r, 0, value));
    forget_answers();
}

START_TEST(scale_gives_a_version_one_unit_of_weight)
{
    struct ps_job_spec spec = spec_of(3, PS_ASP, PS_SGD);
    const float        one[N] = { 1 }, three[N] = { 3 }, five[N] = { 5 };

    spec.scale = PS_SCALE_VERSIONS;
    cluster_for(2, spec);
    dense_matrix();
    everyone_pulls();
    push(2, 1, five);
    push(0, 1, one);
    ck_assert_uint_eq(account(0).state_bytes + account(1).state_bytes, sizeof(value));
    push(1, 1, three);
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq_tol(value[0], start[0] - 0.5f * 3, 1e-6);
    ck_assert_uint_eq(account(0).state_bytes, 0); /* nobody can share it any more */
    push(1, 2, five);
    ck_assert(pull(1, 2, value));
    ck_assert_float_eq_tol(value[0], start[0] - 0.5f * (3 + 5), 1e-6);
}
END_TEST

START_TEST(scale_counts_an_iteration_in_parts_once)
{
    struct ps_job_spec spec = spec_of(2, PS_ASP, PS_SGD);
    struct ps_range    range = { .matrix = 1, 0, 16 };
    const float        one[N] = { 1 }, two[N] = { 2 }, five[N] = { 5 };
    struct ps_header   h;

    spec.scale = PS_SCALE_VERSIONS;
    cluster_for(1, spec);
    dense_matrix();
    everyone_pulls();
    h = finishing_push(0, 1, ++seq[0][0], &range); /* overtakes the first part */
    h.parts = 2;
    hand(0, 0, &h, one, 16 * sizeof(float), NULL, 0);
    push(1, 1, five);
    h = finishing_push(0, 1, ++seq[0][0], &range);
    h.flags = h.parts = 0;
    hand(0, 0, &h, two, 16 * sizeof(float), NULL, 0);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq_tol(value[0], start[0] - 0.5f * (1 + 2 + 5) / 2, 1e-6);
}
END_TEST

START_TEST(scale_forgets_what_a_leaver_had)
{
    static const uint32_t gone[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_LEFT };
    struct ps_job_spec    spec = spec_of(2, PS_ASP, PS_SGD);
    const float           one[N] = { 1 };

    spec.scale = _i ? PS_SCALE_VERSIONS : PS_SCALE_DELAY;
    cluster_for(1, spec);
    dense_matrix();
    everyone_pulls();
    push(0, 1, one);
    ck_assert(pull(0, 1, value));
    push(0, 2, one);
    ck_assert(pull(0, 2, value));
    ck_assert_uint_ge(account(0).state_bytes, sizeof(value));
    send_members(2, gone);
    push(0, 3, one);
    ck_assert(pull(0, 3, value));
    push(0, 4, one);
    forget_answers();
    ck_assert_uint_le(account(0).state_bytes, _i ? 0 : sizeof(value));
}
END_TEST

START_TEST(scale_shares_among_rows_and_not_among_counters)
{
    struct ps_job_spec    spec = spec_of(2, PS_ASP, PS_SGD);
    struct ps_matrix_spec tally = matrix_spec(1, "tally");
    const uint64_t        keys[] = { 9, 4, 9 };
    const float           first[] = { 1, 2, 10, 20, 2, 3 }, second[] = { 5, 9, 4, 8 };
    const float          *got;
    struct ps_range       range = { .matrix = 1, 0, 1 };
    struct ps_header      h;
    struct ps_parcel     *p = NULL;
    int64_t               one = 1, counted;

    spec.scale = PS_SCALE_VERSIONS;
    cluster_for(1, spec);
    tally.dtype = PS_I64;
    tally.cols = 1;
    tally.init = PS_INIT_ZERO;
    tally.optimiser = PS_ADD;
    add_matrix(&tally, PS_OK);
    sparse_matrix();
    pull_rows(1, 0, keys, 2);
    push_rows(0, 1, keys, 3, first, 2); /* row 9 twice: 1 + 2, 2 + 3 */
    push_rows(1, 1, keys, 2, second, 2);
    got = pull_rows(1, 1, keys, 2);
    ck_assert_float_eq_tol(got[0], -0.5f * (3 + 5) / 2, 1e-6);
    ck_assert_float_eq_tol(got[1], -0.5f * (5 + 9) / 2, 1e-6);
    ck_assert_float_eq_tol(got[2], -0.5f * (10 + 4) / 2, 1e-6);
    ck_assert_float_eq_tol(got[3], -0.5f * (20 + 8) / 2, 1e-6);
    for (uint32_t r = 0; r < 2; r++) {
        h = finishing_push(r, 2, ++seq[r][0], &range);
        hand(0, r, &h, &one, sizeof(one), NULL, 0);
    }
    h = worker_header(PS_MSG_PULL, 0, 2);
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, &p).kind, PS_MSG_PULL_OK);
    memcpy(&counted, p->frames[0]->data, sizeof(counted));
    ck_assert_int_eq(counted, 2);
}
END_TEST

/* Worker 0's values rode on its push; meanwhile worker 1 has moved the model. */
START_TEST(scale_compensates_for_values_that_rode_on_a_push)
{
    struct ps_job_spec spec = spec_of(2, PS_ASP, PS_SGD);
    struct ps_range    range = { .matrix = 1, 0, 16 };
    const float        one[N] = { 1 }, two[N] = { 2 };
    struct ps_header   h;

    spec.scale = PS_SCALE_DELAY;
    spec.lambda = 0.25;
    cluster_for(1, spec);
    dense_matrix();
    h = finishing_push(0, 1, ++seq[0][0], &range);
    h.flags |= PS_FLAG_PULL;
    hand(0, 0, &h, one, 16 * sizeof(float), NULL, 0);
    base[0][0] = answer_to(h.request, NULL).version;
    ck_assert_uint_eq(base[0][0], 1);
    push(1, 1, two); /* never pulled: as it is */
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq_tol(value[0], start[0] - 0.5f - 1, 1e-6);
    push(0, 2, two);
    ck_assert(pull(1, 1, value));
    ck_assert_float_eq_tol(value[0], start[0] - 1.5f - 0.5f * (2 + 0.25f * 4 * -1),
                           1e-6);
}
END_TEST

START_TEST(repeated_keys_of_a_push_are_summed_before_the_step)
{
    const uint64_t keys[] = { 7, UINT64_MAX, 7 };
    const float    rows[] = { 1, 2, 10, 20, 2, 3 };
    const float   *got;

    cluster(1, 1, PS_ASP, PS_ADAGRAD);
    sparse_matrix();
    push_rows(0, 1, keys, 3, rows, 2);
    got = pull_rows(0, 1, keys, 3);
    /* Adagrad's first step is lr * g / |g|: two steps would be longer than one. */
    for (int i = 0; i < 6; i++)
        ck_assert_float_eq_tol(got[i], -0.5f, 1e-5f);
}
END_TEST

START_TEST(bsp_rows_are_summed_over_workers_in_rank_order)
{
    const uint64_t a[] = { 1, 2 }, b[] = { 2, 3 };
    const uint64_t all[] = { 3, 2, 1 };
    const float    rows[] = { 4, 8, 4, 8 };
    const float   *got;

    cluster(1, 2, PS_BSP, PS_SGD);
    sparse_matrix();
    push_rows(1, 1, b, 2, rows, 2);
    push_rows(0, 1, a, 2, rows, 2);
    got = pull_rows(0, 1, all, 3);
    ck_assert_float_eq(got[0], -1.0f);
    ck_assert_float_eq(got[2], -2.0f);
    ck_assert_float_eq(got[4], -1.0f);
}
END_TEST

/* Under bsp a push is refused when it comes, not when its iteration closes. */
START_TEST(a_row_too_many_is_refused_at_once_and_what_is_held_stays)
{
    const uint64_t   a[] = { 1, 2 }, b[] = { 3, 4 };
    const float      rows[] = { 4, 8, 4, 8 };
    const float     *got;
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    sparse_matrix_of(3, _i ? PS_EVICT_LRU : PS_EVICT_NONE);
    push_rows(0, 1, a, 2, rows, 2);
    expect_error(push_rows(1, 1, b, 2, rows, 2), PS_ERR_LIMIT);

    h = worker_header(PS_MSG_PUSH, 1, 1); /* it is withdrawn */
    h.seq = seq[1][0];
    h.flags = PS_FLAG_FINISH;
    h.parts = 1;
    hand(0, 1, &h, NULL, 0, NULL, 0);
    got = pull_rows(0, 1, a, 2);
    ck_assert_float_eq(got[0], -1.0f); /* the mean over both */
    ck_assert_float_eq(got[3], -2.0f);
    ck_assert(lists(list_rows(0, 1, 0), a, 2));
}
END_TEST

START_TEST(rows_of_one_that_leaves_are_not_held_any_more)
{
    static const uint32_t gone[2][2] = { { PS_MEMBER_ACTIVE, PS_MEMBER_LEFT },
                                         { PS_MEMBER_ACTIVE, PS_MEMBER_LOST } };
    const uint64_t        a[] = { 1, 2 }, b[] = { 3, 4 };
    const float           rows[] = { 4, 8, 4, 8 };
    struct ps_range       range = { .matrix = 2, 0, 2 };
    struct ps_header      h;

    cluster(1, 2, PS_BSP, PS_SGD);
    sparse_matrix_of(2, PS_EVICT_LRU);
    h = worker_header(PS_MSG_PUSH, 1, 1); /* its iteration has not ended */
    h.seq = ++seq[1][0];
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 1, &h, a, sizeof(a), rows, sizeof(rows));
    expect_error(push_rows(0, 1, b, 2, rows, 2), PS_ERR_LIMIT);
    seq[0][0]--;
    send_members(2, gone[_i]);
    push_rows(0, 1, b, 2, rows, 2);
    ck_assert(lists(list_rows(0, 1, 0), b, 2));
    ck_assert_float_eq(pull_rows(0, 1, b, 2)[0], -2.0f);
}
END_TEST

START_TEST(list_of_rows_waits_for_its_iteration)
{
    const uint64_t    a[] = { 1, 2 }, b[] = { 3 }, all[] = { 1, 2, 3 };
    const float       rows[] = { 4, 8, 4, 8 };
    struct ps_parcel *p = NULL;
    uint64_t          patient, hasty;

    cluster(1, 2, PS_BSP, PS_SGD);
    sparse_matrix();
    push_rows(0, 1, a, 2, rows, 2);
    patient = list_rows(0, 1, 0);
    hasty = list_rows(0, 1, 1000);
    ck_assert_uint_eq(answer_to(patient, NULL).kind, 0);
    psd_shard_tick(shards[0], 1000000000, &out);
    expect_error(hasty, PS_ERR_TIMEOUT);
    ck_assert_str_eq(answer_to(hasty, NULL).text,
                     "job test: iteration 1 waits for worker 1");
    push_rows(1, 1, b, 1, rows, 2);
    ck_assert(lists(patient, all, 3));
    ck_assert_uint_eq(answer_to(patient, &p).clock, 1);
    for (int i = 0; i < 3; i++) /* what the close has made of them */
        ck_assert_float_eq(((const float *)(const void *)p->frames[1]->data)[2 * i],
                           -1.0f);
}
END_TEST

START_TEST(key_frame_of_the_wrong_size_is_refused)
{
    const uint64_t keys[] = { 1 };
    const float    rows[] = { 1, 1, 1, 1 };
    uint64_t       request;

    cluster(1, 1, PS_ASP, PS_SGD);
    sparse_matrix();
    {
        struct ps_header h = worker_header(PS_MSG_PUSH, 0, 1);
        struct ps_range  range = { .matrix = 2, 0, 2 };

        h.seq = 1;
        h.ranges = &range;
        h.n_ranges = 1;
        request = h.request;
        hand(0, 0, &h, keys, sizeof(keys), rows, sizeof(rows));
    }
    expect_error(request, PS_ERR_BAD_MESSAGE);
}
END_TEST

/* The last range needs no padding, but all of its values. */
START_TEST(values_that_end_early_are_refused)
{
    const float     values[] = { 1, 1 };
    struct ps_range range = { .matrix = 1, .first = 0, .count = 1 };

    cluster(1, 1, PS_ASP, PS_SGD);
    dense_matrix();
    for (size_t bytes = 0; bytes < 4; bytes++) {
        struct ps_header h = finishing_push(0, 1, 1, &range);

        hand(0, 0, &h, values, bytes, NULL, 0);
        expect_error(h.request, PS_ERR_BAD_MESSAGE);
    }
    for (size_t bytes = 4; bytes <= 8; bytes += 4) {
        struct ps_header h = finishing_push(0, bytes / 4, bytes / 4, &range);

        hand(0, 0, &h, values, bytes, NULL, 0);
        ck_assert_uint_eq(answer_to(h.request, NULL).kind, PS_MSG_PUSH_OK);
    }
}
END_TEST

START_TEST(counters_are_exact)
{
    struct ps_matrix_spec m = matrix_spec(1, "tally");
    int64_t               add[2] = { 1, (int64_t)1 << 60 };
    struct ps_range       range = { .matrix = 1, 0, 2 };
    struct ps_parcel     *p = NULL;
    struct ps_header      h;

    cluster(1, 2, PS_BSP, PS_SGD);
    m.dtype = PS_I64;
    m.cols = 2;
    m.init = PS_INIT_ZERO;
    m.optimiser = PS_ADD;
    add_matrix(&m, PS_OK);
    for (uint64_t t = 1; t <= 3; t++)
        for (uint32_t r = 0; r < 2; r++) {
            h = finishing_push(r, t, t, &range);
            hand(0, r, &h, add, sizeof(add), NULL, 0);
        }
    h = worker_header(PS_MSG_PULL, 0, 3);
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, &p).kind, PS_MSG_PULL_OK);
    memcpy(add, p->frames[0]->data, sizeof(add));
    ck_assert_int_eq(add[0], 6); /* summed, though the job takes means */
    ck_assert_int_eq(add[1], (int64_t)(6 * ((uint64_t)1 << 60)));
}
END_TEST

START_TEST(observer_reads_the_newest_without_waiting)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PULL, UINT32_MAX, UINT64_MAX);
    h.session = OBSERVER_SESSION;
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 5, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, PS_MSG_PULL_OK);
}
END_TEST

START_TEST(a_shard_tells_what_each_matrix_takes_as_far_as_there_is_room)
{
    struct ps_header h = header(PS_MSG_STATS);
    uint64_t         bytes = 0;

    cluster(1, 2, PS_BSP, PS_ADAM);
    for (uint32_t i = 1; i <= 300; i++) {
        struct ps_matrix_spec m = matrix_spec(i, "w");

        snprintf(m.name, sizeof(m.name), "w%u", i);
        add_matrix(&m, PS_OK);
    }
    h.session = CONTROL;
    hand(0, 99, &h, NULL, 0, NULL, 0);
    h = answer_to(h.request, NULL);
    ck_assert_uint_gt(h.n_job_stats, 200);
    ck_assert_uint_eq(h.job_stats[1].matrix, 0);
    ck_assert_uint_eq(h.job_stats[1].bytes, 300 * sizeof(value));
    for (uint32_t i = 2; i < h.n_job_stats; i++) {
        ck_assert_uint_eq(h.job_stats[i].job, 1);
        ck_assert_uint_eq(h.job_stats[i].matrix, i - 1);
        ck_assert_uint_eq(h.job_stats[i].state_bytes, 2 * h.job_stats[i].bytes);
        bytes += h.job_stats[i].bytes;
    }
    ck_assert_uint_eq(bytes, (h.n_job_stats - 2) * sizeof(value));
}
END_TEST

START_TEST(only_the_coordinator_gives_orders)
{
    struct ps_header h = header(PS_MSG_JOB_END);

    cluster(1, 1, PS_BSP, PS_SGD);
    h.session = CONTROL + 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    expect_error(h.request, PS_ERR_DENIED);
    ck_assert_uint_eq(psd_shard_count(shards[0]).denied, 1);
}
END_TEST

START_TEST(account_counts_what_the_driver_dropped)
{
    struct ps_header ask = header(PS_MSG_STATS);
    struct ps_header h;

    cluster(1, 1, PS_BSP, PS_SGD);
    psd_shard_dropped(shards[0], 3);
    ask.session = CONTROL;
    hand(0, 99, &ask, NULL, 0, NULL, 0);
    h = answer_to(ask.request, NULL);
    ck_assert_uint_eq(h.kind, PS_MSG_STATS_OK);
    ck_assert_uint_eq(h.job_stats[0].job, 0);
    ck_assert_uint_eq(h.job_stats[0].skipped, 3);
}
END_TEST

START_TEST(orders_may_come_twice)
{
    struct ps_header      h = header(PS_MSG_JOB);
    struct ps_matrix_spec m = matrix_spec(1, "w");

    cluster(1, 1, PS_BSP, PS_SGD);
    dense_matrix();
    h.session = CONTROL;
    h.n_shards = 1;
    h.job_spec = &job;
    hand(0, 99, &h, NULL, 0, NULL, 0);
    expect_ok(h.request);
    add_matrix(&m, PS_OK);
    m.cols++;
    add_matrix(&m, PS_ERR_SHAPE);
}
END_TEST

START_TEST(impossible_matrix_is_refused)
{
    struct ps_matrix_spec m = matrix_spec(3, "counts");

    cluster(1, 1, PS_BSP, PS_SGD);
    m.dtype = PS_I64; /* with sgd */
    add_matrix(&m, PS_ERR_BAD_ARG);
}
END_TEST

START_TEST(end_of_the_job_answers_those_who_wait)
{
    struct ps_header end = header(PS_MSG_JOB_END);
    struct ps_range  range = { .matrix = 1, 0, 16 };
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PULL, 0, 1);
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    end.session = CONTROL;
    hand(0, 99, &end, NULL, 0, NULL, 0);
    expect_ok(end.request);
    expect_error(h.request, PS_ERR_UNKNOWN);
}
END_TEST

START_TEST(closing_shard_tells_everyone_why)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PULL, 1, 1);
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 1, &h, NULL, 0, NULL, 0);
    psd_shard_close(shards[0], "psd received SIGTERM", &out);
    expect_error(h.request, PS_ERR_CLOSING);
    ck_assert_str_eq(answer_to(0, NULL).text, "psd received SIGTERM");
    ck_assert_uint_eq(answer_to(0, NULL).kind, PS_MSG_NOTICE);
    ck_assert_uint_eq(out.n, 3); /* the one that waits, and a notice to each */
}
END_TEST

START_TEST(damaged_messages_are_counted_and_do_no_harm)
{
    struct ps_range  range = { .matrix = 1, 0, 16 };
    float            one[16] = { 1 };
    struct ps_header h;
    struct ps_buf   *head;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = 1;
    h.ranges = &range;
    h.n_ranges = 1;
    ck_assert_ok(ps_wire_encode(&h, &head));
    for (uint64_t i = 0; i < 20000; i++) {
        struct ps_parcel p = { .route = route_of(0), .n_frames = 1 };

        ck_assert_ok(ps_buf_copy(&p.head, head->data, head->len));
        ck_assert_ok(ps_buf_copy(&p.frames[0], one, sizeof(one)));
        p.head->data[ps_random_below(1, 1, i, head->len)] ^=
            (uint8_t)(1 + ps_random_below(1, 2, i, 255));
        if (i % 3 == 0)
            p.head->len = ps_random_below(1, 3, i, head->len);
        psd_shard_handle(shards[0], 0, &p, &out);
        forget_answers();
    }
    ps_buf_drop(&head);
    ck_assert_uint_gt(psd_shard_count(shards[0]).bad_messages, 0);
    ck_assert(pull(1, 0, value));
    ck_assert_mem_eq(value, start, sizeof(value));
}
END_TEST

static Suite *shard_suite(void)
{
    Suite *s = suite_create("shard");
    TCase *t = tcase_create("messages");

    tcase_add_checked_fixture(t, make_decoder, free_all);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, bsp_step_is_the_weighted_mean);
    tcase_add_test(t, sums_of_batches_are_weighed_by_the_samples_of_one);
    tcase_add_test(t, batches_of_finished_pushes_are_counted);
    tcase_add_test(t, differences_of_models_are_averaged_and_added);
    tcase_add_test(t, differences_of_models_are_scaled_and_added_at_once);
    tcase_add_test(t, order_of_arrival_and_number_of_shards_change_no_bit);
    tcase_add_test(t, overlapping_parts_change_no_bit_either);
    tcase_add_test(t, pull_is_answered_when_its_iteration_closes);
    tcase_add_test(t, pull_that_waits_too_long_is_told_for_whom);
    tcase_add_test(t, push_pull_is_one_round_trip);
    tcase_add_test(t, repeated_push_is_acknowledged_and_not_applied);
    tcase_add_test(t, asp_applies_at_once);
    tcase_add_test(t, backup_divides_by_what_was_accepted);
    tcase_add_test(t, late_push_that_comes_twice_is_late_twice);
    tcase_add_test(t, half_of_a_late_iteration_is_dropped);
    tcase_add_test(t, ssp_waits_for_the_slowest_and_sees_its_own);
    tcase_add_test(t, scale_divides_by_workers);
    tcase_add_test(t, scale_divides_by_staleness);
    tcase_add_test(t, scale_gives_a_version_one_unit_of_weight);
    tcase_add_test(t, scale_counts_an_iteration_in_parts_once);
    tcase_add_loop_test(t, scale_forgets_what_a_leaver_had, 0, 2);
    tcase_add_test(t, scale_shares_among_rows_and_not_among_counters);
    tcase_add_test(t, scale_compensates_for_values_that_rode_on_a_push);
    tcase_add_test(t, staleness_is_counted_from_the_values_that_were_used);
    tcase_add_test(t, iteration_in_parts_is_as_old_as_its_oldest);
    tcase_add_loop_test(t, refused_push_leaves_no_trace, 0, N_FAULTS);
    tcase_add_test(t, nonfinite_push_can_be_skipped);
    tcase_add_test(t, iteration_goes_on_without_the_one_that_left);
    tcase_add_test(t, half_of_an_iteration_of_a_lost_worker_is_dropped);
    tcase_add_test(t, worker_that_comes_again_starts_anew_and_is_waited_for);
    tcase_add_test(t, half_of_an_iteration_of_an_earlier_life_is_dropped);
    tcase_add_test(
        t, iteration_finished_in_an_earlier_life_counts_and_is_not_asked_for_again);
    tcase_add_test(t, worker_that_begins_later_is_not_waited_for_before);
    tcase_add_test(t,
                   worker_is_believed_that_skips_iterations_when_nothing_is_under_way);
    tcase_add_loop_test(t, workers_with_fewer_batches_go_on_with_the_others, 0, 3);
    tcase_add_test(t, rest_waits_for_the_pushes_before_it);
    tcase_add_loop_test(t, those_who_rest_wake_when_the_last_one_leaves, 0, 4);
    tcase_add_test(t, rest_that_waits_too_long_is_told_for_whom);
    tcase_add_test(t, worker_that_pushes_does_not_rest_any_more);
    tcase_add_test(t, rest_that_comes_after_the_next_push_is_no_rest);
    tcase_add_test(t, rest_with_values_is_refused);
    tcase_add_test(t, backup_iteration_holds_all_workers_but_the_spares);
    tcase_add_test(t, older_member_list_changes_nothing);
    tcase_add_test(t, repeated_keys_of_a_push_are_summed_before_the_step);
    tcase_add_test(t, bsp_rows_are_summed_over_workers_in_rank_order);
    tcase_add_loop_test(t, a_row_too_many_is_refused_at_once_and_what_is_held_stays, 0,
                        2);
    tcase_add_loop_test(t, rows_of_one_that_leaves_are_not_held_any_more, 0, 2);
    tcase_add_test(t, list_of_rows_waits_for_its_iteration);
    tcase_add_test(t, key_frame_of_the_wrong_size_is_refused);
    tcase_add_test(t, values_that_end_early_are_refused);
    tcase_add_test(t, counters_are_exact);
    tcase_add_test(t, observer_reads_the_newest_without_waiting);
    tcase_add_test(t, a_shard_tells_what_each_matrix_takes_as_far_as_there_is_room);
    tcase_add_test(t, only_the_coordinator_gives_orders);
    tcase_add_test(t, account_counts_what_the_driver_dropped);
    tcase_add_test(t, orders_may_come_twice);
    tcase_add_test(t, impossible_matrix_is_refused);
    tcase_add_test(t, end_of_the_job_answers_those_who_wait);
    tcase_add_test(t, closing_shard_tells_everyone_why);
    tcase_add_test(t, damaged_messages_are_counted_and_do_no_harm);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(shard_suite)
