/* slabs.c - see slabs.h. */
#include "server/store/slabs.h"

#include "server/store/huge.h"

#include <assert.h>
#include <stdlib.h>

/* In front of the bytes of a block, which so begin at the next line. */
struct block {
    struct psd_slabs *home;
    struct block     *next; /* of those that nobody holds */
};

#define HEAD_BYTES ((size_t)PS_BUF_ALIGN)

struct psd_slabs {
    size_t block_bytes, stride; /* of a block, and from one to the next */

    size_t    n_slabs, slabs_room;
    uint8_t **slabs;
    uint8_t  *fresh; /* of the last slab, what was never handed out */
    size_t    n_fresh;

    atomic_uint             owners; /* the matrix, and each block that somebody holds */
    _Atomic(struct block *) dropped;
    struct block           *idle; /* dropped before, and seen since */
};

ps_status psd_slabs_new(struct psd_slabs **out, size_t block_bytes)
{
    struct psd_slabs *s = calloc(1, sizeof(*s));

    assert(block_bytes <= PSD_SLAB_BLOCK_BYTES);
    if (!s)
        return ps_fail(PS_ERR_NO_MEMORY, "rows: no memory for their pages");
    s->block_bytes = block_bytes;
    s->stride =
        HEAD_BYTES + (block_bytes + PS_BUF_ALIGN - 1) / PS_BUF_ALIGN * PS_BUF_ALIGN;
    atomic_init(&s->owners, 1);
    *out = s;
    return PS_OK;
}

static void let_go(struct psd_slabs *s)
{
    /* acq_rel: the last one must see what the others have done. */
    if (atomic_fetch_sub_explicit(&s->owners, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < s->n_slabs; i++)
        free(s->slabs[i]);
    free(s->slabs);
    free(s);
}

void psd_slabs_free(struct psd_slabs **slabs)
{
    struct psd_slabs *s = *slabs;

    *slabs = NULL;
    if (s)
        let_go(s);
}

/* The block's last owner has dropped it, on whichever thread. */
static void drop(void *owner)
{
    struct block     *b = owner;
    struct psd_slabs *s = b->home;

    b->next = atomic_load_explicit(&s->dropped, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        &s->dropped, &b->next, b, memory_order_release, memory_order_relaxed))
        ;
    let_go(s);
}

static bool add_slab(struct psd_slabs *s)
{
    if (s->n_slabs == s->slabs_room) {
        size_t    room = s->slabs_room ? 2 * s->slabs_room : 4;
        uint8_t **grown = realloc(s->slabs, room * sizeof(*grown));

        if (!grown)
            return false;
        s->slabs = grown;
        s->slabs_room = room;
    }
    s->fresh = psd_huge_alloc(PSD_HUGE_BYTES);
    if (!s->fresh)
        return false;
    s->slabs[s->n_slabs++] = s->fresh;
    s->n_fresh = PSD_HUGE_BYTES / s->stride;
    return true;
}

/* NULL: no memory. */
static struct block *next_block(struct psd_slabs *s)
{
    struct block *b;

    /* acquire: what its holder did with a block comes before what the next one does */
    if (!s->idle)
        s->idle = atomic_exchange_explicit(&s->dropped, NULL, memory_order_acquire);
    b = s->idle;
    if (b) {
        s->idle = b->next;
        return b;
    }
    if (s->n_fresh == 0 && !add_slab(s))
        return NULL;
    b = (struct block *)(void *)s->fresh;
    b->home = s;
    s->fresh += s->stride;
    s->n_fresh--;
    return b;
}

ps_status psd_slabs_take(struct psd_slabs *s, struct ps_buf **out)
{
    struct block *b = next_block(s);
    ps_status     st;

    if (!b)
        return ps_fail(PS_ERR_NO_MEMORY, "rows: no memory for a page of %zu bytes",
                       s->block_bytes);
    st = ps_buf_adopt(out, (uint8_t *)b + HEAD_BYTES, s->block_bytes, drop, b);
    if (st) {
        b->next = s->idle;
        s->idle = b;
        return st;
    }
    atomic_fetch_add_explicit(&s->owners, 1, memory_order_relaxed);
    return PS_OK;
}

size_t psd_slabs_bytes(const struct psd_slabs *s)
{
    return s->n_slabs * PSD_HUGE_BYTES;
}
