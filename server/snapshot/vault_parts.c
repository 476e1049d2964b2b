/* vault_parts.c - the files of parts: written, read, listed, forgotten; see vault.h. */
#include "server/snapshot/vault_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- writing --------------------------------------------------------------------- */

/* A file on its way. */
struct draft {
    const struct psd_vault  *vault;
    char                     path[PSD_PATH_BYTES];
    int                      fd;
    uint64_t                 bytes;
    crypto_generichash_state hash;
};

static ps_status write_bytes(void *ctx, const void *bytes, size_t n)
{
    struct draft *d = ctx;

    crypto_generichash_update(&d->hash, bytes, n);
    d->bytes += n;
    return psd_vault_write(d->vault, d->fd, d->path, bytes, n);
}

/* The file of the entry, durable but for its name; what it holds goes into the entry.
 */
static ps_status write_draft(struct draft *d, const struct psd_image *image,
                             struct psd_vault_entry *e)
{
    const struct psd_disk_ops *disk = d->vault->disk;
    ps_status                  st;

    d->fd = disk->open(d->path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (d->fd < 0)
        return ps_fail(PS_ERR_SYSTEM, "%s: cannot be made: %m", d->path);
    crypto_generichash_init(&d->hash, NULL, 0, PSD_BLAKE2B_BYTES);
    st = psd_image_write(image, write_bytes, d);
    if (!st)
        st = psd_vault_sync(d->vault, d->fd, d->path);
    disk->close(d->fd); /* what it could tell the fsync has told */
    crypto_generichash_final(&d->hash, e->hash, sizeof(e->hash));
    e->bytes = d->bytes;
    return st;
}

static struct psd_vault_entry describe(struct psd_vault       *v,
                                       const struct psd_image *image)
{
    struct psd_vault_entry e = {
        .run = image->run,
        .part = { .index = image->index,
                  .n_shards = image->n_shards,
                  .life = image->life,
                  .set = image->set },
        .strategy = image->spec.strategy,
        .clock = image->clock,
        .version = image->version,
        .saved_at = (uint64_t)time(NULL),
    };

    strcpy(e.job, image->job);
    /* The last two make it another name than any before. */
    snprintf(e.file, sizeof(e.file), "%s.%016jx.%uof%u.%ju.%ju.%ju-%ju", e.job,
             (uintmax_t)e.run, e.part.index, e.part.n_shards, (uintmax_t)e.part.life,
             (uintmax_t)e.part.set, (uintmax_t)v->epoch, (uintmax_t)++v->n_written);
    return e;
}

static bool is_part(const struct psd_vault_entry *e, const struct ps_part *part)
{
    return e->part.index == part->index && e->part.n_shards == part->n_shards &&
           e->part.life == part->life && e->part.set == part->set;
}

/* The entry of a part; e->file is empty when there is none. */
static ps_status find(struct psd_vault *v, const char *job, uint64_t run,
                      const struct ps_part *part, struct psd_vault_entry *e)
{
    struct psd_vault_entry *entries;
    size_t                  n;
    ps_status               st = psd_manifest_all(v->manifest, job, run, &entries, &n);

    *e = (struct psd_vault_entry){ 0 };
    if (st)
        return st;
    for (size_t i = 0; i < n; i++)
        if (is_part(&entries[i], part))
            *e = entries[i];
    free(entries);
    return PS_OK;
}

static void remove_file(const struct psd_vault *v, const char *file)
{
    char path[PSD_PATH_BYTES];

    psd_vault_part_path(v, file, path);
    if (v->disk->unlink(path) && errno != ENOENT)
        ps_log(PS_LOG_WARN, "%s: cannot be removed: %m", path);
}

/* From here on the part is there. */
static ps_status commit(struct psd_vault *v, const struct psd_vault_entry *e,
                        struct psd_vault_entry *before)
{
    ps_status st = psd_vault_enter(v);

    if (st)
        return st;
    st = psd_vault_check_epoch(v);
    if (!st)
        st = find(v, e->job, e->run, &e->part, before);
    if (!st)
        st = psd_manifest_put(v->manifest, e);
    return psd_vault_leave(v, st);
}

static ps_status publish(struct psd_vault *v, const char *draft,
                         const struct psd_vault_entry *e)
{
    struct psd_vault_entry before;
    char                   path[PSD_PATH_BYTES];
    ps_status              st;

    psd_vault_part_path(v, e->file, path);
    if (v->disk->rename(draft, path))
        return ps_fail(PS_ERR_SYSTEM, "%s: cannot be renamed: %m", draft);
    psd_vault_path(v, "parts", path);
    st = psd_vault_sync_folder(v, path);
    if (!st)
        st = commit(v, e, &before);
    if (!st && before.file[0])
        remove_file(v, before.file);
    else if (st && st != PS_ERR_IO) /* then nobody knows what the manifest says */
        remove_file(v, e->file);
    return st;
}

ps_status psd_vault_save(struct psd_vault *v, const struct psd_image *image)
{
    struct psd_vault_entry e = describe(v, image);
    struct draft           d = { .vault = v };
    char                   name[PSD_FILE_BYTES + 4];
    ps_status              st = psd_vault_enter(v);

    if (st)
        return st;
    psd_vault_leave(v, PS_OK); /* it is alive */
    snprintf(name, sizeof(name), "%s.new", e.file);
    psd_vault_part_path(v, name, d.path);
    st = write_draft(&d, image, &e);
    if (!st)
        st = publish(v, d.path, &e);
    if (st)
        v->disk->unlink(d.path); /* fails when it has its last name already */
    if (st == PS_ERR_IO) {
        pthread_mutex_lock(&v->mutex);
        psd_vault_leave(v, st);
    }
    return st;
}

/* ---- reading --------------------------------------------------------------------- */

/* A file that is being read. */
struct origin {
    const struct psd_vault *vault;
    char                    path[PSD_PATH_BYTES];
    int                     fd;
};

static ps_status read_bytes(void *ctx, void *bytes, size_t n)
{
    struct origin *o = ctx;
    char          *to = bytes;

    while (n > 0) {
        ssize_t some = o->vault->disk->read(o->fd, to, n);

        if (some < 0 && errno == EINTR)
            continue;
        if (some < 0)
            return ps_fail(PS_ERR_DATA, "%s: cannot be read: %m", o->path);
        if (some == 0)
            return ps_fail(PS_ERR_DATA, "%s: it ends too early", o->path);
        to += some;
        n -= (size_t)some;
    }
    return PS_OK;
}

static ps_status open_origin(struct psd_vault *v, const char *file, struct origin *o)
{
    o->vault = v;
    psd_vault_part_path(v, file, o->path);
    o->fd = v->disk->open(o->path, O_RDONLY, 0);
    if (o->fd < 0)
        return ps_fail(PS_ERR_DATA, "%s: cannot be opened: %m", o->path);
    return PS_OK;
}

static ps_status hash_file(struct origin *o, uint64_t bytes,
                           uint8_t hash[PSD_BLAKE2B_BYTES])
{
    const size_t             room = (size_t)1 << 20;
    crypto_generichash_state state;
    uint8_t                 *block = malloc(room);
    ps_status                st = PS_OK;

    if (!block)
        return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory to read it", o->path);
    crypto_generichash_init(&state, NULL, 0, PSD_BLAKE2B_BYTES);
    while (!st && bytes > 0) {
        size_t some = bytes < room ? bytes : room;

        st = read_bytes(o, block, some);
        crypto_generichash_update(&state, block, st ? 0 : some);
        bytes -= some;
    }
    crypto_generichash_final(&state, hash, PSD_BLAKE2B_BYTES);
    free(block);
    return st;
}

/* Is the file, to its last byte, what was written? */
static ps_status check_file(struct origin *o, const struct psd_vault_entry *e)
{
    uint8_t     hash[PSD_BLAKE2B_BYTES];
    struct stat there = { 0 };
    ps_status   st;

    if (stat(o->path, &there) || (uint64_t)there.st_size != e->bytes)
        return ps_fail(PS_ERR_DATA, "%s: it is damaged: %ju bytes, expected %ju",
                       o->path, (uintmax_t)there.st_size, (uintmax_t)e->bytes);
    st = hash_file(o, e->bytes, hash);
    if (!st && memcmp(hash, e->hash, sizeof(hash)) != 0)
        st = ps_fail(PS_ERR_DATA, "%s: it is damaged: its BLAKE2b is another one",
                     o->path);
    return st;
}

ps_status psd_vault_verify(struct psd_vault *v, const struct psd_vault_entry *e)
{
    struct origin o;
    ps_status     st = open_origin(v, e->file, &o);

    if (st)
        return st;
    st = check_file(&o, e);
    v->disk->close(o.fd);
    return st;
}

/* The hash says that the file is what was written, not that the manifest says what it
 * is. */
static ps_status check_image(const struct origin *o, const struct psd_image *i,
                             const struct psd_vault_entry *e)
{
    const struct ps_part part = { i->index, i->n_shards, i->set, i->life };

    if (!strcmp(i->job, e->job) && i->run == e->run && is_part(e, &part))
        return PS_OK;
    return ps_fail(PS_ERR_DATA,
                   "%s: it holds part %u of %u of set %ju of job %s, and the manifest "
                   "says another one",
                   o->path, i->index, i->n_shards, (uintmax_t)i->set, i->job);
}

/* Twice: nothing of it is believed before all of it is known to be right. */
ps_status psd_vault_read(struct psd_vault *v, const struct psd_vault_entry *e,
                         struct psd_image **out)
{
    struct psd_image *image = NULL;
    struct origin     o;
    ps_status         st = psd_vault_verify(v, e);

    if (!st)
        st = open_origin(v, e->file, &o);
    if (st)
        return st;
    st = psd_image_read(&image, read_bytes, &o);
    v->disk->close(o.fd);
    if (!st)
        st = check_image(&o, image, e);
    if (st)
        psd_image_free(&image);
    else
        *out = image;
    return st;
}

ps_status psd_vault_load(struct psd_vault *v, const char *job, uint64_t run,
                         const struct ps_part *part, struct psd_image **out)
{
    struct psd_vault_entry e;
    ps_status              st = psd_vault_enter(v);

    if (st)
        return st;
    st = psd_vault_leave(v, find(v, job, run, part, &e));
    if (!st && !e.file[0])
        st = PS_ERR_UNKNOWN; /* another folder may have it: not worth a line */
    return st ? st : psd_vault_read(v, &e, out);
}

static bool is_whole(const struct psd_vault *v, const struct psd_vault_entry *e)
{
    char        path[PSD_PATH_BYTES];
    struct stat there;

    psd_vault_part_path(v, e->file, path);
    return stat(path, &there) == 0 && (uint64_t)there.st_size == e->bytes;
}

ps_status psd_vault_list(struct psd_vault *v, const char *job, uint64_t run,
                         struct ps_part *parts, uint32_t room, uint32_t *n)
{
    struct psd_vault_entry *entries = NULL;
    size_t                  n_entries = 0;
    ps_status               st = psd_vault_enter(v);

    if (st)
        return st;
    st = psd_vault_leave(v,
                         psd_manifest_all(v->manifest, job, run, &entries, &n_entries));
    *n = 0;
    for (size_t i = 0; i < n_entries && *n < room; i++)
        if (is_whole(v, &entries[i]))
            parts[(*n)++] = entries[i].part;
    free(entries);
    return st;
}

/* ---- forgetting ------------------------------------------------------------------ */

static bool is_older(const struct ps_part *a, const struct ps_part *b)
{
    return a->life != b->life ? a->life < b->life : a->set < b->set;
}

/* Moves the entries that may go to the front; they are sorted, the newest first. */
static size_t pick(struct psd_vault_entry *entries, size_t n,
                   const struct ps_part *part, uint32_t keep)
{
    size_t   n_picked = 0;
    uint32_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        const struct psd_vault_entry *e = &entries[i];
        bool                          others = e->part.n_shards != part->n_shards;
        bool in_step = e->strategy == PS_BSP || e->strategy == PS_BACKUP;
        bool ours = !others && e->part.index == part->index;

        if (ours && kept < keep)
            kept++;
        else if ((ours || (others && in_step)) && is_older(&e->part, part))
            entries[n_picked++] = *e;
    }
    return n_picked;
}

ps_status psd_vault_forget(struct psd_vault *v, const char *job, uint64_t run,
                           const struct ps_part *part)
{
    struct psd_vault_entry *entries = NULL;
    size_t                  n = 0;
    ps_status               st = psd_vault_enter(v);

    if (st)
        return st;
    st = psd_vault_check_epoch(v);
    if (!st)
        st = psd_manifest_all(v->manifest, job, run, &entries, &n);
    if (!st)
        n = pick(entries, n, part, v->keep);
    if (!st && n > 0)
        st = psd_manifest_drop(v->manifest, entries, n);
    psd_vault_leave(v, st);
    for (size_t i = 0; !st && i < n; i++)
        remove_file(v, entries[i].file);
    free(entries);
    return st;
}
