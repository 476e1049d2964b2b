/*
 * copy.h - copies of more and of less than memcpy is good at.
 *
 * Many short rows: line by line where the compiler sees it, because a call of memcpy
 * would cost more than most rows do.  And parts of something that is larger than any
 * cache: stored past it.
 */
#ifndef PS_BASE_COPY_H
#define PS_BASE_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PS_COPY_LINE 64u

static inline void ps_copy_row(void *to, const void *from, size_t bytes)
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
