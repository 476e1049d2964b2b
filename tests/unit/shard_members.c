/* The shard and its members: who comes again, who leaves, who has no more batches. */
#include "tests/unit/plain_shards.h"

/* ---- coming and going ------------------------------------------------------------ */

START_TEST(iteration_goes_on_without_the_one_that_left)
{
    static const uint32_t gone[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_LOST };
    const float           one[N] = { 1 };

    cluster(2, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push(0, 1, one);
    ck_assert(!pull(0, 1, value));
    send_members(2, gone);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
    forget_answers();
    expect_error(push(1, 1, one), PS_ERR_RANK);
}
END_TEST

START_TEST(half_of_an_iteration_of_a_lost_worker_is_dropped)
{
    static const uint32_t gone[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_LOST };
    struct ps_range       range = { .matrix = 1, 0, 16 };
    const float           one[N] = { 1 };
    struct ps_header      h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = worker_header(PS_MSG_PUSH, 1, 1);
    h.seq = 1;
    h.ranges = &range;
    h.n_ranges = 1;
    hand(0, 1, &h, one, 16 * sizeof(float), NULL, 0);
    send_members(2, gone);
    push(0, 1, one);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
}
END_TEST

/* Tells shard 0 of one member; gives the clock that it answers. */
static uint64_t tell_member(uint32_t rank, uint32_t incarnation, uint32_t state,
                            uint64_t clock)
{
    static uint64_t  epoch = 1000;
    struct ps_member m = { .rank = rank,
                           .incarnation = incarnation,
                           .state = state,
                           .session = SESSION(rank) + 100 * incarnation - 100,
                           .clock = clock };
    struct ps_header h = header(PS_MSG_MEMBERS);

    h.session = CONTROL;
    h.membership_epoch = ++epoch;
    h.members = &m;
    h.n_members = 1;
    hand(0, 99, &h, NULL, 0, NULL, 0);
    expect_ok(h.request);
    return answer_to(h.request, NULL).clock;
}

/* A push of one element by worker 1 that has come again, or another message of it. */
static struct ps_header of_second_life(struct ps_header h)
{
    h.incarnation = 2;
    h.session = SESSION(1) + 100;
    return h;
}

static const struct ps_range only_element = { .matrix = 1, 0, 1 };

static uint64_t push_one(struct ps_header h, float x)
{
    hand(0, h.rank, &h, &x, sizeof(x), NULL, 0);
    return h.request;
}

START_TEST(worker_that_comes_again_starts_anew_and_is_waited_for)
{
    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    push_one(finishing_push(1, 1, 1, &only_element), 1);
    push_one(finishing_push(0, 2, 2, &only_element), 1);
    tell_member(1, 1, PS_MEMBER_LOST, 0); /* closes 2 */
    ck_assert_uint_eq(tell_member(1, 2, PS_MEMBER_ACTIVE, 0), 2);
    push_one(finishing_push(0, 3, 3, &only_element), 1);
    ck_assert(!pull(0, 3, value));
    expect_error(push_one(finishing_push(1, 3, 2, &only_element), 1), PS_ERR_STALE);
    /* its numbers begin at 1 again */
    push_one(of_second_life(finishing_push(1, 3, 1, &only_element)), 3);
    ck_assert(pull(0, 3, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * (1 + 1 + 2));
}
END_TEST

START_TEST(half_of_an_iteration_of_an_earlier_life_is_dropped)
{
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = finishing_push(1, 1, 1, &only_element);
    h.parts = 2;
    push_one(h, 50);
    tell_member(1, 2, PS_MEMBER_ACTIVE, 0); /* nobody had missed it */
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    ck_assert(!pull(0, 1, value));
    push_one(of_second_life(finishing_push(1, 1, 1, &only_element)), 3);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 2);
}
END_TEST

START_TEST(iteration_finished_in_an_earlier_life_counts_and_is_not_asked_for_again)
{
    struct ps_header answer;
    uint64_t         late;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    push_one(finishing_push(1, 1, 1, &only_element), 3);
    tell_member(1, 1, PS_MEMBER_LOST, 0);
    ck_assert_uint_eq(tell_member(1, 2, PS_MEMBER_ACTIVE, 0), 0);
    late = push_one(of_second_life(finishing_push(1, 1, 1, &only_element)), 70);
    expect_error(late, PS_ERR_STALE);
    answer = answer_to(late, NULL);
    ck_assert_uint_eq(answer.seq, 1); /* late, and not of an older life */
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 2);
}
END_TEST

START_TEST(worker_that_begins_later_is_not_waited_for_before)
{
    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    tell_member(1, 1, PS_MEMBER_LOST, 0);
    tell_member(1, 2, PS_MEMBER_ACTIVE, 0);
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    ck_assert(!pull(0, 1, value));
    tell_member(1, 2, PS_MEMBER_ACTIVE, 2);
    ck_assert(pull(0, 1, value));
    push_one(finishing_push(0, 2, 2, &only_element), 1);
    ck_assert(pull(0, 2, value));
    push_one(finishing_push(0, 3, 3, &only_element), 1);
    ck_assert(!pull(0, 3, value));
}
END_TEST

/* As if another shard had been further when all went on. */
START_TEST(worker_is_believed_that_skips_iterations_when_nothing_is_under_way)
{
    struct ps_header h;

    cluster(1, 1, PS_BSP, PS_SGD);
    dense_matrix();
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    h = worker_header(PS_MSG_PULL, 0, 4);
    h.ranges = &only_element;
    h.n_ranges = 1;
    h.seq = 2;
    hand(0, 0, &h, NULL, 0, NULL, 0); /* its push 2 is under way */
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, 0);
    h.request = header(PS_MSG_PULL).request; /* a new one */
    h.seq = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    ck_assert_uint_eq(answer_to(h.request, NULL).kind, PS_MSG_PULL_OK);
    ck_assert_uint_eq(answer_to(h.request, NULL).clock, 4);
    push_one(finishing_push(0, 8, 2, &only_element), 1);
    ck_assert(pull(0, 8, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 2);
}
END_TEST

START_TEST(backup_iteration_holds_all_workers_but_the_spares)
{
    const float one[N] = { 1 };

    cluster_for(1, spec_of(5, PS_BACKUP, PS_ADD));
    dense_matrix();
    /* In each iteration another one is late; the counter takes what the others say. */
    for (uint64_t t = 1; t <= 30; t++) {
        for (uint32_t i = 0; i < 5; i++) {
            uint32_t rank = (uint32_t)((t + i) % 5);

            ck_assert_uint_eq(account(0).version, i < 4 ? t - 1 : t);
            push_part(rank, t, 0, 1, one, 1);
        }
        ck_assert(pull(0, t, value));
        ck_assert_float_eq(value[0], start[0] + 4 * (float)t);
    }
    ck_assert_uint_eq(account(0).late, 30);
}
END_TEST

START_TEST(older_member_list_changes_nothing)
{
    static const uint32_t gone[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_LOST };
    const float           one[N] = { 1 };

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    send_members(1, gone);
    push(1, 1, one);
    push(0, 1, one);
    ck_assert(pull(0, 1, value));
}
END_TEST

/* ---- the end of an epoch --------------------------------------------------------- */

static struct ps_header rest(uint32_t rank, uint64_t clock, uint64_t number)
{
    struct ps_header h = worker_header(PS_MSG_PUSH, rank, clock);

    h.weight = 0;
    h.flags = PS_FLAG_REST;
    h.seq = number;
    h.wait_ms = 1000;
    return h;
}

static uint64_t send_rest(uint32_t rank, uint64_t clock, uint64_t number)
{
    struct ps_header h = rest(rank, clock, number);

    hand(0, rank, &h, NULL, 0, NULL, 0);
    return h.request;
}

static void expect_rested(uint64_t request, uint64_t clock)
{
    struct ps_header h = answer_to(request, NULL);

    ck_assert_uint_eq(h.kind, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(h.clock, clock);
}

static const uint32_t strategies[] = { PS_BSP, PS_ASP, PS_SSP, PS_BACKUP };

START_TEST(workers_with_fewer_batches_go_on_with_the_others)
{
    uint64_t short_one, long_one, again;

    cluster(1, 2, strategies[_i], PS_SGD);
    dense_matrix();
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    if (strategies[_i] == PS_BSP)
        push_one(finishing_push(1, 1, 1, &only_element), 1);
    short_one = send_rest(0, 1, 2);
    ck_assert_uint_eq(answer_to(short_one, NULL).kind, 0);
    for (uint64_t t = strategies[_i] == PS_BSP ? 2 : 1; t <= 9; t++)
        push_one(finishing_push(1, t, t, &only_element), 1);
    ck_assert(answer_to(short_one, NULL).kind == 0);
    long_one = send_rest(1, 9, 10);
    expect_rested(short_one, 9);
    expect_rested(long_one, 9);
    again = send_rest(0, 1, 2); /* the answer was lost */
    expect_rested(again, 9);
    push_one(finishing_push(0, 10, 3, &only_element), 1);
    push_one(finishing_push(1, 10, 11, &only_element), 1);
    again = send_rest(0, 1, 2);
    expect_rested(again, 9); /* in the words of the first time */
}
END_TEST

START_TEST(rest_waits_for_the_pushes_before_it)
{
    uint64_t early, other;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    other = send_rest(1, 0, 1);
    early = send_rest(0, 1, 2); /* it has overtaken push 1 */
    ck_assert_uint_eq(answer_to(early, NULL).kind, 0);
    ck_assert_uint_eq(answer_to(other, NULL).kind, 0);
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    expect_rested(early, 1);
    expect_rested(other, 1);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f);
}
END_TEST

START_TEST(those_who_rest_wake_when_the_last_one_leaves)
{
    uint64_t request;

    cluster(1, 2, strategies[_i], PS_SGD);
    dense_matrix();
    request = send_rest(0, 0, 1);
    ck_assert_uint_eq(answer_to(request, NULL).kind, 0);
    tell_member(1, 1, PS_MEMBER_LOST, 0);
    expect_rested(request, 0);
}
END_TEST

START_TEST(rest_that_waits_too_long_is_told_for_whom)
{
    static const uint32_t half[2] = { PS_MEMBER_ACTIVE, PS_MEMBER_EXPECTED };
    uint64_t              request, again;

    cluster_of(1, 2, half);
    dense_matrix();
    request = send_rest(0, 0, 1);
    psd_shard_tick(shards[0], 1000000000, &out);
    expect_error(request, PS_ERR_TIMEOUT);
    ck_assert_str_eq(
        answer_to(request, NULL).text,
        "job test: the end of the epoch waits for worker 1 (not joined yet)");
    again = send_rest(0, 0, 1); /* repeated: the same words */
    expect_error(again, PS_ERR_TIMEOUT);
    again = send_rest(0, 0, 2); /* tried again */
    ck_assert_uint_eq(answer_to(again, NULL).kind, 0);
    send_members(3, (const uint32_t[]){ PS_MEMBER_ACTIVE, PS_MEMBER_ACTIVE });
    request = send_rest(1, 0, 1);
    expect_rested(request, 0);
    expect_rested(again, 0);
}
END_TEST

START_TEST(worker_that_pushes_does_not_rest_any_more)
{
    uint64_t request;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    request = send_rest(1, 0, 1);
    push_one(finishing_push(1, 1, 2, &only_element), 3);
    expect_error(request, PS_ERR_TIMEOUT);
    push_one(finishing_push(0, 1, 1, &only_element), 1);
    ck_assert(pull(0, 1, value));
    ck_assert_float_eq(value[0], start[0] - 0.5f * 2);
    request = send_rest(0, 1, 2);
    ck_assert_uint_eq(answer_to(request, NULL).kind, 0);
    request = send_rest(1, 0, 3);
    expect_rested(request, 1);
}
END_TEST

START_TEST(rest_that_comes_after_the_next_push_is_no_rest)
{
    uint64_t late;

    cluster(1, 2, PS_ASP, PS_SGD);
    dense_matrix();
    push_one(finishing_push(1, 1, 2, &only_element), 1); /* number 1 was a rest */
    late = send_rest(1, 0, 1);
    expect_error(late, PS_ERR_TIMEOUT);
    late = send_rest(0, 0, 1);
    ck_assert_uint_eq(answer_to(late, NULL).kind, 0);
}
END_TEST

START_TEST(rest_with_values_is_refused)
{
    struct ps_header h;

    cluster(1, 2, PS_BSP, PS_SGD);
    dense_matrix();
    h = rest(0, 0, 1);
    h.ranges = &only_element;
    h.n_ranges = 1;
    expect_error(push_one(h, 1), PS_ERR_BAD_MESSAGE);
    h = rest(0, 0, 1);
    h.flags |= PS_FLAG_FINISH;
    h.parts = 1;
    hand(0, 0, &h, NULL, 0, NULL, 0);
    expect_error(h.request, PS_ERR_BAD_MESSAGE);
}
END_TEST

static Suite *shard_members_suite(void)
{
    Suite *s = suite_create("shard_members");
    TCase *t = tcase(s, "coming and going");

    tcase_add_test(t, iteration_goes_on_without_the_one_that_left);
    tcase_add_test(t, half_of_an_iteration_of_a_lost_worker_is_dropped);
    tcase_add_test(t, worker_that_comes_again_starts_anew_and_is_waited_for);
    tcase_add_test(t, half_of_an_iteration_of_an_earlier_life_is_dropped);
    tcase_add_test(
        t, iteration_finished_in_an_earlier_life_counts_and_is_not_asked_for_again);
    tcase_add_test(t, worker_that_begins_later_is_not_waited_for_before);
    tcase_add_test(t,
                   worker_is_believed_that_skips_iterations_when_nothing_is_under_way);
    tcase_add_test(t, backup_iteration_holds_all_workers_but_the_spares);
    tcase_add_test(t, older_member_list_changes_nothing);

    t = tcase(s, "the end of an epoch");
    tcase_add_loop_test(t, workers_with_fewer_batches_go_on_with_the_others, 0, 3);
    tcase_add_test(t, rest_waits_for_the_pushes_before_it);
    tcase_add_loop_test(t, those_who_rest_wake_when_the_last_one_leaves, 0, 4);
    tcase_add_test(t, rest_that_waits_too_long_is_told_for_whom);
    tcase_add_test(t, worker_that_pushes_does_not_rest_any_more);
    tcase_add_test(t, rest_that_comes_after_the_next_push_is_no_rest);
    tcase_add_test(t, rest_with_values_is_refused);
    return s;
}

TEST_MAIN(shard_members_suite)
