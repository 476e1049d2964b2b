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

/* `type` is ZMQ_ROUTER or ZMQ_DEALER; `endpoint` says whether IPv6 is meant. */
ps_status ps_socket_new(void **out, struct ps_net *net, int type,
                        const char *endpoint) PS_CHECKED;

void *ps_server_socket(struct ps_server *s);
void *ps_link_socket(struct ps_link *l);
void *ps_link_side(struct ps_link *l); /* messages come here too; NULL: there is none */
int   ps_signal_fd(const struct ps_signal *s);

/* Readable: near_ready.  -1: it has none. */
int  ps_server_near_fd(const struct ps_server *s);
int  ps_link_near_fd(const struct ps_link *l);
void ps_server_near_ready(struct ps_server *s);
void ps_link_near_ready(struct ps_link *l);

#endif
