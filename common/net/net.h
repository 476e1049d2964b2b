/*
 * net.h - how parcels travel: the only room that includes zmq.h.
 *
 * A `ps_server` is a bound ROUTER, a `ps_link` is one DEALER to one server.  Both
 * move whole parcels; neither looks inside.  Frames of 64 KiB and more leave
 * without a copy (zmq_msg_init_data, released from ZeroMQ's own thread); received
 * frames become buffers without a copy where their alignment allows.
 *
 * Messages that cannot be parcels (no header or an empty one, a header over
 * PS_HEADER_BYTES, more than PS_FRAMES_MAX payload frames) are dropped and counted.
 * A frame over PS_FRAME_BYTES ends the connection it comes from.
 *
 * Thread: every object belongs to one thread, which may be another than the one that
 * made it if it starts afterwards; ps_net itself may be shared.
 */
#ifndef PS_NET_NET_H
#define PS_NET_NET_H

#include "common/base/cpus.h"
#include "common/base/parcel.h"
#include "common/net/spin.h"

struct ps_net; /* one ZeroMQ context */
struct ps_server;
struct ps_link;
struct ps_signal; /* wakes a thread that polls; usable from any thread */

ps_status ps_net_new(struct ps_net **out) PS_CHECKED;

/*
 * Before the first object of it is made: how many threads move bytes (1 unless said),
 * and on which CPUs alone they run; NULL: on any.
 */
ps_status ps_net_threads(struct ps_net *net, uint32_t n,
                         const struct ps_cpus *cpus) PS_CHECKED;

/* All objects of it must be gone.  NULL is fine. */
void ps_net_free(struct ps_net **net);

/*
 * Binds.  `endpoint` is tcp://host:port (port 0: any free one) or ipc://path.  The
 * sentence of a failure names the endpoint and the reason ("address in use").
 */
ps_status   ps_server_open(struct ps_server **out, struct ps_net *net,
                           const char *endpoint) PS_CHECKED;
void        ps_server_close(struct ps_server **s);
const char *ps_server_endpoint(const struct ps_server *s); /* as bound, with port */
uint64_t    ps_server_dropped(const struct ps_server *s);  /* malformed messages */

/* Connects in the background; a peer that is not there yet is no failure: what is sent
 * waits in the queue, up to 64 parcels. */
ps_status ps_link_open(struct ps_link **out, struct ps_net *net,
                       const char *endpoint) PS_CHECKED;

/* Messages not yet sent are given up after `linger_ms`. */
void ps_link_close(struct ps_link **l, int linger_ms);

/*
 * From now on frames that lie in a heap (common/base/heap.h) are lent to peers of the
 * same host and user instead of being sent, and what they lend is taken;
 * doc/protocol.md, "On one host".  Where that cannot be, all goes as before.  Before a
 * link that has lent something is closed, its owner must have stopped taking blocks
 * from the heap.
 */
void ps_server_share(struct ps_server *s);
void ps_link_share(struct ps_link *l);

/* Is what lies in heaps lent? */
bool ps_link_is_near(const struct ps_link *l);

/*
 * Takes the parcel's buffers in every case.  A server sends to the peer of the route; a
 * link has only one way to go.
 *
 * PS_ERR_TIMEOUT       the queue to that peer is full: dropped, the sender's retry
 *                      covers it
 * PS_ERR_UNAVAILABLE   (server) no such peer any more
 * PS_ERR_LIMIT         a header over PS_HEADER_BYTES or a frame over PS_FRAME_BYTES
 *
 * The first two are ordinary and leave no line.
 */
ps_status ps_server_send(struct ps_server *s, struct ps_parcel *p) PS_CHECKED;
ps_status ps_link_send(struct ps_link *l, struct ps_parcel *p) PS_CHECKED;

/*
 * Each of parcels[n], in order.  Small ones that follow one another to the same peer
 * travel as one message: PS_GROUP_MAX of them, PS_GROUP_BYTES together, at most (see
 * ps_parcel_room).  Fails as the first one that could not be sent; the others were.
 */
ps_status ps_server_send_all(struct ps_server *s, struct ps_parcel *parcels,
                             size_t n) PS_CHECKED;
ps_status ps_link_send_all(struct ps_link *l, struct ps_parcel *parcels,
                           size_t n) PS_CHECKED;

/*
 * One parcel that is there already; PS_ERR_TIMEOUT when there is none, or the next one
 * was malformed and is dropped.  From a server its route is the sender's; from a link
 * the route is empty.
 */
ps_status ps_server_receive(struct ps_server *s, struct ps_parcel *out) PS_CHECKED;
ps_status ps_link_receive(struct ps_link *l, struct ps_parcel *out) PS_CHECKED;

/* Does the next parcel belong to the message of the last one?  Then it is there. */
bool ps_server_has_more(const struct ps_server *s);
bool ps_link_has_more(const struct ps_link *l);

ps_status ps_signal_new(struct ps_signal **out) PS_CHECKED;
void      ps_signal_free(struct ps_signal **s);
void      ps_signal_raise(struct ps_signal *s); /* async-signal-safe */
void      ps_signal_clear(struct ps_signal *s);

#define PS_POLLS_MAX (PS_SHARDS_MAX + 8u)

/* What a poll waits for: one of the three.  An entry with none is skipped. */
struct ps_poll {
    struct ps_server *server;
    struct ps_link   *link;
    struct ps_signal *signal;
    bool              ready; /* set by ps_net_poll */
};

/*
 * Waits until one is ready to receive, at most `timeout_ms` (0: only looks, negative:
 * for ever).  An interrupted wait returns PS_OK with nothing ready.  At most
 * PS_POLLS_MAX entries.
 */
ps_status ps_net_poll(struct ps_poll *polls, size_t n, int timeout_ms) PS_CHECKED;

/* The same of a thread that may look for a while before it sleeps; NULL: it may not. */
ps_status ps_net_poll_spinning(struct ps_poll *polls, size_t n, int timeout_ms,
                               struct ps_spin *spin) PS_CHECKED;

/* Monotonic time, for the drivers; the actors are told it. */
uint64_t ps_now_ns(void);

/* tcp://host:port or ipc://path?  PS_ERR_BAD_ARG and a sentence otherwise. */
ps_status ps_endpoint_check(const char *endpoint) PS_CHECKED;

/* Is this tcp endpoint bound to loopback, or ipc://?  Decides on refusals. */
bool ps_endpoint_is_local(const char *endpoint);

#endif
