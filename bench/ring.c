/* ring.c - see ring.h. */
#include "bench/ring.h"

#include "bench/stream.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Looks before a core is offered to somebody else, who may be the other process. */
#define LOOKS 2000u

enum order { ADD, BRING };

/* What lies before the slots; the other process's words are on lines of their own. */
struct head {
    _Alignas(64) atomic_ullong put; /* slots that were filled, or asked for */
    _Alignas(64) atomic_ullong taken;
    _Alignas(64) struct {
        uint64_t   at, bytes; /* of the array */
        enum order order;
    } slots[BENCH_RING_SLOTS];
};

#define SLOTS_AT 4096u
#define SHARED_BYTES (SLOTS_AT + BENCH_RING_SLOTS * BENCH_RING_SLOT_BYTES)

_Static_assert(sizeof(struct head) <= SLOTS_AT, "the head has a page");

struct bench_ring {
    struct head *head;
    pid_t        other;
    float       *array; /* of the other process */
    uint64_t     array_bytes;
    uint64_t     put;  /* slots */
    uint64_t     next; /* of those that were asked for, to be taken */
};

static float *slot(const struct bench_ring *r, uint64_t number)
{
    return (float *)((uint8_t *)r->head + SLOTS_AT +
                     number % BENCH_RING_SLOTS * BENCH_RING_SLOT_BYTES);
}

/* Until the counter has reached `least`. */
static void wait_for(const atomic_ullong *counter, uint64_t least)
{
    for (uint32_t i = 1; atomic_load_explicit(counter, memory_order_acquire) < least;
         i++)
        if (i % LOOKS == 0)
            sched_yield();
}

/* ---- the other process ---------------------------------------------------------- */

static void serve(const struct bench_ring *r)
{
    struct head *h = r->head;

    for (uint64_t n = 0;; n++) {
        const size_t i = n % BENCH_RING_SLOTS;
        float       *own;

        wait_for(&h->put, n + 1);
        own = r->array + h->slots[i].at / sizeof(float);
        if (h->slots[i].order == ADD)
            bench_stream_1(h->slots[i].bytes / sizeof(float), own, slot(r, n));
        else
            memcpy(slot(r, n), own, h->slots[i].bytes);
        atomic_store_explicit(&h->taken, n + 1, memory_order_release);
    }
}

static ps_status wait_for_stop(const struct bench_ring *r)
{
    int how;

    if (waitpid(r->other, &how, WUNTRACED) == r->other && WIFSTOPPED(how))
        return PS_OK;
    return ps_fail(PS_ERR_SYSTEM, "ring: its process ended before it began");
}

static ps_status start(struct bench_ring *r)
{
    const pid_t parent = getpid();

    r->other = fork();
    if (r->other < 0)
        return ps_fail(PS_ERR_SYSTEM, "ring: cannot start a process: %m");
    if (r->other > 0)
        return wait_for_stop(r);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(EXIT_FAILURE);
    memset(r->array, 0, r->array_bytes); /* so that memory is behind it */
    raise(SIGSTOP);
    serve(r);
    _exit(EXIT_FAILURE);
}

/* ---- this one ------------------------------------------------------------------- */

static void *map(uint64_t bytes, int flags)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

ps_status bench_ring_open(struct bench_ring **out, uint64_t bytes)
{
    struct bench_ring *r = calloc(1, sizeof(*r));
    ps_status          st = PS_OK;

    if (!r)
        return ps_fail(PS_ERR_NO_MEMORY, "ring: no memory");
    r->array_bytes = bytes;
    r->head = map(SHARED_BYTES, MAP_SHARED);
    r->array = map(bytes, MAP_PRIVATE | MAP_NORESERVE);
    if (!r->head || !r->array)
        st = ps_fail(PS_ERR_NO_MEMORY, "ring: no memory for an array of %ju MiB",
                     (uintmax_t)(bytes >> 20));
    if (!st)
        st = start(r);
    if (st)
        bench_ring_close(&r);
    *out = r;
    return st;
}

void bench_ring_close(struct bench_ring **ring)
{
    struct bench_ring *r = *ring;

    *ring = NULL;
    if (!r)
        return;
    if (r->other > 0) {
        kill(r->other, SIGKILL);
        waitpid(r->other, NULL, 0);
    }
    if (r->array)
        munmap(r->array, r->array_bytes);
    if (r->head)
        munmap(r->head, SHARED_BYTES);
    free(r);
}

void bench_ring_let_go(struct bench_ring *r)
{
    kill(r->other, SIGCONT);
}

void bench_ring_stop(struct bench_ring *r)
{
    kill(r->other, SIGSTOP);
}

/* The next slot, when its last bytes have been taken out. */
static float *wait_for_slot(const struct bench_ring *r)
{
    if (r->put >= BENCH_RING_SLOTS)
        wait_for(&r->head->taken, r->put + 1 - BENCH_RING_SLOTS);
    return slot(r, r->put);
}

static void hand_over(struct bench_ring *r, enum order order, uint64_t at,
                      uint64_t bytes)
{
    r->head->slots[r->put % BENCH_RING_SLOTS].at = at;
    r->head->slots[r->put % BENCH_RING_SLOTS].bytes = bytes;
    r->head->slots[r->put % BENCH_RING_SLOTS].order = order;
    atomic_store_explicit(&r->head->put, ++r->put, memory_order_release);
}

void bench_ring_push(struct bench_ring *r, const void *from, uint64_t at,
                     uint64_t bytes)
{
    memcpy(wait_for_slot(r), from, bytes);
    hand_over(r, ADD, at, bytes);
    r->next = r->put;
}

void bench_ring_settle(struct bench_ring *r)
{
    wait_for(&r->head->taken, r->put);
}

void bench_ring_ask(struct bench_ring *r, uint64_t at, uint64_t bytes)
{
    wait_for_slot(r);
    hand_over(r, BRING, at, bytes);
}

void bench_ring_take(struct bench_ring *r, void *to)
{
    wait_for(&r->head->taken, r->next + 1);
    memcpy(to, slot(r, r->next), r->head->slots[r->next % BENCH_RING_SLOTS].bytes);
    r->next++;
}
