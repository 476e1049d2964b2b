/* link.c - a connected DEALER as ps_link; see net.h. */
#include "common/net/ballast.h"
#include "common/net/multipart.h"
#include "common/net/socket.h"

#include "common/base/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* From question to question, where no answer helps: a question may be lost with its
 * connection, and a server elsewhere may come to this host. */
#define FIRST_PAUSE_NS UINT64_C(100000000)
#define LAST_PAUSE_NS UINT64_C(60000000000)

struct ps_link {
    struct ps_net     *net;
    struct psn_ear     ear;
    struct psn_ear     side; /* over ipc to the same server, when that is here */
    struct psn_near   *near; /* NULL: the server is elsewhere, or not found yet */
    uint8_t            name[PSN_NAME_BYTES]; /* of the server behind it */
    bool               sign;                 /* the server has to hear of the near */
    uint64_t           ask_ns, pause_ns; /* when to ask next where it is; 0: never */
    struct psn_group   group; /* what came last, as far as nobody has taken it */
    struct psn_ballast ballast;
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
    l->net = net;
    st = ps_socket_new(&l->ear, net, ZMQ_DEALER, endpoint);
    if (st == PS_OK && zmq_connect(l->ear.socket, endpoint))
        st = ps_fail(PS_ERR_BAD_ARG, "cannot connect to %s: %s", endpoint,
                     errno == EINVAL ? "not an address" : zmq_strerror(errno));
    if (st) {
        ps_link_close(&l, 0);
        return st;
    }
    *out = l;
    return PS_OK;
}

static void close_ear(struct psn_ear *ear, int linger_ms)
{
    if (!ear->socket)
        return;
    zmq_setsockopt(ear->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
    zmq_close(ear->socket);
    *ear = (struct psn_ear){ .socket = NULL };
}

void ps_link_close(struct ps_link **link, int linger_ms)
{
    struct ps_link *l = *link;

    *link = NULL;
    if (!l)
        return;
    psn_group_clear(&l->group);
    psn_ballast_drop(&l->ballast);
    psn_near_drop(&l->near);
    close_ear(&l->side, linger_ms);
    close_ear(&l->ear, linger_ms);
    free(l);
}

/* ---- on one host --------------------------------------------------------------- */

static void ask(struct ps_link *l)
{
    struct psn_envelope e = { .kind = PSN_WHERE };

    l->ear.is_quiet = false;
    if (ps_multipart_say(l->ear.socket, NULL, &e))
        ps_log(PS_LOG_DEBUG, "link: the server was not asked where it is");
    l->ask_ns = ps_now_ns() + l->pause_ns;
    if (l->pause_ns < LAST_PAUSE_NS)
        l->pause_ns *= 2;
}

void ps_link_share(struct ps_link *l)
{
    l->pause_ns = FIRST_PAUSE_NS;
    ask(l);
}

bool ps_link_is_near(const struct ps_link *l)
{
    return l->near && psn_near_is_up(l->near);
}

int ps_link_near_fd(const struct ps_link *l)
{
    return l->near ? psn_near_fd(l->near) : -1;
}

/* What was sent before goes its way, and its answers too. */
static void connect_side(struct ps_link *l)
{
    char endpoint[PS_ENDPOINT_BYTES];

    psn_near_ipc(l->name, endpoint);
    if (ps_socket_new(&l->side, l->net, ZMQ_DEALER, endpoint) ||
        zmq_connect(l->side.socket, endpoint))
        close_ear(&l->side, 0);
}

/* A server that has gone may come again, on this host too.  One that does not keep to
 * the rules may still read what it was lent, so that stays as it is. */
void ps_link_near_ready(struct ps_link *l)
{
    if (psn_near_listen(l->near)) {
        if (!psn_near_has_ended(l->near))
            return;
        psn_near_drop(&l->near);
        close_ear(&l->side, 0);
        ps_link_share(l);
    } else if (psn_near_is_up(l->near)) {
        l->sign = true;
        if (!l->side.socket && psn_near_has_ipc(l->near))
            connect_side(l);
    }
}

/* PS_ERR_TIMEOUT: it was for this room. */
static ps_status open_envelope(struct ps_link *l, const struct psn_envelope *e,
                               struct ps_parcel *p)
{
    if (e->kind == PSN_HERE && !p->head) {
        memcpy(l->name, e->name, sizeof(l->name));
        if (!l->near && psn_near_connect(&l->near, e->name))
            l->near = NULL;
        return PS_ERR_TIMEOUT;
    }
    if (e->kind == PSN_GROUP) {
        psn_group_next(&l->group, p);
        return PS_OK;
    }
    if (e->kind != PSN_LOANS || !l->near ||
        memcmp(e->name, psn_near_key(l->near), PSN_KEY_BYTES) != 0)
        return PS_ERR_BAD_MESSAGE;
    return psn_near_borrow(l->near, e, p);
}

/* A server that sends what it could lend has not heard of this near. */
static bool lends_too_little(const struct ps_parcel *p)
{
    for (uint32_t i = 0; i < p->n_frames; i++)
        if (p->frames[i]->len >= PS_HEAP_LEAST_BYTES)
            return true;
    return false;
}

/* ---- messages ------------------------------------------------------------------ */

/* The first `n` of a group that takes `bytes`; n 1: one alone. */
static ps_status send_some(struct ps_link *l, struct ps_parcel *parcels, size_t n,
                           size_t bytes, bool sign)
{
    struct psn_near *near = ps_link_is_near(l) ? l->near : NULL;
    struct psn_ear  *ear = near && l->side.socket ? &l->side : &l->ear;

    ear->is_quiet = false;
    if (n == 1)
        return ps_multipart_send(ear->socket, false, parcels, near, sign);
    return ps_multipart_send_group(ear->socket, false, parcels, n, bytes,
                                   sign ? psn_near_key(near) : NULL);
}

ps_status ps_link_send_all(struct ps_link *l, struct ps_parcel *parcels, size_t n)
{
    ps_status st = PS_OK, sent;
    bool      is_up = ps_link_is_near(l), sign = false;

    if (!l->near && l->ask_ns && l->ask_ns < ps_now_ns())
        ask(l);
    if (is_up) {
        psn_near_sweep(l->near);
        sign = psn_near_has_returned(l->near) || l->sign;
    }
    for (size_t at = 0, together; at < n; at += together) {
        size_t bytes;

        together = psn_group_count(parcels + at, n - at, &bytes);
        sent = send_some(l, parcels + at, together, bytes, sign);
        sign = sign && sent != PS_OK;
        st = st ? st : sent;
    }
    if (is_up)
        l->sign = sign;
    return st;
}

ps_status ps_link_send(struct ps_link *l, struct ps_parcel *p)
{
    return ps_link_send_all(l, p, 1);
}

bool ps_link_has_more(const struct ps_link *l)
{
    return l->group.block != NULL;
}

static ps_status receive_from(struct ps_link *l, struct psn_ear *ear,
                              struct ps_parcel *out, struct psn_envelope *e)
{
    ps_status st = ps_multipart_receive(ear->socket, false, out, e, &l->group);

    ear->is_quiet = st == PS_ERR_TIMEOUT;
    return st;
}

ps_status ps_link_receive(struct ps_link *l, struct ps_parcel *out)
{
    struct psn_envelope e;
    ps_status           st = PS_ERR_TIMEOUT;

    if (psn_group_next(&l->group, out))
        return PS_OK;
    if (l->side.socket)
        st = receive_from(l, &l->side, out, &e);
    if (st == PS_ERR_TIMEOUT)
        st = receive_from(l, &l->ear, out, &e);
    if (!st)
        psn_ballast_see(&l->ballast, out);
    if (!st && e.kind != PSN_NONE) {
        st = open_envelope(l, &e, out);
        if (st)
            ps_parcel_drop(out);
    } else if (!st && l->near && lends_too_little(out)) {
        l->sign = true;
    }
    if (st != PS_ERR_BAD_MESSAGE)
        return st;
    ps_log(PS_LOG_DEBUG, "link: dropped a malformed message");
    return PS_ERR_TIMEOUT;
}

struct psn_ear *ps_link_ear(struct ps_link *l)
{
    return &l->ear;
}

struct psn_ear *ps_link_side(struct ps_link *l)
{
    return &l->side;
}
