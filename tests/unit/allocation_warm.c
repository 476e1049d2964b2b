/* What a shard that is warm asks memory for: the buffer of its answer's header, and
 * where rows are pulled that of the rows; to work with it has its scratch. */
#include "bench/shard.h"
#include "server/shard/scratch.h"
#include "tests/unit/failing.h"
#include "tests/unit/suite.h"

#define CHUNKS 3u
#define ASKED 60u

/* `most`: allocations of a request, with the one of its own header, which is made here.
 */
static const struct {
    const char                *name;
    struct bench_shard_options options;
    long                       most;
} requests[] = {
    { "dense push, asp",
      { .strategy = PS_ASP,
        .workers = 1,
        .optimiser = PS_ADD,
        .elements = CHUNKS * 262144 },
      2 },
    { "dense push, asp, adagrad",
      { .strategy = PS_ASP,
        .workers = 2,
        .optimiser = PS_ADAGRAD,
        .elements = CHUNKS * 262144 },
      2 },
    { "dense pull",
      { .strategy = PS_ASP,
        .workers = 1,
        .optimiser = PS_SGD,
        .elements = CHUNKS * 262144,
        .pulls = true },
      2 },
    { "rows pushed, asp",
      { .strategy = PS_ASP,
        .workers = 1,
        .optimiser = PS_SGD,
        .rows = 3000,
        .batch = 1000 },
      2 },
    { "rows pulled",
      { .strategy = PS_ASP,
        .workers = 1,
        .optimiser = PS_SGD,
        .rows = 3000,
        .batch = 1000,
        .pulls = true },
      3 },
    /* A push that is held until its iteration closes has its list of ranges. */
    { "dense push, bsp",
      { .strategy = PS_BSP,
        .workers = 2,
        .optimiser = PS_SGD,
        .elements = CHUNKS * 262144 },
      3 },
};

#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

START_TEST(a_request_to_a_warm_shard_allocates_its_answer_and_no_more)
{
    struct bench_shard *s;
    long                before;

    ck_assert_ok(bench_shard_open(&s, &requests[_i].options));
    for (uint32_t i = 0; i < ASKED; i++)
        ck_assert_ok(bench_shard_ask(s));
    before = failing_allocations();
    for (uint32_t i = 0; i < ASKED; i++)
        if (bench_shard_ask(s))
            ck_abort_msg("%s", ps_log_last_error());
    ck_assert_msg(failing_allocations() - before <= requests[_i].most * (long)ASKED,
                  "%s: %ld allocations for %u requests, expected at most %ld each",
                  requests[_i].name, failing_allocations() - before, ASKED,
                  requests[_i].most);
    ck_assert_ok(bench_shard_check(s));
    bench_shard_close(&s);
}
END_TEST

/* ---- the scratch ---------------------------------------------------------------- */

START_TEST(pieces_of_a_scratch_are_apart_and_aligned)
{
    struct psd_scratch s = { 0 };
    uint8_t           *pieces[20];

    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < 20; i++) {
            pieces[i] = psd_scratch_get(&s, 1 + i * 37);
            ck_assert_ptr_nonnull(pieces[i]);
            ck_assert_uint_eq((uintptr_t)pieces[i] % 64, 0);
            memset(pieces[i], (int)i, 1 + i * 37);
        }
        for (size_t i = 0; i < 20; i++)
            for (size_t k = 0; k < 1 + i * 37; k++)
                ck_assert_uint_eq(pieces[i][k], i);
        psd_scratch_reset(&s);
    }
    psd_scratch_free(&s);
}
END_TEST

START_TEST(a_scratch_asks_once_for_what_it_gives_again_and_again)
{
    struct psd_scratch s = { 0 };
    long               before;
    bool               all = true;

    ck_assert_ptr_nonnull(psd_scratch_get(&s, 1000));
    ck_assert_ptr_nonnull(psd_scratch_get(&s, 5000));
    psd_scratch_reset(&s);
    before = failing_allocations();
    for (unsigned i = 0; i < 10; i++) {
        all = psd_scratch_get(&s, 5000) && psd_scratch_get(&s, 1000) && all;
        psd_scratch_reset(&s);
    }
    before = failing_allocations() - before; /* Check's assertions take memory */
    ck_assert_int_eq(before, 0);
    ck_assert(all);
    psd_scratch_free(&s);
}
END_TEST

START_TEST(a_scratch_keeps_no_more_than_it_may)
{
    struct psd_scratch s = { 0 };

    ck_assert_ptr_nonnull(psd_scratch_get(&s, PSD_SCRATCH_KEPT + 1));
    psd_scratch_reset(&s);
    ck_assert_uint_eq(s.room, 0);
    ck_assert_ptr_nonnull(psd_scratch_get(&s, 4096));
    psd_scratch_reset(&s);
    ck_assert_uint_eq(s.room, 4096);
    ck_assert_ptr_null(psd_scratch_get(&s, SIZE_MAX - 8));
    ck_assert_ptr_null(psd_scratch_get(&s, SIZE_MAX / 2));
    psd_scratch_reset(&s);
    psd_scratch_free(&s);
}
END_TEST

START_TEST(without_memory_a_scratch_stays_as_it_is)
{
    struct psd_scratch s = { 0 };

    ck_assert_ptr_nonnull(psd_scratch_get(&s, 64));
    psd_scratch_reset(&s);
    failing_at(1);
    ck_assert_ptr_null(psd_scratch_get(&s, 128));
    ck_assert(failing_stop());
    ck_assert_ptr_nonnull(psd_scratch_get(&s, 64));
    failing_at(1);
    psd_scratch_reset(&s); /* it had been asked for more, and does not get it */
    ck_assert(failing_stop());
    ck_assert_uint_eq(s.room, 64);
    ck_assert_ptr_nonnull(psd_scratch_get(&s, 64));
    psd_scratch_reset(&s);
    psd_scratch_free(&s);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("allocation_warm");
    TCase *t = tcase_create("allocation_warm");

    tcase_add_loop_test(t, a_request_to_a_warm_shard_allocates_its_answer_and_no_more,
                        0, REQUESTS);
    tcase_add_test(t, pieces_of_a_scratch_are_apart_and_aligned);
    tcase_add_test(t, a_scratch_asks_once_for_what_it_gives_again_and_again);
    tcase_add_test(t, a_scratch_keeps_no_more_than_it_may);
    tcase_add_test(t, without_memory_a_scratch_stays_as_it_is);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(suite)
