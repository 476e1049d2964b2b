/* shard.c - see shard.h. */
#include "bench/shard.h"

#include "common/base/limits.h"
#include "common/base/random.h"
#include "common/wire/wire.h"
#include "server/shard/shard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL 1u
#define SESSION 2u /* and the rank */
#define WORKERS 8u
#define CHUNK_ELEMENTS (PS_CHUNK_BYTES / sizeof(float))
#define ROW_BYTES (BENCH_SHARD_COLS * sizeof(float))

struct bench_shard {
    struct bench_shard_options options;
    struct psd_shard          *shard;
    struct ps_decoder         *decoder;
    struct ps_outbox           out;
    struct ps_buf             *gradient; /* of a request */
    uint32_t                   n_parts;  /* requests for the whole matrix */
    struct ps_buf            **keys;     /* [n_parts]; NULL: dense */
    uint64_t                   asked;
    uint64_t                   request, seq[WORKERS], clock[WORKERS];
    uint64_t                   parts[WORKERS]; /* pushed of the open iteration */
};

static bool is_sparse(const struct bench_shard *s)
{
    return s->options.elements == 0;
}

/* Only when there is memory for a message is one lost here, and the run with it. */
static ps_status hand(struct bench_shard *s, struct ps_header *h,
                      struct ps_buf *const *frames, uint32_t n_frames,
                      uint32_t expected)
{
    struct ps_parcel p = { .route = { .kind = PS_ROUTE_PEER, .bytes = 1 } };
    struct ps_header answer;
    ps_status        st;

    h->job = 1;
    h->request = ++s->request;
    p.route.id[0] = (uint8_t)h->rank;
    st = ps_wire_encode(h, &p.head);
    if (st)
        return st;
    for (; p.n_frames < n_frames; p.n_frames++)
        p.frames[p.n_frames] = ps_buf_share(frames[p.n_frames]);
    psd_shard_handle(s->shard, 1, &p, &s->out);
    if (s->out.n != 1)
        return ps_fail(PS_ERR_DATA, "shard: %zu answers to a %s, expected one",
                       s->out.n, ps_kind_name(h->kind));
    st = ps_wire_decode(s->decoder, s->out.parcels[0].head->data,
                        s->out.parcels[0].head->len, &answer);
    if (!st && answer.kind != expected)
        st = ps_fail(PS_ERR_DATA, "shard: a %s is answered with %s: %s",
                     ps_kind_name(h->kind), ps_kind_name(answer.kind), answer.text);
    return st;
}

/* ---- the job -------------------------------------------------------------------- */

static ps_status control(struct bench_shard *s, struct ps_header *h)
{
    ps_status st;

    h->session = CONTROL;
    st = hand(s, h, NULL, 0, PS_MSG_OK);
    ps_outbox_clear(&s->out);
    return st;
}

static ps_status begin_job(struct bench_shard *s)
{
    struct ps_job_spec spec = ps_job_spec_default();
    struct ps_member   members[WORKERS];
    struct ps_header   h = { .kind = PS_MSG_JOB,
                             .n_shards = 1,
                             .job_spec = &spec,
                             .membership_epoch = 1,
                             .n_members = s->options.workers,
                             .members = members };

    strcpy(spec.name, "scale");
    spec.workers = s->options.workers;
    spec.strategy = s->options.strategy;
    spec.optimiser = ps_optimiser_spec_default(s->options.optimiser);
    for (uint32_t r = 0; r < s->options.workers; r++)
        members[r] = (struct ps_member){ .rank = r,
                                         .incarnation = 1,
                                         .state = PS_MEMBER_ACTIVE,
                                         .session = SESSION + r };
    return control(s, &h);
}

static ps_status add_matrix(struct bench_shard *s)
{
    struct ps_matrix_spec spec = { .name = "model",
                                   .number = 1,
                                   .dtype = PS_F32,
                                   .sparse = is_sparse(s),
                                   .rows = is_sparse(s) ? 0 : 1,
                                   .cols = is_sparse(s) ? BENCH_SHARD_COLS
                                                        : s->options.elements,
                                   .init = PS_INIT_ZERO,
                                   .optimiser = s->options.optimiser,
                                   .weight_decay = NAN };
    struct ps_place       place;
    struct ps_slot_run    run = { .shard = 0 };
    struct ps_header      h = { .kind = PS_MSG_MATRIX_ADD,
                                .n_matrices = 1,
                                .matrices = &spec,
                                .n_slot_runs = 1,
                                .slot_runs = &run };

    ps_place_cut(&place, &spec);
    run.n_slots = place.n_slots;
    return control(s, &h);
}

/* ---- requests ------------------------------------------------------------------- */

static struct ps_range range_of(const struct bench_shard *s, uint32_t part)
{
    if (is_sparse(s))
        return (struct ps_range){ .matrix = 1, .count = s->options.batch };
    return (struct ps_range){ .matrix = 1,
                              .first = part * CHUNK_ELEMENTS,
                              .count = CHUNK_ELEMENTS };
}

static struct ps_header from_worker(uint32_t kind, uint32_t rank,
                                    const struct ps_range *range)
{
    return (struct ps_header){ .kind = kind,
                               .session = SESSION + rank,
                               .rank = rank,
                               .incarnation = 1,
                               .weight = 1,
                               .n_ranges = 1,
                               .ranges = range };
}

/* The answer stays in the outbox. */
static ps_status pull(struct bench_shard *s, uint32_t part)
{
    struct ps_range  range = range_of(s, part);
    struct ps_header h = from_worker(PS_MSG_PULL, 0, &range);

    h.clock = s->clock[0];
    return hand(s, &h, is_sparse(s) ? &s->keys[part] : NULL, is_sparse(s),
                PS_MSG_PULL_OK);
}

/* An iteration is the whole matrix, pushed once. */
static ps_status push(struct bench_shard *s, uint32_t rank, uint32_t part)
{
    struct ps_range  range = range_of(s, part);
    struct ps_header h = from_worker(PS_MSG_PUSH, rank, &range);
    struct ps_buf   *frames[] = { is_sparse(s) ? s->keys[part] : s->gradient,
                                s->gradient };

    h.seq = ++s->seq[rank];
    h.clock = s->clock[rank] + 1;
    if (++s->parts[rank] == s->n_parts) {
        h.flags = PS_FLAG_FINISH;
        h.parts = s->n_parts;
        s->parts[rank] = 0;
        s->clock[rank]++;
    }
    return hand(s, &h, frames, is_sparse(s) ? 2 : 1, PS_MSG_PUSH_OK);
}

ps_status bench_shard_ask(struct bench_shard *s)
{
    const uint32_t part = (uint32_t)(s->asked % s->n_parts);
    const uint32_t rank = (uint32_t)(s->asked / s->n_parts % s->options.workers);
    ps_status      st = s->options.pulls ? pull(s, part) : push(s, rank, part);

    s->asked++;
    ps_outbox_clear(&s->out);
    return st;
}

uint64_t bench_shard_moves(const struct bench_shard *s)
{
    return is_sparse(s) ? s->options.batch : PS_CHUNK_BYTES;
}

/* ---- the proof ------------------------------------------------------------------ */

/* What was pulled of `part` has one value in all elements; *value: NAN or that one. */
static ps_status check_part(const struct bench_shard *s, uint32_t part, float *value)
{
    const struct ps_buf *frame = s->out.parcels[0].frames[0];
    const float         *got = (const float *)(const void *)frame->data;

    if (isnan(*value))
        *value = got[0];
    for (size_t i = 0; i < s->gradient->len / sizeof(*got); i++)
        if (got[i] != *value)
            return ps_fail(PS_ERR_DATA,
                           "shard: element %zu of part %u is %g, expected %g", i, part,
                           (double)got[i], (double)*value);
    return PS_OK;
}

/* Ends the iteration that is open, so that all was pushed as often. */
static ps_status even_out(struct bench_shard *s)
{
    ps_status st = PS_OK;

    while (!st && !s->options.pulls && s->asked % (s->n_parts * s->options.workers))
        st = bench_shard_ask(s);
    return st;
}

ps_status bench_shard_check(struct bench_shard *s)
{
    ps_status st = even_out(s);
    float     value = s->options.optimiser == PS_ADD ? (float)s->clock[0] : NAN;

    for (uint32_t part = 0; !st && part < s->n_parts; part++) {
        st = pull(s, part);
        if (!st)
            st = check_part(s, part, &value);
        ps_outbox_clear(&s->out);
    }
    return st;
}

/* ---- life ----------------------------------------------------------------------- */

static ps_status make_gradient(struct bench_shard *s)
{
    const size_t bytes = is_sparse(s) ? s->options.batch * ROW_BYTES : PS_CHUNK_BYTES;
    const float  one = 1;
    ps_status    st = ps_buf_new(&s->gradient, bytes);

    for (; !st && s->gradient->len < bytes; s->gradient->len += sizeof(one))
        memcpy(s->gradient->data + s->gradient->len, &one, sizeof(one));
    return st;
}

static void set_key(struct bench_shard *s, uint32_t i, uint64_t key)
{
    struct ps_buf *b = s->keys[i / s->options.batch];

    memcpy(b->data + i % s->options.batch * sizeof(key), &key, sizeof(key));
}

/* A batch for each request, ascending. */
static ps_status make_keys(struct bench_shard *s)
{
    const size_t bytes = s->options.batch * sizeof(uint64_t);
    ps_status    st = PS_OK;

    s->keys = calloc(s->n_parts, sizeof(*s->keys));
    if (!s->keys)
        return ps_fail(PS_ERR_NO_MEMORY, "shard: no memory for %u keys",
                       s->options.rows);
    for (uint32_t part = 0; !st && part < s->n_parts; part++) {
        st = ps_buf_new(&s->keys[part], bytes);
        if (!st)
            s->keys[part]->len = bytes;
    }
    for (uint32_t i = 0; !st && i < s->n_parts * s->options.batch; i++)
        set_key(s, i, i);
    return st;
}

/* Rows lie in the order in which they came.  From now on they are asked for in another
 * one, or lines of memory that follow each other would be read ahead. */
static ps_status shuffle_keys(struct bench_shard *s)
{
    const uint32_t n = s->n_parts * s->options.batch;
    uint32_t      *order = malloc(n * sizeof(*order));

    if (!order)
        return ps_fail(PS_ERR_NO_MEMORY, "shard: no memory for %u keys", n);
    ps_random_permutation(1, 0, n, order);
    for (uint32_t i = 0; i < n; i++)
        set_key(s, i, order[i]);
    free(order);
    return PS_OK;
}

/* Every row, every chunk was there once. */
static ps_status touch_all(struct bench_shard *s)
{
    ps_status st = PS_OK;

    for (uint32_t r = 0; r < s->options.workers; r++)
        for (uint32_t part = 0; !st && part < s->n_parts; part++) {
            st = push(s, r, part);
            ps_outbox_clear(&s->out);
        }
    return st;
}

ps_status bench_shard_open(struct bench_shard              **out,
                           const struct bench_shard_options *options)
{
    struct psd_shard_options o = { .control = CONTROL, .backend = &psd_backend_cpu };
    struct bench_shard      *s = calloc(1, sizeof(*s));
    ps_status                st;

    if (!s)
        return ps_fail(PS_ERR_NO_MEMORY, "shard: no memory");
    s->options = *options;
    s->n_parts = is_sparse(s) ? options->rows / options->batch
                              : (uint32_t)(options->elements / CHUNK_ELEMENTS);
    st = psd_shard_new(&s->shard, &o);
    if (!st)
        st = ps_decoder_new(&s->decoder);
    if (!st)
        st = make_gradient(s);
    if (!st && is_sparse(s))
        st = make_keys(s);
    if (!st)
        st = begin_job(s);
    if (!st)
        st = add_matrix(s);
    if (!st)
        st = touch_all(s);
    if (!st && is_sparse(s))
        st = shuffle_keys(s);
    if (st)
        bench_shard_close(&s);
    else
        *out = s;
    return st;
}

void bench_shard_close(struct bench_shard **shard)
{
    struct bench_shard *s = *shard;

    *shard = NULL;
    if (!s)
        return;
    ps_outbox_free(&s->out);
    psd_shard_free(&s->shard);
    ps_decoder_free(&s->decoder);
    ps_buf_drop(&s->gradient);
    for (uint32_t i = 0; s->keys && i < s->n_parts; i++)
        ps_buf_drop(&s->keys[i]);
    free(s->keys);
    free(s);
}
