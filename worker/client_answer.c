/* client_answer.c - pushes and pulls: what the answers bring; see client.h. */
#include "worker/client_private.h"

#include "common/base/copy.h"

#include <string.h>

/* What a pull of so much brings first has left the cache when its last part comes. */
#define PAST_CACHE_BYTES (UINT64_C(64) << 20)

/* The payload of an answer, read from front to back across its frames. */
struct cursor {
    const struct ps_parcel *in;
    uint32_t                frame;
    size_t                  at;         /* in that frame */
    bool                    past_cache; /* goes what is read */
};

/* The next `bytes`, which are there; `to` NULL: skips them. */
static void read_on(struct cursor *c, uint8_t *to, size_t bytes)
{
    while (bytes > 0) {
        const struct ps_buf *frame = c->in->frames[c->frame];
        size_t               n = frame->len - c->at;

        if (n > bytes)
            n = bytes;
        if (to) {
            if (c->past_cache)
                ps_copy_past_cache(to, frame->data + c->at, n);
            else
                memcpy(to, frame->data + c->at, n);
            to += n;
        }
        c->at += n;
        bytes -= n;
        if (c->at == frame->len) {
            c->frame++;
            c->at = 0;
        }
    }
}

/* Is it as long as what was asked for, and cut where it may be? */
static bool fits(const struct psw_request *r, const struct ps_parcel *in, size_t *got,
                 size_t *expected)
{
    size_t padding = 0;
    bool   cut_well = true;

    *got = *expected = 0;
    for (uint32_t i = 0; i < r->n_pieces; i++) {
        *expected += padding + r->pieces[i].bytes;
        padding = psw_padded(r->pieces[i].bytes) - r->pieces[i].bytes;
    }
    for (uint32_t i = 0; i < in->n_frames; i++) {
        *got += in->frames[i]->len;
        cut_well = cut_well && (i + 1 == in->n_frames || in->frames[i]->len % 8 == 0);
    }
    return cut_well && (*got == *expected || *got == *expected + padding);
}

/* Rows that lie in the cursor's frame as a whole; how many of row_of[n]. */
static uint64_t fill_from_frame(struct cursor *c, uint8_t *value, size_t row_bytes,
                                const uint64_t *row_of, uint64_t n)
{
    const struct ps_buf *frame = c->in->frames[c->frame];
    uint64_t             whole = (frame->len - c->at) / row_bytes;

    if (whole > n)
        whole = n;
    for (uint64_t i = 0; i < whole; i++)
        ps_copy_row(value + row_of[i] * row_bytes, frame->data + c->at + i * row_bytes,
                    row_bytes);
    c->at += whole * row_bytes;
    return whole;
}

static void fill_rows(struct cursor *c, const struct psw_request *r)
{
    const struct psw_piece *p = &r->pieces[0];
    size_t                  row_bytes = p->bytes / p->count;
    uint8_t                *value = p->value;

    for (uint64_t i = 0; i < p->count;) {
        i += fill_from_frame(c, value, row_bytes, r->row_of + i, p->count - i);
        if (i < p->count) { /* what is left is in this frame and the next ones */
            read_on(c, value + r->row_of[i] * row_bytes, row_bytes);
            i++;
        }
    }
}

static void fill(const struct psw_request *r, const struct ps_parcel *in)
{
    struct cursor c = { .in = in, .past_cache = r->ticket->pulled >= PAST_CACHE_BYTES };

    if (r->row_of) {
        fill_rows(&c, r);
        return;
    }
    for (uint32_t i = 0; i < r->n_pieces; i++) {
        size_t bytes = r->pieces[i].bytes;

        read_on(&c, r->pieces[i].value, bytes);
        if (i + 1 < r->n_pieces)
            read_on(&c, NULL, psw_padded(bytes) - bytes);
    }
}

static void pulled(struct psw_client *c, struct psw_shard *sh,
                   const struct psw_request *r, uint64_t version,
                   const struct ps_parcel *in)
{
    uint64_t *oldest = &r->ticket->oldest[sh - c->shards];
    size_t    got, expected;
    char      about[2 * PS_NAME_BYTES], name[PS_ENDPOINT_BYTES + 32];

    if (r->ticket->view && !r->pieces[0].value) {
        psw_view_answer(c, sh, r, version, in);
        return;
    }
    if (fits(r, in, &got, &expected)) {
        fill(r, in);
        if (version < *oldest)
            *oldest = version;
        c->traffic.bytes_pulled += got;
        c->traffic.bytes_pulled_raw += got;
        return;
    }
    psw_ticket_about(r->ticket, about, sizeof(about));
    psw_ticket_fail(r->ticket, PS_ERR_BAD_MESSAGE,
                    "%s: %s answered %zu bytes in %u frames, expected %zu in frames of "
                    "multiples of 8",
                    about, psw_lane_name(&sh->lane, name, sizeof(name)), got,
                    in->n_frames, expected);
}

/* The push was taken before, or came too late, and only values are wanted: those of
 * its clock, or of the shard's. */
static bool make_pull(struct psw_client *c, struct psw_request *r, uint64_t clock)
{
    struct ps_header h;

    if (ps_wire_decode(c->decoder, r->parcel.head->data, r->parcel.head->len, &h))
        return false;
    h.kind = PS_MSG_PULL;
    h.flags = 0;
    h.parts = 0;
    h.batches = 0;
    h.version = 0;
    h.weight = 0;
    if (clock > h.clock)
        h.clock = clock;
    return psw_request_change(c, r, &h);
}

bool psw_answer_run(struct psw_client *c, struct psw_shard *sh, struct psw_request *r,
                    const struct ps_header *h, const struct ps_parcel *in)
{
    bool     pulls = r->kind == PS_MSG_PULL || r->flags & PS_FLAG_PULL;
    bool     lists = r->kind == PS_MSG_ROWS;
    uint32_t expected = lists   ? PS_MSG_ROWS_OK
                        : pulls ? PS_MSG_PULL_OK
                                : PS_MSG_PUSH_OK;
    char     about[2 * PS_NAME_BYTES], name[PS_ENDPOINT_BYTES + 32];

    if (!r->ticket)
        return false; /* nobody waits: its buffers may be gone */
    if (h->kind == PS_MSG_ERROR && pulls)
        return make_pull(c, r, h->clock);
    if (h->kind != PS_MSG_ERROR && h->kind != expected) {
        psw_ticket_about(r->ticket, about, sizeof(about));
        psw_ticket_fail(r->ticket, PS_ERR_BAD_MESSAGE,
                        "%s: %s answered %s, expected %s", about,
                        psw_lane_name(&sh->lane, name, sizeof(name)),
                        ps_kind_name(h->kind), ps_kind_name(expected));
        return false;
    }
    if (lists) {
        psw_rows_answer(c, r, h, in);
        return false;
    }
    if (pulls)
        pulled(c, sh, r, h->version, in);
    psw_ticket_request_done(r->ticket);
    return false;
}
