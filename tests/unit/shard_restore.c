/*
 * Shards that go back: what a snapshot brings back is what was there, on this layout or
 * another one; what comes late from an older life does nothing; what was pushed before
 * the snapshot is not applied twice, and what was pushed after it counts when it is
 * pushed again.
 */
#include "tests/unit/shards.h"

#include "server/shard/progress.h"

static float straight[N], model[N];

/* ---- going back ---------------------------------------------------------------- */

static uint64_t load_parts(uint32_t shard, const struct ps_part *parts, uint32_t n)
{
    struct ps_header h = order(PS_MSG_LOAD);

    h.sets = parts;
    h.n_sets = n;
    return command(shard, h);
}

/* All shards load set `set` of life `of`, each its own part, or all parts where the job
 * had another number of shards. */
static void load_set(uint64_t set, uint64_t of, uint32_t had)
{
    struct ps_part parts[SHARDS];

    for (uint32_t i = 0; i < had; i++)
        parts[i] = (struct ps_part){ i, had, set, of };
    for (uint32_t s = 0; s < n_shards; s++)
        expect(had == n_shards ? load_parts(s, &parts[s], 1)
                               : load_parts(s, parts, had),
               PS_MSG_OK);
}

static struct ps_header resume(uint32_t rank, uint32_t shard)
{
    struct ps_header h = worker_header(PS_MSG_RESUME, rank, 0);

    hand(shard, rank, &h, NULL, 0);
    h = answer(h.request);
    ck_assert_msg(h.kind == PS_MSG_RESUME_OK, "%s", h.text);
    return h;
}

/* The worker asks where it is, as its library does; gives the lowest clock. */
static uint64_t resume_all(uint32_t rank)
{
    uint64_t clock = UINT64_MAX;

    for (uint32_t s = 0; s < n_shards; s++) {
        struct ps_header h = resume(rank, s);

        workers[rank].seq[s] = h.seq;
        if (h.clock < clock)
            clock = h.clock;
    }
    return clock;
}

/* The job goes back to set `set` of this life, on new shards. */
static void go_back(uint32_t n, uint64_t set)
{
    uint32_t had = n_shards;
    uint64_t of = life;

    stop_shards();
    start_shards(n);
    begin_life();
    load_set(set, of, had);
    tell_members(all_active);
    ps_outbox_clear(&out);
}

static void everybody_resumes(uint64_t clock)
{
    for (uint32_t r = 0; r < job.workers; r++)
        ck_assert_uint_eq(resume_all(r), clock);
}

/* What ten iterations lead to when nothing happens. */
static void train_straight(struct ps_job_spec spec)
{
    start(1, spec);
    train(1, 10);
    read_model(straight);
    stop_shards();
    for (uint32_t i = 0; i < n_images; i++)
        psd_image_free(&images[i]);
    n_images = 0;
    life = 0;
}

static const struct {
    uint32_t from, to;
} layouts[] = { { 1, 1 }, { 2, 2 }, { 3, 1 }, { 1, 4 }, { 2, 3 } };

START_TEST(a_run_that_went_back_ends_with_the_same_bits)
{
    train_straight(saved_job(PS_BSP, 3, 4));
    start(layouts[_i].from, saved_job(PS_BSP, 3, 4));
    train(1, 6);
    push(0, 7);
    go_back(layouts[_i].to, 4);
    everybody_resumes(4);
    train(5, 9); /* saves 8 in its new life */
    go_back(layouts[_i].from, 8);
    everybody_resumes(8);
    train(9, 10);
    read_model(model);
    ck_assert_mem_eq(model, straight, sizeof(model));
}
END_TEST

/* Asked for while half of the next iteration was there. */
START_TEST(a_snapshot_between_two_closes_leads_to_the_same_bits)
{
    struct ps_header h;

    train_straight(saved_job(PS_BSP, 3, 4));
    start(1, saved_job(PS_BSP, 3, 100));
    train(1, 5);
    push(1, 6);
    h = order(PS_MSG_SNAPSHOT);
    h.clock = 5;
    expect(command(0, h), PS_MSG_OK);
    go_back(1, 5);
    everybody_resumes(5);
    train(6, 10);
    read_model(model);
    ck_assert_mem_eq(model, straight, sizeof(model));
}
END_TEST

START_TEST(shards_that_were_there_all_the_time_go_back_too)
{
    train_straight(saved_job(PS_BSP, 2, 4));
    start(2, saved_job(PS_BSP, 2, 4));
    train(1, 7);
    begin_life();
    load_set(4, 1, 2);
    tell_members(all_active);
    everybody_resumes(4);
    train(5, 10);
    read_model(model);
    ck_assert_mem_eq(model, straight, sizeof(model));
    ck_assert_uint_eq(account(0).version, 10);
}
END_TEST

START_TEST(without_a_snapshot_the_job_begins_anew)
{
    train_straight(saved_job(PS_BSP, 2, 4));
    start(1, saved_job(PS_BSP, 2, 4));
    train(1, 3);
    begin_life();
    ck_assert_uint_eq(expect(load_parts(0, NULL, 0), PS_MSG_OK), 0);
    tell_members(all_active);
    everybody_resumes(0);
    train(1, 10);
    read_model(model);
    ck_assert_mem_eq(model, straight, sizeof(model));
}
END_TEST

START_TEST(one_asynchronous_worker_goes_on_with_the_same_bits)
{
    train_straight(saved_job(PS_ASP, 1, 3));
    start(1, saved_job(PS_ASP, 1, 3));
    train(1, 7);
    go_back(1, 2); /* six updates */
    ck_assert_uint_eq(account(0).saved, 2);
    everybody_resumes(6);
    train(7, 8);
    ck_assert_uint_eq(n_images, 2);
    train(9, 10);
    ck_assert_uint_eq(images[2]->set, 3); /* sets go on counting */
    read_model(model);
    ck_assert_mem_eq(model, straight, sizeof(model));
}
END_TEST

/* It may resume once more in the same life, because it heard of the rollback twice. */
START_TEST(a_finished_iteration_that_is_not_closed_is_before_the_number_that_is_told)
{
    struct ps_header h;

    start(1, saved_job(PS_BSP, 2, 2));
    train(1, 1);
    push(0, 2);
    h = resume(0, 0);
    ck_assert_uint_eq(h.clock, 2);
    ck_assert_uint_eq(h.seq, workers[0].seq[0]);
    h = resume(1, 0);
    ck_assert_uint_eq(h.clock, 1);
    ck_assert_uint_eq(h.seq, workers[1].seq[0]);
}
END_TEST

START_TEST(counters_go_back_with_the_model_and_are_summed_on_one_shard)
{
    start(2, saved_job(PS_BSP, 2, 2));
    train(1, 3);
    go_back(2, 2);
    ck_assert_uint_eq(account(0).pushes, 4);
    ck_assert_uint_eq(account(1).batches, 4);
    everybody_resumes(2);
    train(3, 4);
    go_back(3, 4);
    ck_assert_uint_eq(account(0).pushes, 8 + 8);
    ck_assert_uint_eq(account(1).pushes + account(2).pushes, 0);
}
END_TEST

/* Else the next rollback would need the old layout. */
START_TEST(on_another_layout_the_same_clock_is_saved_again_when_asked_for)
{
    uint32_t         strategy = _i ? PS_ASP : PS_BSP;
    struct ps_header h;

    start(2, saved_job(strategy, 1, 2));
    train(1, 2);
    go_back(1, _i ? 1 : 2);
    ck_assert_uint_eq(account(0).saved, 0);
    h = order(PS_MSG_SNAPSHOT);
    h.clock = 2;
    expect(command(0, h), PS_MSG_OK);
    ck_assert_uint_eq(n_images, 3);
    ck_assert_uint_eq(images[2]->n_shards, 1);
    ck_assert_uint_eq(images[2]->clock, 2);
    h.request = next_request++;
    expect(command(0, h), PS_MSG_OK);
    ck_assert_uint_eq(n_images, 3);
}
END_TEST

/* ---- exactly once -------------------------------------------------------------- */

START_TEST(a_push_from_before_the_snapshot_is_not_applied_again)
{
    struct ps_header h;

    start(1, saved_job(PS_ASP, 1, 4));
    train(1, 5);
    go_back(1, 1);
    read_model(straight);
    h = resume(0, 0);
    ck_assert_uint_eq(h.clock, 4);
    ck_assert_uint_eq(h.seq, 4);
    ck_assert_uint_eq(h.version, 4);
    expect(push_as(0, 0, 4, 4, 0), PS_MSG_PUSH_OK);
    read_model(model);
    ck_assert_mem_eq(model, straight, sizeof(model));
    expect(push_as(0, 0, 5, 5, 0), PS_MSG_PUSH_OK); /* after it: fresh */
    ck_assert_uint_eq(account(0).version, 5);
}
END_TEST

/* Part `part` of three of iteration t, as push `seq`: a third of the first chunk. */
static uint64_t push_third(uint64_t t, uint32_t part, uint64_t seq)
{
    struct ps_header h = worker_header(PS_MSG_PUSH, 0, t);
    struct ps_range  range = { 1, part * 1000, 1000 };
    float            payload[1000];

    for (uint64_t i = 0; i < 1000; i++)
        payload[i] = gradient(0, t, part * 1000 + i);
    h.ranges = &range;
    h.n_ranges = 1;
    h.seq = seq;
    h.flags = part == 2 ? PS_FLAG_FINISH : 0;
    h.parts = part == 2 ? 3 : 0;
    hand(0, 0, &h, payload, sizeof(payload));
    return h.request;
}

static void iteration_in_thirds(uint64_t t, uint64_t seq)
{
    for (uint32_t part = 0; part < 3; part++)
        push_third(t, part, seq + part);
}

/* Iterations 1 to 3 straight; and with a snapshot when two parts of three of the second
 * were there, in these orders.  After it the numbers of the pushes may be others. */
static const struct {
    uint32_t there[2], again[3];
    uint64_t stale; /* pushes for iteration 1 that come before it */
} partial[] = {
    { { 0, 1 }, { 0, 1, 2 }, 0 }, { { 0, 2 }, { 0, 1, 2 }, 0 },
    { { 2, 1 }, { 2, 1, 0 }, 0 }, { { 1, 0 }, { 1, 2, 0 }, 0 },
    { { 0, 1 }, { 0, 1, 2 }, 2 }, { { 2, 0 }, { 2, 0, 1 }, 1 },
};

START_TEST(parts_of_an_iteration_in_the_snapshot_are_not_applied_again)
{
    struct ps_header h;
    uint64_t         seq;

    start(1, spec_of(PS_ASP, 2));
    iteration_in_thirds(1, 1);
    iteration_in_thirds(2, 4);
    iteration_in_thirds(3, 7);
    read_model(straight);
    stop_shards();
    life = 0;

    start(1, spec_of(PS_ASP, 2));
    iteration_in_thirds(1, 1);
    push_third(2, partial[_i].there[0], 4 + partial[_i].there[0]);
    push_third(2, partial[_i].there[1], 4 + partial[_i].there[1]);
    expect(command(0, order(PS_MSG_SNAPSHOT)), PS_MSG_OK);
    go_back(1, 1);
    h = resume(0, 0);
    ck_assert_uint_eq(h.clock, 1);
    ck_assert_uint_eq(h.seq, 3);
    seq = h.seq + partial[_i].stale + 1;
    for (uint32_t i = 0; i < 3; i++)
        push_third(2, partial[_i].again[i], seq + partial[_i].again[i]);
    for (uint64_t i = 0; i < partial[_i].stale; i++) /* another shard was behind */
        push_third(1, 0, h.seq + 1 + i);
    iteration_in_thirds(3, seq + 3);
    ck_assert_uint_eq(account(0).waiting, 0);
    read_model(model);
    ck_assert_mem_eq(model, straight, sizeof(model));
    ck_assert_uint_eq(resume(0, 0).clock, 3);
}
END_TEST

/* It goes back twice, and has sent only the first part again in between. */
START_TEST(parts_stay_known_when_the_job_goes_back_again)
{
    start(1, spec_of(PS_ASP, 2));
    iteration_in_thirds(1, 1);
    push_third(2, 0, 4);
    push_third(2, 2, 6);
    push(1, 1);
    push_third(2, 1, 5);
    read_model(straight);
    stop_shards();
    life = 0;

    start(1, spec_of(PS_ASP, 2));
    iteration_in_thirds(1, 1);
    push_third(2, 0, 4);
    push_third(2, 2, 6);
    expect(command(0, order(PS_MSG_SNAPSHOT)), PS_MSG_OK);
    go_back(1, 1);
    push_third(2, 0, 4);
    push(1, 1);
    expect(command(0, order(PS_MSG_SNAPSHOT)), PS_MSG_OK);
    go_back(1, 2);
    ck_assert_uint_eq(resume(0, 0).seq, 3);
    iteration_in_thirds(2, 4);
    ck_assert_uint_eq(resume(0, 0).clock, 2);
    ck_assert_uint_eq(account(0).version, 3);
    read_model(model);
    ck_assert_mem_eq(model, straight, sizeof(model));
}
END_TEST

/* The two shards saved at different moments; the layout changes. */
START_TEST(on_another_layout_a_worker_is_where_it_was_furthest)
{
    start(2, spec_of(PS_ASP, 2));
    push(0, 1);
    expect(command(0, order(PS_MSG_SNAPSHOT)), PS_MSG_OK); /* worker 0 at 1 */
    push(0, 2);
    push(1, 1);
    expect(command(1, order(PS_MSG_SNAPSHOT)), PS_MSG_OK); /* at 2, worker 1 at 1 */
    go_back(1, 1);
    ck_assert_uint_eq(resume(0, 0).clock, 2);
    ck_assert_uint_eq(resume(0, 0).seq, 0);
    ck_assert_uint_eq(resume(1, 0).clock, 1);
    ck_assert_uint_eq(account(0).version, 3);
}
END_TEST

/* Of the iteration some is applied: it counts, so that none is applied twice. */
START_TEST(on_another_layout_an_iteration_that_was_begun_counts)
{
    start(1, spec_of(PS_ASP, 2));
    iteration_in_thirds(1, 1);
    push_third(2, 1, 5);
    expect(command(0, order(PS_MSG_SNAPSHOT)), PS_MSG_OK);
    go_back(2, 1);
    ck_assert_uint_eq(resume(0, 0).clock, 2);
    ck_assert_uint_eq(resume(0, 1).clock, 2);
}
END_TEST

/* ---- workers ------------------------------------------------------------------- */

START_TEST(a_worker_that_came_after_the_snapshot_is_new)
{
    struct ps_member m = { .rank = 1, .state = PS_MEMBER_ACTIVE };
    struct ps_header h;

    start(1, saved_job(PS_BSP, 2, 2));
    train(1, 3);
    stop_shards();
    start_shards(1);
    begin_life();
    load_set(2, 1, 1);
    workers[1].incarnation = 2;
    m.incarnation = 2;
    m.session = session_of(1);
    m.clock = 3; /* it began there */
    tell_members(all_active);
    h = members(&m, 1);
    expect(command(0, h), PS_MSG_OK);
    ck_assert_uint_eq(resume(0, 0).clock, 2);
    ck_assert_uint_eq(resume(0, 0).seq, 2);
    ck_assert_uint_eq(resume(1, 0).clock, 3);
    ck_assert_uint_eq(resume(1, 0).seq, 0);
    workers[0].seq[0] = 2;
    push(0, 3); /* for which nobody waits for the other */
    ck_assert_uint_eq(account(0).clock, 3);
}
END_TEST

START_TEST(members_that_are_named_after_a_load_are_taken)
{
    static const struct ps_part part = { 0, 1, 2, 1 };
    struct ps_matrix_spec       w = dense_spec();
    struct ps_member            m = { .incarnation = 1, .state = PS_MEMBER_ACTIVE };
    struct ps_header            h;

    start(1, saved_job(PS_BSP, 1, 2));
    train(1, 3);
    life++;
    h = job_order(0);
    h.membership_epoch = 100; /* of members that the snapshot makes forget */
    expect(command(0, h), PS_MSG_OK);
    add_matrix(&w, &place);
    expect(load_parts(0, &part, 1), PS_MSG_OK);
    m.session = session_of(0) + 1000;
    h = members(&m, 1);
    h.membership_epoch = 100;
    expect(command(0, h), PS_MSG_OK);
    h = worker_header(PS_MSG_RESUME, 0, 0);
    h.session = m.session;
    hand(0, 0, &h, NULL, 0);
    ck_assert_uint_eq(expect(h.request, PS_MSG_RESUME_OK), 2);
}
END_TEST

/* Uneven epochs: worker 0 has no more batches after clock 1. */
START_TEST(whoever_rested_is_at_the_end_of_its_epoch)
{
    struct ps_header h;

    start(1, saved_job(PS_BSP, 2, 2));
    train(1, 1);
    h = worker_header(PS_MSG_PUSH, 0, 1);
    h.seq = ++workers[0].seq[0];
    h.flags = PS_FLAG_REST;
    hand(0, 0, &h, NULL, 0);
    push(1, 2);
    ck_assert_uint_eq(n_images, 1);
    go_back(1, 2);
    ck_assert_uint_eq(resume(0, 0).clock, 1);
    ck_assert_uint_eq(resume(1, 0).clock, 2);
    workers[0].seq[0] = resume(0, 0).seq;
    ck_assert_uint_eq(workers[0].seq[0], 1);
    h = worker_header(PS_MSG_PUSH, 0, 1); /* it rests again, with the same number */
    h.seq = ++workers[0].seq[0];
    h.flags = PS_FLAG_REST;
    hand(0, 0, &h, NULL, 0);
    workers[1].seq[0] = resume(1, 0).seq;
    push(1, 3);
    ck_assert_uint_eq(account(0).clock, 3);
    ck_assert(!is_answered(h.request));
}
END_TEST

START_TEST(a_worker_that_had_left_stays_away)
{
    static const uint32_t one_left[WORKERS] = { 2, 3, 2, 2 };

    start(1, saved_job(PS_BSP, 2, 2));
    train(1, 1);
    tell_members(one_left);
    push(0, 2);
    ck_assert_uint_eq(n_images, 1);
    stop_shards();
    start_shards(1);
    begin_life();
    load_set(2, 1, 1);
    tell_members(one_left);
    workers[0].seq[0] = resume(0, 0).seq;
    push(0, 3);
    ck_assert_uint_eq(account(0).clock, 3);
}
END_TEST

/* ---- lives --------------------------------------------------------------------- */

START_TEST(who_waits_when_the_job_goes_back_is_told_so)
{
    struct ps_header h;

    start(1, saved_job(PS_BSP, 2, 2));
    train(1, 2);
    push(0, 3);
    h = worker_header(PS_MSG_PULL, 0, 3);
    hand(0, 0, &h, NULL, 0);
    ck_assert(!is_answered(h.request));
    life++;
    epoch++;
    expect(command(0, job_order(0)), PS_MSG_OK);
    expect_error(h.request, PS_ERR_ROLLBACK);
    epoch--; /* its next message is still of the life before */
    h = worker_header(PS_MSG_PULL, 0, 0);
    hand(0, 0, &h, NULL, 0);
    expect_error(h.request, PS_ERR_ROLLBACK);
    ck_assert_ptr_nonnull(strstr(answer(h.request).text, "went back"));
}
END_TEST

/* Each is answered, so that nobody sends it for ever. */
START_TEST(what_comes_late_from_an_older_life_does_nothing)
{
    static const struct ps_part part = { 0, 1, 2, 1 };
    struct ps_member gone = { .rank = 0, .incarnation = 1, .state = PS_MEMBER_LOST };
    struct ps_header late[5], h;
    struct ps_matrix_spec m = dense_spec();
    struct ps_slot_run    run = { 0, 1 };

    start(1, saved_job(PS_BSP, 1, 2));
    train(1, 3);
    late[0] = job_order(0);
    late[1] = members(&gone, 1);
    late[1].membership_epoch = 1000;
    late[2] = order(PS_MSG_LOAD);
    late[2].sets = &part;
    late[2].n_sets = 1;
    late[3] = order(PS_MSG_MATRIX_ADD);
    m.number = 2;
    strcpy(m.name, "late");
    late[3].matrices = &m;
    late[3].n_matrices = 1;
    late[3].slot_runs = &run;
    late[3].n_slot_runs = 1;
    late[4] = order(PS_MSG_JOB_END);
    late[4].after = life;
    go_back(1, 2);
    workers[0].seq[0] = resume(0, 0).seq;
    train(3, 4);
    ps_outbox_clear(&out);
    for (int i = 0; i < 5; i++) {
        late[i].request = next_request++;
        expect(command(0, late[i]), PS_MSG_OK);
        ck_assert_uint_eq(account(0).clock, 4);
        h = worker_header(PS_MSG_PULL, 0, 4); /* it is still a member */
        hand(0, 0, &h, NULL, 0);
        expect(h.request, PS_MSG_PULL_OK);
    }
    ck_assert_uint_eq(n_errands[PSD_LOAD], 1);
    ck_assert_uint_eq(account(0).bytes, N * sizeof(float));
}
END_TEST

START_TEST(a_job_that_has_ended_does_not_come_back_in_that_life)
{
    struct ps_header h;

    start(1, saved_job(PS_BSP, 1, 2));
    h = order(PS_MSG_JOB_END);
    h.after = life;
    expect(command(0, h), PS_MSG_OK);
    expect(command(0, job_order(0)), PS_MSG_OK); /* it was on its way for long */
    h = worker_header(PS_MSG_PULL, 0, 0);
    hand(0, 0, &h, NULL, 0);
    expect_error(h.request, PS_ERR_UNKNOWN);
    begin_life(); /* it had gone to other shards only */
    tell_members(all_active);
    push(0, 1);
    ck_assert_uint_eq(account(0).clock, 1);
}
END_TEST

START_TEST(what_was_being_written_when_the_job_went_back_is_not_counted)
{
    start(1, saved_job(PS_BSP, 1, 2));
    disk = HOLDS;
    train(1, 2);
    begin_life();
    expect(load_parts(0, NULL, 0), PS_MSG_OK);
    tell_members(all_active);
    write_out(0, PS_OK);
    ck_assert_uint_eq(account(0).saved, 0);
    ck_assert_uint_eq(unasked(PS_MSG_SAVED, NULL).kind, 0);
}
END_TEST

/* ---- LOAD ---------------------------------------------------------------------- */

static void new_life_on_new_shard(void)
{
    stop_shards();
    start_shards(1);
    begin_life();
}

START_TEST(a_load_that_is_repeated_is_loaded_once_and_answered_twice)
{
    static const struct ps_part part = { 0, 1, 4, 1 };
    uint64_t                    first, second;

    start(1, saved_job(PS_BSP, 1, 2));
    train(1, 4);
    new_life_on_new_shard();
    disk = HOLDS;
    first = load_parts(0, &part, 1);
    second = load_parts(0, &part, 1);
    ck_assert_uint_eq(n_errands[PSD_LOAD], 1);
    ck_assert(!is_answered(first) && !is_answered(second));
    load(0, &last_errand);
    ck_assert_uint_eq(expect(second, PS_MSG_OK), 4); /* the asker's last word */
    ck_assert_uint_eq(expect(load_parts(0, &part, 1), PS_MSG_OK), 4);
    ck_assert_uint_eq(n_errands[PSD_LOAD], 1);
}
END_TEST

START_TEST(a_load_goes_to_older_sets_and_never_up_again)
{
    static const struct ps_part four = { 0, 1, 4, 1 }, two = { 0, 1, 2, 1 };

    start(1, saved_job(PS_BSP, 1, 2));
    train(1, 5);
    new_life_on_new_shard();
    expect(load_parts(0, &four, 1), PS_MSG_OK);
    ck_assert_uint_eq(expect(load_parts(0, &two, 1), PS_MSG_OK), 2);
    ck_assert_uint_eq(expect(load_parts(0, &four, 1), PS_MSG_OK), 2); /* late */
    ck_assert_uint_eq(expect(load_parts(0, NULL, 0), PS_MSG_OK), 0);
    ck_assert_uint_eq(expect(load_parts(0, &two, 1), PS_MSG_OK), 0);
}
END_TEST

START_TEST(a_load_that_fails_is_answered_and_an_older_one_works)
{
    static const struct ps_part six = { 0, 1, 6, 1 }, two = { 0, 1, 2, 1 };

    start(1, saved_job(PS_BSP, 1, 2));
    train(1, 5);
    new_life_on_new_shard();
    expect_error(load_parts(0, &six, 1), PS_ERR_DATA);
    expect_error(load_parts(0, &six, 1), PS_ERR_DATA); /* it may be tried again */
    ck_assert_uint_eq(expect(load_parts(0, &two, 1), PS_MSG_OK), 2);
}
END_TEST

/* Each is an image that is not what was asked for. */
static void of_another_run(struct psd_image *i)
{
    i->run++;
}

static void of_another_job(struct psd_image *i)
{
    strcpy(i->job, "other");
}

static void of_other_workers(struct psd_image *i)
{
    i->spec.workers++;
}

static void of_another_shape(struct psd_image *i)
{
    i->model->matrices[0].spec.cols++;
}

static void progress_of_more(struct psd_image *i)
{
    i->progress->data[8]++;
}

static void progress_cut(struct psd_image *i)
{
    i->progress->len -= 8;
}

static void (*const wrong[])(struct psd_image *) = {
    of_another_run,   of_another_job,   of_other_workers,
    of_another_shape, progress_of_more, progress_cut,
};

START_TEST(an_image_that_does_not_fit_changes_nothing)
{
    static const struct ps_part part = { 0, 1, 2, 1 };

    start(1, saved_job(PS_BSP, 1, 2));
    read_model(straight);
    train(1, 3);
    new_life_on_new_shard();
    wrong[_i](images[0]);
    expect_error(load_parts(0, &part, 1), PS_ERR_DATA);
    tell_members(all_active);
    read_model(model);
    ck_assert_mem_eq(model, straight, sizeof(model));
    ck_assert_uint_eq(account(0).clock, 0);
}
END_TEST

START_TEST(a_matrix_that_came_after_the_snapshot_begins_anew)
{
    struct ps_matrix_spec m = dense_spec();
    struct ps_place       map;

    start(1, saved_job(PS_BSP, 1, 2));
    train(1, 2);
    new_life_on_new_shard();
    m.number = 2;
    strcpy(m.name, "late");
    add_matrix(&m, &map);
    load_set(2, 1, 1);
    ck_assert_uint_eq(account(0).clock, 2);
    ck_assert_uint_eq(account(0).bytes, 2 * N * sizeof(float));
}
END_TEST

/* ---- progress ------------------------------------------------------------------ */

START_TEST(progress_that_is_cut_anywhere_is_refused)
{
    struct psd_progress *p;
    struct ps_buf       *whole, *cut;

    start(1, saved_job(PS_ASP, 2, 1));
    train(1, 3);
    whole = images[0]->progress;
    ck_assert_ok(psd_progress_decode(&p, whole, 2));
    psd_progress_free(&p);
    for (size_t n = 0; n < whole->len; n++) {
        ck_assert_ok(ps_buf_copy(&cut, whole->data, n));
        ck_assert_status(psd_progress_decode(&p, cut, 2), PS_ERR_DATA);
        ps_buf_drop(&cut);
    }
    ck_assert_status(psd_progress_decode(&p, whole, 1), PS_ERR_DATA);
    ck_assert_status(psd_progress_decode(&p, whole, 3), PS_ERR_DATA);
    ck_assert_status(psd_progress_decode(&p, NULL, 2), PS_ERR_DATA);
}
END_TEST

/* Bits that can be known to be wrong are; the others are the vault's to know. */
START_TEST(progress_of_another_kind_is_refused)
{
    static const size_t words[] = { 0, 1, 13 }; /* magic, workers, first seat's flags */
    struct psd_progress *p;
    struct ps_buf       *bytes;

    start(1, saved_job(PS_ASP, 2, 1));
    train(1, 1);
    bytes = images[0]->progress;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        bytes->data[8 * words[i] + 7] ^= 0x40;
        ck_assert_status(psd_progress_decode(&p, bytes, 2), PS_ERR_DATA);
        bytes->data[8 * words[i] + 7] ^= 0x40;
    }
    ck_assert_ok(psd_progress_decode(&p, bytes, 2));
    psd_progress_free(&p);
}
END_TEST

static Suite *restore_suite(void)
{
    Suite *s = suite_create("shard_restore");
    TCase *back = tcase_create("back");
    TCase *once = tcase_create("once");
    TCase *who = tcase_create("workers");
    TCase *lives = tcase_create("lives");
    TCase *loads = tcase_create("loads");
    TCase *progress = tcase_create("progress");

    tcase_add_checked_fixture(back, begin, end);
    tcase_add_loop_test(back, a_run_that_went_back_ends_with_the_same_bits, 0,
                        (int)(sizeof(layouts) / sizeof(layouts[0])));
    tcase_add_test(back, a_snapshot_between_two_closes_leads_to_the_same_bits);
    tcase_add_test(back, shards_that_were_there_all_the_time_go_back_too);
    tcase_add_test(back, without_a_snapshot_the_job_begins_anew);
    tcase_add_test(back, one_asynchronous_worker_goes_on_with_the_same_bits);
    tcase_add_test(
        back,
        a_finished_iteration_that_is_not_closed_is_before_the_number_that_is_told);
    tcase_add_test(back, counters_go_back_with_the_model_and_are_summed_on_one_shard);
    tcase_add_loop_test(
        back, on_another_layout_the_same_clock_is_saved_again_when_asked_for, 0, 2);
    suite_add_tcase(s, back);

    tcase_add_checked_fixture(once, begin, end);
    tcase_add_test(once, a_push_from_before_the_snapshot_is_not_applied_again);
    tcase_add_loop_test(once,
                        parts_of_an_iteration_in_the_snapshot_are_not_applied_again, 0,
                        (int)(sizeof(partial) / sizeof(partial[0])));
    tcase_add_test(once, parts_stay_known_when_the_job_goes_back_again);
    tcase_add_test(once, on_another_layout_a_worker_is_where_it_was_furthest);
    tcase_add_test(once, on_another_layout_an_iteration_that_was_begun_counts);
    suite_add_tcase(s, once);

    tcase_add_checked_fixture(who, begin, end);
    tcase_add_test(who, a_worker_that_came_after_the_snapshot_is_new);
    tcase_add_test(who, members_that_are_named_after_a_load_are_taken);
    tcase_add_test(who, whoever_rested_is_at_the_end_of_its_epoch);
    tcase_add_test(who, a_worker_that_had_left_stays_away);
    suite_add_tcase(s, who);

    tcase_add_checked_fixture(lives, begin, end);
    tcase_add_test(lives, who_waits_when_the_job_goes_back_is_told_so);
    tcase_add_test(lives, what_comes_late_from_an_older_life_does_nothing);
    tcase_add_test(lives, a_job_that_has_ended_does_not_come_back_in_that_life);
    tcase_add_test(lives, what_was_being_written_when_the_job_went_back_is_not_counted);
    suite_add_tcase(s, lives);

    tcase_add_checked_fixture(loads, begin, end);
    tcase_add_test(loads, a_load_that_is_repeated_is_loaded_once_and_answered_twice);
    tcase_add_test(loads, a_load_goes_to_older_sets_and_never_up_again);
    tcase_add_test(loads, a_load_that_fails_is_answered_and_an_older_one_works);
    tcase_add_loop_test(loads, an_image_that_does_not_fit_changes_nothing, 0,
                        (int)(sizeof(wrong) / sizeof(wrong[0])));
    tcase_add_test(loads, a_matrix_that_came_after_the_snapshot_begins_anew);
    suite_add_tcase(s, loads);

    tcase_add_checked_fixture(progress, begin, end);
    tcase_add_test(progress, progress_that_is_cut_anywhere_is_refused);
    tcase_add_test(progress, progress_of_another_kind_is_refused);
    suite_add_tcase(s, progress);
    return s;
}

TEST_MAIN(restore_suite)
