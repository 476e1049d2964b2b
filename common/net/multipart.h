/*
 * multipart.h - a parcel as the parts of one ZeroMQ message, inside this room.
 *
 *     [return address] [envelope] header [frame]...
 *
 * The return address is there on ROUTER sockets only; it is the parcel's route.  An
 * envelope (near.h) names frames that lie in memory which both ends can see, or is a
 * word of this room and all there is, or a group of small parcels (group.h).
 *
 * Thread: the socket's.
 */
#ifndef PS_NET_MULTIPART_H
#define PS_NET_MULTIPART_H

#include "common/net/group.h"

/*
 * All parts or none.  Takes the parcel's buffers in every case; a frame of 64 KiB or
 * more is handed to ZeroMQ, which drops it when it has left.  `near` (NULL: none) is
 * lent what it can be; `sign`: the message says of which near it is though nothing is
 * lent.
 *
 * PS_ERR_TIMEOUT       no room in the queue
 * PS_ERR_UNAVAILABLE   (ROUTER) nobody has this return address
 * PS_ERR_LIMIT         a frame that the peer would refuse
 */
ps_status ps_multipart_send(void *socket, bool router, struct ps_parcel *p,
                            struct psn_near *near, bool sign) PS_CHECKED;

/* The same of parcels[n] that make a group, which takes `bytes` (psn_group_count).
 * `key` (NULL: none): of the near that the message is of. */
ps_status ps_multipart_send_group(void *socket, bool router, struct ps_parcel *parcels,
                                  size_t n, size_t bytes,
                                  const uint8_t *key) PS_CHECKED;

/* An envelope alone.  `to`: on ROUTER sockets, else NULL. */
ps_status ps_multipart_say(void *socket, const struct ps_route *to,
                           const struct psn_envelope *e) PS_CHECKED;

/*
 * The next message, if it is there already; else PS_ERR_TIMEOUT.  PS_ERR_BAD_MESSAGE:
 * there was one, it was not a parcel, and it is gone.  *e is its envelope, of kind
 * PSN_NONE if it has none; what that lends is not among the parcel's frames yet.
 * Without a header (out->head is NULL) the envelope is all there was; of kind PSN_GROUP
 * the parcels are in *group, which is empty before.
 */
ps_status ps_multipart_receive(void *socket, bool router, struct ps_parcel *out,
                               struct psn_envelope *e,
                               struct psn_group    *group) PS_CHECKED;

#endif
