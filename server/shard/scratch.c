/* scratch.c - see scratch.h. */
#include "server/shard/scratch.h"

#include <stdlib.h>

#define ALIGN ((size_t)64)

struct psd_scratch_extra {
    struct psd_scratch_extra *next;
    _Alignas(64) uint8_t bytes[];
};

static void *get_extra(struct psd_scratch *s, size_t bytes)
{
    struct psd_scratch_extra *extra = aligned_alloc(ALIGN, sizeof(*extra) + bytes);

    if (!extra)
        return NULL;
    extra->next = s->extra;
    s->extra = extra;
    return extra->bytes;
}

void *psd_scratch_get(struct psd_scratch *s, size_t bytes)
{
    const size_t padded = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    void        *piece;

    if (bytes > PTRDIFF_MAX - s->wanted - 2 * ALIGN)
        return NULL;
    s->wanted += padded;
    if (padded > s->room - s->used)
        return get_extra(s, padded);
    piece = s->bytes + s->used;
    s->used += padded;
    return piece;
}

static void drop_extra(struct psd_scratch *s)
{
    while (s->extra) {
        struct psd_scratch_extra *next = s->extra->next;

        free(s->extra);
        s->extra = next;
    }
}

/* Without memory for a larger block the old one is as good, only slower. */
static void grow(struct psd_scratch *s)
{
    uint8_t *larger = aligned_alloc(ALIGN, s->wanted);

    if (!larger)
        return;
    free(s->bytes);
    s->bytes = larger;
    s->room = s->wanted;
}

void psd_scratch_reset(struct psd_scratch *s)
{
    drop_extra(s);
    if (s->wanted > s->room && s->wanted <= PSD_SCRATCH_KEPT)
        grow(s);
    s->used = s->wanted = 0;
}

void psd_scratch_free(struct psd_scratch *s)
{
    drop_extra(s);
    free(s->bytes);
    *s = (struct psd_scratch){ 0 };
}
