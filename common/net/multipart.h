/*
 * multipart.h - a parcel as the parts of one ZeroMQ message, inside this room.
 *
 *     [return address] header [frame]...
 *
 * The return address is there on ROUTER sockets only; it is the parcel's route.
 *
 * Thread: the socket's.
 */
#ifndef PS_NET_MULTIPART_H
#define PS_NET_MULTIPART_H

#include "common/base/parcel.h"

/*
 * All parts or none.  Takes the parcel's buffers in every case; a frame of 64 KiB or
 * more is handed to ZeroMQ, which drops it when it has left.
 *
 * PS_ERR_TIMEOUT       no room in the queue
 * PS_ERR_UNAVAILABLE   (ROUTER) nobody has this return address
 * PS_ERR_LIMIT         a frame that the peer would refuse
 */
ps_status ps_multipart_send(void *socket, bool router, struct ps_parcel *p) PS_CHECKED;

/*
 * The next message, if it is there already; else PS_ERR_TIMEOUT.  PS_ERR_BAD_MESSAGE:
 * there was one, it was not a parcel, and it is gone.
 */
ps_status ps_multipart_receive(void *socket, bool router,
                               struct ps_parcel *out) PS_CHECKED;

#endif
