/* memory.c - see memory.h. */
#include "bench/memory.h"

#include "common/net/net.h"

#include <stdlib.h>
#include <string.h>

struct bench_memory {
    uint32_t cols, batch;
    float   *table; /* [rows][cols] */
    float   *side;  /* [batch][cols] what is added, and what is copied out */
};

ps_status bench_memory_new(struct bench_memory **out, uint64_t rows, uint32_t cols,
                           uint32_t batch)
{
    struct bench_memory *m = calloc(1, sizeof(*m));
    size_t               row_bytes = cols * sizeof(float);

    if (m)
        *m = (struct bench_memory){ .cols = cols,
                                    .batch = batch,
                                    .table = malloc(rows * row_bytes),
                                    .side = malloc(batch * row_bytes) };
    if (!m || !m->table || !m->side) {
        bench_memory_free(&m);
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for %ju rows", (uintmax_t)rows);
    }
    for (uint64_t i = 0; i < rows * cols; i++)
        m->table[i] = 1;
    for (uint64_t i = 0; i < (uint64_t)batch * cols; i++)
        m->side[i] = 1;
    *out = m;
    return PS_OK;
}

void bench_memory_free(struct bench_memory **memory)
{
    if (*memory) {
        free((*memory)->table);
        free((*memory)->side);
    }
    free(*memory);
    *memory = NULL;
}

static void add(const struct bench_memory *m, const uint64_t *keys)
{
    const float *from = m->side;

    for (uint32_t i = 0; i < m->batch; i++, from += m->cols) {
        float *row = m->table + keys[i] * m->cols;

        for (uint32_t c = 0; c < m->cols; c++)
            row[c] += from[c];
    }
}

static void copy(const struct bench_memory *m, const uint64_t *keys)
{
    for (uint32_t i = 0; i < m->batch; i++)
        memcpy(m->side + (uint64_t)i * m->cols, m->table + keys[i] * m->cols,
               m->cols * sizeof(float));
}

ps_status bench_memory_work(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct bench_memory_work *w = work;
    uint64_t                        at = 0;

    *done = 0;
    do {
        (w->adds ? add : copy)(w->memory, w->keys + at);
        *done += w->memory->batch;
        at = at + w->memory->batch < w->n_keys ? at + w->memory->batch : 0;
    } while (ps_now_ns() < until_ns);
    return PS_OK;
}
