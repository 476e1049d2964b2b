/* A job goes back to its snapshots when psds are lost. */
#include "tests/unit/two_psds.h"

/* ---- going back ------------------------------------------------------------------ */

START_TEST(all_shards_go_back_to_the_newest_whole_snapshot)
{
    struct worker w = bsp_job(), again;

    whole_set(1, 10);
    whole_set(1, 20);
    psd_restarts(1);
    expect_back_at(1, 20);
    ck_assert_uint_eq(fakes[0].life, 2);
    ck_assert_uint_ne(fakes[0].epoch, w.epoch);
    ck_assert_uint_eq(fakes[3].n_matrices, 1);
    again = welcomed(1, resume(&w));
    ck_assert_uint_eq(again.epoch, fakes[0].epoch);
    ck_assert_uint_eq(again.session, w.session);
    ck_assert_uint_eq(again.incarnation, w.incarnation);
}
END_TEST

START_TEST(shards_learn_of_a_new_life_in_order)
{
    bsp_job();
    whole_set(1, 10);
    forget(sent, &n_sent);
    psd_restarts(1);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_lt(place(i, PS_MSG_SETS), place(i, PS_MSG_JOB));
        ck_assert_uint_lt(place(i, PS_MSG_JOB), place(i, PS_MSG_MATRIX_ADD));
        for (uint32_t k = 0; k < 4; k++) {
            ck_assert_uint_lt(place(k, PS_MSG_MATRIX_ADD), place(i, PS_MSG_LOAD));
            ck_assert_uint_lt(place(k, PS_MSG_LOAD), place(i, PS_MSG_MEMBERS));
        }
    }
    ck_assert_uint_eq(told(2, PS_MSG_SETS)->run, fakes[2].run);
    ck_assert_str_eq(told(2, PS_MSG_SETS)->name, "lenet");
    ck_assert_uint_eq(told(2, PS_MSG_MEMBERS)->members[0].clock, 0);
}
END_TEST

START_TEST(workers_are_told_at_once)
{
    struct worker           w = bsp_job();
    const struct ps_header *h;

    psd_ends(1);
    h = answer(1, 0, PS_MSG_NOTICE);
    ck_assert_int_eq(h->status, PS_ERR_ROLLBACK);
    ck_assert_uint_ne(h->server_epoch, w.epoch);
    expect_word("lenet", "recovering");
    ck_assert_uint_ne(answer(1, beat(&w, fresh(), 33), PS_MSG_OK)->server_epoch,
                      w.epoch);
}
END_TEST

START_TEST(set_that_a_shard_lacks_is_no_snapshot)
{
    bsp_job();
    whole_set(1, 10);
    for (uint32_t i = 0; i < 3; i++)
        put_on_disk(i / EACH, i, 4, 1, 20);
    psd_restarts(1);
    expect_back_at(1, 10);
    ck_assert_uint_eq(fakes[0].life, 2); /* nobody has tried to read it */
}
END_TEST

START_TEST(parts_of_several_lives_are_no_snapshot)
{
    bsp_job();
    whole_set(1, 10);
    for (uint32_t i = 0; i < 4; i++)
        put_on_disk(i / EACH, i, 4, 1 + i % 2, 20);
    psd_restarts(1);
    expect_back_at(1, 10);
    ck_assert_uint_eq(fakes[0].life, 2); /* nobody has tried to read it */
}
END_TEST

START_TEST(later_life_is_newer_whatever_the_set)
{
    bsp_job();
    whole_set(1, 90);
    whole_set(2, 40);
    psd_restarts(1);
    expect_back_at(2, 40);
}
END_TEST

START_TEST(damaged_snapshot_is_followed_by_the_one_before)
{
    uint64_t life;

    bsp_job();
    whole_set(1, 10);
    whole_set(1, 20);
    whole_set(1, 30);
    damage(1, 30);
    damage(0, 20);
    psd_restarts(1);
    expect_back_at(1, 10);
    life = fakes[0].life;
    ck_assert_uint_eq(life, 4); /* each attempt is one */
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(fakes[i].life, life);
}
END_TEST

static void expect_anew(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_gt(fakes[i].life, 1);
        ck_assert_uint_eq(fakes[i].n_loads, 1);
        ck_assert_uint_eq(fakes[i].n_loaded, 0);
    }
    expect_word("lenet", "running");
}

START_TEST(job_without_snapshots_begins_anew)
{
    struct worker w = bsp_job();

    psd_restarts(1);
    expect_anew();
    welcomed(1, resume(&w));
}
END_TEST

START_TEST(job_whose_snapshots_are_all_damaged_begins_anew)
{
    bsp_job();
    whole_set(1, 10);
    whole_set(1, 20);
    damage(1, 10);
    damage(1, 20);
    psd_restarts(1);
    expect_anew();
}
END_TEST

START_TEST(asp_goes_back_to_the_newest_part_of_each_shard)
{
    struct ps_job_spec spec = saved_job(PS_ASP, 1);

    join_as(1, 0, &spec);
    whole_set(1, 3);
    put_on_disk(0, 0, 4, 1, 5);
    put_on_disk(1, 3, 4, 1, 4);
    psd_restarts(1);
    ck_assert_uint_eq(fakes[0].loaded[0].set, 5);
    ck_assert_uint_eq(fakes[1].loaded[0].set, 3);
    ck_assert_uint_eq(fakes[2].loaded[0].set, 3);
    ck_assert_uint_eq(fakes[3].loaded[0].set, 4);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(fakes[i].loaded[0].index, fakes[i].index);
}
END_TEST

START_TEST(asp_leaves_only_the_damaged_part_behind)
{
    struct ps_job_spec spec = saved_job(PS_ASP, 1);

    join_as(1, 0, &spec);
    whole_set(1, 3);
    put_on_disk(0, 0, 4, 1, 5);
    put_on_disk(1, 3, 4, 1, 4);
    damage(1, 4);
    psd_restarts(1);
    ck_assert_uint_eq(fakes[0].loaded[0].set, 5);
    ck_assert_uint_eq(fakes[3].loaded[0].set, 3);
}
END_TEST

START_TEST(shard_reads_the_part_that_its_psd_has)
{
    bsp_job();
    for (uint32_t i = 0; i < 4; i++) /* the other way round */
        put_on_disk(1 - i / EACH, i, 4, 1, 10);
    psd_restarts(1);
    expect_back_at(1, 10);
    ck_assert_uint_ge(fakes[0].index, EACH);
}
END_TEST

START_TEST(job_that_is_not_saved_fails)
{
    struct ps_job_spec spec = saved_job(PS_BSP, 1);

    spec.snapshot_every = 0;
    join_as(1, 0, &spec);
    psd_restarts(1);
    expect_word("lenet", "failed");
    ck_assert_int_eq(answer(1, 0, PS_MSG_NOTICE)->status, PS_ERR_UNAVAILABLE);
}
END_TEST

/* ---- on the way ------------------------------------------------------------------ */

START_TEST(members_are_welcome_only_when_the_shards_know_them)
{
    struct worker      w = bsp_job();
    uint64_t           request, matrix, newcomer;
    struct ps_job_spec spec = saved_job(PS_BSP, 1);

    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    request = resume(&w);
    matrix = create(&w, "fc1");
    newcomer = hello(44, fresh(), 0, &spec);
    ck_assert_int_eq(answer(44, newcomer, PS_MSG_ERROR)->status, PS_ERR_RANK);
    wait_for(SECOND / 2);
    ck_assert_ptr_null(mail_to(1, matrix));
    ck_assert_ptr_null(mail_to(1, request));
    kind_held = PS_MSG_MEMBERS;
    wait_for(2 * SECOND);
    ck_assert_uint_eq(fakes[0].n_loaded, 1);
    ck_assert_ptr_null(mail_to(1, request));
    kind_held = 0;
    wait_for(2 * SECOND);
    welcomed(1, request);
    answer(1, matrix, PS_MSG_MATRIX_OK);
}
END_TEST

START_TEST(matrix_under_way_is_created_in_the_new_life)
{
    struct worker w = bsp_job();
    uint64_t      request;

    kind_held = PS_MSG_MATRIX_ADD;
    request = create(&w, "fc2");
    kind_held = 0;
    psd_restarts(1);
    answer(1, request, PS_MSG_MATRIX_OK);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(fakes[i].n_matrices, 2);
}
END_TEST

START_TEST(shard_lost_on_the_way_begins_it_again)
{
    struct worker w = bsp_job();
    uint64_t      life;

    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    life = fakes[0].life;
    kind_held = 0;
    psd_restarts(1); /* once more, in the middle of reading */
    expect_back_at(1, 10);
    ck_assert_uint_gt(fakes[0].life, life);
    ck_assert_uint_eq(fakes[0].life, fakes[3].life);
    welcomed(1, resume(&w));
}
END_TEST

START_TEST(answers_of_an_older_life_are_ignored)
{
    struct ps_parcel old[KEPT];
    size_t           n_old = 0;

    bsp_job();
    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    for (size_t i = 0; i < n_sent; i++)
        if (read_head(&sent[i])->kind == PS_MSG_LOAD)
            ps_parcel_share(&old[n_old++], &sent[i]);
    ck_assert_uint_eq(n_old, 4);
    psd_restarts(1);
    for (size_t i = 0; i < n_old; i++) {
        struct ps_header h = { .kind = PS_MSG_ERROR,
                               .request = read_head(&old[i])->request,
                               .status = PS_ERR_NO_MEMORY,
                               .text = "of the old life" };

        shard_says(old[i].route.index, &h);
        ps_parcel_drop(&old[i]);
    }
    expect_word("lenet", "recovering");
    kind_held = 0;
    wait_for(2 * SECOND);
    expect_back_at(1, 10);
}
END_TEST

START_TEST(shard_that_answers_nothing_while_it_reads_is_not_lost)
{
    bsp_job();
    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    wait_for(10 * SHARD_TIMEOUT);
    expect_word("lenet", "recovering");
    kind_held = 0;
    wait_for(2 * SECOND);
    expect_back_at(1, 10);
}
END_TEST

START_TEST(silence_of_workers_counts_from_the_end)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    wait_for(2 * SILENCE);
    kind_held = 0;
    wait_for(2 * SECOND);
    expect_word("lenet", "running");
    welcomed(1, resume(&w));
    wait_for(SILENCE + SECOND);
    expect_word("lenet", "finished");
}
END_TEST

START_TEST(job_that_all_leave_on_the_way_is_over_at_its_end)
{
    struct worker    w = bsp_job();
    struct ps_header h = from(&w, PS_MSG_BYE, fresh());

    h.text = "signal 15";
    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    say(1, &h);
    kind_held = 0;
    wait_for(2 * SECOND);
    answer(1, h.request, PS_MSG_OK);
    expect_word("lenet", "finished");
}
END_TEST

START_TEST(who_is_through_goes_when_what_it_did_is_on_disk)
{
    struct worker    w = bsp_job();
    struct ps_header h = from(&w, PS_MSG_BYE, fresh());

    kind_held = PS_MSG_SNAPSHOT;
    say(1, &h);
    wait_for(2 * SECOND);
    expect_word("lenet", "running");
    kind_held = 0;
    wait_for(2 * SECOND);
    answer(1, h.request, PS_MSG_OK);
    expect_word("lenet", "finished");
}
END_TEST

START_TEST(who_is_through_does_not_wait_for_ever_for_a_disk)
{
    struct worker    w = bsp_job();
    struct ps_header h = from(&w, PS_MSG_BYE, fresh());

    kind_held = PS_MSG_SNAPSHOT;
    say(1, &h);
    wait_for(11 * SECOND);
    answer(1, h.request, PS_MSG_OK);
    expect_word("lenet", "finished");
}
END_TEST

START_TEST(goodbye_of_one_that_does_not_know_of_the_rollback_is_refused)
{
    struct worker    w = bsp_job();
    struct ps_header h = from(&w, PS_MSG_BYE, fresh());

    whole_set(1, 10);
    psd_restarts(1);
    say(1, &h);
    ck_assert_int_eq(answer(1, h.request, PS_MSG_ERROR)->status, PS_ERR_ROLLBACK);
    welcomed(1, resume(&w));
    expect_word("lenet", "running");
}
END_TEST

START_TEST(psd_may_be_started_again_any_number_of_times)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    for (unsigned i = 0; i < 300; i++)
        psd_restarts(1);
    expect_back_at(1, 10);
    welcomed(1, resume(&w));
}
END_TEST

/* ---- who is not there ------------------------------------------------------------ */

/* Psds 0 and 1 share their folder. */
static void shared_sets(uint64_t life, uint64_t set)
{
    for (uint32_t psd = 0; psd < 2; psd++)
        for (uint32_t i = 0; i < 4; i++)
            put_on_disk(psd, i, 4, life, set);
}

START_TEST(fewer_shards_go_on_after_a_while_and_read_all_parts)
{
    struct worker           w = bsp_job();
    uint64_t                map_epoch;
    const struct ps_header *h;

    map_epoch = told(0, PS_MSG_MATRIX_ADD)->map_epoch;
    shared_sets(1, 10);
    psd_ends(1);
    wait_for(RECOVERY_WAIT - 2 * SECOND);
    expect_word("lenet", "recovering");
    wait_for(3 * SECOND);
    expect_word("lenet", "running");
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(fakes[i].n_shards, 2);
        ck_assert_uint_eq(fakes[i].index, i);
        ck_assert_uint_eq(fakes[i].n_loaded, 4);
        for (uint32_t k = 0; k < 4; k++)
            ck_assert_uint_eq(fakes[i].loaded[k].index, k);
    }
    h = told(0, PS_MSG_MATRIX_ADD);
    ck_assert_uint_eq(h->map_epoch, map_epoch + 1);
    for (uint32_t i = 0; i < h->n_slot_runs; i++)
        ck_assert_uint_lt(h->slot_runs[i].shard, 2);
    ck_assert_uint_eq(told(1, PS_MSG_SNAPSHOT)->clock, 10); /* of the new layout */
    ck_assert_uint_eq(answer(1, resume(&w), PS_MSG_WELCOME)->n_endpoints, 2);
}
END_TEST

START_TEST(spare_shards_do_not_stand_in_for_a_disk_that_is_away)
{
    bsp_job();
    whole_set(1, 10);
    for (uint32_t i = 0; i < 4; i++)
        save(i, 10);
    psd_ends(1);
    psd_joins(2); /* as many shards as before, and nothing on its disk */
    wait_for(2 * RECOVERY_WAIT);
    expect_word("lenet", "recovering");
    psd_joins(1);
    expect_back_at(1, 10);
}
END_TEST

START_TEST(job_fails_when_its_snapshots_stay_away)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    for (uint32_t i = 0; i < 4; i++)
        save(i, 10);
    psd_ends(1);
    wait_for(9 * RECOVERY_WAIT);
    expect_word("lenet", "recovering");
    wait_for(2 * RECOVERY_WAIT);
    expect_word("lenet", "failed");
    ck_assert_ptr_nonnull(strstr(answer(1, resume(&w), PS_MSG_ERROR)->text, "host-1"));
}
END_TEST

START_TEST(psd_that_was_only_silent_goes_back_too)
{
    bsp_job();
    whole_set(1, 10);
    psds[1].there = false;
    wait_for(4 * SHARD_TIMEOUT);
    expect_word("lenet", "recovering");
    psds[1].there = true;
    wait_for(3 * SECOND);
    expect_back_at(1, 10);
    ck_assert_uint_eq(fakes[3].life, 2);
}
END_TEST

static Suite *recovery_suite(void)
{
    Suite *s = suite_create("recovery");
    TCase *t = tcase(s, "going back");

    tcase_add_test(t, all_shards_go_back_to_the_newest_whole_snapshot);
    tcase_add_test(t, shards_learn_of_a_new_life_in_order);
    tcase_add_test(t, workers_are_told_at_once);
    tcase_add_test(t, set_that_a_shard_lacks_is_no_snapshot);
    tcase_add_test(t, parts_of_several_lives_are_no_snapshot);
    tcase_add_test(t, later_life_is_newer_whatever_the_set);
    tcase_add_test(t, damaged_snapshot_is_followed_by_the_one_before);
    tcase_add_test(t, job_without_snapshots_begins_anew);
    tcase_add_test(t, job_whose_snapshots_are_all_damaged_begins_anew);
    tcase_add_test(t, asp_goes_back_to_the_newest_part_of_each_shard);
    tcase_add_test(t, asp_leaves_only_the_damaged_part_behind);
    tcase_add_test(t, shard_reads_the_part_that_its_psd_has);
    tcase_add_test(t, job_that_is_not_saved_fails);

    t = tcase(s, "on the way");
    tcase_add_test(t, members_are_welcome_only_when_the_shards_know_them);
    tcase_add_test(t, matrix_under_way_is_created_in_the_new_life);
    tcase_add_test(t, shard_lost_on_the_way_begins_it_again);
    tcase_add_test(t, answers_of_an_older_life_are_ignored);
    tcase_add_test(t, shard_that_answers_nothing_while_it_reads_is_not_lost);
    tcase_add_test(t, silence_of_workers_counts_from_the_end);
    tcase_add_test(t, job_that_all_leave_on_the_way_is_over_at_its_end);
    tcase_add_test(t, goodbye_of_one_that_does_not_know_of_the_rollback_is_refused);
    tcase_add_test(t, who_is_through_goes_when_what_it_did_is_on_disk);
    tcase_add_test(t, who_is_through_does_not_wait_for_ever_for_a_disk);
    tcase_add_test(t, psd_may_be_started_again_any_number_of_times);

    t = tcase(s, "who is not there");
    tcase_add_test(t, fewer_shards_go_on_after_a_while_and_read_all_parts);
    tcase_add_test(t, spare_shards_do_not_stand_in_for_a_disk_that_is_away);
    tcase_add_test(t, job_fails_when_its_snapshots_stay_away);
    tcase_add_test(t, psd_that_was_only_silent_goes_back_too);
    return s;
}

TEST_MAIN(recovery_suite)
