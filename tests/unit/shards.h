/*
 * shards.h - shards of one saved job, with a disk that the test holds in its hand.
 *
 * The test is the coordinator, the workers and the disk.  A dense matrix lies on all
 * shards, so that every iteration of a worker is one push to each of them.
 */
#ifndef TESTS_UNIT_SHARDS_H
#define TESTS_UNIT_SHARDS_H

#include "common/place/place.h"
#include "common/wire/wire.h"
#include "server/shard/errand.h"
#include "server/store/capture.h"
#include "tests/unit/suite.h"

#include <math.h>
#include <stdio.h>

#define CONTROL 4711u
#define RUN 99u
#define COORDINATOR 200u /* its route */
#define OBSERVER 77u     /* session */
#define N 40000u         /* f32: cut into slots */

enum { SHARDS = 4, WORKERS = 4, IMAGES = 64 };
enum disk { WRITES, HOLDS, FAILS };

struct worker {
    uint64_t seq[SHARDS];
    uint32_t incarnation;
};

static struct psd_shard  *shards[SHARDS];
static uint32_t           n_shards;
static uint64_t           epoch, life, now, membership, next_request = 1;
static struct ps_decoder *decoder;
static struct ps_outbox   out;
static struct ps_job_spec job;
static struct ps_place    place;
static struct worker      workers[WORKERS];

/* What is on disk, and what is on its way there. */
static enum disk         disk;
static struct psd_image *images[IMAGES];
static uint32_t          n_images;
static struct {
    bool              there;
    uint64_t          id;
    struct psd_image *image;
} under_way[SHARDS];
static uint32_t          n_errands[PSD_FORGET + 1];
static struct psd_errand last_errand;

/* ---- images -------------------------------------------------------------------- */

static void *copy_of(const void *p, size_t bytes)
{
    void *copy = malloc(bytes + 1);

    ck_assert_ptr_nonnull(copy);
    if (bytes > 0)
        memcpy(copy, p, bytes);
    return copy;
}

static struct psd_captured_rows *copy_rows(const struct psd_captured_rows *r)
{
    struct psd_captured_rows *c = copy_of(r, sizeof(*r));

    c->keys = copy_of(r->keys, r->n * sizeof(*r->keys));
    c->places = copy_of(r->places, r->n * sizeof(*r->places));
    c->marks = r->marks ? copy_of(r->marks, r->n * sizeof(*r->marks)) : NULL;
    c->pages = copy_of(r->pages, r->n_pages * sizeof(struct ps_buf *));
    for (uint32_t i = 0; i < r->n_pages; i++)
        ps_buf_share(r->pages[i]);
    return c;
}

/* Another holder of the same blocks. */
static struct psd_image *copy_image(const struct psd_image *image)
{
    struct psd_image *c = copy_of(image, sizeof(*image));

    ps_buf_share(c->progress);
    c->model = copy_of(image->model, sizeof(*image->model));
    c->model->matrices = copy_of(
        image->model->matrices, image->model->n_matrices * sizeof(*c->model->matrices));
    for (uint32_t i = 0; i < c->model->n_matrices; i++) {
        struct psd_captured_matrix *m = &c->model->matrices[i];

        m->chunks = copy_of(m->chunks, m->n_chunks * sizeof(*m->chunks));
        for (size_t k = 0; k < m->n_chunks; k++) {
            ps_buf_share(m->chunks[k].value);
            for (uint32_t s = 0; s < PSD_STORE_STATE_MAX; s++)
                if (m->chunks[k].state[s])
                    ps_buf_share(m->chunks[k].state[s]);
        }
        if (m->rows)
            m->rows = copy_rows(m->rows);
    }
    return c;
}

static struct psd_image *find_image(const struct ps_part *part)
{
    for (uint32_t i = 0; i < n_images; i++)
        if (images[i]->index == part->index && images[i]->n_shards == part->n_shards &&
            images[i]->set == part->set && images[i]->life == part->life)
            return images[i];
    return NULL;
}

/* ---- the disk ------------------------------------------------------------------ */

static void errands(uint32_t shard);

/* The one under way reaches the disk, or not. */
static void write_out(uint32_t shard, ps_status status)
{
    struct psd_image *image = under_way[shard].image;

    ck_assert(under_way[shard].there);
    under_way[shard].there = false;
    if (status) {
        psd_image_free(&image);
    } else {
        ck_assert_uint_lt(n_images, IMAGES);
        images[n_images++] = image;
    }
    psd_shard_saved(shards[shard], now, under_way[shard].id, status,
                    status ? "the disk is full" : "", &out);
    errands(shard);
}

static void load(uint32_t shard, const struct psd_errand *e)
{
    struct psd_image *list[PS_SETS_MAX];
    uint32_t          n = 0;
    ps_status         st = PS_OK;

    for (; n < e->n_parts; n++) {
        struct psd_image *image = find_image(&e->parts[n]);

        if (!image) {
            st = PS_ERR_DATA;
            break;
        }
        list[n] = copy_image(image);
    }
    psd_shard_loaded(shards[shard], now, e->id, list, n, st,
                     st ? "it is not there" : "", &out);
}

/* Does what the shard wants done. */
static void errands(uint32_t shard)
{
    struct psd_errand e;

    while (psd_shard_errand(shards[shard], &e)) {
        n_errands[e.kind]++;
        last_errand = e;
        ck_assert_str_eq(e.job, job.name);
        ck_assert_uint_eq(e.run, RUN);
        if (e.kind == PSD_LOAD && disk != HOLDS)
            load(shard, &e);
        if (e.kind != PSD_SAVE)
            continue;
        ck_assert(!under_way[shard].there);
        under_way[shard].there = true;
        under_way[shard].id = e.id;
        under_way[shard].image = e.image;
        if (disk != HOLDS)
            write_out(shard, disk == FAILS ? PS_ERR_SYSTEM : PS_OK);
    }
}

/* ---- messages ------------------------------------------------------------------ */

static struct ps_route route_of(uint32_t who)
{
    return (
        struct ps_route){ .kind = PS_ROUTE_PEER, .bytes = 1, .id = { (uint8_t)who } };
}

/* Hands a message over; `frames` are copied. */
static void hand(uint32_t shard, uint32_t who, const struct ps_header *h,
                 const void *frame, size_t bytes)
{
    struct ps_parcel p = { .route = route_of(who) };

    ck_assert_ok(ps_wire_encode(h, &p.head));
    if (frame)
        ck_assert_ok(ps_buf_copy(&p.frames[p.n_frames++], frame, bytes));
    psd_shard_handle(shards[shard], now, &p, &out);
    errands(shard);
}

static struct ps_header header(uint32_t kind)
{
    return (struct ps_header){
        .kind = kind, .request = next_request++, .job = 1, .server_epoch = epoch
    };
}

/* From the coordinator. */
static struct ps_header order(uint32_t kind)
{
    struct ps_header h = header(kind);

    h.session = CONTROL;
    return h;
}

static uint64_t command(uint32_t shard, struct ps_header h)
{
    hand(shard, COORDINATOR, &h, NULL, 0);
    return h.request;
}

/* How many answers there are to a request; *h is the last. */
static uint32_t answers(uint64_t request, struct ps_header *h,
                        struct ps_parcel **parcel)
{
    static struct ps_header found;
    uint32_t                n = 0;

    for (size_t i = 0; i < out.n; i++) {
        struct ps_header one;

        ck_assert_ok(ps_wire_decode(decoder, out.parcels[i].head->data,
                                    out.parcels[i].head->len, &one));
        if (one.request != request)
            continue;
        found = one;
        n++;
        if (parcel)
            *parcel = &out.parcels[i];
    }
    if (h && n > 0) {
        static char text[PS_TEXT_BYTES];

        snprintf(text, sizeof(text), "%s", found.text);
        *h = found;
        h->text = text;
    }
    return n;
}

static struct ps_header answer(uint64_t request)
{
    struct ps_header h = { 0 };

    ck_assert_uint_eq(answers(request, &h, NULL), 1);
    return h;
}

static bool is_answered(uint64_t request)
{
    return answers(request, NULL, NULL) > 0;
}

static uint64_t expect(uint64_t request, uint32_t kind)
{
    struct ps_header h = answer(request);

    ck_assert_msg(h.kind == kind, "answer is %s: %s", ps_kind_name(h.kind), h.text);
    return h.clock;
}

static void expect_error(uint64_t request, ps_status status)
{
    struct ps_header h = answer(request);

    ck_assert_uint_eq(h.kind, PS_MSG_ERROR);
    ck_assert_msg(h.status == status, "%s: %s", ps_status_text(h.status), h.text);
    ck_assert_uint_gt(strlen(h.text), 0);
}

/* The last unasked message of this kind to the coordinator; kind 0: none. */
static struct ps_header unasked(uint32_t kind, struct ps_part *part)
{
    struct ps_header found = { 0 };

    for (size_t i = 0; i < out.n; i++) {
        struct ps_header one;

        ck_assert_ok(ps_wire_decode(decoder, out.parcels[i].head->data,
                                    out.parcels[i].head->len, &one));
        if (one.kind != kind)
            continue;
        ck_assert_uint_eq(one.request, 0);
        ck_assert_uint_eq(out.parcels[i].route.id[0], COORDINATOR);
        found = one;
        if (one.n_sets > 0 && part)
            *part = one.sets[0];
    }
    return found;
}

/* ---- the coordinator ----------------------------------------------------------- */

static uint64_t session_of(uint32_t rank)
{
    return 1000 + 10 * rank + workers[rank].incarnation;
}

static struct ps_header members(const struct ps_member *list, uint32_t n)
{
    struct ps_header h = order(PS_MSG_MEMBERS);

    h.membership_epoch = ++membership;
    h.members = list;
    h.n_members = n;
    return h;
}

/* All ranks, each in this state, and an observer. */
static void tell_members(const uint32_t *states)
{
    struct ps_member list[WORKERS + 1];
    uint32_t         n = 0;
    struct ps_header h;

    for (; n < job.workers; n++)
        list[n] = (struct ps_member){ .rank = n,
                                      .incarnation = workers[n].incarnation,
                                      .state = states[n],
                                      .session = session_of(n) };
    list[n++] = (struct ps_member){ .rank = UINT32_MAX,
                                    .incarnation = 1,
                                    .state = PS_MEMBER_ACTIVE,
                                    .session = OBSERVER };
    h = members(list, n);
    for (uint32_t s = 0; s < n_shards; s++)
        expect(command(s, h), PS_MSG_OK), h.request = next_request++;
}

static const uint32_t all_active[WORKERS] = { 2, 2, 2, 2 };

static struct ps_header job_order(uint32_t shard)
{
    struct ps_header h = order(PS_MSG_JOB);

    h.run = RUN;
    h.after = life;
    h.index = shard;
    h.n_shards = n_shards;
    h.job_spec = &job;
    return h;
}

static struct ps_matrix_spec dense_spec(void)
{
    struct ps_matrix_spec m = { .name = "w",
                                .number = 1,
                                .dtype = PS_F32,
                                .rows = 1,
                                .cols = N,
                                .init = PS_INIT_UNIFORM,
                                .init_a = -1,
                                .init_b = 1,
                                .weight_decay = NAN };

    return m;
}

static void add_matrix(const struct ps_matrix_spec *m, struct ps_place *map)
{
    static struct ps_slot_run runs[PS_SLOT_RUNS_MAX];
    uint64_t                  load[SHARDS] = { 0 };

    ps_place_cut(map, m);
    ps_place_assign(map, load, n_shards);
    for (uint32_t s = 0; s < n_shards; s++) {
        struct ps_header h = order(PS_MSG_MATRIX_ADD);

        h.matrices = m;
        h.n_matrices = 1;
        h.slot_runs = runs;
        h.n_slot_runs = ps_place_runs(map, runs, PS_SLOT_RUNS_MAX);
        expect(command(s, h), PS_MSG_OK);
    }
}

/* A new life of the job on all shards, with its matrix and nothing else. */
static void begin_life(void)
{
    struct ps_matrix_spec m = dense_spec();

    life++;
    epoch = 500 + life;
    for (uint32_t s = 0; s < n_shards; s++)
        expect(command(s, job_order(s)), PS_MSG_OK);
    add_matrix(&m, &place);
    ps_outbox_clear(&out);
}

static void start_shards(uint32_t n)
{
    n_shards = n;
    for (uint32_t s = 0; s < n; s++) {
        struct psd_shard_options o = { .control = CONTROL,
                                       .backend = &psd_backend_cpu,
                                       .can_save = true };

        ck_assert_ok(psd_shard_new(&shards[s], &o));
        if (under_way[s].there)
            psd_image_free(&under_way[s].image);
        under_way[s].there = false;
    }
}

static void stop_shards(void)
{
    for (uint32_t s = 0; s < n_shards; s++)
        psd_shard_free(&shards[s]);
    n_shards = 0;
}

static void start(uint32_t n, struct ps_job_spec spec)
{
    job = spec;
    for (uint32_t r = 0; r < WORKERS; r++)
        workers[r] = (struct worker){ .incarnation = 1 };
    start_shards(n);
    begin_life();
    tell_members(all_active);
    ps_outbox_clear(&out);
}

static struct ps_job_spec spec_of(uint32_t strategy, uint32_t n_workers)
{
    struct ps_job_spec spec = ps_job_spec_default();

    strcpy(spec.name, "test");
    spec.workers = n_workers;
    spec.strategy = strategy;
    spec.seed = 5;
    spec.optimiser = ps_optimiser_spec_default(PS_MOMENTUM);
    spec.optimiser.lr = 0.5;
    return spec;
}

/* Saved every `every` clocks or updates. */
static struct ps_job_spec saved_job(uint32_t strategy, uint32_t n_workers,
                                    uint64_t every)
{
    struct ps_job_spec spec = spec_of(strategy, n_workers);

    spec.snapshot_every = every;
    return spec;
}

/* ---- workers ------------------------------------------------------------------- */

static struct ps_header worker_header(uint32_t kind, uint32_t rank, uint64_t clock)
{
    struct ps_header h = header(kind);

    h.rank = rank;
    h.incarnation = workers[rank].incarnation;
    h.session = session_of(rank);
    h.clock = clock;
    h.weight = 1;
    return h;
}

static float gradient(uint32_t rank, uint64_t t, uint64_t i)
{
    return (float)((rank * 31 + t * 17 + i * 7) % 13) / 8 - 0.75f;
}

/* The only push of iteration t to this shard, as push `seq`, with what of the gradient
 * lies there. */
static uint64_t push_as(uint32_t rank, uint32_t shard, uint64_t t, uint64_t seq,
                        uint32_t flags)
{
    struct ps_header h = worker_header(PS_MSG_PUSH, rank, t);
    struct ps_range  ranges[8];
    static float     payload[N + 64];
    struct ps_piece  piece;
    size_t           n = 0;

    for (uint64_t at = 0; ps_place_next(&place, &at, N, &piece);) {
        if (piece.shard != shard)
            continue;
        ranges[h.n_ranges++] = (struct ps_range){ 1, piece.first, piece.count };
        for (uint64_t i = 0; i < piece.count; i++)
            payload[n++] = gradient(rank, t, piece.first + i);
        n = (n + 1) / 2 * 2;
    }
    h.ranges = ranges;
    h.seq = seq;
    h.flags = PS_FLAG_FINISH | flags;
    h.parts = 1;
    hand(shard, rank, &h, h.n_ranges ? payload : NULL, n * sizeof(float));
    return h.request;
}

/* To all shards; gives the request to the first. */
static uint64_t push(uint32_t rank, uint64_t t)
{
    uint64_t first = 0;

    for (uint32_t s = 0; s < n_shards; s++) {
        uint64_t request = push_as(rank, s, t, ++workers[rank].seq[s], 0);

        if (s == 0)
            first = request;
    }
    return first;
}

/* Iterations from .. to of all workers. */
static void train(uint64_t from, uint64_t to)
{
    for (uint64_t t = from; t <= to; t++) {
        for (uint32_t r = 0; r < job.workers; r++)
            push(r, t);
        if (t < to)
            ps_outbox_clear(&out);
    }
}

/* The newest values, as an observer. */
static void read_model(float *value)
{
    struct ps_piece piece;

    for (uint64_t at = 0; ps_place_next(&place, &at, N, &piece);) {
        struct ps_header  h = header(PS_MSG_PULL);
        struct ps_range   range = { 1, piece.first, piece.count };
        struct ps_parcel *p = NULL;
        size_t            n = 0;

        h.rank = UINT32_MAX;
        h.incarnation = 1;
        h.session = OBSERVER;
        h.clock = UINT64_MAX;
        h.ranges = &range;
        h.n_ranges = 1;
        hand(piece.shard, 150, &h, NULL, 0);
        ck_assert_uint_eq(answers(h.request, &h, &p), 1);
        ck_assert_msg(h.kind == PS_MSG_PULL_OK, "%s", h.text);
        for (uint32_t f = 0; f < p->n_frames && n < piece.count * sizeof(float); f++) {
            size_t bytes = p->frames[f]->len, room = piece.count * sizeof(float) - n;

            memcpy((char *)(value + piece.first) + n, p->frames[f]->data,
                   bytes < room ? bytes : room);
            n += bytes;
        }
    }
    ps_outbox_clear(&out);
}

static struct ps_job_stats account(uint32_t shard)
{
    struct ps_header h = order(PS_MSG_STATS);

    h.job = 1;
    h = answer(command(shard, h));
    ck_assert_uint_eq(h.kind, PS_MSG_STATS_OK);
    ck_assert_uint_ge(h.n_job_stats, 2);
    return h.job_stats[1];
}

/* ---- beginning and end --------------------------------------------------------- */

static void begin(void)
{
    n_images = 0;
    disk = WRITES;
    memset(n_errands, 0, sizeof(n_errands));
    memset(under_way, 0, sizeof(under_way));
    life = epoch = now = membership = 0;
    ck_assert_ok(ps_decoder_new(&decoder));
}

static void end(void)
{
    for (uint32_t s = 0; s < SHARDS; s++)
        if (under_way[s].there)
            psd_image_free(&under_way[s].image);
    stop_shards();
    for (uint32_t i = 0; i < n_images; i++)
        psd_image_free(&images[i]);
    ps_outbox_free(&out);
    ps_decoder_free(&decoder);
}

#endif
