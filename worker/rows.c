/* rows.c - the rows of a sparse matrix, one piece after the other. */
#include "worker/worker_private.h"

#include <stdlib.h>

struct ps_rows {
    ps_matrix *matrix;
    uint64_t   rollbacks; /* before it was opened */
    uint32_t   shard;     /* that comes next */
    uint64_t   from;      /* its cursor */
};

ps_status ps_rows_open(ps_matrix *m, ps_rows **out)
{
    ps_worker *w = m ? psw_matrix_owner(m) : NULL;
    ps_rows   *rows;

    if (!m || !out)
        return ps_fail(PS_ERR_BAD_ARG, "rows: no matrix, or nowhere to put them");
    if (!psw_matrix_spec(m)->sparse)
        return ps_fail(PS_ERR_SHAPE,
                       "rows of %s: it is dense, and all its rows exist: pull it",
                       psw_matrix_spec(m)->name);
    rows = calloc(1, sizeof(*rows));
    if (!rows)
        return ps_fail(PS_ERR_NO_MEMORY, "rows of %s: no memory",
                       psw_matrix_spec(m)->name);
    rows->matrix = m;
    rows->rollbacks = psw_client_rollbacks(w->client);
    *out = rows;
    return PS_OK;
}

/* The next piece of the shard whose turn it is. */
static ps_status ask(ps_worker *w, ps_rows *rows, uint64_t *keys, void *values,
                     uint64_t room, uint64_t *n)
{
    struct ps_ticket *t;
    ps_status st = psw_client_rows(w->client, w->started_ns, rows->matrix, rows->shard,
                                   rows->from, room, keys, values, &w->outbox, &t);

    if (!st)
        st = psw_wait_result(w, &t);
    if (st)
        return st;
    *n = psw_ticket_rows(t, &rows->from);
    psw_ticket_drop(&t);
    if (rows->from == 0)
        rows->shard++;
    return PS_OK;
}

ps_status psw_rows_next(ps_rows *rows, uint64_t *keys, void *values, uint64_t room,
                        uint64_t *n)
{
    ps_worker *w = psw_matrix_owner(rows->matrix);
    ps_status  st = PS_OK;

    *n = 0;
    if (psw_client_rollbacks(w->client) != rows->rollbacks) {
        psw_client_told(w->client);
        return ps_fail(PS_ERR_ROLLBACK,
                       "rows of %s: job %s went back since they were opened",
                       ps_matrix_name(rows->matrix), ps_job(w));
    }
    while (!st && *n == 0 && rows->shard < psw_client_n_shards(w->client))
        st = ask(w, rows, keys, values, room, n);
    return st;
}

ps_status ps_rows_next(ps_rows *rows, uint64_t *keys, void *values, uint64_t room,
                       uint64_t *n)
{
    ps_status st;

    if (!rows || !keys || !values || !n || room == 0)
        return ps_fail(PS_ERR_BAD_ARG,
                       "rows: next needs an open iteration, room for one row or more, "
                       "and a place for how many came");
    st = psw_begin(psw_matrix_owner(rows->matrix));
    return st ? st : psw_rows_next(rows, keys, values, room, n);
}

void ps_rows_close(ps_rows **rows)
{
    if (!rows)
        return;
    free(*rows);
    *rows = NULL;
}
