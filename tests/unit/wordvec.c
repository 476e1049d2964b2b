/*
 * The parts of the word-vector example that compute: words of a text, the batches drawn
 * from it, their gradient against the formula in double, and who gets which block.
 */
#include "examples/sparse/blocks.h"
#include "examples/sparse/pairs.h"
#include "tests/unit/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIMENSIONS = 19, SEED = 3 }; /* 19 fills no row of lanes */

static struct text  text;
static struct pairs pairs;

static void read_command(const char *command, uint64_t limit, uint32_t min_count)
{
    ck_assert_int_eq(text_read(&text, "test", NULL, command, limit, min_count), 0);
}

static void forget(void)
{
    pairs_free(&pairs);
    text_free(&text);
}

/* ---- text ----------------------------------------------------------------------- */

START_TEST(words_are_letters_and_the_frequent_come_first)
{
    read_command("printf 'The king'; printf \"'s king, THE the 7x  y'all Y\\n\"", 0, 1);
    ck_assert_uint_eq(text.n_words, 4);
    ck_assert_str_eq(text.word[0], "the");
    ck_assert_str_eq(text.word[1], "king");
    ck_assert_str_eq(text.word[2], "y"); /* as often as king: by the alphabet */
    ck_assert_str_eq(text.word[3], "x");
    ck_assert_uint_eq(text.count[0], 3);
    ck_assert_uint_eq(text.count[1], 2);
    ck_assert_uint_eq(text.n, 8);
    ck_assert_uint_eq(text.words[1], 1);
    ck_assert_uint_eq(text_find(&text, "king"), 1);
    ck_assert_uint_eq(text_find(&text, "queen"), text.n_words);
}
END_TEST

START_TEST(rare_words_leave_the_text)
{
    read_command("echo a b a c b a", 0, 2);
    ck_assert_uint_eq(text.n_words, 2);
    ck_assert_uint_eq(text.n, 5);
    ck_assert_uint_eq(text.words[3], 1);
}
END_TEST

START_TEST(a_limit_counts_the_words_read)
{
    read_command("echo a b a b c c c c", 4, 1);
    ck_assert_uint_eq(text.n_words, 2);
    ck_assert_uint_eq(text.n, 4);
}
END_TEST

/* ---- batches -------------------------------------------------------------------- */

static void draw_from(const char *command, const struct pairs_options *o)
{
    read_command(command, 0, 1);
    ck_assert(pairs_init(&pairs, &text, o, DIMENSIONS, (uint32_t)text.n));
}

START_TEST(negatives_are_drawn_by_count_to_the_power_of_three_quarters)
{
    const struct pairs_options o = { .window = 1, .negatives = 200 };
    uint64_t                   seen[4] = { 0 };
    double                     share[4], sum = 0;

    /* a, b, c stand 100, 10 and 1 times; every near word is a d, which is not drawn
     * against itself. */
    draw_from("awk 'BEGIN { for (i = 0; i < 111; i++)"
              " print (i < 100 ? \"a\" : i < 110 ? \"b\" : \"c\"), \"d\" }'",
              &o);
    ck_assert_uint_eq(text.n_words, 4);
    ck_assert(pairs_draw(&pairs, 0, (uint32_t)text.n, SEED, 0, 0));
    for (uint32_t i = 0; i < pairs.n_centres; i++)
        if (pairs.in.keys[pairs.centres[i].place] != text_find(&text, "d"))
            for (uint32_t k = pairs.centres[i].first_target;
                 k < pairs.centres[i + 1].first_target; k++)
                if (!(pairs.target[k] & 1))
                    seen[pairs.out.keys[pairs.target[k] >> 1]]++;
    for (uint32_t i = 0; i < 4; i++) {
        share[i] = i == text_find(&text, "d") ? 0 : pow((double)text.count[i], 0.75);
        sum += share[i];
    }
    for (uint32_t i = 0; i < 4; i++) {
        double n = (double)(seen[0] + seen[1] + seen[2] + seen[3]);
        double expected = share[i] / sum * n;

        /* five standard deviations of a binomial distribution */
        ck_assert_double_le(fabs((double)seen[i] - expected),
                            5 * sqrt(expected) + 1e-9);
    }
}
END_TEST

START_TEST(frequent_words_stay_in_their_share)
{
    const struct pairs_options o = { .window = 1, .negatives = 1, .subsample = 0.05 };
    uint32_t                   n_a = 0;

    draw_from("awk 'BEGIN { for (i = 0; i < 20000; i++)"
              " print i % 5 ? \"a\" : \"w\" substr(\"abcdefghijklmnopqrstuvwxyz\","
              " int(i / 5) % 26 + 1, 1) }'",
              &o);
    ck_assert(pairs_draw(&pairs, 0, (uint32_t)text.n, SEED, 0, 0));
    for (uint32_t i = 0; i < pairs.n_centres; i++)
        n_a += pairs.in.keys[pairs.centres[i].place] == 0;
    /* sqrt(0.05 / 0.8) of 16000, within five deviations; all of the others */
    ck_assert_double_le(fabs(n_a - 4000.0), 5 * sqrt(16000 * 0.25 * 0.75));
    ck_assert_uint_eq(pairs.n_centres - n_a, 4000);
}
END_TEST

static const char *const sentence =
    "echo the cat sat on the mat and the dog on the cat";

START_TEST(the_same_place_draws_the_same_batch)
{
    const struct pairs_options o = { .window = 3, .negatives = 2, .subsample = 0.1 };
    uint32_t                   n, first[256];

    draw_from(sentence, &o);
    ck_assert(pairs_draw(&pairs, 0, 12, SEED, 1, 7));
    n = pairs.n_targets;
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_le(n, 256);
    memcpy(first, pairs.target, n * sizeof(*first));
    ck_assert(pairs_draw(&pairs, 0, 12, SEED, 1, 8));
    ck_assert(n != pairs.n_targets ||
              memcmp(first, pairs.target, n * sizeof(*first)) != 0);
    ck_assert(pairs_draw(&pairs, 0, 12, SEED, 1, 7));
    ck_assert_uint_eq(n, pairs.n_targets);
    ck_assert_mem_eq(first, pairs.target, n * sizeof(*first));
}
END_TEST

/* Equation 4 of the paper, in double. */
static double loss_by_the_book(void)
{
    double loss = 0;

    for (uint32_t i = 0; i < pairs.n_centres; i++)
        for (uint32_t k = pairs.centres[i].first_target;
             k < pairs.centres[i + 1].first_target; k++) {
            const float *v = pairs.in.value + pairs.centres[i].place * DIMENSIONS;
            const float *u = pairs.out.value + (pairs.target[k] >> 1) * DIMENSIONS;
            double       x = 0;

            for (uint32_t d = 0; d < DIMENSIONS; d++)
                x += (double)u[d] * (double)v[d];
            loss -= log(1 / (1 + exp(pairs.target[k] & 1 ? -x : x)));
        }
    return loss;
}

static void set_values(struct rows *r, uint64_t stream)
{
    for (uint32_t i = 0; i < r->n * r->cols; i++) {
        r->value[i] = (float)(ps_random_at(SEED, stream, i) - 0.5);
        r->grad[i] = 0;
    }
}

/* The slope of the loss along one value, from both sides. */
static double slope(float *value)
{
    const float was = *value, step = 0x1p-10f;
    double      up, down;

    *value = was + step;
    up = loss_by_the_book();
    *value = was - step;
    down = loss_by_the_book();
    *value = was;
    return (up - down) / (2 * (double)step);
}

START_TEST(the_gradient_is_the_slope_of_the_loss)
{
    const struct pairs_options o = { .window = 3, .negatives = 2 };
    uint64_t                   n;
    double                     loss;

    draw_from(sentence, &o);
    ck_assert(pairs_draw(&pairs, 0, 12, SEED, 0, 0));
    set_values(&pairs.in, 1);
    set_values(&pairs.out, 2);
    loss = pairs_gradient(&pairs, &n);
    ck_assert_double_eq_tol(loss, loss_by_the_book(), 1e-5 * loss);
    ck_assert_uint_ge(n, 22); /* a neighbour at least to each side but at the ends */
    /* A value moves by 2^-10 of about 1/2 and back, rounded to 2^-25: 2^-14 of slopes
     * of a few. */
    for (uint32_t i = 0; i < pairs.in.n * DIMENSIONS; i++)
        ck_assert_double_eq_tol(slope(&pairs.in.value[i]), pairs.in.grad[i], 1e-3);
    for (uint32_t i = 0; i < pairs.out.n * DIMENSIONS; i++)
        ck_assert_double_eq_tol(slope(&pairs.out.value[i]), pairs.out.grad[i], 1e-3);
}
END_TEST

/* ---- rows ----------------------------------------------------------------------- */

START_TEST(each_key_has_one_place_however_many_there_are)
{
    struct rows r;
    uint32_t    place;

    rows_init(&r, 1);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 10000; i++) {
            ck_assert(rows_place(&r, ~(i % 5000 * 7919), &place));
            ck_assert_uint_eq(place, i % 5000);
        }
        ck_assert_uint_eq(r.n, 5000);
        rows_clear(&r);
    }
    rows_free(&r);
}
END_TEST

/* ---- blocks --------------------------------------------------------------------- */

START_TEST(every_scheme_goes_through_blocks_once_in_an_epoch)
{
    const ps_partition scheme = (ps_partition)_i;
    const bool         overlap = scheme == PS_PARTITION_OVERLAP_RESHUFFLE;
    enum { N = 23, WORKERS = 4 };

    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        uint32_t seen[N] = { 0 }, total = 0;

        for (uint32_t rank = 0; rank < WORKERS; rank++) {
            struct blocks b;

            ck_assert_ok(blocks_init(&b, scheme, N, SEED, rank, WORKERS));
            ck_assert_uint_eq(b.iterations, overlap ? N : N / WORKERS);
            for (uint64_t i = 0; i < b.iterations; i++)
                seen[blocks_at(&b, epoch * b.iterations + i)]++;
            blocks_free(&b);
        }
        for (uint32_t i = 0; i < N; i++) {
            ck_assert_uint_le(seen[i], overlap ? WORKERS : 1);
            total += seen[i];
        }
        ck_assert_uint_eq(total, overlap ? N * WORKERS : N / WORKERS * WORKERS);
    }
}
END_TEST

static Suite *wordvec_suite(void)
{
    Suite *s = suite_create("wordvec");
    TCase *t = tcase_create("text");

    tcase_add_checked_fixture(t, NULL, forget);
    tcase_add_test(t, words_are_letters_and_the_frequent_come_first);
    tcase_add_test(t, rare_words_leave_the_text);
    tcase_add_test(t, a_limit_counts_the_words_read);
    tcase_add_test(t, negatives_are_drawn_by_count_to_the_power_of_three_quarters);
    tcase_add_test(t, frequent_words_stay_in_their_share);
    tcase_add_test(t, the_same_place_draws_the_same_batch);
    tcase_add_test(t, the_gradient_is_the_slope_of_the_loss);
    suite_add_tcase(s, t);

    t = tcase_create("parts");
    tcase_add_test(t, each_key_has_one_place_however_many_there_are);
    tcase_add_loop_test(t, every_scheme_goes_through_blocks_once_in_an_epoch, 0, 5);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(wordvec_suite)
