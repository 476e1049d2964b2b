/*
 * tray.h - small buffers, many to a block.
 *
 * The header of a message, a key, a row: a few dozen bytes that live until their
 * message is through.  They are cut one behind the other from a block, which each of
 * them holds; so they cost no allocation.  When all have gone, the block is used from
 * its beginning; a full one is left to those that still are, and goes with the last of
 * them.  So one that stays keeps PS_TRAY_BYTES.
 *
 * Thread: buffers are taken by one thread and dropped by any.
 */
#ifndef PS_BASE_TRAY_H
#define PS_BASE_TRAY_H

#include "common/base/heap.h"

#define PS_TRAY_BYTES (8u << 10)
#define PS_TRAY_MOST_BYTES 512u /* what is larger has a block of its own */

/* Zeroed: empty. */
struct ps_tray {
    struct ps_buf *block;
    size_t         used;
};

/* A buffer with len == 0; its bytes are not initialised and 8-aligned.  Without a tray,
 * and if it is large, as ps_heap_buf. */
ps_status ps_tray_buf(struct ps_tray *t, struct ps_heap *heap, struct ps_buf **out,
                      size_t room) PS_CHECKED;

/* Its buffers stay until they are dropped. */
void ps_tray_clear(struct ps_tray *t);

#endif
