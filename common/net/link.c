/* link.c - a connected DEALER as ps_link; see net.h. */
#include "common/net/multipart.h"
#include "common/net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

struct ps_link {
    void *socket;
};

static ps_status check_peer(const char *endpoint)
{
    ps_status st = ps_endpoint_check(endpoint);

    if (st)
        return st;
    if (strncmp(endpoint, "tcp://", 6) == 0 &&
        strtoul(strrchr(endpoint, ':') + 1, NULL, 10) == 0)
        return ps_fail(PS_ERR_BAD_ARG, "cannot connect to %s: port 0", endpoint);
    return PS_OK;
}

ps_status ps_link_open(struct ps_link **out, struct ps_net *net, const char *endpoint)
{
    struct ps_link *l;
    ps_status       st = check_peer(endpoint);

    if (st)
        return st;
    l = calloc(1, sizeof(*l));
    if (!l)
        return ps_fail(PS_ERR_NO_MEMORY, "cannot connect to %s: no memory", endpoint);
    st = ps_socket_new(&l->socket, net, ZMQ_DEALER, endpoint);
    if (st == PS_OK && zmq_connect(l->socket, endpoint))
        st = ps_fail(PS_ERR_BAD_ARG, "cannot connect to %s: %s", endpoint,
                     errno == EINVAL ? "not an address" : zmq_strerror(errno));
    if (st) {
        ps_link_close(&l, 0);
        return st;
    }
    *out = l;
    return PS_OK;
}

void ps_link_close(struct ps_link **link, int linger_ms)
{
    struct ps_link *l = *link;

    *link = NULL;
    if (!l)
        return;
    if (l->socket) {
        zmq_setsockopt(l->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
        zmq_close(l->socket);
    }
    free(l);
}

ps_status ps_link_send(struct ps_link *l, struct ps_parcel *p)
{
    return ps_multipart_send(l->socket, false, p);
}

ps_status ps_link_receive(struct ps_link *l, struct ps_parcel *out)
{
    ps_status st = ps_multipart_receive(l->socket, false, out);

    if (st != PS_ERR_BAD_MESSAGE)
        return st;
    ps_log(PS_LOG_DEBUG, "link: dropped a malformed message");
    return PS_ERR_TIMEOUT;
}

void *ps_link_socket(struct ps_link *l)
{
    return l->socket;
}
