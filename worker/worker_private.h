/*
 * worker_private.h - what the files of the blocking interface share.
 *
 *     worker.c   a worker's life, and driving its client over ZeroMQ
 *     matrix.c   matrices and tickets
 *     model.c    groups of matrices
 *     train.c    the training loop
 *     hash.c     the hash of a job's model
 */
#ifndef PSW_WORKER_PRIVATE_H
#define PSW_WORKER_PRIVATE_H

#include "worker/client.h"
#include "worker/heartbeat.h"
#include "worker/options.h"

#include <sys/types.h>

struct ps_worker {
    pid_t              pid; /* of the process that opened it */
    struct psw_client *client;
    char               coordinator[PS_ENDPOINT_BYTES];
    uint32_t           timeout_ms;
    uint64_t           started_ns; /* of the call in progress */
    uint64_t           gone_ns;    /* when the server was given up; 0: it was not */

    struct ps_net        *net;
    struct ps_link       *link;  /* to the coordinator */
    struct ps_link      **links; /* [n_links] to the shards */
    uint32_t              n_links;
    struct ps_poll       *polls; /* coordinator, wake, shards */
    struct ps_signal     *wake;  /* the heartbeat has heard something */
    struct psw_heartbeat *heartbeat;
    struct ps_outbox      outbox;

    struct ps_model *models;
};

/* Each call begins with this: is the worker there, and in its own process?  The time
 * that the call may take counts from here. */
ps_status psw_begin(ps_worker *worker) PS_CHECKED;

/* Waits for the ticket until the call's time is over, and drops it. */
ps_status psw_wait(ps_worker *worker, struct ps_ticket **ticket) PS_CHECKED;

/* The same, but on PS_OK the ticket is still there for its result. */
ps_status psw_wait_result(ps_worker *worker, struct ps_ticket **ticket) PS_CHECKED;

/* Sends what is to be sent, takes what has come; waits for nothing. */
ps_status psw_progress(ps_worker *worker) PS_CHECKED;

/* Starts a move; psw_begin was called. */
ps_status psw_move(ps_worker *worker, uint32_t moves, const struct psw_span *spans,
                   uint32_t n_spans, struct ps_ticket **ticket) PS_CHECKED;

/* Opens a matrix; psw_begin was called. */
ps_status psw_open_matrix(ps_worker *worker, const struct ps_matrix_spec *spec,
                          bool create, ps_matrix **out) PS_CHECKED;

/* For the training loop: the matrices of a model with their buffers; valid until one is
 * added. */
const struct psw_span *psw_model_spans(const ps_model *model, uint32_t *n);

/* Pushes all gradients and finishes the iteration; the values are asked for apart. */
ps_status psw_model_push_finish(ps_model *model) PS_CHECKED;

void psw_models_free(ps_worker *worker);

#endif
