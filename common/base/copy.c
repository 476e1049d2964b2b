/* copy.c - see copy.h. */
#include "common/base/copy.h"

#ifdef __SSE2__

#include <emmintrin.h>

#define PAGE_BYTES ((size_t)4096)
#define PAGES 4u /* in turn: each is a stream that the memory reads ahead */

/* `to` at a multiple of 16. */
static void store_line(uint8_t *to, const uint8_t *from)
{
    const __m128i *in = (const void *)from;
    __m128i       *out = (void *)to;
    const __m128i  a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1);
    const __m128i  c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);

    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
}

void ps_copy_past_cache(void *to, const void *from, size_t bytes)
{
    uint8_t       *out = to;
    const uint8_t *in = from;
    const size_t   head = (PS_COPY_LINE - (uintptr_t)out % PS_COPY_LINE) % PS_COPY_LINE;

    if (head < bytes) {
        memcpy(out, in, head);
        out += head;
        in += head;
        bytes -= head;
        for (; bytes >= PAGES * PAGE_BYTES; bytes -= PAGES * PAGE_BYTES) {
            for (size_t at = 0; at < PAGE_BYTES; at += PS_COPY_LINE)
                for (size_t page = 0; page < PAGES; page++)
                    store_line(out + page * PAGE_BYTES + at,
                               in + page * PAGE_BYTES + at);
            out += PAGES * PAGE_BYTES;
            in += PAGES * PAGE_BYTES;
        }
        _mm_sfence(); /* such stores wait for no later one */
    }
    memcpy(out, in, bytes);
}

#else

void ps_copy_past_cache(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

#endif
