/*
 * config.c - configuration files as people, and others, write them.
 *
 * The first byte says what the file is, up to the next NUL is its text, and what
 * follows, up to a NUL each, are --set arguments.  What loads prints as a file that
 * loads and prints as the same; what does not is one sentence.
 */
#include "tests/fuzz/fuzz.h"

#include "common/config/config.h"

#include <ps/worker.h>
#include <stdlib.h>
#include <string.h>

#define SETS_MAX 4u

struct source {
    const uint8_t *text;
    size_t         n_bytes;
    const char    *sets[SETS_MAX];
    char           set[SETS_MAX][256];
    size_t         n_sets;
};

static void part(struct fuzz_input *in, struct source *s)
{
    const uint8_t *at;
    size_t         n = strnlen((const char *)in->at, in->left);

    s->n_bytes = fuzz_take(in, n, &s->text);
    while (in->left > 0 && s->n_sets < SETS_MAX) {
        fuzz_byte(in);
        n = strnlen((const char *)in->at, in->left);
        n = fuzz_take(in, n, &at);
        if (n >= sizeof(s->set[0]))
            n = sizeof(s->set[0]) - 1;
        memcpy(s->set[s->n_sets], at, n);
        s->set[s->n_sets][n] = '\0';
        s->sets[s->n_sets] = s->set[s->n_sets];
        s->n_sets++;
    }
}

static void checked(ps_status st)
{
    fuzz_heard(st);
    fuzz_require(st == PS_OK || st == PS_ERR_CONFIG);
}

/* ---- psd.yaml ------------------------------------------------------------------ */

static char *daemon_text(const struct ps_daemon_config *c, size_t *bytes)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, bytes);

    fuzz_require(to && ps_daemon_config_print(c, to) == PS_OK);
    fclose(to);
    return text;
}

static void daemon_file(const struct source *s)
{
    const char              *file = fuzz_file(0, s->text, s->n_bytes);
    struct ps_daemon_config *c, *back;
    char                    *first, *second;
    size_t                   n_first, n_second;
    ps_status                st;

    fuzz_listen();
    st = ps_daemon_config_load(&c, file, s->sets, s->n_sets);
    checked(st);
    if (st)
        return;
    first = daemon_text(c, &n_first);
    file = fuzz_file(0, first, n_first);
    fuzz_require(ps_daemon_config_load(&back, file, NULL, 0) == PS_OK);
    second = daemon_text(back, &n_second);
    fuzz_require(n_first == n_second && memcmp(first, second, n_first) == 0);
    ps_daemon_config_free(&c);
    ps_daemon_config_free(&back);
    free(first);
    free(second);
}

/* ---- experiments --------------------------------------------------------------- */

static char *experiment_text(const struct ps_experiment *e, size_t *bytes)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, bytes);

    fuzz_require(to && ps_experiment_print(e, to) == PS_OK);
    fclose(to);
    return text;
}

static void experiment_file(const struct source *s)
{
    const char           *file = fuzz_file(0, s->text, s->n_bytes);
    struct ps_experiment *e, *back;
    struct ps_job_spec    job;
    char                 *first, *second;
    size_t                n_first, n_second;
    ps_status             st;

    fuzz_listen();
    st = ps_experiment_load(&e, file, s->sets, s->n_sets);
    checked(st);
    if (st)
        return;
    job = e->job;
    job.clocks_per_epoch = 1; /* who has seen the data knows it */
    fuzz_require(ps_job_spec_check(&job) == PS_OK);
    first = experiment_text(e, &n_first);
    fuzz_require(ps_experiment_parse(&back, "printed", first, n_first) == PS_OK);
    second = experiment_text(back, &n_second);
    fuzz_require(n_first == n_second && memcmp(first, second, n_first) == 0);
    ps_experiment_free(&e);
    ps_experiment_free(&back);
    free(first);
    free(second);
}

/* What a worker takes from it. */
static void settings_file(const struct source *s)
{
    const char       *file = fuzz_file(0, s->text, s->n_bytes);
    ps_settings      *settings;
    ps_train_settings train;
    ps_status         st;

    fuzz_listen();
    st = ps_settings_load(&settings, file);
    checked(st);
    if (st)
        return;
    ps_settings_train(settings, &train);
    fuzz_require(train.batch > 0 && train.data_format != NULL);
    fuzz_require(ps_train_batch(&train, 1000) > 0);
    ps_settings_free(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct fuzz_input in = { bytes, n_bytes };
    struct source     s = { 0 };
    uint8_t           what = fuzz_byte(&in);

    part(&in, &s);
    switch (what) {
    case 'd': daemon_file(&s); break;
    case 'w': settings_file(&s); break;
    default: experiment_file(&s); break;
    }
    return 0;
}
