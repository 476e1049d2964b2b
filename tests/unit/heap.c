/* Blocks that others can be shown: where they lie, who gets them again, and when their
 * memory goes. */
#include "common/base/heap.h"
#include "tests/unit/suite.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define KIB (size_t)1024

static struct ps_heap *heap;

static void open_heap(void)
{
    ck_assert_ok(ps_heap_new(&heap));
}

static void close_heap(void)
{
    ps_heap_free(&heap);
}

static struct ps_buf *block(size_t room)
{
    struct ps_buf *b;

    ck_assert_ok(ps_heap_buf(heap, &b, room));
    ck_assert_uint_eq(b->len, 0);
    ck_assert_uint_ge(b->room, room);
    memset(b->data, 7, room);
    return b;
}

START_TEST(blocks_of_a_heap_lie_in_its_segments)
{
    static const size_t rooms[] = { 32 * KIB, 32 * KIB + 1, 100 * KIB, 640 * 1000ull,
                                    1024 * KIB };

    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        struct ps_buf *b = block(rooms[i]);

        ck_assert_ptr_nonnull(b->segment);
        ck_assert_uint_eq((uintptr_t)b->data % PS_BUF_ALIGN, 0);
        ck_assert(b->data >= b->segment->base);
        ck_assert(b->data + b->room <= b->segment->base + b->segment->bytes);
        ps_buf_drop(&b);
    }
}
END_TEST

START_TEST(small_and_huge_blocks_and_those_of_no_heap_are_ordinary_memory)
{
    struct ps_buf *small = block(32 * KIB - 1), *huge = block(1024 * KIB + 1), *none;

    ck_assert_ok(ps_heap_buf(NULL, &none, 64 * KIB));
    ck_assert(!small->segment && !huge->segment && !none->segment);
    ps_buf_drop(&small);
    ps_buf_drop(&huge);
    ps_buf_drop(&none);
}
END_TEST

START_TEST(blocks_do_not_overlap)
{
    enum { N = 300 };
    struct ps_buf *b[N];

    for (size_t i = 0; i < N; i++) {
        b[i] = block((32 + i % 7 * 150) * KIB);
        memset(b[i]->data, (int)i, b[i]->room);
    }
    for (size_t i = 0; i < N; i++) {
        ck_assert_uint_eq(b[i]->data[0], i % 256);
        ck_assert_uint_eq(b[i]->data[b[i]->room - 1], i % 256);
        ps_buf_drop(&b[i]);
    }
}
END_TEST

START_TEST(a_block_that_was_dropped_is_used_again)
{
    struct ps_buf *b = block(100 * KIB);
    uint8_t       *data = b->data;

    ps_buf_drop(&b);
    b = block(90 * KIB);
    ck_assert_ptr_eq(b->data, data);
    ps_buf_drop(&b);
}
END_TEST

static void *drop_it(void *arg)
{
    struct ps_buf *b = arg;

    ps_buf_drop(&b);
    return NULL;
}

START_TEST(any_thread_drops_blocks)
{
    enum { N = 200 };
    pthread_t threads[4];

    for (int round = 0; round < N; round++) {
        for (int i = 0; i < 4; i++)
            ck_assert_int_eq(
                pthread_create(&threads[i], NULL, drop_it, block(64 * KIB)), 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    struct ps_buf *b = block(64 * KIB);

    /* No more than four were ever out, and one for the block behind them. */
    ck_assert_uint_le((size_t)(b->data - b->segment->base), 4 * 64 * KIB);
    ps_buf_drop(&b);
}
END_TEST

START_TEST(a_view_says_where_it_lies_and_holds_the_whole)
{
    struct ps_buf *whole = block(64 * KIB), *view;

    ck_assert_ok(ps_buf_view(&view, whole, 4096, 100));
    ck_assert_ptr_eq(view->segment, whole->segment);
    ck_assert_ptr_eq(view->data, whole->data + 4096);
    ck_assert_uint_eq(view->len, 100);
    ck_assert(!ps_buf_sole(whole));
    ps_buf_drop(&view);
    ck_assert(ps_buf_sole(whole));
    ps_buf_drop(&whole);
}
END_TEST

START_TEST(blocks_outlive_the_heap_and_its_segments_close_with_the_last)
{
    struct ps_buf     *b = block(64 * KIB);
    struct ps_segment *s = ps_segment_hold(b->segment);

    ps_heap_free(&heap);
    ck_assert_uint_eq(b->data[1000], 7);
    ck_assert(!s->closed);
    ps_buf_drop(&b);
    ck_assert(s->closed);
    ps_segment_drop(&s);
}
END_TEST

START_TEST(whoever_is_given_a_segment_can_only_read_it)
{
    struct ps_buf *b = block(64 * KIB);
    int            fd = b->segment->fd;
    const uint8_t *seen = mmap(NULL, b->segment->bytes, PROT_READ, MAP_SHARED, fd, 0);

    ck_assert_ptr_ne(seen, MAP_FAILED);
    ck_assert_uint_eq(seen[b->data - b->segment->base], 7);
    b->data[0] = 9; /* ours to write all the same */
    ck_assert_uint_eq(seen[b->data - b->segment->base], 9);
    ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
                     MAP_FAILED);
    ck_assert_int_eq(mprotect((void *)seen, 4096, PROT_READ | PROT_WRITE), -1);
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), -1);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(ftruncate(fd, (off_t)1 << 40), -1);
    ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096),
                     -1);
    munmap((void *)seen, b->segment->bytes);
    ps_buf_drop(&b);
}
END_TEST

START_TEST(where_the_system_gives_no_memory_files_blocks_are_ordinary_memory)
{
    struct rlimit  some, none;
    struct ps_buf *b;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &some), 0);
    none = some;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    b = block(64 * KIB);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &some), 0);
    ck_assert_ptr_null(b->segment);
    ps_buf_drop(&b);
}
END_TEST

static Suite *heap_suite(void)
{
    Suite *s = suite_create("heap");
    TCase *t = tcase_create("heap");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, open_heap, close_heap);
    tcase_add_test(t, blocks_of_a_heap_lie_in_its_segments);
    tcase_add_test(t, small_and_huge_blocks_and_those_of_no_heap_are_ordinary_memory);
    tcase_add_test(t, blocks_do_not_overlap);
    tcase_add_test(t, a_block_that_was_dropped_is_used_again);
    tcase_add_test(t, any_thread_drops_blocks);
    tcase_add_test(t, a_view_says_where_it_lies_and_holds_the_whole);
    tcase_add_test(t, blocks_outlive_the_heap_and_its_segments_close_with_the_last);
    tcase_add_test(t, whoever_is_given_a_segment_can_only_read_it);
    tcase_add_test(t,
                   where_the_system_gives_no_memory_files_blocks_are_ordinary_memory);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(heap_suite)
