/* manifest.c - see manifest.h. */
#include "server/snapshot/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "manifest.sqlite"
#define FORMAT 1
#define BUSY_MS 10000 /* psctl reads for a moment */
#define WORDS_BYTES 256
#define PATH_BYTES (PS_FOLDER_BYTES + 64)

struct psd_manifest {
    sqlite3 *db;
    char     path[PATH_BYTES];
};

static const char schema[] =
    "CREATE TABLE part (job TEXT, run INTEGER, idx INTEGER, n_shards INTEGER,"
    " life INTEGER, snapshot INTEGER, strategy INTEGER, clock INTEGER, version INTEGER,"
    " bytes INTEGER, saved_at INTEGER, file TEXT UNIQUE, hash BLOB,"
    " PRIMARY KEY (job, run, life, snapshot, n_shards, idx)) WITHOUT ROWID;"
    "CREATE TABLE blob (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

/* ---- what SQLite says ---------------------------------------------------------- */

static ps_status status_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_NOMEM: return PS_ERR_NO_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return PS_ERR_DATA;
    }
    return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC ? PS_ERR_IO
                                                                        : PS_ERR_SYSTEM;
}

/* SQLite quotes what it found, and in a damaged file that may be anything. */
static void copy_words(char out[WORDS_BYTES], const char *words)
{
    snprintf(out, WORDS_BYTES, "%s", words);
    for (char *at = out; *at; at++)
        if (!isprint((unsigned char)*at))
            *at = *at == '\n' ? ' ' : '?';
}

static ps_status failed(const struct psd_manifest *m)
{
    int  code = sqlite3_extended_errcode(m->db);
    char text[WORDS_BYTES];

    copy_words(text, sqlite3_errmsg(m->db));
    return ps_fail(status_of(code), "%s: %s (%d)", m->path, text, code);
}

static ps_status execute(struct psd_manifest *m, const char *sql)
{
    if (sqlite3_exec(m->db, sql, NULL, NULL, NULL))
        return failed(m);
    return PS_OK;
}

static ps_status prepare(struct psd_manifest *m, const char *sql, sqlite3_stmt **out)
{
    if (sqlite3_prepare_v2(m->db, sql, -1, out, NULL))
        return failed(m);
    return PS_OK;
}

/* Runs a statement that gives no rows. */
static ps_status finish(struct psd_manifest *m, sqlite3_stmt *statement)
{
    ps_status st = sqlite3_step(statement) == SQLITE_DONE ? PS_OK : failed(m);

    sqlite3_finalize(statement);
    return st;
}

static void bind_u64(sqlite3_stmt *s, int at, uint64_t value)
{
    sqlite3_bind_int64(s, at, (sqlite3_int64)value);
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

/* ---- opening ------------------------------------------------------------------- */

static ps_status read_format(struct psd_manifest *m, int *format)
{
    sqlite3_stmt *s = NULL;
    ps_status     st = prepare(m, "PRAGMA user_version", &s);

    if (!st && sqlite3_step(s) != SQLITE_ROW)
        st = failed(m);
    if (!st)
        *format = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    return st;
}

static ps_status check_format(struct psd_manifest *m, int format)
{
    if (format == FORMAT)
        return PS_OK;
    return ps_fail(PS_ERR_DATA, "%s: of format %d, expected %d", m->path, format,
                   FORMAT);
}

/* What is written into a damaged file may not be found again, and would be called
 * durable.  The file is small. */
static ps_status check_whole(struct psd_manifest *m)
{
    sqlite3_stmt *s;
    const char   *found;
    char          text[WORDS_BYTES];
    ps_status     st = prepare(m, "PRAGMA integrity_check(1)", &s);

    if (st)
        return st;
    if (sqlite3_step(s) != SQLITE_ROW)
        st = failed(m);
    found = st ? NULL : (const char *)sqlite3_column_text(s, 0);
    copy_words(text, found ? found : "?");
    if (!st && strcmp(text, "ok") != 0)
        st = ps_fail(PS_ERR_DATA, "%s: it is damaged: %s", m->path, text);
    sqlite3_finalize(s);
    return st;
}

static ps_status open_to_write(struct psd_manifest *m)
{
    int       format = 0;
    ps_status st;

    if (sqlite3_open_v2(m->path, &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        NULL))
        return failed(m);
    sqlite3_extended_result_codes(m->db, 1);
    sqlite3_busy_timeout(m->db, BUSY_MS);
    st = execute(m, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA");
    if (!st)
        st = read_format(m, &format);
    if (!st && format == 0) {
        st = execute(m, "BEGIN IMMEDIATE");
        if (!st)
            st = execute(m, schema);
        if (!st)
            st = execute(m, "COMMIT");
        format = FORMAT;
    }
    if (!st)
        st = check_format(m, format);
    return st ? st : check_whole(m);
}

static bool copy_file(const char *from, const char *to)
{
    FILE  *in = fopen(from, "re"), *out = in ? fopen(to, "we") : NULL;
    char   bytes[4096];
    size_t n;
    bool   good = out != NULL;

    while (good && (n = fread(bytes, 1, sizeof(bytes), in)) > 0)
        good = fwrite(bytes, 1, n, out) == n;
    good = good && !ferror(in);
    if (out && fclose(out))
        good = false;
    if (in)
        fclose(in);
    return good;
}

/* Rolls the copy in `path` back to its last transaction and takes it into memory. */
static ps_status load_copy(struct psd_manifest *m, const char *path)
{
    sqlite3        *copy = NULL;
    sqlite3_backup *backup;
    ps_status       st = PS_OK;

    sqlite3_close(m->db);
    m->db = NULL;
    if (sqlite3_open_v2(":memory:", &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        NULL))
        return failed(m);
    if (sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
        backup = sqlite3_backup_init(m->db, "main", copy, "main");
        if (!backup || sqlite3_backup_step(backup, -1) != SQLITE_DONE)
            st = ps_fail(PS_ERR_DATA, "%s: it cannot be read", m->path);
        sqlite3_backup_finish(backup);
    } else {
        st = ps_fail(PS_ERR_SYSTEM, "%s: %s", path, sqlite3_errmsg(copy));
    }
    sqlite3_close(copy);
    return st;
}

static ps_status open_copy(struct psd_manifest *m)
{
    const char *place = getenv("TMPDIR");
    char        folder[PATH_BYTES], file[PATH_BYTES + 64], journal[PATH_BYTES + 80];
    char        from[PATH_BYTES + 16];
    ps_status   st;

    snprintf(folder, sizeof(folder), "%.1000s/psd-XXXXXX",
             place && *place ? place : "/tmp");
    if (!mkdtemp(folder))
        return ps_fail(PS_ERR_SYSTEM, "%s: cannot be made: %m", folder);
    snprintf(file, sizeof(file), "%s/" FILE_NAME, folder);
    snprintf(journal, sizeof(journal), "%s-journal", file);
    snprintf(from, sizeof(from), "%s-journal", m->path);
    if (copy_file(m->path, file) && (copy_file(from, journal) || errno == ENOENT))
        st = load_copy(m, file);
    else
        st = ps_fail(PS_ERR_SYSTEM, "%s: cannot be copied: %m", m->path);
    unlink(file);
    unlink(journal);
    rmdir(folder);
    return st;
}

static ps_status open_to_read(struct psd_manifest *m, const char *folder)
{
    struct stat there;
    int         format;
    ps_status   st;

    if (stat(m->path, &there))
        return ps_fail(errno == ENOENT ? PS_ERR_UNKNOWN : PS_ERR_SYSTEM,
                       "state %s: there is no manifest of snapshots: %m", folder);
    if (sqlite3_open_v2(m->path, &m->db, SQLITE_OPEN_READONLY, NULL))
        return failed(m);
    sqlite3_busy_timeout(m->db, BUSY_MS);
    /* A journal that a crash left has to be rolled back before anything can be read. */
    if (sqlite3_exec(m->db, "SELECT count(*) FROM part", NULL, NULL, NULL)) {
        int code = sqlite3_errcode(m->db);

        if (code != SQLITE_READONLY && code != SQLITE_CANTOPEN)
            return failed(m);
        st = open_copy(m);
        if (st)
            return st;
    }
    st = read_format(m, &format);
    return st ? st : check_format(m, format);
}

ps_status psd_manifest_open(struct psd_manifest **out, const char *folder,
                            bool read_only)
{
    struct psd_manifest *m = calloc(1, sizeof(*m));
    ps_status            st;

    if (!m)
        return ps_fail(PS_ERR_NO_MEMORY, "state %s: no memory", folder);
    snprintf(m->path, sizeof(m->path), "%s/" FILE_NAME, folder);
    st = read_only ? open_to_read(m, folder) : open_to_write(m);
    if (st)
        psd_manifest_close(&m);
    else
        *out = m;
    return st;
}

void psd_manifest_close(struct psd_manifest **manifest)
{
    if (*manifest)
        sqlite3_close((*manifest)->db);
    free(*manifest);
    *manifest = NULL;
}

/* ---- parts --------------------------------------------------------------------- */

ps_status psd_manifest_put(struct psd_manifest *m, const struct psd_vault_entry *e)
{
    const uint64_t numbers[] = {
        e->run,      e->part.index, e->part.n_shards, e->part.life, e->part.set,
        e->strategy, e->clock,      e->version,       e->bytes,     e->saved_at,
    };
    sqlite3_stmt *s;
    ps_status     st = prepare(m,
                               "INSERT OR REPLACE INTO part (job, run, idx, n_shards,"
                                   " life, snapshot, strategy, clock, version, bytes,"
                                   " saved_at, file, hash)"
                                   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                               &s);

    if (st)
        return st;
    bind_text(s, 1, e->job);
    for (int i = 0; i < 10; i++)
        bind_u64(s, 2 + i, numbers[i]);
    bind_text(s, 12, e->file);
    sqlite3_bind_blob(s, 13, e->hash, sizeof(e->hash), SQLITE_STATIC);
    return finish(m, s);
}

static ps_status drop_one(struct psd_manifest *m, const char *file)
{
    sqlite3_stmt *s;
    ps_status     st = prepare(m, "DELETE FROM part WHERE file = ?", &s);

    if (st)
        return st;
    bind_text(s, 1, file);
    return finish(m, s);
}

ps_status psd_manifest_drop(struct psd_manifest          *m,
                            const struct psd_vault_entry *entries, size_t n)
{
    ps_status st = execute(m, "BEGIN IMMEDIATE");

    if (st)
        return st;
    for (size_t i = 0; !st && i < n; i++)
        st = drop_one(m, entries[i].file);
    if (!st)
        st = execute(m, "COMMIT");
    if (st) /* fails only when it has been rolled back already */
        (void)sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL);
    return st;
}

static uint64_t column_u64(sqlite3_stmt *s, int at)
{
    return (uint64_t)sqlite3_column_int64(s, at);
}

static void column_text(sqlite3_stmt *s, int at, char *out, size_t room)
{
    const unsigned char *text = sqlite3_column_text(s, at);

    snprintf(out, room, "%s", text ? (const char *)text : "");
}

static void read_entry(sqlite3_stmt *s, struct psd_vault_entry *e)
{
    *e = (struct psd_vault_entry){
        .run = column_u64(s, 1),
        .part = { .index = (uint32_t)column_u64(s, 2),
                  .n_shards = (uint32_t)column_u64(s, 3),
                  .life = column_u64(s, 4),
                  .set = column_u64(s, 5) },
        .strategy = (uint32_t)column_u64(s, 6),
        .clock = column_u64(s, 7),
        .version = column_u64(s, 8),
        .bytes = column_u64(s, 9),
        .saved_at = column_u64(s, 10),
    };
    column_text(s, 0, e->job, sizeof(e->job));
    column_text(s, 11, e->file, sizeof(e->file));
    if (sqlite3_column_bytes(s, 12) == (int)sizeof(e->hash))
        memcpy(e->hash, sqlite3_column_blob(s, 12), sizeof(e->hash));
}

/* A word without '/': what comes from a damaged file leads nowhere else. */
static bool is_plain(const char *name)
{
    bool plain = isgraph((unsigned char)name[0]) && name[0] != '.';

    for (const char *at = name; plain && *at; at++)
        plain = isgraph((unsigned char)*at) && *at != '/';
    return plain;
}

static ps_status read_entries(struct psd_manifest *m, sqlite3_stmt *s,
                              struct psd_vault_entry **out, size_t *n)
{
    struct psd_vault_entry *entries = NULL;
    size_t                  room = 0;
    int                     code;

    *n = 0;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        if (*n == room) {
            size_t more = room ? 2 * room : 16;
            void  *grown = realloc(entries, more * sizeof(*entries));

            if (!grown) {
                free(entries);
                return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for %zu entries",
                               m->path, more);
            }
            entries = grown;
            room = more;
        }
        read_entry(s, &entries[*n]);
        if (is_plain(entries[*n].file) && is_plain(entries[*n].job))
            ++*n;
        else
            ps_log(PS_LOG_WARN, "%s: an entry is damaged, and left out", m->path);
    }
    if (code != SQLITE_DONE) {
        free(entries);
        return failed(m);
    }
    *out = entries;
    return PS_OK;
}

ps_status psd_manifest_all(struct psd_manifest *m, const char *job, uint64_t run,
                           struct psd_vault_entry **out, size_t *n)
{
    sqlite3_stmt *s;
    ps_status     st =
        prepare(m,
                "SELECT job, run, idx, n_shards, life, snapshot, strategy, clock,"
                " version, bytes, saved_at, file, hash FROM part"
                " WHERE ?1 IS NULL OR (job = ?1 AND run = ?2)"
                " ORDER BY job, run, life DESC, snapshot DESC, n_shards, idx",
                &s);

    if (st)
        return st;
    if (job)
        bind_text(s, 1, job);
    bind_u64(s, 2, run);
    st = read_entries(m, s, out, n);
    sqlite3_finalize(s);
    return st;
}

/* ---- blobs --------------------------------------------------------------------- */

ps_status psd_manifest_keep(struct psd_manifest *m, const char *key,
                            const struct ps_buf *blob)
{
    sqlite3_stmt *s;
    ps_status     st =
        prepare(m, "INSERT OR REPLACE INTO blob (key, value) VALUES (?, ?)", &s);

    if (st)
        return st;
    bind_text(s, 1, key);
    sqlite3_bind_blob64(s, 2, blob->data, blob->len, SQLITE_STATIC);
    return finish(m, s);
}

ps_status psd_manifest_recall(struct psd_manifest *m, const char *key,
                              struct ps_buf **out)
{
    sqlite3_stmt *s;
    int           code;
    ps_status     st = prepare(m, "SELECT value FROM blob WHERE key = ?", &s);

    if (st)
        return st;
    bind_text(s, 1, key);
    code = sqlite3_step(s);
    if (code == SQLITE_ROW)
        st = ps_buf_copy(out, sqlite3_column_blob(s, 0),
                         (size_t)sqlite3_column_bytes(s, 0));
    else if (code == SQLITE_DONE)
        *out = NULL;
    else
        st = failed(m);
    sqlite3_finalize(s);
    return st;
}
