/*
 * task.h - what the workers of this folder have in common: the experiment's settings, a
 * place in the job, and how a failure is told.
 */
#ifndef SPARSE_TASK_H
#define SPARSE_TASK_H

#include <ps/worker.h>

struct task {
    const char           *program; /* before each line on stderr */
    ps_settings          *settings;
    ps_train_settings     train;
    ps_optimiser_settings optimiser;
    uint32_t              workers; /* of the job; 1 when there is none */
    uint64_t              seed;
    ps_worker            *worker; /* NULL: training without servers */
};

/*
 * All of these: 0, or an exit code after it was said on stderr what is wrong.
 *
 *   config  the experiment; NULL: what PSW_CONFIG names
 *   serial  1: for training without servers
 */
int task_open(struct task *t, const char *program, const char *config, int serial);

/* Joins the job, which comes to `clocks_per_epoch` iterations for each epoch. */
int task_join(struct task *t, uint64_t clocks_per_epoch);

/* Says goodbye when all is done. */
int task_leave(struct task *t);

/* At the end, whatever it was; returns the code. */
int task_close(struct task *t, int code);

/* Not an exit code: the job went back, and the loop goes on from ps_clock. */
#define TASK_AGAIN (-1)

/* Says why the last call of the library failed; 0 when `status` is none, TASK_AGAIN for
 * PS_ERR_ROLLBACK. */
int task_failed(const struct task *t, ps_status status);

/* A whole number of 1 to `most`, or a number of 0 to `most`, from the command line. */
int task_read_whole(const char *program, const char *option, const char *text,
                    uint32_t most, uint32_t *out);
int task_read_number(const char *program, const char *option, const char *text,
                     double most, double *out);

/* Since some moment; for differences. */
double task_seconds(void);

#endif
