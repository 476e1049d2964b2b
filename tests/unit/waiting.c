/*
 * Requests that wait, without messages: which of them may have been let go on, how many
 * a worker may have, and whose time has come.
 */
#include "server/shard/waiting.h"
#include "server/shard/job.h"
#include "tests/unit/suite.h"

#define WORKERS 3u

static struct psd_job    *job;
static struct psd_scratch scratch;

static void start(uint32_t strategy)
{
    struct ps_job_spec spec = ps_job_spec_default();
    struct ps_header   h = { .job = 1, .n_shards = 1, .job_spec = &spec };

    strcpy(spec.name, "j");
    spec.workers = WORKERS;
    spec.strategy = strategy;
    spec.slack = 1;
    ck_assert_ok(psd_job_new(&job, &h, &scratch));
    for (uint32_t r = 0; r < WORKERS; r++)
        job->seats[r].session = 100 + r;
}

static void end(void)
{
    psd_job_free(&job);
    psd_scratch_free(&scratch);
}

static struct ps_parcel a_parcel(void)
{
    struct ps_parcel p = { 0 };

    ck_assert_ok(ps_buf_new(&p.head, 8));
    return p;
}

static ps_status park(uint32_t rank, uint64_t request, uint64_t clock,
                      enum psd_reason reason, uint64_t deadline_ns)
{
    struct ps_parcel p = a_parcel();
    struct ps_header h = { .kind = PS_MSG_PULL,
                           .session = rank < WORKERS ? 100 + rank : 777,
                           .rank = rank,
                           .request = request,
                           .seq = clock,
                           .clock = clock };
    ps_status        st = psd_waiting_park(job, &h, &p, reason, deadline_ns);

    ck_assert_int_eq(p.head != NULL, st != PS_OK); /* taken, or left to the caller */
    ps_parcel_drop(&p);
    return st;
}

static void finish(uint32_t rank, uint64_t clock)
{
    psd_seat_mark(&job->seats[rank], clock, clock);
    psd_gate_finish(job->gate, rank, clock);
}

START_TEST(a_pull_goes_on_when_the_slowest_has_moved)
{
    start(PS_SSP);
    finish(0, 1);
    finish(0, 2);
    ck_assert_ok(park(0, 1, 2, PSD_FOR_GATE, UINT64_MAX));
    ck_assert(!psd_waiting_may_go(job));
    finish(1, 1); /* worker 2 is the slowest now, as far behind as both were */
    ck_assert(!psd_waiting_may_go(job));
    finish(2, 1);
    ck_assert(psd_waiting_may_go(job));
    end();
}
END_TEST

START_TEST(a_pull_goes_on_when_its_own_push_has_come)
{
    start(PS_ASP);
    ck_assert_ok(park(0, 1, 1, PSD_FOR_GATE, UINT64_MAX));
    ck_assert(!psd_waiting_may_go(job));
    finish(0, 1);
    ck_assert(psd_waiting_may_go(job));
    end();
}
END_TEST

/* It skipped the iteration after that of its last push, and says so with its pull. */
START_TEST(a_pull_of_one_who_is_further_than_the_gate_knows_is_looked_at)
{
    start(PS_ASP);
    ck_assert_ok(park(0, 1, 1, PSD_FOR_GATE, UINT64_MAX));
    psd_seat_mark(&job->seats[0], 1, 1); /* what it had pushed was late */
    ck_assert(psd_waiting_may_go(job));
    end();
}
END_TEST

START_TEST(pushes_and_what_waits_for_the_disk_are_always_looked_at)
{
    struct psd_waiting_list list;

    start(PS_SSP);
    ck_assert_ok(park(0, 1, 9, PSD_FOR_TURN, UINT64_MAX));
    ck_assert(psd_waiting_may_go(job));
    list = psd_waiting_take(job);
    psd_waiting_free(&list);
    ck_assert(!psd_waiting_may_go(job));
    ck_assert_ok(park(0, 2, 9, PSD_FOR_DISK, UINT64_MAX));
    ck_assert(psd_waiting_may_go(job));
    end();
}
END_TEST

START_TEST(a_request_that_comes_again_waits_once_and_no_longer)
{
    start(PS_SSP);
    ck_assert_ok(park(1, 5, 9, PSD_FOR_GATE, 1000));
    ck_assert_ok(park(1, 5, 9, PSD_FOR_GATE, 3000));
    ck_assert_uint_eq(job->waiting.n, 1);
    ck_assert_uint_eq(psd_waiting_deadline(job), 1000);
    end();
}
END_TEST

START_TEST(a_worker_has_so_many_that_wait_and_others_still_may)
{
    start(PS_SSP);
    for (uint32_t i = 1; i <= PSD_WAITING_PER_WORKER; i++)
        ck_assert_ok(park(1, i, 9, PSD_FOR_GATE, UINT64_MAX));
    ck_assert_status(park(1, 1000, 9, PSD_FOR_GATE, UINT64_MAX), PS_ERR_LIMIT);
    ck_assert_why("more than 64 requests of worker 1");
    ck_assert_ok(park(1, 7, 9, PSD_FOR_GATE, UINT64_MAX)); /* waits already */
    ck_assert_ok(park(2, 1, 9, PSD_FOR_GATE, UINT64_MAX));
    ck_assert_ok(park(PSD_OBSERVER_RANK, 1, 9, PSD_FOR_GATE, UINT64_MAX));
    end();
}
END_TEST

START_TEST(who_was_taken_out_may_be_parked_again)
{
    struct psd_waiting_list list;

    start(PS_SSP);
    for (uint32_t i = 1; i <= PSD_WAITING_PER_WORKER; i++)
        ck_assert_ok(park(1, i, 9, PSD_FOR_GATE, UINT64_MAX));
    list = psd_waiting_take(job);
    ck_assert_uint_eq(list.n, PSD_WAITING_PER_WORKER);
    ck_assert_uint_eq(job->waiting.n, 0);
    for (uint32_t i = 1; i <= PSD_WAITING_PER_WORKER; i++)
        ck_assert_ok(park(1, i, 9, PSD_FOR_GATE, UINT64_MAX));
    psd_waiting_free(&list);
    end();
}
END_TEST

START_TEST(the_earliest_deadline_is_that_of_those_who_are_left)
{
    start(PS_SSP);
    ck_assert_uint_eq(psd_waiting_deadline(job), UINT64_MAX);
    ck_assert_ok(park(0, 1, 9, PSD_FOR_GATE, 2000));
    ck_assert_ok(park(1, 1, 9, PSD_FOR_GATE, 1000));
    ck_assert_ok(park(2, 1, 9, PSD_FOR_GATE, UINT64_MAX));
    ck_assert_uint_eq(psd_waiting_deadline(job), 1000);
    psd_waiting_forget(job, 1);
    job->waiting.items[1] = job->waiting.items[2];
    psd_waiting_keep(job, 2);
    ck_assert_uint_eq(psd_waiting_deadline(job), 2000);
    psd_waiting_forget(job, 0);
    job->waiting.items[0] = job->waiting.items[1];
    psd_waiting_keep(job, 1);
    ck_assert_uint_eq(psd_waiting_deadline(job), UINT64_MAX);
    end();
}
END_TEST

static Suite *waiting_suite(void)
{
    Suite *s = suite_create("waiting");
    TCase *c = tcase_create("waiting");

    tcase_add_test(c, a_pull_goes_on_when_the_slowest_has_moved);
    tcase_add_test(c, a_pull_goes_on_when_its_own_push_has_come);
    tcase_add_test(c, a_pull_of_one_who_is_further_than_the_gate_knows_is_looked_at);
    tcase_add_test(c, pushes_and_what_waits_for_the_disk_are_always_looked_at);
    tcase_add_test(c, a_request_that_comes_again_waits_once_and_no_longer);
    tcase_add_test(c, a_worker_has_so_many_that_wait_and_others_still_may);
    tcase_add_test(c, who_was_taken_out_may_be_parked_again);
    tcase_add_test(c, the_earliest_deadline_is_that_of_those_who_are_left);
    suite_add_tcase(s, c);
    return s;
}

TEST_MAIN(waiting_suite)
