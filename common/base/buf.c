/* buf.c - see buf.h. */
#include "common/base/buf.h"

#include <stdlib.h>
#include <string.h>

/* The struct and its bytes are one allocation; the bytes start on a line of their own.
 * That is looked for here, because malloc gives small blocks back at once which it has
 * just been given, and aligned_alloc does not. */
#define EXTRA_BYTES (sizeof(struct ps_buf) + PS_BUF_ALIGN - 1)

static uint8_t *first_line(struct ps_buf *b)
{
    uintptr_t end = (uintptr_t)(b + 1);

    return (uint8_t *)(end + (PS_BUF_ALIGN - end % PS_BUF_ALIGN) % PS_BUF_ALIGN);
}

ps_status ps_buf_new(struct ps_buf **out, size_t room)
{
    struct ps_buf *b;
    size_t         padded;

    if (room > SIZE_MAX - EXTRA_BYTES - PS_BUF_ALIGN)
        return ps_fail(PS_ERR_NO_MEMORY, "buffer: %zu bytes is too much", room);
    padded = (room + PS_BUF_ALIGN - 1) / PS_BUF_ALIGN * PS_BUF_ALIGN;
    b = malloc(EXTRA_BYTES + padded);
    if (!b)
        return ps_fail(PS_ERR_NO_MEMORY, "buffer: no memory for %zu bytes", room);
    *b = (struct ps_buf){ .data = first_line(b), .room = room };
    atomic_init(&b->owners, 1);
    *out = b;
    return PS_OK;
}

ps_status ps_buf_copy(struct ps_buf **out, const void *data, size_t bytes)
{
    ps_status st = ps_buf_new(out, bytes);

    if (st)
        return st;
    if (bytes > 0)
        memcpy((*out)->data, data, bytes);
    (*out)->len = bytes;
    return PS_OK;
}

ps_status ps_buf_adopt(struct ps_buf **out, void *data, size_t bytes,
                       void (*release)(void *owner), void *owner)
{
    struct ps_buf *b = malloc(sizeof(*b));

    if (!b)
        return ps_fail(PS_ERR_NO_MEMORY, "buffer: no memory to hold a frame");
    *b = (struct ps_buf){
        .data = data, .len = bytes, .room = bytes, .release = release, .owner = owner
    };
    atomic_init(&b->owners, 1);
    *out = b;
    return PS_OK;
}

struct ps_buf *ps_buf_share(struct ps_buf *b)
{
    atomic_fetch_add_explicit(&b->owners, 1, memory_order_relaxed);
    return b;
}

static void drop_whole(void *owner)
{
    struct ps_buf *whole = owner;

    ps_buf_drop(&whole);
}

ps_status ps_buf_view(struct ps_buf **out, struct ps_buf *whole, size_t offset,
                      size_t bytes)
{
    struct ps_buf *held = ps_buf_share(whole);
    ps_status st = ps_buf_adopt(out, whole->data + offset, bytes, drop_whole, held);

    if (st)
        ps_buf_drop(&held);
    else
        (*out)->segment = whole->segment;
    return st;
}

struct ps_buf *ps_buf_place(void *at, struct ps_buf *whole, void *data, size_t bytes)
{
    struct ps_buf *b = at;

    *b = (struct ps_buf){ .data = data,
                          .len = bytes,
                          .room = bytes,
                          .placed = true,
                          .release = drop_whole,
                          .owner = ps_buf_share(whole),
                          .segment = whole->segment };
    atomic_init(&b->owners, 1);
    return b;
}

void ps_buf_drop(struct ps_buf **b)
{
    struct ps_buf *gone = *b;

    *b = NULL;
    /* acq_rel: the last owner must see every write made by the others. */
    if (!gone || atomic_fetch_sub_explicit(&gone->owners, 1, memory_order_acq_rel) > 1)
        return;
    if (gone->placed) {
        gone->release(gone->owner); /* which may be the end of this memory, too */
        return;
    }
    if (gone->release)
        gone->release(gone->owner);
    free(gone);
}

bool ps_buf_sole(const struct ps_buf *b)
{
    return atomic_load_explicit(&b->owners, memory_order_acquire) == 1;
}
