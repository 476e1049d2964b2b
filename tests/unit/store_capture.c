/*
 * Captures: what a store was at one moment stays so while it is trained on, and makes
 * another store the same, bit for bit, however the matrices are cut there.
 */
#include "common/base/random.h"
#include "server/store/capture.h"
#include "tests/unit/suite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SEED = 77,
    SHARDS_MAX = 4,
    DENSE = 1,
    SPARSE = 2,
    EVICTING = 3,
    COLS = 3,
    UNIVERSE = 400,
    MAX_ROWS = 60,
    N = 600000 /* f32: three chunks */
};

static struct psd_store *stores[SHARDS_MAX]; /* that are trained */
static struct psd_store *others[SHARDS_MAX]; /* that are restored */

static struct ps_matrix_spec spec_of(uint32_t number)
{
    struct ps_matrix_spec spec = { .number = number,
                                   .dtype = PS_F32,
                                   .sparse = number != DENSE,
                                   .rows = number == DENSE ? 1 : 0,
                                   .cols = number == DENSE ? N : COLS,
                                   .init = PS_INIT_NORMAL,
                                   .init_b = 1,
                                   .weight_decay = NAN };

    snprintf(spec.name, sizeof(spec.name), "m%u", number);
    if (number == EVICTING) {
        spec.max_rows = MAX_ROWS;
        spec.evict = PS_EVICT_LRU;
    }
    return spec;
}

static void add(struct psd_store *s, uint32_t n_shards, struct ps_matrix_spec spec)
{
    uint64_t        load[SHARDS_MAX] = { 0 };
    struct ps_place place;

    ps_place_cut(&place, &spec);
    ps_place_assign(&place, load, n_shards);
    ck_assert_ok(psd_store_add(s, &spec, &place, spec.sparse ? 1 : 2));
}

static void open_stores(struct psd_store **list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_ok(psd_store_new(&list[i], i, SEED));
        for (uint32_t m = DENSE; m <= EVICTING; m++)
            add(list[i], n, spec_of(m));
    }
}

static void close_all(void)
{
    for (uint32_t i = 0; i < SHARDS_MAX; i++) {
        psd_store_free(&stores[i]);
        psd_store_free(&others[i]);
    }
}

/* ---- training ------------------------------------------------------------------ */

static float change(uint64_t t, uint64_t i)
{
    return (float)ps_random_normal(SEED, t, i);
}

/* Changes some elements of each chunk, by t and index alone. */
static void train_dense(struct psd_matrix *m, uint64_t t)
{
    for (size_t c = 0; c < m->n_chunks; c++) {
        struct psd_chunk *chunk = &m->chunks[c];

        ck_assert_ok(psd_store_write(m, chunk));
        for (uint64_t i = (t * 7) % 50; i < chunk->n; i += 50) {
            ((float *)chunk->value->data)[i] += change(t, chunk->first + i);
            ((float *)chunk->state[0]->data)[i] += 1;
            ((float *)chunk->state[1]->data)[i] -= change(t, chunk->first + i);
        }
    }
    m->steps++;
}

static void train_rows(struct psd_matrix *m, uint32_t shard, uint64_t t)
{
    uint64_t keys[32];
    uint32_t places[32], n = 0;
    void    *state[PSD_STORE_STATE_MAX];

    for (uint64_t i = 0; i < 32; i++) {
        uint64_t key = ps_random_below(SEED, t + 1000, i, UNIVERSE);

        if (ps_place_key_shard(&m->place, key) == shard && n < MAX_ROWS / SHARDS_MAX)
            keys[n++] = key;
    }
    ck_assert_ok(psd_store_hold(m, keys, n, places));
    ck_assert_ok(psd_store_write_rows(m, places, n));
    for (uint32_t i = 0; i < n; i++) {
        float *w = psd_store_row(m, places[i], state);

        w[t % COLS] += change(t, keys[i]);
        ((float *)state[0])[0] += 1;
    }
    psd_store_release(m, places, n);
    m->steps++;
}

static void train(struct psd_store **list, uint32_t n, uint64_t from, uint64_t to)
{
    for (uint64_t t = from; t < to; t++)
        for (uint32_t s = 0; s < n; s++) {
            train_dense(psd_store_find(list[s], DENSE), t);
            train_rows(psd_store_find(list[s], SPARSE), s, t);
            train_rows(psd_store_find(list[s], EVICTING), s, t);
        }
}

/* ---- comparing ----------------------------------------------------------------- */

/* Everything of a job, however it is cut. */
struct whole {
    float   *value, *state[2];            /* [N] */
    float    rows[2][UNIVERSE][2 * COLS]; /* sparse: values and state */
    bool     there[2][UNIVERSE];
    uint64_t steps;
};

static struct whole *whole_new(void)
{
    struct whole *w = calloc(1, sizeof(*w));

    ck_assert_ptr_nonnull(w);
    w->value = calloc(N, sizeof(float));
    w->state[0] = calloc(N, sizeof(float));
    w->state[1] = calloc(N, sizeof(float));
    return w;
}

static void whole_free(struct whole **w)
{
    free((*w)->value);
    free((*w)->state[0]);
    free((*w)->state[1]);
    free(*w);
    *w = NULL;
}

static void take_chunks(struct whole *w, const struct psd_chunk *c, size_t n)
{
    for (size_t i = 0; i < n; i++, c++) {
        memcpy(w->value + c->first, c->value->data, c->n * sizeof(float));
        memcpy(w->state[0] + c->first, c->state[0]->data, c->n * sizeof(float));
        memcpy(w->state[1] + c->first, c->state[1]->data, c->n * sizeof(float));
    }
}

static void take_rows(struct whole *w, struct psd_matrix *m)
{
    uint32_t which = m->spec.number - SPARSE;
    uint64_t keys[UNIVERSE], next;
    uint32_t places[UNIVERSE];
    void    *state[PSD_STORE_STATE_MAX];
    size_t   n = psd_store_list(m, 0, UNIVERSE, keys, places, &next);

    for (size_t i = 0; i < n; i++) {
        w->there[which][keys[i]] = true;
        memcpy(w->rows[which][keys[i]], psd_store_row(m, places[i], state),
               2 * COLS * sizeof(float));
    }
}

static struct whole *whole_of(struct psd_store **list, uint32_t n)
{
    struct whole *w = whole_new();

    for (uint32_t s = 0; s < n; s++) {
        struct psd_matrix *m = psd_store_find(list[s], DENSE);

        take_chunks(w, m->chunks, m->n_chunks);
        take_rows(w, psd_store_find(list[s], SPARSE));
        take_rows(w, psd_store_find(list[s], EVICTING));
        w->steps = m->steps;
    }
    return w;
}

static struct whole *whole_of_capture(const struct psd_capture *c)
{
    struct whole *w = whole_new();

    for (uint32_t i = 0; i < c->n_matrices; i++) {
        const struct psd_captured_matrix *m = &c->matrices[i];
        const struct psd_captured_rows   *r = m->rows;

        take_chunks(w, m->chunks, m->n_chunks);
        for (uint64_t k = 0; r && k < r->n; k++) {
            size_t at = r->places[k] & ((1u << r->page_shift) - 1);

            w->there[i - 1][r->keys[k]] = true;
            memcpy(w->rows[i - 1][r->keys[k]],
                   r->pages[r->places[k] >> r->page_shift]->data + at * r->row_bytes,
                   r->row_bytes);
        }
        if (!r)
            w->steps = m->steps;
    }
    return w;
}

static bool is_same(const struct whole *a, const struct whole *b)
{
    return !memcmp(a->value, b->value, N * sizeof(float)) &&
           !memcmp(a->state[0], b->state[0], N * sizeof(float)) &&
           !memcmp(a->state[1], b->state[1], N * sizeof(float)) &&
           !memcmp(a->rows, b->rows, sizeof(a->rows)) &&
           !memcmp(a->there, b->there, sizeof(a->there)) && a->steps == b->steps;
}

/* Cut in another way, rows may be too many for one shard of the matrix that evicts. */
static void forget_evicting(struct whole *w)
{
    memset(w->rows[EVICTING - SPARSE], 0, sizeof(w->rows[0]));
    memset(w->there[EVICTING - SPARSE], 0, sizeof(w->there[0]));
}

static void assert_same(struct psd_store **a, uint32_t n_a, struct psd_store **b,
                        uint32_t n_b)
{
    struct whole *x = whole_of(a, n_a), *y = whole_of(b, n_b);

    if (n_a != n_b) {
        forget_evicting(x);
        forget_evicting(y);
    }
    ck_assert(is_same(x, y));
    whole_free(&x);
    whole_free(&y);
}

static void capture(struct psd_store **list, uint32_t n, struct psd_capture **out)
{
    for (uint32_t i = 0; i < n; i++)
        ck_assert_ok(psd_store_capture(list[i], &out[i]));
}

static void drop(struct psd_capture **list, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        psd_capture_free(&list[i]);
}

static ps_status restore(struct psd_store *s, struct psd_capture **list, uint32_t n)
{
    return psd_store_restore(s, (const struct psd_capture *const *)list, n);
}

/* ---- what is captured ---------------------------------------------------------- */

START_TEST(a_capture_stays_as_it_is_while_updates_go_on)
{
    struct psd_capture *c;
    struct whole       *before, *after;

    open_stores(stores, 1);
    train(stores, 1, 0, 20);
    capture(stores, 1, &c);
    before = whole_of(stores, 1);
    train(stores, 1, 20, 40); /* rows go and come back meanwhile */
    after = whole_of_capture(c);
    ck_assert(is_same(before, after));
    whole_free(&after);
    after = whole_of(stores, 1);
    ck_assert(!is_same(before, after));
    whole_free(&before);
    whole_free(&after);
    psd_capture_free(&c);
}
END_TEST

START_TEST(a_capture_copies_no_parameter)
{
    struct psd_matrix  *m, *rows;
    struct psd_capture *c;
    void               *state[PSD_STORE_STATE_MAX];

    open_stores(stores, 1);
    train(stores, 1, 0, 3);
    m = psd_store_find(stores[0], DENSE);
    rows = psd_store_find(stores[0], SPARSE);
    capture(stores, 1, &c);
    for (size_t i = 0; i < m->n_chunks; i++)
        ck_assert_ptr_eq(c->matrices[0].chunks[i].value, m->chunks[i].value);
    ck_assert_ptr_eq(c->matrices[1].rows->pages[0]->data,
                     psd_store_row(rows, 0, state));
    psd_capture_free(&c);
}
END_TEST

START_TEST(when_a_capture_is_gone_rows_are_written_in_place)
{
    struct psd_capture *c;
    struct psd_matrix  *m;
    void               *state[PSD_STORE_STATE_MAX], *was;
    uint32_t            place = 0;

    open_stores(stores, 1);
    train(stores, 1, 0, 3);
    m = psd_store_find(stores[0], SPARSE);
    capture(stores, 1, &c);
    was = psd_store_row(m, place, state);
    ck_assert_ok(psd_store_write_rows(m, &place, 1));
    ck_assert_ptr_ne(psd_store_row(m, place, state), was);
    was = psd_store_row(m, place, state);
    ck_assert_ok(psd_store_write_rows(m, &place, 1)); /* once is enough */
    ck_assert_ptr_eq(psd_store_row(m, place, state), was);
    psd_capture_free(&c);
    capture(stores, 1, &c);
    psd_capture_free(&c);
    ck_assert_ok(psd_store_write_rows(m, &place, 1));
    ck_assert_ptr_eq(psd_store_row(m, place, state), was);
}
END_TEST

START_TEST(two_captures_are_two_moments)
{
    struct psd_capture *first, *second;
    struct whole       *a, *b, *now;

    open_stores(stores, 1);
    train(stores, 1, 0, 5);
    capture(stores, 1, &first);
    train(stores, 1, 5, 6);
    capture(stores, 1, &second);
    now = whole_of(stores, 1);
    train(stores, 1, 6, 9);
    a = whole_of_capture(first);
    b = whole_of_capture(second);
    ck_assert(is_same(b, now) && !is_same(a, b));
    whole_free(&a);
    whole_free(&b);
    whole_free(&now);
    psd_capture_free(&first);
    psd_capture_free(&second);
}
END_TEST

/* ---- what is restored ---------------------------------------------------------- */

static const struct {
    uint32_t from, to;
} layouts[] = { { 1, 1 }, { 3, 3 }, { 1, 2 }, { 2, 3 }, { 4, 1 }, { 3, 4 } };

START_TEST(a_restored_store_is_the_captured_one_however_it_is_cut)
{
    uint32_t            from = layouts[_i].from, to = layouts[_i].to;
    struct psd_capture *parts[SHARDS_MAX];

    open_stores(stores, from);
    open_stores(others, to);
    train(stores, from, 0, 12);
    train(others, to, 90, 93); /* what is there goes */
    capture(stores, from, parts);
    for (uint32_t i = 0; i < to; i++)
        ck_assert_ok(restore(others[i], parts, from));
    drop(parts, from);
    assert_same(stores, from, others, to);
}
END_TEST

/* Also which rows go for others. */
START_TEST(a_restored_store_goes_on_as_the_captured_one_does)
{
    struct psd_capture *c[2];

    open_stores(stores, 2);
    open_stores(others, 2);
    train(stores, 2, 0, 30);
    capture(stores, 2, c);
    ck_assert_ok(restore(others[0], &c[0], 1)); /* its own part is enough */
    ck_assert_ok(restore(others[1], &c[1], 1));
    drop(c, 2);
    train(stores, 2, 30, 60);
    train(others, 2, 30, 60);
    assert_same(stores, 2, others, 2);
}
END_TEST

START_TEST(restoring_leaves_the_capture_as_it_is)
{
    struct psd_capture *c;
    struct whole       *before, *after;

    open_stores(stores, 1);
    train(stores, 1, 0, 5);
    capture(stores, 1, &c);
    before = whole_of_capture(c);
    ck_assert_ok(restore(stores[0], &c, 1));
    train(stores, 1, 5, 8);
    after = whole_of_capture(c);
    ck_assert(is_same(before, after));
    ck_assert_ok(restore(stores[0], &c, 1));
    whole_free(&after);
    after = whole_of(stores, 1);
    ck_assert(is_same(before, after));
    whole_free(&before);
    whole_free(&after);
    psd_capture_free(&c);
}
END_TEST

START_TEST(a_matrix_that_was_created_later_begins_anew)
{
    struct psd_capture *parts[2];
    struct psd_matrix  *m;
    float               first;

    ck_assert_ok(psd_store_new(&stores[0], 0, SEED));
    ck_assert_ok(psd_store_new(&stores[1], 1, SEED));
    add(stores[1], 2, spec_of(DENSE)); /* it was there on one of the two */
    open_stores(others, 2);
    m = psd_store_find(others[0], DENSE);
    first = ((float *)m->chunks[0].value->data)[7];
    train(others, 2, 0, 3);
    ((float *)m->chunks[0].value->data)[7] = 99;
    train_dense(psd_store_find(stores[1], DENSE), 4);
    capture(stores, 2, parts);
    ck_assert_ok(restore(others[0], parts, 2));
    ck_assert_ok(restore(others[1], parts, 2));
    ck_assert_float_eq(((float *)m->chunks[0].value->data)[7], first);
    ck_assert_float_eq(((float *)m->chunks[0].state[0]->data)[0], 0);
    ck_assert_uint_eq(psd_store_account(others[0]).rows, 0);
    m = psd_store_find(others[1], DENSE);
    ck_assert_mem_eq(m->chunks[0].value->data,
                     parts[1]->matrices[0].chunks[0].value->data,
                     m->chunks[0].value->len);
    drop(parts, 2);
}
END_TEST

/* ---- what is refused ----------------------------------------------------------- */

/* Each damages a capture in one way; the store has one shard, the parts two. */
static void lose_elements(struct psd_capture **parts)
{
    struct psd_captured_matrix *m = &parts[1]->matrices[0];
    struct psd_chunk           *last = &m->chunks[--m->n_chunks];

    ps_buf_drop(&last->value);
    ps_buf_drop(&last->state[0]);
    ps_buf_drop(&last->state[1]);
}

static void another_type(struct psd_capture **parts)
{
    parts[1]->matrices[0].spec.dtype = PS_F64;
}

static void another_shape(struct psd_capture **parts)
{
    parts[1]->matrices[0].spec.cols++;
}

static void less_state(struct psd_capture **parts)
{
    parts[1]->matrices[1].n_state = 0;
}

static void a_row_twice(struct psd_capture **parts)
{
    struct psd_captured_rows *r = parts[0]->matrices[1].rows;

    r->keys[0] = r->keys[1];
}

static void a_row_out_of_bounds(struct psd_capture **parts)
{
    parts[1]->matrices[1].rows->places[0] = 1u << 31;
}

static void a_page_too_short(struct psd_capture **parts)
{
    struct psd_captured_rows *r = parts[1]->matrices[1].rows;

    for (uint64_t i = 0; i < r->n; i++)
        if (r->places[i] == 3)
            r->pages[0]->len = r->row_bytes * 3 + 1;
}

static void a_chunk_too_short(struct psd_capture **parts)
{
    parts[1]->matrices[0].chunks[0].state[1]->len--;
}

static void pieces_that_overlap(struct psd_capture **parts)
{
    parts[1]->matrices[0].chunks[1].first--;
}

static void (*const damages[])(struct psd_capture **) = {
    lose_elements,    another_type,      another_shape,
    less_state,       a_row_twice,       a_row_out_of_bounds,
    a_page_too_short, a_chunk_too_short, pieces_that_overlap,
};

START_TEST(parts_that_do_not_fit_change_nothing)
{
    struct psd_capture *parts[2];
    struct whole       *before, *after;

    open_stores(stores, 2);
    open_stores(others, 1);
    train(stores, 2, 0, 6);
    train(others, 1, 0, 3);
    capture(stores, 2, parts);
    damages[_i](parts);
    before = whole_of(others, 1);
    ck_assert_status(restore(others[0], parts, 2), PS_ERR_DATA);
    after = whole_of(others, 1);
    ck_assert(is_same(before, after));
    whole_free(&before);
    whole_free(&after);
    drop(parts, 2);
}
END_TEST

static uint64_t rows_of(struct psd_store *s)
{
    return psd_store_account(s).rows;
}

/* One that holds every row up to n, of at most n. */
static void fill_rows(struct psd_store *s, uint32_t evict, uint64_t n)
{
    struct ps_matrix_spec spec = spec_of(EVICTING);
    uint32_t              place;

    spec.evict = evict;
    spec.max_rows = n;
    add(s, 1, spec);
    for (uint64_t key = 0; key < n; key++) {
        ck_assert_ok(psd_store_hold(psd_store_find(s, EVICTING), &key, 1, &place));
        psd_store_release(psd_store_find(s, EVICTING), &place, 1);
    }
}

/* Its part of the limit is smaller here than what it gets: hashes are not even. */
static void restore_half(uint32_t evict)
{
    struct ps_matrix_spec spec = spec_of(EVICTING);
    struct psd_capture   *c;

    ck_assert_ok(psd_store_new(&stores[0], 0, SEED));
    fill_rows(stores[0], evict, MAX_ROWS);
    capture(stores, 1, &c);
    spec.evict = evict;
    spec.max_rows = MAX_ROWS / 3;
    ck_assert_ok(psd_store_new(&others[0], 0, SEED));
    add(others[0], 1, spec);
    ck_assert_ok(restore(others[0], &c, 1));
    psd_capture_free(&c);
}

START_TEST(too_many_rows_go_where_rows_go)
{
    struct psd_matrix *m;
    uint64_t           newest = MAX_ROWS - 1, keys[MAX_ROWS], next;
    uint32_t           places[MAX_ROWS];

    restore_half(PS_EVICT_LRU);
    m = psd_store_find(others[0], EVICTING);
    ck_assert_uint_eq(rows_of(others[0]), MAX_ROWS / 3);
    ck_assert_uint_eq(psd_store_list(m, 0, MAX_ROWS, keys, places, &next),
                      MAX_ROWS / 3);
    for (size_t i = 0; i < MAX_ROWS / 3; i++)
        ck_assert_uint_gt(keys[i], newest - MAX_ROWS / 3);
}
END_TEST

START_TEST(too_many_rows_stay_where_none_goes_and_no_more_come)
{
    struct psd_matrix *m;
    uint64_t           key = MAX_ROWS, old[2] = { 0, MAX_ROWS - 1 };
    uint32_t           place, places[2];

    restore_half(PS_EVICT_NONE);
    m = psd_store_find(others[0], EVICTING);
    ck_assert_uint_eq(rows_of(others[0]), MAX_ROWS);
    ck_assert_status(psd_store_hold(m, &key, 1, &place), PS_ERR_LIMIT);
    ck_assert_ok(psd_store_hold(m, old, 2, places));
}
END_TEST

static Suite *capture_suite(void)
{
    Suite *s = suite_create("capture");
    TCase *captures = tcase_create("captures");
    TCase *restores = tcase_create("restores");
    TCase *refused = tcase_create("refused");

    tcase_add_checked_fixture(captures, NULL, close_all);
    tcase_add_test(captures, a_capture_stays_as_it_is_while_updates_go_on);
    tcase_add_test(captures, a_capture_copies_no_parameter);
    tcase_add_test(captures, when_a_capture_is_gone_rows_are_written_in_place);
    tcase_add_test(captures, two_captures_are_two_moments);
    suite_add_tcase(s, captures);

    tcase_add_checked_fixture(restores, NULL, close_all);
    tcase_add_loop_test(restores,
                        a_restored_store_is_the_captured_one_however_it_is_cut, 0,
                        (int)(sizeof(layouts) / sizeof(layouts[0])));
    tcase_add_test(restores, a_restored_store_goes_on_as_the_captured_one_does);
    tcase_add_test(restores, restoring_leaves_the_capture_as_it_is);
    tcase_add_test(restores, a_matrix_that_was_created_later_begins_anew);
    tcase_add_test(restores, too_many_rows_go_where_rows_go);
    tcase_add_test(restores, too_many_rows_stay_where_none_goes_and_no_more_come);
    suite_add_tcase(s, restores);

    tcase_add_checked_fixture(refused, NULL, close_all);
    tcase_add_loop_test(refused, parts_that_do_not_fit_change_nothing, 0,
                        (int)(sizeof(damages) / sizeof(damages[0])));
    suite_add_tcase(s, refused);
    return s;
}

TEST_MAIN(capture_suite)
