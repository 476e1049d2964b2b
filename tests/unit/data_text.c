/* Data sets in lines of text: what LIBSVM and CSV files may be, and what not. */
#include "tests/unit/suite.h"

#include <ps/worker.h>

#include "common/base/random.h"

#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <zlib.h>

static char     folder[] = "/tmp/psd-text-XXXXXX";
static char     file[64];
static ps_data *data;

static void make_folder(void)
{
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/samples", folder);
}

static void remove_folder(void)
{
    ps_data_close(&data);
    ck_assert_ptr_null(data);
    unlink(file);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void write_bytes(const void *bytes, size_t n, bool packed)
{
    gzFile f = gzopen(file, packed ? "wb" : "wbT");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(gzwrite(f, bytes, (unsigned)n), (int)n);
    ck_assert_int_eq(gzclose(f), Z_OK);
}

static void open_libsvm(const char *text, uint64_t limit)
{
    write_bytes(text, strlen(text), false);
    ck_assert_ok(ps_data_open_libsvm(&data, file, limit));
}

static void open_csv(const char *text, int label_column, int header, uint64_t limit)
{
    write_bytes(text, strlen(text), false);
    ck_assert_ok(ps_data_open_csv(&data, file, label_column, header, limit));
}

static const char sparse[] = "+1 1:0.5 3:-2 7:1e3\n"
                             "# nothing but a comment\n"
                             "\n"
                             "-1 2:1 # and one behind\r\n"
                             "-1\n"
                             "+1\t7:4 \t 9:5";

START_TEST(libsvm_samples_are_rows)
{
    const uint64_t *indices;
    const float    *values;
    uint64_t        n;
    double          mean, deviation;

    write_bytes(sparse, strlen(sparse), _i == 1);
    ck_assert_ok(ps_data_open_libsvm(&data, file, 0));
    ck_assert_uint_eq(ps_data_n(data), 4);
    ck_assert_uint_eq(ps_data_features(data), 9);
    ck_assert_ok(ps_data_row(data, 0, &indices, &values, &n));
    ck_assert_uint_eq(n, 3);
    ck_assert(indices[0] == 0 && indices[1] == 2 && indices[2] == 6);
    ck_assert(values[0] == 0.5f && values[1] == -2 && values[2] == 1000);
    ck_assert_ok(ps_data_row(data, 1, &indices, &values, &n));
    ck_assert(n == 1 && indices[0] == 1 && values[0] == 1);
    ck_assert_ok(ps_data_row(data, 2, &indices, &values, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_ok(ps_data_row(data, 3, &indices, &values, &n));
    ck_assert(n == 2 && indices[1] == 8 && values[1] == 5);
    ps_data_moments(data, &mean, &deviation);
    ck_assert_double_eq_tol(mean, 1008.5 / 6, 1e-9);
}
END_TEST

START_TEST(each_format_has_its_accessor)
{
    const uint64_t *indices;
    const float    *values;
    uint64_t        n;

    open_libsvm(sparse, 0);
    ck_assert_ptr_null(ps_data_sample(data, 0));
    ck_assert_ptr_null(ps_data_dense(data, 0));
    ck_assert_status(ps_data_row(data, 4, &indices, &values, &n), PS_ERR_BAD_ARG);
    ck_assert_why("row 4 of 4");
    ps_data_close(&data);
    open_csv("1,2\n", 0, 0, 0);
    ck_assert_ptr_null(ps_data_sample(data, 0));
    ck_assert_ptr_null(ps_data_dense(data, 1));
    ck_assert_status(ps_data_row(data, 0, &indices, &values, &n), PS_ERR_BAD_ARG);
    ck_assert_why("not a sparse data set");
}
END_TEST

/* What labels mean as classes: how many, and that of the second sample. */
static const struct {
    const char *text;
    uint32_t    classes, label;
    double      target;
} meanings[] = {
    { "+1 1:1\n-1 1:1\n", 2, 0, -1 },      { "-1 1:1\n+1 1:1\n", 2, 1, 1 },
    { "0 1:1\n1 1:1\n", 2, 1, 1 },         { "1 1:1\n2 1:1\n", 3, 2, 2 },
    { "9 1:1\n4.0 1:1\n", 10, 4, 4 },      { "1.5 1:1\n2 1:1\n", 0, 0, 2 },
    { "-1 1:1\n3 1:1\n", 0, 0, 3 },        { "0 1:1\n-1 1:1\n", 0, 0, -1 },
    { "0 1:1\n1e300 1:1\n", 0, 0, 1e300 },
};

START_TEST(labels_are_classes_where_they_can_be)
{
    open_libsvm(meanings[_i].text, 0);
    ck_assert_uint_eq(ps_data_classes(data), meanings[_i].classes);
    ck_assert_uint_eq(ps_data_label(data, 1), meanings[_i].label);
    ck_assert(ps_data_target(data, 1) == meanings[_i].target);
    ck_assert_uint_eq(ps_data_label(data, 2), 0);
    ck_assert(ps_data_target(data, 2) == 0);
}
END_TEST

START_TEST(a_limit_keeps_the_first_rows_and_reads_the_rest)
{
    const uint64_t *indices;
    const float    *values;
    uint64_t        n;

    open_libsvm("1 1:1\n2 2:2\n7 9:9\n", 2);
    ck_assert_uint_eq(ps_data_n(data), 2);
    ck_assert_uint_eq(ps_data_features(data), 2);
    ck_assert_uint_eq(ps_data_classes(data), 3);
    ck_assert_ok(ps_data_row(data, 1, &indices, &values, &n));
    ck_assert(n == 1 && indices[0] == 1 && values[0] == 2);
    ps_data_close(&data);
    write_bytes("1 1:1\n2 2:2\n7 9:x\n", 18, false);
    ck_assert_status(ps_data_open_libsvm(&data, file, 2), PS_ERR_DATA);
    ck_assert_why("samples:3: value of index 9: \"x\"");
    ps_data_close(&data);
    open_csv("1,2\n3,4\n5,6\n", 0, 0, 2);
    ck_assert_uint_eq(ps_data_n(data), 2);
    ck_assert(ps_data_dense(data, 1)[0] == 4);
    ps_data_close(&data);
    write_bytes("1,2\n3,4\n5,x\n", 12, false);
    ck_assert_status(ps_data_open_csv(&data, file, 0, 0, 2), PS_ERR_DATA);
    ck_assert_why("samples:3: field 2: \"x\"");
}
END_TEST

static const struct {
    const char *text, *why;
} bad_libsvm[] = {
    { "", "holds no samples, expected at least one" },
    { "\n# 1 1:1\n", "holds no samples, expected at least one" },
    { "1 1:1\none 1:1\n", "samples:2: label: \"one\", expected a finite number" },
    { "1,3 1:1\n", "samples:1: label: \"1,3\", expected a finite number" },
    { "nan 1:1\n", ":1: label: \"nan\", expected a finite number" },
    { "inf 1:1\n", ":1: label: \"inf\", expected a finite number" },
    { "1e999 1:1\n", ":1: label: \"1e999\", expected a finite number" },
    { "0x10 1:1\n", ":1: label: \"0x10\", expected a finite number" },
    { "1- 1:1\n", ":1: label: \"1-\", expected a finite number" },
    { "1:1 2:1\n", ":1: label: \"1:1\", expected a finite number" },
    { "1 5\n", ":1: \"5\", expected index:value" },
    { "1 1:1\n\n1 1:1 oops\n", ":3: \"oops\", expected index:value" },
    { "1 \x01\x02\n", ":1: \"??\", expected index:value" },
    { "1 qid:3 1:1\n", ":1: index \"qid\", expected 1 to 9223372036854775807" },
    { "1 :1\n", ":1: index \"\", expected 1 to" },
    { "1 0:1\n", ":1: index \"0\", expected 1 to" },
    { "1 -1:1\n", ":1: index \"-1\", expected 1 to" },
    { "1 1.5:1\n", ":1: index \"1.5\", expected 1 to" },
    { "1 9223372036854775808:1\n", ":1: index \"9223372036854775808\", expected 1" },
    { "1 99999999999999999999:1\n", ":1: index \"99999999999999999999\", expected" },
    { "1 3:1 2:1\n", ":1: index 2 after 3, expected ascending indices" },
    { "1 3:1 3:1\n", ":1: index 3 after 3, expected ascending indices" },
    { "1 3:\n", ":1: value of index 3: \"\", expected a finite number" },
    { "1 3: 4\n", ":1: value of index 3: \"\", expected a finite number" },
    { "1 3:1:1\n", ":1: value of index 3: \"1:1\", expected a finite number" },
    { "1 3:1e39\n", ":1: value of index 3: \"1e39\", expected a finite number" },
    { "1 3:-\n", ":1: value of index 3: \"-\", expected a finite number" },
};

START_TEST(each_bad_libsvm_line_has_its_sentence)
{
    write_bytes(bad_libsvm[_i].text, strlen(bad_libsvm[_i].text), _i % 2);
    ck_assert_status(ps_data_open_libsvm(&data, file, _i % 3), PS_ERR_DATA);
    ck_assert_why(bad_libsvm[_i].why);
    ck_assert_why(file);
    ck_assert_ptr_null(data);
}
END_TEST

START_TEST(the_highest_index_there_is_can_be_read)
{
    const uint64_t *indices;
    const float    *values;
    uint64_t        n;

    open_libsvm("1 9223372036854775807:1\n", 0);
    ck_assert_uint_eq(ps_data_features(data), INT64_MAX);
    ck_assert_ok(ps_data_row(data, 0, &indices, &values, &n));
    ck_assert_uint_eq(indices[0], INT64_MAX - 1);
}
END_TEST

static const char table[] = "1,0.5, -2 ,1e3\r\n"
                            "\n"
                            "0,1,2,3\n"
                            "2,4,5,6";

START_TEST(csv_samples_are_rows_of_floats)
{
    double mean, deviation;

    write_bytes(table, strlen(table), _i == 1);
    ck_assert_ok(ps_data_open_csv(&data, file, 0, 0, 0));
    ck_assert_uint_eq(ps_data_n(data), 3);
    ck_assert_uint_eq(ps_data_features(data), 3);
    ck_assert_uint_eq(ps_data_classes(data), 3);
    ck_assert(ps_data_dense(data, 0)[0] == 0.5f && ps_data_dense(data, 0)[1] == -2);
    ck_assert(ps_data_dense(data, 0)[2] == 1000 && ps_data_dense(data, 2)[2] == 6);
    ck_assert_uint_eq(ps_data_label(data, 2), 2);
    ps_data_moments(data, &mean, &deviation);
    ck_assert_double_eq_tol(mean, 1019.5 / 9, 1e-9);
}
END_TEST

START_TEST(the_label_may_be_in_any_column)
{
    static const char text[] = "a,b,c\n10,20,30\n11,21,31\n";
    static const struct {
        int    column;
        double label, first, last;
    } cases[] = {
        { 0, 11, 21, 31 },  { 1, 21, 11, 31 },  { 2, 31, 11, 21 },
        { -1, 31, 11, 21 }, { -2, 21, 11, 31 }, { -3, 11, 21, 31 },
    };

    open_csv(text, cases[_i].column, 1, 0);
    ck_assert_uint_eq(ps_data_n(data), 2);
    ck_assert(ps_data_target(data, 1) == cases[_i].label);
    ck_assert(ps_data_dense(data, 1)[0] == cases[_i].first);
    ck_assert(ps_data_dense(data, 1)[1] == cases[_i].last);
}
END_TEST

static const struct {
    const char *text, *why;
    int         label, header;
} bad_csv[] = {
    { "", "holds no samples, expected at least one", 0, 0 },
    { "a,b\n", "holds no samples, expected at least one", 0, 1 },
    { "a,b\n1,2\n", "samples:1: label: \"a\", expected a finite number", 0, 0 },
    { "1;2\n", ":1: 1 fields, expected 2 to 1048576 with commas", 0, 0 },
    { "1,2\n1,2,3\n", "samples:2: 3 fields, expected 2", 0, 0 },
    { "a,b,c\n1,2\n", "samples:2: 2 fields, expected 3", 0, 1 },
    { "1,2\n3\n", "samples:2: 1 fields, expected 2", 0, 0 },
    { "1,2\n3,\"4\"\n", "samples:2: a quoted field, expected fields without", 0, 0 },
    { "\"a\",b\n1,2\n", "samples:1: a quoted field, expected fields without", 0, 1 },
    { "1,2\n3,\n", "samples:2: field 2: \"\", expected a finite number", 0, 0 },
    { "1,2\n,3\n", "samples:2: label: \"\", expected a finite number", 0, 0 },
    { "1,two\n", "samples:1: field 2: \"two\", expected a finite number", 0, 0 },
    { "1,nan\n", "samples:1: field 2: \"nan\", expected a finite number", 0, 0 },
    { "1,2 3\n", "samples:1: field 2: \"2 3\", expected a finite number", 0, 0 },
    { "1,1e39\n", "samples:1: field 2: \"1e39\", expected a finite number", 0, 0 },
    { "1,2\n", "2 fields, and the label is to be in column 2, expected -2 to 1", 2, 0 },
    { "1,2\n", "2 fields, and the label is to be in column -3, expected -2", -3, 0 },
};

START_TEST(each_bad_csv_line_has_its_sentence)
{
    write_bytes(bad_csv[_i].text, strlen(bad_csv[_i].text), _i % 2);
    ck_assert_status(
        ps_data_open_csv(&data, file, bad_csv[_i].label, bad_csv[_i].header, _i % 3),
        PS_ERR_DATA);
    ck_assert_why(bad_csv[_i].why);
    ck_assert_why(file);
    ck_assert_ptr_null(data);
}
END_TEST

/* Either format: 0 is LIBSVM, 1 is CSV. */
static ps_status open_either(int format)
{
    return format ? ps_data_open_csv(&data, file, 0, 0, 0)
                  : ps_data_open_libsvm(&data, file, 0);
}

START_TEST(what_is_no_text_is_refused)
{
    write_bytes("1 1:1\n1 1:\0001\n", 13, false);
    ck_assert_status(open_either(0), PS_ERR_DATA);
    ck_assert_why("samples:2: a zero byte, expected only text");
    write_bytes("1,1\n1,\0001\n", 9, true);
    ck_assert_status(open_either(1), PS_ERR_DATA);
    ck_assert_why("samples:2: a zero byte, expected only text");
    unlink(file);
    ck_assert_status(open_either(_i), PS_ERR_DATA);
    ck_assert_why("samples: cannot be opened: No such file or directory");
    write_bytes("", 0, false);
}
END_TEST

/* `n` bytes: `first`, and `field` as often as it fits. */
static char *long_line(const char *first, const char *field, size_t n)
{
    char *text = malloc(n + 1);

    ck_assert_ptr_nonnull(text);
    strcpy(text, first);
    for (size_t k = 0, at = strlen(first); at < n; k++, at++)
        text[at] = field[k % strlen(field)];
    text[n] = '\0';
    return text;
}

START_TEST(long_lines_are_read_and_endless_ones_refused)
{
    char *text = long_line("1", ",1", 300001); /* ends in a 1 */

    write_bytes(text, 300001, false);
    free(text);
    ck_assert_ok(open_either(1));
    ck_assert_uint_eq(ps_data_features(data), 150000);
    ck_assert(ps_data_dense(data, 0)[149999] == 1);
    ps_data_close(&data);

    text = long_line("1 1:1\n", "1", 40u << 20);
    write_bytes(text, 40u << 20, true);
    free(text);
    ck_assert_status(open_either(0), PS_ERR_DATA);
    ck_assert_why("samples:2: a line of more than 16777216 bytes");
}
END_TEST

START_TEST(a_gzip_file_without_its_end_is_truncated)
{
    char *text = long_line("1", ",1", 4001);
    FILE *f;
    long  n;

    write_bytes(text, 4001, true);
    free(text);
    f = fopen(file, "rb");
    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    n = ftell(f);
    fclose(f);
    for (n--; n > 20; n--) {
        ck_assert_int_eq(truncate(file, n), 0);
        ck_assert_status(open_either(1), PS_ERR_DATA);
        ck_assert_why("truncated: its gzip stream has no end");
    }
}
END_TEST

START_TEST(numbers_are_the_same_in_every_locale)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8"))
        setlocale(LC_ALL, "");
    open_csv("1,0.5\n", 0, 0, 0);
    setlocale(LC_ALL, "C");
    ck_assert(ps_data_dense(data, 0)[0] == 0.5f);
}
END_TEST

/* Whatever it is, it is a data set or a sentence. */
static void open_and_look(int format)
{
    const uint64_t *indices;
    const float    *values;
    uint64_t        n;

    if (open_either(format)) {
        ck_assert_why(file);
        ck_assert_ptr_null(data);
        return;
    }
    for (uint64_t i = 0; i < ps_data_n(data); i++) {
        ck_assert_uint_le(ps_data_label(data, i), ps_data_classes(data));
        if (format == 0) {
            ck_assert_ok(ps_data_row(data, i, &indices, &values, &n));
            for (uint64_t k = 0; k < n; k++)
                ck_assert(values[k] == values[k] &&
                          indices[k] < ps_data_features(data));
        } else {
            for (uint64_t k = 0; k < ps_data_features(data); k++)
                ck_assert(ps_data_dense(data, i)[k] == ps_data_dense(data, i)[k]);
        }
    }
    ps_data_close(&data);
}

static const char *good_text(int format)
{
    return format ? table : sparse;
}

START_TEST(every_truncation_is_read_or_refused)
{
    for (size_t n = 0; n <= strlen(good_text(_i)); n++) {
        write_bytes(good_text(_i), n, false);
        open_and_look(_i);
    }
}
END_TEST

/* Bytes that mean something to a reader come more often than others. */
START_TEST(no_mutation_does_harm)
{
    static const char likely[] = "0123456789+-.eE:,# \t\r\n\"\0\xff";
    char              bytes[256];
    size_t            n = strlen(good_text(_i));

    for (uint64_t round = 0; round < 5000; round++) {
        memcpy(bytes, good_text(_i), n);
        for (uint64_t k = 0; k <= round % 4; k++) {
            uint64_t r = ps_random_u64(5, round, k);
            size_t   at = (size_t)(r >> 32) % n;

            bytes[at] =
                r & 1 ? likely[(r >> 1) % (sizeof(likely) - 1)] : (char)(r >> 1);
        }
        write_bytes(bytes, n, false);
        open_and_look(_i);
    }
}
END_TEST

START_TEST(rows_can_be_parted_and_batched)
{
    ps_batch b;

    open_csv("0,0\n1,1\n2,2\n3,3\n4,4\n5,5\n", 0, 0, 0);
    ck_assert_ok(ps_data_partition(data, PS_PARTITION_DISJOINT_CONTIGUOUS));
    ck_assert_uint_eq(ps_data_iterations(data, 2, 3), 1);
    ck_assert_ok(ps_data_batch(data, 1, 1, 2, 3, 0, &b));
    for (uint32_t i = 0; i < b.n; i++)
        ck_assert(ps_data_dense(data, b.sample[i])[0] >= 3);
}
END_TEST

/* ---- what an experiment names --------------------------------------------------- */

static ps_settings *settings;

/* `data` holds what is said of the data besides the file. */
static void settings_say(const char *format, const char *more)
{
    char text[512];

    snprintf(text, sizeof(text),
             "data: {format: %s, train_features: '%s', test_features: '%s'%s}\n"
             "train: {limit: 4}\n",
             format, file, file, more);
    ck_assert_ok(ps_settings_parse(&settings, text));
}

static void forget_settings(void)
{
    ps_settings_free(&settings);
}

START_TEST(an_experiment_names_a_csv_file)
{
    ps_batch b;

    write_bytes("x,y\n0,7\n1,7\n2,7\n3,7\n4,7\n5,7\n", 28, false);
    settings_say("csv", ", label_column: -2, header: true, "
                        "partition: disjoint_contiguous");
    ck_assert_ok(ps_data_open(&data, settings, 0));
    ck_assert_uint_eq(ps_data_n(data), 4);
    ck_assert_double_eq(ps_data_target(data, 3), 3);
    ck_assert_ok(ps_data_batch(data, 1, 1, 2, 2, 0, &b));
    for (uint32_t i = 0; i < b.n; i++)
        ck_assert_uint_ge(b.sample[i], 2);
}
END_TEST

START_TEST(the_test_set_is_whole_and_not_parted)
{
    ps_batch b;
    uint32_t seen = 0;

    write_bytes("0 1:1\n0 1:1\n1 1:1\n1 1:1\n1 1:1\n1 1:1\n", 36, false);
    settings_say("libsvm", ", partition: disjoint_contiguous");
    ck_assert_ok(ps_data_open(&data, settings, 1));
    ck_assert_uint_eq(ps_data_n(data), 6);
    for (uint64_t clock = 0; clock < 3; clock++) {
        ck_assert_ok(ps_data_batch(data, 1, 0, 2, 1, clock, &b));
        seen |= 1u << b.sample[0];
        ck_assert_ok(ps_data_batch(data, 1, 1, 2, 1, clock, &b));
        seen |= 1u << b.sample[0];
    }
    ck_assert_uint_eq(seen, 63);
}
END_TEST

START_TEST(an_experiment_without_a_data_set_is_refused)
{
    ck_assert_ok(ps_settings_parse(&settings, "data: {format: libsvm}\n"));
    ck_assert_status(ps_data_open(&data, settings, 1), PS_ERR_CONFIG);
    ck_assert_ptr_nonnull(
        strstr(ps_why(), "data.test_features: the experiment names no file"));
    ps_settings_free(&settings);
    settings_say("idx", "");
    ck_assert_status(ps_data_open(&data, settings, 0), PS_ERR_CONFIG);
    ck_assert_ptr_nonnull(
        strstr(ps_why(), "data.train_labels: the experiment names no file"));
    ps_settings_free(&settings);
    settings_say("text", "");
    ck_assert_status(ps_data_open(&data, settings, 0), PS_ERR_CONFIG);
    ck_assert_ptr_nonnull(
        strstr(ps_why(), "data.format: text is no data set of samples"));
    ck_assert_ptr_null(data);
    write_bytes("0 1:1\n", 6, false);
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof((table)[0]))

static Suite *data_text_suite(void)
{
    Suite *s = suite_create("data_text");
    TCase *t = tcase_create("files");

    tcase_add_checked_fixture(t, make_folder, remove_folder);
    tcase_add_loop_test(t, libsvm_samples_are_rows, 0, 2);
    tcase_add_test(t, each_format_has_its_accessor);
    tcase_add_loop_test(t, labels_are_classes_where_they_can_be, 0, COUNT(meanings));
    tcase_add_test(t, a_limit_keeps_the_first_rows_and_reads_the_rest);
    tcase_add_loop_test(t, each_bad_libsvm_line_has_its_sentence, 0, COUNT(bad_libsvm));
    tcase_add_test(t, the_highest_index_there_is_can_be_read);
    tcase_add_loop_test(t, csv_samples_are_rows_of_floats, 0, 2);
    tcase_add_loop_test(t, the_label_may_be_in_any_column, 0, 6);
    tcase_add_loop_test(t, each_bad_csv_line_has_its_sentence, 0, COUNT(bad_csv));
    tcase_add_loop_test(t, what_is_no_text_is_refused, 0, 2);
    tcase_add_test(t, long_lines_are_read_and_endless_ones_refused);
    tcase_add_test(t, a_gzip_file_without_its_end_is_truncated);
    tcase_add_test(t, numbers_are_the_same_in_every_locale);
    tcase_add_loop_test(t, every_truncation_is_read_or_refused, 0, 2);
    tcase_add_loop_test(t, no_mutation_does_harm, 0, 2);
    tcase_add_test(t, rows_can_be_parted_and_batched);
    suite_add_tcase(s, t);

    t = tcase_create("experiments");
    tcase_add_checked_fixture(t, make_folder, remove_folder);
    tcase_add_checked_fixture(t, NULL, forget_settings);
    tcase_add_test(t, an_experiment_names_a_csv_file);
    tcase_add_test(t, the_test_set_is_whole_and_not_parted);
    tcase_add_test(t, an_experiment_without_a_data_set_is_refused);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(data_text_suite)
