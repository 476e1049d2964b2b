/*
 * worker_private.h - what the files of the blocking interface share.
 *
 *     worker.c   a worker's life, and driving its client over ZeroMQ
 *     matrix.c   matrices and tickets
 *     gather.c   gradients given entry by entry
 *     rows.c     listing the rows of a sparse matrix
 *     callback.c tickets that nobody waits for
 *     model.c    groups of matrices, whole or layer by layer
 *     train.c    the training loop
 *     training.c where it begins, ends, and goes on after a rollback
 *     hash.c     the hash of a job's model
 */
#ifndef PSW_WORKER_PRIVATE_H
#define PSW_WORKER_PRIVATE_H

#include "worker/client.h"
#include "worker/heartbeat.h"
#include "worker/home.h"
#include "worker/options.h"
#include "worker/yield.h"

#include <stdatomic.h>

/* Where an epoch of ps_train with own_data began: the clock, and how many epochs of the
 * job had ended. */
struct psw_begin {
    uint64_t clock, epochs;
};

struct ps_worker {
    struct psw_home    home; /* the process that opened it */
    struct psw_client *client;
    char               coordinator[PS_ENDPOINT_BYTES];
    uint32_t           timeout_ms;
    struct ps_spin     spin;       /* of calls that wait */
    struct psw_yield   yield;      /* when they have */
    uint64_t           started_ns; /* of the call in progress */
    uint64_t           looked_ns;  /* for messages, last */
    uint64_t           gone_ns;    /* when the server was given up; 0: it was not */
    uint64_t           missed;     /* ps_train: iterations before it joined */
    uint64_t           own_epochs; /* ps_train: that have ended, with own_data; */
    struct psw_begin  *own_begins; /* of them and the next one */
    uint64_t           own_room;
    uint64_t           trained; /* ps_train: the clock at which the last one ended */

    struct ps_net        *net;
    struct ps_link       *link;  /* to the coordinator */
    struct ps_link      **links; /* [n_links] to the shards */
    uint32_t              n_links;
    uint32_t              life;  /* of the client for which they are */
    struct ps_heap       *heap;  /* of what is pushed over them */
    struct ps_poll       *polls; /* coordinator, wake, shards */
    struct ps_signal     *wake;  /* the heartbeat has heard something */
    struct psw_heartbeat *heartbeat;
    struct ps_outbox      outbox;

    struct ps_model *models;

    struct psw_callback *callbacks; /* promised by ps_then, oldest first */
    uint64_t             n_promised, n_called;
    bool                 is_calling; /* one of them runs */
    bool                 is_closing;

    _Atomic uintptr_t thread; /* that is in a call which waits; 0: none */
};

/* Is the worker there, in its own process, and no other thread in it?  The time that
 * the call may take counts from here. */
ps_status psw_enter(ps_worker *worker) PS_CHECKED;

/* Each call begins with this: psw_enter, and the callbacks that are due. */
ps_status psw_begin(ps_worker *worker) PS_CHECKED;

/* Waits for the ticket until the call's time is over, and drops it. */
ps_status psw_wait(ps_worker *worker, struct ps_ticket **ticket) PS_CHECKED;

/* The same, but on PS_OK the ticket is still there for its result. */
ps_status psw_wait_result(ps_worker *worker, struct ps_ticket **ticket) PS_CHECKED;

/* While a call waits, the worker is seen to be its thread's.  What psw_hold returns is
 * to be handed back: calls that callbacks make are inside another. */
uintptr_t psw_hold(ps_worker *worker);
void      psw_let_go(ps_worker *worker, uintptr_t outside);

/* Sends, waits for something to come (at most until then), receives. */
ps_status psw_round(ps_worker *worker, uint64_t then_ns) PS_CHECKED;

/* Sends what is to be sent and, if that was not done just now, takes what has come;
 * waits for nothing. */
ps_status psw_progress(ps_worker *worker) PS_CHECKED;

/* When the heartbeat was last answered; 0: never. */
uint64_t psw_heard_beat_ns(const ps_worker *worker);

/* Runs the callbacks that are due, unless one is running. */
void psw_callbacks_run(ps_worker *worker);

/* Runs all of them, the worker is going; false: there were none. */
bool psw_callbacks_end(ps_worker *worker, const char *why);

/* Starts a move; psw_begin was called.  With PSW_LENT its caller waits for the ticket
 * and leaves gradients alone till then. */
ps_status psw_move(ps_worker *worker, uint32_t moves, const struct psw_span *spans,
                   uint32_t n_spans, struct ps_ticket **ticket) PS_CHECKED;

/* Opens a matrix; psw_begin was called. */
ps_status psw_open_matrix(ps_worker *worker, const struct ps_matrix_spec *spec,
                          bool create, ps_matrix **out) PS_CHECKED;

/* ps_rows_next, inside another call. */
ps_status psw_rows_next(ps_rows *rows, uint64_t *keys, void *values, uint64_t room,
                        uint64_t *n) PS_CHECKED;

/* For the training loop: the matrices of a model with their buffers; valid until one is
 * added. */
const struct psw_span *psw_model_spans(const ps_model *model, uint32_t *n);

/*
 * For the training loop, layer by layer: how many iterations have ended, all values are
 * asked for, what the caller left is made ready if no iteration ended since `rounds`,
 * all pushes are answered, and all values have come as well (but each layer is to be
 * waited for all the same).
 */
uint64_t  psw_model_rounds(const ps_model *model);
ps_status psw_model_ask(ps_model *model) PS_CHECKED;
ps_status psw_model_end_round(ps_model *model, uint64_t rounds) PS_CHECKED;
ps_status psw_model_deliver(ps_model *model) PS_CHECKED;
ps_status psw_model_settle(ps_model *model) PS_CHECKED;

/* May the iteration end, for all models but one (NULL: for all)?  PS_ERR_BAD_ARG when
 * some layers of one are ready and others are not. */
ps_status psw_models_may_finish(const ps_worker *worker,
                                const ps_model  *but) PS_CHECKED;

void psw_models_free(ps_worker *worker);

#endif
