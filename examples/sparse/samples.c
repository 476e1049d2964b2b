/* samples.c - see samples.h. */
#include "samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define FEATURES 20000u
#define FEATURES_OF_ONE 20u

/* Streams of random numbers: "weights", "train" and "test". */
#define WEIGHT_STREAM 0x77656967687473u
#define TRAIN_STREAM 0x747261696eu
#define TEST_STREAM 0x74657374u

/* ---- made up ------------------------------------------------------------------- */

static double true_weight(uint64_t seed, uint64_t feature)
{
    if (ps_random_at(seed, WEIGHT_STREAM, 2 * feature) >= 0.1)
        return 0;
    return 3 * ps_random_normal_at(seed, WEIGHT_STREAM, 2 * feature + 1);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The features of sample i in ascending order, and what speaks for the positive label.
 * Feature k is as likely as k^(-3/4): a few are in very many samples. */
static uint32_t draw_features(uint64_t seed, uint64_t stream, uint64_t i,
                              uint64_t out[FEATURES_OF_ONE], double *margin)
{
    uint32_t n = 0;

    for (uint32_t k = 0; k < FEATURES_OF_ONE; k++) {
        double u = ps_random_at(seed, stream, i * (FEATURES_OF_ONE + 1) + k);

        out[k] = 1 + (uint64_t)(FEATURES * u * u * u * u);
    }
    qsort(out, FEATURES_OF_ONE, sizeof(*out), ascending);
    *margin = -0.5;
    for (uint32_t k = 0; k < FEATURES_OF_ONE; k++) {
        if (n > 0 && out[n - 1] == out[k])
            continue;
        out[n++] = out[k];
        *margin += true_weight(seed, out[k]);
    }
    return n;
}

int samples_write_made_up(const struct task *t, FILE *to, uint64_t n, int test)
{
    uint64_t stream = test ? TEST_STREAM : TRAIN_STREAM;
    uint64_t feature[FEATURES_OF_ONE];

    for (uint64_t i = 0; i < n; i++) {
        double   margin;
        uint32_t n_features = draw_features(t->train.seed, stream, i, feature, &margin);
        double   lot = ps_random_at(t->train.seed, stream,
                                    i * (FEATURES_OF_ONE + 1) + FEATURES_OF_ONE);

        fputs(lot * (1 + exp(-margin)) < 1 ? "1" : "0", to);
        for (uint32_t k = 0; k < n_features; k++)
            fprintf(to, " %llu:1", (unsigned long long)feature[k]);
        fputc('\n', to);
    }
    if (fflush(to) == 0 && !ferror(to))
        return 0;
    fprintf(stderr, "%s: the made-up samples cannot be written: %m\n", t->program);
    return EX_IOERR;
}

/* By way of a file, so that it is read as any other. */
static int make_up(ps_data **out, const struct task *t, uint64_t n, int test)
{
    const char *folder = getenv("TMPDIR");
    char        name[4096];
    FILE       *f = NULL;
    int         fd, code;

    snprintf(name, sizeof(name), "%s/psd-samples-XXXXXX",
             folder && *folder ? folder : "/tmp");
    fd = mkstemp(name);
    if (fd >= 0)
        f = fdopen(fd, "w");
    if (!f) {
        fprintf(stderr, "%s: %s: cannot be made: %m\n", t->program, name);
        if (fd >= 0)
            close(fd);
        return EX_CANTCREAT;
    }
    code = samples_write_made_up(t, f, n, test);
    fclose(f);
    if (!code)
        code =
            task_failed(t, ps_data_open_libsvm(out, name, test ? 0 : t->train.limit));
    if (!code && !test)
        code = task_failed(t, ps_data_partition(*out, t->train.partition));
    unlink(name);
    return code;
}

/* ---- from files ---------------------------------------------------------------- */

static int open_files(struct samples *s, const struct task *t)
{
    const char *test = t->train.test_features;
    ps_status   st;

    if (strcmp(t->train.data_format, "libsvm") != 0) {
        fprintf(stderr, "%s: data.format: %s, expected libsvm\n", t->program,
                t->train.data_format);
        return EX_CONFIG;
    }
    st = ps_data_open(&s->training, t->settings, 0);
    if (!st && test && *test)
        st = ps_data_open(&s->test, t->settings, 1);
    return task_failed(t, st);
}

static int bad_label(const struct task *t, const char *set, uint64_t i, double label,
                     const char *expected)
{
    fprintf(stderr, "%s: sample %llu of the %s set has the label %g, expected %s\n",
            t->program, (unsigned long long)i + 1, set, label, expected);
    return EX_DATAERR;
}

/* There are two labels, whatever they are. */
static int learn_labels(struct samples *s, const struct task *t)
{
    double one = ps_data_target(s->training, 0), other = one;

    for (uint64_t i = 1; i < ps_data_n(s->training); i++) {
        double label = ps_data_target(s->training, i);

        if (label != one && other != one && label != other)
            return bad_label(t, "training", i, label, "one of two");
        if (label != one)
            other = label;
    }
    if (one == other)
        return bad_label(t, "training", 0, one, "two labels, and all have this one");
    s->negative = fmin(one, other);
    s->positive = fmax(one, other);
    for (uint64_t i = 0; s->test && i < ps_data_n(s->test); i++) {
        double label = ps_data_target(s->test, i);

        if (label != s->negative && label != s->positive)
            return bad_label(t, "test", i, label, "one of the training set's");
    }
    return 0;
}

int samples_open(struct samples *s, const struct task *t, uint32_t made_up)
{
    const char *features = t->train.train_features;
    int         code;

    *s = (struct samples){ 0 };
    if (features && *features) {
        code = open_files(s, t);
    } else {
        fprintf(stderr, "%s: no data.train_features: %u made-up samples\n", t->program,
                made_up);
        code = make_up(&s->training, t, made_up, 0);
        if (!code)
            code = make_up(&s->test, t, made_up / 4 + 1, 1);
    }
    return code ? code : learn_labels(s, t);
}

void samples_close(struct samples *s)
{
    ps_data_close(&s->training);
    ps_data_close(&s->test);
}

int samples_is_positive(const struct samples *s, const ps_data *data, uint64_t i)
{
    return ps_data_target(data, i) == s->positive;
}

double samples_loss(double margin, int is_positive, double *probability)
{
    double wrong = is_positive ? -margin : margin; /* log odds of the other label */

    *probability = 1 / (1 + exp(-margin));
    return wrong > 0 ? wrong + log1p(exp(-wrong)) : log1p(exp(wrong));
}
