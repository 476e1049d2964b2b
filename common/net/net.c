/* net.c - the ZeroMQ context, waiting, and the time; see net.h. */
#include "common/net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <zmq.h>

ps_status ps_net_new(struct ps_net **out)
{
    struct ps_net *net = malloc(sizeof(*net));

    if (!net)
        return ps_fail(PS_ERR_NO_MEMORY, "net: no memory");
    net->context = zmq_ctx_new();
    if (!net->context) {
        ps_status st = ps_fail(PS_ERR_SYSTEM, "net: cannot make a context: %s",
                               zmq_strerror(errno));

        free(net);
        return st;
    }
    *out = net;
    return PS_OK;
}

ps_status ps_net_threads(struct ps_net *net, uint32_t n, const struct ps_cpus *cpus)
{
    int failed = zmq_ctx_set(net->context, ZMQ_IO_THREADS, (int)n);

    for (uint32_t i = 0; !failed && cpus && i < cpus->n; i++)
        failed = zmq_ctx_set(net->context, ZMQ_THREAD_AFFINITY_CPU_ADD, cpus->cpu[i]);
    if (failed)
        return ps_fail(PS_ERR_SYSTEM, "net: cannot set up %u threads: %s", n,
                       zmq_strerror(errno));
    return PS_OK;
}

void ps_net_free(struct ps_net **net)
{
    if (*net)
        while (zmq_ctx_term((*net)->context) && errno == EINTR)
            ;
    free(*net);
    *net = NULL;
}

/* What ZeroMQ has to look at for this entry; false: nothing. */
static bool item_of(const struct ps_poll *p, zmq_pollitem_t *item)
{
    *item = (zmq_pollitem_t){ .fd = -1, .events = ZMQ_POLLIN };
    if (p->server)
        item->socket = ps_server_socket(p->server);
    else if (p->link)
        item->socket = ps_link_socket(p->link);
    else if (p->signal)
        item->fd = ps_signal_fd(p->signal);
    return p->server || p->link || p->signal;
}

/* A link may hear on two sockets. */
static bool side_item_of(const struct ps_poll *p, zmq_pollitem_t *item)
{
    *item = (zmq_pollitem_t){ .fd = -1, .events = ZMQ_POLLIN };
    if (!p->server && p->link)
        item->socket = ps_link_side(p->link);
    return item->socket != NULL;
}

/* The same of its neighbours on this host. */
static bool near_item_of(const struct ps_poll *p, zmq_pollitem_t *item)
{
    *item = (zmq_pollitem_t){ .fd = -1, .events = ZMQ_POLLIN };
    if (p->server)
        item->fd = ps_server_near_fd(p->server);
    else if (p->link)
        item->fd = ps_link_near_fd(p->link);
    return item->fd >= 0;
}

/* What this room does by itself. */
static void serve_near(const struct ps_poll *p)
{
    if (p->server)
        ps_server_near_ready(p->server);
    else
        ps_link_near_ready(p->link);
}

ps_status ps_net_poll(struct ps_poll *polls, size_t n, int timeout_ms)
{
    zmq_pollitem_t  items[3 * PS_POLLS_MAX];
    struct ps_poll *of[3 * PS_POLLS_MAX];
    int             n_items = 0, n_own;
    bool            has_more = false;

    if (n > PS_POLLS_MAX)
        return ps_fail(PS_ERR_LIMIT, "net: waiting for %zu sources, at most %u", n,
                       PS_POLLS_MAX);
    for (size_t i = 0; i < n; i++) {
        polls[i].ready = (polls[i].server && ps_server_has_more(polls[i].server)) ||
                         (polls[i].link && ps_link_has_more(polls[i].link));
        has_more = has_more || polls[i].ready;
        if (item_of(&polls[i], &items[n_items]))
            of[n_items++] = &polls[i];
        if (side_item_of(&polls[i], &items[n_items]))
            of[n_items++] = &polls[i];
    }
    n_own = n_items;
    for (size_t i = 0; i < n; i++)
        if (near_item_of(&polls[i], &items[n_items]))
            of[n_items++] = &polls[i];
    if (zmq_poll(items, n_items, has_more ? 0 : timeout_ms) < 0)
        return errno == EINTR ? PS_OK
                              : ps_fail(PS_ERR_SYSTEM, "net: cannot wait: %s",
                                        zmq_strerror(errno));
    for (int i = 0; i < n_own; i++)
        of[i]->ready = of[i]->ready || items[i].revents != 0;
    for (int i = n_own; i < n_items; i++)
        if (items[i].revents)
            serve_near(of[i]);
    return PS_OK;
}

uint64_t ps_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
