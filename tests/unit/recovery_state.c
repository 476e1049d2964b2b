/* What a job goes back to: the sets of its shards, and the state that the coordinator
 * is started again with. */
#include "tests/unit/two_psds.h"

/* ---- what is saved --------------------------------------------------------------- */

START_TEST(snapshot_before_the_last_whole_one_is_kept)
{
    bsp_job();
    for (uint64_t set = 10; set <= 20; set += 10) {
        ck_assert_uint_eq(count_told(PS_MSG_KEEP), 0);
        for (uint32_t i = 0; i < 4; i++)
            save(i, set);
    }
    for (uint32_t i = 0; i < 3; i++)
        save(i, 30);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 4);
    /* 30 is not whole yet, so 20 and 10 are the two */
    ck_assert_uint_eq(told(2, PS_MSG_KEEP)->sets[0].set, 10);
    save(3, 30);
    for (uint32_t i = 0; i < 4; i++) {
        const struct ps_part *part = &told(i, PS_MSG_KEEP)->sets[0];

        ck_assert_uint_eq(part->set, 20);
        ck_assert_uint_eq(part->index, i);
        ck_assert_uint_eq(part->n_shards, 4);
        ck_assert_uint_eq(part->life, 1);
    }
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 8);
}
END_TEST

START_TEST(asp_keeps_the_two_newest_parts_of_each_shard)
{
    struct ps_job_spec spec = saved_job(PS_ASP, 1);

    join_as(1, 0, &spec);
    save(2, 1);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 0);
    save(2, 2);
    save(2, 3);
    ck_assert_uint_eq(told(2, PS_MSG_KEEP)->sets[0].set, 2);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 2);
}
END_TEST

START_TEST(what_an_older_life_saves_does_not_count)
{
    uint64_t epoch;

    bsp_job();
    for (uint32_t i = 0; i < 4; i++)
        save(i, 10);
    epoch = fakes[0].epoch;
    whole_set(1, 10);
    psd_restarts(1);
    for (uint32_t i = 0; i < 4; i++)
        say_saved(i, epoch, 1, 20);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 0);
    for (uint32_t i = 0; i < 4; i++)
        save(i, 20);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 4);
    ck_assert_uint_eq(told(0, PS_MSG_KEEP)->sets[0].set, 10);
    ck_assert_uint_eq(told(0, PS_MSG_KEEP)->sets[0].life, 1);
}
END_TEST

/* ---- asked for ------------------------------------------------------------------- */

static uint64_t ask_checkpoint(unsigned peer)
{
    struct ps_header h = { .kind = PS_MSG_CHECKPOINT,
                           .request = fresh(),
                           .name = "lenet" };

    say(peer, &h);
    return h.request;
}

START_TEST(checkpoint_is_of_the_clock_of_the_furthest_shard)
{
    bsp_job();
    fakes[2].clock = 7;
    ck_assert_uint_eq(answer(60, ask_checkpoint(60), PS_MSG_OK)->clock, 7);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(told(i, PS_MSG_SNAPSHOT)->clock, 7);
}
END_TEST

START_TEST(checkpoint_catches_up_with_shards_that_go_on)
{
    bsp_job();
    fakes[1].clock = 7;
    fakes[1].hurry = 20;
    ck_assert_uint_eq(answer(60, ask_checkpoint(60), PS_MSG_OK)->clock, 47 + 64);
}
END_TEST

START_TEST(checkpoint_has_a_deadline)
{
    uint64_t first, second;

    bsp_job();
    kind_held = PS_MSG_SNAPSHOT;
    first = ask_checkpoint(60);
    wait_for(20 * SECOND);
    second = ask_checkpoint(61);
    ck_assert_ptr_null(mail_to(60, first));
    wait_for(11 * SECOND);
    ck_assert_int_eq(answer(60, first, PS_MSG_ERROR)->status, PS_ERR_TIMEOUT);
    ck_assert_int_eq(answer(61, second, PS_MSG_ERROR)->status, PS_ERR_TIMEOUT);
    expect_word("lenet", "finished"); /* its worker was silent, but no shard was lost */
}
END_TEST

START_TEST(checkpoint_is_refused_when_the_job_goes_back)
{
    uint64_t request;

    bsp_job();
    whole_set(1, 10);
    kind_held = PS_MSG_SNAPSHOT;
    request = ask_checkpoint(60);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    ck_assert_int_eq(answer(60, request, PS_MSG_ERROR)->status, PS_ERR_ROLLBACK);
    ck_assert_int_eq(answer(60, ask_checkpoint(60), PS_MSG_ERROR)->status,
                     PS_ERR_ROLLBACK);
}
END_TEST

/* ---- a worker that comes again --------------------------------------------------- */

static struct worker lost_worker(uint32_t on_loss, struct ps_job_spec *spec)
{
    struct worker    stays, lost;
    struct ps_header h;

    *spec = saved_job(PS_BSP, 2);
    spec->on_loss = on_loss;
    stays = join_as(1, 0, spec);
    lost = join_as(2, 1, spec);
    whole_set(1, 10);
    for (uint32_t i = 0; i < 4; i++)
        fakes[i].clock = 12;
    h = from(&lost, PS_MSG_BYE, fresh());
    h.text = "signal 9";
    say(2, &h);
    return stays;
}

START_TEST(worker_lost_between_shards_sends_the_job_back)
{
    struct ps_job_spec spec;
    struct worker      stays = lost_worker(PS_LOSS_WAIT, &spec);
    uint64_t           request;

    fakes[2].clock = 13; /* it had finished the iteration on this one only */
    request = hello(3, fresh(), 1, &spec);
    ck_assert_uint_eq(welcomed(3, request).incarnation, 2);
    expect_back_at(1, 10);
    ck_assert_int_eq(answer(1, 0, PS_MSG_NOTICE)->status, PS_ERR_ROLLBACK);
    ck_assert_uint_eq(answer(3, request, PS_MSG_WELCOME)->clock, 10);
    welcomed(1, resume(&stays));
}
END_TEST

START_TEST(worker_lost_between_iterations_sends_nobody_back)
{
    struct ps_job_spec spec;

    lost_worker(PS_LOSS_WAIT, &spec);
    join_as(3, 1, &spec);
    ck_assert_uint_eq(fakes[0].life, 1);
}
END_TEST

START_TEST(worker_that_nobody_waits_for_sends_nobody_back)
{
    struct ps_job_spec spec;

    lost_worker(PS_LOSS_SHRINK, &spec);
    fakes[2].clock = 13;
    join_as(3, 1, &spec);
    ck_assert_uint_eq(fakes[0].life, 1);
}
END_TEST

/* ---- a coordinator that is started again ----------------------------------------- */

START_TEST(job_outlives_its_coordinator)
{
    struct worker w = bsp_job(), again;

    whole_set(1, 10);
    whole_set(1, 20);
    coordinator_restarts();
    expect_back_at(1, 20);
    again = welcomed(1, resume(&w));
    ck_assert_uint_eq(again.session, w.session);
    ck_assert_uint_eq(again.incarnation, w.incarnation);
    ck_assert_uint_ne(again.epoch, w.epoch);
    answer(1, create(&w, "fc1"), PS_MSG_MATRIX_OK);
    ck_assert_uint_eq(fakes[2].n_matrices, 1);
    ck_assert_uint_eq(fakes[0].index, 0);
}
END_TEST

START_TEST(psd_that_had_joined_notices_nothing)
{
    bsp_job();
    coordinator_restarts();
    psd_beats(1);
    answer(1001, 7, PS_MSG_OK);
}
END_TEST

START_TEST(lives_are_never_used_twice)
{
    struct ps_buf *old;
    uint64_t       life, epoch;

    bsp_job();
    whole_set(1, 10);
    old = ps_buf_share(state);
    psd_restarts(1); /* a life that was never written */
    life = fakes[3].life;
    epoch = fakes[3].epoch;
    ps_buf_drop(&state);
    state = old;
    psds[1].control--; /* which is what the old state has */
    coordinator_restarts();
    ck_assert_uint_gt(fakes[3].life, life);
    ck_assert_uint_ne(fakes[3].epoch, epoch);
}
END_TEST

START_TEST(coordinator_may_be_started_again_on_its_way)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    coordinator_restarts();
    expect_word("lenet", "recovering");
    coordinator_restarts();
    kind_held = 0;
    wait_for(2 * SECOND);
    expect_back_at(1, 10);
    welcomed(1, resume(&w));
}
END_TEST

START_TEST(coordinator_may_be_started_again_any_number_of_times)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    for (unsigned i = 0; i < 300; i++)
        coordinator_restarts();
    expect_back_at(1, 10);
    welcomed(1, resume(&w));
}
END_TEST

START_TEST(hello_that_was_under_way_is_answered_when_it_is_repeated)
{
    struct ps_job_spec spec = saved_job(PS_BSP, 2);
    uint64_t           request;
    struct worker      w;

    join_as(1, 0, &spec);
    kind_held = PS_MSG_MEMBERS;
    request = hello(2, fresh(), 1, &spec);
    ck_assert_ptr_null(mail_to(2, request));
    coordinator_restarts();
    kind_held = 0;
    wait_for(2 * SECOND);
    hello(2, request, 1, &spec);
    w = welcomed(2, request);
    ck_assert_uint_eq(w.incarnation, 1); /* the same, not another start of the rank */
}
END_TEST

START_TEST(job_without_snapshots_fails_with_its_coordinator)
{
    struct ps_job_spec spec = saved_job(PS_BSP, 1);
    struct worker      w;

    spec.snapshot_every = 0;
    w = join_as(1, 0, &spec);
    coordinator_restarts();
    expect_word("lenet", "failed");
    ck_assert_int_eq(answer(1, resume(&w), PS_MSG_ERROR)->status, PS_ERR_UNAVAILABLE);
}
END_TEST

START_TEST(workers_that_stay_away_are_lost_by_silence)
{
    bsp_job();
    whole_set(1, 10);
    coordinator_restarts();
    wait_for(SILENCE - 2 * SECOND);
    expect_word("lenet", "running");
    wait_for(4 * SECOND);
    expect_word("lenet", "finished");
}
END_TEST

START_TEST(beats_are_no_reason_to_write)
{
    struct worker w = bsp_job();
    unsigned      before = n_states;

    for (uint64_t clock = 1; clock <= 50; clock++)
        beat(&w, fresh(), clock);
    wait_for(5 * SECOND);
    expect_word("lenet", "running");
    ck_assert_uint_eq(n_states, before);
    create(&w, "fc2");
    ck_assert_uint_gt(n_states, before);
}
END_TEST

START_TEST(state_that_could_not_be_kept_is_given_again)
{
    struct ps_buf *again;

    bsp_job();
    psd_coordinator_unsaved(c);
    ck_assert_ok(psd_coordinator_save(c, &again));
    ck_assert_ptr_nonnull(again);
    ck_assert_uint_eq(again->len, state->len);
    ps_buf_drop(&again);
    ck_assert_ok(psd_coordinator_save(c, &again));
    ck_assert_ptr_null(again);
}
END_TEST

START_TEST(report_numbers_go_on_behind_all_that_were_given)
{
    struct worker           w = bsp_job();
    struct ps_report_record record = { .name = "loss", .clock = 3, .value = 0.5 };
    struct ps_header        h = from(&w, PS_MSG_REPORT, fresh());
    struct ps_header        watch = { .kind = PS_MSG_WATCH, .name = "lenet" };

    h.seq = 1;
    h.n_reports = 1;
    h.reports = &record;
    say(1, &h);
    if (_i == 1)
        create(&w, "fc2"); /* so that the state is written */
    coordinator_restarts();
    h.request = fresh();
    h.seq = 2;
    say(1, &h);
    watch.request = fresh();
    watch.after = 1;
    say(900, &watch);
    ck_assert_uint_eq(answer(900, watch.request, PS_MSG_WATCH_OK)->n_reports, 1);
    ck_assert_uint_gt(answer(900, watch.request, PS_MSG_WATCH_OK)->reports[0].number,
                      1);
}
END_TEST

/* What a coordinator says after a restart, but for numbers that are new each time. */
static size_t digest_of_talk(uint8_t *into, size_t room)
{
    size_t at = 0;

    for (size_t i = 0; i < n_sent; i++) {
        struct ps_header h = *read_head(&sent[i]);
        struct ps_member members[8];
        struct ps_buf   *head;

        h.request = h.server_epoch = h.session = h.after = h.membership_epoch = 1;
        for (uint32_t k = 0; k < h.n_members && k < 8; k++)
            members[k] = h.members[k];
        h.members = members;
        ck_assert_ok(ps_wire_encode(&h, &head));
        ck_assert_uint_le(at + head->len + 1, room);
        into[at++] = (uint8_t)sent[i].route.index;
        memcpy(into + at, head->data, head->len);
        at += head->len;
        ps_buf_drop(&head);
    }
    return at;
}

START_TEST(what_a_restored_coordinator_saves_restores_the_same)
{
    static uint8_t     first[1 << 16], second[1 << 16];
    size_t             n_first, n_second;
    struct ps_job_spec spec = saved_job(PS_BSP, 3);
    struct worker      w = join_as(1, 0, &spec), b = join_as(2, 1, &spec);
    struct ps_header   bye = from(&b, PS_MSG_BYE, fresh());
    uint64_t           session = w.session;

    create(&w, "fc1");
    create(&w, "conv");
    bye.text = "signal 11";
    say(2, &bye);
    join_as(3, 1, &spec);
    whole_set(1, 10);
    forget(sent, &n_sent);
    coordinator_restarts();
    n_first = digest_of_talk(first, sizeof(first));
    forget(sent, &n_sent);
    coordinator_restarts(); /* of what the restored one has saved */
    n_second = digest_of_talk(second, sizeof(second));
    ck_assert_uint_eq(n_first, n_second);
    ck_assert(!memcmp(first, second, n_first));
    ck_assert_uint_eq(told(1, PS_MSG_MEMBERS)->members[0].session, session);
    ck_assert_uint_eq(told(1, PS_MSG_MEMBERS)->members[1].incarnation, 2);
    ck_assert_uint_eq(told(1, PS_MSG_MEMBERS)->members[2].state, PS_MEMBER_EXPECTED);
}
END_TEST

static void expect_refused(const void *bytes, size_t n)
{
    ck_assert_status(psd_coordinator_restore(c, now, bytes, n), PS_ERR_DATA);
    ck_assert_uint_eq(psd_coordinator_n_shards(c), 0);
}

START_TEST(every_damage_of_the_state_is_refused)
{
    uint8_t *bytes;
    size_t   n;

    bsp_job();
    whole_set(1, 10);
    n = state->len;
    bytes = malloc(n);
    memcpy(bytes, state->data, n);
    psd_coordinator_free(&c);
    new_coordinator();
    for (size_t i = 0; i < n; i++)
        expect_refused(bytes, i);
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= (uint8_t)(1u << i % 8);
        expect_refused(bytes, n);
        bytes[i] ^= (uint8_t)(1u << i % 8);
    }
    ck_assert_ok(psd_coordinator_restore(c, now, bytes, n));
    free(bytes);
}
END_TEST

static Suite *recovery_state_suite(void)
{
    Suite *s = suite_create("recovery_state");
    TCase *t = tcase(s, "what is saved");

    tcase_add_test(t, snapshot_before_the_last_whole_one_is_kept);
    tcase_add_test(t, asp_keeps_the_two_newest_parts_of_each_shard);
    tcase_add_test(t, what_an_older_life_saves_does_not_count);

    t = tcase(s, "asked for");
    tcase_add_test(t, checkpoint_is_of_the_clock_of_the_furthest_shard);
    tcase_add_test(t, checkpoint_catches_up_with_shards_that_go_on);
    tcase_add_test(t, checkpoint_has_a_deadline);
    tcase_add_test(t, checkpoint_is_refused_when_the_job_goes_back);

    t = tcase(s, "a worker that comes again");
    tcase_add_test(t, worker_lost_between_shards_sends_the_job_back);
    tcase_add_test(t, worker_lost_between_iterations_sends_nobody_back);
    tcase_add_test(t, worker_that_nobody_waits_for_sends_nobody_back);

    t = tcase(s, "a coordinator that is started again");
    tcase_add_test(t, job_outlives_its_coordinator);
    tcase_add_test(t, psd_that_had_joined_notices_nothing);
    tcase_add_test(t, lives_are_never_used_twice);
    tcase_add_test(t, coordinator_may_be_started_again_on_its_way);
    tcase_add_test(t, coordinator_may_be_started_again_any_number_of_times);
    tcase_add_test(t, hello_that_was_under_way_is_answered_when_it_is_repeated);
    tcase_add_test(t, job_without_snapshots_fails_with_its_coordinator);
    tcase_add_test(t, workers_that_stay_away_are_lost_by_silence);
    tcase_add_test(t, beats_are_no_reason_to_write);
    tcase_add_test(t, state_that_could_not_be_kept_is_given_again);
    tcase_add_loop_test(t, report_numbers_go_on_behind_all_that_were_given, 0, 2);
    tcase_add_test(t, what_a_restored_coordinator_saves_restores_the_same);
    tcase_add_test(t, every_damage_of_the_state_is_refused);
    return s;
}

TEST_MAIN(recovery_state_suite)
