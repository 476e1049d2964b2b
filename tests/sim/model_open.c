/* model_open.c - the cluster before time begins; see model.h. */
#include "tests/sim/model_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL 99u /* the secret of the shards */
#define LONG_NS (UINT64_MAX / 4)

/* So many values at most are kept by all workers together; more than these, and one
 * stands for several. */
#define ELEMENTS_MAX (UINT64_C(64) << 20)
#define ELEMENTS_MIN (UINT64_C(16) << 10) /* of the model: slots stay about even */
#define ONE_FOR_MAX (1u << 14)

static ps_status no_memory(void)
{
    return ps_fail(PS_ERR_NO_MEMORY, "simulation: no memory for %s",
                   "so many workers and shards");
}

/* ---- the model ------------------------------------------------------------------ */

static uint32_t choose_scale(const struct model *m)
{
    uint64_t elements = ps_simulation_elements(m->s);
    uint32_t one_for = 1;

    while (one_for < ONE_FOR_MAX && elements / one_for * m->c->workers > ELEMENTS_MAX &&
           elements / one_for / 2 >= ELEMENTS_MIN)
        one_for *= 2;
    return one_for;
}

static void add_matrix(struct model *m, uint64_t elements)
{
    struct ps_matrix_spec *spec = &m->matrices[m->n_matrices];

    *spec = (struct ps_matrix_spec){ .dtype = PS_F32,
                                     .rows = 1,
                                     .cols = (elements + m->one_for - 1) / m->one_for,
                                     .weight_decay = NAN };
    snprintf(spec->name, sizeof(spec->name), "matrix-%zu", m->n_matrices++);
    m->n_elements += spec->cols;
}

static ps_status open_matrices(struct model *m)
{
    size_t n = m->s->n_matrices ? m->s->n_matrices : 1;

    m->matrices = calloc(n, sizeof(*m->matrices));
    if (!m->matrices)
        return no_memory();
    for (size_t i = 0; i < m->s->n_matrices; i++)
        add_matrix(m, m->s->matrices[i].rows * m->s->matrices[i].cols);
    if (m->s->n_matrices == 0)
        add_matrix(m, ps_simulation_elements(m->s));
    m->lends = m->n_elements * sizeof(float) > m->c->shards * PS_CHUNK_BYTES / 2 ||
               m->n_matrices > PS_RANGES_MAX;
    m->gradient = calloc(m->n_elements, sizeof(float));
    m->value = calloc(m->n_elements, sizeof(float));
    return m->gradient && m->value ? PS_OK : no_memory();
}

static void describe_job(struct model *m)
{
    const struct ps_simulated_strategy *s = m->c->strategy;

    m->job = ps_job_spec_default();
    snprintf(m->job.name, sizeof(m->job.name), "paper");
    m->job.seed = m->s->seed;
    m->job.workers = m->c->workers;
    m->job.strategy = s->strategy;
    m->job.slack = s->slack;
    m->job.scale = s->scale;
    m->job.spares = s->spares;
    if (s->spare_share > 0)
        m->job.spares = (uint32_t)ceil(s->spare_share * m->c->workers);
    if (m->job.spares >= m->job.workers)
        m->job.spares = m->job.workers - 1;
    if (s->strategy != PS_BACKUP)
        m->job.spares = ps_job_spec_default().spares;
    m->job.optimiser = ps_optimiser_spec_default(m->s->optimiser);
}

/* ---- hosts ---------------------------------------------------------------------- */

static ps_status open_link(const struct model *m, struct link *l, uint32_t number,
                           bool receives)
{
    bool   has_shards = number < m->n_shard_hosts;
    size_t n = has_shards || m->s->together ? m->n_hosts : m->n_shard_hosts;

    l->receives = receives;
    l->end = &l->first;
    l->flows = calloc(n, sizeof(*l->flows));
    return l->flows ? PS_OK : no_memory();
}

static ps_status open_hosts(struct model *m)
{
    const struct ps_simulation *s = m->s;
    uint32_t                    worker_hosts =
        (m->c->workers + s->workers_per_host - 1) / s->workers_per_host;
    ps_status st = PS_OK;

    m->n_shard_hosts = (m->c->shards + s->shards_per_host - 1) / s->shards_per_host;
    m->n_hosts = m->n_shard_hosts + worker_hosts;
    if (s->together)
        m->n_hosts = m->n_shard_hosts > worker_hosts ? m->n_shard_hosts : worker_hosts;
    m->hosts = calloc(m->n_hosts, sizeof(*m->hosts));
    m->processes = calloc(m->n_shard_hosts + m->c->workers, sizeof(*m->processes));
    if (!m->hosts || !m->processes)
        return no_memory();
    for (uint32_t h = 0; !st && h < m->n_hosts; h++) {
        m->hosts[h].number = h;
        m->hosts[h].end = &m->hosts[h].first;
        st = open_link(m, &m->hosts[h].out, h, false);
        if (!st)
            st = open_link(m, &m->hosts[h].in, h, true);
    }
    return st;
}

static struct host *host_of_worker(struct model *m, uint32_t rank)
{
    return &m->hosts[(m->s->together ? 0 : m->n_shard_hosts) +
                     rank / m->s->workers_per_host];
}

static void open_process(struct process *p, struct host *host)
{
    p->thread =
        (struct thread){ .host = host, .take = process_take, .done = process_done };
}

/* ---- servers -------------------------------------------------------------------- */

static ps_status open_shards(struct model *m)
{
    struct psd_shard_options o = { .control = CONTROL, .backend = &model_kernels };
    ps_status                st = PS_OK;

    m->shards = calloc(m->c->shards, sizeof(*m->shards));
    if (!m->shards)
        return no_memory();
    for (uint32_t i = 0; i < m->n_shard_hosts; i++)
        open_process(&m->processes[i], &m->hosts[i]);
    for (uint32_t i = 0; !st && i < m->c->shards; i++) {
        uint32_t      host = i / m->s->shards_per_host;
        struct shard *sh = &m->shards[i];

        sh->actor = (struct actor){ .kind = ACTOR_SHARD,
                                    .number = i,
                                    .process = &m->processes[host],
                                    .thread = { .host = &m->hosts[host],
                                                .take = shard_take,
                                                .done = shard_done } };
        st = psd_shard_new(&sh->shard, &o);
    }
    return st;
}

static ps_status open_coordinator(struct model *m)
{
    struct psd_coordinator_options o = {
        .server_epoch = 7,
        .random_seed = 1,
        .worker_silence_ns = LONG_NS,
        .shard_timeout_ns = LONG_NS,
        .recovery_wait_ns = LONG_NS,
        .keep_finished = 1,
        .max_jobs = 1,
        .token = "",
        .endpoint = "coordinator",
    };
    const char *endpoints[PS_SHARDS_MAX];
    uint32_t    first;
    ps_status   st = psd_coordinator_new(&m->coordinator, &o);

    m->coordinator_actor = (struct actor){ .kind = ACTOR_COORDINATOR };
    for (uint32_t i = 0; i < m->c->shards; i++)
        endpoints[i] = "ipc://shard"; /* they are told apart by their number */
    if (!st)
        st = psd_coordinator_add_shards(m->coordinator, m->now_ns, endpoints,
                                        m->c->shards, CONTROL, "host", 1, &first);
    return st;
}

/* ---- workers -------------------------------------------------------------------- */

static ps_status open_worker(struct model *m, uint32_t rank)
{
    struct worker            *w = &m->workers[rank];
    struct psw_client_options o = { .job = m->job,
                                    .coordinator = "coordinator",
                                    .token = "",
                                    .rank = rank,
                                    .pid = 100 + rank,
                                    .host = "worker",
                                    .first_request = 1 + ((uint64_t)rank << 32) };

    open_process(&m->processes[m->n_shard_hosts + rank], host_of_worker(m, rank));
    w->actor = (struct actor){ .kind = ACTOR_WORKER,
                               .number = rank,
                               .process = &m->processes[m->n_shard_hosts + rank],
                               .thread = { .host = host_of_worker(m, rank),
                                           .take = worker_take,
                                           .done = worker_done } };
    w->matrices = calloc(m->n_matrices, sizeof(*w->matrices));
    return w->matrices ? psw_client_new(&w->client, &o) : no_memory();
}

/* The ticket's end, without time. */
static ps_status finish_call(struct model *m, struct worker *w, ps_status st)
{
    if (st)
        return st;
    actor_post(m, &w->actor);
    actor_deliver_at_once(m);
    if (m->failed)
        return m->failed;
    if (!psw_ticket_done(w->ticket))
        return ps_fail(PS_ERR_TIMEOUT, "simulation: worker %u is not answered",
                       w->actor.number);
    return psw_ticket_result(w->ticket);
}

static ps_status enter(struct model *m, struct worker *w)
{
    ps_status st = finish_call(
        m, w, psw_client_hello(w->client, m->now_ns, &m->outbox, &w->ticket));

    psw_ticket_drop(&w->ticket);
    for (size_t i = 0; !st && i < m->n_matrices; i++) {
        st = finish_call(m, w,
                         psw_client_matrix(w->client, m->now_ns, &m->matrices[i], true,
                                           &m->outbox, &w->ticket));
        if (!st)
            w->matrices[i] = psw_ticket_matrix(w->ticket);
        psw_ticket_drop(&w->ticket);
    }
    return st;
}

static ps_status pull_first(struct model *m, struct worker *w)
{
    ps_status st = finish_call(m, w, worker_move(m, w, PSW_PULL));

    psw_ticket_drop(&w->ticket);
    return st;
}

static ps_status open_workers(struct model *m)
{
    ps_status st = PS_OK;

    m->workers = calloc(m->c->workers, sizeof(*m->workers));
    if (!m->workers)
        return no_memory();
    for (uint32_t i = 0; !st && i < m->c->workers; i++)
        st = open_worker(m, i);
    for (uint32_t i = 0; !st && i < m->c->workers; i++)
        st = enter(m, &m->workers[i]);
    for (uint32_t i = 0; !st && i < m->c->workers; i++)
        st = pull_first(m, &m->workers[i]);
    return st;
}

/* ---- life ----------------------------------------------------------------------- */

ps_status model_open(struct model *m)
{
    ps_status st;

    m->now_ns = 1;
    m->one_for = sim_one_for = choose_scale(m);
    describe_job(m);
    st = open_matrices(m);
    if (!st)
        st = open_hosts(m);
    if (!st)
        st = open_shards(m);
    if (!st)
        st = open_coordinator(m);
    if (!st)
        st = open_workers(m);
    return st ? st : counts_open(m);
}

void model_close(struct model *m)
{
    while (m->messages)
        message_free(m->messages);
    for (uint32_t i = 0; m->workers && i < m->c->workers; i++) {
        psw_ticket_drop(&m->workers[i].ticket);
        psw_client_free(&m->workers[i].client);
        free(m->workers[i].matrices);
    }
    for (uint32_t i = 0; m->shards && i < m->c->shards; i++)
        psd_shard_free(&m->shards[i].shard);
    psd_coordinator_free(&m->coordinator);
    for (uint32_t h = 0; m->hosts && h < m->n_hosts; h++) {
        free(m->hosts[h].in.flows);
        free(m->hosts[h].out.flows);
    }
    counts_close(m);
    queue_free(&m->queue);
    ps_outbox_free(&m->outbox);
    free(m->workers);
    free(m->shards);
    free(m->processes);
    free(m->hosts);
    free(m->matrices);
    free(m->gradient);
    free(m->value);
    sim_one_for = 1;
}
