/* port.c - see port.h. */
#include "common/net/port.h"

#include "common/base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128
#define EVENTS 64

struct guest {
    struct psn_near *near;
    struct ps_route  route; /* of its messages; bytes 0: none came yet */
};

struct psn_port {
    int           listener, epoll;
    bool          ipc;
    uint8_t       name[PSN_NAME_BYTES];
    size_t        n, room;
    struct guest *guests;

    /* Places of guests by return address, open addressing, + 1; 0: free.  As many cells
     * as are needed for half of them to stay free; a power of two. */
    size_t    n_cells;
    uint32_t *cells;
};

/* ---- by return address ----------------------------------------------------------- */

static size_t cell_of(const struct psn_port *p, const struct ps_route *route)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (uint8_t i = 0; i < route->bytes; i++)
        hash = (hash ^ route->id[i]) * 1099511628211u;
    return (size_t)(hash ^ hash >> 32) & (p->n_cells - 1);
}

static void index_guest(struct psn_port *p, uint32_t at)
{
    size_t cell = cell_of(p, &p->guests[at].route);

    while (p->cells[cell])
        cell = (cell + 1) & (p->n_cells - 1);
    p->cells[cell] = at + 1;
}

static void index_again(struct psn_port *p)
{
    memset(p->cells, 0, p->n_cells * sizeof(*p->cells));
    for (uint32_t i = 0; i < p->n; i++)
        if (p->guests[i].route.bytes)
            index_guest(p, i);
}

static struct guest *find(const struct psn_port *p, const struct ps_route *route)
{
    if (p->n == 0)
        return NULL;
    for (size_t cell = cell_of(p, route); p->cells[cell];
         cell = (cell + 1) & (p->n_cells - 1)) {
        struct guest *g = &p->guests[p->cells[cell] - 1];

        if (ps_route_same(&g->route, route))
            return g;
    }
    return NULL;
}

struct psn_near *psn_port_of(const struct psn_port *p, const struct ps_route *route)
{
    struct guest *g = find(p, route);

    return g ? g->near : NULL;
}

/* ---- guests -------------------------------------------------------------------- */

static ps_status make_room(struct psn_port *p)
{
    size_t        room = p->room ? 2 * p->room : 8;
    struct guest *guests;
    uint32_t     *cells;

    if (p->n < p->room)
        return PS_OK;
    guests = reallocarray(p->guests, room, sizeof(*guests));
    if (!guests)
        return ps_fail(PS_ERR_NO_MEMORY, "net: no memory for %zu neighbours", room);
    p->guests = guests;
    cells = reallocarray(p->cells, 2 * room, sizeof(*cells));
    if (!cells)
        return ps_fail(PS_ERR_NO_MEMORY, "net: no memory for %zu neighbours", room);
    p->cells = cells;
    p->n_cells = 2 * room;
    p->room = room;
    index_again(p);
    return PS_OK;
}

static void remove_guest(struct psn_port *p, size_t at)
{
    epoll_ctl(p->epoll, EPOLL_CTL_DEL, psn_near_fd(p->guests[at].near), NULL);
    psn_near_drop(&p->guests[at].near);
    p->guests[at] = p->guests[--p->n];
    index_again(p);
}

static void listen_to(struct psn_port *p, struct psn_near *near)
{
    size_t at = 0;

    while (at < p->n && p->guests[at].near != near)
        at++;
    if (at < p->n && psn_near_listen(near))
        remove_guest(p, at);
}

static void add_guest(struct psn_port *p, int fd)
{
    struct psn_near   *near;
    struct epoll_event want = { .events = EPOLLIN };

    if (psn_near_accept(&near, fd, p->ipc))
        return;
    want.data.ptr = near;
    if (make_room(p) || epoll_ctl(p->epoll, EPOLL_CTL_ADD, psn_near_fd(near), &want)) {
        psn_near_drop(&near);
        return;
    }
    p->guests[p->n++] = (struct guest){ .near = near };
    listen_to(p, near);
}

static void take_guests(struct psn_port *p)
{
    int fd;

    while ((fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        add_guest(p, fd);
}

struct psn_near *psn_port_from(struct psn_port *p, const uint8_t *key,
                               const struct ps_route *route)
{
    struct guest *g = find(p, route);

    if (g && !memcmp(psn_near_key(g->near), key, PSN_KEY_BYTES))
        return g->near;
    psn_port_serve(p); /* it may have come just now */
    for (uint32_t i = 0; i < p->n; i++) {
        if (memcmp(psn_near_key(p->guests[i].near), key, PSN_KEY_BYTES) != 0)
            continue;
        p->guests[i].route = *route;
        index_again(p);
        return p->guests[i].near;
    }
    return NULL;
}

/* ---- the port ------------------------------------------------------------------ */

const uint8_t *psn_port_name(const struct psn_port *p)
{
    return p->name;
}

void psn_port_has_ipc(struct psn_port *p)
{
    p->ipc = true;
}

int psn_port_fd(const struct psn_port *p)
{
    return p->epoll;
}

/* Each event is of another near, and only its own lets a near go. */
void psn_port_serve(struct psn_port *p)
{
    struct epoll_event events[EVENTS];
    int                n = epoll_wait(p->epoll, events, EVENTS, 0);

    for (int i = 0; i < n; i++)
        if (events[i].data.ptr)
            listen_to(p, events[i].data.ptr);
        else
            take_guests(p);
}

static ps_status open_sockets(struct psn_port *p)
{
    struct epoll_event want = { .events = EPOLLIN };

    if (ps_random_secret(p->name, sizeof(p->name)))
        return ps_fail(PS_ERR_SYSTEM, "net: no random numbers: %m");
    p->listener = psn_near_socket(p->name, BACKLOG);
    if (p->listener < 0)
        return ps_fail(PS_ERR_SYSTEM, "net: cannot listen on a unix socket: %m");
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (p->epoll < 0 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->listener, &want))
        return ps_fail(PS_ERR_SYSTEM, "net: cannot wait on a unix socket: %m");
    return PS_OK;
}

ps_status psn_port_open(struct psn_port **out)
{
    struct psn_port *p = calloc(1, sizeof(*p));
    ps_status        st;

    if (!p)
        return ps_fail(PS_ERR_NO_MEMORY, "net: no memory for neighbours");
    p->listener = p->epoll = -1;
    st = open_sockets(p);
    if (st) {
        psn_port_close(&p);
        return st;
    }
    *out = p;
    return PS_OK;
}

void psn_port_close(struct psn_port **port)
{
    struct psn_port *p = *port;

    *port = NULL;
    if (!p)
        return;
    while (p->n > 0)
        psn_near_drop(&p->guests[--p->n].near);
    if (p->listener >= 0)
        close(p->listener);
    if (p->epoll >= 0)
        close(p->epoll);
    free(p->guests);
    free(p->cells);
    free(p);
}
