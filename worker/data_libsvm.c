/*
 * data_libsvm.c - sparse samples: a line each, "label index:value index:value ...".
 *
 * Indices count from 1 and ascend within a line; a "#" begins a comment.  Every line is
 * looked at, whatever `limit` says, so that a damaged file is found on the first day.
 *
 * Source: Chang and Lin, LIBSVM, README, "svm-train usage".
 */
#include "worker/data.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_MAX ((uint64_t)INT64_MAX)
#define BLANK " \t"

struct libsvm {
    struct data_file file;
    struct ps_data  *data;
    uint64_t         used; /* of indices and values */
    uint64_t         rows_room, targets_room, indices_room, values_room;
};

/* The next word of the line, ending in a NUL; NULL: there is none. */
static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, BLANK);
    char *end = word + strcspn(word, BLANK);

    if (end == word)
        return NULL;
    *rest = *end ? end + 1 : end;
    *end = '\0';
    return word;
}

static ps_status read_index(const struct libsvm *r, const char *text, uint64_t before,
                            uint64_t *out)
{
    bool digits = *text && text[strspn(text, "0123456789")] == '\0';
    char shown[64];

    errno = 0;
    *out = digits ? strtoull(text, NULL, 10) : 0;
    if (errno || *out < 1 || *out > INDEX_MAX)
        return ps_fail(
            PS_ERR_DATA, "data %s:%" PRIu64 ": index \"%s\", expected 1 to %" PRIu64,
            r->file.name, r->file.line, psw_file_show(text, shown), INDEX_MAX);
    if (*out <= before)
        return ps_fail(PS_ERR_DATA,
                       "data %s:%" PRIu64 ": index %" PRIu64 " after %" PRIu64
                       ", expected ascending indices",
                       r->file.name, r->file.line, *out, before);
    return PS_OK;
}

static ps_status read_pair(struct libsvm *r, char *word, uint64_t *index)
{
    struct ps_data *d = r->data;
    char           *colon = strchr(word, ':'), shown[64];
    uint64_t        before = *index;
    float           value;
    ps_status       st;

    if (!colon)
        return ps_fail(PS_ERR_DATA, "data %s:%" PRIu64 ": \"%s\", expected index:value",
                       r->file.name, r->file.line, psw_file_show(word, shown));
    *colon = '\0';
    st = read_index(r, word, before, index);
    if (!st)
        st = psw_file_float(&r->file, "value of index", *index, colon + 1, &value);
    if (!st)
        st = psw_file_grow(&r->file, &d->indices, sizeof(*d->indices), &r->indices_room,
                           r->used + 1);
    if (!st)
        st = psw_file_grow(&r->file, &d->values, sizeof(*d->values), &r->values_room,
                           r->used + 1);
    if (st)
        return st;
    d->indices[r->used] = *index - 1;
    d->values[r->used] = value;
    r->used++;
    return PS_OK;
}

/* One sample behind the others; `used` and the arrays grow, `n` does not. */
static ps_status read_sample(struct libsvm *r, const char *label, char *rest,
                             uint64_t *highest)
{
    struct ps_data *d = r->data;
    char           *word;
    ps_status       st = psw_data_label(d, &r->file, &r->targets_room, label);

    if (!st)
        st = psw_file_grow(&r->file, &d->rows, sizeof(*d->rows), &r->rows_room,
                           d->n + 2);
    *highest = 0;
    while (!st && (word = next_word(&rest)))
        st = read_pair(r, word, highest);
    return st;
}

static ps_status read_samples(struct libsvm *r, uint64_t limit)
{
    struct ps_data *d = r->data;
    char           *line, *label;
    uint64_t        highest;
    ps_status       st;

    while (!(st = psw_file_line(&r->file, &line)) && line) {
        line[strcspn(line, "#")] = '\0';
        label = next_word(&line);
        if (!label)
            continue;
        st = read_sample(r, label, line, &highest);
        if (st)
            return st;
        if (limit && d->n == limit) {
            r->used = d->rows[d->n]; /* looked at, and forgotten */
            continue;
        }
        if (d->n == 0)
            d->rows[0] = 0;
        d->rows[++d->n] = r->used;
        if (highest > d->n_features)
            d->n_features = highest;
    }
    return st;
}

ps_status ps_data_open_libsvm(ps_data **out, const char *file, uint64_t limit)
{
    struct libsvm r = { 0 };
    ps_status     st;

    if (!out || !file)
        return ps_fail(PS_ERR_BAD_ARG, "data: the name of a file is needed");
    r.data = calloc(1, sizeof(*r.data));
    if (!r.data)
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", file);
    st = psw_file_open_text(&r.file, file);
    if (!st)
        st = read_samples(&r, limit);
    if (!st)
        st = psw_data_finish(r.data, &r.file, r.data->values, r.used);
    psw_file_close(&r.file);
    if (st)
        ps_data_close(&r.data);
    else
        *out = r.data;
    return st;
}
