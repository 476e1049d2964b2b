/* ballast.c - see ballast.h. */
#include "common/net/ballast.h"

/* Smaller ones are many, and free little. */
#define LEAST_BYTES (32u << 10)

/* glibc's heaps of threads: as large, and at multiples of it.  Elsewhere are the first
 * large blocks, which are not of a heap, and other heaps. */
#define HEAP_BYTES (UINT64_C(64) << 20)

static bool lies_better(const struct ps_buf *frame, const struct ps_buf *held)
{
    const uint64_t at = (uintptr_t)frame->data;
    const uint64_t held_at = held ? (uintptr_t)held->data : 0;

    return at / HEAP_BYTES != held_at / HEAP_BYTES || at > held_at;
}

void psn_ballast_see(struct psn_ballast *b, const struct ps_parcel *p)
{
    for (uint32_t i = 0; i < p->n_frames; i++) {
        struct ps_buf *frame = p->frames[i];

        if (frame->len < LEAST_BYTES || !lies_better(frame, b->highest))
            continue;
        ps_buf_drop(&b->highest);
        b->highest = ps_buf_share(frame);
    }
}

void psn_ballast_drop(struct psn_ballast *b)
{
    ps_buf_drop(&b->highest);
}
