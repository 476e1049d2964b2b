/*
 * decode.h - shared by the parts of the decoder: decode.c (the header itself),
 * direct.c (reads headers without lists) and decode_lists.c (specs, members, reports
 * and the like).
 *
 * Every function takes one part of the protobuf message, checks it, and puts it into
 * the header; what it points at lies in the arena.  PS_ERR_BAD_MESSAGE with a sentence
 * that starts with the kind.
 */
#ifndef PS_WIRE_DECODE_H
#define PS_WIRE_DECODE_H

#include "common/wire/arena.h"
#include "common/wire/kind.h"
#include "proto/ps.pb-c.h"

#define ps_bad(h, fmt, ...)                                                            \
    ps_fail(PS_ERR_BAD_MESSAGE, "message %s: " fmt,                                    \
            ps_kind_name((h)->kind) __VA_OPT__(, ) __VA_ARGS__)

/* What a header says besides its plain fields and lists, as it was read. */
struct ps_found {
    uint32_t            protocol;
    ProtobufCBinaryData text, name, token;
};

/* The largest arrays that a header may name. */
ps_status ps_decode_count(const struct ps_header *h, const char *what, size_t n,
                          uint32_t max) PS_CHECKED;

/* `room` counts the NUL. */
ps_status ps_decode_name(const struct ps_header *h, const char *what,
                         const ProtobufCBinaryData *bytes,
                         char                       out[PS_NAME_BYTES]) PS_CHECKED;
ps_status ps_decode_text(struct ps_arena *a, const struct ps_header *h,
                         const char *what, const ProtobufCBinaryData *bytes,
                         size_t room, const char **out) PS_CHECKED;

/* n items of an array, or PS_ERR_BAD_MESSAGE: the header asks for too much memory. */
ps_status ps_decode_array(struct ps_arena *a, const struct ps_header *h, size_t n,
                          size_t item_bytes, void *out) PS_CHECKED;

/* Everything but the plain fields, the texts and the ranges. */
ps_status ps_decode_lists(struct ps_arena *a, const Psd__Wire__Header *m,
                          struct ps_header *h) PS_CHECKED;

static inline double ps_double_of(uint64_t bits)
{
    union {
        uint64_t bits;
        double   value;
    } both = { .bits = bits };

    return both.value;
}

#endif
