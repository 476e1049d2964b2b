/* net.c - the ZeroMQ context, waiting, and the time; see net.h. */
#include "common/net/socket.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
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

/* ---- waiting --------------------------------------------------------------------- */

/* What the entries come down to: descriptors, and what stands behind each. */
struct watch {
    struct pollfd   fds[3 * PS_POLLS_MAX];
    struct ps_poll *of[3 * PS_POLLS_MAX];
    struct psn_ear *ears[3 * PS_POLLS_MAX]; /* NULL: it is no socket's */
    nfds_t          n, n_own;               /* the others are for neighbours */
    struct ps_spin *spin;                   /* NULL: none */
};

static void add_fd(struct watch *w, struct ps_poll *of, struct psn_ear *ear, int fd)
{
    w->fds[w->n] = (struct pollfd){ .fd = fd, .events = POLLIN };
    w->ears[w->n] = ear;
    w->of[w->n++] = of;
}

static void add_ear(struct watch *w, struct ps_poll *of, struct psn_ear *ear)
{
    if (ear->socket)
        add_fd(w, of, ear, ear->fd);
}

/* A link may hear on two sockets. */
static void add_own(struct watch *w, struct ps_poll *p)
{
    if (p->server) {
        add_ear(w, p, ps_server_ear(p->server));
    } else if (p->link) {
        add_ear(w, p, ps_link_ear(p->link));
        add_ear(w, p, ps_link_side(p->link));
    } else if (p->signal) {
        add_fd(w, p, NULL, ps_signal_fd(p->signal));
    }
}

/* The same of its neighbours on this host. */
static void add_near(struct watch *w, struct ps_poll *p)
{
    int fd = p->server ? ps_server_near_fd(p->server)
             : p->link ? ps_link_near_fd(p->link)
                       : -1;

    if (fd >= 0)
        add_fd(w, p, NULL, fd);
}

/* What this room does by itself. */
static void serve_near(const struct ps_poll *p)
{
    if (p->server)
        ps_server_near_ready(p->server);
    else
        ps_link_near_ready(p->link);
}

/* Asks the sockets that were used, or of which the descriptor is readable. */
static ps_status ask_sockets(struct watch *w, bool readable, bool *ready)
{
    ps_status st = PS_OK;

    for (nfds_t i = 0; !st && i < w->n_own; i++) {
        bool is_there = !w->ears[i] && w->fds[i].revents;

        if (w->ears[i] && (readable ? w->fds[i].revents != 0 : !w->ears[i]->is_quiet))
            st = psn_ear_listen(w->ears[i], &is_there);
        w->of[i]->ready = w->of[i]->ready || is_there;
        *ready = *ready || is_there;
    }
    return st;
}

/* As poll(2), but looks for a while before it sleeps, if it may. */
static int poll_or_spin(struct watch *w, int timeout_ms)
{
    int n = 0;

    if (w->spin && timeout_ms != 0 && ps_spin_begin(w->spin, ps_now_ns()))
        do {
            n = poll(w->fds, w->n, 0);
            if (n == 0)
                sched_yield(); /* a thread of ZeroMQ may be the one to bring it */
        } while (n == 0 && ps_spin_goes_on(w->spin, ps_now_ns()));
    return n ? n : poll(w->fds, w->n, timeout_ms);
}

/* One wait.  *over: something is ready, or was done. */
static ps_status wait_once(struct watch *w, int timeout_ms, bool *over)
{
    int       n = poll_or_spin(w, *over ? 0 : timeout_ms);
    ps_status st;

    if (n <= 0) {
        *over = true;
        return n == 0 || errno == EINTR
                   ? PS_OK
                   : ps_fail(PS_ERR_SYSTEM, "net: cannot wait: %m");
    }
    st = ask_sockets(w, true, over);
    for (nfds_t i = w->n_own; !st && i < w->n; i++)
        if (w->fds[i].revents) {
            serve_near(w->of[i]);
            *over = true;
        }
    return st;
}

static int left_of(int timeout_ms, uint64_t begun_ns)
{
    uint64_t gone_ms;

    if (timeout_ms <= 0)
        return timeout_ms;
    gone_ms = (ps_now_ns() - begun_ns) / 1000000;
    return gone_ms < (uint64_t)timeout_ms ? timeout_ms - (int)gone_ms : 0;
}

/* A descriptor may be readable for something else than a message: then the rest of the
 * time is waited for. */
static ps_status wait_for(struct watch *w, int timeout_ms)
{
    const uint64_t begun_ns = timeout_ms > 0 ? ps_now_ns() : 0;
    int            left_ms = timeout_ms;
    bool           over = false;
    ps_status      st;

    for (nfds_t i = 0; i < w->n_own; i++)
        over = over || w->of[i]->ready;
    st = ask_sockets(w, false, &over);
    while (!st) {
        st = wait_once(w, left_ms, &over);
        if (over)
            break;
        left_ms = left_of(timeout_ms, begun_ns);
    }
    return st;
}

ps_status ps_net_poll(struct ps_poll *polls, size_t n, int timeout_ms)
{
    return ps_net_poll_spinning(polls, n, timeout_ms, NULL);
}

ps_status ps_net_poll_spinning(struct ps_poll *polls, size_t n, int timeout_ms,
                               struct ps_spin *spin)
{
    struct watch w;

    if (n > PS_POLLS_MAX)
        return ps_fail(PS_ERR_LIMIT, "net: waiting for %zu sources, at most %u", n,
                       PS_POLLS_MAX);
    w.n = 0;
    w.spin = spin && spin->most_ns ? spin : NULL; /* else no look at the clock */
    for (size_t i = 0; i < n; i++) {
        polls[i].ready = (polls[i].server && ps_server_has_more(polls[i].server)) ||
                         (polls[i].link && ps_link_has_more(polls[i].link));
        add_own(&w, &polls[i]);
    }
    w.n_own = w.n;
    for (size_t i = 0; i < n; i++)
        add_near(&w, &polls[i]);
    return wait_for(&w, timeout_ms);
}

uint64_t ps_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
