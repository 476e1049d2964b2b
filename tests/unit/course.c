/* The way through a run, held against one that lists every batch of it. */
#include "worker/course.h"
#include "tests/unit/suite.h"

#include "common/base/random.h"
#include "worker/data.h"

#include <stdio.h>
#include <unistd.h>

#define SAMPLES 211u
#define EPOCHS 7u

static ps_data *data;

static void make_data(void)
{
    char  name[] = "/tmp/psd-course-XXXXXX";
    FILE *f = fdopen(mkstemp(name), "w");

    for (unsigned i = 0; i < SAMPLES; i++)
        fprintf(f, "%u,0\n", i);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_ok(ps_data_open_csv(&data, name, -1, 0, 0));
    unlink(name);
}

static void free_data(void)
{
    ps_data_close(&data);
}

/* One of many courses, drawn by number. */
static struct psw_course drawn(uint64_t number)
{
    struct psw_course c = { .data = data };

    c.workers = 1 + (uint32_t)ps_random_below(number, 1, 0, 4);
    c.batch = 1 + (uint32_t)ps_random_below(number, 1, 1, 9);
    c.npush = 1 + ps_random_below(number, 1, 2, 9);
    c.nfetch = 1 + ps_random_below(number, 1, 3, 9);
    c.growth = number % 2 ? 1 + (double)ps_random_below(number, 1, 4, 10) / 10 : 0;
    c.growth_every = (uint32_t)ps_random_below(number, 1, 5, 4);
    c.growth_max = number % 4 == 1 ? c.batch + 5 : 40;
    return c;
}

/* Where the next batch is, as ps_train walks. */
static void walk(const struct psw_course *c, struct psw_spot *s)
{
    if (psw_course_pushes(c, s))
        psw_course_seek(c, s, s->clock + 1);
    else
        s->iteration++;
}

START_TEST(every_batch_of_every_epoch_comes_once_and_in_order)
{
    struct psw_course c = drawn((uint64_t)_i);
    struct psw_spot   s = { 0 };
    uint64_t          clock = 0;

    psw_course_seek(&c, &s, 0);
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        uint64_t n = ps_data_iterations(data, c.workers, psw_course_batch(&c, epoch));
        uint64_t in_window = 0;

        for (uint64_t i = 0; i < n; i++) {
            bool last = i + 1 == n;

            ck_assert_uint_eq(s.epoch, epoch);
            ck_assert_uint_eq(s.iteration, i);
            ck_assert_uint_eq(s.clock, clock);
            ck_assert_uint_eq(psw_course_ends_epoch(&s), last);
            ck_assert_uint_eq(psw_course_pushes(&c, &s),
                              ++in_window == c.npush || last);
            ck_assert_uint_eq(psw_course_pulls(&c, &s),
                              (i + 1) % c.nfetch == 0 || last);
            if (in_window == c.npush || last) {
                in_window = 0;
                clock++;
            }
            walk(&c, &s);
        }
        ck_assert_uint_eq(psw_course_iterations(&c, epoch), n);
        ck_assert_uint_eq(psw_course_clocks(&c, epoch), (n + c.npush - 1) / c.npush);
    }
    ck_assert_uint_eq(s.epoch, EPOCHS);
}
END_TEST

static void expect_same(const struct psw_spot *a, const struct psw_spot *b)
{
    ck_assert_uint_eq(a->clock, b->clock);
    ck_assert_uint_eq(a->epoch, b->epoch);
    ck_assert_uint_eq(a->iteration, b->iteration);
    ck_assert_uint_eq(a->batch, b->batch);
    ck_assert_uint_eq(a->iterations, b->iterations);
    ck_assert_uint_eq(a->clocks_before, b->clocks_before);
    ck_assert_uint_eq(a->batches_before, b->batches_before);
    ck_assert_uint_eq(a->samples_before, b->samples_before);
}

START_TEST(whoever_is_sent_to_a_clock_goes_to_the_first_batch_of_its_window)
{
    struct psw_course c = drawn((uint64_t)_i);
    struct psw_spot   walked = { 0 }, sent = { 0 };

    psw_course_seek(&c, &walked, 0);
    for (; walked.epoch < EPOCHS; walk(&c, &walked)) {
        if (walked.iteration % c.npush != 0)
            continue;
        psw_course_seek(&c, &sent, walked.clock);
        expect_same(&sent, &walked);
        if (walked.clock % 3 == 0)
            sent = (struct psw_spot){ 0 }; /* from the beginning as well */
        else if (walked.clock % 3 == 1)
            psw_course_seek(&c, &sent, walked.clock / 2); /* and from elsewhere */
    }
}
END_TEST

START_TEST(an_epoch_covers_its_samples_once_and_positions_count_on)
{
    struct psw_course c = drawn((uint64_t)_i);
    struct psw_spot   s = { 0 };
    uint64_t          position = 0, number = 0;
    unsigned          seen[SAMPLES] = { 0 }, n_seen = 0;

    psw_course_seek(&c, &s, 0);
    while (s.epoch < EPOCHS) {
        for (uint32_t rank = 0; rank < c.workers; rank++) {
            ps_batch b;

            ck_assert_ok(psw_course_take(&c, &s, data, 5, rank, &b));
            ck_assert_uint_eq(b.epoch, s.epoch);
            ck_assert_uint_eq(b.iteration, s.iteration);
            ck_assert_uint_eq(b.clock, number);
            ck_assert_uint_eq(b.position, position);
            ck_assert_uint_eq(b.n, psw_course_batch(&c, s.epoch));
            for (uint32_t i = 0; i < b.n; i++, n_seen++)
                ck_assert_uint_eq(seen[b.sample[i]]++, s.epoch);
            position += b.n;
        }
        number++;
        if (psw_course_ends_epoch(&s)) {
            /* less than a round of all workers is left out */
            ck_assert_uint_le(n_seen, SAMPLES);
            ck_assert_uint_gt(n_seen + c.workers * s.batch, SAMPLES);
            for (unsigned i = 0; i < SAMPLES; i++)
                seen[i] = (unsigned)s.epoch + 1;
            n_seen = 0;
        }
        walk(&c, &s);
    }
}
END_TEST

START_TEST(the_batch_grows_as_the_formula_says)
{
    struct psw_course     c = { .batch = 10, .growth = 1.5, .growth_every = 2 };
    static const uint32_t expected[] = { 10, 10, 15, 15, 22, 22, 33, 33, 50 };

    for (uint64_t e = 0; e < sizeof(expected) / sizeof(expected[0]); e++)
        ck_assert_uint_eq(psw_course_batch(&c, e), expected[e]);
    ck_assert_uint_eq(psw_course_batch(&c, 1u << 20), PSW_BATCH_MAX);
    c.growth_max = 32;
    ck_assert_uint_eq(psw_course_batch(&c, 5), 22);
    ck_assert_uint_eq(psw_course_batch(&c, 6), 32);
    c.growth_every = 0; /* counts as 1 */
    ck_assert_uint_eq(psw_course_batch(&c, 1), 15);
    c.growth = 1;
    ck_assert_uint_eq(psw_course_batch(&c, 100), 10);
    c.growth = 0;
    ck_assert_uint_eq(psw_course_batch(&c, 100), 10);
}
END_TEST

START_TEST(impossible_growth_is_refused)
{
    struct psw_course c = { .batch = 10, .growth = 0.5 };

    ck_assert_status(psw_course_check(&c), PS_ERR_BAD_ARG);
    ck_assert_why("grows by the factor 0.5, expected 1 or more");
    c.growth = 1.0 / 0.0;
    ck_assert_status(psw_course_check(&c), PS_ERR_BAD_ARG);
    c.growth = 2;
    c.growth_max = 9;
    ck_assert_status(psw_course_check(&c), PS_ERR_BAD_ARG);
    ck_assert_why("batches of 10 are to grow up to 9");
    c.growth_max = 10;
    ck_assert_ok(psw_course_check(&c));
}
END_TEST

START_TEST(a_seek_ends_where_the_data_make_no_batch)
{
    struct psw_course c = {
        .data = data, .workers = 1, .batch = 64, .growth = 2, .nfetch = 1, .npush = 2
    };
    struct psw_spot s = { 0 };

    psw_course_seek(&c, &s, 1000); /* 3, 1 and then no batches of 64, 128 and 256 */
    ck_assert_uint_eq(s.epoch, 2);
    ck_assert_uint_eq(s.iterations, 0);
}
END_TEST

static Suite *course_suite(void)
{
    Suite *s = suite_create("course");
    TCase *t = tcase_create("batches");

    tcase_add_checked_fixture(t, make_data, free_data);
    tcase_add_loop_test(t, every_batch_of_every_epoch_comes_once_and_in_order, 0, 60);
    tcase_add_loop_test(
        t, whoever_is_sent_to_a_clock_goes_to_the_first_batch_of_its_window, 0, 60);
    tcase_add_loop_test(t, an_epoch_covers_its_samples_once_and_positions_count_on, 0,
                        60);
    tcase_add_test(t, the_batch_grows_as_the_formula_says);
    tcase_add_test(t, impossible_growth_is_refused);
    tcase_add_test(t, a_seek_ends_where_the_data_make_no_batch);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(course_suite)
