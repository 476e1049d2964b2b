/*
 * wire.c - the bytes of a header, as any peer may send them.
 *
 * What can be read can be written, and what was written reads as the same: the second
 * writing has the bytes of the first.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>

static struct ps_decoder *decoder;

static void again(const struct ps_header *h, uint32_t kind, uint64_t request)
{
    struct ps_header back;
    struct ps_buf   *first, *second;

    fuzz_require(ps_wire_encode(h, &first) == PS_OK);
    fuzz_require(ps_wire_decode(decoder, first->data, first->len, &back) == PS_OK);
    fuzz_require(back.kind == kind && back.request == request);
    fuzz_require(ps_wire_encode(&back, &second) == PS_OK);
    fuzz_require(first->len == second->len &&
                 memcmp(first->data, second->data, first->len) == 0);
    ps_buf_drop(&first);
    ps_buf_drop(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct ps_header h;
    ps_status        st;

    if (!decoder)
        fuzz_require(ps_decoder_new(&decoder) == PS_OK);
    fuzz_listen();
    st = ps_wire_decode(decoder, bytes, n_bytes, &h);
    fuzz_heard(st);
    if (st == PS_OK)
        again(&h, h.kind, h.request);
    else
        fuzz_require(h.n_ranges == 0 && !h.job_spec && h.text[0] == '\0');
    return 0;
}
