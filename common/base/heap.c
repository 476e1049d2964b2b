/* heap.c - see heap.h. */
#include "common/base/heap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CLASSES 6u /* PS_HEAP_LEAST_BYTES times 1, 2, .. 32 */

/* Segments are sparse: what was never written takes no memory. */
#define FIRST_SEGMENT_BYTES ((size_t)64 << 20)
#define LAST_SEGMENT_BYTES ((size_t)1 << 30)

struct block {
    struct block      *next;
    struct ps_heap    *heap;
    struct ps_segment *segment;
    uint8_t           *data;
    unsigned class;
};

struct ps_heap {
    atomic_uint holders; /* whoever takes blocks, and each block that is out */

    /* Dropped blocks come in here from any thread and are sorted by the one that takes.
     */
    _Atomic(struct block *) dropped;
    struct block           *free[CLASSES];

    struct ps_segment **segments; /* the last one has room */
    size_t              n_segments;
    size_t              used;   /* bytes of the last one */
    bool                barren; /* the system gives no more */
};

/* ---- segments ------------------------------------------------------------------- */

static const int seals =
    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

ps_status ps_memory_file(const char *name, size_t bytes, int *fd, void **base)
{
    *fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return ps_fail(PS_ERR_SYSTEM, "cannot make a memory file: %m");
    if (ftruncate(*fd, (off_t)bytes) == 0) {
        *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                     *fd, 0);
        if (*base != MAP_FAILED && fcntl(*fd, F_ADD_SEALS, seals) == 0)
            return PS_OK;
        if (*base != MAP_FAILED)
            munmap(*base, bytes);
    }
    close(*fd);
    return ps_fail(PS_ERR_SYSTEM, "cannot set up a memory file of %zu bytes: %m",
                   bytes);
}

static ps_status segment_new(struct ps_segment **out, size_t bytes)
{
    static atomic_uint_fast64_t numbers;
    struct ps_segment          *s = calloc(1, sizeof(*s));
    void                       *base;
    ps_status                   st;

    if (!s)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a segment");
    st = ps_memory_file("psd", bytes, &s->fd, &base);
    if (st) {
        free(s);
        return st;
    }
    s->number = atomic_fetch_add(&numbers, 1) + 1;
    s->base = base;
    s->bytes = bytes;
    atomic_init(&s->holders, 1);
    *out = s;
    return PS_OK;
}

struct ps_segment *ps_segment_hold(struct ps_segment *s)
{
    atomic_fetch_add_explicit(&s->holders, 1, memory_order_relaxed);
    return s;
}

void ps_segment_drop(struct ps_segment **s)
{
    struct ps_segment *gone = *s;

    *s = NULL;
    if (gone && atomic_fetch_sub_explicit(&gone->holders, 1, memory_order_acq_rel) == 1)
        free(gone);
}

/* The memory goes; who holds the segment sees that it is closed. */
static void segment_close(struct ps_segment *s)
{
    atomic_store(&s->closed, true);
    munmap(s->base, s->bytes);
    close(s->fd);
    ps_segment_drop(&s);
}

static ps_status add_segment(struct ps_heap *h)
{
    size_t bytes =
        h->n_segments ? 2 * h->segments[h->n_segments - 1]->bytes : FIRST_SEGMENT_BYTES;
    struct ps_segment **grown =
        reallocarray(h->segments, h->n_segments + 1, sizeof(*grown));
    ps_status st;

    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a segment");
    h->segments = grown;
    st = segment_new(&grown[h->n_segments],
                     bytes < LAST_SEGMENT_BYTES ? bytes : LAST_SEGMENT_BYTES);
    if (st)
        return st;
    h->n_segments++;
    h->used = 0;
    return PS_OK;
}

/* ---- the heap ------------------------------------------------------------------- */

ps_status ps_heap_new(struct ps_heap **out)
{
    struct ps_heap *h = calloc(1, sizeof(*h));

    if (!h)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a heap");
    atomic_init(&h->holders, 1);
    *out = h;
    return PS_OK;
}

static void free_blocks(struct block *b)
{
    while (b) {
        struct block *next = b->next;

        free(b);
        b = next;
    }
}

static void heap_drop(struct ps_heap *h)
{
    if (atomic_fetch_sub_explicit(&h->holders, 1, memory_order_acq_rel) > 1)
        return;
    free_blocks(atomic_load(&h->dropped));
    for (unsigned i = 0; i < CLASSES; i++)
        free_blocks(h->free[i]);
    for (size_t i = 0; i < h->n_segments; i++)
        segment_close(h->segments[i]);
    free(h->segments);
    free(h);
}

void ps_heap_free(struct ps_heap **heap)
{
    struct ps_heap *h = *heap;

    *heap = NULL;
    if (h)
        heap_drop(h);
}

static void drop_block(void *owner)
{
    struct block   *b = owner;
    struct ps_heap *h = b->heap;

    b->next = atomic_load_explicit(&h->dropped, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        &h->dropped, &b->next, b, memory_order_release, memory_order_relaxed))
        ;
    heap_drop(h);
}

static void sort_dropped(struct ps_heap *h)
{
    struct block *b = atomic_exchange_explicit(&h->dropped, NULL, memory_order_acquire);

    while (b) {
        struct block *next = b->next;

        b->next = h->free[b->class];
        h->free[b->class] = b;
        b = next;
    }
}

static ps_status carve(struct ps_heap *h, unsigned class, struct block **out)
{
    size_t        bytes = (size_t)PS_HEAP_LEAST_BYTES << class;
    struct block *b;
    ps_status     st = PS_OK;

    if (h->n_segments == 0 || h->segments[h->n_segments - 1]->bytes - h->used < bytes)
        st = h->barren ? PS_ERR_NO_MEMORY : add_segment(h);
    h->barren = st != PS_OK;
    if (st)
        return st;
    b = malloc(sizeof(*b));
    if (!b)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a block");
    *b = (struct block){ .heap = h,
                         .segment = h->segments[h->n_segments - 1],
                         .class = class };
    b->data = b->segment->base + h->used;
    h->used += bytes;
    *out = b;
    return PS_OK;
}

static ps_status take_block(struct ps_heap *h, size_t room, struct block **out)
{
    unsigned class = 0;

    while ((size_t)PS_HEAP_LEAST_BYTES << class < room)
        class ++;
    if (!h->free[class])
        sort_dropped(h);
    if (!h->free[class])
        return carve(h, class, out);
    *out = h->free[class];
    h->free[class] = (*out)->next;
    return PS_OK;
}

ps_status ps_heap_buf(struct ps_heap *h, struct ps_buf **out, size_t room)
{
    struct block *b;
    ps_status     st;

    if (!h || room < PS_HEAP_LEAST_BYTES || room > PS_HEAP_MOST_BYTES ||
        take_block(h, room, &b))
        return ps_buf_new(out, room);
    st = ps_buf_adopt(out, b->data, (size_t)PS_HEAP_LEAST_BYTES << b->class, drop_block,
                      b);
    atomic_fetch_add_explicit(&h->holders, 1, memory_order_relaxed);
    if (st) {
        drop_block(b);
        return st;
    }
    (*out)->len = 0;
    (*out)->segment = b->segment;
    return PS_OK;
}
