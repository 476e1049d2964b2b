/* failing.c - see failing.h. */
#include "tests/unit/failing.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <stddef.h>

#define NTH_MAX 20000

static _Thread_local long left; /* allocations until one fails; 0: none does */
static _Thread_local long held, n_allocations;
static _Thread_local bool has_failed, paused;

static bool fails(void)
{
    n_allocations++;
    if (left == 0 || paused || --left > 0)
        return false;
    has_failed = true;
    errno = ENOMEM;
    return true;
}

void failing_at(long nth)
{
    left = nth;
    has_failed = paused = false;
}

bool failing_stop(void)
{
    left = 0;
    return has_failed;
}

void failing_pause(void)
{
    paused = true;
}

void failing_resume(void)
{
    paused = false;
}

#ifdef FAILING_WRAP /* the linker calls these in place of the real ones */
#define OURS(name) __wrap_##name
#define REAL(name) __real_##name
#define COUNTS 0
#else /* the C library's own go by these names too */
#define OURS(name) name
#define REAL(name) __libc_##name
#define COUNTS 1
#endif

long failing_allocations(void)
{
    return n_allocations;
}

long failing_held(void)
{
    return COUNTS ? held : 0;
}

void *REAL(malloc)(size_t bytes);
void *REAL(calloc)(size_t n, size_t bytes);
void *REAL(realloc)(void *old, size_t bytes);
void  REAL(free)(void *p);

/* Seen by the libraries too. */
#pragma GCC visibility push(default)
void                  *OURS(malloc)(size_t bytes);
void                  *OURS(calloc)(size_t n, size_t bytes);
void                  *OURS(realloc)(void *old, size_t bytes);
void                  *OURS(aligned_alloc)(size_t alignment, size_t bytes);
void                   OURS(free)(void *p);
#pragma GCC visibility pop

static void *kept(void *p)
{
    held += p != NULL;
    return p;
}

void *OURS(malloc)(size_t bytes)
{
    return fails() ? NULL : kept(REAL(malloc)(bytes));
}

void *OURS(calloc)(size_t n, size_t bytes)
{
    return fails() ? NULL : kept(REAL(calloc)(n, bytes));
}

void *OURS(realloc)(void *old, size_t bytes)
{
    void *p;

    if (fails())
        return NULL;
    p = REAL(realloc)(old, bytes);
    held += p && !old;
    return p;
}

void OURS(free)(void *p)
{
    held -= p != NULL;
    REAL(free)(p);
}

#ifdef FAILING_WRAP
void *REAL(aligned_alloc)(size_t alignment, size_t bytes);
char *REAL(strdup)(const char *text);
char *OURS(strdup)(const char *text);

void *OURS(aligned_alloc)(size_t alignment, size_t bytes)
{
    return fails() ? NULL : REAL(aligned_alloc)(alignment, bytes);
}

/* The C library's calls its own malloc. */
char *OURS(strdup)(const char *text)
{
    return fails() ? NULL : REAL(strdup)(text);
}
#else
void *__libc_memalign(size_t alignment, size_t bytes);

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : kept(__libc_memalign(alignment, bytes));
}
#endif

/* ---- whole operations ----------------------------------------------------------- */

void failing_everywhere(ps_status (*operation)(void))
{
    long n;

    ck_assert_ok(operation()); /* what a library keeps for ever, it keeps from here */
    for (n = 1; n < NTH_MAX; n++) {
        long      before = failing_held();
        ps_status st;
        bool      failed;

        failing_at(n);
        st = operation();
        failed = failing_stop();
        ck_assert_msg(failing_held() == before, "%ld blocks lost at allocation %ld",
                      failing_held() - before, n);
        if (!failed) {
            ck_assert_ok(st);
            break;
        }
        ck_assert_msg(st == PS_OK || st == PS_ERR_NO_MEMORY, "allocation %ld: %s (%s)",
                      n, ps_status_text(st), ps_log_last_error());
        if (st)
            ck_assert_int_gt(strlen(ps_log_last_error()), 0);
    }
    ck_assert_int_lt(n, NTH_MAX);
    ck_assert_int_gt(n, 3);
    ck_assert_ok(operation());
}
