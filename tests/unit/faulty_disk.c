/* faulty_disk.c - see faulty_disk.h. */
#include "tests/unit/faulty_disk.h"
#include "common/base/random.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH 160u /* below the folder */
#define FILES 1024

/* ---- the call that fails ----------------------------------------------------------
 */

/* What a call is. */
enum {
    SYNCS = 1,
    READS = 2,
    REMOVES = 4,
    MOVES = 8, /* bytes, of the vault's: some of them may be all */
    SLEEPS = 16,
};

static uint64_t        fail_at;
static enum faulty_how fail_how;
static unsigned        failed; /* what it was */

void faulty_fail(uint64_t nth, enum faulty_how how)
{
    fail_at = nth;
    fail_how = how;
}

bool faulty_waits(void)
{
    return fail_at > 0;
}

bool faulty_was_sync(void)
{
    return failed & SYNCS;
}

bool faulty_was_unlink(void)
{
    return failed & REMOVES;
}

static bool can_fail(unsigned traits)
{
    switch (fail_how) {
    case FAULTY_FULL: return !(traits & READS);
    case FAULTY_SHORT: return traits & MOVES;
    case FAULTY_INTERRUPTED: return traits & SLEEPS;
    case FAULTY_BROKEN:
    case FAULTY_HOWS: break;
    }
    return true;
}

static bool fails(unsigned traits)
{
    if (fail_at == 0 || !can_fail(traits) || --fail_at > 0)
        return false;
    failed = traits;
    errno = fail_how == FAULTY_INTERRUPTED                  ? EINTR
            : fail_how == FAULTY_BROKEN || (traits & SYNCS) ? EIO
                                                            : ENOSPC;
    return true;
}

/* ---- the record -------------------------------------------------------------------
 */

enum kind { CREATE, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, SYNC_FOLDER };

struct op {
    enum kind kind;
    char      path[PATH], to[PATH];
    uint64_t  at, n;
    uint8_t  *bytes;
};

static char       root[256];
static struct op *ops;
static size_t     n_ops;

void faulty_record(const char *folder)
{
    faulty_forget();
    snprintf(root, sizeof(root), "%s", folder);
}

size_t faulty_recorded(void)
{
    return n_ops;
}

void faulty_forget(void)
{
    for (size_t i = 0; i < n_ops; i++)
        free(ops[i].bytes);
    free(ops);
    ops = NULL;
    n_ops = 0;
    root[0] = '\0';
}

/* NULL: not below the folder, or nothing is recorded. */
static struct op *add(enum kind kind, const char *path)
{
    size_t     n = strlen(root);
    struct op *op;

    if (n == 0 || strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return NULL;
    ops = realloc(ops, (n_ops + 1) * sizeof(*ops));
    op = &ops[n_ops++];
    *op = (struct op){ .kind = kind };
    snprintf(op->path, sizeof(op->path), "%s", path[n] ? path + n + 1 : "");
    return op;
}

static void add_write(const char *path, uint64_t at, const void *bytes, size_t n)
{
    struct op *op = add(WRITE, path);

    if (!op)
        return;
    op->at = at;
    op->n = n;
    op->bytes = malloc(n);
    memcpy(op->bytes, bytes, n);
}

static void add_truncate(const char *path, uint64_t n)
{
    struct op *op = add(TRUNCATE, path);

    if (op)
        op->n = n;
}

/* ---- the vault's calls ------------------------------------------------------------
 */

static struct {
    char     path[512];
    uint64_t at;
} files[FILES]; /* by descriptor */

static int disk_open(const char *path, int flags, mode_t mode)
{
    bool there = access(path, F_OK) == 0;
    int  fd = fails(0) ? -1 : psd_disk_system.open(path, flags, mode);

    if (fd < 0)
        return fd;
    assert(fd < FILES);
    snprintf(files[fd].path, sizeof(files[fd].path), "%s", path);
    if (strlen(path) > 3 && !strcmp(path + strlen(path) - 3, "/..")) {
        *strrchr(files[fd].path, '/') = '\0';
        *strrchr(files[fd].path, '/') = '\0';
    }
    files[fd].at = 0;
    if (!there)
        add(CREATE, path);
    else if (flags & O_TRUNC)
        add_truncate(path, 0);
    return fd;
}

static ssize_t disk_read(int fd, void *bytes, size_t n)
{
    if (!fails(READS | MOVES | SLEEPS))
        return read(fd, bytes, n);
    return fail_how == FAULTY_SHORT ? read(fd, bytes, 1) : -1;
}

/* Of what has no room the first half is there. */
static ssize_t disk_write(int fd, const void *bytes, size_t n)
{
    bool    bad = fails(MOVES | SLEEPS);
    int     why = errno;
    ssize_t some = write(fd, bytes,
                         !bad                             ? n
                         : fail_how == FAULTY_INTERRUPTED ? 0
                                                          : (n + 1) / 2);

    if (some > 0) {
        add_write(files[fd].path, files[fd].at, bytes, (size_t)some);
        files[fd].at += (uint64_t)some;
    }
    errno = why;
    return bad && fail_how != FAULTY_SHORT ? -1 : some;
}

static int disk_fsync(int fd)
{
    struct stat what;

    if (fails(SYNCS | SLEEPS))
        return -1;
    fstat(fd, &what);
    add(S_ISDIR(what.st_mode) ? SYNC_FOLDER : SYNC, files[fd].path);
    return 0;
}

static int disk_rename(const char *from, const char *to)
{
    struct op *op;

    if (fails(0) || rename(from, to))
        return -1;
    op = add(RENAME, from);
    if (op)
        snprintf(op->to, sizeof(op->to), "%s", to + strlen(root) + 1);
    return 0;
}

static int disk_unlink(const char *path)
{
    if (fails(REMOVES) || unlink(path))
        return -1;
    add(UNLINK, path);
    return 0;
}

static int disk_mkdir(const char *path, mode_t mode)
{
    if (fails(0) || mkdir(path, mode))
        return -1;
    add(MKDIR, path);
    return 0;
}

const struct psd_disk_ops faulty_disk = {
    .open = disk_open,
    .read = disk_read,
    .write = disk_write,
    .fsync = disk_fsync,
    .close = close,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .mkdir = disk_mkdir,
};

/* ---- SQLite's ---------------------------------------------------------------------
 */

struct shim {
    sqlite3_file  base;
    char          path[512];
    bool          fresh; /* a journal whose name its first sync makes durable */
    sqlite3_file *real;  /* behind this struct */
};

static sqlite3_vfs *system_vfs;

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct shim *)f)->real;
}

static int shim_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}

static int shim_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    if (fails(READS))
        return SQLITE_IOERR_READ;
    return real_of(f)->pMethods->xRead(real_of(f), to, n, at);
}

static int shim_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    int code = fails(0) ? fail_how == FAULTY_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE
                        : real_of(f)->pMethods->xWrite(real_of(f), from, n, at);

    if (code == SQLITE_OK)
        add_write(((struct shim *)f)->path, (uint64_t)at, from, (size_t)n);
    return code;
}

static int shim_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    int code = fails(0) ? SQLITE_IOERR_TRUNCATE
                        : real_of(f)->pMethods->xTruncate(real_of(f), n);

    if (code == SQLITE_OK)
        add_truncate(((struct shim *)f)->path, (uint64_t)n);
    return code;
}

static void add_sync_of_folder(const char *path)
{
    char folder[512];

    snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
    add(SYNC_FOLDER, folder);
}

static int shim_sync(sqlite3_file *f, int flags)
{
    struct shim *s = (struct shim *)f;

    (void)flags;
    if (fails(SYNCS))
        return SQLITE_IOERR_FSYNC;
    add(SYNC, s->path);
    if (s->fresh)
        add_sync_of_folder(s->path);
    s->fresh = false;
    return SQLITE_OK;
}

static int shim_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), n);
}

static int shim_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int shim_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int shim_check(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int shim_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int shim_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int shim_device(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 1,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_device,
};

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
                     int *out_flags)
{
    struct shim *s = (struct shim *)f;
    bool         there = name && access(name, F_OK) == 0;
    int          code;

    (void)vfs;
    *s = (struct shim){ .real = (sqlite3_file *)(s + 1) };
    code = fails(0) ? SQLITE_CANTOPEN
                    : system_vfs->xOpen(system_vfs, name, s->real, flags, out_flags);
    if (code != SQLITE_OK)
        return code;
    snprintf(s->path, sizeof(s->path), "%s", name ? name : "");
    s->fresh = !there && (flags & SQLITE_OPEN_MAIN_JOURNAL);
    s->base.pMethods = &shim_methods;
    if (!there)
        add(CREATE, s->path);
    return SQLITE_OK;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    int code =
        fails(0) ? SQLITE_IOERR_DELETE : system_vfs->xDelete(system_vfs, name, 0);

    (void)vfs;
    if (code != SQLITE_OK)
        return code;
    add(UNLINK, name);
    if (!sync)
        return SQLITE_OK;
    if (fails(SYNCS))
        return SQLITE_IOERR_DIR_FSYNC;
    add_sync_of_folder(name);
    return SQLITE_OK;
}

void faulty_begin(void)
{
    static sqlite3_vfs vfs;

    if (system_vfs)
        return;
    system_vfs = sqlite3_vfs_find(NULL);
    vfs = *system_vfs;
    vfs.zName = "faulty";
    vfs.szOsFile = (int)sizeof(struct shim) + system_vfs->szOsFile;
    vfs.xOpen = shim_open;
    vfs.xDelete = shim_delete;
    vfs.pNext = NULL;
    sqlite3_vfs_register(&vfs, 1);
}

/* ---- the crash --------------------------------------------------------------------
 */

#define NODES 256

/* A file, whatever its name. */
struct node {
    uint8_t *bytes; /* durable */
    uint64_t n;
    size_t   pending[512]; /* writes and truncations since */
    size_t   n_pending;
};

struct name {
    char path[PATH];
    int  node; /* -1: a folder */
};

struct names {
    size_t      n;
    struct name list[NODES];
};

static struct node  nodes[NODES];
static int          n_nodes;
static struct names now, durable;
static size_t       pending[2048]; /* changes of names that are not durable */
static size_t       n_pending;

static struct name *find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->list[i].path, path) == 0)
            return &names->list[i];
    return NULL;
}

static void drop(struct names *names, const char *path)
{
    struct name *gone = find(names, path);

    if (gone)
        *gone = names->list[--names->n];
}

static void put(struct names *names, const char *path, int node)
{
    struct name *new;

    drop(names, path);
    assert(names->n < NODES);
    new = &names->list[names->n++];
    snprintf(new->path, sizeof(new->path), "%s", path);
    new->node = node;
}

/* What op `i` does to names; a file made by it is `node`. */
static void change_names(struct names *names, size_t i, int node)
{
    const struct op *op = &ops[i];
    struct name     *from;

    switch (op->kind) {
    case CREATE:
    case MKDIR: put(names, op->path, node); break;
    case UNLINK: drop(names, op->path); break;
    case RENAME:
        from = find(names, op->path);
        if (from) {
            node = from->node;
            drop(names, op->path);
            put(names, op->to, node);
        }
        break;
    default: break;
    }
}

static int made_by[4096]; /* the node that op i made */

static bool is_in(const char *path, const char *folder)
{
    const char *slash = strrchr(path, '/');
    size_t      n = slash ? (size_t)(slash - path) : 0;

    return strlen(folder) == n && strncmp(path, folder, n) == 0;
}

static void sync_folder(const char *folder)
{
    size_t kept = 0;

    for (size_t k = 0; k < n_pending; k++)
        if (is_in(ops[pending[k]].path, folder))
            change_names(&durable, pending[k], made_by[pending[k]]);
        else
            pending[kept++] = pending[k];
    n_pending = kept;
}

/* The first `part` bytes of a write, or all of a truncation. */
static void change_bytes(struct node *node, const struct op *op, uint64_t part)
{
    uint64_t end = op->kind == WRITE ? op->at + part : op->n;

    if (end > node->n || op->kind == TRUNCATE) {
        node->bytes = realloc(node->bytes, end + 1);
        if (end > node->n)
            memset(node->bytes + node->n, 0, end - node->n);
        node->n = end;
    }
    if (op->kind == WRITE && part > 0)
        memcpy(node->bytes + op->at, op->bytes, part);
}

static void sync_file(struct node *node)
{
    for (size_t k = 0; k < node->n_pending; k++)
        change_bytes(node, &ops[node->pending[k]], ops[node->pending[k]].n);
    node->n_pending = 0;
}

static void replay(size_t i)
{
    const struct op *op = &ops[i];
    struct name     *name = find(&now, op->path);
    struct node     *node;

    switch (op->kind) {
    case CREATE:
    case MKDIR:
    case RENAME:
    case UNLINK:
        made_by[i] = op->kind == CREATE ? n_nodes++ : -1;
        assert(n_nodes < NODES);
        change_names(&now, i, made_by[i]);
        pending[n_pending++] = i;
        return;
    case SYNC_FOLDER: sync_folder(op->path); return;
    default: break;
    }
    assert(name && name->node >= 0);
    node = &nodes[name->node];
    if (op->kind == SYNC)
        sync_file(node);
    else
        node->pending[node->n_pending++] = i;
}

static uint64_t draws;

static uint64_t draw(uint64_t seed, uint64_t below)
{
    return ps_random_below(seed, 1, draws++, below);
}

/* Each write since is there, or not, or in part. */
static void lose_bytes(struct node *node, uint64_t seed)
{
    for (size_t k = 0; k < node->n_pending; k++) {
        const struct op *op = &ops[node->pending[k]];

        switch (draw(seed, 3)) {
        case 0: change_bytes(node, op, op->n); break;
        case 1:
            if (op->kind == WRITE)
                change_bytes(node, op, draw(seed, op->n));
            break;
        }
    }
}

/* Of the changes to each folder the first few are there. */
static void lose_names(uint64_t seed)
{
    bool root_goes_on = true, parts_go_on = true;

    for (size_t k = 0; k < n_pending; k++) {
        bool *goes_on = is_in(ops[pending[k]].path, "") ? &root_goes_on : &parts_go_on;

        *goes_on = *goes_on && draw(seed, 4) > 0;
        if (*goes_on)
            change_names(&durable, pending[k], made_by[pending[k]]);
    }
}

static void write_out(const char *folder)
{
    char path[512];

    /* Those below other folders come later than these. */
    for (int folders = 2; folders >= 0; folders--)
        for (size_t i = 0; i < durable.n; i++) {
            const struct name *name = &durable.list[i];
            FILE              *f;

            snprintf(path, sizeof(path), "%s/%s", folder, name->path);
            if ((folders > 0) != (name->node < 0))
                continue;
            if (folders) {
                mkdir(path, 0700);
                continue;
            }
            f = fopen(path, "w");
            if (f && nodes[name->node].n > 0)
                fwrite(nodes[name->node].bytes, 1, nodes[name->node].n, f);
            if (f) /* else its folder was lost */
                fclose(f);
        }
}

static void forget_nodes(void)
{
    for (int i = 0; i < NODES; i++) {
        free(nodes[i].bytes);
        nodes[i] = (struct node){ 0 };
    }
}

void faulty_crash(size_t n, uint64_t seed, const char *folder)
{
    forget_nodes();
    n_nodes = 0;
    n_pending = 0;
    now.n = durable.n = 0;
    draws = 0;
    for (size_t i = 0; i < n; i++)
        replay(i);
    for (int i = 0; seed > 0 && i < n_nodes; i++)
        lose_bytes(&nodes[i], seed);
    if (seed > 0)
        lose_names(seed);
    write_out(folder);
    forget_nodes();
}
