/* calls.c - see calls.h. */
#include "tests/sim/calls.h"

#include "common/base/random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- matrices ---------------------------------------------------------------------
 */

unsigned calls_n_matrices(const struct plan *plan)
{
    return 2 * plan->groups + 1 + plan->sparse;
}

/* tally-0, model-0, tally-1, ..., rows, embed */
struct ps_matrix_spec calls_spec(const struct plan *plan, unsigned m)
{
    struct ps_matrix_spec s = { .dtype = PS_I64,
                                .optimiser = PS_ADD,
                                .rows = PROGRAMME_ITERATIONS,
                                .cols = PLAN_WORKERS,
                                .weight_decay = NAN };

    if (m >= 2 * plan->groups) {
        s.sparse = true;
        s.rows = 0;
        s.cols = m == 2 * plan->groups ? 1 : EMBED_COLS;
        snprintf(s.name, sizeof(s.name), m == 2 * plan->groups ? "rows" : "embed");
    } else {
        snprintf(s.name, sizeof(s.name), m % 2 ? "model-%u" : "tally-%u", m / 2);
    }
    if (m == 2 * plan->groups || (m < 2 * plan->groups && m % 2 == 0))
        return s;
    s.dtype = PS_F32;
    s.optimiser = PS_OPTIMISER_JOB;
    s.init = PS_INIT_NORMAL;
    s.init_b = 0.5;
    if (!s.sparse) {
        s.rows = MODEL_ROWS;
        s.cols = MODEL_COLS;
    }
    return s;
}

uint64_t calls_row_key(uint32_t rank, uint64_t iteration)
{
    return iteration << 16 | rank;
}

static void embed_keys(uint32_t rank, uint64_t iteration, uint64_t keys[EMBED_KEYS])
{
    for (unsigned j = 0; j < EMBED_KEYS; j++)
        keys[j] = (iteration * 7 + rank * 3 + j * j) % EMBED_ROWS;
}

/* ---- starting a call --------------------------------------------------------------
 */

ps_status calls_move(struct programme *p, uint32_t i, uint32_t moves,
                     const struct psw_span *spans, uint32_t n, struct ps_ticket **out)
{
    return psw_client_move(client_of(p, i), p->world.now_ns, moves, spans, n,
                           &p->world.out, out);
}

ps_status calls_pull_dense(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    struct psw_span spans[2 * PROGRAMME_GROUPS];
    uint32_t        n = 2 * plan_in(p)->groups;

    for (uint32_t m = 0; m < n; m++)
        spans[m] = (struct psw_span){ .matrix = s->matrices[m],
                                      .count = m % 2 ? MODEL_ELEMENTS : TALLY_ELEMENTS,
                                      .value = m % 2 ? (void *)s->model[m / 2]
                                                     : (void *)s->tally[m / 2] };
    return calls_move(p, i, PSW_PULL, spans, n, &s->ticket);
}

/* Which shards are on its host is chance: it may be told wrongly, too. */
ps_status calls_view(struct programme *p, uint32_t i)
{
    struct student    *s = &p->students[i];
    struct psw_client *c = client_of(p, i);

    for (uint32_t shard = 0; shard < psw_client_n_shards(c); shard++)
        psw_client_shares(c, shard, world_draw(&p->world, 2));
    s->viewed = (unsigned)(psw_client_clock(c) % (2 * plan_in(p)->groups));
    return psw_client_view(c, p->world.now_ns, s->matrices[s->viewed], getpid(),
                           &s->view, &p->world.out, &s->ticket);
}

ps_status calls_pull_embed(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    uint64_t        keys[EMBED_KEYS];
    struct psw_span span = { .matrix = s->matrices[2 * plan_in(p)->groups + 1],
                             .count = EMBED_KEYS,
                             .keys = keys,
                             .value = s->embed_value };

    embed_keys(i, psw_client_clock(client_of(p, i)) + 1, keys);
    return calls_move(p, i, PSW_PULL, &span, 1, &s->ticket);
}

ps_status calls_push_rows(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    uint64_t        key = calls_row_key(i, s->iteration);
    int64_t         one = 1;
    struct psw_span span = { .matrix = s->matrices[2 * plan_in(p)->groups],
                             .count = 1,
                             .keys = &key,
                             .gradient = &one };

    return calls_move(p, i, PSW_PUSH, &span, 1, &s->rows);
}

ps_status calls_push_embed(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    uint64_t        keys[EMBED_KEYS];
    struct psw_span span = { .matrix = s->matrices[2 * plan_in(p)->groups + 1],
                             .count = EMBED_KEYS,
                             .keys = keys,
                             .gradient = s->embed_gradient };

    embed_keys(i, s->iteration, keys);
    return calls_move(p, i, PSW_PUSH, &span, 1, &s->embed);
}

ps_status calls_finish(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    struct psw_span spans[2 * PROGRAMME_GROUPS];
    uint32_t        n = 2 * plan_in(p)->groups;
    uint64_t        at = (s->iteration - 1) * PLAN_WORKERS + i;
    uint32_t        moves = PSW_PUSH | PSW_FINISH;
    ps_status       st;

    s->one = 1;
    for (uint32_t m = 0; m < n; m++)
        spans[m] = m % 2 ? (struct psw_span){ .matrix = s->matrices[m],
                                              .count = MODEL_ELEMENTS,
                                              .value = s->model[m / 2],
                                              .gradient = s->gradient[m / 2] }
                         : (struct psw_span){ .matrix = s->matrices[m],
                                              .first = at,
                                              .count = 1,
                                              .value = &s->tally[m / 2][at],
                                              .gradient = &s->one };
    psw_client_weight(client_of(p, i), 1.0 + i);
    moves |= plan_in(p)->rides ? PSW_PULL : 0;
    moves |= plan_in(p)->lends ? PSW_LENT : 0;
    st = calls_move(p, i, moves, spans, n, &s->ticket);
    if (!st && (s->iteration + i) % 3 == 0) {
        while (psw_client_copy(client_of(p, i)))
            ;
        calls_spoil(p, i);
    }
    return st;
}

void calls_spoil(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];

    s->one = INT64_C(1) << 32;
    for (unsigned g = 0; g < PROGRAMME_GROUPS; g++)
        for (unsigned e = 0; e < MODEL_ELEMENTS; e++)
            s->gradient[g][e] = NAN;
    for (unsigned k = 0; k < EMBED_KEYS; k++)
        for (unsigned e = 0; e < EMBED_COLS; e++)
            s->embed_gradient[k][e] = NAN;
}

/* ---- views ------------------------------------------------------------------------
 */

/* Its elements, one behind the other; how many bytes. */
static size_t copy_view(const ps_view *view, size_t element_bytes, void *to)
{
    size_t         n, bytes = 0;
    const ps_span *span = ps_view_spans(view, &n);

    for (size_t k = 0; k < n; k++) {
        memcpy((uint8_t *)to + span[k].first * element_bytes, span[k].data,
               span[k].count * element_bytes);
        bytes += span[k].count * element_bytes;
    }
    return bytes;
}

static void check_held(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    uint8_t         now[sizeof(s->shown)] = { 0 };

    if (!s->held)
        return;
    copy_view(s->held, s->held_bytes, now);
    if (memcmp(now, s->shown, sizeof(now)) != 0)
        world_wrong(&p->world, "worker %u: a view has changed", i);
}

void calls_look(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    const bool      is_model = s->viewed % 2;
    void           *value =
        is_model ? (void *)s->model[s->viewed / 2] : (void *)s->tally[s->viewed / 2];
    const size_t expected = is_model ? sizeof(s->model[0]) : sizeof(s->tally[0]);

    check_held(p, i);
    ps_view_release(&s->held);
    s->held = s->view;
    s->view = NULL;
    s->held_bytes = is_model ? sizeof(float) : sizeof(int64_t);
    memset(s->shown, 0, sizeof(s->shown));
    if (copy_view(s->held, s->held_bytes, s->shown) != expected)
        world_wrong(&p->world, "worker %u: a view of another size", i);
    memcpy(value, s->shown, expected);
}

/* ---- gradients --------------------------------------------------------------------
 */

static float slope(const struct programme *p, uint32_t i, uint64_t at, float value)
{
    double noise = ps_random_normal(plan_in(p)->seed + i, p->students[i].iteration, at);

    return 0.1f * value + (float)noise;
}

/* Each depends on what several shards said, so that they must agree on the clock. */
void calls_compute(struct programme *p, uint32_t i)
{
    struct student *s = &p->students[i];
    const uint32_t  groups = plan_in(p)->groups;

    for (uint32_t g = 0; g < groups; g++)
        for (unsigned e = 0; e < MODEL_ELEMENTS; e++)
            s->gradient[g][e] = slope(p, i, g * 100 + e,
                                      s->model[g][e] - s->model[(g + 1) % groups][e]);
    for (unsigned k = 0; k < EMBED_KEYS; k++)
        for (unsigned e = 0; e < EMBED_COLS; e++)
            s->embed_gradient[k][e] =
                slope(p, i, 10000 + k * EMBED_COLS + e,
                      s->embed_value[k][e] - s->model[k % groups][e]);
}
