/*
 * hash.c - one number for a whole model, the same wherever its slots lie.
 *
 * Source: Aumasson et al., "BLAKE2: simpler, smaller, fast as MD5", ACNS 2013; as in
 * libsodium's crypto_generichash.
 */
#include "worker/worker_private.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define HASH_BYTES 32
#define PIECE_BYTES (4u << 20) /* of a matrix in memory at a time */

static ps_status hash_elements(ps_worker *w, ps_matrix *m, uint8_t *room,
                               crypto_generichash_state *hash)
{
    size_t    bytes = ps_dtype_bytes(psw_matrix_spec(m)->dtype);
    uint64_t  n = ps_matrix_elements(psw_matrix_spec(m));
    ps_status st = PS_OK;

    for (uint64_t at = 0; !st && at < n;) {
        struct psw_span   span = { .matrix = m, .first = at, .value = room };
        struct ps_ticket *t;

        span.count = n - at < PIECE_BYTES / bytes ? n - at : PIECE_BYTES / bytes;
        st = psw_move(w, PSW_PULL, &span, 1, &t);
        if (!st)
            st = psw_wait(w, &t);
        if (!st)
            crypto_generichash_update(hash, room, span.count * bytes);
        at += span.count;
    }
    return st;
}

/* All rows of a sparse matrix. */
struct all_rows {
    uint64_t  n, room;
    size_t    row_bytes;
    uint64_t *keys;
    uint8_t  *values; /* [n][cols] */
};

static bool has_room(struct all_rows *a, uint64_t more)
{
    uint64_t  room = a->room ? 2 * a->room : more;
    uint64_t *keys;
    uint8_t  *values;

    if (a->room - a->n >= more)
        return true;
    if (!(keys = realloc(a->keys, room * sizeof(*keys))))
        return false;
    a->keys = keys;
    if (!(values = realloc(a->values, room * a->row_bytes)))
        return false;
    a->values = values;
    a->room = room;
    return true;
}

static ps_status collect_rows(ps_matrix *m, struct all_rows *a)
{
    const char *name = psw_matrix_spec(m)->name;
    uint64_t    most = PIECE_BYTES / a->row_bytes, n = 1;
    ps_rows    *rows;
    ps_status   st = ps_rows_open(m, &rows);

    if (st)
        return st;
    while (!st && n > 0) {
        if (!has_room(a, most))
            st = ps_fail(PS_ERR_NO_MEMORY, "hash: no memory for %ju rows of %s",
                         (uintmax_t)(a->n + most), name);
        if (!st)
            st = psw_rows_next(rows, a->keys + a->n, a->values + a->n * a->row_bytes,
                               most, &n);
        if (!st)
            a->n += n;
    }
    ps_rows_close(&rows);
    return st;
}

/* A key and where its row lies. */
struct sorted_row {
    uint64_t key, at;
};

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const struct sorted_row *)a)->key,
             y = ((const struct sorted_row *)b)->key;

    return x < y ? -1 : x > y;
}

static ps_status update_rows(const struct all_rows *a, crypto_generichash_state *hash)
{
    struct sorted_row *sorted = malloc((a->n + 1) * sizeof(*sorted));

    if (!sorted)
        return ps_fail(PS_ERR_NO_MEMORY, "hash: no memory to sort %ju rows",
                       (uintmax_t)a->n);
    for (uint64_t i = 0; i < a->n; i++)
        sorted[i] = (struct sorted_row){ a->keys[i], i };
    qsort(sorted, a->n, sizeof(*sorted), by_key);
    for (uint64_t i = 0; i < a->n; i++) {
        crypto_generichash_update(hash, (const uint8_t *)&sorted[i].key,
                                  sizeof(sorted[i].key));
        crypto_generichash_update(hash, a->values + sorted[i].at * a->row_bytes,
                                  a->row_bytes);
    }
    free(sorted);
    return PS_OK;
}

/* What order they come in depends on the shards; so they are sorted by key. */
static ps_status hash_rows(ps_matrix *m, crypto_generichash_state *hash)
{
    const struct ps_matrix_spec *spec = psw_matrix_spec(m);
    struct all_rows all = { .row_bytes = spec->cols * ps_dtype_bytes(spec->dtype) };
    ps_status       st = collect_rows(m, &all);

    if (!st)
        st = update_rows(&all, hash);
    free(all.keys);
    free(all.values);
    return st;
}

/* Name with its NUL, type, rows, cols, elements; the machine is little-endian. */
static ps_status hash_matrix(ps_worker *w, const struct ps_matrix_spec *spec,
                             uint8_t *room, crypto_generichash_state *hash)
{
    ps_matrix *m;
    ps_status  st;

    st = psw_open_matrix(w, spec, false, &m);
    if (st)
        return st;
    crypto_generichash_update(hash, (const uint8_t *)spec->name,
                              strlen(spec->name) + 1);
    crypto_generichash_update(hash, (const uint8_t *)&spec->dtype, sizeof(spec->dtype));
    crypto_generichash_update(hash, (const uint8_t *)&spec->rows, sizeof(spec->rows));
    crypto_generichash_update(hash, (const uint8_t *)&spec->cols, sizeof(spec->cols));
    return spec->sparse ? hash_rows(m, hash) : hash_elements(w, m, room, hash);
}

/* The next few matrices after `last`, which moves on; *n is 0 at the end. */
static ps_status hash_some(ps_worker *w, char *last, uint8_t *room,
                           crypto_generichash_state *hash, uint32_t *n)
{
    const struct ps_matrix_spec *specs;
    struct ps_ticket            *t;
    ps_status st = psw_client_list(w->client, ps_now_ns(), last, &w->outbox, &t);

    if (!st)
        st = psw_wait_result(w, &t);
    if (st)
        return st;
    specs = psw_ticket_list(t, n);
    for (uint32_t i = 0; !st && i < *n; i++) {
        st = hash_matrix(w, &specs[i], room, hash);
        memcpy(last, specs[i].name, PS_NAME_BYTES);
    }
    psw_ticket_drop(&t);
    return st;
}

ps_status ps_model_hash(ps_worker *w, char hex[65])
{
    crypto_generichash_state hash;
    unsigned char            sum[HASH_BYTES];
    char                     last[PS_NAME_BYTES] = "";
    uint32_t                 n = 1;
    uint8_t                 *room;
    ps_status                st = psw_begin(w);

    if (st)
        return st;
    if (sodium_init() < 0)
        return ps_fail(PS_ERR_SYSTEM, "hash: libsodium cannot be initialised");
    room = malloc(PIECE_BYTES);
    if (!room)
        return ps_fail(PS_ERR_NO_MEMORY, "hash: no memory for %u bytes", PIECE_BYTES);
    crypto_generichash_init(&hash, NULL, 0, sizeof(sum));
    while (!st && n > 0)
        st = hash_some(w, last, room, &hash, &n);
    free(room);
    if (st)
        return st;
    crypto_generichash_final(&hash, sum, sizeof(sum));
    sodium_bin2hex(hex, 2 * sizeof(sum) + 1, sum, sizeof(sum));
    return PS_OK;
}
