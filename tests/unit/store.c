/* The store, without workers: who has which element, who sees which version. */
#include "server/store/store.h"
#include "common/base/random.h"
#include "tests/unit/suite.h"

#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define SEED 20240229u

static struct psd_store *store;

static void one_shard(void)
{
    ck_assert_ok(psd_store_new(&store, 0, SEED));
}

static void close_store(void)
{
    psd_store_free(&store);
    ck_assert_ptr_null(store);
}

static struct ps_matrix_spec dense(uint32_t dtype, uint64_t rows, uint64_t cols)
{
    return (struct ps_matrix_spec){ .name = "fc1.weight",
                                    .number = 1,
                                    .dtype = dtype,
                                    .rows = rows,
                                    .cols = cols,
                                    .init = PS_INIT_NORMAL,
                                    .init_a = 0.25,
                                    .init_b = 2,
                                    .weight_decay = NAN };
}

static struct ps_matrix_spec sparse(uint64_t cols)
{
    struct ps_matrix_spec spec = dense(PS_F32, 0, cols);

    spec.sparse = true;
    return spec;
}

static struct ps_place place_on(const struct ps_matrix_spec *spec, uint32_t n_shards)
{
    uint64_t        load[8] = { 0 };
    struct ps_place place;

    ps_place_cut(&place, spec);
    ps_place_assign(&place, load, n_shards);
    return place;
}

/* A matrix in `store`, whole. */
static struct psd_matrix *add(const struct ps_matrix_spec *spec, uint32_t n_state)
{
    struct ps_place place = place_on(spec, 1);

    ck_assert_ok(psd_store_add(store, spec, &place, n_state));
    ck_assert_ptr_nonnull(psd_store_find(store, spec->number));
    return psd_store_find(store, spec->number);
}

/* Element `index` of a matrix that starts normal, by the book. */
static double start_of(const struct ps_matrix_spec *spec, uint64_t index)
{
    return spec->init_a +
           spec->init_b * ps_random_normal(SEED, ps_random_stream(spec->name), index);
}

START_TEST(any_number_of_shards_starts_from_the_same_values)
{
    uint32_t              n_shards = (uint32_t)_i;
    struct ps_matrix_spec spec = dense(PS_F32, 7, 100003);
    struct ps_place       place = place_on(&spec, n_shards);
    uint64_t              at, seen = 0, wrong = 0;

    for (uint32_t shard = 0; shard < n_shards; shard++) {
        struct psd_store  *part;
        struct psd_matrix *m;

        ck_assert_ok(psd_store_new(&part, shard, SEED));
        ck_assert_ok(psd_store_add(part, &spec, &place, 0));
        m = psd_store_find(part, spec.number);
        at = 0;
        for (size_t i = 0; i < m->n_chunks; i++) {
            const struct psd_chunk *c = &m->chunks[i];
            const float            *w = (const void *)c->value->data;

            ck_assert_uint_ge(c->first, at);
            ck_assert_uint_eq(c->value->len, c->n * sizeof(float));
            ck_assert_uint_le(c->value->len, PS_CHUNK_BYTES);
            for (uint64_t k = 0; k < c->n; k++)
                wrong += w[k] != (float)start_of(&spec, c->first + k);
            at = c->first + c->n;
            seen += c->n;
        }
        psd_store_free(&part);
    }
    ck_assert_uint_eq(seen, ps_matrix_elements(&spec));
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(an_element_is_found_on_one_shard_only)
{
    struct ps_matrix_spec spec = dense(PS_F64, 2, 500009);
    struct ps_place       place = place_on(&spec, 3);
    uint64_t              n = ps_matrix_elements(&spec);
    struct psd_store     *parts[3];

    for (uint32_t s = 0; s < 3; s++) {
        ck_assert_ok(psd_store_new(&parts[s], s, SEED));
        ck_assert_ok(psd_store_add(parts[s], &spec, &place, 1));
    }
    for (uint64_t at = 0; at < n; at += at % 16 == 15 ? 4001 : 1) {
        int found = 0;

        for (uint32_t s = 0; s < 3; s++) {
            struct psd_matrix *m = psd_store_find(parts[s], spec.number);
            struct psd_chunk  *c = psd_store_chunk(m, at);

            ck_assert(!c || (c->first <= at && at - c->first < c->n));
            found += c != NULL;
            ck_assert_ptr_null(psd_store_chunk(m, n));
            ck_assert_ptr_null(psd_store_chunk(m, UINT64_MAX));
        }
        ck_assert_int_eq(found, 1);
    }
    for (uint32_t s = 0; s < 3; s++)
        psd_store_free(&parts[s]);
}
END_TEST

START_TEST(initialisers_say_what_an_element_starts_as)
{
    struct ps_matrix_spec spec = dense(PS_F64, 1, 1000);
    const double         *w;

    spec.init = PS_INIT_ZERO;
    w = (const void *)add(&spec, 0)->chunks[0].value->data;
    for (int i = 0; i < 1000; i++)
        ck_assert_double_eq(w[i], 0);
    spec.number++;
    spec.init = PS_INIT_CONSTANT;
    w = (const void *)add(&spec, 0)->chunks[0].value->data;
    for (int i = 0; i < 1000; i++)
        ck_assert_double_eq(w[i], 0.25);
    spec.number++;
    spec.init = PS_INIT_UNIFORM;
    w = (const void *)add(&spec, 0)->chunks[0].value->data;
    for (int i = 0; i < 1000; i++) {
        double u = ps_random_uniform(SEED, ps_random_stream(spec.name), (uint64_t)i);

        ck_assert_double_eq(w[i], 0.25 + (2 - 0.25) * u);
    }
}
END_TEST

START_TEST(matrices_of_other_names_start_differently)
{
    struct ps_matrix_spec spec = dense(PS_F32, 1, 100);
    const float          *a, *b;

    a = (const void *)add(&spec, 0)->chunks[0].value->data;
    spec.number++;
    strcpy(spec.name, "fc2.weight");
    b = (const void *)add(&spec, 0)->chunks[0].value->data;
    for (int i = 0; i < 100; i++)
        ck_assert_float_ne(a[i], b[i]);
}
END_TEST

/* Between a and b lies no other float: half of all draws would be rounded to b. */
START_TEST(rounding_never_reaches_the_end_of_a_uniform_range)
{
    struct ps_matrix_spec spec = dense(PS_F32, 1, 200);
    const float          *w;

    spec.init = PS_INIT_UNIFORM;
    spec.init_a = 1;
    spec.init_b = 1 + 0x1p-23;
    w = (const void *)add(&spec, 0)->chunks[0].value->data;
    for (int i = 0; i < 200; i++)
        ck_assert_float_eq(w[i], 1.0f);
}
END_TEST

START_TEST(counters_start_at_the_nearest_whole_number)
{
    struct ps_matrix_spec spec = dense(PS_I64, 1, 100);
    const int64_t        *w;

    w = (const void *)add(&spec, 0)->chunks[0].value->data;
    for (uint64_t i = 0; i < 100; i++)
        ck_assert_int_eq(w[i], llround(start_of(&spec, i)));
    spec.number++;
    spec.init = PS_INIT_CONSTANT;
    spec.init_a = -2.5;
    w = (const void *)add(&spec, 0)->chunks[0].value->data;
    ck_assert_int_eq(w[99], -3);
}
END_TEST

START_TEST(readers_keep_the_version_they_hold)
{
    struct ps_matrix_spec spec = dense(PS_F32, 1, 1000);
    struct psd_matrix    *m = add(&spec, 1);
    struct psd_chunk     *c = psd_store_chunk(m, 0);
    struct ps_buf        *reader = ps_buf_share(c->value);
    struct ps_buf        *state = c->state[0];
    float                 was = ((float *)(void *)reader->data)[3];

    ck_assert_ok(psd_store_write(m, c));
    ck_assert_ptr_ne(c->value, reader);
    ck_assert_ptr_eq(c->state[0], state);
    ck_assert_uint_eq(c->value->len, reader->len);
    ck_assert_mem_eq(c->value->data, reader->data, reader->len);
    ((float *)(void *)c->value->data)[3] = 77;
    ck_assert_float_eq(((float *)(void *)reader->data)[3], was);
    ck_assert(ps_buf_sole(reader) && ps_buf_sole(c->value));
    ps_buf_drop(&reader);
}
END_TEST

START_TEST(a_sole_owner_writes_in_place)
{
    struct ps_matrix_spec spec = dense(PS_F32, 1, 1000);
    struct psd_matrix    *m = add(&spec, 2);
    struct psd_chunk     *c = psd_store_chunk(m, 0), was = *c;

    ck_assert_ok(psd_store_write(m, c));
    ck_assert_ptr_eq(c->value, was.value);
    ck_assert_ptr_eq(c->state[0], was.state[0]);
    ck_assert_ptr_eq(c->state[1], was.state[1]);
}
END_TEST

START_TEST(shared_state_is_copied_as_values_are)
{
    struct ps_matrix_spec spec = dense(PS_F64, 1, 100);
    struct psd_matrix    *m = add(&spec, 2);
    struct psd_chunk     *c = psd_store_chunk(m, 0);
    struct ps_buf        *reader = ps_buf_share(c->state[1]);

    for (int i = 0; i < 100; i++)
        ck_assert_double_eq(((double *)(void *)c->state[1]->data)[i], 0.0);
    ck_assert_ok(psd_store_write(m, c));
    ((double *)(void *)c->state[1]->data)[0] = 1;
    ck_assert_double_eq(((double *)(void *)reader->data)[0], 0.0);
    ps_buf_drop(&reader);
}
END_TEST

/* A matrix of several chunks, the last of which is a small one, in a heap. */
static struct psd_matrix *add_shared(struct ps_matrix_spec *spec)
{
    ck_assert_ok(psd_store_share(store));
    *spec = dense(PS_F32, 5, (PS_CHUNK_BYTES + 400) / 4);
    return add(spec, 1);
}

static bool is_of(const struct ps_sheet *sheet, const struct psd_matrix *m, float first)
{
    const struct ps_sheet_piece *p = &sheet->pieces[0];

    return sheet->bytes == ps_matrix_elements(&m->spec) * sizeof(float) &&
           *(const float *)(const void *)p->data == first;
}

START_TEST(of_each_version_there_is_one_sheet)
{
    struct ps_matrix_spec spec;
    struct psd_matrix    *m = add_shared(&spec);
    struct psd_chunk     *c = &m->chunks[0];
    struct ps_buf        *first, *again, *second;
    float                *w = (void *)c->value->data, was = w[0];

    ck_assert_uint_gt(m->n_chunks, 2);
    ck_assert_ok(psd_store_sheet(m, c, m->n_chunks, &first));
    ck_assert_ok(psd_store_sheet(m, c, m->n_chunks, &again));
    ck_assert_ptr_eq(first, again);
    ck_assert_ptr_nonnull(first->sheet->list); /* also the small chunk can be lent */
    ck_assert(is_of(first->sheet, m, was));
    ps_buf_drop(&again);

    ck_assert_ok(psd_store_write(m, c)); /* copied, because the sheet is held */
    ((float *)(void *)c->value->data)[0] = was + 1;
    ck_assert_ok(psd_store_sheet(m, c, m->n_chunks, &second));
    ck_assert_ptr_ne(first, second);
    ck_assert(is_of(first->sheet, m, was) && is_of(second->sheet, m, was + 1));
    ps_buf_drop(&first);
    ps_buf_drop(&second);
}
END_TEST

/* The store's own reference is no reason for a copy. */
START_TEST(a_sheet_that_nobody_holds_is_written_to_in_place)
{
    struct ps_matrix_spec spec;
    struct psd_matrix    *m = add_shared(&spec);
    struct ps_buf        *sheet;

    ck_assert_ok(psd_store_sheet(m, m->chunks, m->n_chunks, &sheet));
    ps_buf_drop(&sheet);
    for (size_t i = 0; i < m->n_chunks; i++) {
        struct ps_buf *was = m->chunks[i].value;

        ck_assert_ok(psd_store_write(m, &m->chunks[i]));
        ck_assert_ptr_eq(m->chunks[i].value, was);
    }
}
END_TEST

START_TEST(a_run_is_of_whole_chunks)
{
    struct ps_matrix_spec spec;
    struct psd_matrix    *m = add_shared(&spec);
    const uint64_t        all = ps_matrix_elements(&spec);
    struct psd_chunk     *second = &m->chunks[1];
    size_t                n;

    ck_assert_ptr_eq(psd_store_run(m, 0, all, &n), m->chunks);
    ck_assert_uint_eq(n, m->n_chunks);
    ck_assert_ptr_eq(psd_store_run(m, second->first, second->n, &n), second);
    ck_assert_uint_eq(n, 1);
    ck_assert_ptr_null(psd_store_run(m, 1, all - 1, &n));
    ck_assert_ptr_null(psd_store_run(m, 0, all - 1, &n));
    ck_assert_ptr_null(psd_store_run(m, 0, all + 1, &n));
    ck_assert_ptr_null(psd_store_run(m, 0, UINT64_MAX, &n));
    ck_assert_ptr_null(psd_store_run(m, second->first, UINT64_MAX, &n));
    ck_assert_ptr_null(psd_store_run(m, all, 1, &n));
}
END_TEST

START_TEST(matrices_are_found_by_number)
{
    static const uint32_t numbers[] = { 5, 2, 900, 1, 7 };
    struct ps_matrix_spec spec = dense(PS_F32, 1, 3);
    struct ps_place       place = place_on(&spec, 1);
    struct psd_matrix    *first;

    spec.number = 5;
    first = add(&spec, 0);
    for (int i = 1; i < 5; i++) {
        spec.number = numbers[i];
        add(&spec, 0);
    }
    ck_assert_ptr_eq(psd_store_find(store, 5), first);
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(psd_store_find(store, numbers[i])->spec.number, numbers[i]);
    ck_assert_ptr_null(psd_store_find(store, 0));
    ck_assert_ptr_null(psd_store_find(store, 6));
    ck_assert_ptr_null(psd_store_find(store, UINT32_MAX));
    ck_assert_status(psd_store_add(store, &spec, &place, 0), PS_ERR_REPEATED);
    ck_assert_why("its number 7 is taken");
}
END_TEST

START_TEST(accounts_say_what_dense_matrices_take)
{
    struct ps_matrix_spec    spec = dense(PS_F32, 10, 100);
    struct psd_account       a = psd_store_account(store);
    const struct psd_matrix *m;

    ck_assert_uint_eq(a.bytes + a.state_bytes + a.allocated_bytes + a.rows, 0);
    add(&spec, 2);
    spec = dense(PS_F64, 1, 300000);
    spec.number = 2;
    add(&spec, 1);
    a = psd_store_account(store);
    ck_assert_uint_eq(a.bytes, 1000 * 4 + 300000 * 8);
    ck_assert_uint_eq(a.state_bytes, 2 * 1000 * 4 + 300000 * 8);
    ck_assert_uint_eq(a.allocated_bytes, a.bytes + a.state_bytes);
    ck_assert_uint_eq(a.rows, 0);
    m = psd_store_next(store, 0);
    ck_assert_uint_eq(m->spec.number, 1);
    ck_assert_uint_eq(psd_store_matrix_account(m).bytes, 1000 * 4);
    ck_assert_uint_eq(psd_store_matrix_account(m).state_bytes, 2 * 1000 * 4);
    m = psd_store_next(store, 1);
    ck_assert_uint_eq(m->spec.number, 2);
    ck_assert_uint_eq(psd_store_matrix_account(m).bytes, 300000 * 8);
    ck_assert_uint_eq(psd_store_matrix_account(m).state_bytes, 300000 * 8);
    ck_assert_ptr_null(psd_store_next(store, 2));
    ck_assert_ptr_null(psd_store_next(store, UINT32_MAX));
}
END_TEST

START_TEST(a_matrix_larger_than_the_host_leaves_no_trace)
{
    struct ps_matrix_spec spec = dense(PS_F32, (uint64_t)1 << 25, (uint64_t)1 << 25);
    struct ps_place       place = place_on(&spec, 1);

    ck_assert_status(psd_store_add(store, &spec, &place, 1), PS_ERR_NO_MEMORY);
    ck_assert_why("matrix fc1.weight: 9.01e+15 bytes on shard 0");
    ck_assert_ptr_null(psd_store_find(store, spec.number));
    ck_assert_uint_eq(psd_store_account(store).allocated_bytes, 0);
    spec = dense(PS_F32, 2, 2);
    add(&spec, 1);
}
END_TEST

/* The values of a row; its state in state[]. */
static float *touch(struct psd_matrix *m, uint64_t key, void *state[2])
{
    uint32_t place;

    ck_assert_ok(psd_store_hold(m, &key, 1, &place));
    psd_store_release(m, &place, 1);
    return psd_store_row(m, place, state);
}

enum { N_KEYS = 100000, COLS = 3 };

/* 0, the largest one, and random ones. */
static uint64_t key_at(uint64_t i)
{
    if (i == 0)
        return 0;
    return i == 1 ? UINT64_MAX : ps_random_u64(SEED, 1, i);
}

START_TEST(sparse_rows_keep_what_is_written_to_them)
{
    struct ps_matrix_spec spec = sparse(COLS);
    struct psd_matrix    *m = add(&spec, 2);
    struct psd_account    a;
    uint64_t              wrong = 0;
    void                 *state[2];
    float                *w;

    for (uint64_t i = 0; i < N_KEYS; i++) {
        w = touch(m, key_at(i), state);
        for (uint64_t c = 0; c < COLS; c++) {
            wrong += w[c] != (float)start_of(&spec, key_at(i) * COLS + c);
            wrong += ((float *)state[0])[c] != 0 || ((float *)state[1])[c] != 0;
            w[c] = (float)(i + c);
            ((float *)state[0])[c] = -(float)i;
            ((float *)state[1])[c] = (float)c;
        }
    }
    for (uint64_t i = 0; i < N_KEYS; i++) {
        w = touch(m, key_at(i), state);
        for (uint64_t c = 0; c < COLS; c++) {
            wrong += w[c] != (float)(i + c);
            wrong += ((float *)state[0])[c] != -(float)i;
            wrong += ((float *)state[1])[c] != (float)c;
        }
    }
    ck_assert_uint_eq(wrong, 0);
    a = psd_store_account(store);
    ck_assert_uint_eq(a.rows, N_KEYS);
    ck_assert_uint_eq(a.bytes, (uint64_t)N_KEYS * COLS * 4);
    ck_assert_uint_eq(a.state_bytes, 2 * a.bytes);
}
END_TEST

START_TEST(the_order_of_touch_does_not_matter)
{
    enum { N = 5000 };
    struct ps_matrix_spec spec = sparse(COLS);
    struct psd_matrix    *forward = add(&spec, 0), *backward;
    void                 *state[2];

    spec.number++;
    backward = add(&spec, 0);
    for (uint64_t i = 0; i < N; i++) {
        touch(forward, key_at(i), state);
        touch(backward, key_at(N - 1 - i), state);
    }
    ck_assert_ptr_null(state[0]);
    ck_assert_ptr_null(state[1]);
    for (uint64_t i = 0; i < N; i++)
        ck_assert_mem_eq(touch(forward, key_at(i), state),
                         touch(backward, key_at(i), state), COLS * sizeof(float));
}
END_TEST

START_TEST(rows_wider_than_a_page_have_a_page_each)
{
    struct ps_matrix_spec spec = sparse(PS_CHUNK_BYTES / sizeof(float));
    struct psd_matrix    *m = add(&spec, 1);
    void                 *state[2];

    for (uint64_t key = 0; key < 3; key++) {
        float *w = touch(m, key, state);

        w[spec.cols - 1] = (float)key;
        ((float *)state[0])[spec.cols - 1] = -(float)key;
    }
    for (uint64_t key = 0; key < 3; key++) {
        ck_assert_float_eq(touch(m, key, state)[spec.cols - 1], (float)key);
        ck_assert_float_eq(((float *)state[0])[spec.cols - 1], -(float)key);
    }
}
END_TEST

/* Sanitizers map memory of their own, which a limit would take from them. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&                 \
    !defined(__clang__)
#define MEMORY_MAY_END
#endif

#ifdef MEMORY_MAY_END

/* From here on the system gives this process no more than `spare` bytes. */
static struct rlimit memory_ends(size_t spare)
{
    FILE         *f = fopen("/proc/self/statm", "r");
    struct rlimit was, now;
    size_t        pages;

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%zu", &pages), 1);
    fclose(f);
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &was), 0);
    now = was;
    now.rlim_cur = pages * (size_t)sysconf(_SC_PAGESIZE) + spare;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &now), 0);
    return was;
}

static void memory_is_back(struct rlimit was)
{
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &was), 0);
}

/* Three blocks are to be copied; the memory ends before the first, the second or the
 * third. */
START_TEST(a_chunk_becomes_writable_as_a_whole_or_not_at_all)
{
    struct ps_matrix_spec spec = dense(PS_F32, 1, PS_CHUNK_BYTES / sizeof(float));
    struct psd_matrix    *m = add(&spec, 2);
    struct psd_chunk     *c = psd_store_chunk(m, 0), was = *c;
    ps_status             st = PS_ERR_NO_MEMORY;
    int                   failures = 0;

    ps_buf_share(c->value);
    ps_buf_share(c->state[0]);
    ps_buf_share(c->state[1]);
    for (size_t spare = 0; st; spare += 512 << 10) {
        struct rlimit limit = memory_ends(spare);

        st = psd_store_write(m, c);
        memory_is_back(limit);
        if (st) {
            ck_assert_int_eq(st, PS_ERR_NO_MEMORY);
            ck_assert_mem_eq(c, &was, sizeof(was));
            failures++;
        }
    }
    ck_assert_int_gt(failures, 0);
    ck_assert_ptr_ne(c->value, was.value);
    ck_assert_ptr_ne(c->state[0], was.state[0]);
    ck_assert_ptr_ne(c->state[1], was.state[1]);
    ps_buf_drop(&was.value);
    ps_buf_drop(&was.state[0]);
    ps_buf_drop(&was.state[1]);
}
END_TEST

START_TEST(without_memory_nothing_is_created)
{
    struct ps_matrix_spec big = dense(PS_F32, 16, 1 << 20), rows = sparse(1 << 24);
    struct ps_place       place = place_on(&big, 1);
    struct psd_matrix    *m;
    struct psd_account    a;
    uint64_t              key = 7;
    uint32_t              where;
    ps_status             added, created;
    struct rlimit         limit;

    rows.init = PS_INIT_ZERO;
    m = add(&rows, 2);
    big.number = 2;
    big.init = PS_INIT_ZERO;

    limit = memory_ends(256 << 10);
    added = psd_store_add(store, &big, &place, 1);
    created = psd_store_hold(m, &key, 1, &where);
    memory_is_back(limit);

    ck_assert_int_eq(added, PS_ERR_NO_MEMORY);
    ck_assert_int_eq(created, PS_ERR_NO_MEMORY);
    ck_assert_ptr_null(psd_store_find(store, 2));
    a = psd_store_account(store);
    ck_assert_uint_eq(a.bytes + a.state_bytes + a.rows, 0);
    ck_assert_ok(psd_store_hold(m, &key, 1, &where));
}
END_TEST
#endif

static Suite *store_suite(void)
{
    Suite *s = suite_create("store");
    TCase *values = tcase_create("values");
    TCase *versions = tcase_create("versions");
    TCase *rows = tcase_create("rows");
    TCase *limits = tcase_create("limits");

    tcase_add_checked_fixture(values, one_shard, close_store);
    tcase_add_loop_test(values, any_number_of_shards_starts_from_the_same_values, 1, 5);
    tcase_add_test(values, an_element_is_found_on_one_shard_only);
    tcase_add_test(values, initialisers_say_what_an_element_starts_as);
    tcase_add_test(values, matrices_of_other_names_start_differently);
    tcase_add_test(values, rounding_never_reaches_the_end_of_a_uniform_range);
    tcase_add_test(values, counters_start_at_the_nearest_whole_number);
    suite_add_tcase(s, values);

    tcase_add_checked_fixture(versions, one_shard, close_store);
    tcase_add_test(versions, readers_keep_the_version_they_hold);
    tcase_add_test(versions, a_sole_owner_writes_in_place);
    tcase_add_test(versions, shared_state_is_copied_as_values_are);
    tcase_add_test(versions, of_each_version_there_is_one_sheet);
    tcase_add_test(versions, a_sheet_that_nobody_holds_is_written_to_in_place);
    tcase_add_test(versions, a_run_is_of_whole_chunks);
    tcase_add_test(versions, matrices_are_found_by_number);
    tcase_add_test(versions, accounts_say_what_dense_matrices_take);
    suite_add_tcase(s, versions);

    tcase_add_checked_fixture(rows, one_shard, close_store);
    tcase_add_test(rows, sparse_rows_keep_what_is_written_to_them);
    tcase_add_test(rows, the_order_of_touch_does_not_matter);
    tcase_add_test(rows, rows_wider_than_a_page_have_a_page_each);
    suite_add_tcase(s, rows);

    tcase_add_checked_fixture(limits, one_shard, close_store);
    tcase_add_test(limits, a_matrix_larger_than_the_host_leaves_no_trace);
#ifdef MEMORY_MAY_END
    if (access("/proc/self/statm", R_OK) == 0) { /* a bare chroot has no /proc */
        tcase_add_test(limits, a_chunk_becomes_writable_as_a_whole_or_not_at_all);
        tcase_add_test(limits, without_memory_nothing_is_created);
    }
#endif
    suite_add_tcase(s, limits);
    return s;
}

TEST_MAIN(store_suite)
