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

/* Name with its NUL, type, rows, cols, elements; the machine is little-endian. */
static ps_status hash_matrix(ps_worker *w, const struct ps_matrix_spec *spec,
                             uint8_t *room, crypto_generichash_state *hash)
{
    ps_matrix *m;
    ps_status  st;

    if (spec->sparse)
        return PS_OK;
    st = psw_open_matrix(w, spec, false, &m);
    if (st)
        return st;
    crypto_generichash_update(hash, (const uint8_t *)spec->name,
                              strlen(spec->name) + 1);
    crypto_generichash_update(hash, (const uint8_t *)&spec->dtype, sizeof(spec->dtype));
    crypto_generichash_update(hash, (const uint8_t *)&spec->rows, sizeof(spec->rows));
    crypto_generichash_update(hash, (const uint8_t *)&spec->cols, sizeof(spec->cols));
    return hash_elements(w, m, room, hash);
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
