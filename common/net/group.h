/*
 * group.h - small parcels of one peer that travel as one message, inside this room.
 *
 * A message costs ZeroMQ and the kernel as much as handling a dozen small requests.  So
 * what waits for the same peer at the same time leaves as one part: an envelope
 * (near.h) of the kind PSN_GROUP, and behind it the parcels, everything at multiples of
 * 8 bytes:
 *
 *     0  GROUP  version  0  u32 parcels  [16] key of a near, or zeros
 *     u32 bytes of the header, u32 frames, u32 bytes of each frame
 *     header, frames
 *     ... of the next parcel
 *
 * A group is looked at as a whole when it comes.  Its parcels are views of one copy,
 * which goes with the last of them.
 *
 * Thread: the socket's; buffers of the parcels are dropped by any.
 */
#ifndef PS_NET_GROUP_H
#define PS_NET_GROUP_H

#include "common/net/near.h"

#define PSN_GROUP_HEAD_BYTES (8u + PSN_KEY_BYTES)

/* How many of parcels[n], which are for one peer, begin a group; 1: the first one goes
 * alone.  *bytes: what the group takes as a part. */
size_t psn_group_count(const struct ps_parcel *parcels, size_t n, size_t *bytes);

/* `key`: of the near that the message is of; NULL: of none. */
void psn_group_write(const struct ps_parcel *parcels, size_t n, const uint8_t *key,
                     uint8_t *to);

/* A group that came, with what was not taken out of it yet.  Zeroed: empty. */
struct psn_group {
    struct ps_route route; /* who sent it */
    struct ps_buf  *block; /* NULL: there is nothing left */
    size_t          at;    /* of the next parcel in it */
    uint32_t        n_left;
    struct ps_buf  *views; /* room for the next ones, at the end of the block */
};

/* Are these bytes meant to be one? */
bool psn_group_is(const uint8_t *bytes, size_t n_bytes);

/* Copies the bytes.  PS_ERR_BAD_MESSAGE: they are none; the group is empty then. */
ps_status psn_group_open(struct psn_group *g, const uint8_t *bytes, size_t n_bytes,
                         uint8_t key[PSN_KEY_BYTES]) PS_CHECKED;

/* The next parcel; false: there is none. */
bool psn_group_next(struct psn_group *g, struct ps_parcel *out);

void psn_group_clear(struct psn_group *g);

#endif
