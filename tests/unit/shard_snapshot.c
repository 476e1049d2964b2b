/*
 * Snapshots of a shard: when they are taken, what is in them, who is told, and what
 * waits for them.
 */
#include "tests/unit/shards.h"

static float before[N], after[N];

static struct ps_job_spec durable_job(uint32_t strategy, uint32_t n_workers)
{
    struct ps_job_spec spec = spec_of(strategy, n_workers);

    spec.ack = PS_ACK_DURABLE;
    return spec;
}

/* What the image says of the dense matrix, as far as it lies on that shard. */
static void assert_image_is(const struct psd_image *image, const float *model)
{
    const struct psd_captured_matrix *m = &image->model->matrices[0];

    for (size_t i = 0; i < m->n_chunks; i++)
        ck_assert_mem_eq(m->chunks[i].value->data, model + m->chunks[i].first,
                         m->chunks[i].value->len);
}

/* ---- when ---------------------------------------------------------------------- */

START_TEST(every_kth_clock_is_saved_on_all_shards)
{
    struct ps_part part = { 0 };

    start(2, saved_job(PS_BSP, 2, 3));
    train(1, 2);
    ck_assert_uint_eq(n_images, 0);
    train(3, 3);
    ck_assert_uint_eq(n_images, 2);
    ck_assert_uint_eq(unasked(PS_MSG_SAVED, &part).clock, 3);
    ck_assert(part.set == 3 && part.life == 1 && part.index == 1 && part.n_shards == 2);
    train(4, 6);
    ck_assert_uint_eq(n_images, 4);
    ck_assert_uint_eq(images[3]->set, 6);
    ck_assert_uint_eq(images[3]->clock, 6);
    ck_assert_uint_eq(images[3]->index, 1);
    ck_assert_uint_eq(account(0).saved, 6);
    ck_assert_uint_eq(account(0).save_failures, 0);
}
END_TEST

START_TEST(an_image_is_the_model_of_its_clock_while_training_goes_on)
{
    start(1, saved_job(PS_BSP, 2, 2));
    disk = HOLDS;
    train(1, 2);
    read_model(before);
    train(3, 5);
    assert_image_is(under_way[0].image, before);
    read_model(after);
    ck_assert_mem_ne(before, after, sizeof(before));
}
END_TEST

START_TEST(what_nobody_saves_is_no_errand)
{
    start(1, spec_of(PS_BSP, 1));
    train(1, 20);
    ck_assert_uint_eq(n_errands[PSD_SAVE], 0);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), UINT64_MAX);
}
END_TEST

START_TEST(asynchronous_shards_count_updates_and_their_sets)
{
    start(1, saved_job(PS_ASP, 2, 5));
    train(1, 2); /* four updates */
    ck_assert_uint_eq(n_images, 0);
    push(0, 3);
    ck_assert_uint_eq(n_images, 1);
    ck_assert_uint_eq(images[0]->set, 1);
    ck_assert_uint_eq(images[0]->version, 5);
    push(1, 3);
    train(4, 5);
    ck_assert_uint_eq(n_images, 2);
    ck_assert_uint_eq(images[1]->set, 2);
    ck_assert_uint_eq(images[1]->version, 10);
}
END_TEST

START_TEST(asynchronous_shards_save_after_some_time_what_is_new)
{
    struct ps_job_spec spec = spec_of(PS_SSP, 1);

    spec.snapshot_ms = 1000;
    start(1, spec);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), UINT64_MAX);
    push(0, 1);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), 1000 * UINT64_C(1000000));
    now = 999 * UINT64_C(1000000);
    psd_shard_tick(shards[0], now, &out);
    errands(0);
    ck_assert_uint_eq(n_images, 0);
    now = 1000 * UINT64_C(1000000);
    psd_shard_tick(shards[0], now, &out);
    errands(0);
    ck_assert_uint_eq(n_images, 1);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), UINT64_MAX);
    now = 5000 * UINT64_C(1000000);
    psd_shard_tick(shards[0], now, &out);
    errands(0);
    ck_assert_uint_eq(n_images, 1);
}
END_TEST

/* The disk is slower than the clock, on every shard in its own way. */
START_TEST(one_capture_waits_at_most_and_slow_disks_save_common_clocks)
{
    start(1, saved_job(PS_BSP, 1, 2));
    disk = HOLDS;
    train(1, 2);
    ck_assert_uint_eq(under_way[0].image->set, 2);
    train(3, 14); /* 4, 6, 8, 10, 12 and 14 are captured meanwhile */
    ck_assert_uint_eq(n_errands[PSD_SAVE], 1);
    write_out(0, PS_OK);
    ck_assert_uint_eq(under_way[0].image->set, 8); /* 4 times 2 */
    train(15, 15);
    write_out(0, PS_OK);
    ck_assert(!under_way[0].there);
    train(16, 16);
    ck_assert_uint_eq(under_way[0].image->set, 16);
}
END_TEST

START_TEST(where_shards_save_for_themselves_the_newest_capture_waits)
{
    start(1, saved_job(PS_ASP, 1, 2));
    disk = HOLDS;
    train(1, 9);
    write_out(0, PS_OK);
    ck_assert_uint_eq(under_way[0].image->version, 8);
    ck_assert_uint_eq(under_way[0].image->set, 4);
}
END_TEST

START_TEST(a_failure_is_counted_and_training_goes_on)
{
    start(1, saved_job(PS_BSP, 1, 1));
    disk = FAILS;
    train(1, 3);
    ck_assert_uint_eq(account(0).clock, 3);
    ck_assert_uint_eq(account(0).save_failures, 3);
    ck_assert_uint_eq(account(0).saved, 0);
    ck_assert_uint_eq(unasked(PS_MSG_SAVED, NULL).kind, 0);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), UINT64_MAX);
    disk = WRITES;
    train(4, 4);
    ck_assert_uint_eq(account(0).saved, 4);
}
END_TEST

START_TEST(a_job_is_refused_where_nothing_can_be_saved)
{
    struct psd_shard_options o = { .control = CONTROL, .backend = &psd_backend_cpu };

    n_shards = 1;
    job = saved_job(PS_BSP, 1, 1);
    ck_assert_ok(psd_shard_new(&shards[0], &o));
    life = 1;
    expect_error(command(0, job_order(0)), PS_ERR_CONFIG);
    job = durable_job(PS_BSP, 1);
    expect_error(command(0, job_order(0)), PS_ERR_CONFIG);
    job = spec_of(PS_BSP, 1);
    expect(command(0, job_order(0)), PS_MSG_OK);
    expect_error(command(0, order(PS_MSG_SNAPSHOT)), PS_ERR_CONFIG);
}
END_TEST

static const uint32_t all_left[WORKERS] = { 3, 3, 3, 3 };

START_TEST(when_all_have_left_what_is_new_is_saved_once_more)
{
    start(1, saved_job(PS_BSP, 2, 10));
    train(1, 4);
    ck_assert_uint_eq(n_images, 0);
    tell_members(all_left);
    ck_assert_uint_eq(n_images, 1);
    ck_assert_uint_eq(images[0]->set, 4);
    tell_members(all_left);
    ck_assert_uint_eq(n_images, 1);
}
END_TEST

START_TEST(the_last_capture_outlives_the_job)
{
    struct ps_header h;

    start(1, saved_job(PS_BSP, 1, 2));
    disk = HOLDS;
    train(1, 3);
    tell_members(all_left); /* waits behind 2 */
    h = order(PS_MSG_JOB_END);
    h.after = life;
    disk = WRITES;
    under_way[0].there = false; /* whose answer will not be heard */
    psd_image_free(&under_way[0].image);
    command(0, h);
    ck_assert_uint_eq(n_errands[PSD_SAVE], 2);
    ck_assert_uint_eq(last_errand.kind, PSD_SAVE);
    ck_assert_uint_eq(images[0]->set, 3);
}
END_TEST

/* ---- who asks ------------------------------------------------------------------ */

static uint64_t ask(uint64_t clock)
{
    struct ps_header h = order(PS_MSG_SNAPSHOT);

    h.clock = clock;
    return command(0, h);
}

START_TEST(a_snapshot_that_is_asked_for_is_taken_at_its_clock)
{
    uint64_t request;

    start(1, spec_of(PS_BSP, 2)); /* also of a job that is not saved otherwise */
    train(1, 1);
    request = ask(3);
    train(2, 2);
    ck_assert(!is_answered(request));
    disk = HOLDS;
    train(3, 4);
    ck_assert_uint_eq(under_way[0].image->set, 3);
    ck_assert(!is_answered(request));
    write_out(0, PS_OK);
    ck_assert_uint_eq(expect(request, PS_MSG_OK), 3);
}
END_TEST

/* Half of the next iteration is here; none of it is in the snapshot. */
START_TEST(a_snapshot_of_now_is_the_state_at_the_last_close)
{
    uint64_t first, second;

    start(1, spec_of(PS_BSP, 2));
    train(1, 2);
    read_model(before);
    push(0, 3);
    disk = HOLDS;
    first = ask(2);
    second = ask(2); /* two may want the same */
    assert_image_is(under_way[0].image, before);
    write_out(0, PS_OK);
    expect(first, PS_MSG_OK);
    expect(second, PS_MSG_OK);
    disk = WRITES;
    expect(ask(2), PS_MSG_OK); /* it is on disk */
    ck_assert_uint_eq(n_errands[PSD_SAVE], 1);
}
END_TEST

START_TEST(a_snapshot_of_the_past_is_refused_with_the_clock)
{
    uint64_t request;

    start(1, spec_of(PS_BSP, 1));
    expect(ask(0), PS_MSG_OK); /* nothing to be saved */
    train(1, 5);
    request = ask(4);
    expect_error(request, PS_ERR_BAD_ARG);
    ck_assert_ptr_nonnull(strstr(answer(request).text, "clock is 5"));
}
END_TEST

START_TEST(who_asks_learns_that_it_failed)
{
    uint64_t request;

    start(1, spec_of(PS_ASP, 1));
    train(1, 2);
    disk = FAILS;
    request = ask(0);
    expect_error(request, PS_ERR_SYSTEM);
    ck_assert_str_eq(answer(request).text, "the disk is full");
    disk = WRITES;
    expect(ask(0), PS_MSG_OK);
    ck_assert_uint_eq(images[0]->version, 2);
    expect(ask(0), PS_MSG_OK);
    ck_assert_uint_eq(n_images, 1); /* nothing is new */
}
END_TEST

START_TEST(a_snapshot_that_is_asked_for_goes_for_no_other)
{
    uint64_t request;

    start(1, saved_job(PS_BSP, 1, 2));
    disk = HOLDS;
    train(1, 2);
    request = ask(3);
    train(3, 8);
    write_out(0, PS_OK);
    ck_assert_uint_eq(under_way[0].image->set, 3);
    write_out(0, PS_OK);
    expect(request, PS_MSG_OK);
}
END_TEST

START_TEST(questions_after_snapshots_are_passed_on)
{
    static const struct ps_part parts[] = { { 0, 2, 9, 3 }, { 1, 2, 8, 2 } };
    struct ps_header            h;
    uint64_t                    first;

    start(1, saved_job(PS_BSP, 1, 2));
    h = order(PS_MSG_SETS);
    h.job = 0;
    h.name = job.name;
    h.run = RUN;
    first = command(0, h);
    ck_assert_uint_eq(command(0, h), first); /* repeated: asked once */
    ck_assert_uint_eq(n_errands[PSD_LIST], 1);
    psd_shard_listed(shards[0], now, last_errand.id, parts, 2, PS_OK, "", &out);
    h = answer(first);
    ck_assert_uint_eq(h.kind, PS_MSG_SETS_OK);
    ck_assert_uint_eq(h.n_sets, 2);
    ck_assert_mem_eq(h.sets, parts, sizeof(parts));
}
END_TEST

START_TEST(what_is_not_needed_any_more_is_passed_on)
{
    struct ps_part   part = { 0, 1, 4, 1 };
    struct ps_header h;

    start(1, saved_job(PS_BSP, 1, 2));
    train(1, 4);
    h = order(PS_MSG_KEEP);
    h.request = 0;
    h.sets = &part;
    h.n_sets = 1;
    command(0, h);
    ck_assert_uint_eq(last_errand.kind, PSD_FORGET);
    ck_assert_mem_eq(&last_errand.parts[0], &part, sizeof(part));
    h.server_epoch++; /* of another life */
    command(0, h);
    ck_assert_uint_eq(n_errands[PSD_FORGET], 1);
}
END_TEST

/* ---- durable ------------------------------------------------------------------- */

START_TEST(durable_iterations_are_acknowledged_when_they_are_on_disk)
{
    uint64_t first, second;

    start(1, durable_job(PS_BSP, 2));
    disk = HOLDS;
    first = push(0, 1);
    second = push(1, 1);
    ck_assert(under_way[0].there); /* no interval is set */
    ck_assert(!is_answered(first) && !is_answered(second));
    write_out(0, PS_OK);
    expect(first, PS_MSG_PUSH_OK);
    expect(second, PS_MSG_PUSH_OK);
}
END_TEST

/* Else shards would save different clocks, and none that all have. */
START_TEST(a_durable_iteration_is_not_closed_before_the_last_one_is_on_disk)
{
    uint64_t request;

    start(1, durable_job(PS_BSP, 1));
    disk = HOLDS;
    train(1, 1);
    request = push(0, 2);
    ck_assert_uint_eq(account(0).clock, 1);
    write_out(0, PS_OK);
    ck_assert_uint_eq(account(0).clock, 2);
    ck_assert(!is_answered(request));
    ck_assert_uint_eq(under_way[0].image->set, 2);
    write_out(0, PS_OK);
    expect(request, PS_MSG_PUSH_OK);
}
END_TEST

START_TEST(a_durable_push_that_is_repeated_joins_the_wait)
{
    struct ps_header h;
    uint64_t         seq;

    start(1, durable_job(PS_ASP, 1));
    disk = HOLDS;
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = ++workers[0].seq[0];
    h.flags = PS_FLAG_FINISH;
    h.parts = 1;
    seq = h.seq;
    for (int i = 0; i < 3; i++)
        hand(0, 0, &h, NULL, 0);
    ck_assert_uint_eq(account(0).waiting, 1);
    ck_assert_uint_eq(account(0).pushes, 1);
    write_out(0, PS_OK);
    ck_assert_uint_eq(answer(h.request).seq, seq);
    hand(0, 0, &h, NULL, 0);
    ck_assert_uint_eq(answers(h.request, NULL, NULL), 2);
}
END_TEST

START_TEST(parts_of_a_durable_iteration_are_acknowledged_at_once)
{
    struct ps_header h;

    start(1, durable_job(PS_ASP, 1));
    disk = HOLDS;
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = ++workers[0].seq[0];
    hand(0, 0, &h, NULL, 0);
    expect(h.request, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(n_errands[PSD_SAVE], 0);
}
END_TEST

/* While one is written, more come: the next capture is for all of them. */
START_TEST(durable_pushes_that_come_meanwhile_share_the_next_snapshot)
{
    uint64_t first, second, third;

    start(1, durable_job(PS_ASP, 3));
    disk = HOLDS;
    first = push(0, 1);
    second = push(1, 1);
    third = push(2, 1);
    write_out(0, PS_OK);
    expect(first, PS_MSG_PUSH_OK);
    ck_assert(!is_answered(second) && !is_answered(third));
    write_out(0, PS_OK);
    expect(second, PS_MSG_PUSH_OK);
    expect(third, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(n_errands[PSD_SAVE], 2);
}
END_TEST

START_TEST(a_durable_push_with_pull_gets_its_values)
{
    uint64_t request;

    start(1, durable_job(PS_BSP, 1));
    disk = HOLDS;
    request = push_as(0, 0, 1, ++workers[0].seq[0], PS_FLAG_PULL);
    ck_assert(!is_answered(request));
    write_out(0, PS_OK);
    expect(request, PS_MSG_PULL_OK);
}
END_TEST

static uint64_t rest(uint32_t rank, uint64_t clock)
{
    struct ps_header h = worker_header(PS_MSG_PUSH, rank, clock);

    h.seq = ++workers[rank].seq[0];
    h.flags = PS_FLAG_REST;
    hand(0, rank, &h, NULL, 0);
    return h.request;
}

START_TEST(a_durable_rest_is_answered_when_its_iterations_are_on_disk)
{
    uint64_t request;

    start(1, durable_job(PS_ASP, 1));
    disk = HOLDS;
    push(0, 1);
    request = rest(0, 1);
    ck_assert(!is_answered(request));
    write_out(0, PS_OK);
    ck_assert_uint_eq(expect(request, PS_MSG_PUSH_OK), 1);
}
END_TEST

static void a_second_later(void)
{
    now += 1000 * UINT64_C(1000000);
    ck_assert_uint_le(psd_shard_next_tick(shards[0]), now);
    psd_shard_tick(shards[0], now, &out);
    errands(0);
}

START_TEST(what_somebody_waits_for_is_tried_again_after_a_second)
{
    uint32_t strategy = _i ? PS_BSP : PS_ASP;
    uint64_t request;

    start(1, durable_job(strategy, 1));
    disk = FAILS;
    request = push(0, 1);
    ck_assert_uint_eq(account(0).save_failures, 1);
    ck_assert(!is_answered(request));
    ck_assert_uint_gt(psd_shard_next_tick(shards[0]), now);
    a_second_later();
    ck_assert_uint_eq(account(0).save_failures, 2);
    disk = WRITES;
    a_second_later();
    expect(request, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), UINT64_MAX);
}
END_TEST

START_TEST(whoever_waits_too_long_for_the_disk_is_told_so)
{
    struct ps_header h;

    start(1, durable_job(PS_ASP, 1));
    disk = HOLDS;
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = ++workers[0].seq[0];
    h.flags = PS_FLAG_FINISH;
    h.parts = 1;
    h.wait_ms = 50;
    hand(0, 0, &h, NULL, 0);
    now = 50 * UINT64_C(1000000);
    psd_shard_tick(shards[0], now, &out);
    expect_error(h.request, PS_ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(answer(h.request).text, "disk"));
    hand(0, 0, &h, NULL, 0); /* it may ask again */
    ck_assert_uint_eq(account(0).pushes, 1);
    write_out(0, PS_OK);
    ck_assert_uint_eq(answers(h.request, &h, NULL), 2);
    ck_assert_uint_eq(h.kind, PS_MSG_PUSH_OK);
}
END_TEST

/* ---- max_rollback --------------------------------------------------------------- */

static struct ps_job_spec bounded_job(uint64_t every, uint64_t most)
{
    struct ps_job_spec spec = saved_job(PS_BSP, 1, every);

    spec.max_rollback = most;
    return spec;
}

START_TEST(an_iteration_too_far_from_the_disk_is_neither_acknowledged_nor_closed)
{
    uint64_t request;

    start(1, bounded_job(2, 3));
    disk = HOLDS;
    train(1, 2);
    expect(push(0, 3), PS_MSG_PUSH_OK);
    ck_assert_uint_eq(account(0).clock, 3);
    request = push(0, 4);
    ck_assert(!is_answered(request));
    ck_assert_uint_eq(account(0).clock, 3);
    write_out(0, PS_OK);
    expect(request, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(account(0).clock, 4);
    ck_assert_uint_eq(under_way[0].image->set, 4);
}
END_TEST

/* Else shards with disks of several speeds would have no snapshot in common. */
START_TEST(no_snapshot_is_left_out_where_rollbacks_are_bounded)
{
    start(1, bounded_job(2, 100));
    disk = HOLDS;
    train(1, 6); /* 2 is being written, 4 waits */
    ck_assert_uint_eq(account(0).clock, 5);
    write_out(0, PS_OK);
    ck_assert_uint_eq(under_way[0].image->set, 4);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), 0);
    psd_shard_tick(shards[0], now, &out);
    ck_assert_uint_eq(account(0).clock, 6);
    ck_assert_uint_eq(psd_shard_next_tick(shards[0]), UINT64_MAX);
    write_out(0, PS_OK);
    ck_assert_uint_eq(under_way[0].image->set, 6);
}
END_TEST

START_TEST(a_disk_that_fails_is_not_waited_for)
{
    uint64_t request;

    start(1, bounded_job(2, 2));
    disk = HOLDS;
    train(1, 2);
    request = push(0, 3);
    ck_assert(!is_answered(request));
    write_out(0, PS_ERR_SYSTEM);
    expect(request, PS_MSG_PUSH_OK);
    train(4, 5);
    ck_assert_uint_eq(account(0).clock, 5);
    write_out(0, PS_OK); /* 4; from now on it counts again */
    train(6, 6);
    ck_assert(!is_answered(push(0, 7)));
    ck_assert_uint_eq(account(0).clock, 6);
}
END_TEST

START_TEST(what_was_left_out_while_the_disk_failed_is_not_waited_for)
{
    uint64_t request;

    start(1, bounded_job(1, 1));
    disk = HOLDS;
    train(1, 1);
    write_out(0, PS_ERR_SYSTEM);
    train(2, 6); /* 2 is being written, 4 waits, 5 and 6 are left out */
    write_out(0, PS_OK);
    request = push(0, 7);
    ck_assert(!is_answered(request));
    write_out(0, PS_OK);
    ck_assert(under_way[0].there);
    ck_assert_uint_eq(under_way[0].image->set, 7);
    ck_assert(!is_answered(request));
    write_out(0, PS_OK);
    expect(request, PS_MSG_PUSH_OK);
}
END_TEST

START_TEST(who_waits_too_long_for_values_behind_the_disk_is_told_so)
{
    struct ps_header h;
    struct ps_range  range = { 1, 0, 1 };

    start(1, bounded_job(2, 2));
    disk = HOLDS;
    train(1, 3);
    h = worker_header(PS_MSG_PULL, 0, 3);
    h.ranges = &range;
    h.n_ranges = 1;
    h.wait_ms = 50;
    hand(0, 0, &h, NULL, 0);
    ck_assert(!is_answered(h.request));
    now = 50 * UINT64_C(1000000);
    psd_shard_tick(shards[0], now, &out);
    expect_error(h.request, PS_ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(answer(h.request).text, "disk"));
}
END_TEST

static Suite *snapshot_suite(void)
{
    TCase *bounded = tcase_create("bounded");
    Suite *s = suite_create("shard_snapshot");
    TCase *when = tcase_create("when");
    TCase *asked = tcase_create("asked");
    TCase *durable = tcase_create("durable");

    tcase_add_checked_fixture(when, begin, end);
    tcase_add_test(when, every_kth_clock_is_saved_on_all_shards);
    tcase_add_test(when, an_image_is_the_model_of_its_clock_while_training_goes_on);
    tcase_add_test(when, what_nobody_saves_is_no_errand);
    tcase_add_test(when, asynchronous_shards_count_updates_and_their_sets);
    tcase_add_test(when, asynchronous_shards_save_after_some_time_what_is_new);
    tcase_add_test(when, one_capture_waits_at_most_and_slow_disks_save_common_clocks);
    tcase_add_test(when, where_shards_save_for_themselves_the_newest_capture_waits);
    tcase_add_test(when, a_failure_is_counted_and_training_goes_on);
    tcase_add_test(when, a_job_is_refused_where_nothing_can_be_saved);
    tcase_add_test(when, when_all_have_left_what_is_new_is_saved_once_more);
    tcase_add_test(when, the_last_capture_outlives_the_job);
    suite_add_tcase(s, when);

    tcase_add_checked_fixture(asked, begin, end);
    tcase_add_test(asked, a_snapshot_that_is_asked_for_is_taken_at_its_clock);
    tcase_add_test(asked, a_snapshot_of_now_is_the_state_at_the_last_close);
    tcase_add_test(asked, a_snapshot_of_the_past_is_refused_with_the_clock);
    tcase_add_test(asked, who_asks_learns_that_it_failed);
    tcase_add_test(asked, a_snapshot_that_is_asked_for_goes_for_no_other);
    tcase_add_test(asked, questions_after_snapshots_are_passed_on);
    tcase_add_test(asked, what_is_not_needed_any_more_is_passed_on);
    suite_add_tcase(s, asked);

    tcase_add_checked_fixture(durable, begin, end);
    tcase_add_test(durable, durable_iterations_are_acknowledged_when_they_are_on_disk);
    tcase_add_test(durable,
                   a_durable_iteration_is_not_closed_before_the_last_one_is_on_disk);
    tcase_add_test(durable, a_durable_push_that_is_repeated_joins_the_wait);
    tcase_add_test(durable, parts_of_a_durable_iteration_are_acknowledged_at_once);
    tcase_add_test(durable, durable_pushes_that_come_meanwhile_share_the_next_snapshot);
    tcase_add_test(durable, a_durable_push_with_pull_gets_its_values);
    tcase_add_test(durable, a_durable_rest_is_answered_when_its_iterations_are_on_disk);
    tcase_add_loop_test(durable, what_somebody_waits_for_is_tried_again_after_a_second,
                        0, 2);
    tcase_add_test(durable, whoever_waits_too_long_for_the_disk_is_told_so);
    suite_add_tcase(s, durable);

    tcase_add_checked_fixture(bounded, begin, end);
    tcase_add_test(
        bounded, an_iteration_too_far_from_the_disk_is_neither_acknowledged_nor_closed);
    tcase_add_test(bounded, no_snapshot_is_left_out_where_rollbacks_are_bounded);
    tcase_add_test(bounded, a_disk_that_fails_is_not_waited_for);
    tcase_add_test(bounded, what_was_left_out_while_the_disk_failed_is_not_waited_for);
    tcase_add_test(bounded, who_waits_too_long_for_values_behind_the_disk_is_told_so);
    suite_add_tcase(s, bounded);
    return s;
}

TEST_MAIN(snapshot_suite)
