/*
 * direct.h - headers of plain fields alone, without protobuf-c.
 *
 * Pushes, pulls, their answers and everything else that has neither specs nor lists of
 * messages is written and read here field by field, in one pass and without memory of
 * its own: protobuf-c goes through all fields of a header twice, to find the dozen that
 * are there.  The bytes are the same.  What is unusual in any way (a list of messages,
 * an unknown field, a column in several pieces, a number that does not end) is not
 * judged here but left to protobuf-c, so there is one judge of what is malformed.
 *
 * Source: https://protobuf.dev/programming-guides/encoding/
 *
 * Thread: any; no state.
 */
#ifndef PS_WIRE_DIRECT_H
#define PS_WIRE_DIRECT_H

#include "common/wire/decode.h"

/* Ranges, three texts of the longest kind, and two dozen numbers. */
#define PS_DIRECT_BYTES 12288u

/*
 * Fills the plain fields and ranges of *h, which is empty, and *found; the fields are
 * not looked at.  False: protobuf-c has to do it, and *h holds anything.
 */
bool ps_direct_read(struct ps_arena *a, const uint8_t *bytes, size_t n_bytes,
                    struct ps_header *h, struct ps_found *found);

/* The bytes of the header; 0: protobuf-c has to write it.  Lists are as long as they
 * may be at most. */
size_t ps_direct_write(const struct ps_header *h, uint8_t to[PS_DIRECT_BYTES]);

/* ---- a sentence on its way out -------------------------------------------------- */

/* How many bytes of it leave: all, or those before a character that would not fit. */
size_t ps_sentence_bytes(const char *text);

/* A byte of it, as it leaves: a sentence is one line, whatever it was made from. */
static inline uint8_t ps_sentence_byte(char c)
{
    return (unsigned char)c < ' ' || c == 0x7f ? ' ' : (uint8_t)c;
}

#endif
