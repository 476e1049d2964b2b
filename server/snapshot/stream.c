/* stream.c - see stream.h. */
#include "server/snapshot/stream.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define STREAM_VERSION 1u
#define TRUSTED_BYTES ((size_t)4 << 20) /* allocated before they are seen */

struct stream_head {
    char     magic[8];
    uint32_t version;
    uint32_t zero;
};

struct block_head {
    uint32_t bytes;
    uint32_t last;
    uint64_t hash;
};

static const char magic[8] = { 'P', 'S', 'D', 'I', 'M', 'A', 'G', 'E' };

/* Over number, bytes, last and content. */
static uint64_t hash_of(const struct block_head *head, uint64_t number,
                        const uint8_t *block)
{
    const uint32_t first[2] = { head->bytes, head->last };

    return XXH3_64bits_withSeed(block, head->bytes,
                                XXH3_64bits_withSeed(first, sizeof(first), number));
}

/* ---- out ----------------------------------------------------------------------- */

static void sink(struct psd_writer *w, const void *bytes, size_t n)
{
    if (!w->status && n > 0)
        w->status = w->sink(w->ctx, bytes, n);
}

void psd_writer_open(struct psd_writer *w, psd_sink_fn *fn, void *ctx)
{
    struct stream_head head = { .version = STREAM_VERSION };

    memcpy(head.magic, magic, sizeof(magic));
    *w = (struct psd_writer){ .sink = fn, .ctx = ctx };
    w->block = malloc(PSD_BLOCK_BYTES);
    if (!w->block)
        w->status = ps_fail(PS_ERR_NO_MEMORY, "snapshot: no memory for a block");
    sink(w, &head, sizeof(head));
}

static void flush(struct psd_writer *w, bool last)
{
    struct block_head head = { .bytes = (uint32_t)w->used, .last = last };

    if (w->status)
        return;
    head.hash = hash_of(&head, w->number++, w->block);
    sink(w, &head, sizeof(head));
    sink(w, w->block, w->used);
    w->used = 0;
}

ps_status psd_writer_close(struct psd_writer *w)
{
    flush(w, true);
    free(w->block);
    w->block = NULL;
    return w->status;
}

void psd_put(struct psd_writer *w, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;

    while (!w->status && n > 0) {
        size_t some = PSD_BLOCK_BYTES - w->used;

        if (some == 0) {
            flush(w, false);
            continue;
        }
        if (some > n)
            some = n;
        memcpy(w->block + w->used, from, some);
        w->used += some;
        from += some;
        n -= some;
    }
}

void psd_put_u32(struct psd_writer *w, uint32_t value)
{
    psd_put(w, &value, sizeof(value));
}

void psd_put_u64(struct psd_writer *w, uint64_t value)
{
    psd_put(w, &value, sizeof(value));
}

void psd_put_text(struct psd_writer *w, const char *text)
{
    uint32_t bytes = (uint32_t)strlen(text);

    psd_put_u32(w, bytes);
    psd_put(w, text, bytes);
}

/* ---- in ------------------------------------------------------------------------ */

ps_status psd_reader_open(struct psd_reader *r, psd_source_fn *source, void *ctx)
{
    struct stream_head head;
    ps_status          st;

    *r = (struct psd_reader){ .source = source, .ctx = ctx };
    st = source(ctx, &head, sizeof(head));
    if (st)
        return st;
    if (memcmp(head.magic, magic, sizeof(magic)) != 0 || head.zero != 0)
        return ps_fail(PS_ERR_DATA, "snapshot: this is none");
    if (head.version != STREAM_VERSION)
        return ps_fail(PS_ERR_DATA, "snapshot: of format %u, expected %u", head.version,
                       STREAM_VERSION);
    r->block = malloc(PSD_BLOCK_BYTES);
    if (!r->block)
        return ps_fail(PS_ERR_NO_MEMORY, "snapshot: no memory for a block");
    return PS_OK;
}

void psd_reader_close(struct psd_reader *r)
{
    free(r->block);
    r->block = NULL;
}

static ps_status next_block(struct psd_reader *r)
{
    const uint64_t    number = r->number;
    struct block_head head;
    ps_status         st;

    if (r->last)
        return ps_fail(PS_ERR_DATA, "snapshot: it ends too early");
    st = r->source(r->ctx, &head, sizeof(head));
    if (st)
        return st;
    if (head.bytes > PSD_BLOCK_BYTES || head.last > 1 ||
        (!head.last && head.bytes != PSD_BLOCK_BYTES))
        return ps_fail(PS_ERR_DATA, "snapshot: the head of block %ju is damaged",
                       (uintmax_t)number);
    if (head.bytes > 0)
        st = r->source(r->ctx, r->block, head.bytes);
    if (st)
        return st;
    if (hash_of(&head, number, r->block) != head.hash)
        return ps_fail(PS_ERR_DATA, "snapshot: block %ju is damaged",
                       (uintmax_t)number);
    r->bytes = head.bytes;
    r->at = 0;
    r->last = head.last;
    r->number++;
    return PS_OK;
}

ps_status psd_reader_end(const struct psd_reader *r)
{
    if (r->at == r->bytes && r->last)
        return PS_OK;
    return ps_fail(PS_ERR_DATA, "snapshot: there is something behind its end");
}

ps_status psd_take(struct psd_reader *r, void *out, size_t n)
{
    uint8_t *to = out;

    while (n > 0) {
        size_t some = r->bytes - r->at;

        if (some == 0) {
            ps_status st = next_block(r);

            if (st)
                return st;
            continue;
        }
        if (some > n)
            some = n;
        memcpy(to, r->block + r->at, some);
        r->at += some;
        to += some;
        n -= some;
    }
    return PS_OK;
}

ps_status psd_take_u32(struct psd_reader *r, uint32_t *out)
{
    return psd_take(r, out, sizeof(*out));
}

ps_status psd_take_u64(struct psd_reader *r, uint64_t *out)
{
    return psd_take(r, out, sizeof(*out));
}

ps_status psd_take_text(struct psd_reader *r, char *out, size_t room)
{
    uint32_t  bytes;
    ps_status st = psd_take_u32(r, &bytes);

    if (st)
        return st;
    if (bytes >= room)
        return ps_fail(PS_ERR_DATA, "snapshot: a name of %u bytes, expected below %zu",
                       bytes, room);
    st = psd_take(r, out, bytes);
    if (st)
        return st;
    out[bytes] = '\0';
    if (strlen(out) != bytes)
        return ps_fail(PS_ERR_DATA, "snapshot: a name with a zero in it");
    return PS_OK;
}

ps_status psd_take_buf(struct psd_reader *r, size_t n, struct ps_buf **out)
{
    struct ps_buf *b;
    ps_status      st = ps_buf_new(&b, n < TRUSTED_BYTES ? n : TRUSTED_BYTES);

    while (!st && b->len < n) {
        size_t some = b->room - b->len;

        if (some == 0) {
            struct ps_buf *grown;

            st = ps_buf_new(&grown, n / 2 < b->room ? n : 2 * b->room);
            if (st)
                break;
            memcpy(grown->data, b->data, b->len);
            grown->len = b->len;
            ps_buf_drop(&b);
            b = grown;
            continue;
        }
        st = psd_take(r, b->data + b->len, some);
        b->len += some;
    }
    if (st)
        ps_buf_drop(&b);
    else
        *out = b;
    return st;
}

ps_status psd_take_array(struct psd_reader *r, uint64_t n, size_t element_bytes,
                         void **out)
{
    size_t    bytes, room = 0, used = 0;
    uint8_t  *array = NULL;
    ps_status st = PS_OK;

    if (__builtin_mul_overflow(n, element_bytes, &bytes))
        return ps_fail(PS_ERR_DATA, "snapshot: a list of %ju", (uintmax_t)n);
    while (!st && used < bytes) {
        uint8_t *grown;

        room = room == 0 ? TRUSTED_BYTES : bytes / 2 < room ? bytes : 2 * room;
        room = room < bytes ? room : bytes;
        grown = realloc(array, room);
        if (!grown) {
            st = ps_fail(PS_ERR_NO_MEMORY, "snapshot: no memory for a list of %ju",
                         (uintmax_t)n);
            break;
        }
        array = grown;
        st = psd_take(r, array + used, room - used);
        used = room;
    }
    if (st)
        free(array);
    else
        *out = array;
    return st;
}
