/*
 * ps/worker.h - the client side of psd.
 *
 *     ps_worker_options opt = PS_WORKER_OPTIONS;
 *     opt.coordinator = "tcp://127.0.0.1:5570";
 *     opt.job         = "hello";
 *
 *     ps_worker *w;
 *     ps_matrix *m;
 *     float      value[4], grad[4] = { 1, 1, 1, 1 };
 *
 *     if (ps_worker_open(&w, &opt) || ps_dense(w, "weights", 1, 4, NULL, &m))
 *         die("%s", ps_why());
 *     for (int t = 0; t < 10; t++) {
 *         if (ps_pull(m, value) || ps_push(m, grad) || ps_finish(w))
 *             die("%s", ps_why());
 *     }
 *     ps_worker_close(&w);
 *
 * Iterations.  A worker's clock is the number of iterations it has finished.  Between
 * two ps_finish it pulls, computes, and pushes; what it pushes belongs to iteration
 * clock + 1.  The job's strategy decides when a pull is answered and a push applied.
 *
 * Threads.  A worker and everything opened from it belong to one thread at a time: it
 * may go from one to the next when the host sees to it that one has finished before the
 * other begins (a lock does).  Two workers share nothing.  A call that finds another
 * thread waiting inside the same worker fails with PS_ERR_BAD_ARG; two that do not wait
 * are not found out.  One small thread per worker tells the coordinator that the
 * process lives; it touches no data of the caller.
 *
 * Time.  A call blocks for at most the worker's timeout_ms and then returns
 * PS_ERR_TIMEOUT with a sentence that says what it waited for.
 *
 * Going back.  A job that is saved (job.snapshot_every, snapshot_ms, ack: durable) goes
 * back to an earlier clock when one of its servers was lost and is back.  The calls
 * that wait meanwhile, or if none does the next push, pull, ps_rows_next, ps_finish or
 * ps_epoch_end, then fail with PS_ERR_ROLLBACK: everything that the worker had under
 * way is void, ps_clock says where it goes on, and matrices, models and the worker stay
 * open.  Nothing is pushed into the job as it is now before a call has said so.  A loop
 * goes on like this:
 *
 *     for (uint64_t t; (t = ps_clock(w)) < end;) {
 *         ps_status st = one_iteration(w, t);     computes from what it pulls, and t
 *
 *         if (st == PS_ERR_ROLLBACK)
 *             continue;                           what it keeps of its own begins anew
 *         if (st)
 *             die("%s", ps_why());
 *     }
 *
 * and pushes the gradients of an iteration in the same calls as before.  ps_train does
 * all this by itself.  Calls about other things (opening matrices, reports) take the
 * time that it takes and do not fail for it.
 *
 * Manners.  No call writes to the terminal, exits, aborts, installs a signal handler,
 * or keeps a pointer it was given, except where it says so.  In a child process after
 * fork() every call on the parent's handles returns PS_ERR_FORKED.
 */
#ifndef PS_WORKER_H
#define PS_WORKER_H

#include <ps/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ps_worker   ps_worker;
typedef struct ps_matrix   ps_matrix;
typedef struct ps_model    ps_model;
typedef struct ps_ticket   ps_ticket;
typedef struct ps_settings ps_settings;
typedef struct ps_data     ps_data;
typedef struct ps_rows     ps_rows;
typedef struct ps_view     ps_view;

/* Why the last call on this thread failed, as a sentence; "" if none has. */
PS_API const char *ps_why(void);

/* The library's version, "0.1.0". */
PS_API const char *ps_version(void);

/*
 * Where the library's own lines go; nowhere until this is called.  `level` is
 * syslog's (3 error, 4 warning, 6 info, 7 debug).  Call before the first worker is
 * opened; `fn` may run on any thread.
 */
typedef void ps_line_fn(void *ctx, int level, const char *line);
PS_API void  ps_listen(ps_line_fn *fn, void *ctx, int up_to_level);

/* ---- settings: what an experiment file says ------------------------------------ */

/*
 * Reads the job, optimiser, train and data keys of an experiment file, as psexp(1)
 * documents them.  `file` NULL: the file that the environment variable PSW_CONFIG
 * names; when that is unset too, the defaults.  PS_ERR_CONFIG;
 * PS_ERR_SYSTEM when it cannot be read.
 */
PS_API ps_status ps_settings_load(ps_settings **out, const char *file) PS_CHECKED;
/*
 * The same from text, for programs that know what they want:
 *
 *     ps_settings_parse(&s, "job: {strategy: asp}\n"
 *                           "optimiser: {name: adam, lr: 0.001}\n");
 */
PS_API ps_status ps_settings_parse(ps_settings **out, const char *text) PS_CHECKED;
PS_API void      ps_settings_free(ps_settings **settings);

/* What the train and data keys say; strings live as long as the settings. */
typedef struct ps_train_settings {
    uint64_t     seed;
    uint32_t     epochs;
    uint32_t     batch;       /* samples per worker and iteration */
    uint64_t     limit;       /* samples of the training set; 0 = all */
    int          prefetch;    /* asp: ask for the next values while computing */
    const char  *data_format; /* "idx", "libsvm", "csv" or "text" */
    const char  *train_features, *train_labels, *test_features, *test_labels;
    uint32_t     workers; /* of the job, where the environment does not say it */
    ps_partition partition;
    int          label_column, header; /* as ps_data_open_csv takes them */
    double       growth;               /* of the batch: see ps_train_options */
    uint32_t     growth_every, growth_max;
    uint64_t     npush;  /* batches of a push, which is a clock of the job */
    double   test_every; /* seconds between an observer's tests; 0: the workers test */
    uint64_t test_limit; /* samples of the test set; 0 = all */
    uint64_t nfetch;     /* batches of a pull */
    int      models;     /* average: model, a push is a difference of models */
    int      layerwise;  /* move layer by layer, where the program can */
} ps_train_settings;

PS_API void ps_settings_train(const ps_settings *settings, ps_train_settings *out);

/* What the optimiser keys say, for a program that can also train without servers. */
typedef struct ps_optimiser_settings {
    ps_optimiser optimiser;
    double       lr, momentum, weight_decay;
    double       epoch_factor; /* of lr after every epoch; NAN: another schedule */
    double       ftrl_beta, ftrl_l1, ftrl_l2;
} ps_optimiser_settings;

PS_API void ps_settings_optimiser(const ps_settings     *settings,
                                  ps_optimiser_settings *out);

/* ---- a worker ------------------------------------------------------------------ */

/*
 * Start from PS_WORKER_OPTIONS: fields added later keep their defaults.  A NULL or
 * zero field is taken from the environment, then from the settings, then from the
 * default in brackets.  Coordinator, rank and workers may also come from the variables
 * of a launcher (ps-lite's, torchrun's, Slurm's and others'), see libpsworker(3).
 */
typedef struct ps_worker_options {
    size_t      size;                    /* of this struct, as the caller knew it */
    const char *coordinator;             /* PSW_COORDINATOR [tcp://127.0.0.1:5570] */
    const char *job;                     /* PSW_JOB [default] */
    const char *token;                   /* PSW_TOKEN [none] */
    int         rank;                    /* 0-based, unique; -1: PSW_RANK [0] */
    uint32_t    workers;                 /* of the job; PSW_WORLD_SIZE [1] */
    int         timeout_ms;              /* of every call; PSW_TIMEOUT_MS [30000] */
    int         observer;                /* 1: reads an existing job, has no rank;
                                          * PSW_OBSERVER [0] */
    const ps_settings *settings;         /* job and optimiser keys; lent for the call */
    uint64_t           clocks_per_epoch; /* for schedules in epochs; 0 = unknown */
    uint32_t           spin_us; /* a call that waits looks for answers so long before it
                                 * sleeps, up to 1000; PSW_SPIN_US [0] */
} ps_worker_options;

#define PS_WORKER_OPTIONS_INIT                                                         \
    {                                                                                  \
        sizeof(ps_worker_options), 0, 0, 0, -1, 0, 0, 0, 0, 0, 0                       \
    }
#ifdef __cplusplus
#define PS_WORKER_OPTIONS (ps_worker_options PS_WORKER_OPTIONS_INIT)
#else
#define PS_WORKER_OPTIONS ((ps_worker_options)PS_WORKER_OPTIONS_INIT)
#endif

/*
 * Joins the job, creating it if this worker is the first.  On failure *out is
 * untouched.
 *
 * PS_ERR_UNAVAILABLE   nobody answers at the coordinator's address
 * PS_ERR_RANK          the rank is taken, or not below `workers`
 * PS_ERR_MISMATCH      another worker created the job with other settings
 * PS_ERR_DENIED        wrong token
 * PS_ERR_UNKNOWN       (observer) no such job
 */
PS_API ps_status ps_worker_open(ps_worker              **out,
                                const ps_worker_options *options) PS_CHECKED;

/*
 * Waits (at most timeout_ms) until every push is acknowledged and every report
 * delivered, says goodbye, frees everything opened from the worker.  NULL is fine;
 * *worker becomes NULL, except where the call is the caller's mistake: another thread
 * is inside, or one of its callbacks calls.  The status says whether all was delivered.
 *
 * PS_ERR_ROLLBACK   the job went back, and this worker's last iterations are lost: it
 *                   is still open, may train them again, and is closed or abandoned
 * then
 */
PS_API ps_status ps_worker_close(ps_worker **worker);

/* Leaves without waiting, as after an error; the others are told the reason. */
PS_API void ps_worker_abandon(ps_worker **worker, const char *reason);

/*
 * Which worker of how many this process is going to be, as ps_worker_open finds it
 * where its options leave both open: for a program that wants to know before.
 * `settings` may be NULL.  PS_ERR_CONFIG for what a variable says.
 */
PS_API ps_status ps_launched(const ps_settings *settings, uint32_t *rank,
                             uint32_t *workers) PS_CHECKED;

PS_API uint32_t    ps_rank(const ps_worker *worker);
PS_API int         ps_is_observer(const ps_worker *worker);
PS_API uint32_t    ps_workers(const ps_worker *worker); /* of the job */
PS_API uint64_t    ps_clock(const ps_worker *worker);   /* lower after a rollback */
PS_API uint64_t    ps_seed(const ps_worker *worker);
PS_API const char *ps_job(const ps_worker *worker);
PS_API uint32_t    ps_n_shards(const ps_worker *worker);

/*
 * Ends the iteration: the clock goes up by one.  Every push of it is on its way
 * before; returns when the shards have taken note.
 */
PS_API ps_status ps_finish(ps_worker *worker) PS_CHECKED;

/*
 * "I have no more batches in this epoch."  Until all active workers have said so,
 * nobody waits for those that have, neither at a barrier nor for the slack; then it
 * returns to all of them, and they have the same clock, that of the furthest.  So
 * workers may have different numbers of batches, some of them none.  One that leaves or
 * is lost is not waited for; one that joins is.  PS_ERR_BAD_ARG in the middle of an
 * iteration; PS_ERR_TIMEOUT when the others have not come to it, naming who: it may be
 * called again, and an iteration may also be begun instead.
 */
PS_API ps_status ps_epoch_end(ps_worker *worker) PS_CHECKED;

/* A number for the metrics and the run record (loss, accuracy); delivered in order,
 * in the background of later calls.  Names are up to 127 bytes. */
PS_API ps_status ps_report(ps_worker *worker, const char *metric, double value);

/* Counts samples towards the job's samples per second. */
PS_API void ps_count_samples(ps_worker *worker, uint64_t samples);

/*
 * Makes the worker slower than it is, to see what stragglers do to a job: after the
 * gradients of an iteration, which took so long, and before their push it sleeps as
 * PSW_PACE, PSW_SLOW and PSW_HICCUPS say; see libpsworker(3).  Where they say nothing
 * it returns at once.  ps_train does so itself.
 *
 * PS_ERR_CONFIG    a variable is malformed
 * PS_ERR_BAD_ARG   `seconds` is negative or not finite
 */
PS_API ps_status ps_pace(ps_worker *worker, double seconds) PS_CHECKED;

/* ---- matrices ------------------------------------------------------------------ */

/* Start from PS_MATRIX_OPTIONS. */
typedef struct ps_matrix_options {
    size_t       size;
    ps_dtype     dtype;
    ps_init      init;
    double       init_a, init_b;
    ps_optimiser optimiser;    /* PS_OPTIMISER_JOB: the job's */
    double       weight_decay; /* negative: the job's */
    int          open_only;    /* 1: PS_ERR_UNKNOWN when it does not exist */
    uint64_t     max_rows;     /* sparse: see ps_sparse; 0: any number */
    ps_evict     evict;        /* sparse: what goes when they are there */
} ps_matrix_options;

#define PS_MATRIX_OPTIONS_INIT                                                         \
    {                                                                                  \
        sizeof(ps_matrix_options), PS_F32, PS_INIT_ZERO, 0, 0, PS_OPTIMISER_JOB, -1.0, \
            0, 0, PS_EVICT_NONE                                                        \
    }
#ifdef __cplusplus
#define PS_MATRIX_OPTIONS (ps_matrix_options PS_MATRIX_OPTIONS_INIT)
#else
#define PS_MATRIX_OPTIONS ((ps_matrix_options)PS_MATRIX_OPTIONS_INIT)
#endif

/*
 * Opens the matrix `name`, creating it if it does not exist.  All workers of a job
 * open a matrix with the same shape and options.  The handle lives as long as the
 * worker.  A vector is a 1 x n matrix.
 *
 * PS_ERR_SHAPE      it exists with another shape or element type
 * PS_ERR_MISMATCH   it exists with other options
 * PS_ERR_UNKNOWN    it does not exist, and open_only or the worker is an observer
 */
PS_API ps_status ps_dense(ps_worker *worker, const char *name, uint64_t rows,
                          uint64_t cols, const ps_matrix_options *options,
                          ps_matrix **out) PS_CHECKED;

/*
 * Rows by key, created at first touch, pull or push, by the initialiser: what a row
 * starts as does not depend on when it is touched, by whom, and on which shard it lies.
 *
 * With `max_rows` each shard keeps at most its part of them, rounded up.  What happens
 * to a row too many says `evict`: PS_EVICT_NONE refuses the pull or push that asks for
 * it, with PS_ERR_LIMIT and nothing changed; otherwise the row goes that was used
 * longest ago, or least often (of several the one used longest ago), and should it come
 * back it starts anew.  The rows of one request, and those with pushes that an open
 * iteration holds, stay; what asks for more rows beside them is refused as above.  Each
 * key of a pull or push is one use of its row.
 */
PS_API ps_status ps_sparse(ps_worker *worker, const char *name, uint64_t cols,
                           const ps_matrix_options *options,
                           ps_matrix              **out) PS_CHECKED;

PS_API const char *ps_matrix_name(const ps_matrix *m);
PS_API uint64_t    ps_matrix_rows(const ps_matrix *m); /* 0: sparse */
PS_API uint64_t    ps_matrix_cols(const ps_matrix *m);
PS_API ps_dtype    ps_matrix_dtype(const ps_matrix *m);

/*
 * Reads the current value.
 *
 *   value  [rows * cols], row by row, of the matrix's element type
 *
 * Filled on PS_OK; after a failure its content is undefined.  Waits while the
 * strategy says so.  The plain forms are for f32 matrices (PS_ERR_SHAPE otherwise);
 * the _any forms take a pointer to the matrix's own element type.
 */
PS_API ps_status ps_pull(ps_matrix *m, float *value) PS_CHECKED;
PS_API ps_status ps_pull_any(ps_matrix *m, void *value) PS_CHECKED;

/* Elements first .. first + n - 1 of a dense matrix. */
PS_API ps_status ps_pull_range(ps_matrix *m, uint64_t first, uint64_t n,
                               void *value) PS_CHECKED;

/* Rows of a sparse matrix: keys [n], in any order, repeats allowed; value [n][cols]. */
PS_API ps_status ps_pull_rows(ps_matrix *m, const uint64_t *keys, uint64_t n,
                              void *value) PS_CHECKED;

/*
 * Reads the current value of a dense matrix, of any element type, without copying it:
 * the view says where the elements are in memory.  On the host of a server that is the
 * server's own memory, which this process may read and not write, and takes some
 * microseconds whatever the size; over a network it is the memory in which they came
 * in.  Waits as a pull does, and is one in every other respect.
 *
 * What a view shows never changes: not by pushes, a rollback, the end of the server, or
 * ps_worker_close.  It belongs to the caller until he releases it, may be read by any
 * thread, and released by any, once.  (A child process after fork() can read it and
 * releases nothing.)
 *
 * While it is held the server keeps those values beside newer ones, and a push copies
 * what it changes: a view that is no longer needed is best released before the push,
 * not after it.  Of one matrix a server keeps up to 8 for each worker in that way;
 * what is beyond them is copied into this process's memory.
 *
 *     ps_view       *view;
 *     size_t         n;
 *     const ps_span *span;
 *
 *     if (ps_pull_view(m, &view))
 *         die("%s", ps_why());
 *     span = ps_view_spans(view, &n);
 *     for (size_t i = 0; i < n; i++)
 *         use(span[i].first, span[i].count, (const float *)span[i].data);
 *     ps_view_release(&view);
 *
 * After a failure *out is NULL.
 *
 * PS_ERR_SHAPE   the matrix is sparse
 */
PS_API ps_status ps_pull_view(ps_matrix *m, ps_view **out) PS_CHECKED;

/* Elements first .. first + count - 1 of the matrix, one behind the other at `data`,
 * which is aligned to 8 bytes or more. */
typedef struct ps_span {
    uint64_t    first, count;
    const void *data;
} ps_span;

/* All elements, in ascending order: the spans, *n of them, are the view's.  They are
 * cut where memory is, between any two elements. */
PS_API const ps_span *ps_view_spans(const ps_view *view, size_t *n);

/* NULL is fine; *view becomes NULL. */
PS_API void ps_view_release(ps_view **view);

/*
 * Hands over a gradient for the iteration in progress; read before the call returns.
 * Returns when the shards have acknowledged it: it counts exactly once, however often
 * the network made the library send it.
 *
 *   grad  [rows * cols], [n] or [n][cols], as for pull
 *
 * PS_ERR_NONFINITE   it holds a NaN or an infinity and the job refuses those
 * PS_ERR_STALE       the iteration is closed already
 * PS_ERR_LIMIT       the matrix would have more rows than it may, see ps_sparse
 */
PS_API ps_status ps_push(ps_matrix *m, const float *grad) PS_CHECKED;
PS_API ps_status ps_push_any(ps_matrix *m, const void *grad) PS_CHECKED;
PS_API ps_status ps_push_range(ps_matrix *m, uint64_t first, uint64_t n,
                               const void *grad) PS_CHECKED;
PS_API ps_status ps_push_rows(ps_matrix *m, const uint64_t *keys, uint64_t n,
                              const void *grad) PS_CHECKED;

/*
 * The same of a gradient that is zero nearly everywhere, given entry by entry, for
 * sparse matrices and dense ones.  Entries of one row make up a row: those of one
 * element are added, in the order they are given, and columns without any are zero,
 * which the optimiser takes for a gradient of zero as any other (momentum and weight
 * decay go on).  Rows without entries are not pushed.
 *
 *   coo: entry i is at rows[i], cols[i]
 *   csr: row r, whose key is row_keys[r] (row_keys NULL: r itself), has the entries
 *        row_starts[r] .. row_starts[r + 1] - 1; row_starts [n_rows + 1] ascends, and
 *        need not begin with 0; keys may come again
 *   values  of the matrix's element type
 *
 * Memory for all touched rows, whole, is needed meanwhile.
 *
 * PS_ERR_SHAPE     a column, or a row of a dense matrix, that it does not have
 * PS_ERR_BAD_ARG   row_starts does not ascend
 */
PS_API ps_status ps_push_coo(ps_matrix *m, uint64_t n, const uint64_t *rows,
                             const uint64_t *cols, const void *values) PS_CHECKED;
PS_API ps_status ps_push_csr(ps_matrix *m, uint64_t n_rows, const uint64_t *row_keys,
                             const uint64_t *row_starts, const uint64_t *cols,
                             const void *values) PS_CHECKED;

/*
 * The rows of a sparse matrix that exist, shard after shard, in no order that means
 * anything.  Of rows that come and go meanwhile some are seen and others not; one that
 * is there all the time is seen exactly once, and none twice.  To be seen is no use of
 * a row, and creates none.
 *
 * ps_rows_next waits as a pull does, and fills
 *
 *   keys    [room]
 *   values  [room][cols] of the matrix's element type
 *   *n      how many came, up to `room` (of 1 or more); 0: that were all
 *
 * After a failure it may be called again, and goes on where it was; but not after a
 * rollback, when rows may lie on other shards: it has to be opened anew then.  `rows`
 * is to be closed before its worker.
 *
 * PS_ERR_ROLLBACK   the job went back since it was opened
 * PS_ERR_SHAPE   the matrix is dense
 */
PS_API ps_status ps_rows_open(ps_matrix *m, ps_rows **out) PS_CHECKED;
PS_API ps_status ps_rows_next(ps_rows *rows, uint64_t *keys, void *values,
                              uint64_t room, uint64_t *n) PS_CHECKED;
PS_API void      ps_rows_close(ps_rows **rows);

/*
 * The samples behind the gradients of this iteration: their weight in the mean, 1
 * until set.  Keeps its value for later iterations.
 */
PS_API ps_status ps_weight(ps_worker *worker, double samples) PS_CHECKED;

/*
 * The same without waiting.  What a pull fills must stay until the ticket has been
 * waited for; gradients and keys are copied at once.  Every ticket is to be waited
 * for, or closed with its worker.
 */
PS_API ps_status ps_pull_async(ps_matrix *m, void *value, ps_ticket **out) PS_CHECKED;
PS_API ps_status ps_pull_range_async(ps_matrix *m, uint64_t first, uint64_t n,
                                     void *value, ps_ticket **out) PS_CHECKED;
PS_API ps_status ps_pull_rows_async(ps_matrix *m, const uint64_t *keys, uint64_t n,
                                    void *value, ps_ticket **out) PS_CHECKED;
/* *view is NULL until the ticket is done, and stays so after a failure; what it is then
 * is the caller's, also when nobody waits any more. */
PS_API ps_status ps_pull_view_async(ps_matrix *m, ps_view **view,
                                    ps_ticket **out) PS_CHECKED;
PS_API ps_status ps_push_async(ps_matrix *m, const void *grad,
                               ps_ticket **out) PS_CHECKED;
PS_API ps_status ps_push_range_async(ps_matrix *m, uint64_t first, uint64_t n,
                                     const void *grad, ps_ticket **out) PS_CHECKED;
PS_API ps_status ps_push_rows_async(ps_matrix *m, const uint64_t *keys, uint64_t n,
                                    const void *grad, ps_ticket **out) PS_CHECKED;

PS_API ps_status ps_push_coo_async(ps_matrix *m, uint64_t n, const uint64_t *rows,
                                   const uint64_t *cols, const void *values,
                                   ps_ticket **out) PS_CHECKED;
PS_API ps_status ps_push_csr_async(ps_matrix *m, uint64_t n_rows,
                                   const uint64_t *row_keys, const uint64_t *row_starts,
                                   const uint64_t *cols, const void *values,
                                   ps_ticket **out) PS_CHECKED;

/* Frees the ticket and makes *ticket NULL in every case, the deadline's included. */
PS_API ps_status ps_wait(ps_ticket **ticket) PS_CHECKED;

/* 1: ps_wait would not block; 0: it would.  Moves what is in flight along. */
PS_API int ps_done(ps_ticket *ticket);

/*
 * Hands the ticket over: instead of being waited for, `fn` is told how it went, once.
 * *ticket becomes NULL, except after a failure.
 *
 * It runs on the calling thread within a later call on this worker, at its beginning or
 * while it waits, so in ps_progress, too; at the latest within ps_worker_close or
 * ps_worker_abandon, which tell PS_ERR_ABORTED of what is not done.  The ticket's time
 * is the worker's timeout_ms from here.  Inside, ps_why() is the sentence of a failure.
 *
 * Inside, every call on the worker is allowed, those that wait included; no other
 * callback runs meanwhile.  Not allowed are closing the worker (PS_ERR_BAD_ARG;
 * ps_worker_abandon does nothing), and touching the ticket of the call that it runs in.
 * While the worker closes, calls inside fail with PS_ERR_CLOSING.
 */
typedef void     ps_done_fn(void *ctx, ps_status status);
PS_API ps_status ps_then(ps_ticket **ticket, ps_done_fn *fn, void *ctx) PS_CHECKED;

/*
 * Moves what is in flight along and runs callbacks.  Returns when one has run, when
 * none is left to run, or after timeout_ms, of which 0 does not wait; neither is a
 * failure.
 */
PS_API ps_status ps_progress(ps_worker *worker, int timeout_ms) PS_CHECKED;

/* ---- models: a group of dense matrices ----------------------------------------- */

/* One message per shard and request, however many matrices the group holds (more,
 * of about 1 MiB each, for large ones). */
PS_API ps_status ps_model_new(ps_model **out, ps_worker *worker) PS_CHECKED;

/*
 * Binds a dense matrix to the caller's buffers, which the model keeps using: `value`
 * [rows * cols] is what pulls fill, `grad` [rows * cols] what pushes send; NULL when
 * the model is only pulled.  Call before the first pull.
 */
PS_API ps_status ps_model_add(ps_model *model, ps_matrix *m, void *value,
                              const void *grad) PS_CHECKED;

PS_API ps_status ps_model_pull(ps_model *model) PS_CHECKED;

/* Pushes all gradients; the iteration goes on until ps_finish. */
PS_API ps_status ps_model_push(ps_model *model) PS_CHECKED;

/* Pushes all gradients, finishes the iteration, and pulls what comes of it, in one
 * round trip per shard. */
PS_API ps_status ps_model_push_pull(ps_model *model) PS_CHECKED;

PS_API ps_status ps_model_pull_async(ps_model *model, ps_ticket **out) PS_CHECKED;
PS_API ps_status ps_model_push_async(ps_model *model, ps_ticket **out) PS_CHECKED;
PS_API ps_status ps_model_push_pull_async(ps_model *model, ps_ticket **out) PS_CHECKED;

/*
 * Layer by layer, so that bytes travel while the caller computes:
 *
 *     for (l = 0; l < n; l++)
 *         wait(model, l), forward through layer l
 *     for (l = n; l-- > 0;)
 *         backward through layer l, ready(model, l)
 *
 * ps_model_layer begins a new layer: matrices that are added afterwards belong to it.
 * Layers count from 0; without it the model is one.  A layer without matrices is none.
 *
 * ps_model_ready: the layer's gradients are complete, and its values are not read any
 * more in this iteration.  Its gradients are on their way when the call returns; under
 * backup, all leave with the last.  The layer that is ready last ends the iteration,
 * and the values of all are asked for, in the order of their numbers.
 *
 * ps_model_wait: returns when the layer's values of this iteration are in its buffers.
 * Only between a layer's ready and its wait are its value buffers written.  Fails, too,
 * for the layer's push that failed.  May be called again while the layer is in use.
 *
 * One model at a time moves by layers; it moves as a whole when no layer is ready or on
 * its way: so get the values that others have changed until ps_epoch_end, waiting for
 * all layers and pulling the whole then.  Value buffers of two layers do not overlap.
 *
 * PS_ERR_BAD_ARG   no such layer; ready without wait, or twice; wait for a layer that
 * is ready while others are not
 */
PS_API ps_status ps_model_layer(ps_model *model) PS_CHECKED;
PS_API ps_status ps_model_ready(ps_model *model, uint32_t layer) PS_CHECKED;
PS_API ps_status ps_model_wait(ps_model *model, uint32_t layer) PS_CHECKED;

/*
 * BLAKE2b (256 bit) over all matrices of the worker's job in byte order of their names:
 * for each its name with the NUL, element type (u32), rows, cols (u64), and its
 * elements, all little-endian.  Of a sparse one, whose `rows` is 0, the rows that exist
 * in the order of their keys: for each its key (u64) and its elements; they are in
 * memory together while they are sorted.  `hex` gets 64 digits and a NUL.
 */
PS_API ps_status ps_model_hash(ps_worker *worker, char hex[65]) PS_CHECKED;

/* ---- data ---------------------------------------------------------------------- */

/*
 * A data set in memory, from plain or gzip files; `limit` keeps the first samples (0:
 * all), and the rest is read all the same.  PS_ERR_DATA with file, line where there are
 * lines, and reason: missing, truncated, damaged, not what was expected there.
 *
 * IDX files (as of MNIST): bytes, with labels in a file of their own.  The numbers of
 * samples must agree.
 */
PS_API ps_status ps_data_open_idx(ps_data **out, const char *features,
                                  const char *labels, uint64_t limit) PS_CHECKED;

/*
 * A LIBSVM file: sparse samples, one a line, "label index:value index:value ...", with
 * indices from 1 that ascend, up to 2^63 - 1.  What follows a # is a comment.
 */
PS_API ps_status ps_data_open_libsvm(ps_data **out, const char *file,
                                     uint64_t limit) PS_CHECKED;

/*
 * A CSV file: dense samples, one a line, numbers with commas between them, equally many
 * in each line.  Quoted fields are refused.
 *
 *   label_column   where the label is, from 0; negative: from the right, -1 the last
 *   header         1: the first line holds names and is skipped
 */
PS_API ps_status ps_data_open_csv(ps_data **out, const char *file, int label_column,
                                  int header, uint64_t limit) PS_CHECKED;

/*
 * The data set that the settings name, read and parted as they say: the training set,
 * of which train.limit keeps the first samples, or with `test` 1 the test set, which is
 * never parted.  PS_ERR_CONFIG when they name no file, or a text, of which only its
 * program knows what a sample is.
 */
PS_API ps_status ps_data_open(ps_data **out, const ps_settings *settings,
                              int test) PS_CHECKED;

PS_API void ps_data_close(ps_data **data);

PS_API uint64_t ps_data_n(const ps_data *data);
PS_API uint64_t ps_data_features(const ps_data *data); /* of LIBSVM: highest index */

/* The sample's values [features], as the file's format has them; NULL: another format,
 * or no such sample. */
PS_API const uint8_t *ps_data_sample(const ps_data *data, uint64_t i); /* IDX */
PS_API const float   *ps_data_dense(const ps_data *data, uint64_t i);  /* CSV */

/*
 * The values of a LIBSVM sample: *n pairs, indices ascending from 0, which are the
 * file's less one and fit ps_pull_rows.  They live as long as the data set.
 *
 * PS_ERR_BAD_ARG   another format, or no such sample
 */
PS_API ps_status ps_data_row(const ps_data *data, uint64_t i, const uint64_t **indices,
                             const float **values, uint64_t *n) PS_CHECKED;

/*
 * What the sample is, as the file says it, and as a class.  Classes are the labels
 * themselves when all are whole and not negative, and there are as many as the highest
 * + 1; labels -1 and 1 are the classes 0 and 1.  Of other labels there are 0 classes,
 * and each is 0.
 */
PS_API double   ps_data_target(const ps_data *data, uint64_t i);
PS_API uint32_t ps_data_classes(const ps_data *data);
PS_API uint32_t ps_data_label(const ps_data *data, uint64_t i);

/* Mean and standard deviation of all values; of LIBSVM, of those in the file. */
PS_API void ps_data_moments(const ps_data *data, double *mean, double *deviation);

/*
 * The samples of worker `rank`, a function of the arguments alone; for a scheme other
 * than PS_PARTITION_NONE, n up to 2^32 - 1.
 *
 *   out    [*n_out], indices below n: n of them for the overlapping scheme, n / workers
 *          rounded up at most for the others; NULL: only their number is asked for
 */
PS_API ps_status ps_partition_samples(ps_partition scheme, uint64_t n, uint32_t workers,
                                      uint32_t rank, uint64_t seed, uint32_t *out,
                                      uint64_t *n_out) PS_CHECKED;

/*
 * Makes ps_data_batch draw from the worker's own part.  All workers of a job say the
 * same, before the first batch.
 */
PS_API ps_status ps_data_partition(ps_data *data, ps_partition scheme) PS_CHECKED;

/*
 * The samples of one iteration.  Without a partition: of each epoch's permutation,
 * worker `rank` of W takes positions (iteration * W + rank) * batch onwards; an
 * incomplete last round is left out.  A function of (seed, rank, clock) alone.  W
 * workers of batch b together see in each iteration what one worker of batch W * b
 * sees.
 *
 * With one: in each epoch the worker goes through its part in another order, a function
 * of (seed, rank, epoch).  What is left of a part after its last batch is left out for
 * this epoch.
 */
typedef struct ps_batch {
    uint64_t        clock;     /* batches before this one, of earlier epochs too */
    uint64_t        epoch;     /* from 0 */
    uint64_t        iteration; /* within the epoch, from 0 */
    uint64_t        position;  /* of the first sample in the run; for random streams */
    uint32_t        n;
    const uint32_t *sample; /* [n] indices into the data; valid until the next batch */
} ps_batch;

/* Per epoch, and the same for every worker: the smallest part decides. */
PS_API uint64_t  ps_data_iterations(const ps_data *data, uint32_t workers,
                                    uint32_t batch);
PS_API ps_status ps_data_batch(ps_data *data, uint64_t seed, uint32_t rank,
                               uint32_t workers, uint32_t batch, uint64_t clock,
                               ps_batch *out) PS_CHECKED;

/*
 * The same by epoch and iteration, for batches that are not the same in all epochs.
 * `clock` and `position` are filled as if they were.
 */
PS_API ps_status ps_data_epoch_batch(ps_data *data, uint64_t seed, uint32_t rank,
                                     uint32_t workers, uint32_t batch, uint64_t epoch,
                                     uint64_t iteration, ps_batch *out) PS_CHECKED;

/*
 * Random numbers as a function of (seed, stream, index) alone (Philox4x32-10): the
 * streams that survive a crash unchanged.  Uniform in [0, 1) and standard normal.
 */
PS_API double ps_random_at(uint64_t seed, uint64_t stream, uint64_t index);
PS_API double ps_random_normal_at(uint64_t seed, uint64_t stream, uint64_t index);
/* n times 32 random bits: blocks index, index + 1, ... of the stream, 4 words each. */
PS_API void ps_random_words(uint64_t seed, uint64_t stream, uint64_t index,
                            uint32_t *out, size_t n);

/* ---- the training loop --------------------------------------------------------- */

/* One iteration, as the gradient function sees it. */
typedef struct ps_step {
    ps_worker      *worker;
    const ps_batch *batch;
    const ps_data  *data;
} ps_step;

/*
 * Computes the mean gradient of the batch into the model's gradient buffers, from its
 * value buffers, and the mean loss into *loss.  Returns 0; anything else ends the loop
 * with PS_ERR_ABORTED.
 */
typedef int ps_gradient_fn(void *ctx, const ps_step *step, double *loss);

/* Called after the last iteration of every epoch with that epoch's values in the value
 * buffers, before the next epoch.  Returns 0 to go on; anything else ends the loop
 * early with PS_OK. */
typedef int ps_epoch_fn(void *ctx, ps_worker *worker, uint64_t epoch, double mean_loss);

/* Start from PS_TRAIN_OPTIONS. */
typedef struct ps_train_options {
    size_t       size;
    uint32_t     epochs;
    uint32_t     batch;
    int          prefetch;     /* 1: ask for the next values while computing */
    uint32_t     report_every; /* iterations between reports of the loss; 0 = none */
    ps_epoch_fn *epoch;        /* may be NULL */
    void        *ctx;          /* of both functions */
    double       growth;       /* of the batch, a factor; 0 or 1: it does not grow */
    uint32_t     growth_every; /* after so many epochs each; 0 counts as 1 */
    uint32_t     growth_max;   /* samples; 0: 1048576 */
    int          layerwise;    /* 1: the gradient function moves the model's layers */
    int          own_data;     /* 1: the data are this worker's alone */
} ps_train_options;

#define PS_TRAIN_OPTIONS_INIT                                                          \
    {                                                                                  \
        sizeof(ps_train_options), 1, 64, 1, 20, 0, 0, 0, 0, 0, 0, 0                    \
    }
#ifdef __cplusplus
#define PS_TRAIN_OPTIONS (ps_train_options PS_TRAIN_OPTIONS_INIT)
#else
#define PS_TRAIN_OPTIONS ((ps_train_options)PS_TRAIN_OPTIONS_INIT)
#endif

/*
 * For every batch of every epoch: calls `gradient`; and, as the job's nfetch and npush
 * say, pulls before the first batch of each fetch window and pushes the sum of the
 * gradients after the last batch of each push window.  Windows begin anew with each
 * epoch, and the last ones of an epoch end with it, so that nothing is left over and
 * the epoch function sees the values of everything that was pushed.  The job's
 * iterations, its clock, are push windows.
 *
 *   nfetch > npush   pushes without pulling; `local` says what becomes of the values
 *                    meanwhile
 *   nfetch < npush   a pull in a push window overwrites what the local steps have made
 *                    of the values; under `average: model` what they led to is kept
 *                    for the push
 *
 * Local steps take the learning rate of the job's schedule at its clock, and under
 * `local: same` their state lives as long as the call.
 *
 * With own_data the data set is not parted: each worker has one of its own, of any
 * size, also too small for a batch.  Epochs end together, with ps_epoch_end, and the
 * epoch function sees what all have made of them; its loss is NAN without a batch.
 * `clock` of a batch counts the worker's own, and one that joins late does all its
 * epochs.
 *
 * Without it, a worker that joins a running job trains to where the others end.
 *
 * With prefetch under asp the request for the next values is on its way while the
 * gradient is computed, so they are one batch older, except those that the epoch
 * function sees.  Under bsp the next values come of the push and the request travels
 * with it; prefetch changes nothing.
 *
 * With `layerwise` the values are on their way when the gradient function is called,
 * and it calls ps_model_wait before it reads a layer and ps_model_ready when it has the
 * layer's gradients; what it did not make ready is, when it returns.  Each batch is
 * pushed and pulled: PS_ERR_BAD_ARG for other windows, for `average: model`, and when
 * it did not wait for a layer.  The epoch function sees all values as ever.
 *
 * Reports `loss` (mean since the last report, every report_every batches) and after
 * each epoch `epoch_seconds` (the time of its iterations, without the epoch
 * function's), counts samples, and sets the weight of each push to the samples behind
 * it.
 *
 * The batch grows with `growth`: that of epoch e (from 0) is batch * growth ^ (e /
 * growth_every), rounded down, and growth_max at most.  It takes the place of a falling
 * learning rate (Smith et al., ICLR 2018); a job whose schedule counts epochs is
 * refused with it, because its epochs are not equally many clocks.
 *
 * When the job goes back to an earlier clock, so does the training: the values are
 * pulled, what the worker kept for itself (sums of a window, state of local steps, the
 * loss not reported yet) begins anew, and the batches since then come once more.  The
 * epoch function is called again for an epoch that ends again, and when the rollback
 * came while it ran, whatever it returned.  The gradient and epoch functions need not
 * look for PS_ERR_ROLLBACK: the first may return anything but 0 when a call of theirs
 * fails. After a rollback since an earlier ps_train, this one first trains again what
 * that has lost; with 0 epochs, only that.
 *
 * PSW_PACE, PSW_SLOW and PSW_HICCUPS make it slower than it is, see libpsworker(3).
 *
 * PS_ERR_ABORTED   the gradient function did not return 0
 * PS_ERR_CONFIG    one of those variables is wrong
 * PS_ERR_BAD_ARG   what is said above, and too few samples for one batch of each worker
 */
PS_API ps_status ps_train(ps_worker *worker, ps_model *model, ps_data *data,
                          ps_gradient_fn         *gradient,
                          const ps_train_options *options) PS_CHECKED;

/* The batch of an epoch, as the settings let it grow. */
PS_API uint32_t ps_train_batch(const ps_train_settings *settings, uint64_t epoch);

/*
 * How many clocks of the job an epoch is: its batches in windows of npush, for
 * ps_worker_options.clocks_per_epoch.  0 when the batch grows: there is no one number.
 */
PS_API uint64_t ps_train_clocks(const ps_train_settings *settings, const ps_data *data,
                                uint32_t workers);

#ifdef __cplusplus
}
#endif
#endif
