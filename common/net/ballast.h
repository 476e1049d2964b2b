/*
 * ballast.h - what keeps received messages in memory that is there, inside this room.
 *
 * ZeroMQ takes a block from malloc for every large frame.  Freed, the topmost of them
 * makes the end of the heap free, which glibc gives back to the system from a certain
 * size on, and the next frame gets it again page by page: that took as long as the
 * kernel's copies.  How much glibc keeps is the program's to say, not a library's.  But
 * what lies below a block that is in use stays.  So the frame that lies highest is
 * owned here, too, until one comes that lies higher; all frames behind it fit below,
 * and after a few messages nothing moves any more.
 *
 * With another malloc it holds one frame and changes nothing.
 *
 * Thread: the socket's.
 */
#ifndef PS_NET_BALLAST_H
#define PS_NET_BALLAST_H

#include "common/base/parcel.h"

/* Zeroed: nothing is held. */
struct psn_ballast {
    struct ps_buf *highest;
};

/* Looks at the frames of a parcel that has just come through a socket. */
void psn_ballast_see(struct psn_ballast *b, const struct ps_parcel *p);

void psn_ballast_drop(struct psn_ballast *b);

#endif
