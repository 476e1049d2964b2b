/*
 * copy.h - copies many short rows.
 *
 * Line by line where the compiler sees it: a call of memcpy would cost more than most
 * rows do.
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

#endif
