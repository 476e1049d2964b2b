/*
 * copy.h - copies of more and of less than memcpy is good at.
 *
 * Many short rows: line by line where the compiler sees it, because a call of memcpy
 * would cost more than most rows do, and asked for ahead.  And parts of something that
 * is larger than any cache: stored past it.
 */
#ifndef PS_BASE_COPY_H
#define PS_BASE_COPY_H

#include "common/base/clones.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PS_COPY_LINE 64u

/* These bytes will be used soon, though not so soon that they have to be in the cache
 * of the first level, of which few lines can be under way. */
PS_INLINE void ps_expect_row(const void *row, size_t bytes)
{
    const char *end = (const char *)row + bytes;

    for (const char *line = (const char *)((uintptr_t)row & ~(uintptr_t)63); line < end;
         line += PS_COPY_LINE)
        __builtin_prefetch(line, 0, 2);
}

PS_INLINE void ps_copy_row(void *to, const void *from, size_t bytes)
{
    uint8_t       *out = to;
    const uint8_t *in = from;

    for (; bytes >= PS_COPY_LINE; bytes -= PS_COPY_LINE) {
        memcpy(out, in, PS_COPY_LINE);
        out += PS_COPY_LINE;
        in += PS_COPY_LINE;
    }
    if (bytes > 0)
        memcpy(out, in, bytes);
}

/*
 * What will have left the cache before anybody reads it: without reading first what is
 * overwritten, and without driving other things out.  Such copies cost less, and
 * whoever reads them then pays some of that.
 */
void ps_copy_past_cache(void *to, const void *from, size_t bytes);

#endif
