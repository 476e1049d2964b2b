/* Placement: the same answer on both sides, for ever, and even loads. */
#include "common/place/place.h"
#include "tests/unit/suite.h"

#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct ps_place place;

static struct ps_matrix_spec dense(uint32_t dtype, uint64_t rows, uint64_t cols)
{
    return (struct ps_matrix_spec){
        .name = "m", .dtype = dtype, .rows = rows, .cols = cols
    };
}

static void cut(uint32_t dtype, uint64_t rows, uint64_t cols)
{
    struct ps_matrix_spec spec = dense(dtype, rows, cols);

    ps_place_cut(&place, &spec);
}

static void cut_sparse(void)
{
    struct ps_matrix_spec spec = {
        .name = "m", .dtype = PS_F32, .sparse = true, .cols = 8
    };

    ps_place_cut(&place, &spec);
}

/* ---- cutting ------------------------------------------------------------------- */

static const struct {
    uint32_t dtype;
    uint64_t rows, cols;
    uint32_t n_slots;
    uint64_t slot_elements;
} cuts[] = {
    { PS_F32, 1, 1, 1, 16 },
    { PS_F32, 1, 10, 1, 16 },
    { PS_F32, 1, 16383, 1, 16384 }, /* the last below 64 KiB */
    { PS_F32, 1, 16384, 256, 64 },
    { PS_F32, 1, 16385, 205, 80 },
    { PS_F64, 1, 8191, 1, 8192 },
    { PS_F64, 1, 8192, 256, 32 },
    { PS_F32, 784, 128, 251, 400 },
    { PS_I64, UINT64_C(1) << 20, UINT64_C(1) << 20, 256, UINT64_C(1) << 32 },
};

START_TEST(a_dense_matrix_is_cut_into_at_most_256_slots_of_a_multiple_of_16)
{
    cut(cuts[_i].dtype, cuts[_i].rows, cuts[_i].cols);
    ck_assert_uint_eq(place.n_slots, cuts[_i].n_slots);
    ck_assert_uint_eq(place.slot_elements, cuts[_i].slot_elements);
    ck_assert_uint_eq(place.n_elements, cuts[_i].rows * cuts[_i].cols);
    ck_assert(!place.sparse);
}
END_TEST

/* Sizes around the first one that is cut, and some beyond. */
START_TEST(slots_cover_a_matrix_without_gap)
{
    for (uint64_t n = 16000; n < 17000; n += n < 16400 ? 7 : 97) {
        uint64_t at = 0, count;

        cut(PS_F32, 1, n);
        for (uint32_t s = 0; s < place.n_slots; s++) {
            ck_assert_uint_eq(ps_place_slot(&place, s, &count), at);
            ck_assert_uint_ge(count, 1);
            at += count;
        }
        ck_assert_uint_eq(at, n);
    }
}
END_TEST

START_TEST(a_sparse_matrix_has_4096_slots)
{
    cut_sparse();
    ck_assert(place.sparse);
    ck_assert_uint_eq(place.n_slots, 4096);
}
END_TEST

/* ---- balance ------------------------------------------------------------------- */

struct shape {
    uint64_t rows, cols;
};

static const struct shape lenet[] = {
    { 16, 25 },   { 1, 16 },  { 16, 400 }, { 1, 16 },
    { 784, 128 }, { 1, 128 }, { 128, 10 }, { 1, 10 }
};

static const struct shape vgg16[] = {
    { 64, 27 },     { 1, 64 },       { 64, 576 },   { 1, 64 },      { 128, 576 },
    { 1, 128 },     { 128, 1152 },   { 1, 128 },    { 256, 1152 },  { 1, 256 },
    { 256, 2304 },  { 1, 256 },      { 256, 2304 }, { 1, 256 },     { 512, 2304 },
    { 1, 512 },     { 512, 4608 },   { 1, 512 },    { 512, 4608 },  { 1, 512 },
    { 512, 4608 },  { 1, 512 },      { 512, 4608 }, { 1, 512 },     { 512, 4608 },
    { 1, 512 },     { 25088, 4096 }, { 1, 4096 },   { 4096, 4096 }, { 1, 4096 },
    { 4096, 1000 }, { 1, 1000 }
};

/* One block of a transformer of width 1024, after its embedding. */
static const struct shape transformer[] = {
    { 50257, 1024 }, { 1024, 3072 }, { 1, 3072 },    { 1024, 1024 }, { 1, 1024 },
    { 1024, 4096 },  { 1, 4096 },    { 4096, 1024 }, { 1, 1024 },    { 1, 1024 }
};

/* All weights of a large model in one matrix: nothing comes later to even it out. */
static const struct shape one_matrix[] = { { 10000, 10000 } };

static const struct {
    const char         *model;
    const struct shape *shapes;
    size_t              n;
    uint32_t            n_shards;
    double              tolerance;
} models[] = {
    { "lenet", lenet, COUNT(lenet), 2, 0.05 },
    { "lenet", lenet, COUNT(lenet), 3, 0.05 },
    { "lenet", lenet, COUNT(lenet), 4, 0.05 },
    { "vgg16", vgg16, COUNT(vgg16), 2, 0.01 },
    { "vgg16", vgg16, COUNT(vgg16), 3, 0.01 },
    { "vgg16", vgg16, COUNT(vgg16), 4, 0.01 },
    { "vgg16", vgg16, COUNT(vgg16), 7, 0.01 },
    { "vgg16", vgg16, COUNT(vgg16), 16, 0.01 },
    { "transformer", transformer, COUNT(transformer), 2, 0.01 },
    { "transformer", transformer, COUNT(transformer), 4, 0.01 },
    { "transformer", transformer, COUNT(transformer), 5, 0.01 },
    { "transformer", transformer, COUNT(transformer), 8, 0.01 },
    { "one matrix", one_matrix, COUNT(one_matrix), 2, 0.01 },
    { "one matrix", one_matrix, COUNT(one_matrix), 4, 0.01 },
};

/* Bytes of every shard, counted from the map and not from what assign says. */
static void count_owned(const struct ps_place *p, uint64_t *owned)
{
    for (uint32_t s = 0; s < p->n_slots; s++) {
        uint64_t count;

        ps_place_slot(p, s, &count);
        owned[p->shard_of[s]] += count * p->element_bytes;
    }
}

START_TEST(shards_end_close_to_the_mean)
{
    uint64_t load[16] = { 0 }, owned[16] = { 0 }, total = 0;
    uint32_t n_shards = models[_i].n_shards;

    for (size_t i = 0; i < models[_i].n; i++) {
        cut(PS_F32, models[_i].shapes[i].rows, models[_i].shapes[i].cols);
        ps_place_assign(&place, load, n_shards);
        count_owned(&place, owned);
        total += place.n_elements * 4;
    }
    for (uint32_t s = 0; s < n_shards; s++) {
        double mean = (double)total / n_shards;
        double off = ((double)owned[s] - mean) / mean;

        ck_assert_uint_eq(load[s], owned[s]);
        ck_assert_msg(off <= models[_i].tolerance && off >= -models[_i].tolerance,
                      "%s: shard %u of %u is %.2f %% off", models[_i].model, s,
                      n_shards, 100 * off);
    }
}
END_TEST

START_TEST(a_shard_owns_one_contiguous_run)
{
    uint64_t load[7] = { 900000, 0, 5, 0, 70000, 1, 4000000 };

    cut(PS_F32, 1000, 1000);
    ps_place_assign(&place, load, 7);
    for (uint32_t s = 1; s < place.n_slots; s++)
        ck_assert_uint_ge(place.shard_of[s], place.shard_of[s - 1]);
    ck_assert_uint_eq(load[6], 4000000); /* has more than its share already */
    ck_assert_uint_eq(place.shard_of[place.n_slots - 1], 5);
}
END_TEST

START_TEST(uneven_loads_are_filled_to_one_level)
{
    uint64_t load[4] = { 100000, 300000, 0, 200000 };

    cut(PS_F32, 1, 256 * 1024); /* 1 MiB: slots of 4 KiB */
    ps_place_assign(&place, load, 4);
    /* (1048576 + 600000) / 4 = 412144, and half a slot at both edges */
    for (int s = 0; s < 4; s++)
        ck_assert_msg(load[s] >= 412144 - 4096 && load[s] <= 412144 + 4096,
                      "shard %d has %ju", s, (uintmax_t)load[s]);
}
END_TEST

START_TEST(small_matrices_go_to_the_emptiest_shard_the_lower_number_first)
{
    uint64_t load[3] = { 0 };

    cut(PS_F32, 1, 10);
    ps_place_assign(&place, load, 3);
    ck_assert_uint_eq(place.shard_of[0], 0);
    ps_place_assign(&place, load, 3);
    ck_assert_uint_eq(place.shard_of[0], 1);
    ps_place_assign(&place, load, 3);
    ck_assert_uint_eq(place.shard_of[0], 2);
    ps_place_assign(&place, load, 3);
    ck_assert_uint_eq(place.shard_of[0], 0);
    ck_assert_uint_eq(load[0], 80);
}
END_TEST

START_TEST(a_sparse_matrix_is_spread_evenly_and_weighs_nothing)
{
    uint64_t load[7] = { 5, 4, 3, 2, 1, 0, 9 };
    uint32_t owned[7] = { 0 };

    cut_sparse();
    ps_place_assign(&place, load, 7);
    for (uint32_t s = 0; s < place.n_slots; s++)
        owned[place.shard_of[s]]++;
    for (int s = 0; s < 7; s++)
        ck_assert(owned[s] == 585 || owned[s] == 586);
    ck_assert_uint_eq(load[0], 5);
    ck_assert_uint_eq(load[5], 0);
}
END_TEST

START_TEST(one_shard_gets_everything)
{
    uint64_t load[1] = { 0 };

    cut(PS_F64, 300, 1000);
    ps_place_assign(&place, load, 1);
    ck_assert_uint_eq(load[0], 2400000);
    ck_assert_uint_eq(place.shard_of[place.n_slots - 1], 0);
}
END_TEST

START_TEST(as_many_shards_as_a_cluster_may_have)
{
    uint64_t load[PS_SHARDS_MAX] = { 0 };

    cut(PS_F32, 1024, 1024);
    ps_place_assign(&place, load, PS_SHARDS_MAX);
    for (uint32_t s = 0; s < PS_SHARDS_MAX; s++)
        ck_assert_uint_eq(load[s], 16384);
}
END_TEST

/* ---- keys ---------------------------------------------------------------------- */

/* Rows are found by these numbers in every file and on every peer: never change them.
 */
static const struct {
    uint64_t key;
    uint32_t slot;
} vectors[] = {
    { 0, 0xe22 }, /* splitmix64 from seed 0 gives e220a8397b1dcdaf first */
    { 0x9e3779b97f4a7c15, 0x6e7 }, /* and 6e789e6aa1b965f4 second */
    { 0x3c6ef372fe94f82a, 0x06c }, /* and 06c45d188009454f third */
    { 1, 0x910 },
    { 2, 0x975 },
    { 1000000007, 0x011 },
    { UINT64_MAX, 0xe4d },
};

START_TEST(keys_have_fixed_slots)
{
    ck_assert_uint_eq(ps_place_key_slot(vectors[_i].key), vectors[_i].slot);
}
END_TEST

START_TEST(keys_in_sequence_spread_over_all_shards)
{
    uint64_t load[4] = { 0 };
    uint32_t rows[4] = { 0 };

    cut_sparse();
    ps_place_assign(&place, load, 4);
    for (uint64_t key = 0; key < 100000; key++)
        rows[ps_place_key_shard(&place, key)]++;
    /* 25000 expected, standard deviation 137: six of them */
    for (int s = 0; s < 4; s++)
        ck_assert_msg(rows[s] > 24178 && rows[s] < 25822, "shard %d has %u", s,
                      rows[s]);
}
END_TEST

/* ---- pieces -------------------------------------------------------------------- */

START_TEST(pieces_cover_a_range_and_stay_on_one_shard_and_in_one_chunk)
{
    static const uint64_t from[] = { 0, 1, 262143, 262144, 999999 };
    uint64_t              load[5] = { 0, 300000, 0, 0, 7 };

    cut(PS_F32, 1000, 1000);
    ps_place_assign(&place, load, 5);
    for (size_t i = 0; i < COUNT(from); i++) {
        uint64_t        at = from[i], expected = from[i];
        struct ps_piece p;

        while (ps_place_next(&place, &at, 1000000, &p)) {
            uint64_t last = p.first + p.count - 1;

            ck_assert_uint_eq(p.first, expected);
            ck_assert_uint_ge(p.count, 1);
            ck_assert_uint_eq(p.first / 262144, last / 262144);
            for (uint64_t s = p.first / place.slot_elements;
                 s <= last / place.slot_elements; s++)
                ck_assert_uint_eq(place.shard_of[s], p.shard);
            expected = at;
        }
        ck_assert_uint_eq(expected, 1000000);
    }
}
END_TEST

START_TEST(pieces_are_as_long_as_they_can_be)
{
    uint64_t        load[2] = { 0 }, at = 0;
    struct ps_piece p;

    cut(PS_F64, 1, 256 * 1024); /* 2 MiB on two shards: two chunks, cut at the owner */
    ps_place_assign(&place, load, 2);
    ck_assert_uint_eq(ps_place_chunk_elements(&place), 131072);
    ck_assert(ps_place_next(&place, &at, 262144, &p));
    ck_assert_uint_eq(p.shard, 0);
    ck_assert_uint_eq(p.count, 131072);
    ck_assert(ps_place_next(&place, &at, 262144, &p));
    ck_assert_uint_eq(p.shard, 1);
    ck_assert_uint_eq(p.count, 131072);
    ck_assert(!ps_place_next(&place, &at, 262144, &p));
}
END_TEST

START_TEST(pieces_end_where_the_matrix_ends)
{
    uint64_t        at = 5;
    struct ps_piece p;

    cut(PS_F32, 1, 10);
    ck_assert(ps_place_next(&place, &at, UINT64_MAX, &p));
    ck_assert_uint_eq(p.first, 5);
    ck_assert_uint_eq(p.count, 5);
    ck_assert(!ps_place_next(&place, &at, UINT64_MAX, &p));
}
END_TEST

START_TEST(an_empty_range_has_no_piece)
{
    uint64_t        at = 5;
    struct ps_piece p;

    cut(PS_F32, 1, 10);
    ck_assert(!ps_place_next(&place, &at, 5, &p));
    ck_assert_uint_eq(at, 5);
}
END_TEST

/* ---- many keys ------------------------------------------------------------------ */

START_TEST(many_keys_are_where_each_of_them_is)
{
    uint64_t load[PS_SHARDS_MAX] = { 0 }, keys[500];
    uint16_t shards[500];
    uint32_t n_shards = (uint32_t)_i;

    cut_sparse();
    ps_place_assign(&place, load, n_shards);
    ck_assert_int_eq(place.is_whole, n_shards == 1);
    for (uint64_t i = 0; i < 500; i++)
        keys[i] = i * i;
    ps_place_key_shards(&place, keys, 500, shards);
    for (uint64_t i = 0; i < 500; i++) {
        uint32_t shard = ps_place_key_shard(&place, keys[i]);
        uint64_t n = 0;

        ck_assert_uint_eq(shards[i], shard);
        while (i + n < 500 && ps_place_key_shard(&place, keys[i + n]) == shard)
            n++;
        ck_assert_uint_eq(ps_place_keys_on(&place, shard, keys + i, 500 - i), n);
        ck_assert_uint_eq(ps_place_keys_on(&place, shard + 1, keys + i, 500 - i), 0);
    }
}
END_TEST

START_TEST(who_has_all_slots_is_known_from_the_runs_too)
{
    static const struct ps_slot_run all[] = { { 2, 4096 } };
    static const struct ps_slot_run but_one[] = { { 2, 4095 }, { 1, 1 } };
    uint64_t                        key = 17;

    cut_sparse();
    ck_assert(ps_place_take_runs(&place, all, 1, 3));
    ck_assert(place.is_whole);
    ck_assert_uint_eq(ps_place_keys_on(&place, 2, &key, 1), 1);
    ck_assert_uint_eq(ps_place_keys_on(&place, 0, &key, 1), 0);
    ck_assert(ps_place_take_runs(&place, but_one, 2, 3));
    ck_assert(!place.is_whole);
}
END_TEST

START_TEST(map_survives_its_journey_as_runs)
{
    static struct ps_place sent, got;
    struct ps_matrix_spec  m = { .dtype = PS_F32, .rows = 1000, .cols = 1000 };
    struct ps_slot_run     runs[5];
    uint64_t               load[3] = { 0, 5000, 0 };
    uint32_t               n;

    ps_place_cut(&sent, &m);
    ps_place_assign(&sent, load, 3);
    n = ps_place_runs(&sent, runs, 5);
    ck_assert_uint_eq(n, 3);
    ps_place_cut(&got, &m);
    ck_assert(ps_place_take_runs(&got, runs, n, 3));
    ck_assert_mem_eq(got.shard_of, sent.shard_of,
                     sent.n_slots * sizeof(sent.shard_of[0]));

    ck_assert(!ps_place_take_runs(&got, runs, n - 1, 3)); /* slots are missing */
    ck_assert(!ps_place_take_runs(&got, runs, n, 2)); /* a shard that is not there */
    runs[0].n_slots++;
    ck_assert(!ps_place_take_runs(&got, runs, n, 3)); /* a slot too many */
}
END_TEST

static Suite *place_suite(void)
{
    Suite *s = suite_create("place");
    TCase *cutting = tcase_create("cutting");
    TCase *balance = tcase_create("balance");
    TCase *where = tcase_create("where");

    tcase_add_loop_test(
        cutting, a_dense_matrix_is_cut_into_at_most_256_slots_of_a_multiple_of_16, 0,
        (int)COUNT(cuts));
    tcase_add_test(cutting, slots_cover_a_matrix_without_gap);
    tcase_add_test(cutting, a_sparse_matrix_has_4096_slots);
    tcase_add_test(cutting, map_survives_its_journey_as_runs);
    suite_add_tcase(s, cutting);

    tcase_add_loop_test(balance, shards_end_close_to_the_mean, 0, (int)COUNT(models));
    tcase_add_test(balance, a_shard_owns_one_contiguous_run);
    tcase_add_test(balance, uneven_loads_are_filled_to_one_level);
    tcase_add_test(balance,
                   small_matrices_go_to_the_emptiest_shard_the_lower_number_first);
    tcase_add_test(balance, a_sparse_matrix_is_spread_evenly_and_weighs_nothing);
    tcase_add_test(balance, one_shard_gets_everything);
    tcase_add_test(balance, as_many_shards_as_a_cluster_may_have);
    suite_add_tcase(s, balance);

    tcase_add_loop_test(where, keys_have_fixed_slots, 0, (int)COUNT(vectors));
    tcase_add_loop_test(where, many_keys_are_where_each_of_them_is, 1, 4);
    tcase_add_test(where, who_has_all_slots_is_known_from_the_runs_too);
    tcase_add_test(where, keys_in_sequence_spread_over_all_shards);
    tcase_add_test(where, pieces_cover_a_range_and_stay_on_one_shard_and_in_one_chunk);
    tcase_add_test(where, pieces_are_as_long_as_they_can_be);
    tcase_add_test(where, pieces_end_where_the_matrix_ends);
    tcase_add_test(where, an_empty_range_has_no_piece);
    suite_add_tcase(s, where);
    return s;
}

TEST_MAIN(place_suite)
