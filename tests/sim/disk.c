/* disk.c - see disk.h. */
#include "tests/sim/disk.h"

#include <stdlib.h>
#include <string.h>

#define KEPT 2u /* newest parts of a shard that are never forgotten */

/* ---- bytes ------------------------------------------------------------------------
 */

static ps_status sink(void *ctx, const void *bytes, size_t n)
{
    struct ps_buf **to = ctx;
    size_t          need = (*to)->len + n;

    if (need > (*to)->room) {
        struct ps_buf *grown;
        ps_status      st = ps_buf_new(&grown, 2 * need);

        if (st)
            return st;
        memcpy(grown->data, (*to)->data, (*to)->len);
        grown->len = (*to)->len;
        ps_buf_drop(to);
        *to = grown;
    }
    memcpy((*to)->data + (*to)->len, bytes, n);
    (*to)->len = need;
    return PS_OK;
}

struct cursor {
    const struct ps_buf *bytes;
    size_t               at;
};

static ps_status source(void *ctx, void *bytes, size_t n)
{
    struct cursor *c = ctx;

    if (n > c->bytes->len - c->at)
        return ps_fail(PS_ERR_DATA, "part: it ends early");
    memcpy(bytes, c->bytes->data + c->at, n);
    c->at += n;
    return PS_OK;
}

/* ---- parts ------------------------------------------------------------------------
 */

static bool is_newer(const struct ps_part *a, const struct ps_part *b)
{
    return a->life != b->life ? a->life > b->life : a->set > b->set;
}

static bool is_same(const struct ps_part *a, const struct ps_part *b)
{
    return a->index == b->index && a->n_shards == b->n_shards && a->life == b->life &&
           a->set == b->set;
}

static bool is_of(const struct disk_part *p, const struct psd_errand *e)
{
    return p->run == e->run && !strcmp(p->job, e->job);
}

static void add_part(struct disk *d, struct disk_part *p)
{
    for (size_t i = 0; i < d->n_parts; i++)
        if (d->parts[i].run == p->run && is_same(&d->parts[i].part, &p->part)) {
            ps_buf_drop(&d->parts[i].bytes);
            d->parts[i] = *p;
            return;
        }
    if (d->n_parts == d->parts_room) {
        d->parts_room = d->parts_room ? 2 * d->parts_room : 16;
        d->parts = realloc(d->parts, d->parts_room * sizeof(*d->parts));
        if (!d->parts)
            abort();
    }
    d->parts[d->n_parts++] = *p;
}

static size_t count_newer(const struct disk *d, const struct disk_part *p)
{
    size_t n = 0;

    for (size_t i = 0; i < d->n_parts; i++)
        n += d->parts[i].run == p->run && d->parts[i].part.index == p->part.index &&
             d->parts[i].part.n_shards == p->part.n_shards &&
             is_newer(&d->parts[i].part, &p->part);
    return n;
}

static void forget(struct disk *d, const struct psd_errand *e)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->n_parts; i++) {
        struct disk_part *p = &d->parts[i];

        if (is_of(p, e) && p->part.index == e->parts[0].index &&
            p->part.n_shards == e->parts[0].n_shards &&
            is_newer(&e->parts[0], &p->part) && count_newer(d, p) >= KEPT)
            ps_buf_drop(&p->bytes);
        else
            d->parts[kept++] = *p;
    }
    d->n_parts = kept;
}

/* ---- errands ----------------------------------------------------------------------
 */

static struct disk_work *room_for_work(struct disk *d)
{
    if (d->n_works == d->works_room) {
        d->works_room = d->works_room ? 2 * d->works_room : 16;
        d->works = realloc(d->works, d->works_room * sizeof(*d->works));
        if (!d->works)
            abort();
    }
    return &d->works[d->n_works++];
}

static ps_status write_image(struct disk_part *p, struct psd_errand *e)
{
    struct psd_image *image = e->image;
    ps_status         st = ps_buf_new(&p->bytes, 4096);

    strcpy(p->job, image->job);
    p->run = image->run;
    p->part = (struct ps_part){ .index = image->index,
                                .n_shards = image->n_shards,
                                .set = image->set,
                                .life = image->life };
    if (!st)
        st = psd_image_write(image, sink, &p->bytes);
    psd_image_free(&e->image);
    return st;
}

ps_status disk_take(struct disk *d, uint32_t shard, struct psd_errand *errand,
                    uint64_t done_ns)
{
    struct disk_work *w;

    if (d->dead) {
        psd_image_free(&errand->image);
        return PS_OK;
    }
    if (errand->kind == PSD_FORGET) {
        forget(d, errand);
        return PS_OK;
    }
    w = room_for_work(d);
    *w = (struct disk_work){
        .kind = errand->kind, .id = errand->id, .done_ns = done_ns, .shard = shard
    };
    if (errand->kind == PSD_SAVE)
        return write_image(&w->saved, errand);
    w->errand = malloc(sizeof(*errand));
    if (!w->errand)
        abort();
    *w->errand = *errand;
    return PS_OK;
}

uint64_t disk_next(const struct disk *d)
{
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; i < d->n_works; i++)
        if (d->works[i].done_ns < next)
            next = d->works[i].done_ns;
    return next;
}

static void end_save(struct disk *d, struct disk_work *w, struct psd_shard *shard,
                     uint64_t now_ns, struct ps_outbox *out)
{
    if (d->full_ns > now_ns) {
        d->n_refused++;
        ps_buf_drop(&w->saved.bytes);
        psd_shard_saved(shard, now_ns, w->id, PS_ERR_SYSTEM, "the disk is full", out);
        return;
    }
    add_part(d, &w->saved);
    psd_shard_saved(shard, now_ns, w->id, PS_OK, "", out);
}

static const struct disk_part *find_part(const struct disk *const *disks, size_t n,
                                         const struct psd_errand *e,
                                         const struct ps_part    *part)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < disks[i]->n_parts; k++)
            if (is_of(&disks[i]->parts[k], e) &&
                is_same(&disks[i]->parts[k].part, part))
                return &disks[i]->parts[k];
    return NULL;
}

static void end_load(const struct disk_work *w, struct psd_shard *shard,
                     uint64_t now_ns, const struct disk *const *disks, size_t n,
                     struct ps_outbox *out)
{
    struct psd_image *images[PS_SETS_MAX];
    uint32_t          n_images = 0;
    ps_status         st = PS_OK;

    for (uint32_t i = 0; !st && i < w->errand->n_parts; i++) {
        const struct disk_part *p =
            find_part(disks, n, w->errand, &w->errand->parts[i]);
        struct cursor c = { .bytes = p ? p->bytes : NULL };

        st = p ? psd_image_read(&images[n_images], source, &c) : PS_ERR_DATA;
        n_images += !st;
    }
    if (st)
        while (n_images > 0)
            psd_image_free(&images[--n_images]);
    psd_shard_loaded(shard, now_ns, w->id, images, n_images, st,
                     st ? "no such part" : "", out);
}

static int by_age(const void *a, const void *b)
{
    return is_newer(a, b) ? -1 : is_newer(b, a);
}

static void end_list(const struct disk_work *w, struct psd_shard *shard,
                     uint64_t now_ns, const struct disk *const *disks, size_t n,
                     struct ps_outbox *out)
{
    struct ps_part parts[PS_SETS_MAX];
    uint32_t       n_parts = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < disks[i]->n_parts && n_parts < PS_SETS_MAX; k++)
            if (is_of(&disks[i]->parts[k], w->errand))
                parts[n_parts++] = disks[i]->parts[k].part;
    qsort(parts, n_parts, sizeof(parts[0]), by_age);
    psd_shard_listed(shard, now_ns, w->id, parts, n_parts, PS_OK, "", out);
}

static size_t first_work(const struct disk *d)
{
    size_t first = 0;

    for (size_t i = 1; i < d->n_works; i++)
        if (d->works[i].done_ns < d->works[first].done_ns)
            first = i;
    return first;
}

const struct disk_work *disk_first(const struct disk *d)
{
    return &d->works[first_work(d)];
}

static struct disk_work take_first(struct disk *d)
{
    size_t           first = first_work(d);
    struct disk_work w = d->works[first];

    memmove(d->works + first, d->works + first + 1, (--d->n_works - first) * sizeof(w));
    return w;
}

void disk_finish(struct disk *d, struct psd_shard *const *shards, uint64_t now_ns,
                 const struct disk *const *disks, size_t n, struct ps_outbox *out)
{
    struct disk_work w = take_first(d);

    switch (w.kind) {
    case PSD_SAVE: end_save(d, &w, shards[w.shard], now_ns, out); break;
    case PSD_LOAD: end_load(&w, shards[w.shard], now_ns, disks, n, out); break;
    case PSD_LIST: end_list(&w, shards[w.shard], now_ns, disks, n, out); break;
    case PSD_FORGET: break;
    }
    free(w.errand);
}

static void break_off(struct disk *d, struct disk_work *w, bool kept)
{
    if (w->kind == PSD_SAVE && kept)
        add_part(d, &w->saved);
    else
        ps_buf_drop(&w->saved.bytes);
    free(w->errand);
}

void disk_crash(struct disk *d, bool kept)
{
    for (size_t i = 0; i < d->n_works; i++)
        break_off(d, &d->works[i], kept);
    d->n_works = 0;
}

void disk_fail(struct disk *d, bool kept)
{
    struct disk_work w = take_first(d);

    break_off(d, &w, kept);
}

void disk_die(struct disk *d)
{
    disk_crash(d, false);
    d->dead = true;
}

void disk_free(struct disk *d)
{
    disk_crash(d, false);
    for (size_t i = 0; i < d->n_parts; i++)
        ps_buf_drop(&d->parts[i].bytes);
    free(d->parts);
    free(d->works);
    ps_buf_drop(&d->memory);
}
