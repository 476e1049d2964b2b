/* The coordinator and its shards, what it tells of them, and damaged messages. */
#include "common/base/random.h"
#include "tests/unit/three_shards.h"

/* ---- shards ---------------------------------------------------------------------- */

START_TEST(silent_shard_is_asked_again_with_the_same_bytes)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    const struct ps_parcel *first = NULL, *second = NULL;

    shard_mute[1] = true;
    hello(1, 1, 0, &spec);
    wait_for(SECOND);
    for (size_t i = 0; i < n_sent; i++)
        if (sent[i].route.index == 1) {
            second = first ? &sent[i] : NULL;
            first = first ? first : &sent[i];
        }
    ck_assert_ptr_nonnull(second);
    ck_assert_uint_eq(first->head->len, second->head->len);
    ck_assert_mem_eq(first->head->data, second->head->data, first->head->len);
    ck_assert_uint_eq(n_sent, N_SHARDS + 1); /* the others were not bothered */
}
END_TEST

START_TEST(answers_that_come_twice_count_once)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct ps_header   ok = { .kind = PS_MSG_OK };

    shard_mute[0] = shard_mute[1] = shard_mute[2] = true;
    hello(1, 1, 0, &spec);
    ok.request = told(0, PS_MSG_JOB)->request;
    for (unsigned i = 0; i < N_SHARDS; i++)
        shard_says(0, &ok);
    carry();
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), 0);
}
END_TEST

START_TEST(shard_lost_in_a_creation_fails_the_hello_and_nothing_stays)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w;

    shard_mute[1] = true;
    hello(1, 1, 0, &spec);
    wait_for(SHARD_TIMEOUT);
    expect_error(1, 1, PS_ERR_UNAVAILABLE,
                 "shard 1 at tcp://127.0.0.1:6002 has not answered for 5 s");
    w = join_as(2, 0, &spec); /* on the two that are left */
    ck_assert_uint_eq(answer(2, 1, PS_MSG_WELCOME)->n_endpoints, 2);
    ck_assert_str_eq(answer(2, 1, PS_MSG_WELCOME)->endpoints[1],
                     "tcp://127.0.0.1:6003");
    ck_assert_uint_eq(told(2, PS_MSG_JOB)->index, 1);
    create(&w, 5, "fc1");
    answer(2, 5, PS_MSG_MATRIX_OK);
}
END_TEST

START_TEST(lost_shard_fails_its_jobs)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    shard_mute[2] = true;
    create(&a, 5, "fc1");
    for (unsigned s = 0; s < 5; s++) {
        wait_for(SECOND);
        beat(&a, 100, 0);
        beat(&b, 100, 0);
    }
    expect_error(1, 5, PS_ERR_UNAVAILABLE, "shard 2 at tcp://127.0.0.1:6003");
    expect_notice(1, PS_ERR_UNAVAILABLE, "shard 2");
    expect_notice(2, PS_ERR_UNAVAILABLE, "shard 2");
    expect_word("lenet", "failed");
    ck_assert_uint_eq(told_state(0, 0), PS_MEMBER_LOST);
    create(&b, 6, "fc2");
    expect_error(2, 6, PS_ERR_UNAVAILABLE, "shard 2");
}
END_TEST

START_TEST(lost_shard_does_not_keep_a_job_that_is_dropped)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w;

    stop();
    start_with(0, 4, "");
    kind_mute = PS_MSG_JOB_END;
    w = join_as(1, 0, &spec);
    bye(&w, 2, "");
    answer(1, 2, PS_MSG_OK);
    ck_assert_uint_lt(psd_coordinator_next_tick(c), UINT64_MAX);
    wait_for(SHARD_TIMEOUT);
    ck_assert_uint_eq(psd_coordinator_next_tick(c), UINT64_MAX);
    ck_assert_uint_eq(count_told(PS_MSG_JOB_END), N_SHARDS + 4); /* 4 resends */
}
END_TEST

START_TEST(shard_that_is_heard_again_serves_new_jobs)
{
    struct ps_job_spec spec = spec_of("lenet", 1), other = spec_of("other", 1);
    struct ps_header   ok = { .kind = PS_MSG_OK };

    shard_mute[1] = true;
    hello(1, 1, 0, &spec);
    wait_for(SHARD_TIMEOUT);
    ok.request = told(1, PS_MSG_JOB)->request;
    shard_mute[1] = false;
    shard_says(1, &ok);
    join_as(2, 0, &other);
    ck_assert_uint_eq(answer(2, 1, PS_MSG_WELCOME)->n_endpoints, 3);
}
END_TEST

START_TEST(psd_joins_once_and_new_jobs_use_its_shards)
{
    struct ps_job_spec before = spec_of("before", 1), after = spec_of("after", 1);

    join_as(1, 0, &before);
    join_psd(1, CONTROL, "tcp://10.0.0.9:7001"); /* control as of the fake shards */
    ck_assert_uint_eq(answer(50, 1, PS_MSG_JOIN_OK)->index, N_SHARDS);
    join_psd(2, CONTROL, "tcp://10.0.0.9:7001");
    ck_assert_uint_eq(answer(50, 2, PS_MSG_JOIN_OK)->index, N_SHARDS);
    ck_assert_uint_eq(psd_coordinator_n_shards(c), N_SHARDS + 1);
    ck_assert_str_eq(psd_coordinator_shard_endpoint(c, N_SHARDS),
                     "tcp://10.0.0.9:7001");
    join_as(2, 0, &after);
    ck_assert_uint_eq(answer(2, 1, PS_MSG_WELCOME)->n_endpoints, N_SHARDS + 1);
    ck_assert_uint_eq(told(N_SHARDS, PS_MSG_JOB)->index, N_SHARDS);
}
END_TEST

START_TEST(silent_psd_loses_its_shards)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct ps_header   still = { .kind = PS_MSG_BEAT, .session = CONTROL };
    struct worker      w;

    join_psd(1, CONTROL, "tcp://10.0.0.9:7001");
    w = join_as(1, 0, &spec);
    for (unsigned s = 0; s < 20; s++) {
        wait_for(SECOND);
        still.request = 100 + s;
        say(50, &still);
        beat(&w, 100 + s, 0);
        answer(50, 100 + s, PS_MSG_OK);
    }
    expect_word("lenet", "running");
    for (unsigned s = 0; s < 15; s++) {
        beat(&w, 200 + s, 0);
        wait_for(SECOND);
    }
    expect_notice(1, PS_ERR_UNAVAILABLE,
                  "its psd on host-9 (pid 99) was silent for 15 s");
    expect_word("lenet", "failed");
}
END_TEST

START_TEST(sleep_of_the_coordinator_loses_neither_psds_nor_shards)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct ps_header   still = { .kind = PS_MSG_BEAT, .session = CONTROL };

    join_psd(1, CONTROL, "tcp://10.0.0.9:7001");
    shard_mute[1] = true;
    hello(1, 1, 0, &spec); /* an answer of shard 1 is owed */
    sleep_for(100 * SHARD_TIMEOUT);
    wait_for(SECOND);
    shard_mute[1] = false;
    wait_for(SECOND); /* it is asked again */
    ck_assert_uint_eq(answer(1, 1, PS_MSG_WELCOME)->n_endpoints, N_SHARDS + 1);
    still.request = 100;
    say(50, &still);
    answer(50, 100, PS_MSG_OK);
    expect_word("lenet", "running");
}
END_TEST

START_TEST(psd_that_parts_loses_its_shards_at_once)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct ps_header   part = { .kind = PS_MSG_PART, .session = CONTROL, .request = 3 };
    struct ps_header still = { .kind = PS_MSG_BEAT, .session = CONTROL, .request = 4 };

    join_psd(1, CONTROL, "tcp://10.0.0.9:7001");
    join_as(1, 0, &spec);
    say(50, &part);
    answer(50, 3, PS_MSG_OK);
    expect_notice(1, PS_ERR_UNAVAILABLE, "its psd on host-9 (pid 99) has ended");
    say(50, &still);
    expect_error(50, 4, PS_ERR_UNKNOWN, "has not joined");
}
END_TEST

START_TEST(psd_started_again_replaces_the_one_before)
{
    struct ps_job_spec spec = spec_of("lenet", 1);

    join_psd(1, 0xd0, "tcp://10.0.0.9:7001");
    join_psd(2, CONTROL, "tcp://10.0.0.9:7001");
    ck_assert_uint_eq(answer(50, 2, PS_MSG_JOIN_OK)->index, N_SHARDS);
    join_as(1, 0, &spec);
    ck_assert_uint_eq(answer(1, 1, PS_MSG_WELCOME)->n_endpoints, N_SHARDS + 1);
    ck_assert_uint_eq(told(N_SHARDS, PS_MSG_JOB)->index, N_SHARDS);
}
END_TEST

START_TEST(cluster_without_shards_says_so)
{
    struct ps_job_spec             spec = spec_of("lenet", 1);
    struct psd_coordinator_options options = {
        .worker_silence_ns = SILENCE,
        .shard_timeout_ns = SHARD_TIMEOUT,
        .max_jobs = 1,
        .token = "",
        .endpoint = "",
    };

    psd_coordinator_free(&c);
    ck_assert_ok(psd_coordinator_new(&c, &options));
    hello(1, 1, 0, &spec);
    expect_error(1, 1, PS_ERR_UNAVAILABLE,
                 "job lenet: no psd with shards has joined the "
                 "coordinator yet");
}
END_TEST

/* ---- reports, status ------------------------------------------------------------- */

START_TEST(reports_are_numbered_and_taken_once)
{
    struct ps_job_spec      spec = spec_of("lenet", 2);
    struct worker           w;
    const struct ps_header *h;

    join_as(1, 0, &spec);
    w = join_as(2, 1, &spec);
    now += 2 * SECOND;
    report(&w, 5, 1, 2, 0.5);
    report(&w, 6, 1, 2, 0.5); /* sent again */
    answer(2, 6, PS_MSG_OK);
    report(&w, 7, 2, 1, 0.25);
    h = watch(9, 50, "lenet", 0);
    ck_assert_uint_eq(h->n_reports, 3);
    ck_assert_uint_eq(h->reports[0].number, 1);
    ck_assert_uint_eq(h->reports[0].rank, 1);
    ck_assert_uint_eq(h->reports[0].time_us, 2000000);
    ck_assert_str_eq(h->reports[0].name, "loss");
    ck_assert_double_eq(h->reports[1].value, 1.5);
    ck_assert_uint_eq(h->reports[2].clock, 2);
    ck_assert_uint_eq(h->traffic->samples, 128);
    ck_assert_uint_eq(h->n_members, 2);
    ck_assert_uint_eq(h->members[1].session, 0); /* a secret, and watching needs none */
    h = watch(9, 51, "lenet", 2);
    ck_assert_uint_eq(h->n_reports, 1);
    ck_assert_uint_eq(h->reports[0].number, 3);
    ck_assert_uint_eq(watch(9, 52, "lenet", 3)->n_reports, 0);
    ck_assert_uint_eq(watch(9, 53, "lenet", 99)->n_reports, 0);
}
END_TEST

START_TEST(an_observer_may_report)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    struct worker           w = join_as(1, 0, &spec), o = observe(2, "lenet");
    const struct ps_header *h;

    report(&o, 5, 1, 1, 0.5);
    answer(2, 5, PS_MSG_OK);
    report(&o, 6, 1, 1, 0.5); /* sent again */
    answer(2, 6, PS_MSG_OK);
    h = watch(9, 50, "lenet", 0);
    ck_assert_uint_eq(h->n_reports, 1);
    ck_assert_uint_eq(h->reports[0].rank, OBSERVER);
    ck_assert_uint_eq(h->traffic->samples, 0); /* only workers' count */
    bye(&w, 7, "");
    report(&o, 8, 2, 1, 0.75); /* a last word after the end */
    answer(2, 8, PS_MSG_OK);
}
END_TEST

START_TEST(oldest_reports_make_way)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    struct worker           w = join_as(1, 0, &spec);
    const struct ps_header *h;
    uint64_t                n = 65536 / 64 + 3;

    for (uint64_t seq = 1; seq <= n; seq++)
        report(&w, 1000 + seq, seq, 64, (double)(seq * 64));
    h = watch(9, 50, "lenet", 0);
    ck_assert_uint_eq(h->n_reports, 64);
    ck_assert_uint_eq(h->reports[0].number, 3 * 64 + 1);
    ck_assert_double_eq(h->reports[0].value, 4 * 64);
    h = watch(9, 51, "lenet", n * 64 - 1);
    ck_assert_uint_eq(h->n_reports, 1);
    ck_assert_double_eq(h->reports[0].value, (double)(n * 64 + 63));
}
END_TEST

START_TEST(watch_fits_a_header_at_its_largest)
{
    struct ps_job_spec      spec = spec_of("wide", 200);
    struct ps_report_record records[PS_REPORTS_MAX];
    struct worker           w = join_as(1, 0, &spec);
    struct ps_header        h = from(&w, PS_MSG_REPORT, 5);

    for (unsigned r = 1; r < 200; r++)
        hello(1 + r, 1, r, &spec);
    for (uint32_t i = 0; i < PS_REPORTS_MAX; i++) {
        records[i] = (struct ps_report_record){ .clock = UINT64_MAX, .value = -0.1 };
        memset(records[i].name, 'a' + (int)i % 26, PS_NAME_BYTES - 1);
    }
    h.seq = 1;
    h.n_reports = PS_REPORTS_MAX;
    h.reports = records;
    say(1, &h);
    answer(1, 5, PS_MSG_OK);
    ck_assert_uint_eq(watch(9, 50, "wide", 0)->n_reports, PS_REPORTS_MAX);
}
END_TEST

START_TEST(status_shows_the_cluster)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      w = join_as(77, 1, &spec);
    json_t            *status, *one;

    create(&w, 5, "fc1");
    beat(&w, 6, 12);
    wait_for(4 * SECOND);
    status = ask_status(9, 50);
    ck_assert_int_eq(integer(status, "schema_version"), 1);
    ck_assert_str_eq(string(status, "endpoint"), "tcp://127.0.0.1:5570");
    ck_assert_str_eq(string(status, "server_epoch"), "abcdef0123456789");
    ck_assert_int_eq(integer(status, "uptime_seconds"), 4);
    ck_assert_int_eq(integer(status, "bad_messages"), 0);
    ck_assert_int_eq(integer(status, "denied"), 0);

    one = json_array_get(json_object_get(status, "servers"), 0);
    ck_assert_str_eq(string(one, "host"), "host-0");
    ck_assert_int_eq(integer(one, "pid"), 4711);
    ck_assert_str_eq(string(one, "state"), "up");
    ck_assert_uint_eq(json_array_size(json_object_get(one, "shards")), N_SHARDS);

    ck_assert_uint_eq(json_array_size(json_object_get(status, "shards")), N_SHARDS);
    one = json_array_get(json_object_get(status, "shards"), 2);
    ck_assert_int_eq(integer(one, "shard"), 2);
    ck_assert_int_eq(integer(one, "jobs"), 1);
    ck_assert_int_eq(integer(one, "parameter_bytes"), 100);
    ck_assert_int_eq(integer(one, "pushes"), 7);
    ck_assert_int_eq(integer(one, "waiting"), 1);
    ck_assert_int_eq(integer(one, "denied"), 3);
    ck_assert_int_eq(integer(one, "bad_messages"), 4);

    one = json_array_get(json_object_get(status, "jobs"), 0);
    ck_assert_str_eq(string(one, "job"), "lenet");
    ck_assert_str_eq(string(one, "state"), "waiting");
    ck_assert_str_eq(string(one, "strategy"), "bsp");
    ck_assert_int_eq(integer(one, "workers"), 2);
    ck_assert_int_eq(integer(one, "active"), 1);
    ck_assert_int_eq(integer(one, "clock"), 12);
    ck_assert_int_eq(integer(one, "matrices"), 1);
    ck_assert_int_eq(integer(one, "elements"), 4096);
    ck_assert_int_eq(integer(one, "parameter_bytes"), 300);
    ck_assert_int_eq(integer(one, "age_seconds"), 4);

    one = json_array_get(json_object_get(one, "members"), 1);
    ck_assert_str_eq(string(one, "state"), "active");
    ck_assert_str_eq(string(one, "host"), "host-a");
    ck_assert_int_eq(integer(one, "pid"), 77);
    ck_assert_int_eq(integer(one, "silent_seconds"), 4);
    ck_assert_int_eq(integer(one, "incarnation"), 1);
    json_decref(status);
}
END_TEST

START_TEST(status_tells_what_a_matrix_takes_when_all_shards_do)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      w = join_as(77, 1, &spec);
    json_t            *status, *list, *one;

    create(&w, 5, "fc1");
    status = ask_status(9, 50);
    one = json_array_get(json_object_get(status, "jobs"), 0);
    ck_assert_int_eq(integer(one, "parameter_bytes"), 300); /* of the job, once */
    list = json_object_get(one, "matrix_accounts");
    ck_assert_uint_eq(json_array_size(list), 1);
    one = json_array_get(list, 0);
    ck_assert_str_eq(string(one, "matrix"), "fc1");
    ck_assert_str_eq(string(one, "kind"), "dense");
    ck_assert_str_eq(string(one, "dtype"), "f32");
    ck_assert_int_eq(integer(one, "rows") * integer(one, "cols"), 4096);
    ck_assert_int_eq(integer(one, "parameter_bytes"), 120);
    ck_assert_int_eq(integer(one, "state_bytes"), 240);
    json_decref(status);

    n_telling = N_SHARDS - 1;
    status = ask_status(9, 51);
    one = json_array_get(json_object_get(status, "jobs"), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(one, "matrix_accounts")), 0);
    json_decref(status);
}
END_TEST

START_TEST(status_of_many_workers_is_cut_into_frames)
{
    json_t *status;

    for (unsigned i = 0; i < 3; i++) {
        char               name[16];
        struct ps_job_spec spec;

        snprintf(name, sizeof(name), "wide%u", i);
        spec = spec_of(name, PS_WORKERS_MAX);
        join_as(1 + i, 0, &spec);
    }
    status = ask_status(9, 50);
    ck_assert_uint_gt(mail_to(9, 50)->n_frames, 1);
    ck_assert_uint_eq(json_array_size(json_object_get(status, "jobs")), 3);
    json_decref(status);
}
END_TEST

START_TEST(status_does_without_a_shard_that_is_silent)
{
    struct ps_header h = { .kind = PS_MSG_STATUS, .request = 50 };
    json_t          *status;

    shard_mute[1] = true;
    say(9, &h);
    say(9, &h);
    wait_for(SHARD_TIMEOUT);
    answer(9, 50, PS_MSG_STATUS_OK);
    status = ask_status(9, 51);
    ck_assert_str_eq(
        string(json_array_get(json_object_get(status, "shards"), 1), "state"), "lost");
    json_decref(status);
}
END_TEST

/* ---- damage ---------------------------------------------------------------------- */

/* A bit of everything; both jobs and an observer are left running. */
static void converse(void)
{
    struct ps_job_spec a = spec_of("a", 2), b = spec_of("b", 1);
    struct worker      a0 = join_as(1, 0, &a), a1 = join_as(2, 1, &a), b0, o;
    struct ps_header   list = from(&a0, PS_MSG_LIST, 20);

    join_psd(1, CONTROL, "tcp://10.0.0.9:7001");
    b0 = join_as(3, 0, &b);
    o = observe(4, "b");
    create(&a0, 5, "fc1");
    create(&a1, 5, "fc1");
    create(&b0, 5, "fc2");
    report(&a0, 6, 1, 3, 0.5);
    beat(&b0, 7, 4);
    beat(&o, 7, 0);
    say(1, &list);
    watch(9, 50, "a", 0);
    json_decref(ask_status(9, 51));
    bye(&a1, 8, "out of data");
}

static void tape_a_talk(void)
{
    taping = true;
    converse();
    taping = false;
    ck_assert_uint_ge(n_tape, 16); /* what peers say in it, at least */
}

static void replay(size_t i, const uint8_t *bytes, size_t n)
{
    struct ps_parcel p = { .route = tape[i].route };

    ck_assert_ok(ps_buf_copy(&p.head, bytes, n));
    psd_coordinator_handle(c, now, &p, &out);
    carry();
}

START_TEST(every_truncation_is_survived)
{
    tape_a_talk();
    damaging = true;
    for (size_t i = 0; i < n_tape; i++)
        for (size_t n = 0; n <= tape[i].head->len; n++)
            replay(i, tape[i].head->data, n);
    wait_for(2 * SECOND);
    json_decref(ask_status(9, 60));
}
END_TEST

/* Up to four bytes changed, some moved away or put in. */
static size_t damage(uint64_t k, uint8_t *bytes, size_t n)
{
    for (uint64_t i = 0; i < 1 + k % 4 && n > 0; i++) {
        uint64_t r = ps_random_u64(7, i, k);
        size_t   at = (size_t)(r >> 16) % n;

        if (r % 8 == 0) {
            memmove(bytes + at, bytes + at + 1, n - at - 1);
            n--;
        } else if (r % 8 == 1) {
            memmove(bytes + at + 1, bytes + at, n - at);
            n++;
        } else {
            bytes[at] ^= (uint8_t)(r >> 8 | 1);
        }
    }
    return n;
}

START_TEST(damaged_messages_are_survived)
{
    uint8_t bytes[PS_HEADER_BYTES + 8];

    tape_a_talk();
    damaging = true;
    for (uint64_t k = 0; k < 20000; k++) {
        size_t i = (size_t)ps_random_below(3, 0, k, n_tape);
        size_t n = tape[i].head->len;

        memcpy(bytes, tape[i].head->data, n);
        replay(i, bytes, damage(k, bytes, n));
        if (k % 100 == 0)
            wait_for(SECOND);
    }
    json_decref(ask_status(9, 60));
}
END_TEST

static Suite *coordinator_shards_suite(void)
{
    Suite *s = suite_create("coordinator_shards");
    TCase *t = tcase(s, "shards");

    tcase_add_test(t, silent_shard_is_asked_again_with_the_same_bytes);
    tcase_add_test(t, answers_that_come_twice_count_once);
    tcase_add_test(t, shard_lost_in_a_creation_fails_the_hello_and_nothing_stays);
    tcase_add_test(t, lost_shard_fails_its_jobs);
    tcase_add_test(t, lost_shard_does_not_keep_a_job_that_is_dropped);
    tcase_add_test(t, shard_that_is_heard_again_serves_new_jobs);
    tcase_add_test(t, psd_joins_once_and_new_jobs_use_its_shards);
    tcase_add_test(t, silent_psd_loses_its_shards);
    tcase_add_test(t, sleep_of_the_coordinator_loses_neither_psds_nor_shards);
    tcase_add_test(t, psd_that_parts_loses_its_shards_at_once);
    tcase_add_test(t, psd_started_again_replaces_the_one_before);
    tcase_add_test(t, cluster_without_shards_says_so);

    t = tcase(s, "reports and status");
    tcase_add_test(t, reports_are_numbered_and_taken_once);
    tcase_add_test(t, an_observer_may_report);
    tcase_add_test(t, oldest_reports_make_way);
    tcase_add_test(t, watch_fits_a_header_at_its_largest);
    tcase_add_test(t, status_shows_the_cluster);
    tcase_add_test(t, status_tells_what_a_matrix_takes_when_all_shards_do);
    tcase_add_test(t, status_of_many_workers_is_cut_into_frames);
    tcase_add_test(t, status_does_without_a_shard_that_is_silent);

    t = tcase(s, "damage");
    tcase_add_test(t, every_truncation_is_survived);
    tcase_add_test(t, damaged_messages_are_survived);

    return s;
}

TEST_MAIN(coordinator_shards_suite)
