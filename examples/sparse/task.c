/* task.c - see task.h. */
#include "task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

/* Errors are said once, by task_failed. */
static void on_line(void *ctx, int level, const char *line)
{
    if (level > 3)
        fprintf(stderr, "%s: %s\n", (const char *)ctx, line);
}

int task_failed(const struct task *t, ps_status status)
{
    if (status == PS_ERR_ROLLBACK)
        return TASK_AGAIN;
    if (status)
        fprintf(stderr, "%s: %s\n", t->program, ps_why());
    return status ? ps_status_exit_code(status) : 0;
}

/* Rows are pulled and pushed anew for each batch. */
static int check_windows(const struct task *t)
{
    if (t->train.nfetch > 1 || t->train.npush > 1)
        fprintf(stderr,
                "%s: job.nfetch %llu and job.npush %llu, it pulls and pushes for each "
                "batch, expected 1 and 1\n",
                t->program, (unsigned long long)t->train.nfetch,
                (unsigned long long)t->train.npush);
    else if (t->train.models)
        fprintf(stderr,
                "%s: job.average: model, it pushes gradients, expected "
                "gradient\n",
                t->program);
    else
        return 0;
    return EX_CONFIG;
}

int task_open(struct task *t, const char *program, const char *config, int serial)
{
    ps_status st;
    uint32_t  rank;

    *t = (struct task){ .program = program, .workers = 1 };
    ps_listen(on_line, (void *)(uintptr_t)program, 6);
    st = ps_settings_load(&t->settings, config);
    if (!st && !serial)
        st = ps_launched(t->settings, &rank, &t->workers);
    if (st)
        return task_failed(t, st);
    ps_settings_train(t->settings, &t->train);
    ps_settings_optimiser(t->settings, &t->optimiser);
    t->seed = t->train.seed;
    return serial ? 0 : check_windows(t);
}

int task_join(struct task *t, uint64_t clocks_per_epoch)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_status         st;

    o.settings = t->settings;
    o.workers = t->workers;
    o.clocks_per_epoch = clocks_per_epoch;
    st = ps_worker_open(&t->worker, &o);
    if (st)
        return task_failed(t, st);
    t->seed = ps_seed(t->worker);
    if (!ps_is_observer(t->worker))
        return 0;
    fprintf(stderr, "%s: it cannot observe a job (test.every), only train\n",
            t->program);
    return EX_CONFIG;
}

int task_leave(struct task *t)
{
    return task_failed(t, ps_worker_close(&t->worker));
}

int task_close(struct task *t, int code)
{
    if (t->worker)
        ps_worker_abandon(&t->worker, "it failed");
    ps_settings_free(&t->settings);
    return code;
}

int task_read_whole(const char *program, const char *option, const char *text,
                    uint32_t most, uint32_t *out)
{
    unsigned long long value;
    char              *end;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno && value >= 1 &&
        value <= most) {
        *out = (uint32_t)value;
        return 0;
    }
    fprintf(stderr, "%s: --%s %s: expected a whole number, 1 to %u\n", program, option,
            text, most);
    return EX_USAGE;
}

int task_read_number(const char *program, const char *option, const char *text,
                     double most, double *out)
{
    char  *end;
    double value = strtod(text, &end);

    if (end != text && !*end && value >= 0 && value <= most) {
        *out = value;
        return 0;
    }
    fprintf(stderr, "%s: --%s %s: expected a number, 0 to %g\n", program, option, text,
            most);
    return EX_USAGE;
}

double task_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
