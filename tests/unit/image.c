/* Images as streams: there and back, and what becomes of damaged ones. */
#include "common/base/random.h"
#include "server/snapshot/fields.h"
#include "tests/unit/suite.h"

#include <math.h>

#define SEED 20

/* A stream in memory. */
struct tape {
    uint8_t *bytes;
    size_t   n, at;
    size_t   limit; /* of what it takes; 0: none */
};

static struct tape       tape;
static struct psd_image *image, *back;

static ps_status record(void *ctx, const void *bytes, size_t n)
{
    struct tape *t = ctx;

    ck_assert_uint_gt(n, 0);
    if (t->limit && t->n + n > t->limit)
        return PS_ERR_LIMIT;
    t->bytes = realloc(t->bytes, t->n + n);
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    return PS_OK;
}

static ps_status play(void *ctx, void *bytes, size_t n)
{
    struct tape *t = ctx;

    ck_assert_uint_gt(n, 0);
    if (n > t->n - t->at)
        return ps_fail(PS_ERR_DATA, "the tape has ended");
    memcpy(bytes, t->bytes + t->at, n);
    t->at += n;
    return PS_OK;
}

static void *numbers(size_t bytes, uint64_t stream)
{
    uint8_t *out = malloc(bytes);

    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)ps_random_u64(SEED, stream, i);
    return out;
}

static struct ps_buf *block(size_t bytes, uint64_t stream)
{
    struct ps_buf *b;
    void          *data = numbers(bytes, stream);

    ck_assert_ok(ps_buf_copy(&b, data, bytes));
    free(data);
    return b;
}

/* Elements 16 to 79 and `big` from 128 on, each with state; 100 000 000 in all. */
static void fill_dense(struct psd_captured_matrix *m, uint64_t big)
{
    m->spec = (struct ps_matrix_spec){ .name = "w",
                                       .number = 3,
                                       .dtype = PS_F32,
                                       .rows = 10000,
                                       .cols = 10000,
                                       .init = PS_INIT_UNIFORM,
                                       .init_a = -0.1,
                                       .init_b = 0.1,
                                       .weight_decay = NAN };
    m->n_state = 2;
    m->steps = 77;
    m->n_chunks = 2;
    m->chunks = calloc(2, sizeof(*m->chunks));
    m->chunks[0] = (struct psd_chunk){ .first = 16, .n = 64 };
    m->chunks[1] = (struct psd_chunk){ .first = 128, .n = big };
    for (uint64_t i = 0; i < 2; i++) {
        size_t bytes = m->chunks[i].n * 4;

        m->chunks[i].value = block(bytes, 10 * i);
        m->chunks[i].state[0] = block(bytes, 10 * i + 1);
        m->chunks[i].state[1] = block(bytes, 10 * i + 2);
    }
}

/* Rows 5, 6 and 7 of three f64 with one array of state, at places 9, 0 and 4 of two
 * pages; what lies between them is `garbage`. */
static void fill_sparse(struct psd_captured_matrix *m, uint8_t garbage)
{
    static const uint64_t        keys[] = { 5, 6, UINT64_MAX };
    static const uint32_t        places[] = { 9, 0, 4 };
    static const struct psd_mark marks[] = { { 1, 2 }, { 3, 4 }, { UINT64_MAX, 0 } };
    struct psd_captured_rows    *r = calloc(1, sizeof(*r));

    m->spec = (struct ps_matrix_spec){ .name = "rows",
                                       .number = 4,
                                       .dtype = PS_F64,
                                       .sparse = true,
                                       .cols = 3,
                                       .optimiser = PS_ADAM,
                                       .weight_decay = 0.5,
                                       .max_rows = 4,
                                       .evict = PS_EVICT_LRU };
    m->n_state = 1;
    m->rows = r;
    r->n = 3;
    r->row_bytes = 2 * 3 * sizeof(double);
    r->page_shift = 3;
    r->keys = malloc(sizeof(keys));
    r->places = malloc(sizeof(places));
    r->marks = malloc(sizeof(marks));
    memcpy(r->keys, keys, sizeof(keys));
    memcpy(r->places, places, sizeof(places));
    memcpy(r->marks, marks, sizeof(marks));
    r->n_pages = 2;
    r->pages = calloc(2, sizeof(struct ps_buf *));
    for (uint32_t p = 0; p < 2; p++) {
        r->pages[p] = block(8 * r->row_bytes, 0);
        memset(r->pages[p]->data, garbage, 8 * r->row_bytes);
    }
    for (uint32_t i = 0; i < 3; i++) {
        void *row = numbers(r->row_bytes, 100 + i);

        memcpy(r->pages[places[i] >> 3]->data + (places[i] & 7) * r->row_bytes, row,
               r->row_bytes);
        free(row);
    }
}

static struct psd_image *an_image(uint64_t big, uint8_t garbage)
{
    struct psd_image *i = calloc(1, sizeof(*i));

    strcpy(i->job, "train");
    i->run = UINT64_C(0xfedcba9876543210);
    i->spec = ps_job_spec_default();
    strcpy(i->spec.name, "train");
    i->spec.workers = 4;
    i->spec.snapshot_every = 50;
    i->spec.max_rollback = 75;
    i->spec.optimiser = ps_optimiser_spec_default(PS_ADAM);
    i->spec.optimiser.schedule.warmup = 9;
    i->index = 1;
    i->n_shards = 3;
    i->life = 2;
    i->set = 100;
    i->clock = 101;
    i->version = 12345;
    i->progress = block(1000, 50);
    i->model = calloc(1, sizeof(*i->model));
    i->model->n_matrices = 2;
    i->model->matrices = calloc(2, sizeof(*i->model->matrices));
    fill_dense(&i->model->matrices[0], big);
    fill_sparse(&i->model->matrices[1], garbage);
    return i;
}

static void write_image(uint64_t big, uint8_t garbage)
{
    image = an_image(big, garbage);
    ck_assert_ok(psd_image_write(image, record, &tape));
}

static void tear_down(void)
{
    psd_image_free(&image);
    psd_image_free(&back);
    ck_assert_ptr_null(image);
    free(tape.bytes);
    tape = (struct tape){ 0 };
}

static ps_status read_back(void)
{
    tape.at = 0;
    return psd_image_read(&back, play, &tape);
}

/* ---- there and back ------------------------------------------------------------- */

START_TEST(an_image_comes_back_as_it_was)
{
    static const size_t             bytes = 2 * 3 * sizeof(double);
    const struct psd_captured_rows *a, *b;

    write_image(1000, 0);
    ck_assert_ok(read_back());
    ck_assert_uint_eq(tape.at, tape.n);
    ck_assert_str_eq(back->job, image->job);
    ck_assert_uint_eq(back->run, image->run);
    ck_assert_uint_eq(back->index, 1);
    ck_assert_uint_eq(back->n_shards, 3);
    ck_assert_uint_eq(back->life, 2);
    ck_assert_uint_eq(back->set, 100);
    ck_assert_uint_eq(back->clock, 101);
    ck_assert_uint_eq(back->version, 12345);
    ck_assert_ok(ps_job_spec_same(&back->spec, &image->spec));
    ck_assert_uint_eq(back->spec.optimiser.schedule.warmup, 9);
    ck_assert_uint_eq(back->progress->len, 1000);
    ck_assert_mem_eq(back->progress->data, image->progress->data, 1000);
    ck_assert_uint_eq(back->model->n_matrices, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_ok(ps_matrix_spec_same(&back->model->matrices[i].spec,
                                         &image->model->matrices[i].spec));
        ck_assert_uint_eq(back->model->matrices[i].spec.number,
                          image->model->matrices[i].spec.number);
    }
    ck_assert_uint_eq(back->model->matrices[0].steps, 77);
    ck_assert_uint_eq(back->model->matrices[0].n_chunks, 2);
    for (int i = 0; i < 2; i++) {
        const struct psd_chunk *c = &image->model->matrices[0].chunks[i];
        const struct psd_chunk *d = &back->model->matrices[0].chunks[i];

        ck_assert_uint_eq(d->first, c->first);
        ck_assert_uint_eq(d->n, c->n);
        ck_assert_mem_eq(d->value->data, c->value->data, 4 * c->n);
        ck_assert_mem_eq(d->state[0]->data, c->state[0]->data, 4 * c->n);
        ck_assert_mem_eq(d->state[1]->data, c->state[1]->data, 4 * c->n);
    }
    a = image->model->matrices[1].rows;
    b = back->model->matrices[1].rows;
    ck_assert_uint_eq(b->n, 3);
    ck_assert_uint_eq(b->row_bytes, bytes);
    for (int i = 0; i < 3; i++) {
        const uint32_t at = b->places[i] & ((1u << b->page_shift) - 1);

        ck_assert_uint_eq(b->keys[i], a->keys[i]);
        ck_assert_uint_eq(b->marks[i].uses, a->marks[i].uses);
        ck_assert_uint_eq(b->marks[i].last, a->marks[i].last);
        ck_assert_mem_eq(b->pages[b->places[i] >> b->page_shift]->data + at * bytes,
                         a->pages[a->places[i] >> 3]->data + (a->places[i] & 7) * bytes,
                         bytes);
    }
}
END_TEST

START_TEST(an_image_without_anything_comes_back_too)
{
    image = calloc(1, sizeof(*image));
    strcpy(image->job, "j");
    image->spec = ps_job_spec_default();
    strcpy(image->spec.name, "j");
    image->n_shards = 1;
    image->model = calloc(1, sizeof(*image->model));
    ck_assert_ok(psd_image_write(image, record, &tape));
    ck_assert_ok(read_back());
    ck_assert_ptr_null(back->progress);
    ck_assert_uint_eq(back->model->n_matrices, 0);
}
END_TEST

START_TEST(what_lies_between_rows_is_not_written)
{
    struct tape first;

    write_image(64, 0);
    first = tape;
    tape = (struct tape){ 0 };
    psd_image_free(&image);
    write_image(64, 0xff);
    ck_assert_uint_eq(tape.n, first.n);
    ck_assert_mem_eq(tape.bytes, first.bytes, tape.n);
    free(first.bytes);
}
END_TEST

START_TEST(a_sink_that_fails_ends_the_writing)
{
    image = an_image(250000, 0);
    tape.limit = PSD_BLOCK_BYTES + 100;
    ck_assert_status(psd_image_write(image, record, &tape), PS_ERR_LIMIT);
    ck_assert_uint_le(tape.n, tape.limit);
}
END_TEST

/* ---- damage --------------------------------------------------------------------- */

START_TEST(every_truncation_is_noticed)
{
    size_t whole;

    write_image(64, 0);
    whole = tape.n;
    for (tape.n = 0; tape.n < whole; tape.n++) {
        ck_assert_status(read_back(), PS_ERR_DATA);
        ck_assert_ptr_null(back);
    }
}
END_TEST

/* PSD_TEST_FLIPS: how many. */
START_TEST(every_flipped_bit_is_noticed)
{
    const char *wish = getenv("PSD_TEST_FLIPS");
    uint64_t    flips = wish ? strtoull(wish, NULL, 10) : 2000;

    write_image(150000, 0); /* 1.8 MB, in two blocks */
    ck_assert_uint_gt(tape.n, PSD_BLOCK_BYTES + 10000);
    for (uint64_t i = 0; i < flips; i++) {
        uint64_t bit = ps_random_below(SEED, 1, i, 8 * tape.n);

        tape.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_msg(read_back() == PS_ERR_DATA, "bit %ju", (uintmax_t)bit);
        ck_assert_ptr_null(back);
        tape.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_ok(read_back());
}
END_TEST

START_TEST(blocks_that_change_places_are_noticed)
{
    const size_t block_bytes = PSD_BLOCK_BYTES + 16;
    uint8_t     *first, *second, *spare = malloc(block_bytes);

    write_image(250000, 0);
    ck_assert_uint_gt(tape.n, 16 + 2 * block_bytes);
    first = tape.bytes + 16;
    second = first + block_bytes;
    memcpy(spare, first, block_bytes);
    memcpy(first, second, block_bytes);
    memcpy(second, spare, block_bytes);
    free(spare);
    ck_assert_status(read_back(), PS_ERR_DATA);
    ck_assert_why("snapshot: block 0 is damaged");
}
END_TEST

START_TEST(what_is_no_snapshot_is_said_to_be_none)
{
    write_image(64, 0);
    tape.bytes[3] = '?';
    ck_assert_status(read_back(), PS_ERR_DATA);
    ck_assert_why("snapshot: this is none");
    tape.bytes[3] = 'I';
    tape.bytes[8] = 2;
    ck_assert_status(read_back(), PS_ERR_DATA);
    ck_assert_why("snapshot: of format 2, expected 1");
}
END_TEST

/* ---- streams that are whole, and lie ----------------------------------------------
 */

static struct psd_writer w;

/* The beginning of an image up to its progress. */
static void begin(uint32_t index, uint32_t n_shards)
{
    struct ps_job_spec spec = ps_job_spec_default();

    strcpy(spec.name, "j");
    psd_writer_open(&w, record, &tape);
    psd_put_text(&w, "j");
    psd_put_u64(&w, 1);
    psd_put_job_spec(&w, &spec);
    psd_put_u32(&w, index);
    psd_put_u32(&w, n_shards);
    for (int i = 0; i < 4; i++)
        psd_put_u64(&w, 1);
}

static void begin_matrix(bool sparse, uint64_t cols)
{
    const struct ps_matrix_spec spec = { .name = "m",
                                         .dtype = PS_F32,
                                         .sparse = sparse,
                                         .rows = sparse ? 0 : 10,
                                         .cols = cols,
                                         .weight_decay = NAN };

    begin(0, 1);
    psd_put_u64(&w, 0);
    psd_put_u32(&w, 1);
    psd_put_matrix_spec(&w, &spec);
    psd_put_u32(&w, 1);
    psd_put_u64(&w, 0);
}

static void ck_refused(const char *why)
{
    ck_assert_ok(psd_writer_close(&w));
    ck_assert_status(read_back(), PS_ERR_DATA);
    ck_assert_why(why);
    free(tape.bytes);
    tape = (struct tape){ 0 };
}

START_TEST(lengths_that_lie_are_refused_and_cost_no_memory)
{
    begin(0, 1);
    psd_put_u64(&w, (uint64_t)1 << 30);
    ck_refused("snapshot: it ends too early");
    begin(0, 1);
    psd_put_u64(&w, ((uint64_t)1 << 30) + 1);
    ck_refused("bytes of progress");
    begin(0, 1);
    psd_put_u64(&w, 0);
    psd_put_u32(&w, PS_MATRICES_MAX + 1);
    ck_refused("4097 matrices");
    begin_matrix(false, 10);
    psd_put_u64(&w, UINT64_MAX);
    ck_refused("snapshot: it ends too early");
    begin_matrix(true, 10);
    psd_put_u64(&w, UINT32_MAX - 1);
    psd_put_u32(&w, 0);
    ck_refused("snapshot: it ends too early");
    begin_matrix(true, 10);
    psd_put_u64(&w, UINT32_MAX);
    psd_put_u32(&w, 0);
    ck_refused("rows are not possible");
    begin_matrix(true, PS_ELEMENTS_MAX);
    ck_refused("rows of 1099511627776 f32");
}
END_TEST

/* Of a matrix of 100 elements, behind one chunk of elements 10 to 13. */
static const struct {
    uint64_t first, n;
} out_of_place[] = { { 13, 1 }, { 100, 1 }, { 99, 2 }, { 20, 0 }, { 20, UINT64_MAX } };

START_TEST(chunks_out_of_place_are_refused)
{
    static const float zero[8] = { 0 };

    begin_matrix(false, 10);
    psd_put_u64(&w, 2);
    psd_put_u64(&w, 10);
    psd_put_u64(&w, 4);
    psd_put(&w, zero, sizeof(zero)); /* values and state */
    psd_put_u64(&w, out_of_place[_i].first);
    psd_put_u64(&w, out_of_place[_i].n);
    psd_put(&w, zero, sizeof(zero));
    ck_refused("are out of place");
}
END_TEST

START_TEST(what_stands_behind_the_end_is_refused)
{
    begin(0, 1);
    psd_put_u64(&w, 0);
    psd_put_u32(&w, 0);
    psd_put_u32(&w, 0);
    ck_refused("something behind its end");
    begin(1, 1);
    psd_put_u64(&w, 0);
    psd_put_u32(&w, 0);
    ck_refused("part 1 of 1");
}
END_TEST

START_TEST(a_spec_that_lacks_newer_settings_gets_their_defaults)
{
    struct ps_job_spec spec, expected = ps_job_spec_default();
    struct psd_reader  r;

    psd_writer_open(&w, record, &tape);
    psd_put_text(&w, "old");
    psd_put_u32(&w, 2);
    psd_put_u64(&w, 7);
    psd_put_u64(&w, PS_ASP);
    ck_assert_ok(psd_writer_close(&w));
    ck_assert_ok(psd_reader_open(&r, play, &tape));
    ck_assert_ok(psd_take_job_spec(&r, &spec));
    ck_assert_ok(psd_reader_end(&r));
    psd_reader_close(&r);
    strcpy(expected.name, "old");
    expected.workers = 7;
    expected.strategy = PS_ASP;
    ck_assert_ok(ps_job_spec_same(&spec, &expected));
}
END_TEST

START_TEST(a_spec_out_of_range_is_refused)
{
    struct ps_job_spec spec = ps_job_spec_default();
    struct psd_reader  r;

    strcpy(spec.name, "j");
    spec.workers = 0;
    psd_writer_open(&w, record, &tape);
    psd_put_job_spec(&w, &spec);
    ck_assert_ok(psd_writer_close(&w));
    ck_assert_ok(psd_reader_open(&r, play, &tape));
    ck_assert_status(psd_take_job_spec(&r, &spec), PS_ERR_DATA);
    ck_assert_why("workers is 0");
    psd_reader_close(&r);
}
END_TEST

static Suite *image_suite(void)
{
    Suite *s = suite_create("image");
    TCase *round = tcase_create("there and back");
    TCase *damage = tcase_create("damage");
    TCase *lies = tcase_create("lies");

    tcase_add_checked_fixture(round, NULL, tear_down);
    tcase_add_test(round, an_image_comes_back_as_it_was);
    tcase_add_test(round, an_image_without_anything_comes_back_too);
    tcase_add_test(round, what_lies_between_rows_is_not_written);
    tcase_add_test(round, a_sink_that_fails_ends_the_writing);
    suite_add_tcase(s, round);

    tcase_set_timeout(damage, 600);
    tcase_add_checked_fixture(damage, NULL, tear_down);
    tcase_add_test(damage, every_truncation_is_noticed);
    tcase_add_test(damage, every_flipped_bit_is_noticed);
    tcase_add_test(damage, blocks_that_change_places_are_noticed);
    tcase_add_test(damage, what_is_no_snapshot_is_said_to_be_none);
    suite_add_tcase(s, damage);

    tcase_add_checked_fixture(lies, NULL, tear_down);
    tcase_add_test(lies, lengths_that_lie_are_refused_and_cost_no_memory);
    tcase_add_loop_test(lies, chunks_out_of_place_are_refused, 0,
                        sizeof(out_of_place) / sizeof(out_of_place[0]));
    tcase_add_test(lies, what_stands_behind_the_end_is_refused);
    tcase_add_test(lies, a_spec_that_lacks_newer_settings_gets_their_defaults);
    tcase_add_test(lies, a_spec_out_of_range_is_refused);
    suite_add_tcase(s, lies);
    return s;
}

TEST_MAIN(image_suite)
