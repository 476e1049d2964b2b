/* plain_shards.c - see plain_shards.h. */
#include "tests/unit/plain_shards.h"

#include "common/base/random.h"

#include <math.h>

struct psd_shard  *shards[SHARDS_MAX];
uint32_t           n_shards;
struct ps_outbox   out;
struct ps_job_spec job;
struct ps_place    place;
uint64_t           seq[8][SHARDS_MAX];
uint64_t           base[8][SHARDS_MAX];
float              value[N], start[N], g[8][N];

static struct ps_decoder *decoder;

struct ps_route route_of(uint32_t rank)
{
    return (
        struct ps_route){ .kind = PS_ROUTE_PEER, .bytes = 4, .id = { (uint8_t)rank } };
}

struct ps_header header(uint32_t kind)
{
    static uint64_t next_request;

    return (struct ps_header){ .kind = kind,
                               .request = ++next_request,
                               .job = 1,
                               .server_epoch = EPOCH,
                               .text = "",
                               .name = "",
                               .token = "" };
}

void hand(uint32_t shard, uint32_t rank, const struct ps_header *h, const void *frame0,
          size_t bytes0, const void *frame1, size_t bytes1)
{
    struct ps_parcel p = { .route = route_of(rank) };

    ck_assert_ok(ps_wire_encode(h, &p.head));
    if (frame0)
        ck_assert_ok(ps_buf_copy(&p.frames[p.n_frames++], frame0, bytes0));
    if (frame1)
        ck_assert_ok(ps_buf_copy(&p.frames[p.n_frames++], frame1, bytes1));
    psd_shard_handle(shards[shard], 0, &p, &out);
}

struct ps_header answer_to(uint64_t request, struct ps_parcel **parcel)
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

void forget_answers(void)
{
    ps_outbox_clear(&out);
}

void expect_ok(uint64_t request)
{
    struct ps_header h = answer_to(request, NULL);

    ck_assert_msg(h.kind == PS_MSG_OK, "answer is %s: %s", ps_kind_name(h.kind),
                  h.text ? h.text : "");
}

void expect_error(uint64_t request, ps_status status)
{
    struct ps_header h = answer_to(request, NULL);

    ck_assert_uint_eq(h.kind, PS_MSG_ERROR);
    ck_assert_int_eq(h.status, status);
    ck_assert_uint_gt(strlen(h.text), 0);
}

void send_members(uint64_t epoch, const uint32_t *states)
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

struct ps_job_spec spec_of(uint32_t workers, uint32_t strategy, uint32_t optimiser)
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

void cluster_for(uint32_t n, struct ps_job_spec spec)
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

void cluster_of(uint32_t n, uint32_t workers, const uint32_t *states)
{
    cluster_for(n, spec_of(workers, PS_BSP, PS_SGD));
    send_members(2, states);
}

void cluster(uint32_t n, uint32_t workers, uint32_t strategy, uint32_t optimiser)
{
    cluster_for(n, spec_of(workers, strategy, optimiser));
}

void end_cluster(void)
{
    for (uint32_t s = 0; s < n_shards; s++)
        psd_shard_free(&shards[s]);
    n_shards = 0;
    forget_answers();
}

struct ps_matrix_spec matrix_spec(uint32_t number, const char *name)
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

void add_matrix(const struct ps_matrix_spec *m, ps_status expected)
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

struct ps_header worker_header(uint32_t kind, uint32_t rank, uint64_t clock)
{
    struct ps_header h = header(kind);

    h.rank = rank;
    h.incarnation = 1;
    h.session = SESSION(rank);
    h.clock = clock;
    h.weight = 1;
    return h;
}

struct ps_header finishing_push(uint32_t rank, uint64_t t, uint64_t number,
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

uint64_t push_part(uint32_t rank, uint64_t t, uint64_t from, uint64_t to,
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

uint64_t push(uint32_t rank, uint64_t t, const float *grad)
{
    return push_part(rank, t, 0, N, grad, 1);
}

bool pull(uint32_t rank, uint64_t clock, float *to)
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
            memcpy((char *)(to + piece.first) + n, p->frames[f]->data, bytes);
            n += bytes;
        }
        ck_assert_uint_eq(n, piece.count * sizeof(float));
    }
    return all;
}

void gradient(uint32_t rank, uint64_t t, float *to)
{
    for (uint32_t i = 0; i < N; i++)
        to[i] = (float)ps_random_normal(rank, t, i);
}

void dense_matrix(void)
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

struct ps_job_stats account(uint32_t shard)
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

TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_add_checked_fixture(t, make_decoder, free_all);
    tcase_set_timeout(t, 60);
    suite_add_tcase(s, t);
    return t;
}
