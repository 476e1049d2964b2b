/* capture.c - see capture.h. */
#include "server/store/capture.h"
#include "server/store/store_private.h"

#include <stdlib.h>

static void rows_free(struct psd_captured_rows *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; r->pages && i < r->n_pages; i++)
        ps_buf_drop(&r->pages[i]);
    free(r->pages);
    free(r->keys);
    free(r->places);
    free(r->marks);
    free(r);
}

void psd_capture_free(struct psd_capture **capture)
{
    struct psd_capture *gone = *capture;

    *capture = NULL;
    if (!gone)
        return;
    for (uint32_t i = 0; gone->matrices && i < gone->n_matrices; i++) {
        struct psd_captured_matrix *m = &gone->matrices[i];

        for (size_t c = 0; m->chunks && c < m->n_chunks; c++)
            psd_chunk_drop(&m->chunks[c]);
        free(m->chunks);
        rows_free(m->rows);
    }
    free(gone->matrices);
    free(gone);
}

static ps_status capture_chunks(const struct psd_matrix    *m,
                                struct psd_captured_matrix *out)
{
    out->chunks = calloc(m->n_chunks + 1, sizeof(*out->chunks));
    if (!out->chunks)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory to capture it",
                       m->spec.name);
    out->n_chunks = m->n_chunks;
    for (size_t i = 0; i < m->n_chunks; i++)
        psd_chunk_share(&out->chunks[i], &m->chunks[i]);
    return PS_OK;
}

static ps_status capture_matrix(const struct psd_matrix    *m,
                                struct psd_captured_matrix *out)
{
    out->spec = m->spec;
    out->n_state = m->n_state;
    out->steps = m->steps;
    return m->spec.sparse ? psd_rows_capture(m->rows, &out->rows)
                          : capture_chunks(m, out);
}

ps_status psd_store_capture(const struct psd_store *s, struct psd_capture **out)
{
    struct psd_capture *c = calloc(1, sizeof(*c));
    ps_status           st = PS_OK;

    if (!c || !(c->matrices = calloc(s->n_matrices + 1, sizeof(*c->matrices)))) {
        psd_capture_free(&c);
        return ps_fail(PS_ERR_NO_MEMORY, "store: no memory to capture %zu matrices",
                       s->n_matrices);
    }
    /* Counted first: a half-captured matrix is freed with the others. */
    for (size_t i = 0; !st && i < s->n_matrices; i++)
        st = capture_matrix(s->matrices[i], &c->matrices[c->n_matrices++]);
    if (st) {
        psd_capture_free(&c);
        return st;
    }
    *out = c;
    return PS_OK;
}
