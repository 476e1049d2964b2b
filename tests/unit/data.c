/* Data sets: what an IDX file may be, and which samples an iteration gets. */
#include "tests/unit/suite.h"

#include "common/base/random.h"

#include <ps/worker.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <zlib.h>

static char     folder[] = "/tmp/psd-data-XXXXXX";
static char     features[64], labels[64];
static ps_data *data;

static void make_folder(void)
{
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(features, sizeof(features), "%s/images", folder);
    snprintf(labels, sizeof(labels), "%s/labels", folder);
}

static void remove_folder(void)
{
    ps_data_close(&data);
    ck_assert_ptr_null(data);
    unlink(features);
    unlink(labels);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void write_file(const char *name, const void *bytes, size_t n, bool packed)
{
    gzFile f = gzopen(name, packed ? "wb" : "wbT");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(gzwrite(f, bytes, (unsigned)n), (int)n);
    ck_assert_int_eq(gzclose(f), Z_OK);
}

/* An IDX file of n samples of 2 x 3, value k of the file being k % 251, in bytes[]. */
static size_t images(uint8_t *bytes, uint8_t n)
{
    static const uint8_t head[] = { 0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3 };

    memcpy(bytes, head, sizeof(head));
    bytes[7] = n;
    for (size_t k = 0; k < n * 6u; k++)
        bytes[sizeof(head) + k] = (uint8_t)(k % 251);
    return sizeof(head) + n * 6u;
}

/* Labels 0, 1, 2, 3, 0, ... */
static size_t classes(uint8_t *bytes, uint8_t n)
{
    static const uint8_t head[] = { 0, 0, 8, 1, 0, 0, 0, 0 };

    memcpy(bytes, head, sizeof(head));
    bytes[7] = n;
    for (size_t k = 0; k < n; k++)
        bytes[sizeof(head) + k] = (uint8_t)(k % 4);
    return sizeof(head) + n;
}

static void write_set(uint8_t n, bool packed)
{
    uint8_t bytes[4096];

    write_file(features, bytes, images(bytes, n), packed);
    write_file(labels, bytes, classes(bytes, n), packed);
}

/* As many samples as fit one byte: enough for orders. */
static void open_set(uint8_t n)
{
    write_set(n, false);
    ck_assert_ok(ps_data_open_idx(&data, features, labels, 0));
}

START_TEST(plain_and_packed_files_hold_the_same)
{
    write_set(9, _i == 1);
    ck_assert_ok(ps_data_open_idx(&data, features, labels, 0));
    ck_assert_uint_eq(ps_data_n(data), 9);
    ck_assert_uint_eq(ps_data_features(data), 6);
    ck_assert_uint_eq(ps_data_classes(data), 4);
    for (uint64_t i = 0; i < 9; i++) {
        ck_assert_uint_eq(ps_data_label(data, i), i % 4);
        for (uint64_t k = 0; k < 6; k++)
            ck_assert_uint_eq(ps_data_sample(data, i)[k], i * 6 + k);
    }
}
END_TEST

START_TEST(a_limit_keeps_the_first_samples)
{
    write_set(9, false);
    ck_assert_ok(ps_data_open_idx(&data, features, labels, 2));
    ck_assert_uint_eq(ps_data_n(data), 2);
    ck_assert_uint_eq(ps_data_sample(data, 1)[5], 11);
    ck_assert_uint_eq(ps_data_classes(data), 2);
}
END_TEST

START_TEST(a_limit_above_the_samples_keeps_all)
{
    write_set(9, false);
    ck_assert_ok(ps_data_open_idx(&data, features, labels, 1000));
    ck_assert_uint_eq(ps_data_n(data), 9);
}
END_TEST

START_TEST(moments_are_those_of_all_values)
{
    double mean, deviation;

    open_set(9);
    ps_data_moments(data, &mean, &deviation);
    /* 0 .. 53: mean (n - 1) / 2, variance (n^2 - 1) / 12 */
    ck_assert_double_eq_tol(mean, 26.5, 1e-12);
    ck_assert_double_eq_tol(deviation * deviation, (54.0 * 54.0 - 1) / 12, 1e-9);
}
END_TEST

/* What can be wrong with a file of 9 images: bytes changed, cut off or added. */
static const struct {
    const char *why;
    int         at; /* byte that becomes `value`; -1: none */
    uint8_t     value;
    int         length; /* change of the file's length */
} damages[] = {
    { "it begins with 1f 00, expected 00 00", 0, 0x1f, 0 },
    { "it begins with 00 50, expected 00 00", 1, 0x50, 0 },
    { "element type 0x0d, expected 0x08", 2, 0x0d, 0 },
    { "0 dimensions, expected 1 to 8", 3, 0, 0 },
    { "9 dimensions, expected 1 to 8", 3, 9, 0 },
    { "1 dimension, expected 2 or more for features", 3, 1, 0 },
    { "holds no samples", 7, 0, 0 },
    { "holds no samples", 11, 0, 0 },
    { "its header says 2147483657 samples, which 70 bytes cannot hold", 4, 0x80, 0 },
    { "truncated: values of 9 samples, expected 10", 7, 10, 0 },
    { "truncated: values of 8 samples, expected 9", -1, 0, -1 },
    { "truncated: values of 0 samples, expected 9", -1, 0, -54 },
    { "truncated within its header", -1, 0, -60 },
    { "truncated: 3 bytes, expected an IDX header", -1, 0, -67 },
    { "truncated: 0 bytes, expected an IDX header", -1, 0, -70 },
    { "more bytes than the 9 samples of its header", -1, 0, 1 },
    { "more bytes than the 8 samples of its header", 7, 8, 0 },
};

START_TEST(each_damage_has_its_sentence)
{
    bool    packed = _i % 2;
    uint8_t bytes[4096] = { 0 };
    size_t  n;

    write_set(9, packed);
    n = images(bytes, 9);
    if (damages[_i / 2].at >= 0)
        bytes[damages[_i / 2].at] = damages[_i / 2].value;
    n = (size_t)((int)n + damages[_i / 2].length);
    write_file(features, bytes, n, packed);
    if (packed && strstr(damages[_i / 2].why, "70 bytes"))
        return; /* its size on disk is another */
    ck_assert_status(ps_data_open_idx(&data, features, labels, _i % 3 ? 0 : 2),
                     PS_ERR_DATA);
    ck_assert_why(damages[_i / 2].why);
    ck_assert_why(features);
    ck_assert_ptr_null(data);
}
END_TEST

static long size_of(const char *name)
{
    FILE *f = fopen(name, "rb");
    long  n;

    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    n = ftell(f);
    fclose(f);
    return n;
}

START_TEST(a_gzip_file_without_its_end_is_truncated)
{
    write_set(200, true);
    for (long n = size_of(features) - 1; n > 20; n -= 50) {
        ck_assert_int_eq(truncate(features, n), 0);
        ck_assert_status(ps_data_open_idx(&data, features, labels, 0), PS_ERR_DATA);
        ck_assert_why("truncated: its gzip stream has no end");
    }
}
END_TEST

START_TEST(a_gzip_file_with_another_checksum_is_damaged)
{
    FILE *f;

    write_set(200, true);
    f = fopen(features, "r+b");
    ck_assert_ptr_nonnull(f);
    fseek(f, -8, SEEK_END); /* CRC-32, then the length */
    fputs("oops", f);
    fclose(f);
    ck_assert_status(ps_data_open_idx(&data, features, labels, 1), PS_ERR_DATA);
    ck_assert_why("damaged gzip stream");
    ck_assert_why("incorrect data check");
}
END_TEST

START_TEST(a_file_that_is_not_there_is_named)
{
    write_set(9, false);
    ck_assert_status(ps_data_open_idx(&data, "/nowhere/images", labels, 0),
                     PS_ERR_DATA);
    ck_assert_why("data /nowhere/images: cannot be opened: No such file or directory");
    ck_assert_status(ps_data_open_idx(&data, features, "/nowhere/labels", 0),
                     PS_ERR_DATA);
    ck_assert_why("data /nowhere/labels: cannot be opened");
    ck_assert_status(ps_data_open_idx(&data, folder, labels, 0), PS_ERR_DATA);
    ck_assert_why("not a file");
}
END_TEST

START_TEST(labels_are_one_for_each_sample)
{
    uint8_t bytes[64];

    write_set(9, false);
    write_file(labels, bytes, classes(bytes, 8), false);
    ck_assert_status(ps_data_open_idx(&data, features, labels, 0), PS_ERR_DATA);
    ck_assert_why("8 labels, expected one for each of the 9 samples of");
}
END_TEST

START_TEST(images_are_no_labels)
{
    write_set(9, false);
    ck_assert_status(ps_data_open_idx(&data, features, features, 0), PS_ERR_DATA);
    ck_assert_why("3 dimensions, expected 1 for labels");
}
END_TEST

START_TEST(an_epoch_shows_each_sample_at_most_once)
{
    bool     seen[200] = { false };
    ps_batch b;

    open_set(200);
    ck_assert_uint_eq(ps_data_iterations(data, 3, 7), 9); /* 200 / 21 */
    for (uint64_t clock = 9; clock < 18; clock++)
        for (uint32_t rank = 0; rank < 3; rank++) {
            ck_assert_ok(ps_data_batch(data, 1, rank, 3, 7, clock, &b));
            ck_assert_uint_eq(b.clock, clock);
            ck_assert_uint_eq(b.epoch, 1);
            ck_assert_uint_eq(b.iteration, clock - 9);
            ck_assert_uint_eq(b.n, 7);
            for (uint32_t i = 0; i < b.n; i++) {
                ck_assert_uint_lt(b.sample[i], 200);
                ck_assert(!seen[b.sample[i]]);
                seen[b.sample[i]] = true;
            }
        }
}
END_TEST

START_TEST(positions_count_on_through_the_run)
{
    uint64_t next = 0;
    ps_batch b;

    open_set(200);
    for (uint64_t clock = 0; clock < 30; clock++)
        for (uint32_t rank = 0; rank < 3; rank++) {
            ck_assert_ok(ps_data_batch(data, 1, rank, 3, 7, clock, &b));
            ck_assert_uint_eq(b.position, next);
            next += 7;
        }
}
END_TEST

START_TEST(two_workers_see_what_one_with_twice_the_batch_sees)
{
    uint32_t both[64];
    uint64_t position;
    ps_batch b;

    open_set(200);
    for (uint64_t clock = 0; clock < 10; clock++) {
        for (uint32_t rank = 0; rank < 2; rank++) {
            ck_assert_ok(ps_data_batch(data, 5, rank, 2, 32, clock, &b));
            memcpy(both + 32 * rank, b.sample, 32 * sizeof(*both));
            if (rank == 0)
                position = b.position;
        }
        ck_assert_ok(ps_data_batch(data, 5, 0, 1, 64, clock, &b));
        ck_assert_mem_eq(b.sample, both, sizeof(both));
        ck_assert_uint_eq(b.position, position);
    }
}
END_TEST

START_TEST(order_depends_on_seed_and_epoch_alone)
{
    uint32_t first[10];
    ps_batch b;

    open_set(200);
    ck_assert_ok(ps_data_batch(data, 1, 0, 1, 10, 3, &b));
    memcpy(first, b.sample, sizeof(first));
    ck_assert_ok(ps_data_batch(data, 1, 0, 1, 10, 23, &b)); /* the next epoch */
    ck_assert_mem_ne(b.sample, first, sizeof(first));
    ck_assert_ok(ps_data_batch(data, 2, 0, 1, 10, 3, &b));
    ck_assert_mem_ne(b.sample, first, sizeof(first));
    ck_assert_ok(ps_data_batch(data, 1, 0, 1, 10, 3, &b)); /* and back again */
    ck_assert_mem_eq(b.sample, first, sizeof(first));
}
END_TEST

START_TEST(without_a_partition_the_order_is_one_permutation_for_all)
{
    uint32_t order[200];
    ps_batch b;

    open_set(200);
    ck_assert_ok(ps_data_partition(data, PS_PARTITION_OVERLAP_RESHUFFLE));
    ck_assert_ok(ps_data_batch(data, 6, 2, 3, 7, 0, &b));
    ck_assert_ok(ps_data_partition(data, PS_PARTITION_NONE)); /* as if never parted */
    for (uint64_t clock = 0; clock < 27; clock++) {
        ps_random_permutation(6, 0x6f72646572000000u ^ clock / 9, 200, order);
        ck_assert_ok(ps_data_batch(data, 6, 2, 3, 7, clock, &b));
        ck_assert_mem_eq(b.sample, order + (clock % 9 * 3 + 2) * 7, 7 * sizeof(*order));
    }
}
END_TEST

/* Does the worker own the sample? */
static bool owns(ps_partition scheme, uint64_t n, uint32_t workers, uint32_t rank,
                 uint32_t sample)
{
    uint32_t part[200];
    uint64_t size;

    ck_assert_ok(ps_partition_samples(scheme, n, workers, rank, 1, part, &size));
    for (uint64_t i = 0; i < size; i++)
        if (part[i] == sample)
            return true;
    return false;
}

static const ps_partition partitions[] = {
    PS_PARTITION_DISJOINT_CONTIGUOUS,
    PS_PARTITION_DISJOINT_ROUND_ROBIN,
    PS_PARTITION_DISJOINT_RANDOM,
    PS_PARTITION_OVERLAP_RESHUFFLE,
};

START_TEST(an_epoch_shows_each_worker_its_own_samples_once)
{
    ps_partition scheme = partitions[_i];
    uint64_t     iterations;
    ps_batch     b;

    open_set(200);
    ck_assert_ok(ps_data_partition(data, scheme));
    iterations = ps_data_iterations(data, 3, 7);
    /* parts of 67, 67 and 66 samples: the smallest decides */
    ck_assert_uint_eq(iterations,
                      scheme == PS_PARTITION_OVERLAP_RESHUFFLE ? 200 / 7 : 66 / 7);
    for (uint32_t rank = 0; rank < 3; rank++) {
        bool seen[200] = { false };

        for (uint64_t clock = iterations; clock < 2 * iterations; clock++) {
            ck_assert_ok(ps_data_batch(data, 1, rank, 3, 7, clock, &b));
            ck_assert_uint_eq(b.epoch, 1);
            ck_assert_uint_eq(b.iteration, clock - iterations);
            ck_assert_uint_eq(b.position, (clock * 3 + rank) * 7);
            ck_assert_uint_eq(b.n, 7);
            for (uint32_t i = 0; i < b.n; i++) {
                ck_assert(!seen[b.sample[i]]);
                seen[b.sample[i]] = true;
                ck_assert(owns(scheme, 200, 3, rank, b.sample[i]));
            }
        }
    }
}
END_TEST

START_TEST(a_part_is_shuffled_anew_in_each_epoch)
{
    uint32_t first[60];
    ps_batch b;

    open_set(240);
    ck_assert_ok(ps_data_partition(data, partitions[_i]));
    ck_assert_ok(ps_data_batch(data, 1, 1, 4, 60, 0, &b));
    memcpy(first, b.sample, sizeof(first));
    ck_assert_ok(ps_data_batch(data, 1, 1, 4, 60, 4, &b)); /* a later epoch */
    ck_assert_mem_ne(b.sample, first, sizeof(first));
    ck_assert_ok(ps_data_batch(data, 2, 1, 4, 60, 0, &b)); /* another run */
    ck_assert_mem_ne(b.sample, first, sizeof(first));
    ck_assert_ok(ps_data_batch(data, 1, 2, 4, 60, 0, &b)); /* another worker */
    ck_assert_mem_ne(b.sample, first, sizeof(first));
    ck_assert_ok(ps_data_batch(data, 1, 1, 4, 60, 0, &b)); /* and back again */
    ck_assert_mem_eq(b.sample, first, sizeof(first));
}
END_TEST

START_TEST(parts_smaller_than_a_batch_are_refused)
{
    ps_batch b;

    open_set(9);
    ck_assert_status(ps_data_partition(data, (ps_partition)5), PS_ERR_BAD_ARG);
    ck_assert_why("partition 5, expected 0 to 4");
    ck_assert_ok(ps_data_partition(data, PS_PARTITION_DISJOINT_RANDOM));
    ck_assert_status(ps_data_batch(data, 1, 0, 2, 5, 0, &b), PS_ERR_BAD_ARG);
    ck_assert_why("9 samples are too few for 2 workers with batches of 5");
    ck_assert_status(ps_data_batch(data, 1, 2, 2, 1, 0, &b), PS_ERR_BAD_ARG);
    ck_assert_ok(ps_data_partition(data, PS_PARTITION_OVERLAP_RESHUFFLE));
    ck_assert_status(ps_data_batch(data, 1, 0, 0, 5, 0, &b), PS_ERR_BAD_ARG);
    ck_assert_ok(ps_data_batch(data, 1, 0, 2, 5, 0, &b));
}
END_TEST

START_TEST(impossible_batches_are_refused)
{
    ps_batch b;

    open_set(9);
    ck_assert_uint_eq(ps_data_iterations(data, 2, 5), 0);
    ck_assert_status(ps_data_batch(data, 1, 0, 2, 5, 0, &b), PS_ERR_BAD_ARG);
    ck_assert_why("9 samples are too few for 2 workers with batches of 5");
    ck_assert_status(ps_data_batch(data, 1, 2, 2, 1, 0, &b), PS_ERR_BAD_ARG);
    ck_assert_status(ps_data_batch(data, 1, 0, 0, 1, 0, &b), PS_ERR_BAD_ARG);
    ck_assert_status(ps_data_batch(data, 1, 0, 1, 0, 0, &b), PS_ERR_BAD_ARG);
}
END_TEST

START_TEST(words_are_blocks_of_four_in_order)
{
    uint32_t whole[10], part[6];

    ps_random_words(7, 8, 100, whole, 10);
    ps_random_words(7, 8, 101, part, 6);
    ck_assert_mem_eq(whole + 4, part, sizeof(part));
    ck_assert(ps_random_at(7, 8, 100) >= 0 && ps_random_at(7, 8, 100) < 1);
    ck_assert(ps_random_at(7, 8, 100) != ps_random_at(7, 8, 101));
    ck_assert(ps_random_normal_at(7, 8, 100) == ps_random_normal_at(7, 8, 100));
}
END_TEST

static Suite *data_suite(void)
{
    Suite *s = suite_create("data");
    TCase *files = tcase_create("files");
    TCase *order = tcase_create("order");

    tcase_add_checked_fixture(files, make_folder, remove_folder);
    tcase_add_loop_test(files, plain_and_packed_files_hold_the_same, 0, 2);
    tcase_add_test(files, a_limit_keeps_the_first_samples);
    tcase_add_test(files, a_limit_above_the_samples_keeps_all);
    tcase_add_test(files, moments_are_those_of_all_values);
    tcase_add_loop_test(files, each_damage_has_its_sentence, 0,
                        2 * sizeof(damages) / sizeof(damages[0]));
    tcase_add_test(files, a_gzip_file_without_its_end_is_truncated);
    tcase_add_test(files, a_gzip_file_with_another_checksum_is_damaged);
    tcase_add_test(files, a_file_that_is_not_there_is_named);
    tcase_add_test(files, labels_are_one_for_each_sample);
    tcase_add_test(files, images_are_no_labels);
    suite_add_tcase(s, files);

    tcase_add_checked_fixture(order, make_folder, remove_folder);
    tcase_add_test(order, an_epoch_shows_each_sample_at_most_once);
    tcase_add_test(order, positions_count_on_through_the_run);
    tcase_add_test(order, two_workers_see_what_one_with_twice_the_batch_sees);
    tcase_add_test(order, order_depends_on_seed_and_epoch_alone);
    tcase_add_test(order, without_a_partition_the_order_is_one_permutation_for_all);
    tcase_add_loop_test(order, an_epoch_shows_each_worker_its_own_samples_once, 0, 4);
    tcase_add_loop_test(order, a_part_is_shuffled_anew_in_each_epoch, 0, 4);
    tcase_add_test(order, parts_smaller_than_a_batch_are_refused);
    tcase_add_test(order, impossible_batches_are_refused);
    tcase_add_test(order, words_are_blocks_of_four_in_order);
    suite_add_tcase(s, order);
    return s;
}

TEST_MAIN(data_suite)
