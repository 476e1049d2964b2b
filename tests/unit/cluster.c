/*
 * A whole bsp run of several workers and shards without a socket, in one thread: the
 * network may reorder, repeat and lose, and not a bit of the model changes.
 */
#include "tests/sim/cluster.h"
#include "tests/unit/suite.h"

static char first[65];

static struct cluster_options three_workers_on(uint32_t shards, uint64_t seed)
{
    struct cluster_options o = {
        .shards = shards, .workers = 3, .seed = seed, .job = ps_job_spec_default()
    };

    strcpy(o.job.name, "toy");
    o.job.seed = 11;
    o.job.optimiser = ps_optimiser_spec_default(PS_ADAM);
    return o;
}

static void reference(void)
{
    struct cluster_options o = three_workers_on(1, 1);

    ck_assert_ok(cluster_train(&o, first));
}

static void expect_the_same(const struct cluster_options *o)
{
    char hash[65] = "";

    ck_assert_ok(cluster_train(o, hash));
    ck_assert_str_eq(hash, first);
}

START_TEST(any_number_of_shards_gives_the_same_model)
{
    struct cluster_options o = three_workers_on((uint32_t)_i, 1);

    expect_the_same(&o);
}
END_TEST

START_TEST(any_order_of_delivery_gives_the_same_model)
{
    struct cluster_options o = three_workers_on(2, (uint64_t)_i);

    expect_the_same(&o);
}
END_TEST

START_TEST(messages_repeated_and_lost_give_the_same_model)
{
    struct cluster_options o = three_workers_on(2, (uint64_t)_i);

    o.repeat_percent = 20;
    o.lose_percent = 10;
    expect_the_same(&o);
}
END_TEST

START_TEST(another_seed_gives_another_model)
{
    struct cluster_options o = three_workers_on(1, 1);
    char                   hash[65];

    o.job.seed++;
    ck_assert_ok(cluster_train(&o, hash));
    ck_assert_str_ne(hash, first);
}
END_TEST

static const uint32_t others[] = { PS_ASP, PS_SSP, PS_BACKUP };

START_TEST(the_other_strategies_end_too)
{
    struct cluster_options o = three_workers_on(3, (uint64_t)_i);
    char                   hash[65];

    o.job.strategy = others[_i % 3];
    o.job.slack = 1;
    o.repeat_percent = 10;
    o.lose_percent = 10;
    ck_assert_ok(cluster_train(&o, hash));
}
END_TEST

static Suite *cluster_suite(void)
{
    Suite *s = suite_create("cluster");
    TCase *t = tcase_create("runs");

    tcase_add_unchecked_fixture(t, reference, NULL);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, any_number_of_shards_gives_the_same_model, 1, 5);
    tcase_add_loop_test(t, any_order_of_delivery_gives_the_same_model, 1, 9);
    tcase_add_loop_test(t, messages_repeated_and_lost_give_the_same_model, 1, 17);
    tcase_add_test(t, another_seed_gives_another_model);
    tcase_add_loop_test(t, the_other_strategies_end_too, 0, 24);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(cluster_suite)
