/*
 * heap.h - blocks that other processes of this host can be shown.
 *
 * A heap consists of segments: memory files without a name (memfd) that are mapped here
 * for reading and writing.  They are sealed, so whoever is given a segment's descriptor
 * can map it for reading only, and can rely on its size.  Blocks of 32 KiB to 1 MiB lie
 * in segments; smaller and larger ones, and all where the system gives no such files,
 * are ordinary memory: nobody has to ask.
 *
 * A block that is dropped is used again; a segment stays as long as its heap, and the
 * heap as long as one of its blocks.
 *
 * Thread: blocks are taken by one thread and dropped by any.
 */
#ifndef PS_BASE_HEAP_H
#define PS_BASE_HEAP_H

#include "common/base/buf.h"

#define PS_HEAP_LEAST_BYTES                                                            \
    (32u << 10) /* what smaller blocks hold is cheaper copied                          \
                 */
#define PS_HEAP_MOST_BYTES (1u << 20)

struct ps_heap;

/* Of a heap.  It can be held longer than that; then it is closed and has no memory. */
struct ps_segment {
    uint64_t    number; /* within this process, never used again */
    int         fd;
    uint8_t    *base;
    size_t      bytes;
    atomic_bool closed;
    atomic_uint holders;
};

ps_status ps_heap_new(struct ps_heap **out) PS_CHECKED;

/* Its blocks stay until they are dropped.  NULL is fine. */
void ps_heap_free(struct ps_heap **heap);

/* A block with len == 0; its bytes are not initialised.  Without a heap as ps_buf_new.
 */
ps_status ps_heap_buf(struct ps_heap *heap, struct ps_buf **out,
                      size_t room) PS_CHECKED;

struct ps_segment *ps_segment_hold(struct ps_segment *s);
void               ps_segment_drop(struct ps_segment **s);

/* A memory file of that size, mapped here for writing, that nobody else can write to or
 * change the size of.  The descriptor closes at exec. */
ps_status ps_memory_file(const char *name, size_t bytes, int *fd,
                         void **base) PS_CHECKED;

#endif
