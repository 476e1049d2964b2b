/*
 * buf.h - a counted block of bytes: how bulk data changes hands.
 *
 * Ownership shows in the signature:
 *     struct ps_buf *b         lent for the call
 *     struct ps_buf **b        taken; *b is NULL afterwards, also on failure
 *     struct ps_buf **out      given; the caller drops it
 *
 * The count is atomic because ZeroMQ releases sent blocks from its own thread
 * (zmq_msg_init_data).  The bytes are not: only a sole owner may write them.
 */
#ifndef PS_BASE_BUF_H
#define PS_BASE_BUF_H

#include "common/base/status.h"

#include <stdatomic.h>
#include <stdbool.h>

#define PS_BUF_ALIGN 64u

struct ps_segment;
struct ps_sheet;

struct ps_buf {
    uint8_t    *data; /* PS_BUF_ALIGN-aligned, 8-aligned when adopted */
    size_t      len;  /* bytes in use */
    size_t      room; /* bytes allocated, >= len */
    atomic_uint owners;
    bool        placed;           /* this struct lies in memory of another block */
    void (*release)(void *owner); /* NULL: `data` follows this struct in memory */
    void              *owner;
    struct ps_segment *segment; /* of a heap (heap.h), where `data` lies; NULL: none */
    struct ps_sheet *sheet; /* it stands for many blocks (sheet.h); NULL: it does not */
};

/* A block with len == 0; its bytes are not initialised. */
ps_status ps_buf_new(struct ps_buf **out, size_t room) PS_CHECKED;

/* A block holding a copy of the bytes. */
ps_status ps_buf_copy(struct ps_buf **out, const void *data, size_t bytes) PS_CHECKED;

/*
 * A block around foreign memory: release(owner) is called when the last owner
 * drops it, on whichever thread that is.  On failure release was not called.
 */
ps_status ps_buf_adopt(struct ps_buf **out, void *data, size_t bytes,
                       void (*release)(void *owner), void *owner) PS_CHECKED;

struct ps_buf *ps_buf_share(struct ps_buf *b);

/* A part of a block as a block of its own; the whole is held as long. */
ps_status ps_buf_view(struct ps_buf **out, struct ps_buf *whole, size_t offset,
                      size_t bytes) PS_CHECKED;

/* The same without an allocation: the struct itself is put to `at`, memory of the whole
 * block's own that nobody else uses. */
struct ps_buf *ps_buf_place(void *at, struct ps_buf *whole, void *data, size_t bytes);

/* NULL is fine; *b becomes NULL. */
void ps_buf_drop(struct ps_buf **b);

/* Nobody else holds it: its bytes may be written in place. */
bool ps_buf_sole(const struct ps_buf *b);

#endif
