/*
 * Sparse rows that come and go: the table against a plain list, limits and eviction
 * against a model that does everything the slow way, listing while rows come and go.
 */
#include "common/base/random.h"
#include "server/store/capture.h"
#include "server/store/slabs.h"
#include "server/store/store.h"
#include "server/store/store_table.h"
#include "tests/unit/suite.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define SEED 77u

/* ---- the table ----------------------------------------------------------------- */

START_TEST(keys_and_hashes_belong_to_each_other)
{
    static const uint64_t keys[] = { 0, 1, 2, UINT64_MAX, UINT64_C(1) << 63 };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        ck_assert_uint_eq(psd_table_key(psd_table_hash(keys[i])), keys[i]);
    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t key = ps_random_u64(SEED, 1, i);

        ck_assert_uint_eq(psd_table_key(psd_table_hash(key)), key);
    }
}
END_TEST

enum { N_HASHES = 400 };

struct model {
    uint32_t place[N_HASHES]; /* PSD_NOWHERE: not there */
    uint64_t n;
};

/* Ascending; most of them crowd in a few homes, the first and the last ones included,
 * so that clusters go round the end of the table. */
static uint64_t hash_at(uint64_t i)
{
    uint64_t group = i / 50 * (UINT64_MAX / 7 / 16) * 16;

    return i >= 350 ? UINT64_MAX - (N_HASHES - 1 - i) : group + i % 50;
}

static void compare_with_model(const struct psd_table *t, const struct model *model)
{
    struct psd_cell cells[N_HASHES + 1];
    size_t          n = psd_table_list(t, 0, N_HASHES + 1, cells), at = 0;

    ck_assert_uint_eq(t->n, model->n);
    ck_assert_uint_eq(n, model->n);
    for (uint64_t i = 0; i < N_HASHES; i++) {
        ck_assert_uint_eq(psd_table_find(t, hash_at(i)), model->place[i]);
        if (model->place[i] == PSD_NOWHERE)
            continue;
        ck_assert_uint_eq(cells[at].hash, hash_at(i));
        ck_assert_uint_eq(cells[at++].place, model->place[i]);
    }
}

START_TEST(the_table_does_what_a_plain_list_does)
{
    uint64_t         stream = (uint64_t)_i;
    struct psd_table t;
    struct model     model = { .n = 0 };

    ck_assert(psd_table_init(&t));
    for (uint64_t i = 0; i < N_HASHES; i++)
        model.place[i] = PSD_NOWHERE;
    for (uint32_t step = 0; step < 4000; step++) {
        uint64_t i = ps_random_below(SEED, stream, step, N_HASHES);

        if (model.place[i] == PSD_NOWHERE) {
            ck_assert(psd_table_reserve(&t, 1));
            psd_table_put(&t, hash_at(i), step);
            model.place[i] = step;
            model.n++;
        } else {
            psd_table_remove(&t, hash_at(i));
            model.place[i] = PSD_NOWHERE;
            model.n--;
        }
        if (step % 97 == 0)
            compare_with_model(&t, &model);
    }
    compare_with_model(&t, &model);
    psd_table_free(&t);
}
END_TEST

/* ---- limits -------------------------------------------------------------------- */

enum { COLS = 3, MAX_ROWS = 20, UNIVERSE = 60, REQUEST = 12, OPEN = 4 };

static struct psd_store  *store;
static struct psd_matrix *m;

static void open_matrix(uint32_t n_shards, uint32_t shard, uint64_t max_rows,
                        uint32_t evict)
{
    struct ps_matrix_spec spec = { .name = "emb",
                                   .number = 1,
                                   .dtype = PS_F32,
                                   .sparse = true,
                                   .cols = COLS,
                                   .init = PS_INIT_NORMAL,
                                   .init_b = 1,
                                   .weight_decay = NAN,
                                   .max_rows = max_rows,
                                   .evict = evict };
    uint64_t              load[8] = { 0 };
    struct ps_place       place;

    ps_place_cut(&place, &spec);
    ps_place_assign(&place, load, n_shards);
    ck_assert_ok(psd_store_new(&store, shard, SEED));
    ck_assert_ok(psd_store_add(store, &spec, &place, 1));
    m = psd_store_find(store, 1);
}

static void close_store(void)
{
    psd_store_free(&store);
}

/* Holds and releases; PS_OK or PS_ERR_LIMIT. */
static ps_status use(const uint64_t *keys, uint64_t n)
{
    uint32_t  places[REQUEST];
    ps_status st = psd_store_hold(m, keys, n, places);

    if (!st)
        psd_store_release(m, places, n);
    return st;
}

static uint64_t n_rows(void)
{
    return psd_store_account(store).rows;
}

static bool exists(uint64_t key)
{
    uint64_t keys[REQUEST * MAX_ROWS], next;
    uint32_t places[REQUEST * MAX_ROWS];
    size_t   n = psd_store_list(m, 0, REQUEST * MAX_ROWS, keys, places, &next);

    ck_assert_uint_eq(next, 0);
    for (size_t i = 0; i < n; i++)
        if (keys[i] == key)
            return true;
    return false;
}

START_TEST(a_row_too_many_is_refused_and_nothing_has_changed)
{
    static const uint64_t first[] = { 1, 2, 3 }, more[] = { 4, 3, 5, 4, 6 };
    static const uint64_t known[] = { 3, 2, 1, 2, 3 }, fits[] = { 9, 8, 9, 9, 9, 8 };

    open_matrix(1, 0, 5, PS_EVICT_NONE);
    ck_assert_ok(use(first, 3));
    ck_assert_status(use(more, 5), PS_ERR_LIMIT);
    ck_assert_why(
        "matrix emb: 3 new rows beside 3 would be more than 5 of the matrix's "
        "max_rows 5 on shard 0; raise it or choose evict lru or frequency");
    ck_assert_uint_eq(n_rows(), 3);
    ck_assert_ok(use(known, 5));
    ck_assert_ok(use(fits, 6));
    ck_assert_uint_eq(n_rows(), 5);
    ck_assert_status(use(more, 1), PS_ERR_LIMIT);
    ck_assert_uint_eq(psd_store_account(store).evicted, 0);
}
END_TEST

START_TEST(each_shard_has_its_part_of_the_limit_rounded_up)
{
    uint64_t key = 0, created;

    for (uint32_t shard = 0; shard < 3; shard++) {
        open_matrix(3, shard, 10, PS_EVICT_NONE);
        for (created = 0; use(&key, 1) == PS_OK; key++)
            created++;
        ck_assert_uint_eq(created, 4); /* 10 / 3 */
        close_store();
    }
    open_matrix(1, 0, UINT64_MAX, PS_EVICT_LRU);
    ck_assert_ok(use(&key, 1));
}
END_TEST

START_TEST(the_row_used_longest_ago_goes)
{
    static const uint64_t order[] = { 1, 2, 3 };
    uint64_t              key;

    open_matrix(1, 0, 3, PS_EVICT_LRU);
    ck_assert_ok(use(order, 3));
    ck_assert_ok(use(&order[0], 1)); /* now 2 is the oldest */
    key = 4;
    ck_assert_ok(use(&key, 1));
    ck_assert(exists(1) && !exists(2) && exists(3) && exists(4));
    ck_assert_uint_eq(psd_store_account(store).evicted, 1);
}
END_TEST

START_TEST(the_row_used_least_often_goes_and_of_equals_the_oldest)
{
    static const uint64_t uses[] = { 1, 1, 1, 2, 3, 2, 3 };
    uint64_t              key;

    open_matrix(1, 0, 3, PS_EVICT_FREQUENCY);
    ck_assert_ok(use(uses, 7));
    key = 4; /* 2 and 3 twice each, 2 longer ago */
    ck_assert_ok(use(&key, 1));
    ck_assert(exists(1) && !exists(2) && exists(3) && exists(4));
    key = 5; /* 4 once */
    ck_assert_ok(use(&key, 1));
    ck_assert(exists(1) && exists(3) && !exists(4) && exists(5));
}
END_TEST

START_TEST(a_row_that_comes_back_starts_anew)
{
    uint64_t old = 1, other = 2;
    uint32_t place;
    void    *state[2];
    float    first[COLS], *w;

    open_matrix(1, 0, 1, PS_EVICT_LRU);
    ck_assert_ok(psd_store_hold(m, &old, 1, &place));
    w = psd_store_row(m, place, state);
    memcpy(first, w, sizeof(first));
    w[0] = 99;
    ((float *)state[0])[COLS - 1] = 99;
    psd_store_release(m, &place, 1);
    ck_assert_ok(use(&other, 1));
    ck_assert_ok(psd_store_hold(m, &old, 1, &place));
    w = psd_store_row(m, place, state);
    ck_assert_mem_eq(w, first, sizeof(first));
    for (int i = 0; i < COLS; i++)
        ck_assert_float_eq(((float *)state[0])[i], 0);
    ck_assert_ptr_null(state[1]);
    ck_assert_uint_eq(psd_store_account(store).evicted, 2);
}
END_TEST

START_TEST(rows_that_are_held_stay)
{
    static const uint64_t three[] = { 1, 2, 3 }, four[] = { 4, 5, 6, 7 };
    uint32_t              places[3], others[4];

    open_matrix(1, 0, 5, _i ? PS_EVICT_LRU : PS_EVICT_FREQUENCY);
    ck_assert_ok(use(four, 2)); /* older, and used as often */
    ck_assert_ok(psd_store_hold(m, three, 3, places));
    ck_assert_status(psd_store_hold(m, four, 4, others), PS_ERR_LIMIT);
    ck_assert_why("matrix emb: 2 new rows, but 5 of 5 of the matrix's max_rows 5 on "
                  "shard 0 are part of the same request or of held pushes");
    ck_assert_uint_eq(n_rows(), 5);
    ck_assert_ok(use(&four[2], 2)); /* at the cost of 4 and 5 */
    ck_assert(!exists(4) && !exists(5) && exists(1) && exists(2) && exists(3));
    psd_store_release(m, places, 3);
    ck_assert_ok(use(four, 4));
    ck_assert_uint_eq(n_rows(), 5);
}
END_TEST

/* ---- eviction against a model -------------------------------------------------- */

/* Row `key` as the model has it. */
struct entry {
    bool     there;
    uint64_t uses, stamp;
    uint32_t holds;
    float    value; /* of its first element, once written */
};

struct request {
    uint64_t n, keys[REQUEST];
    uint32_t places[REQUEST];
};

static struct entry entries[UNIVERSE];
static uint64_t     stamp, gone;

static bool is_in(const struct request *r, uint64_t key)
{
    for (uint64_t i = 0; i < r->n; i++)
        if (r->keys[i] == key)
            return true;
    return false;
}

static void count_entries(const struct request *r, uint64_t *there, uint64_t *fresh,
                          uint64_t *may_go)
{
    *there = *fresh = *may_go = 0;
    for (uint64_t k = 0; k < UNIVERSE; k++) {
        *there += entries[k].there;
        *fresh += !entries[k].there && is_in(r, k);
        *may_go += entries[k].there && entries[k].holds == 0 && !is_in(r, k);
    }
}

static void evict_one(const struct request *r, bool lru)
{
    struct entry *least = NULL;

    for (uint64_t k = 0; k < UNIVERSE; k++) {
        struct entry *e = &entries[k];

        if (!e->there || e->holds || is_in(r, k))
            continue;
        if (!least || (!lru && e->uses < least->uses) ||
            ((lru || e->uses == least->uses) && e->stamp < least->stamp))
            least = e;
    }
    *least = (struct entry){ .there = false };
    gone++;
}

/* What psd_store_hold should do. */
static ps_status hold_by_the_book(const struct request *r, bool lru)
{
    uint64_t there, fresh, may_go, excess;

    count_entries(r, &there, &fresh, &may_go);
    excess = there + fresh > MAX_ROWS ? there + fresh - MAX_ROWS : 0;
    if (excess > may_go)
        return PS_ERR_LIMIT;
    while (excess-- > 0)
        evict_one(r, lru);
    for (uint64_t i = 0; i < r->n; i++) {
        struct entry *e = &entries[r->keys[i]];

        e->there = true;
        e->uses++;
        e->stamp = ++stamp;
        e->holds++;
    }
    return PS_OK;
}

/* Every row is there, as it was written last, or not there. */
static void compare_entries(void)
{
    uint64_t keys[UNIVERSE], next, n_there = 0;
    uint32_t places[UNIVERSE];
    void    *state[2];
    size_t   n = psd_store_list(m, 0, UNIVERSE, keys, places, &next);

    for (uint64_t k = 0; k < UNIVERSE; k++)
        n_there += entries[k].there;
    ck_assert_uint_eq(n, n_there);
    ck_assert_uint_eq(n_rows(), n_there);
    ck_assert_uint_eq(psd_store_account(store).evicted, gone);
    for (size_t i = 0; i < n; i++) {
        const float *w = psd_store_row(m, places[i], state);

        ck_assert(keys[i] < UNIVERSE && entries[keys[i]].there);
        ck_assert_float_eq(w[0], entries[keys[i]].value);
        ck_assert_uint_eq(*psd_store_tag(m, places[i]), 0);
    }
}

static void write_rows(const struct request *r, float value)
{
    void *state[2];

    for (uint64_t i = 0; i < r->n; i++) {
        float *w = psd_store_row(m, r->places[i], state);

        if (entries[r->keys[i]].value == 0) /* it is fresh */
            ck_assert_float_ne(w[0], 0);
        else
            ck_assert_float_eq(w[0], entries[r->keys[i]].value);
        w[0] = entries[r->keys[i]].value = value;
    }
}

static void let_go(struct request *r)
{
    psd_store_release(m, r->places, r->n);
    for (uint64_t i = 0; i < r->n; i++)
        entries[r->keys[i]].holds--;
    r->n = 0;
}

START_TEST(eviction_does_what_the_slow_way_does)
{
    uint64_t       stream = (uint64_t)_i, draw = 0, refused = 0;
    bool           lru = _i % 2;
    struct request open[OPEN] = { { .n = 0 } };

    memset(entries, 0, sizeof(entries));
    stamp = gone = 0;
    open_matrix(1, 0, MAX_ROWS, lru ? PS_EVICT_LRU : PS_EVICT_FREQUENCY);
    for (int step = 0; step < 3000; step++) {
        struct request *r = &open[ps_random_below(SEED, stream, draw++, OPEN)];
        ps_status       st;

        if (r->n > 0)
            let_go(r);
        r->n = 1 + ps_random_below(SEED, stream, draw++, REQUEST);
        for (uint64_t i = 0; i < r->n; i++) {
            uint64_t below = ps_random_below(SEED, stream, draw++, UNIVERSE) + 1;

            r->keys[i] = ps_random_below(SEED, stream, draw++, below);
        }
        st = hold_by_the_book(r, lru);
        ck_assert_int_eq(psd_store_hold(m, r->keys, r->n, r->places), st);
        if (st) {
            r->n = 0;
            refused++;
        } else {
            write_rows(r, (float)(step + 1));
        }
        compare_entries();
    }
    ck_assert_uint_gt(refused, 10); /* the seeds meet the rare paths */
    ck_assert_uint_gt(gone, 1000);
}
END_TEST

/* ---- listing ------------------------------------------------------------------- */

enum { STEADY = 3000, PASSING = 2000 };

/* Rows 0 .. STEADY-1 are used all the time; others come, go, and come back. */
START_TEST(a_row_that_stays_is_listed_once_and_no_row_twice)
{
    uint64_t from = 0, next_passing = STEADY, keys[100], held[STEADY];
    uint32_t places[100], *held_at = malloc(STEADY * sizeof(*held_at));
    uint8_t *seen = calloc(STEADY + PASSING, 1);

    open_matrix(1, 0, STEADY + 100, PS_EVICT_LRU);
    for (uint64_t k = 0; k < STEADY; k++)
        held[k] = k;
    ck_assert_ok(psd_store_hold(m, held, STEADY, held_at));
    do {
        size_t room = 1 + ps_random_below(SEED, 3, next_passing, 100);
        size_t n = psd_store_list(m, from, room, keys, places, &from);

        ck_assert(n == room || from == 0);
        for (size_t i = 0; i < n; i++) {
            ck_assert_uint_lt(keys[i], STEADY + PASSING);
            ck_assert_uint_eq(seen[keys[i]]++, 0);
        }
        for (int i = 0; i < 90; i++, next_passing++) {
            uint64_t key = STEADY + next_passing % PASSING;

            ck_assert_ok(use(&key, 1));
        }
    } while (from != 0);
    for (uint64_t k = 0; k < STEADY; k++)
        ck_assert_uint_eq(seen[k], 1);
    ck_assert_uint_gt(psd_store_account(store).evicted, PASSING);
    free(held_at);
    free(seen);
}
END_TEST

START_TEST(a_table_that_grows_meanwhile_loses_no_row)
{
    enum { FIRST = 500, LATER = 40000 };
    uint64_t from = 0, next_key = FIRST, keys[10], all[FIRST];
    uint32_t places[10], *at = malloc(FIRST * sizeof(*at));
    uint8_t *seen = calloc(FIRST + LATER, 1);

    open_matrix(1, 0, 0, PS_EVICT_NONE);
    for (uint64_t k = 0; k < FIRST; k++)
        all[k] = k;
    ck_assert_ok(psd_store_hold(m, all, FIRST, at));
    do {
        size_t n = psd_store_list(m, from, 10, keys, places, &from);

        for (size_t i = 0; i < n; i++)
            ck_assert_uint_eq(seen[keys[i]]++, 0);
        for (int i = 0; i < 10 && next_key < FIRST + LATER; i++, next_key++)
            ck_assert_ok(use(&next_key, 1));
    } while (from != 0);
    for (uint64_t k = 0; k < FIRST; k++)
        ck_assert_uint_eq(seen[k], 1);
    free(at);
    free(seen);
}
END_TEST

START_TEST(what_is_allocated_is_at_least_what_is_used)
{
    struct psd_account a;

    open_matrix(1, 0, 50000, PS_EVICT_LRU);
    for (uint64_t key = 0; key < 50001; key++)
        ck_assert_ok(use(&key, 1));
    a = psd_store_account(store);
    ck_assert_uint_eq(a.rows, 50000);
    ck_assert_uint_eq(a.evicted, 1);
    ck_assert_uint_eq(a.bytes, a.rows * COLS * sizeof(float));
    ck_assert_uint_eq(a.state_bytes, a.bytes);
    ck_assert_uint_ge(a.allocated_bytes, a.bytes + a.state_bytes + 50000 * 40);
    ck_assert_uint_le(a.allocated_bytes, a.bytes + a.state_bytes + 50000 * 120);
}
END_TEST

/* ---- repeats ------------------------------------------------------------------- */

static bool hold_is_distinct(const uint64_t *keys, uint64_t n)
{
    uint32_t places[400];
    bool     distinct;

    ck_assert_ok(psd_store_hold_distinct(m, keys, n, places, &distinct));
    psd_store_release(m, places, n);
    return distinct;
}

START_TEST(a_key_that_comes_twice_is_noticed)
{
    static const uint64_t some[] = { 5, 6, 7 }, twice[] = { 7, 8, 6, 7 };
    static const uint64_t fresh[] = { 20, 21, 20 };

    open_matrix(1, 0, _i ? 40 : 0, _i ? PS_EVICT_LRU : PS_EVICT_NONE);
    ck_assert(hold_is_distinct(some, 3)); /* when they are made, */
    ck_assert(hold_is_distinct(some, 3)); /* and when they are there */
    ck_assert(!hold_is_distinct(twice, 4));
    ck_assert(!hold_is_distinct(fresh, 3));
    ck_assert(hold_is_distinct(twice, 3));
    ck_assert(hold_is_distinct(some, 0));
}
END_TEST

START_TEST(a_key_that_comes_twice_is_noticed_though_the_table_grows_in_between)
{
    uint64_t keys[400];

    open_matrix(1, 0, 0, PS_EVICT_NONE);
    for (uint64_t i = 0; i < 400; i++)
        keys[i] = i;
    ck_assert(hold_is_distinct(keys, 1));
    keys[399] = 0;
    ck_assert(!hold_is_distinct(keys, 400));
    close_store();
    open_matrix(1, 0, 0, PS_EVICT_NONE);
    keys[399] = 399;
    ck_assert(hold_is_distinct(keys, 400));
}
END_TEST

START_TEST(rows_are_found_together_as_one_by_one)
{
    uint64_t keys[400];
    uint32_t places[400];
    void    *rows[400], *state[2];

    open_matrix(1, 0, 0, PS_EVICT_NONE);
    for (uint64_t i = 0; i < 400; i++)
        keys[i] = i * i % 377;
    ck_assert_ok(psd_store_hold(m, keys, 400, places));
    psd_store_rows(m, places, 400, rows);
    for (size_t i = 0; i < 400; i++)
        ck_assert_ptr_eq(rows[i], psd_store_row(m, places[i], state));
    ck_assert_ptr_eq(state[0], (float *)rows[399] + COLS);
}
END_TEST

/* ---- pages in slabs -------------------------------------------------------------- */

enum { N_BLOCKS = 300, BLOCK_BYTES = 16 << 10 };

static void *drop_all(void *blocks)
{
    for (struct ps_buf **b = blocks; b < (struct ps_buf **)blocks + N_BLOCKS; b++)
        ps_buf_drop(b);
    return NULL;
}

static void take_all(struct psd_slabs *s, struct ps_buf *blocks[N_BLOCKS])
{
    int wrong = 0;

    for (int i = 0; i < N_BLOCKS; i++) {
        ck_assert_ok(psd_slabs_take(s, &blocks[i]));
        ck_assert_uint_eq(blocks[i]->len, BLOCK_BYTES);
        ck_assert_uint_eq((uintptr_t)blocks[i]->data % PS_BUF_ALIGN, 0);
        memset(blocks[i]->data, i % 251, BLOCK_BYTES);
    }
    for (int i = 0; i < N_BLOCKS; i++)
        for (int at = 0; at < BLOCK_BYTES; at++)
            wrong += blocks[i]->data[at] != i % 251;
    ck_assert_int_eq(wrong, 0);
}

START_TEST(blocks_that_were_dropped_anywhere_are_handed_out_again)
{
    static struct ps_buf *blocks[N_BLOCKS];
    struct psd_slabs     *s;
    size_t                bytes;
    pthread_t             thread;

    ck_assert_ok(psd_slabs_new(&s, BLOCK_BYTES));
    take_all(s, blocks);
    bytes = psd_slabs_bytes(s);
    ck_assert_uint_ge(bytes, N_BLOCKS * BLOCK_BYTES);
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, drop_all, blocks), 0);
        pthread_join(thread, NULL);
        take_all(s, blocks);
    }
    ck_assert_uint_eq(psd_slabs_bytes(s), bytes);
    psd_slabs_free(&s);
    ck_assert_uint_eq(blocks[7]->data[0],
                      7); /* its holder's, for as long as it likes */
    drop_all(blocks);
}
END_TEST

static void write_all(const uint64_t *keys, uint32_t *places, uint64_t n, float value)
{
    ck_assert_ok(psd_store_hold(m, keys, n, places));
    ck_assert_ok(psd_store_write_rows(m, places, n));
    for (uint64_t i = 0; i < n; i++) {
        void  *state[2];
        float *w = psd_store_row(m, places[i], state);

        w[COLS - 1] = value + (float)(keys[i] % 1000);
    }
    psd_store_release(m, places, n);
}

static void compare_captured(const struct psd_capture *c, float value)
{
    const struct psd_captured_rows *r = c->matrices[0].rows;
    uint64_t                        wrong = 0;

    for (uint64_t i = 0; i < r->n; i++) {
        uint32_t       in_page = r->places[i] & ((1u << r->page_shift) - 1);
        const uint8_t *page = r->pages[r->places[i] >> r->page_shift]->data;
        const float   *w = (const void *)(page + in_page * r->row_bytes);

        wrong += w[COLS - 1] != value + (float)(r->keys[i] % 1000);
    }
    ck_assert_uint_eq(wrong, 0);
}

/* 3 MiB of rows, so that most of their pages are cut out of slabs. */
START_TEST(what_a_capture_held_of_a_large_matrix_is_used_again)
{
    enum { N = 130000 };
    uint64_t           *keys = calloc(N, sizeof(*keys)), allocated = 0;
    uint32_t           *places = calloc(N, sizeof(*places));
    struct psd_capture *before, *after;

    open_matrix(1, 0, 0, PS_EVICT_NONE);
    for (uint64_t i = 0; i < N; i++)
        keys[i] = i * 31;
    write_all(keys, places, N, 0.0f);
    for (int round = 0; round < 4; round++) {
        float value = (float)round * 4096;

        ck_assert_ok(psd_store_capture(store, &before));
        write_all(keys, places, N, value + 4096);
        ck_assert_ok(psd_store_capture(store, &after));
        compare_captured(before, value);
        compare_captured(after, value + 4096);
        psd_capture_free(&before);
        psd_capture_free(&after);
        if (round == 1)
            allocated = psd_store_account(store).allocated_bytes;
    }
    ck_assert_uint_eq(psd_store_account(store).allocated_bytes, allocated);
    free(keys);
    free(places);
}
END_TEST

static Suite *store_rows_suite(void)
{
    Suite *s = suite_create("store_rows");
    TCase *table = tcase_create("table");
    TCase *limits = tcase_create("limits");
    TCase *lists = tcase_create("lists");
    TCase *repeats = tcase_create("repeats");
    TCase *slabs = tcase_create("slabs");
    TCase *pages = tcase_create("pages");

    tcase_add_test(table, keys_and_hashes_belong_to_each_other);
    tcase_add_loop_test(table, the_table_does_what_a_plain_list_does, 1, 6);
    suite_add_tcase(s, table);

    tcase_add_checked_fixture(limits, NULL, close_store);
    tcase_add_test(limits, a_row_too_many_is_refused_and_nothing_has_changed);
    tcase_add_test(limits, each_shard_has_its_part_of_the_limit_rounded_up);
    tcase_add_test(limits, the_row_used_longest_ago_goes);
    tcase_add_test(limits, the_row_used_least_often_goes_and_of_equals_the_oldest);
    tcase_add_test(limits, a_row_that_comes_back_starts_anew);
    tcase_add_loop_test(limits, rows_that_are_held_stay, 0, 2);
    tcase_add_loop_test(limits, eviction_does_what_the_slow_way_does, 1, 9);
    suite_add_tcase(s, limits);

    tcase_add_checked_fixture(lists, NULL, close_store);
    tcase_add_test(lists, a_row_that_stays_is_listed_once_and_no_row_twice);
    tcase_add_test(lists, a_table_that_grows_meanwhile_loses_no_row);
    tcase_add_test(lists, what_is_allocated_is_at_least_what_is_used);
    suite_add_tcase(s, lists);

    tcase_add_checked_fixture(repeats, NULL, close_store);
    tcase_add_loop_test(repeats, a_key_that_comes_twice_is_noticed, 0, 2);
    tcase_add_test(repeats,
                   a_key_that_comes_twice_is_noticed_though_the_table_grows_in_between);
    tcase_add_test(repeats, rows_are_found_together_as_one_by_one);
    suite_add_tcase(s, repeats);

    tcase_add_test(slabs, blocks_that_were_dropped_anywhere_are_handed_out_again);
    suite_add_tcase(s, slabs);

    tcase_add_checked_fixture(pages, NULL, close_store);
    tcase_add_test(pages, what_a_capture_held_of_a_large_matrix_is_used_again);
    suite_add_tcase(s, pages);
    return s;
}

TEST_MAIN(store_rows_suite)
