/*
 * socket.h - a ZeroMQ socket with every option decided, inside this room.
 *
 * Thread: the socket's.
 */
#ifndef PS_NET_SOCKET_H
#define PS_NET_SOCKET_H

#include "common/net/net.h"

struct ps_net {
    void *context;
};

/*
 * A socket, and what a poll knows of it.  Its descriptor becomes readable when
 * something has happened to it; but whoever sends or receives may have taken notice of
 * that on the way, and after that the socket itself has to be asked.  So who uses one
 * says that it is not quiet any more; those that are quiet are left to their
 * descriptors, which is one call of the system for all.
 */
struct psn_ear {
    void *socket; /* NULL: there is none */
    int   fd;
    bool  is_quiet; /* nothing was there, and it was not used since */
};

/* `type` is ZMQ_ROUTER or ZMQ_DEALER; `endpoint` says whether IPv6 is meant. */
ps_status ps_socket_new(struct psn_ear *out, struct ps_net *net, int type,
                        const char *endpoint) PS_CHECKED;

/* Asks the socket whether a message is there. */
ps_status psn_ear_listen(struct psn_ear *ear, bool *is_there) PS_CHECKED;

struct psn_ear *ps_server_ear(struct ps_server *s);
struct psn_ear *ps_link_ear(struct ps_link *l);
struct psn_ear *ps_link_side(struct ps_link *l); /* messages come here too */
int             ps_signal_fd(const struct ps_signal *s);

/* Readable: near_ready.  -1: it has none. */
int  ps_server_near_fd(const struct ps_server *s);
int  ps_link_near_fd(const struct ps_link *l);
void ps_server_near_ready(struct ps_server *s);
void ps_link_near_ready(struct ps_link *l);

#endif
