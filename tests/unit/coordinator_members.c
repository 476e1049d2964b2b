/* The coordinator and its members: who goes, who falls silent, who only looks. */
#include "tests/unit/three_shards.h"

/* ---- going ----------------------------------------------------------------------- */

START_TEST(job_is_finished_when_all_have_left_and_its_name_is_free)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec), again;

    bye(&a, 9, "");
    answer(1, 9, PS_MSG_OK);
    ck_assert_uint_eq(told_state(0, 0), PS_MEMBER_LEFT);
    ck_assert_uint_eq(told_state(0, 1), PS_MEMBER_ACTIVE);
    expect_word("lenet", "running");
    bye(&b, 9, "");
    expect_word("lenet", "finished");

    spec.workers = 1;
    again = join_as(3, 0, &spec);
    ck_assert_uint_ne(again.job, a.job);
    ck_assert_uint_eq(told(0, PS_MSG_JOB_END)->job, a.job);
    expect_word("lenet", "running");
}
END_TEST

START_TEST(goodbye_is_answered_when_the_shards_know)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    shard_mute[0] = true;
    bye(&w, 9, "");
    bye(&w, 9, "");
    ck_assert_ptr_null(mail_to(1, 9));
    shard_mute[0] = false;
    wait_for(SECOND);
    answer(1, 9, PS_MSG_OK);
    bye(&w, 10, ""); /* and again is no harm */
    answer(1, 10, PS_MSG_OK);
}
END_TEST

START_TEST(rank_that_left_joins_the_running_job_again)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec), again;

    bye(&a, 9, "");
    again = join_as(3, 0, &spec);
    ck_assert_uint_eq(again.job, b.job);
    ck_assert_uint_eq(again.incarnation, 2);
    ck_assert_uint_ne(again.session, a.session);
    ck_assert_uint_eq(told_member(1, 0).state, PS_MEMBER_ACTIVE);
    ck_assert_uint_eq(told_member(1, 0).incarnation, 2);
    ck_assert_uint_eq(told_member(1, 0).session, again.session);
    beat(&a, 10, 5);
    expect_error(1, 10, PS_ERR_DENIED, "wrong session for worker 0");
    hello(4, 1, 0, &spec);
    expect_error(4, 1, PS_ERR_RANK, "rank 0 of job lenet is taken by pid 3 on host-a");
}
END_TEST

START_TEST(one_that_joins_begins_at_the_clock_of_the_furthest_shard)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec);
    uint64_t           clock;
    size_t             n;

    join_as(2, 1, &spec);
    bye(&a, 9, "");
    shard_clock[0] = 4;
    shard_clock[1] = 6;
    shard_clock[2] = 5;
    n = count_told(PS_MSG_MEMBERS);
    hello(3, 1, 0, &spec);
    clock = answer(3, 1, PS_MSG_WELCOME)->clock;
    ck_assert_uint_eq(clock, 6);
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), n + 2 * (size_t)N_SHARDS);
    for (uint16_t s = 0; s < N_SHARDS; s++)
        ck_assert_uint_eq(told_member(s, 0).clock, 6);
    hello(3, 1, 0, &spec); /* again, and the same */
    clock = answer(3, 1, PS_MSG_WELCOME)->clock;
    ck_assert_uint_eq(clock, 6);
    ck_assert_uint_eq(told_member(0, 1).clock, 0); /* which began at the beginning */
}
END_TEST

START_TEST(shards_at_the_same_clock_are_told_once)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec);
    size_t             n;

    join_as(2, 1, &spec);
    bye(&a, 9, "");
    for (unsigned s = 0; s < N_SHARDS; s++)
        shard_clock[s] = 8;
    n = count_told(PS_MSG_MEMBERS);
    hello(3, 1, 0, &spec);
    ck_assert_uint_eq(answer(3, 1, PS_MSG_WELCOME)->clock, 8);
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), n + N_SHARDS);
}
END_TEST

START_TEST(one_that_is_lost_before_its_welcome_may_join_again)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      b;

    join_as(1, 0, &spec);
    shard_mute[2] = true;
    hello(2, 1, 1, &spec);
    ck_assert_ptr_null(mail_to(2, 1));
    shard_mute[2] = false;
    shard_clock[1] = 3;
    wait_for(SECOND);
    b = welcomed(2, 1);
    bye(&b, 5, "");
    b = join_as(3, 1, &spec);
    ck_assert_uint_eq(b.incarnation, 2);
}
END_TEST

START_TEST(what_earlier_incarnations_moved_still_counts)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec);

    join_as(2, 1, &spec);
    report(&a, 5, 1, 1, 0.5); /* 64 samples */
    bye(&a, 9, "");
    a = join_as(3, 0, &spec);
    report(&a, 5, 1, 1, 0.5);
    ck_assert_uint_eq(watch(9, 60, "lenet", 0)->traffic->samples, 128);
}
END_TEST

START_TEST(quick_worker_that_left_does_not_end_the_job_for_the_one_expected)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b;

    bye(&a, 9, "");
    b = join_as(2, 1, &spec);
    ck_assert_uint_eq(a.job, b.job);
}
END_TEST

START_TEST(new_run_begins_when_a_rank_comes_again_to_an_empty_job)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), again;

    bye(&a, 9, "");
    again = join_as(3, 0, &spec);
    ck_assert_uint_ne(a.job, again.job);
}
END_TEST

START_TEST(job_that_nobody_comes_to_ends)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec);

    bye(&a, 9, "");
    wait_for(9 * SILENCE);
    expect_word("lenet", "waiting");
    wait_for(2 * SILENCE);
    expect_word("lenet", "finished");
}
END_TEST

START_TEST(finished_jobs_are_kept_up_to_a_number)
{
    struct ps_header ask = { .kind = PS_MSG_WATCH, .request = 50, .name = "job0" };
    char             name[16];

    for (unsigned i = 0; i < 3; i++) {
        struct ps_job_spec spec;
        struct worker      w;

        snprintf(name, sizeof(name), "job%u", i);
        spec = spec_of(name, 1);
        w = join_as(10 + i, 0, &spec);
        bye(&w, 2, "");
    }
    say(9, &ask);
    expect_error(9, 50, PS_ERR_UNKNOWN, "job job0: not known here");
    expect_word("job1", "finished");
    expect_word("job2", "finished");
    ck_assert_uint_eq(count_told(PS_MSG_JOB_END), N_SHARDS);
}
END_TEST

/* ---- silence --------------------------------------------------------------------- */

static struct ps_job_spec loss_spec(uint32_t on_loss)
{
    struct ps_job_spec spec = spec_of("x", 2);

    spec.on_loss = on_loss;
    return spec;
}

/* Two workers, of whom 1 falls silent. */
static void one_falls_silent(uint32_t on_loss, struct worker *a, struct worker *b)
{
    struct ps_job_spec spec = loss_spec(on_loss);

    *a = join_as(1, 0, &spec);
    *b = join_as(2, 1, &spec);
    for (unsigned s = 0; s < 15; s++) {
        wait_for(SECOND);
        beat(a, 100 + s, s);
    }
}

START_TEST(silent_worker_is_lost_and_the_others_go_on)
{
    struct worker a, b;

    one_falls_silent(PS_LOSS_SHRINK, &a, &b);
    ck_assert_uint_eq(told_state(2, 0), PS_MEMBER_ACTIVE);
    ck_assert_uint_eq(told_state(2, 1), PS_MEMBER_LOST);
    ck_assert_ptr_null(mail_to(1, 0)); /* no notice */
    expect_word("x", "running");
    beat(&b, 200, 3);
    expect_error(2, 200, PS_ERR_RANK, "worker 1 of job x was silent");
    bye(&a, 300, "");
    expect_word("x", "finished");
}
END_TEST

START_TEST(silent_worker_is_waited_for_and_may_come_back)
{
    struct worker a, b;
    json_t       *status, *member;

    one_falls_silent(PS_LOSS_WAIT, &a, &b);
    observe(9, "x"); /* so that the shards are told the members once more */
    ck_assert_uint_eq(told_state(2, 1), PS_MEMBER_ACTIVE);
    status = ask_status(9, 50);
    member = json_array_get(
        json_object_get(json_array_get(json_object_get(status, "jobs"), 0), "members"),
        1);
    ck_assert_str_eq(json_string_value(json_object_get(member, "state")), "lost");
    json_decref(status);
    beat(&b, 200, 3);
    answer(2, 200, PS_MSG_OK);
    bye(&a, 300, "");
    expect_word("x", "running"); /* b is there again */
}
END_TEST

START_TEST(lost_worker_joins_again_whatever_the_others_do)
{
    static const uint32_t kinds[] = { PS_LOSS_SHRINK, PS_LOSS_WAIT };
    struct ps_job_spec    spec = loss_spec(kinds[_i]);
    struct worker         a, b, again;

    one_falls_silent(kinds[_i], &a, &b);
    again = join_as(3, 1, &spec);
    ck_assert_uint_eq(again.job, a.job);
    ck_assert_uint_eq(again.incarnation, 2);
    ck_assert_uint_eq(told_member(0, 1).session, again.session);
    beat(&b, 200, 3);
    expect_error(2, 200, PS_ERR_DENIED, "wrong session for worker 1");
}
END_TEST

START_TEST(job_that_waits_for_its_lost_workers_is_not_over)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_WAIT);
    struct worker      a, b, again;

    one_falls_silent(PS_LOSS_WAIT, &a, &b);
    bye(&a, 300, "killed");
    expect_word("x", "running");
    again = join_as(3, 0, &spec);
    ck_assert_uint_eq(again.job, a.job);
    bye(&again, 301, "killed");
    wait_for(11 * SILENCE);
    expect_word("x", "finished"); /* nobody came */
}
END_TEST

START_TEST(sleep_of_the_coordinator_is_nobodys_silence)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_SHRINK);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);
    json_t            *status;

    wait_for(SECOND);
    sleep_for(100 * SILENCE);
    wait_for(SECOND);
    beat(&a, 100, 1);
    answer(1, 100, PS_MSG_OK);
    wait_for(SILENCE - 4 * SECOND);
    beat(&b, 101, 1);
    answer(2, 101, PS_MSG_OK);
    wait_for(4 * SECOND); /* silence that it was awake to see */
    beat(&a, 102, 1);
    expect_error(1, 102, PS_ERR_RANK, "worker 0 of job x was silent for too long");
    beat(&b, 103, 1);
    answer(2, 103, PS_MSG_OK);
    status = ask_status(9, 50);
    ck_assert_int_ge(integer(status, "uptime_seconds"), 101 * 15); /* counts it */
    json_decref(status);
}
END_TEST

START_TEST(sleep_that_a_message_ends_is_nobodys_silence_either)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_SHRINK);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    for (uint64_t s = 0; s < 5; s++) {
        sleep_for(100 * SILENCE);
        beat(&a, 100 + s, s); /* is there before the tick */
        wait_for(SECOND);
    }
    beat(&b, 200, 1);
    answer(2, 200, PS_MSG_OK);
}
END_TEST

START_TEST(time_without_anything_to_watch_is_no_sleep)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_SHRINK);
    struct worker      a;
    json_t            *status;

    sleep_for(100 * SILENCE);
    a = join_as(1, 0, &spec);
    join_as(2, 1, &spec);
    wait_for(SILENCE - SECOND);
    beat(&a, 100, 1);
    wait_for(SECOND);
    expect_word("x", "running");
    ck_assert_uint_eq(told_state(2, 1), PS_MEMBER_LOST);
    status = ask_status(9, 50);
    ck_assert_int_eq(integer(status, "uptime_seconds"), 15);
    json_decref(status);
}
END_TEST

START_TEST(silent_worker_aborts_the_job)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_ABORT);
    struct worker      a, b, again;

    one_falls_silent(PS_LOSS_ABORT, &a, &b);
    expect_notice(1, PS_ERR_ABORTED,
                  "worker 1 of job x on host-a (pid 2) was silent for 15 s");
    ck_assert_uint_eq(told_state(2, 0), PS_MEMBER_LOST);
    ck_assert_uint_eq(told_state(2, 1), PS_MEMBER_LOST);
    expect_word("x", "aborted");
    beat(&a, 200, 3);
    expect_error(1, 200, PS_ERR_ABORTED, "worker 1 of job x");
    bye(&a, 201, "");
    answer(1, 201, PS_MSG_OK);
    again = join_as(3, 0, &spec);
    ck_assert_uint_ne(again.job, a.job);
}
END_TEST

START_TEST(goodbye_with_a_reason_is_a_loss)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_ABORT);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    bye(&b, 9, "data file ended early");
    answer(2, 9, PS_MSG_OK);
    expect_notice(1, PS_ERR_ABORTED,
                  "worker 1 of job x on host-a (pid 2) left: data file ended early");
    beat(&a, 200, 3);
    expect_error(1, 200, PS_ERR_ABORTED, "data file ended early");
}
END_TEST

START_TEST(lost_worker_leaves_an_expected_one_nothing_to_join)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_SHRINK);
    struct worker      a = join_as(1, 0, &spec), b;

    bye(&a, 9, "worker 1 did not come within 30 s");
    expect_word("x", "finished");
    b = join_as(2, 1, &spec);
    ck_assert_uint_ne(a.job, b.job);
}
END_TEST

START_TEST(nothing_to_watch_needs_no_tick)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w;

    ck_assert_uint_eq(psd_coordinator_next_tick(c), UINT64_MAX);
    w = join_as(1, 0, &spec);
    ck_assert_uint_lt(psd_coordinator_next_tick(c), UINT64_MAX);
    bye(&w, 2, "");
    ck_assert_uint_eq(psd_coordinator_next_tick(c), UINT64_MAX);
}
END_TEST

/* ---- observers ------------------------------------------------------------------- */

START_TEST(observer_is_announced_and_does_not_count)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec), o = observe(2, "lenet");

    ck_assert_uint_eq(o.rank, OBSERVER);
    ck_assert_uint_eq(told_state(1, OBSERVER), PS_MEMBER_ACTIVE);
    bye(&w, 5, "");
    expect_word("lenet", "finished");
    create(&w, 6, "late");
    expect_error(1, 6, PS_ERR_RANK, "has left");
    create(&o, 7, "fc1");
    expect_error(2, 7, PS_ERR_DENIED, "observer");
    bye(&o, 8, "");
    answer(2, 8, PS_MSG_OK);
    ck_assert_uint_eq(told_state(1, OBSERVER), 0);
    bye(&o, 8, "");
    answer(2, 8, PS_MSG_OK);
}
END_TEST

START_TEST(observer_reads_the_list_of_a_finished_job)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec), o;
    struct ps_header   list;

    create(&w, 4, "fc1");
    bye(&w, 5, "");
    o = observe(2, "lenet");
    list = from(&o, PS_MSG_LIST, 9);
    say(2, &list);
    ck_assert_uint_eq(answer(2, 9, PS_MSG_LIST_OK)->n_matrices, 1);
}
END_TEST

START_TEST(observer_of_an_unknown_job_is_refused)
{
    struct ps_header h = {
        .kind = PS_MSG_HELLO, .request = 1, .flags = PS_FLAG_OBSERVER, .name = "nothing"
    };

    say(2, &h);
    expect_error(2, 1, PS_ERR_UNKNOWN, "job nothing: not known here");
}
END_TEST

START_TEST(observers_are_bounded_and_expire)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec), first = observe(100, "lenet");
    struct ps_header   h = {
          .kind = PS_MSG_HELLO, .request = 1, .flags = PS_FLAG_OBSERVER, .name = "lenet"
    };

    for (unsigned i = 1; i < 64; i++)
        observe(100 + i, "lenet");
    h.pid = 999;
    say(999, &h);
    expect_error(999, 1, PS_ERR_LIMIT, "64 observers");
    wait_for(SILENCE - SECOND);
    beat(&w, 5, 0);
    wait_for(SECOND);
    ck_assert_uint_eq(told_state(1, OBSERVER), 0);
    ck_assert_uint_eq(told_state(1, 0), PS_MEMBER_ACTIVE);
    beat(&first, 6, 0);
    expect_error(100, 6, PS_ERR_DENIED, "wrong session for an observer");
    observe(999, "lenet");
}
END_TEST

static Suite *coordinator_members_suite(void)
{
    Suite *s = suite_create("coordinator_members");
    TCase *t = tcase(s, "going");

    tcase_add_test(t, job_is_finished_when_all_have_left_and_its_name_is_free);
    tcase_add_test(t, goodbye_is_answered_when_the_shards_know);
    tcase_add_test(t, rank_that_left_joins_the_running_job_again);
    tcase_add_test(t, one_that_joins_begins_at_the_clock_of_the_furthest_shard);
    tcase_add_test(t, shards_at_the_same_clock_are_told_once);
    tcase_add_test(t, one_that_is_lost_before_its_welcome_may_join_again);
    tcase_add_test(t, what_earlier_incarnations_moved_still_counts);
    tcase_add_test(t, quick_worker_that_left_does_not_end_the_job_for_the_one_expected);
    tcase_add_test(t, new_run_begins_when_a_rank_comes_again_to_an_empty_job);
    tcase_add_test(t, job_that_nobody_comes_to_ends);
    tcase_add_test(t, finished_jobs_are_kept_up_to_a_number);

    t = tcase(s, "silence");
    tcase_add_test(t, silent_worker_is_lost_and_the_others_go_on);
    tcase_add_test(t, silent_worker_is_waited_for_and_may_come_back);
    tcase_add_loop_test(t, lost_worker_joins_again_whatever_the_others_do, 0, 2);
    tcase_add_test(t, job_that_waits_for_its_lost_workers_is_not_over);
    tcase_add_test(t, silent_worker_aborts_the_job);
    tcase_add_test(t, sleep_of_the_coordinator_is_nobodys_silence);
    tcase_add_test(t, sleep_that_a_message_ends_is_nobodys_silence_either);
    tcase_add_test(t, time_without_anything_to_watch_is_no_sleep);
    tcase_add_test(t, goodbye_with_a_reason_is_a_loss);
    tcase_add_test(t, lost_worker_leaves_an_expected_one_nothing_to_join);
    tcase_add_test(t, nothing_to_watch_needs_no_tick);

    t = tcase(s, "observers");
    tcase_add_test(t, observer_is_announced_and_does_not_count);
    tcase_add_test(t, observer_reads_the_list_of_a_finished_job);
    tcase_add_test(t, observer_of_an_unknown_job_is_refused);
    tcase_add_test(t, observers_are_bounded_and_expire);

    return s;
}

TEST_MAIN(coordinator_members_suite)
