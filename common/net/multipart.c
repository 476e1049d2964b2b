/* multipart.c - see multipart.h. */
#include "common/net/multipart.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* Below, a copy costs less than ZeroMQ's control block and the release from its thread.
 */
#define SHARE_BYTES (64u << 10)

/* Smaller received frames may lie in ZeroMQ's 8 KiB read block, all of which a kept
 * frame would pin. */
#define KEEP_BYTES (8u << 10)

/* Part numbers of a ROUTER's message; a DEALER's begins with the envelope, or where
 * there is none the header. */
enum { ADDRESS_PART, ENVELOPE_PART, HEAD_PART, FRAMES_PART };

#define PARTS_MAX (FRAMES_PART + PS_FRAMES_MAX)

struct parts {
    uint32_t  n, n_loans;
    zmq_msg_t part[PARTS_MAX];
};

static void close_from(struct parts *m, uint32_t first)
{
    for (uint32_t i = first; i < m->n; i++)
        zmq_msg_close(&m->part[i]);
}

static ps_status add_room(struct parts *m, size_t bytes)
{
    if (zmq_msg_init_size(&m->part[m->n], bytes))
        return ps_fail(PS_ERR_NO_MEMORY, "message: no memory for a part of %zu bytes",
                       bytes);
    m->n++;
    return PS_OK;
}

static ps_status add_copy(struct parts *m, const void *data, size_t bytes)
{
    ps_status st = add_room(m, bytes);

    if (!st && bytes > 0)
        memcpy(zmq_msg_data(&m->part[m->n - 1]), data, bytes);
    return st;
}

/* On one of ZeroMQ's threads, when the bytes have left. */
static void drop_sent(void *data, void *hint)
{
    struct ps_buf *b = hint;

    (void)data;
    ps_buf_drop(&b);
}

static ps_status add_buf(struct parts *m, struct ps_buf **b, size_t limit)
{
    struct ps_buf *buf = *b;

    if (buf->len > limit)
        return ps_fail(PS_ERR_LIMIT, "message: a part of %zu bytes, at most %zu",
                       buf->len, limit);
    if (buf->len < SHARE_BYTES)
        return add_copy(m, buf->data, buf->len);
    if (zmq_msg_init_data(&m->part[m->n], buf->data, buf->len, drop_sent, buf))
        return ps_fail(PS_ERR_NO_MEMORY, "message: no memory to send a part");
    *b = NULL; /* ours no more */
    m->n++;
    return PS_OK;
}

static ps_status add_envelope(struct parts *m, const struct psn_envelope *e)
{
    uint8_t bytes[PSN_ENVELOPE_BYTES];

    return add_copy(m, bytes, psn_envelope_write(e, bytes));
}

/* Lends what can be lent; the other frames stay in the parcel, but for sheets: their
 * bytes are too many for a message. */
static void lend(struct psn_envelope *e, struct ps_parcel *p, struct psn_near *near)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < p->n_frames; i++) {
        struct psn_loan *loan = &e->loans[e->n_loans];
        bool             lent = near && p->frames[i]->len <= PS_FRAME_BYTES &&
                    psn_near_lend(near, p->frames[i], loan);

        if (lent)
            loan->frame = (uint16_t)(kept + e->n_loans++);
        if (lent || p->frames[i]->sheet)
            ps_buf_drop(&p->frames[i]);
        else
            p->frames[kept++] = p->frames[i];
    }
    p->n_frames = kept;
}

/* Everything that can be refused is refused here, before the first part is sent. */
static ps_status pack(struct parts *m, bool router, struct ps_parcel *p,
                      const struct psn_envelope *e)
{
    ps_status st = PS_OK;

    m->n = 0;
    if (router)
        st = add_copy(m, p->route.id, p->route.bytes);
    if (!st && e->kind)
        st = add_envelope(m, e);
    if (!st)
        st = add_buf(m, &p->head, PS_HEADER_BYTES);
    for (uint32_t i = 0; st == PS_OK && i < p->n_frames; i++)
        st = add_buf(m, &p->frames[i], PS_FRAME_BYTES);
    if (st)
        close_from(m, 0);
    return st;
}

static int send_now(void *socket, zmq_msg_t *part, int flags)
{
    int rc;

    do
        rc = zmq_msg_send(part, socket, ZMQ_DONTWAIT | flags);
    while (rc < 0 && errno == EINTR);
    return rc;
}

/*
 * A queue that is full may not be: for about a millisecond ZeroMQ sends without looking
 * what its own threads have taken out of the queue meanwhile, and in that time a queue
 * of small messages is filled.  Asked for its events a socket looks.
 */
static int send_part(void *socket, struct parts *m, uint32_t i)
{
    int    flags = i + 1 < m->n ? ZMQ_SNDMORE : 0, events;
    int    rc = send_now(socket, &m->part[i], flags);
    size_t bytes = sizeof(events);

    if (rc < 0 && errno == EAGAIN &&
        zmq_getsockopt(socket, ZMQ_EVENTS, &events, &bytes) == 0)
        rc = send_now(socket, &m->part[i], flags);
    return rc;
}

/* The first part decides; ordinary refusals are not worth a line. */
static ps_status refused(int why)
{
    if (why == EAGAIN)
        return PS_ERR_TIMEOUT;
    if (why == EHOSTUNREACH)
        return PS_ERR_UNAVAILABLE;
    return ps_fail(PS_ERR_SYSTEM, "message: cannot send: %s", zmq_strerror(why));
}

/* *nothing: not even the first part has been sent. */
static ps_status send_parts(void *socket, struct parts *m, bool *nothing)
{
    ps_status st = PS_OK;

    *nothing = send_part(socket, m, 0) < 0;
    if (*nothing) {
        st = refused(errno);
        close_from(m, 0);
        return st;
    }
    /* When the connection breaks in between, ZeroMQ takes back what it has and
     * swallows the rest up to the last part, so the rest has to be offered too. */
    for (uint32_t i = 1; i < m->n; i++) {
        if (send_part(socket, m, i) < 0) {
            st = PS_ERR_TIMEOUT;
            zmq_msg_close(&m->part[i]);
        }
    }
    return st;
}

ps_status ps_multipart_send(void *socket, bool router, struct ps_parcel *p,
                            struct psn_near *near, bool sign)
{
    struct parts        m;
    struct psn_envelope e;
    bool                nothing = true;
    ps_status           st;

    e.kind = PSN_NONE;
    e.n_loans = 0;
    lend(&e, p, near);
    if (e.n_loans > 0 || (near && sign)) {
        e.kind = PSN_LOANS;
        memcpy(e.name, psn_near_key(near), sizeof(e.name));
    }
    st = pack(&m, router, p, &e);
    ps_parcel_drop(p);
    if (!st)
        st = send_parts(socket, &m, &nothing);
    if (nothing && e.n_loans > 0)
        psn_near_take_back(near, e.n_loans);
    return st;
}

ps_status ps_multipart_send_group(void *socket, bool router, struct ps_parcel *parcels,
                                  size_t n, size_t bytes, const uint8_t *key)
{
    struct parts m;
    bool         nothing;
    ps_status    st = PS_OK;

    m.n = 0;
    if (router)
        st = add_copy(&m, parcels->route.id, parcels->route.bytes);
    if (!st)
        st = add_room(&m, bytes);
    if (!st)
        psn_group_write(parcels, n, key, zmq_msg_data(&m.part[m.n - 1]));
    for (size_t i = 0; i < n; i++)
        ps_parcel_drop(&parcels[i]);
    if (!st)
        return send_parts(socket, &m, &nothing);
    close_from(&m, 0);
    return st;
}

ps_status ps_multipart_say(void *socket, const struct ps_route *to,
                           const struct psn_envelope *e)
{
    struct parts m;
    bool         nothing;
    ps_status    st;

    m.n = 0;
    st = to ? add_copy(&m, to->id, to->bytes) : PS_OK;

    if (!st)
        st = add_envelope(&m, e);
    if (!st)
        return send_parts(socket, &m, &nothing);
    close_from(&m, 0);
    return st;
}

static void drop_kept(void *owner)
{
    zmq_msg_close(owner);
    free(owner);
}

/* Keeps ZeroMQ's own block, which moves into the buffer's care. */
static ps_status keep(struct ps_buf **out, zmq_msg_t *part)
{
    zmq_msg_t *owner = malloc(sizeof(*owner));
    ps_status  st;

    if (!owner)
        return ps_fail(PS_ERR_NO_MEMORY, "message: no memory to keep a frame");
    zmq_msg_init(owner);
    zmq_msg_move(owner, part);
    st = ps_buf_adopt(out, zmq_msg_data(owner), zmq_msg_size(owner), drop_kept, owner);
    if (st)
        drop_kept(owner);
    return st;
}

static ps_status take_buf(struct ps_buf **out, zmq_msg_t *part)
{
    size_t bytes = zmq_msg_size(part);
    void  *data = zmq_msg_data(part);

    if (bytes >= KEEP_BYTES && (uintptr_t)data % 8 == 0)
        return keep(out, part);
    return ps_buf_copy(out, data, bytes);
}

static ps_status take_address(struct ps_route *from, zmq_msg_t *part)
{
    size_t bytes = zmq_msg_size(part);

    if (bytes == 0 || bytes > PS_ROUTE_BYTES)
        return PS_ERR_BAD_MESSAGE;
    from->kind = PS_ROUTE_PEER;
    from->bytes = (uint8_t)bytes;
    memcpy(from->id, zmq_msg_data(part), bytes);
    return PS_OK;
}

/* No header begins with a zero: it would be a field of number 0. */
static bool is_envelope(zmq_msg_t *part)
{
    return zmq_msg_size(part) > 0 && *(const uint8_t *)zmq_msg_data(part) == 0;
}

static ps_status take_envelope(struct psn_envelope *e, struct psn_group *group,
                               zmq_msg_t *part)
{
    const uint8_t *data = zmq_msg_data(part);
    size_t         bytes = zmq_msg_size(part);

    if (!psn_group_is(data, bytes))
        return psn_envelope_read(e, data, bytes);
    if (zmq_msg_more(part))
        return PS_ERR_BAD_MESSAGE; /* it is all there is */
    e->kind = PSN_GROUP;
    return psn_group_open(group, data, bytes, e->name);
}

static ps_status take_part(struct ps_parcel *out, struct psn_envelope *e,
                           struct psn_group *group, uint32_t number, zmq_msg_t *part)
{
    size_t    bytes = zmq_msg_size(part);
    ps_status st;

    if (number == ADDRESS_PART)
        return take_address(&out->route, part);
    if (number == ENVELOPE_PART)
        return take_envelope(e, group, part);
    if (number == HEAD_PART)
        return bytes == 0 || bytes > PS_HEADER_BYTES ? PS_ERR_BAD_MESSAGE
                                                     : take_buf(&out->head, part);
    if (out->n_frames == PS_FRAMES_MAX)
        return PS_ERR_BAD_MESSAGE;
    st = take_buf(&out->frames[out->n_frames], part);
    if (st == PS_OK)
        out->n_frames++;
    return st;
}

static ps_status receive_part(void *socket, zmq_msg_t *part)
{
    int rc;

    zmq_msg_init(part);
    do
        rc = zmq_msg_recv(part, socket, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    if (rc >= 0)
        return PS_OK;
    if (errno == EAGAIN)
        return PS_ERR_TIMEOUT;
    return ps_fail(PS_ERR_SYSTEM, "message: cannot receive: %s", zmq_strerror(errno));
}

ps_status ps_multipart_receive(void *socket, bool router, struct ps_parcel *out,
                               struct psn_envelope *e, struct psn_group *group)
{
    ps_status st = PS_OK, got;
    uint32_t  number = router ? ADDRESS_PART : ENVELOPE_PART;
    zmq_msg_t part;
    bool      more;

    ps_parcel_init(out, &(struct ps_route){ .bytes = 0 });
    e->kind = PSN_NONE;
    e->n_loans = 0;
    do {
        if ((got = receive_part(socket, &part))) {
            ps_parcel_drop(out);
            return got; /* before the first part: a message is there whole or not */
        }
        more = zmq_msg_more(&part);
        if (number == ENVELOPE_PART && !is_envelope(&part))
            number = HEAD_PART;
        if (st == PS_OK)
            st = take_part(out, e, group, number++, &part);
        zmq_msg_close(&part);
    } while (more); /* also after a failure: the rest must not pass for a message */
    if (st == PS_OK && !out->head && (e->kind == PSN_NONE || e->kind == PSN_LOANS))
        st = PS_ERR_BAD_MESSAGE;
    if (st)
        ps_parcel_drop(out);
    return st;
}
