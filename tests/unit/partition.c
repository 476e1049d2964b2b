/* Partitions: every sample has an owner, no sample has two, and nobody goes short. */
#include "tests/unit/suite.h"

#include <ps/worker.h>

#include <stdbool.h>
#include <stdint.h>

enum { SAMPLES = 200, WORKERS = 20 };

static const ps_partition disjoint[] = {
    PS_PARTITION_DISJOINT_CONTIGUOUS,
    PS_PARTITION_DISJOINT_ROUND_ROBIN,
    PS_PARTITION_DISJOINT_RANDOM,
};

/* The part; the word behind it stays as it is. */
static uint64_t part_of(ps_partition scheme, uint64_t n, uint32_t workers,
                        uint32_t rank, uint64_t seed, uint32_t out[SAMPLES + 1])
{
    uint64_t size, asked;

    ck_assert_ok(ps_partition_samples(scheme, n, workers, rank, seed, NULL, &asked));
    ck_assert_uint_le(asked, n);
    out[asked] = 0xdecaf;
    ck_assert_ok(ps_partition_samples(scheme, n, workers, rank, seed, out, &size));
    ck_assert_uint_eq(size, asked);
    ck_assert_uint_eq(out[asked], 0xdecaf);
    return size;
}

/* Adds the part to how often each sample was seen; all indices are below n. */
static void count(const uint32_t *part, uint64_t size, uint64_t n, uint32_t *seen)
{
    for (uint64_t i = 0; i < size; i++) {
        ck_assert_uint_lt(part[i], n);
        seen[part[i]]++;
    }
}

START_TEST(disjoint_parts_hold_each_sample_once_and_differ_by_one_at_most)
{
    uint32_t part[SAMPLES + 1];

    for (uint64_t n = 0; n <= SAMPLES; n++)
        for (uint32_t workers = 1; workers <= WORKERS; workers++) {
            uint32_t seen[SAMPLES] = { 0 };

            for (uint32_t rank = 0; rank < workers; rank++) {
                uint64_t size = part_of(disjoint[_i], n, workers, rank, 7 + n, part);

                count(part, size, n, seen);
                ck_assert_uint_ge(size, n / workers);
                ck_assert_uint_le(size, (n + workers - 1) / workers);
            }
            for (uint64_t i = 0; i < n; i++)
                ck_assert_uint_eq(seen[i], 1);
        }
}
END_TEST

START_TEST(overlapping_parts_hold_everything)
{
    uint32_t part[SAMPLES + 1];

    for (uint64_t n = 0; n <= SAMPLES; n++)
        for (uint32_t rank = 0; rank < WORKERS; rank++) {
            uint32_t seen[SAMPLES] = { 0 };

            ck_assert_uint_eq(
                part_of(PS_PARTITION_OVERLAP_RESHUFFLE, n, WORKERS, rank, n, part), n);
            count(part, n, n, seen);
            for (uint64_t i = 0; i < n; i++)
                ck_assert_uint_eq(seen[i], 1);
        }
}
END_TEST

START_TEST(the_last_sample_alone_is_not_lost)
{
    uint32_t part[SAMPLES + 1];

    /* parts of ceil(7 / 3) would be 0 1 2, 3 4 5, 6 */
    ck_assert_uint_eq(part_of(PS_PARTITION_DISJOINT_CONTIGUOUS, 7, 3, 0, 1, part), 3);
    ck_assert_uint_eq(part[2], 2);
    ck_assert_uint_eq(part_of(PS_PARTITION_DISJOINT_CONTIGUOUS, 7, 3, 1, 1, part), 2);
    ck_assert_uint_eq(part[0], 3);
    ck_assert_uint_eq(part_of(PS_PARTITION_DISJOINT_CONTIGUOUS, 7, 3, 2, 1, part), 2);
    ck_assert_uint_eq(part[0], 5);
    ck_assert_uint_eq(part[1], 6);
}
END_TEST

START_TEST(round_robin_takes_every_other_sample)
{
    uint32_t part[SAMPLES + 1];

    ck_assert_uint_eq(part_of(PS_PARTITION_DISJOINT_ROUND_ROBIN, 7, 3, 1, 1, part), 2);
    ck_assert_uint_eq(part[0], 1);
    ck_assert_uint_eq(part[1], 4);
}
END_TEST

START_TEST(random_parts_depend_on_the_seed)
{
    static const ps_partition random[] = { PS_PARTITION_DISJOINT_RANDOM,
                                           PS_PARTITION_OVERLAP_RESHUFFLE };
    uint32_t                  a[SAMPLES + 1], b[SAMPLES + 1];
    size_t bytes = part_of(random[_i], SAMPLES, 4, 1, 1, a) * sizeof(*a);

    part_of(random[_i], SAMPLES, 4, 1, 1, b);
    ck_assert_mem_eq(a, b, bytes);
    part_of(random[_i], SAMPLES, 4, 1, 2, b);
    ck_assert_mem_ne(a, b, bytes);
    part_of(random[_i], SAMPLES, 4, 2, 1, b);
    ck_assert_mem_ne(a, b, bytes);
}
END_TEST

START_TEST(impossible_parts_are_refused)
{
    uint32_t part[SAMPLES + 1];
    uint64_t size = 99;

    ck_assert_status(
        ps_partition_samples(PS_PARTITION_DISJOINT_RANDOM, 9, 3, 3, 1, part, &size),
        PS_ERR_BAD_ARG);
    ck_assert_why("rank 3 of 3 workers, expected a rank below the workers");
    ck_assert_status(
        ps_partition_samples(PS_PARTITION_DISJOINT_RANDOM, 9, 0, 0, 1, part, &size),
        PS_ERR_BAD_ARG);
    ck_assert_status(ps_partition_samples(PS_PARTITION_NONE, 9, 3, 1, 1, part, &size),
                     PS_ERR_BAD_ARG);
    ck_assert_why("scheme 0, expected one with parts");
    ck_assert_status(ps_partition_samples((ps_partition)5, 9, 3, 1, 1, part, &size),
                     PS_ERR_BAD_ARG);
    ck_assert_status(ps_partition_samples(PS_PARTITION_DISJOINT_RANDOM,
                                          UINT64_C(1) << 32, 3, 1, 1, NULL, &size),
                     PS_ERR_BAD_ARG);
    ck_assert_why("4294967296 samples, expected 4294967295 or fewer");
    ck_assert_uint_eq(size, 99);
}
END_TEST

static Suite *partition_suite(void)
{
    Suite *s = suite_create("partition");
    TCase *parts = tcase_create("parts");

    tcase_add_loop_test(
        parts, disjoint_parts_hold_each_sample_once_and_differ_by_one_at_most, 0, 3);
    tcase_add_test(parts, overlapping_parts_hold_everything);
    tcase_add_test(parts, the_last_sample_alone_is_not_lost);
    tcase_add_test(parts, round_robin_takes_every_other_sample);
    tcase_add_loop_test(parts, random_parts_depend_on_the_seed, 0, 2);
    tcase_add_test(parts, impossible_parts_are_refused);
    suite_add_tcase(s, parts);
    return s;
}

TEST_MAIN(partition_suite)
