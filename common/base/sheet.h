/*
 * sheet.h - many blocks that travel as one frame.
 *
 * What lies in many places, such as a matrix in its chunks, need not become as many
 * frames to be read by somebody else: a sheet names the places in order and holds the
 * blocks in which they are, and a frame can be such a sheet.  It is made once, and held
 * by as many as like; the blocks stay as they are meanwhile, because whoever writes to
 * blocks copies those that somebody else holds.
 *
 * For other processes of the host a sheet has a list of its pieces that lies in a heap
 * itself, so that lending a sheet is lending one block, whatever the size of what it
 * names.
 *
 * To whoever does not know of sheets such a frame is empty: its `len` is 0.
 *
 * Thread: made by the one that takes blocks from the heap, dropped by any; nothing of
 * it changes.
 */
#ifndef PS_BASE_SHEET_H
#define PS_BASE_SHEET_H

#include "common/base/heap.h"

struct ps_sheet_piece {
    const uint8_t *data;
    size_t         bytes;
};

/* The same piece as it stands in the list. */
struct ps_sheet_place {
    uint64_t segment, offset, bytes;
};

struct ps_sheet {
    uint64_t       of;    /* the same number in all sheets of one thing */
    size_t         bytes; /* of all pieces */
    struct ps_buf *list;  /* of places, in a heap; NULL: it cannot be lent */

    /* In which the pieces lie that can be lent, each once. */
    size_t              n_segments;
    struct ps_segment **segments;

    size_t                 n;
    struct ps_sheet_piece *pieces; /* neighbours in memory are one piece */

    /* What keeps them. */
    size_t          n_blocks;
    struct ps_buf **blocks;
    void (*release)(void *owner); /* NULL: nothing else */
    void *owner;
};

/* A frame that is a sheet of blocks[n], all of them whole; they are shared.  `heap`, in
 * which most of them lie, has room for the list; NULL: they are not to be lent. */
ps_status ps_sheet_new(struct ps_buf **out, uint64_t of, struct ps_heap *heap,
                       struct ps_buf *const *blocks, size_t n) PS_CHECKED;

/*
 * A frame that is a sheet of foreign memory.  `pieces`, of malloc, is the sheet's from
 * now on.  release(owner) is called when the last holder drops it.  On failure nothing
 * has been taken.
 */
ps_status ps_sheet_adopt(struct ps_buf **out, struct ps_sheet_piece *pieces, size_t n,
                         void (*release)(void *owner), void *owner) PS_CHECKED;

#endif
