/* socket.c - see socket.h. */
#include "common/net/socket.h"

#include "common/base/slice.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

struct setting {
    int option;
    int value;
};

/* A host that vanished without a word is found by TCP itself: keepalive where nothing
 * is sent, MAXRT where something is and nobody takes it. */
static const struct setting both[] = {
    { ZMQ_LINGER, 1000 },           { ZMQ_TCP_KEEPALIVE, 1 },
    { ZMQ_TCP_KEEPALIVE_IDLE, 60 }, { ZMQ_TCP_KEEPALIVE_INTVL, 10 },
    { ZMQ_TCP_KEEPALIVE_CNT, 3 },   { ZMQ_TCP_MAXRT, 30000 },
};

/*
 * MANDATORY: a reply that cannot be delivered is an error, not silence.  HANDOVER off:
 * nobody takes over somebody else's return address.
 *
 * No ZMTP heartbeats here, and below no time to live in those that come: both set
 * timers for each connection, and 4.3.4 goes through all of them to cancel one, which
 * with 1 000 idle workers was a quarter of a core.
 */
static const struct setting router[] = {
    { ZMQ_SNDHWM, 256 },         { ZMQ_RCVHWM, 64 },
    { ZMQ_ROUTER_MANDATORY, 1 }, { ZMQ_ROUTER_HANDOVER, 0 },
    { ZMQ_HANDSHAKE_IVL, 5000 }, { ZMQ_BACKLOG, 1024 },
};

/*
 * Heartbeats find a server that vanished without a word, or is stopped; their time-out
 * is generous because it also runs while one big frame is on its way (any whole frame
 * resets it).
 *
 * IMMEDIATE 0: what is sent while the connection is being made waits in the queue (up
 * to SNDHWM) instead of being lost until its sender asks again.  A queue that survives
 * a reconnect brings messages twice at worst, and every request may come twice.
 */
static const struct setting dealer[] = {
    { ZMQ_SNDHWM, 64 },          { ZMQ_RCVHWM, 64 },
    { ZMQ_IMMEDIATE, 0 },        { ZMQ_HANDSHAKE_IVL, 10000 },
    { ZMQ_RECONNECT_IVL, 100 },  { ZMQ_RECONNECT_IVL_MAX, 2000 },
    { ZMQ_HEARTBEAT_IVL, 5000 }, { ZMQ_HEARTBEAT_TIMEOUT, 20000 },
};

/*
 * Nobody answers for this domain, so it admits everybody, except peers of ZMTP 1 and 2.
 * Random bytes pass for ZMTP 1, and 4.3.4 aborts the process when a socket is closed
 * just as such a peer shakes hands (zmtp_engine.cpp, process_routing_id_msg).
 */
static const char zap_domain[] = "psd";

static int set_all(void *socket, const struct setting *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (zmq_setsockopt(socket, s[i].option, &s[i].value, sizeof(s[i].value)))
            return -1;
    return 0;
}

static int set_options(void *socket, int type, const char *endpoint)
{
    int64_t most = PS_FRAME_BYTES; /* a longer frame ends the connection at its head */
    int     ipv6 = strchr(endpoint, '[') != NULL;

    if (zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, zap_domain, strlen(zap_domain)) ||
        zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof(most)) ||
        zmq_setsockopt(socket, ZMQ_IPV6, &ipv6, sizeof(ipv6)) ||
        set_all(socket, both, sizeof(both) / sizeof(both[0])))
        return -1;
    if (type == ZMQ_ROUTER)
        return set_all(socket, router, sizeof(router) / sizeof(router[0]));
    return set_all(socket, dealer, sizeof(dealer) / sizeof(dealer[0]));
}

static ps_status set_up(struct psn_ear *ear, int type, const char *endpoint)
{
    size_t bytes = sizeof(ear->fd);

    if (set_options(ear->socket, type, endpoint) ||
        zmq_getsockopt(ear->socket, ZMQ_FD, &ear->fd, &bytes))
        return ps_fail(PS_ERR_SYSTEM, "cannot set up the socket for %s: %s", endpoint,
                       zmq_strerror(errno));
    return PS_OK;
}

ps_status ps_socket_new(struct psn_ear *out, struct ps_net *net, int type,
                        const char *endpoint)
{
    /* With the first socket of a context ZeroMQ starts its threads. */
    const uint64_t slice_ns = ps_slice_set(PS_SLICE_SHORT_NS);
    struct psn_ear ear = { .socket = zmq_socket(net->context, type) };
    ps_status      st;

    ps_slice_set(slice_ns);
    if (!ear.socket)
        return ps_fail(PS_ERR_SYSTEM, "cannot make a socket for %s: %s", endpoint,
                       zmq_strerror(errno));
    st = set_up(&ear, type, endpoint);
    if (st)
        zmq_close(ear.socket);
    else
        *out = ear;
    return st;
}

ps_status psn_ear_listen(struct psn_ear *ear, bool *is_there)
{
    int    events = 0;
    size_t bytes = sizeof(events);

    while (zmq_getsockopt(ear->socket, ZMQ_EVENTS, &events, &bytes))
        if (errno != EINTR)
            return ps_fail(PS_ERR_SYSTEM, "net: cannot wait: %s", zmq_strerror(errno));
    *is_there = events & ZMQ_POLLIN;
    ear->is_quiet = !*is_there;
    return PS_OK;
}
