/* model.c - see model.h. */
#include "tests/sim/model_private.h"

#include <math.h>
#include <stdlib.h>

#define LOOK_NS UINT64_C(1000000000)

unsigned sim_one_for = 1;

uint64_t model_ns(double ns)
{
    return (uint64_t)llround(ns);
}

void model_fail(struct model *m, ps_status st)
{
    if (!m->failed)
        m->failed = st;
}

void model_after(struct model *m, uint64_t ns, struct event *e)
{
    if (!queue_put(&m->queue, (struct queued){ m->now_ns + ns, m->order++, e }))
        model_fail(m, ps_fail(PS_ERR_NO_MEMORY, "simulation: no memory for an event"));
}

/* Each second everybody looks for what is late, as their programs do. */
static void look(struct model *m, struct event *e)
{
    for (uint32_t i = 0; i < m->c->workers; i++)
        worker_look(m, &m->workers[i]);
    for (uint32_t i = 0; i < m->c->shards; i++)
        shard_look(m, &m->shards[i]);
    model_after(m, LOOK_NS, e);
}

static void run(struct model *m)
{
    m->timed = true;
    m->second.happen = look;
    model_after(m, LOOK_NS, &m->second);
    for (uint32_t i = 0; i < m->c->workers; i++)
        worker_begin(m, &m->workers[i]);
    while (!m->failed && !m->counts.over) {
        struct queued next = queue_take(&m->queue);
        struct event *e = next.what;

        m->now_ns = next.at_ns;
        e->happen(m, e);
    }
}

ps_status model_run(const struct model_case *c, struct model_result *out)
{
    struct model *m = calloc(1, sizeof(*m));
    ps_status     st;

    if (!m)
        return ps_fail(PS_ERR_NO_MEMORY, "simulation: no memory");
    m->c = c;
    m->s = c->simulation;
    st = model_open(m);
    if (!st) {
        run(m);
        st = m->failed;
    }
    if (!st)
        counts_result(m, out);
    model_close(m);
    free(m);
    return st;
}
