/* arena.c - see arena.h. */
#include "common/wire/arena.h"

#include <stdlib.h>

#define ALIGN 16u

struct ps_arena_block {
    struct ps_arena_block *next;
    _Alignas(ALIGN) uint8_t bytes[];
};

void ps_arena_lend(struct ps_arena *a, void *bytes, size_t room)
{
    *a = (struct ps_arena){ .bytes = bytes, .room = room, .lent = true };
}

static void *get_extra(struct ps_arena *a, size_t bytes)
{
    struct ps_arena_block *block = malloc(sizeof(*block) + bytes);

    if (!block)
        return NULL;
    block->next = a->extra;
    a->extra = block;
    a->grown++;
    return block->bytes;
}

void *ps_arena_get(struct ps_arena *a, size_t bytes)
{
    size_t padded;
    void  *piece;

    if (bytes > PS_ARENA_MAX)
        return NULL;
    padded = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (padded > PS_ARENA_MAX - a->wanted)
        return NULL;
    a->wanted += padded;
    if (padded > a->room - a->used)
        return get_extra(a, padded);
    piece = a->bytes + a->used;
    a->used += padded;
    return piece;
}

static void drop_extra(struct ps_arena *a)
{
    while (a->extra) {
        struct ps_arena_block *block = a->extra;

        a->extra = block->next;
        free(block);
    }
}

void ps_arena_reset(struct ps_arena *a)
{
    if (a->extra) {
        uint8_t *larger = malloc(a->wanted);

        drop_extra(a);
        if (larger) { /* without it the old block serves on */
            if (!a->lent)
                free(a->bytes);
            a->bytes = larger;
            a->room = a->wanted;
            a->lent = false;
            a->grown++;
        }
    }
    a->used = 0;
    a->wanted = 0;
}

void ps_arena_free(struct ps_arena *a)
{
    drop_extra(a);
    if (!a->lent)
        free(a->bytes);
    *a = (struct ps_arena){ 0 };
}
