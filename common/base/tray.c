/* tray.c - see tray.h. */
#include "common/base/tray.h"

static size_t padded(size_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

/* Makes sure that there is room for so many bytes. */
static ps_status turn(struct ps_tray *t, size_t bytes)
{
    if (t->block && ps_buf_sole(t->block))
        t->used = 0;
    if (t->block && bytes <= PS_TRAY_BYTES - t->used)
        return PS_OK;
    ps_tray_clear(t);
    return ps_buf_new(&t->block, PS_TRAY_BYTES);
}

ps_status ps_tray_buf(struct ps_tray *t, struct ps_heap *heap, struct ps_buf **out,
                      size_t room)
{
    size_t    bytes = sizeof(struct ps_buf) + padded(room);
    uint8_t  *at;
    ps_status st;

    if (!t || room > PS_TRAY_MOST_BYTES)
        return ps_heap_buf(heap, out, room);
    st = turn(t, bytes);
    if (st)
        return st;
    at = t->block->data + t->used;
    t->used += bytes;
    *out = ps_buf_place(at, t->block, at + sizeof(struct ps_buf), room);
    (*out)->len = 0;
    return PS_OK;
}

void ps_tray_clear(struct ps_tray *t)
{
    ps_buf_drop(&t->block);
    t->used = 0;
}
