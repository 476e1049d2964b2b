/* server.c - a bound ROUTER as ps_server; see net.h. */
#include "common/net/multipart.h"
#include "common/net/port.h"
#include "common/net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

struct ps_server {
    struct psn_ear   ear;
    struct psn_port *port;  /* NULL: it does not share */
    struct psn_group group; /* what came last, as far as nobody has taken it */
    uint64_t         dropped;
    char             endpoint[PS_ENDPOINT_BYTES]; /* as bound */
};

/* The file of an ipc:// endpoint; NULL when it has none. */
static const char *file_of(const char *endpoint)
{
    const char *path = endpoint + 6;

    return strncmp(endpoint, "ipc://", 6) == 0 && *path != '@' ? path : NULL;
}

/* Does a process listen on this socket file? */
static bool is_served(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool refused;

    if (fd < 0)
        return true; /* not known: better not to take it away */
    strncpy(at.sun_path, path, sizeof(at.sun_path) - 1);
    refused = connect(fd, (struct sockaddr *)&at, sizeof(at)) && errno == ECONNREFUSED;
    close(fd);
    return !refused;
}

/* ZeroMQ unlinks whatever stands at the path; only a stale socket may go. */
static ps_status check_file(const char *endpoint, const char *path)
{
    struct stat there;

    if (lstat(path, &there))
        return PS_OK; /* nothing there, or bind will say why not */
    if (!S_ISSOCK(there.st_mode))
        return ps_fail(PS_ERR_BAD_ARG,
                       "cannot bind %s: there is a file that is not a socket",
                       endpoint);
    if (is_served(path))
        return ps_fail(PS_ERR_UNAVAILABLE, "cannot bind %s: address in use", endpoint);
    return PS_OK;
}

static ps_status bind_failed(const char *endpoint, int why)
{
    const char *reason = zmq_strerror(why);
    ps_status   st = PS_ERR_SYSTEM;

    if (why == EADDRINUSE) {
        st = PS_ERR_UNAVAILABLE;
        reason = "address in use";
    } else if (why == EADDRNOTAVAIL || why == ENODEV) {
        st = PS_ERR_UNAVAILABLE;
        reason = "not an address or interface of this machine";
    } else if (why == EACCES) {
        st = PS_ERR_DENIED;
        reason = "permission denied";
    } else if (why == ENOENT || why == ENOTDIR) {
        st = PS_ERR_BAD_ARG;
        reason = "no such folder";
    } else if (why == EINVAL) {
        st = PS_ERR_BAD_ARG;
        reason = "not an address";
    }
    return ps_fail(st, "cannot bind %s: %s", endpoint, reason);
}

static ps_status bind_to(struct ps_server *s, const char *endpoint)
{
    size_t room = sizeof(s->endpoint);

    if (zmq_bind(s->ear.socket, endpoint))
        return bind_failed(endpoint, errno);
    if (zmq_getsockopt(s->ear.socket, ZMQ_LAST_ENDPOINT, s->endpoint, &room))
        return ps_fail(PS_ERR_SYSTEM, "cannot ask where %s was bound: %s", endpoint,
                       zmq_strerror(errno));
    return PS_OK;
}

ps_status ps_server_open(struct ps_server **out, struct ps_net *net,
                         const char *endpoint)
{
    const char       *file = file_of(endpoint);
    struct ps_server *s;
    ps_status         st = ps_endpoint_check(endpoint);

    if (st == PS_OK && file)
        st = check_file(endpoint, file);
    if (st)
        return st;
    s = calloc(1, sizeof(*s));
    if (!s)
        return ps_fail(PS_ERR_NO_MEMORY, "cannot bind %s: no memory", endpoint);
    if ((st = ps_socket_new(&s->ear, net, ZMQ_ROUTER, endpoint)) == PS_OK)
        st = bind_to(s, endpoint);
    if (st) {
        ps_server_close(&s);
        return st;
    }
    *out = s;
    return PS_OK;
}

void ps_server_close(struct ps_server **server)
{
    struct ps_server *s = *server;

    *server = NULL;
    if (!s)
        return;
    /* While we still listen, so that nobody else can have taken the path. */
    if (s->endpoint[0] && file_of(s->endpoint))
        unlink(file_of(s->endpoint));
    if (s->ear.socket)
        zmq_close(s->ear.socket);
    psn_group_clear(&s->group);
    psn_port_close(&s->port);
    free(s);
}

const char *ps_server_endpoint(const struct ps_server *s)
{
    return s->endpoint;
}

uint64_t ps_server_dropped(const struct ps_server *s)
{
    return s->dropped;
}

/* ---- on one host --------------------------------------------------------------- */

/* Who bound a path may have done so for its permissions. */
static void bind_near(struct ps_server *s)
{
    char endpoint[PS_ENDPOINT_BYTES];

    psn_near_ipc(psn_port_name(s->port), endpoint);
    if (strncmp(s->endpoint, "tcp://", 6) == 0 &&
        zmq_bind(s->ear.socket, endpoint) == 0)
        psn_port_has_ipc(s->port);
}

void ps_server_share(struct ps_server *s)
{
    if (s->port)
        return;
    s->ear.is_quiet = false;
    if (psn_port_open(&s->port))
        ps_log(PS_LOG_DEBUG, "%s: shares no memory: %s", s->endpoint,
               ps_log_last_error());
    else
        bind_near(s);
}

int ps_server_near_fd(const struct ps_server *s)
{
    return s->port ? psn_port_fd(s->port) : -1;
}

void ps_server_near_ready(struct ps_server *s)
{
    psn_port_serve(s->port);
}

/* Not answering is an answer: then everything goes as bytes. */
static void say_here(struct ps_server *s, const struct ps_route *to)
{
    struct psn_envelope e = { .kind = PSN_HERE };

    if (!s->port)
        return;
    memcpy(e.name, psn_port_name(s->port), sizeof(e.name));
    s->ear.is_quiet = false;
    if (ps_multipart_say(s->ear.socket, to, &e))
        ps_log(PS_LOG_DEBUG, "%s: a peer was not told the name", s->endpoint);
}

/* The first of its parcels; the others are there already. */
static ps_status open_group(struct ps_server *s, const struct psn_envelope *e,
                            struct ps_parcel *p)
{
    static const uint8_t none[PSN_KEY_BYTES];
    struct psn_near     *near = NULL;

    if (s->port && memcmp(e->name, none, sizeof(none)) != 0)
        near = psn_port_from(s->port, e->name, &p->route);
    if (near)
        psn_near_sweep(near);
    s->group.route = p->route;
    psn_group_next(&s->group, p);
    return PS_OK;
}

/* PS_ERR_TIMEOUT: it was for this room. */
static ps_status open_envelope(struct ps_server *s, const struct psn_envelope *e,
                               struct ps_parcel *p)
{
    struct psn_near *near;

    if (e->kind == PSN_WHERE && !p->head) {
        say_here(s, &p->route);
        return PS_ERR_TIMEOUT;
    }
    if (e->kind == PSN_GROUP)
        return open_group(s, e, p);
    near = e->kind == PSN_LOANS && s->port ? psn_port_from(s->port, e->name, &p->route)
                                           : NULL;
    if (!near)
        return e->n_loans == 0 && p->head ? PS_OK : PS_ERR_BAD_MESSAGE;
    psn_near_sweep(near);
    return e->n_loans ? psn_near_borrow(near, e, p) : PS_OK;
}

/* ---- messages ------------------------------------------------------------------ */

ps_status ps_server_send(struct ps_server *s, struct ps_parcel *p)
{
    struct psn_near *near = s->port ? psn_port_of(s->port, &p->route) : NULL;

    s->ear.is_quiet = false;
    return ps_multipart_send(s->ear.socket, true, p, near, false);
}

/* How many of parcels[n] are for the peer of the first one. */
static size_t count_same(const struct ps_parcel *parcels, size_t n)
{
    size_t same = 1;

    while (same < n && ps_route_same(&parcels[same].route, &parcels[0].route))
        same++;
    return same;
}

ps_status ps_server_send_all(struct ps_server *s, struct ps_parcel *parcels, size_t n)
{
    ps_status st = PS_OK, sent;

    s->ear.is_quiet = s->ear.is_quiet && n == 0;
    for (size_t at = 0, together; at < n; at += together) {
        size_t bytes;

        together =
            psn_group_count(parcels + at, count_same(parcels + at, n - at), &bytes);
        if (together == 1)
            sent = ps_server_send(s, &parcels[at]);
        else
            sent = ps_multipart_send_group(s->ear.socket, true, parcels + at, together,
                                           bytes, NULL);
        st = st ? st : sent;
    }
    return st;
}

bool ps_server_has_more(const struct ps_server *s)
{
    return s->group.block != NULL;
}

ps_status ps_server_receive(struct ps_server *s, struct ps_parcel *out)
{
    struct psn_envelope e;
    ps_status           st;

    if (psn_group_next(&s->group, out))
        return PS_OK;
    st = ps_multipart_receive(s->ear.socket, true, out, &e, &s->group);
    s->ear.is_quiet = st == PS_ERR_TIMEOUT;
    if (!st && e.kind != PSN_NONE) {
        st = open_envelope(s, &e, out);
        if (st)
            ps_parcel_drop(out);
    }
    if (st != PS_ERR_BAD_MESSAGE)
        return st;
    s->dropped++;
    ps_log(PS_LOG_DEBUG, "%s: dropped a malformed message, %ju so far", s->endpoint,
           (uintmax_t)s->dropped);
    return PS_ERR_TIMEOUT;
}

struct psn_ear *ps_server_ear(struct ps_server *s)
{
    return &s->ear;
}
