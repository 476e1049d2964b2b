/* group.c - see group.h. */
#include "common/net/group.h"

#include <assert.h>
#include <string.h>

#define VERSION 1u

struct group_head {
    uint8_t  zero, kind, version, more_zero;
    uint32_t n_parcels;
    uint8_t  key[PSN_KEY_BYTES];
};

static_assert(sizeof(struct group_head) == PSN_GROUP_HEAD_BYTES, "no padding");

/* Before each parcel. */
struct parcel_head {
    uint32_t head_bytes, n_frames;
    uint32_t frame_bytes[PS_FRAMES_MAX]; /* the first n_frames are sent */
};

static size_t padded(size_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

static size_t head_room(uint32_t n_frames)
{
    return padded((2 + n_frames) * sizeof(uint32_t));
}

/* ---- on its way out ------------------------------------------------------------- */

size_t psn_group_count(const struct ps_parcel *parcels, size_t n, size_t *bytes)
{
    size_t count = 0, sum = 0;

    while (count < n && count < PS_GROUP_MAX) {
        size_t room = ps_parcel_room(&parcels[count]);

        if (sum + room > PS_GROUP_BYTES)
            break;
        sum += room;
        count++;
    }
    *bytes = sizeof(struct group_head) + sum;
    return count > 1 ? count : 1;
}

static uint8_t *write_padded(uint8_t *to, const void *from, size_t bytes)
{
    size_t padding = padded(bytes) - bytes;

    if (bytes > 0)
        memcpy(to, from, bytes);
    memset(to + bytes, 0, padding);
    return to + bytes + padding;
}

static uint8_t *write_parcel(uint8_t *to, const struct ps_parcel *p)
{
    struct parcel_head head = { .head_bytes = (uint32_t)p->head->len,
                                .n_frames = p->n_frames };

    for (uint32_t i = 0; i < p->n_frames; i++)
        head.frame_bytes[i] = (uint32_t)p->frames[i]->len;
    to = write_padded(to, &head, (2 + p->n_frames) * sizeof(uint32_t));
    to = write_padded(to, p->head->data, p->head->len);
    for (uint32_t i = 0; i < p->n_frames; i++)
        to = write_padded(to, p->frames[i]->data, p->frames[i]->len);
    return to;
}

void psn_group_write(const struct ps_parcel *parcels, size_t n, const uint8_t *key,
                     uint8_t *to)
{
    struct group_head head = { .kind = PSN_GROUP,
                               .version = VERSION,
                               .n_parcels = (uint32_t)n };

    if (key)
        memcpy(head.key, key, sizeof(head.key));
    to = write_padded(to, &head, sizeof(head));
    for (size_t i = 0; i < n; i++)
        to = write_parcel(to, &parcels[i]);
}

/* ---- on its way in -------------------------------------------------------------- */

bool psn_group_is(const uint8_t *bytes, size_t n_bytes)
{
    return n_bytes > 1 && bytes[0] == 0 && bytes[1] == PSN_GROUP;
}

/* Reads what stands before the parcel at `from` and says how long that parcel is; 0: it
 * is not as it should be. */
static size_t read_head(const uint8_t *from, size_t left, struct parcel_head *head)
{
    size_t bytes;

    if (left < 2 * sizeof(uint32_t))
        return 0;
    memcpy(head, from, 2 * sizeof(uint32_t));
    if (head->head_bytes == 0 || head->head_bytes > PS_HEADER_BYTES ||
        head->n_frames > PS_FRAMES_MAX || left < head_room(head->n_frames))
        return 0;
    memcpy(head->frame_bytes, from + 2 * sizeof(uint32_t),
           head->n_frames * sizeof(uint32_t));
    bytes = head_room(head->n_frames) + padded(head->head_bytes);
    for (uint32_t i = 0; i < head->n_frames; i++) {
        if (head->frame_bytes[i] > PS_GROUP_BYTES)
            return 0;
        bytes += padded(head->frame_bytes[i]);
    }
    return bytes <= left ? bytes : 0;
}

/* Headers and frames of all parcels; 0: something is wrong with one of them. */
static size_t count_views(const uint8_t *bytes, size_t n_bytes, uint32_t n_parcels)
{
    size_t n_views = 0, at = sizeof(struct group_head);

    for (uint32_t i = 0; i < n_parcels; i++) {
        struct parcel_head head;
        size_t             parcel = read_head(bytes + at, n_bytes - at, &head);

        if (parcel == 0)
            return 0;
        at += parcel;
        n_views += 1 + head.n_frames;
    }
    return at == n_bytes ? n_views : 0;
}

ps_status psn_group_open(struct psn_group *g, const uint8_t *bytes, size_t n_bytes,
                         uint8_t key[PSN_KEY_BYTES])
{
    struct group_head head;
    size_t            n_views = 0;
    ps_status         st;

    assert(!g->block);
    if (n_bytes < sizeof(head) || n_bytes > sizeof(head) + PS_GROUP_BYTES)
        return PS_ERR_BAD_MESSAGE;
    memcpy(&head, bytes, sizeof(head));
    if (psn_group_is(bytes, n_bytes) && head.version == VERSION &&
        head.more_zero == 0 && head.n_parcels > 0 && head.n_parcels <= PS_GROUP_MAX)
        n_views = count_views(bytes, n_bytes, head.n_parcels);
    if (n_views == 0)
        return PS_ERR_BAD_MESSAGE;
    st = ps_buf_new(&g->block, n_bytes + n_views * sizeof(struct ps_buf));
    if (st)
        return st;
    memcpy(g->block->data, bytes, n_bytes);
    memcpy(key, head.key, PSN_KEY_BYTES);
    g->block->len = n_bytes;
    g->views = (struct ps_buf *)(void *)(g->block->data + n_bytes);
    g->at = sizeof(head);
    g->n_left = head.n_parcels;
    return PS_OK;
}

static struct ps_buf *next_view(struct psn_group *g, uint8_t **from, size_t bytes)
{
    struct ps_buf *view = ps_buf_place(g->views++, g->block, *from, bytes);

    *from += padded(bytes);
    return view;
}

bool psn_group_next(struct psn_group *g, struct ps_parcel *out)
{
    struct parcel_head head;
    uint8_t           *from;

    if (!g->block)
        return false;
    from = g->block->data + g->at;
    g->at += read_head(from, g->block->len - g->at, &head);
    from += head_room(head.n_frames);
    ps_parcel_init(out, &g->route);
    out->head = next_view(g, &from, head.head_bytes);
    for (; out->n_frames < head.n_frames; out->n_frames++)
        out->frames[out->n_frames] =
            next_view(g, &from, head.frame_bytes[out->n_frames]);
    if (--g->n_left == 0)
        psn_group_clear(g);
    return true;
}

void psn_group_clear(struct psn_group *g)
{
    ps_buf_drop(&g->block);
}
