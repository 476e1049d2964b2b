/*
 * wire.c - the bytes of a header, as any peer may send them.
 *
 * What can be read can be written, and what was written reads as the same: the second
 * writing has the bytes of the first.  With and without protobuf-c the same is read,
 * and written, and refused with the same sentence.
 */
#include "common/wire/reference.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

static struct ps_decoder *decoder, *reference;

static void require_same_bytes(const struct ps_header *a, const struct ps_header *b)
{
    struct ps_buf *first, *second;

    fuzz_require(ps_wire_encode(a, &first) == PS_OK);
    fuzz_require(ps_reference_encode(b, &second) == PS_OK);
    fuzz_require(first->len == second->len &&
                 memcmp(first->data, second->data, first->len) == 0);
    ps_buf_drop(&first);
    ps_buf_drop(&second);
}

static void require_same_verdict(ps_status st, const struct ps_header *h,
                                 const uint8_t *bytes, size_t n_bytes)
{
    struct ps_header theirs;
    char             why[2048];

    snprintf(why, sizeof(why), "%s", ps_log_last_error());
    fuzz_require(ps_reference_decode(reference, bytes, n_bytes, &theirs) == st);
    fuzz_require(st == PS_OK || strcmp(ps_log_last_error(), why) == 0);
    require_same_bytes(h, &theirs);
}

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
        fuzz_require(ps_decoder_new(&decoder) == PS_OK &&
                     ps_decoder_new(&reference) == PS_OK);
    fuzz_listen();
    st = ps_wire_decode(decoder, bytes, n_bytes, &h);
    fuzz_heard(st);
    require_same_verdict(st, &h, bytes, n_bytes);
    if (st == PS_OK)
        again(&h, h.kind, h.request);
    else
        fuzz_require(h.n_ranges == 0 && !h.job_spec && h.text[0] == '\0');
    return 0;
}
