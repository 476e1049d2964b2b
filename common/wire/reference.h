/*
 * reference.h - headers read and written by protobuf-c, whatever is in them.
 *
 * ps_wire_decode and ps_wire_encode come here with what direct.h leaves to protobuf-c;
 * tests come with everything, and hold direct.h to it: the same verdict with the same
 * sentence, the same values, the same bytes.
 *
 * Thread: as wire.h.
 */
#ifndef PS_WIRE_REFERENCE_H
#define PS_WIRE_REFERENCE_H

#include "common/wire/wire.h"

/* As ps_wire_decode and ps_wire_encode. */
ps_status ps_reference_decode(struct ps_decoder *d, const void *bytes, size_t n_bytes,
                              struct ps_header *h) PS_CHECKED;
ps_status ps_reference_encode(const struct ps_header *h,
                              struct ps_buf         **out) PS_CHECKED;

#endif
