/* parcel.c - see parcel.h. */
#include "common/base/parcel.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

bool ps_route_same(const struct ps_route *a, const struct ps_route *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == PS_ROUTE_SHARD)
        return a->index == b->index;
    return a->bytes == b->bytes && memcmp(a->id, b->id, a->bytes) == 0;
}

void ps_parcel_init(struct ps_parcel *p, const struct ps_route *route)
{
    p->route = *route;
    p->head = NULL;
    p->n_frames = 0;
}

/* Without the room for frames that it does not have. */
static void copy_used(struct ps_parcel *out, const struct ps_parcel *in)
{
    memcpy(out, in,
           offsetof(struct ps_parcel, frames) + in->n_frames * sizeof(in->frames[0]));
}

void ps_parcel_share(struct ps_parcel *out, const struct ps_parcel *in)
{
    copy_used(out, in);
    ps_buf_share(out->head);
    for (uint32_t i = 0; i < out->n_frames; i++)
        ps_buf_share(out->frames[i]);
}

void ps_parcel_drop(struct ps_parcel *p)
{
    ps_buf_drop(&p->head);
    for (uint32_t i = 0; i < p->n_frames; i++)
        ps_buf_drop(&p->frames[i]);
    p->n_frames = 0;
}

static size_t padded(size_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

/* Two numbers and one for each frame, the header, the frames; what a sheet stands for
 * is no part of a group. */
size_t ps_parcel_room(const struct ps_parcel *p)
{
    size_t room = padded((2 + p->n_frames) * sizeof(uint32_t)) + padded(p->head->len);

    for (uint32_t i = 0; i < p->n_frames; i++)
        room += p->frames[i]->sheet ? PS_GROUP_BYTES : padded(p->frames[i]->len);
    return room;
}

ps_status ps_outbox_put(struct ps_outbox *out, struct ps_parcel *p)
{
    if (out->n == out->room) {
        size_t            room = out->room ? 2 * out->room : 8;
        struct ps_parcel *grown = realloc(out->parcels, room * sizeof(*grown));

        if (!grown) {
            ps_parcel_drop(p);
            return ps_fail(PS_ERR_NO_MEMORY, "outbox: no memory for %zu messages",
                           room);
        }
        out->parcels = grown;
        out->room = room;
    }
    copy_used(&out->parcels[out->n++], p);
    p->head = NULL;
    p->n_frames = 0;
    return PS_OK;
}

void ps_outbox_clear(struct ps_outbox *out)
{
    for (size_t i = 0; i < out->n; i++)
        ps_parcel_drop(&out->parcels[i]);
    out->n = 0;
}

void ps_outbox_free(struct ps_outbox *out)
{
    ps_outbox_clear(out);
    ps_tray_clear(&out->tray);
    free(out->parcels);
    *out = (struct ps_outbox){ 0 };
}
