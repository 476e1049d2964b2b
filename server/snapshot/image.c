/* image.c - an image as a stream, and back; see image.h. */
#include "server/snapshot/image.h"
#include "server/snapshot/fields.h"

#include <stdlib.h>

#define PROGRESS_MAX ((uint64_t)1 << 30)
#define PAGE_BYTES ((size_t)1 << 20) /* of rows, unless one is larger */

void psd_image_free(struct psd_image **image)
{
    struct psd_image *i = *image;

    *image = NULL;
    if (!i)
        return;
    ps_buf_drop(&i->progress);
    psd_capture_free(&i->model);
    free(i);
}

/* ---- out ----------------------------------------------------------------------- */

static void put_chunk(struct psd_writer *w, const struct psd_captured_matrix *m,
                      const struct psd_chunk *c)
{
    const size_t bytes = c->n * ps_dtype_bytes(m->spec.dtype);

    psd_put_u64(w, c->first);
    psd_put_u64(w, c->n);
    psd_put(w, c->value->data, bytes);
    for (uint32_t i = 0; i < m->n_state; i++)
        psd_put(w, c->state[i]->data, bytes);
}

static void put_rows(struct psd_writer *w, const struct psd_captured_rows *rows)
{
    const uint32_t mask = ((uint32_t)1 << rows->page_shift) - 1;

    psd_put_u64(w, rows->n);
    psd_put_u32(w, rows->marks != NULL);
    psd_put(w, rows->keys, rows->n * sizeof(*rows->keys));
    if (rows->marks)
        psd_put(w, rows->marks, rows->n * sizeof(*rows->marks));
    for (uint64_t i = 0; i < rows->n; i++) {
        const struct ps_buf *page = rows->pages[rows->places[i] >> rows->page_shift];

        psd_put(w, page->data + (rows->places[i] & mask) * rows->row_bytes,
                rows->row_bytes);
    }
}

static void put_matrix(struct psd_writer *w, const struct psd_captured_matrix *m)
{
    psd_put_matrix_spec(w, &m->spec);
    psd_put_u32(w, m->n_state);
    psd_put_u64(w, m->steps);
    if (m->rows) {
        put_rows(w, m->rows);
        return;
    }
    psd_put_u64(w, m->n_chunks);
    for (size_t i = 0; i < m->n_chunks; i++)
        put_chunk(w, m, &m->chunks[i]);
}

ps_status psd_image_write(const struct psd_image *image, psd_sink_fn *sink, void *ctx)
{
    const uint64_t    progress = image->progress ? image->progress->len : 0;
    struct psd_writer w;

    psd_writer_open(&w, sink, ctx);
    psd_put_text(&w, image->job);
    psd_put_u64(&w, image->run);
    psd_put_job_spec(&w, &image->spec);
    psd_put_u32(&w, image->index);
    psd_put_u32(&w, image->n_shards);
    psd_put_u64(&w, image->life);
    psd_put_u64(&w, image->set);
    psd_put_u64(&w, image->clock);
    psd_put_u64(&w, image->version);
    psd_put_u64(&w, progress);
    if (progress > 0)
        psd_put(&w, image->progress->data, progress);
    psd_put_u32(&w, image->model->n_matrices);
    for (uint32_t i = 0; i < image->model->n_matrices; i++)
        put_matrix(&w, &image->model->matrices[i]);
    return psd_writer_close(&w);
}

/* ---- in: dense ----------------------------------------------------------------- */

static ps_status take_chunk(struct psd_reader *r, const struct psd_captured_matrix *m,
                            uint64_t from, struct psd_chunk *c)
{
    const size_t   element_bytes = ps_dtype_bytes(m->spec.dtype);
    const uint64_t elements = ps_matrix_elements(&m->spec);
    ps_status      st = psd_take_u64(r, &c->first);

    if (!st)
        st = psd_take_u64(r, &c->n);
    if (st)
        return st;
    if (c->first < from || c->first >= elements || c->n == 0 ||
        c->n > elements - c->first || c->n > PS_CHUNK_BYTES / element_bytes)
        return ps_fail(PS_ERR_DATA,
                       "snapshot: matrix %s: %ju elements from %ju on are out of place",
                       m->spec.name, (uintmax_t)c->n, (uintmax_t)c->first);
    st = psd_take_buf(r, c->n * element_bytes, &c->value);
    for (uint32_t i = 0; !st && i < m->n_state; i++)
        st = psd_take_buf(r, c->n * element_bytes, &c->state[i]);
    return st;
}

static ps_status grow_chunks(struct psd_captured_matrix *m, size_t *room)
{
    size_t            more = *room ? 2 * *room : 16;
    struct psd_chunk *grown = realloc(m->chunks, more * sizeof(*grown));

    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "snapshot: no memory for %zu chunks", more);
    m->chunks = grown;
    *room = more;
    return PS_OK;
}

static ps_status take_chunks(struct psd_reader *r, struct psd_captured_matrix *m)
{
    uint64_t  n, from = 0;
    size_t    room = 0;
    ps_status st = psd_take_u64(r, &n);

    while (!st && m->n_chunks < n) {
        struct psd_chunk *c;

        if (m->n_chunks == room && (st = grow_chunks(m, &room)))
            return st;
        /* Counted first: a half-read chunk is dropped with the others. */
        c = &m->chunks[m->n_chunks++];
        *c = (struct psd_chunk){ 0 };
        st = take_chunk(r, m, from, c);
        from = c->first + c->n;
    }
    return st;
}

/* ---- in: sparse ---------------------------------------------------------------- */

static uint32_t page_shift(size_t row_bytes)
{
    uint32_t shift = 0;

    while (row_bytes << (shift + 1) <= PAGE_BYTES)
        shift++;
    return shift;
}

/* Rows behind each other, in the order of their keys. */
static ps_status take_pages(struct psd_reader *r, struct psd_captured_rows *rows)
{
    const uint64_t in_page = (uint64_t)1 << rows->page_shift;
    const uint64_t n_pages = (rows->n + in_page - 1) >> rows->page_shift;
    ps_status      st = PS_OK;

    rows->places = malloc((rows->n + 1) * sizeof(*rows->places));
    rows->pages = calloc(n_pages + 1, sizeof(struct ps_buf *));
    if (!rows->places || !rows->pages)
        return ps_fail(PS_ERR_NO_MEMORY, "snapshot: no memory for %ju rows",
                       (uintmax_t)rows->n);
    for (uint32_t i = 0; i < rows->n; i++)
        rows->places[i] = i;
    while (!st && rows->n_pages < n_pages) {
        uint64_t left = rows->n - ((uint64_t)rows->n_pages << rows->page_shift);

        st = psd_take_buf(r, (left < in_page ? left : in_page) * rows->row_bytes,
                          &rows->pages[rows->n_pages]);
        rows->n_pages += !st;
    }
    return st;
}

static ps_status take_rows(struct psd_reader *r, const struct psd_captured_matrix *m,
                           struct psd_captured_rows *rows)
{
    uint32_t  marked;
    void     *list = NULL;
    ps_status st = psd_take_u64(r, &rows->n);

    if (!st)
        st = psd_take_u32(r, &marked);
    if (st)
        return st;
    rows->row_bytes =
        m->spec.cols * ps_dtype_bytes(m->spec.dtype) * (size_t)(1 + m->n_state);
    if (rows->n >= UINT32_MAX || marked > 1)
        return ps_fail(PS_ERR_DATA, "snapshot: matrix %s: %ju rows are not possible",
                       m->spec.name, (uintmax_t)rows->n);
    rows->page_shift = page_shift(rows->row_bytes);
    st = psd_take_array(r, rows->n, sizeof(*rows->keys), &list);
    rows->keys = list;
    if (!st && marked) {
        st = psd_take_array(r, rows->n, sizeof(*rows->marks), &list);
        rows->marks = st ? NULL : list;
    }
    return st ? st : take_pages(r, rows);
}

/* ---- in: the whole ------------------------------------------------------------- */

static ps_status take_matrix(struct psd_reader *r, struct psd_captured_matrix *m)
{
    ps_status st = psd_take_matrix_spec(r, &m->spec);

    if (!st)
        st = psd_take_u32(r, &m->n_state);
    if (!st)
        st = psd_take_u64(r, &m->steps);
    if (st)
        return st;
    if (m->n_state > PSD_STORE_STATE_MAX)
        return ps_fail(PS_ERR_DATA, "snapshot: matrix %s: %u arrays of state",
                       m->spec.name, m->n_state);
    if (!m->spec.sparse)
        return take_chunks(r, m);
    m->rows = calloc(1, sizeof(*m->rows));
    if (!m->rows)
        return ps_fail(PS_ERR_NO_MEMORY, "snapshot: no memory for rows");
    return take_rows(r, m, m->rows);
}

static ps_status take_model(struct psd_reader *r, struct psd_image *image)
{
    struct psd_capture *c;
    uint32_t            n;
    ps_status           st = psd_take_u32(r, &n);

    if (st)
        return st;
    if (n > PS_MATRICES_MAX)
        return ps_fail(PS_ERR_DATA, "snapshot: %u matrices, expected at most %u", n,
                       PS_MATRICES_MAX);
    c = image->model = calloc(1, sizeof(*c));
    if (!c || (n > 0 && !(c->matrices = calloc(n, sizeof(*c->matrices)))))
        return ps_fail(PS_ERR_NO_MEMORY, "snapshot: no memory for %u matrices", n);
    while (!st && c->n_matrices < n)
        st = take_matrix(r, &c->matrices[c->n_matrices++]);
    return st;
}

static ps_status take_progress(struct psd_reader *r, struct psd_image *image)
{
    uint64_t  bytes;
    ps_status st = psd_take_u64(r, &bytes);

    if (st || bytes == 0)
        return st;
    if (bytes > PROGRESS_MAX)
        return ps_fail(PS_ERR_DATA, "snapshot: %ju bytes of progress, expected %ju",
                       (uintmax_t)bytes, (uintmax_t)PROGRESS_MAX);
    return psd_take_buf(r, bytes, &image->progress);
}

static ps_status take_place(struct psd_reader *r, struct psd_image *image)
{
    uint64_t *const numbers[] = { &image->life, &image->set, &image->clock,
                                  &image->version };
    ps_status       st = psd_take_u32(r, &image->index);

    if (!st)
        st = psd_take_u32(r, &image->n_shards);
    for (size_t i = 0; !st && i < sizeof(numbers) / sizeof(numbers[0]); i++)
        st = psd_take_u64(r, numbers[i]);
    if (!st && (image->n_shards > PS_SHARDS_MAX || image->index >= image->n_shards))
        st = ps_fail(PS_ERR_DATA, "snapshot: part %u of %u", image->index,
                     image->n_shards);
    return st;
}

static ps_status take_image(struct psd_reader *r, struct psd_image *image)
{
    ps_status st = psd_take_text(r, image->job, sizeof(image->job));

    if (!st && ps_name_check("job", image->job))
        st = PS_ERR_DATA;
    if (!st)
        st = psd_take_u64(r, &image->run);
    if (!st)
        st = psd_take_job_spec(r, &image->spec);
    if (!st)
        st = take_place(r, image);
    if (!st)
        st = take_progress(r, image);
    if (!st)
        st = take_model(r, image);
    return st ? st : psd_reader_end(r);
}

ps_status psd_image_read(struct psd_image **out, psd_source_fn *source, void *ctx)
{
    struct psd_image *image = calloc(1, sizeof(*image));
    struct psd_reader r;
    ps_status         st;

    if (!image)
        return ps_fail(PS_ERR_NO_MEMORY, "snapshot: no memory");
    st = psd_reader_open(&r, source, ctx);
    if (!st)
        st = take_image(&r, image);
    psd_reader_close(&r);
    if (st)
        psd_image_free(&image);
    else
        *out = image;
    return st;
}
