/*
 * arena.h - memory that is given out piece by piece and taken back all at once.
 *
 * One block; when it is too small for a message, blocks beside it help out, and the
 * next reset replaces them all by one that would have been large enough.  So a
 * decoder stops asking for memory once it has seen its largest message.
 *
 * Thread: the one that owns it.
 */
#ifndef PS_WIRE_ARENA_H
#define PS_WIRE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Most that one message may make of its header, which is 16 KiB at most: a hostile one
 * of nothing but empty submessages would ask for more, and is refused.
 */
#define PS_ARENA_MAX ((size_t)1 << 20)

struct ps_arena_block;

struct ps_arena {
    uint8_t *bytes;
    size_t   room;
    size_t   used;
    bool     lent;   /* `bytes` is the user's, e.g. on the stack */
    size_t   wanted; /* since the last reset, the extra blocks included */
    uint64_t grown;  /* times it asked for memory */

    struct ps_arena_block *extra;
};

/* An arena that starts on memory of the user; `bytes` is 16-aligned. */
void ps_arena_lend(struct ps_arena *a, void *bytes, size_t room);

/* Not initialised, 16-aligned; NULL when there is no more.  0 bytes is fine. */
void *ps_arena_get(struct ps_arena *a, size_t bytes);

/* Everything that was given out is gone. */
void ps_arena_reset(struct ps_arena *a);
void ps_arena_free(struct ps_arena *a);

#endif
