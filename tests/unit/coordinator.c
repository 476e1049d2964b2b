/* The coordinator: who comes, what matrices are made, who may ask. */
#include "tests/unit/three_shards.h"

/* ---- coming ---------------------------------------------------------------------- */

START_TEST(first_worker_creates_the_job_and_is_welcome)
{
    struct ps_job_spec      spec = spec_of("lenet", 2);
    const struct ps_header *h;

    hello(77, 5, 1, &spec);
    h = answer(77, 5, PS_MSG_WELCOME);
    ck_assert_uint_eq(h->job, 1);
    ck_assert_uint_eq(h->rank, 1);
    ck_assert_uint_eq(h->incarnation, 1);
    ck_assert_uint_ne(h->server_epoch, 0);
    ck_assert_uint_eq(h->n_endpoints, N_SHARDS);
    ck_assert_str_eq(h->endpoints[2], "tcp://127.0.0.1:6003");
    ck_assert_str_eq(h->job_spec->name, "lenet");

    h = told(2, PS_MSG_JOB);
    ck_assert_uint_eq(h->index, 2);
    ck_assert_uint_eq(h->n_shards, N_SHARDS);
    ck_assert_uint_eq(h->n_members, 2);
    ck_assert_uint_eq(h->members[0].state, PS_MEMBER_EXPECTED);
    ck_assert_uint_eq(h->members[0].session, 0);
    ck_assert_uint_eq(told_state(0, 0), PS_MEMBER_EXPECTED);
    ck_assert_uint_eq(told_state(0, 1), PS_MEMBER_ACTIVE);
    expect_word("lenet", "waiting");
}
END_TEST

START_TEST(welcome_waits_until_every_shard_has_said_ok)
{
    struct ps_job_spec spec = spec_of("lenet", 1);

    shard_mute[1] = true;
    hello(7, 1, 0, &spec);
    ck_assert_ptr_null(mail_to(7, 1));
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), 0); /* JOB comes first */
    shard_mute[1] = false;
    wait_for(SECOND);
    welcomed(7, 1);
}
END_TEST

START_TEST(workers_that_come_together_share_a_round)
{
    struct ps_job_spec spec = spec_of("lenet", 3);

    shard_mute[0] = true;
    for (unsigned r = 0; r < 3; r++)
        hello(10 + r, 1, r, &spec);
    shard_mute[0] = false;
    wait_for(2 * SECOND);
    for (unsigned r = 0; r < 3; r++)
        ck_assert_uint_eq(welcomed(10 + r, 1).rank, r);
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), N_SHARDS);
    expect_word("lenet", "running");
}
END_TEST

START_TEST(sessions_differ_and_are_never_zero)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    ck_assert_uint_ne(a.session, b.session);
}
END_TEST

START_TEST(large_job_is_told_in_pieces)
{
    struct ps_job_spec spec = spec_of("wide", 1200);

    shard_mute[0] = true;
    for (unsigned r = 0; r < 1200; r++)
        hello(1 + r, 1, r, &spec);
    shard_mute[0] = false;
    wait_for(3 * SECOND);
    for (unsigned r = 0; r < 1200; r++)
        ck_assert_uint_eq(welcomed(1 + r, 1).rank, r);
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), 3 * N_SHARDS);
}
END_TEST

START_TEST(other_settings_are_a_mismatch)
{
    struct ps_job_spec spec = spec_of("lenet", 2);

    join_as(1, 0, &spec);
    spec.optimiser.lr = 0.5;
    hello(2, 1, 1, &spec);
    expect_error(2, 1, PS_ERR_MISMATCH, "optimiser.lr");
}
END_TEST

START_TEST(other_worker_count_is_a_mismatch)
{
    struct ps_job_spec spec = spec_of("lenet", 2);

    join_as(1, 0, &spec);
    spec.workers = 4;
    hello(2, 1, 1, &spec);
    expect_error(2, 1, PS_ERR_MISMATCH, "2");
    expect_error(2, 1, PS_ERR_MISMATCH, "4");
}
END_TEST

START_TEST(rank_must_be_below_the_worker_count)
{
    struct ps_job_spec spec = spec_of("lenet", 2);

    hello(1, 1, 2, &spec);
    expect_error(1, 1, PS_ERR_RANK, "rank 2 of job lenet: expected 0 to 1");
}
END_TEST

START_TEST(rank_is_taken_once)
{
    struct ps_job_spec spec = spec_of("lenet", 2);

    join_as(77, 1, &spec);
    hello(78, 1, 1, &spec);
    expect_error(78, 1, PS_ERR_RANK,
                 "rank 1 of job lenet is taken by pid 77 on host-a");
}
END_TEST

START_TEST(same_hello_again_gets_the_same_welcome)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(77, 1, &spec), b;

    forget(mail, &n_mail);
    hello(77, 1, 1, &spec);
    b = welcomed(77, 1);
    ck_assert_uint_eq(a.session, b.session);
    ck_assert_uint_eq(a.incarnation, b.incarnation);
    hello(77, 2, 1, &spec); /* another call of the same process is another worker */
    expect_error(77, 2, PS_ERR_RANK, "taken");
}
END_TEST

START_TEST(shards_learn_the_run_and_the_life_of_a_job)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    struct worker           w = join_as(1, 0, &spec);
    const struct ps_header *h = told(1, PS_MSG_JOB);

    ck_assert_uint_ne(h->run, 0);
    ck_assert_uint_eq(h->after, 1);
    ck_assert_uint_eq(h->server_epoch, w.epoch);
    ck_assert_uint_eq(told(1, PS_MSG_MEMBERS)->server_epoch, w.epoch);
}
END_TEST

START_TEST(runs_and_epochs_of_jobs_differ)
{
    struct ps_job_spec a = spec_of("a", 1), b = spec_of("b", 1);
    struct worker      in_a = join_as(1, 0, &a), in_b;
    uint64_t           run = told(0, PS_MSG_JOB)->run;

    in_b = join_as(2, 0, &b);
    ck_assert_uint_ne(in_a.epoch, in_b.epoch);
    ck_assert_uint_ne(run, told(0, PS_MSG_JOB)->run);
}
END_TEST

START_TEST(beat_is_answered_with_the_epoch_of_the_job)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    beat(&w, 2, 5);
    ck_assert_uint_eq(answer(1, 2, PS_MSG_OK)->server_epoch, w.epoch);
    ck_assert_uint_eq(watch(9, 1, "lenet", 0)->clock, 5);
}
END_TEST

START_TEST(clock_of_another_life_does_not_count)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    beat(&w, 2, 5);
    w.epoch ^= 1;
    beat(&w, 3, 9);
    ck_assert_uint_eq(watch(9, 1, "lenet", 0)->clock, 5);
}
END_TEST

START_TEST(member_that_says_hello_again_stays_who_it_was)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(77, 1, &spec), b;

    hello_again(&a, 8, "lenet");
    b = welcomed(77, 8);
    ck_assert_uint_eq(a.session, b.session);
    ck_assert_uint_eq(a.incarnation, b.incarnation);
    ck_assert_uint_eq(b.rank, 1);
    a.session ^= 1;
    hello_again(&a, 9, "lenet");
    expect_error(77, 9, PS_ERR_DENIED, "wrong session");
    hello_again(&b, 10, "other");
    expect_error(77, 10, PS_ERR_UNKNOWN, "job other");
    bye(&b, 11, "");
    hello_again(&b, 12, "lenet");
    expect_error(77, 12, PS_ERR_RANK, "has left");
}
END_TEST

START_TEST(observer_that_says_hello_again_is_admitted_anew)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec), o = observe(2, "lenet"), again;

    hello_again(&o, 8, "lenet");
    again = welcomed(2, 8);
    ck_assert_uint_eq(again.job, w.job);
    ck_assert_uint_eq(again.rank, OBSERVER);
    o.job++;
    hello_again(&o, 9, "lenet");
    expect_error(2, 9, PS_ERR_UNKNOWN, "job lenet");
}
END_TEST

START_TEST(same_hello_while_pending_is_answered_once)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    size_t             n = 0;

    shard_mute[0] = true;
    hello(7, 1, 0, &spec);
    hello(7, 1, 0, &spec);
    shard_mute[0] = false;
    wait_for(2 * SECOND);
    for (size_t i = 0; i < n_mail; i++)
        n += read_head(&mail[i])->kind == PS_MSG_WELCOME;
    ck_assert_uint_eq(n, 1);
}
END_TEST

START_TEST(jobs_do_not_see_each_other)
{
    struct ps_job_spec a = spec_of("a", 1), b = spec_of("b", 1);
    struct worker      in_a = join_as(1, 0, &a), in_b = join_as(2, 0, &b);

    ck_assert_uint_ne(in_a.job, in_b.job);
    in_a.job = in_b.job;
    create(&in_a, 3, "w");
    expect_error(1, 3, PS_ERR_DENIED, "session");
}
END_TEST

START_TEST(jobs_are_bounded)
{
    char name[16];

    for (unsigned i = 0; i < 4; i++) {
        struct ps_job_spec spec;

        snprintf(name, sizeof(name), "job%u", i);
        spec = spec_of(name, 1);
        join_as(10 + i, 0, &spec);
    }
    {
        struct ps_job_spec one_more = spec_of("more", 1);

        hello(20, 1, 0, &one_more);
        expect_error(20, 1, PS_ERR_LIMIT, "4 jobs");
    }
}
END_TEST

/* ---- matrices -------------------------------------------------------------------- */

START_TEST(two_workers_create_a_matrix_once)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    shard_mute[2] = true;
    create(&a, 5, "fc1");
    create(&b, 6, "fc1");
    create(&b, 6, "fc1"); /* asked again */
    ck_assert_ptr_null(mail_to(1, 5));
    ck_assert_ptr_null(mail_to(2, 6));
    shard_mute[2] = false;
    wait_for(SECOND);
    ck_assert_uint_eq(answer(1, 5, PS_MSG_MATRIX_OK)->matrices[0].number, 1);
    ck_assert_uint_eq(answer(2, 6, PS_MSG_MATRIX_OK)->matrices[0].number, 1);
    ck_assert_uint_eq(count_told(PS_MSG_MATRIX_ADD), N_SHARDS + 1); /* one resend */
}
END_TEST

START_TEST(shards_and_workers_get_the_same_placement)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    struct worker           w = join_as(1, 0, &spec);
    struct ps_matrix_spec   large = matrix_spec("large", 1000, 1000);
    struct ps_slot_run      runs[PS_DENSE_SLOTS];
    const struct ps_header *h;
    uint32_t                n, shards = 0;

    ask_matrix(&w, 5, PS_FLAG_CREATE, &large);
    h = answer(1, 5, PS_MSG_MATRIX_OK);
    n = h->n_slot_runs;
    ck_assert_uint_ge(n, N_SHARDS);
    ck_assert_uint_le(n, PS_DENSE_SLOTS);
    memcpy(runs, h->slot_runs, n * sizeof(runs[0]));
    for (uint32_t i = 0; i < n; i++)
        shards |= 1u << runs[i].shard;
    ck_assert_uint_eq(shards, 7); /* all three own a part */
    for (uint16_t s = 0; s < N_SHARDS; s++) {
        h = told(s, PS_MSG_MATRIX_ADD);
        ck_assert_uint_eq(h->matrices[0].number, 1);
        ck_assert_uint_eq(h->n_slot_runs, n);
        ck_assert_mem_eq(h->slot_runs, runs, n * sizeof(runs[0]));
    }
}
END_TEST

START_TEST(small_matrices_go_to_different_shards)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);
    uint32_t           shards = 0;

    create(&w, 5, "a");
    create(&w, 6, "b");
    create(&w, 7, "c");
    for (uint64_t request = 5; request <= 7; request++)
        shards |= 1u << answer(1, request, PS_MSG_MATRIX_OK)->slot_runs[0].shard;
    ck_assert_uint_eq(shards, 7);
}
END_TEST

START_TEST(sparse_matrix_fits_a_header)
{
    struct ps_job_spec    spec = spec_of("lenet", 1);
    struct worker         w = join_as(1, 0, &spec);
    struct ps_matrix_spec sparse = matrix_spec("words", 0, 16);

    sparse.sparse = true;
    ask_matrix(&w, 5, PS_FLAG_CREATE, &sparse);
    ck_assert(answer(1, 5, PS_MSG_MATRIX_OK)->matrices[0].sparse);
}
END_TEST

START_TEST(other_shape_of_a_matrix_is_refused)
{
    struct ps_job_spec    spec = spec_of("lenet", 1);
    struct worker         w = join_as(1, 0, &spec);
    struct ps_matrix_spec other = matrix_spec("fc1", 64, 63);

    create(&w, 5, "fc1");
    ask_matrix(&w, 6, PS_FLAG_CREATE, &other);
    expect_error(1, 6, PS_ERR_SHAPE, "fc1");
    ask_matrix(&w, 7, 0, &other);
    expect_error(1, 7, PS_ERR_SHAPE, "fc1");
}
END_TEST

START_TEST(unknown_matrix_is_named)
{
    struct ps_job_spec    spec = spec_of("lenet", 1);
    struct worker         w = join_as(1, 0, &spec);
    struct ps_matrix_spec fc9 = matrix_spec("fc9", 1, 1);

    ask_matrix(&w, 5, 0, &fc9);
    expect_error(1, 5, PS_ERR_UNKNOWN, "matrix fc9: job lenet has no such matrix");
}
END_TEST

START_TEST(shard_that_refuses_undoes_the_creation)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    shard_refuses[1] = "matrix fc1: no memory for 4096 elements";
    create(&w, 5, "fc1");
    expect_error(1, 5, PS_ERR_NO_MEMORY, "shard 1: matrix fc1: no memory");
    shard_refuses[1] = NULL;
    create(&w, 6, "fc1");
    ck_assert_uint_eq(answer(1, 6, PS_MSG_MATRIX_OK)->matrices[0].number, 2);
    ck_assert_uint_eq(answer(1, 6, PS_MSG_MATRIX_OK)->slot_runs[0].shard, 0);
}
END_TEST

START_TEST(matrices_are_listed_in_byte_order_in_pieces)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);
    struct ps_header   list = from(&w, PS_MSG_LIST, 500);
    char               name[PS_NAME_BYTES];

    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "m%02u", (i * 7) % 40);
        create(&w, 100 + i, name);
    }
    say(1, &list);
    ck_assert_uint_eq(answer(1, 500, PS_MSG_LIST_OK)->n_matrices, 32);
    ck_assert_str_eq(answer(1, 500, PS_MSG_LIST_OK)->matrices[0].name, "m00");
    list.request = 501;
    list.name = "m31";
    say(1, &list);
    ck_assert_uint_eq(answer(1, 501, PS_MSG_LIST_OK)->n_matrices, 8);
    ck_assert_str_eq(answer(1, 501, PS_MSG_LIST_OK)->matrices[0].name, "m32");
}
END_TEST

/* ---- who may ask ----------------------------------------------------------------- */

START_TEST(token_is_asked_of_everyone_who_has_no_session)
{
    static const uint32_t    kinds[] = { PS_MSG_HELLO, PS_MSG_STATUS, PS_MSG_WATCH,
                                         PS_MSG_JOIN };
    static const char *const wrong[] = { "", "secre", "secrets", "Secret" };
    struct ps_job_spec       spec = spec_of("lenet", 1);
    const char *const        endpoint = "tcp://10.0.0.9:7001";
    struct ps_header         h = {
                .name = "lenet",
                .job_spec = &spec,
                .n_endpoints = 1,
                .endpoints = &endpoint,
    };
    json_t *status;

    stop();
    start_with(2, 4, "secret");
    for (unsigned k = 0; k < 4; k++)
        for (unsigned i = 0; i < 4; i++) {
            h.kind = kinds[k];
            h.session = kinds[k] == PS_MSG_JOIN ? 9 : 0;
            h.request = 10 * k + i + 1;
            h.token = wrong[i];
            say(1, &h);
            expect_error(1, h.request, PS_ERR_DENIED, "token");
        }
    h.kind = PS_MSG_HELLO;
    h.session = 0;
    h.request = 99;
    h.token = "secret";
    say(1, &h);
    answer(1, 99, PS_MSG_WELCOME);
    h.kind = PS_MSG_STATUS;
    h.request = 100;
    say(1, &h);
    status = json_loadb((const char *)mail_to(1, 100)->frames[0]->data,
                        mail_to(1, 100)->frames[0]->len, 0, NULL);
    ck_assert_int_eq(integer(status, "denied"), 16);
    json_decref(status);
}
END_TEST

START_TEST(wrong_session_is_denied)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    w.session ^= 1;
    beat(&w, 5, 0);
    expect_error(1, 5, PS_ERR_DENIED, "session");
    bye(&w, 6, "");
    expect_error(1, 6, PS_ERR_DENIED, "session");
    w.session = 0;
    w.rank = 0;
    beat(&w, 7, 0);
    expect_error(1, 7, PS_ERR_DENIED, "session");
    w.job = 12;
    beat(&w, 8, 0);
    expect_error(1, 8, PS_ERR_UNKNOWN, "job 12");
}
END_TEST

START_TEST(kinds_that_are_not_for_the_coordinator_are_refused)
{
    static const uint32_t kinds[] = { PS_MSG_JOB_END, PS_MSG_MEMBERS, PS_MSG_STATS,
                                      PS_MSG_PULL,    PS_MSG_PULL_OK, PS_MSG_JOIN_OK };
    struct ps_header      h = { .kind = PS_MSG_OK, .request = 3 };
    json_t               *status;

    for (unsigned i = 0; i < 6; i++) {
        struct ps_header other = { .kind = kinds[i], .request = 10 + i };

        say(1, &other);
        expect_error(1, 10 + i, PS_ERR_BAD_MESSAGE, ps_kind_name(kinds[i]));
    }
    say(1, &h);
    ck_assert_ptr_null(mail_to(1, 3)); /* an answer is never answered */
    status = ask_status(9, 50);
    ck_assert_int_eq(integer(status, "bad_messages"), 7);
    json_decref(status);
}
END_TEST

START_TEST(bad_settings_are_answered_with_the_reason)
{
    struct ps_job_spec spec = spec_of("lenet", 0);

    hello(1, 1, 0, &spec);
    expect_error(1, 1, PS_ERR_BAD_MESSAGE, "workers");
}
END_TEST

START_TEST(close_tells_every_worker)
{
    struct ps_job_spec a = spec_of("a", 1), b = spec_of("b", 1), late = spec_of("c", 1);
    struct worker      w = join_as(1, 0, &a);

    join_as(2, 0, &b);
    observe(3, "b");
    shard_mute[0] = true;
    hello(4, 1, 0, &late);
    psd_coordinator_close(c, "psd on host-0 is ending", &out);
    carry();
    for (unsigned peer = 1; peer <= 4; peer++)
        expect_notice(peer, PS_ERR_CLOSING, "psd on host-0 is ending");
    expect_error(4, 1, PS_ERR_CLOSING, "psd on host-0 is ending");
    beat(&w, 5, 0);
    expect_error(1, 5, PS_ERR_CLOSING, "psd on host-0 is ending");
    bye(&w, 6, "");
    answer(1, 6, PS_MSG_OK);
}
END_TEST

static Suite *coordinator_suite(void)
{
    Suite *s = suite_create("coordinator");
    TCase *t = tcase(s, "coming");

    tcase_add_test(t, first_worker_creates_the_job_and_is_welcome);
    tcase_add_test(t, welcome_waits_until_every_shard_has_said_ok);
    tcase_add_test(t, workers_that_come_together_share_a_round);
    tcase_add_test(t, sessions_differ_and_are_never_zero);
    tcase_add_test(t, large_job_is_told_in_pieces);
    tcase_add_test(t, other_settings_are_a_mismatch);
    tcase_add_test(t, other_worker_count_is_a_mismatch);
    tcase_add_test(t, rank_must_be_below_the_worker_count);
    tcase_add_test(t, rank_is_taken_once);
    tcase_add_test(t, same_hello_again_gets_the_same_welcome);
    tcase_add_test(t, shards_learn_the_run_and_the_life_of_a_job);
    tcase_add_test(t, runs_and_epochs_of_jobs_differ);
    tcase_add_test(t, beat_is_answered_with_the_epoch_of_the_job);
    tcase_add_test(t, clock_of_another_life_does_not_count);
    tcase_add_test(t, member_that_says_hello_again_stays_who_it_was);
    tcase_add_test(t, observer_that_says_hello_again_is_admitted_anew);
    tcase_add_test(t, same_hello_while_pending_is_answered_once);
    tcase_add_test(t, jobs_do_not_see_each_other);
    tcase_add_test(t, jobs_are_bounded);

    t = tcase(s, "matrices");
    tcase_add_test(t, two_workers_create_a_matrix_once);
    tcase_add_test(t, shards_and_workers_get_the_same_placement);
    tcase_add_test(t, small_matrices_go_to_different_shards);
    tcase_add_test(t, sparse_matrix_fits_a_header);
    tcase_add_test(t, other_shape_of_a_matrix_is_refused);
    tcase_add_test(t, unknown_matrix_is_named);
    tcase_add_test(t, shard_that_refuses_undoes_the_creation);
    tcase_add_test(t, matrices_are_listed_in_byte_order_in_pieces);

    t = tcase(s, "who may ask");
    tcase_add_test(t, token_is_asked_of_everyone_who_has_no_session);
    tcase_add_test(t, wrong_session_is_denied);
    tcase_add_test(t, kinds_that_are_not_for_the_coordinator_are_refused);
    tcase_add_test(t, bad_settings_are_answered_with_the_reason);
    tcase_add_test(t, close_tells_every_worker);

    return s;
}

TEST_MAIN(coordinator_suite)
