/* vault.c - the folder, who may use it, and what else is asked of the manifest; see
 * vault.h. */
#include "server/snapshot/vault_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

void psd_vault_path(const struct psd_vault *v, const char *name,
                    char out[PSD_PATH_BYTES])
{
    snprintf(out, PSD_PATH_BYTES, "%s/%s", v->folder, name);
}

void psd_vault_part_path(const struct psd_vault *v, const char *name,
                         char out[PSD_PATH_BYTES])
{
    snprintf(out, PSD_PATH_BYTES, "%s/parts/%s", v->folder, name);
}

/* ---- what has to be durable ------------------------------------------------------ */

ps_status psd_vault_sync(const struct psd_vault *v, int fd, const char *path)
{
    int bad;

    do
        bad = v->disk->fsync(fd);
    while (bad && errno == EINTR);
    if (!bad)
        return PS_OK;
    return ps_fail(
        PS_ERR_IO,
        "%s: cannot be made durable: %m; what was written before may be lost", path);
}

ps_status psd_vault_sync_folder(const struct psd_vault *v, const char *path)
{
    int       fd = v->disk->open(path, O_RDONLY | O_DIRECTORY, 0);
    ps_status st;

    if (fd < 0)
        return ps_fail(PS_ERR_SYSTEM, "%s: cannot be opened: %m", path);
    st = psd_vault_sync(v, fd, path);
    v->disk->close(fd);
    return st;
}

ps_status psd_vault_write(const struct psd_vault *v, int fd, const char *path,
                          const void *bytes, size_t n)
{
    const char *from = bytes;

    while (n > 0) {
        ssize_t some = v->disk->write(fd, from, n);

        if (some < 0 && errno == EINTR)
            continue;
        if (some <= 0)
            return ps_fail(PS_ERR_SYSTEM, "%s: cannot be written: %m", path);
        from += some;
        n -= (size_t)some;
    }
    return PS_OK;
}

/* ---- lock and epoch -------------------------------------------------------------- */

/* Up to room - 1 bytes of a small file as text; false: errno says why. */
static bool read_text(const struct psd_vault *v, const char *path, char *out,
                      size_t room)
{
    int     fd = v->disk->open(path, O_RDONLY, 0);
    size_t  n = 0;
    ssize_t some;

    if (fd < 0)
        return false;
    do {
        some = v->disk->read(fd, out + n, room - 1 - n);
        n += some > 0 ? (size_t)some : 0;
    } while (some > 0 || (some < 0 && errno == EINTR));
    v->disk->close(fd);
    out[n] = '\0';
    return some == 0;
}

static ps_status lock_folder(struct psd_vault *v)
{
    char path[PSD_PATH_BYTES], text[32] = "";
    int  n;

    psd_vault_path(v, "lock", path);
    v->lock = v->disk->open(path, O_RDWR | O_CREAT, 0600);
    if (v->lock < 0)
        return ps_fail(PS_ERR_SYSTEM, "%s: cannot be opened: %m", path);
    if (flock(v->lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK)
            return ps_fail(PS_ERR_SYSTEM, "%s: cannot be locked: %m", path);
        if (!read_text(v, path, text, sizeof(text)))
            text[0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        return ps_fail(PS_ERR_UNAVAILABLE, "state %s: process %s uses it already",
                       v->folder, text[0] ? text : "?");
    }
    n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(v->lock, 0))
        return ps_fail(PS_ERR_SYSTEM, "%s: cannot be written: %m", path);
    return psd_vault_write(v, v->lock, path, text, (size_t)n);
}

/* *epoch 0: there was no psd before. */
static ps_status read_epoch(const struct psd_vault *v, uint64_t *epoch)
{
    char  path[PSD_PATH_BYTES], text[32];
    char *end;

    psd_vault_path(v, "epoch", path);
    *epoch = 0;
    if (!read_text(v, path, text, sizeof(text)))
        return errno == ENOENT ? PS_OK
                               : ps_fail(PS_ERR_SYSTEM, "%s: cannot be read: %m", path);
    *epoch = strtoumax(text, &end, 10);
    if (end == text || *end != '\n')
        return ps_fail(PS_ERR_DATA, "%s: holds no number", path);
    return PS_OK;
}

static ps_status write_epoch(const struct psd_vault *v, const char *path)
{
    int       fd = v->disk->open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    char      text[32];
    ps_status st;

    if (fd < 0)
        return ps_fail(PS_ERR_SYSTEM, "%s: cannot be opened: %m", path);
    st = psd_vault_write(
        v, fd, path, text,
        (size_t)snprintf(text, sizeof(text), "%ju\n", (uintmax_t)v->epoch));
    if (!st)
        st = psd_vault_sync(v, fd, path);
    v->disk->close(fd);
    return st;
}

static ps_status raise_epoch(struct psd_vault *v)
{
    char      path[PSD_PATH_BYTES], draft[PSD_PATH_BYTES];
    ps_status st = read_epoch(v, &v->epoch);

    if (st)
        return st;
    v->epoch++;
    psd_vault_path(v, "epoch", path);
    psd_vault_path(v, "epoch.new", draft);
    st = write_epoch(v, draft);
    if (!st && v->disk->rename(draft, path))
        st = ps_fail(PS_ERR_SYSTEM, "%s: cannot be written: %m", path);
    return st ? st : psd_vault_sync_folder(v, v->folder);
}

ps_status psd_vault_check_epoch(const struct psd_vault *v)
{
    uint64_t  there;
    ps_status st = read_epoch(v, &there);

    if (st || there == v->epoch)
        return st;
    return ps_fail(PS_ERR_STALE,
                   "state %s: another psd has started on it, the epoch is %ju and ours "
                   "was %ju",
                   v->folder, (uintmax_t)there, (uintmax_t)v->epoch);
}

/* ---- opening --------------------------------------------------------------------- */

/* A folder that is there may have been made by a psd that ended before it was durable;
 * where its parent cannot be opened, it is somebody else's. */
static ps_status make_folder(const struct psd_vault *v, const char *path,
                             const char *parent)
{
    int       fd;
    ps_status st;

    if (v->disk->mkdir(path, 0700) && errno != EEXIST)
        return ps_fail(PS_ERR_SYSTEM, "state %s: cannot be made: %m", path);
    fd = v->disk->open(parent, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 && errno == EACCES)
        return PS_OK;
    if (fd < 0)
        return ps_fail(PS_ERR_SYSTEM, "%s: cannot be opened: %m", parent);
    st = psd_vault_sync(v, fd, parent);
    v->disk->close(fd);
    return st;
}

static ps_status make_folders(const struct psd_vault *v)
{
    char      path[PSD_PATH_BYTES];
    ps_status st;

    psd_vault_path(v, "..", path);
    st = make_folder(v, v->folder, path);
    psd_vault_path(v, "parts", path);
    return st ? st : make_folder(v, path, v->folder);
}

static bool is_listed(const char *file, const struct psd_vault_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(entries[i].file, file) == 0)
            return true;
    return false;
}

/* Files that the manifest does not know: begun, or not needed any more, when a psd
 * ended. */
static ps_status sweep(const struct psd_vault *v)
{
    struct psd_vault_entry *entries;
    char                    path[PSD_PATH_BYTES];
    size_t                  n;
    struct dirent          *file;
    DIR                    *folder;
    ps_status               st = psd_manifest_all(v->manifest, NULL, 0, &entries, &n);

    if (st)
        return st;
    psd_vault_path(v, "parts", path);
    folder = opendir(path);
    if (!folder)
        st = ps_fail(PS_ERR_SYSTEM, "%s: cannot be listed: %m", path);
    while (folder && (file = readdir(folder))) {
        if (file->d_name[0] == '.' || is_listed(file->d_name, entries, n))
            continue;
        psd_vault_part_path(v, file->d_name, path);
        if (v->disk->unlink(path))
            ps_log(PS_LOG_WARN, "%s: cannot be removed: %m", path);
    }
    if (folder)
        closedir(folder);
    free(entries);
    return st;
}

static ps_status open_to_write(struct psd_vault *v)
{
    ps_status st = make_folders(v);

    if (!st)
        st = lock_folder(v);
    if (!st)
        st = raise_epoch(v);
    if (!st)
        st = psd_manifest_open(&v->manifest, v->folder, false);
    return st ? st : sweep(v);
}

ps_status psd_vault_open(struct psd_vault **out, const struct psd_vault_options *o)
{
    struct psd_vault *v;
    ps_status         st;

    if (strlen(o->folder) >= PS_FOLDER_BYTES)
        return ps_fail(PS_ERR_BAD_ARG, "state %.64s...: a path of at most %u bytes",
                       o->folder, PS_FOLDER_BYTES - 1);
    if (sodium_init() < 0)
        return ps_fail(PS_ERR_SYSTEM, "state %s: libsodium cannot be used", o->folder);
    v = calloc(1, sizeof(*v));
    if (!v)
        return ps_fail(PS_ERR_NO_MEMORY, "state %s: no memory", o->folder);
    v->disk = o->disk ? o->disk : &psd_disk_system;
    v->read_only = o->read_only;
    v->keep = o->keep;
    v->lock = -1;
    strcpy(v->folder, o->folder);
    pthread_mutex_init(&v->mutex, NULL);
    st = o->read_only ? psd_manifest_open(&v->manifest, v->folder, true)
                      : open_to_write(v);
    if (st)
        psd_vault_close(&v);
    else
        *out = v;
    return st;
}

void psd_vault_close(struct psd_vault **vault)
{
    struct psd_vault *v = *vault;

    *vault = NULL;
    if (!v)
        return;
    psd_manifest_close(&v->manifest);
    if (v->lock >= 0)
        v->disk->close(v->lock); /* the last thing: it lets the next one in */
    pthread_mutex_destroy(&v->mutex);
    free(v);
}

uint64_t psd_vault_epoch(const struct psd_vault *v)
{
    return v->epoch;
}

/* ---- the manifest ---------------------------------------------------------------- */

ps_status psd_vault_enter(struct psd_vault *v)
{
    pthread_mutex_lock(&v->mutex);
    if (!v->dead)
        return PS_OK;
    pthread_mutex_unlock(&v->mutex);
    return ps_fail(v->dead, "state %s: not used any more after what happened before",
                   v->folder);
}

ps_status psd_vault_leave(struct psd_vault *v, ps_status st)
{
    if (st == PS_ERR_IO || st == PS_ERR_STALE)
        v->dead = st;
    pthread_mutex_unlock(&v->mutex);
    return st;
}

ps_status psd_vault_keep(struct psd_vault *v, const char *key,
                         const struct ps_buf *blob)
{
    ps_status st = psd_vault_enter(v);

    if (st)
        return st;
    st = psd_vault_check_epoch(v);
    if (!st)
        st = psd_manifest_keep(v->manifest, key, blob);
    return psd_vault_leave(v, st);
}

ps_status psd_vault_recall(struct psd_vault *v, const char *key, struct ps_buf **out)
{
    ps_status st = psd_vault_enter(v);

    return st ? st : psd_vault_leave(v, psd_manifest_recall(v->manifest, key, out));
}

ps_status psd_vault_each(struct psd_vault *v, psd_vault_fn *fn, void *ctx)
{
    struct psd_vault_entry *entries = NULL;
    size_t                  n = 0;
    ps_status               st = psd_vault_enter(v);

    if (st)
        return st;
    st = psd_vault_leave(v, psd_manifest_all(v->manifest, NULL, 0, &entries, &n));
    for (size_t i = 0; !st && i < n; i++)
        st = fn(ctx, &entries[i]);
    free(entries);
    return st;
}
