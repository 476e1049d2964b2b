/* The frame that keeps its heap: which one it is, and that with it nothing is got from
 * the system twice. */
#include "common/net/ballast.h"
#include "tests/unit/suite.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define HEAP_BYTES ((size_t)64 << 20)
#define FRAME_BYTES ((size_t)1 << 20)
#define FRAMES 5u

static struct psn_ballast ballast;
static uint8_t           *heap, *other_heap; /* addresses, without memory behind them */

static void two_heaps(void)
{
    uint8_t *at = mmap(NULL, 3 * HEAP_BYTES, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    ck_assert(at != MAP_FAILED);
    heap = at + (HEAP_BYTES - (uintptr_t)at % HEAP_BYTES) % HEAP_BYTES;
    other_heap = heap + HEAP_BYTES;
    ballast = (struct psn_ballast){ 0 };
}

static void drop_ballast(void)
{
    psn_ballast_drop(&ballast);
    ck_assert_ptr_null(ballast.highest);
}

static void nothing_to_free(void *owner)
{
    (void)owner;
}

/* A parcel of one frame, seen and dropped; is the frame held? */
static bool holds(void *at, size_t bytes)
{
    struct ps_parcel p = { .n_frames = 1 };

    ck_assert_ok(ps_buf_adopt(&p.frames[0], at, bytes, nothing_to_free, NULL));
    psn_ballast_see(&ballast, &p);
    ps_parcel_drop(&p);
    return ballast.highest && ballast.highest->data == at;
}

START_TEST(the_highest_frame_is_held)
{
    ck_assert(holds(heap + 2 * FRAME_BYTES, FRAME_BYTES));
    ck_assert(!holds(heap + FRAME_BYTES, FRAME_BYTES));
    ck_assert(holds(heap + 3 * FRAME_BYTES, FRAME_BYTES));
    ck_assert(ps_buf_sole(ballast.highest));
}
END_TEST

/* The first frames of all are not of a heap, and lie above all heaps. */
START_TEST(a_frame_of_another_heap_is_held_instead)
{
    ck_assert(holds(other_heap + FRAME_BYTES, FRAME_BYTES));
    ck_assert(holds(heap + 2 * FRAME_BYTES, FRAME_BYTES));
    ck_assert(!holds(heap + FRAME_BYTES, FRAME_BYTES));
}
END_TEST

START_TEST(a_small_frame_is_not_held)
{
    ck_assert(!holds(heap + FRAME_BYTES, 1000));
    ck_assert(holds(heap, FRAME_BYTES));
    ck_assert(!holds(heap + FRAME_BYTES, 1000));
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

/* As many as are under way at a time, each of malloc. */
static void take_and_drop_frames(void)
{
    struct ps_parcel p[FRAMES] = { 0 };

    for (uint32_t i = 0; i < FRAMES; i++) {
        void *block = malloc(FRAME_BYTES);

        ck_assert_ptr_nonnull(block);
        memset(block, (int)i, FRAME_BYTES);
        ck_assert_ok(ps_buf_adopt(&p[i].frames[0], block, FRAME_BYTES, free, block));
        p[i].n_frames = 1;
        psn_ballast_see(&ballast, &p[i]);
    }
    for (uint32_t i = 0; i < FRAMES; i++)
        ps_parcel_drop(&p[i]);
}

/* A thread has a heap of its own, as ZeroMQ's have. */
static void *count_faults(void *out)
{
    struct rusage before, after;

    for (int i = 0; i < 10; i++)
        take_and_drop_frames();
    getrusage(RUSAGE_THREAD, &before);
    for (int i = 0; i < 100; i++)
        take_and_drop_frames();
    getrusage(RUSAGE_THREAD, &after);
    *(long *)out = after.ru_minflt - before.ru_minflt;
    return NULL;
}

START_TEST(frames_that_come_and_go_stay_in_memory_that_is_there)
{
    pthread_t thread;
    long      faults = -1;

    ck_assert_int_eq(pthread_create(&thread, NULL, count_faults, &faults), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    /* Without: about 256 for each of 500 frames. */
    ck_assert_int_le(faults, 256);
}
END_TEST

#endif

static Suite *ballast_suite(void)
{
    Suite *s = suite_create("ballast");
    TCase *which = tcase_create("which");
    TCase *memory = tcase_create("memory");

    tcase_add_checked_fixture(which, two_heaps, drop_ballast);
    tcase_add_test(which, the_highest_frame_is_held);
    tcase_add_test(which, a_frame_of_another_heap_is_held_instead);
    tcase_add_test(which, a_small_frame_is_not_held);
    suite_add_tcase(s, which);

    tcase_add_checked_fixture(memory, NULL, drop_ballast);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    tcase_add_test(memory, frames_that_come_and_go_stay_in_memory_that_is_there);
#endif
    suite_add_tcase(s, memory);
    return s;
}

TEST_MAIN(ballast_suite)
