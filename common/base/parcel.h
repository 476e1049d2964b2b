/*
 * parcel.h - a message in transit: whom it concerns, the encoded header, the
 * payload frames.
 *
 * Actors (shard, coordinator, client core) take parcels and put parcels into an
 * outbox; whether a socket, a test or a simulator carries them is not their
 * concern.
 */
#ifndef PS_BASE_PARCEL_H
#define PS_BASE_PARCEL_H

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/base/tray.h"

#define PS_ROUTE_BYTES 32u

enum ps_route_kind {
    PS_ROUTE_PEER = 0,  /* whoever sent with this return address */
    PS_ROUTE_SHARD = 1, /* shard `index` of the cluster (client, coordinator) */
    PS_ROUTE_COORDINATOR = 2,
};

/* Where a parcel goes to, or came from. */
struct ps_route {
    uint8_t  kind;
    uint8_t  bytes; /* of id, for PS_ROUTE_PEER */
    uint16_t index; /* for PS_ROUTE_SHARD */
    uint8_t  id[PS_ROUTE_BYTES];
};

bool ps_route_same(const struct ps_route *a, const struct ps_route *b);

struct ps_parcel {
    struct ps_route route;
    struct ps_buf  *head; /* the encoded header */
    uint32_t        n_frames;
    struct ps_buf  *frames[PS_FRAMES_MAX];
};

/* An empty one, from `route`.  The room for frames, which is most of it, stays as it
 * is. */
void ps_parcel_init(struct ps_parcel *p, const struct ps_route *route);

/* Another holder of the same buffers. */
void ps_parcel_share(struct ps_parcel *out, const struct ps_parcel *in);

/* Drops every buffer; the parcel is empty afterwards. */
void ps_parcel_drop(struct ps_parcel *p);

/* What it takes of PS_GROUP_BYTES among others that travel as one message. */
size_t ps_parcel_room(const struct ps_parcel *p);

/* Parcels in the order in which they are to leave. */
struct ps_outbox {
    struct ps_parcel *parcels;
    size_t            n;
    size_t            room;
    struct ps_tray    tray; /* for what is small in them */
};

/*
 * Takes the parcel's buffers; *p is empty afterwards, also on failure.
 */
ps_status ps_outbox_put(struct ps_outbox *out, struct ps_parcel *p) PS_CHECKED;

/* Drops what was not taken out; keeps the room. */
void ps_outbox_clear(struct ps_outbox *out);
void ps_outbox_free(struct ps_outbox *out);

#endif
