/*
 * record.h - what is left of a run: metrics.jsonl while it goes, summary.json at its
 * end.
 *
 * Both are described in psexp(1).  Test accuracy comes in shares: every worker tests
 * its part of the test set and reports how many samples it tested and how many were
 * right; the shares of one clock make one accuracy.
 *
 * Thread: one.
 */
#ifndef TOOLS_RECORD_H
#define TOOLS_RECORD_H

#include "common/config/config.h"
#include "common/wire/wire.h"

#include <jansson.h>

/* The accuracy after one epoch: the shares that are whole. */
struct record_test {
    uint64_t epoch;    /* see record_take */
    uint32_t n_shares; /* of so many workers; all: an observer's */
    double   seconds;  /* since the job was created, when the last share came */
    uint64_t clock;
    double   correct, total;
};

/* What a worker has said of its share so far; NAN: nothing. */
struct record_share {
    double correct, total;
};

/* A number that psexp has no use of its own for: what each rank said last. */
struct record_metric {
    char   *name;
    double *last; /* [n_ranks]; NAN: nothing */
};

struct record {
    FILE *metrics;

    uint64_t          last_report; /* number of the last one written */
    uint64_t          clock;
    uint64_t          clocks_per_epoch; /* 0: not known */
    struct ps_traffic traffic;

    double               loss; /* the last reported; NAN before */
    uint32_t             n_epoch_losses;
    double               epoch_loss_sum; /* of the last epoch, over workers */
    uint64_t             epoch_loss_epoch;
    bool                 observed; /* the tests are an observer's */
    size_t               n_tests;
    struct record_test  *tests;
    uint32_t             n_ranks;
    struct record_share *shares;        /* [n_ranks] */
    double              *train_seconds; /* [n_ranks]: time in iterations */

    size_t                n_others; /* in the order in which they came */
    struct record_metric *others;
};

ps_status record_open(struct record *r, const char *folder,
                      uint32_t n_ranks) PS_CHECKED;

/*
 * Takes the reports of a WATCH_OK.  What workers say of an epoch belongs together
 * though their clocks may differ a little: the epoch is the clock in whole epochs.
 */
ps_status record_take(struct record *r, const struct ps_header *h) PS_CHECKED;

/* NAN while there is none. */
double record_accuracy(const struct record *r);

/*
 * The seconds from the job's creation to the first test that reached it, as far as more
 * than half of the workers have reported their shares: one share alone says too little,
 * and waiting for all would be waiting for the slowest worker.  NAN: none has.
 */
double record_reached(const struct record *r, double accuracy);
double record_final_loss(const struct record *r);

/* Of `others`: the mean over the ranks that said a finite number; NAN: none did. */
double record_mean(const struct record *r, size_t metric);

/* Samples over the time that the slowest worker spent in iterations; `otherwise` is
 * used when the workers do not report that time. */
double record_samples_per_second(const struct record *r, double otherwise);

ps_status record_close(struct record *r) PS_CHECKED;

/* What a summary says besides the record. */
struct summary {
    const struct ps_experiment *experiment;
    const struct record        *record;
    const json_t               *job; /* the job's part of the status, or NULL */
    double                      wall_seconds;
    bool                        stopped; /* the accuracy it was to reach ended it */
    double                      seconds_to_accuracy; /* NAN: not reached */
    const char                 *model_hash;          /* "" = none */
    const json_t               *results;             /* lines; NULL: none */
    const char                 *failure;             /* "" = none */
    unsigned      server_starts, worker_starts;      /* again, by psexp, on purpose */
    const json_t *faults;                            /* list; NULL: none */
};

/* Writes summary.json; *out (if not NULL) is the caller's to decref. */
ps_status record_summary(const struct summary *s, const char *folder,
                         json_t **out) PS_CHECKED;

#endif
