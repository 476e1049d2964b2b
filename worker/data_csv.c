/*
 * data_csv.c - dense samples: a line each, fields of numbers with commas between them.
 *
 * Every line is looked at, whatever `limit` says, so that a damaged file is found on
 * the first day.
 */
#include "worker/data.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX (1u << 20)

struct csv {
    struct data_file file;
    struct ps_data  *data;
    int              label_column; /* as the caller said it */
    uint32_t         n_fields;     /* of every line; 0: no line was read */
    uint32_t         label;        /* the column, from 0 */
    uint64_t         dense_room, targets_room;
};

/* Spaces around a field are no part of it. */
static char *trimmed(char *field)
{
    char *end;

    field += strspn(field, " \t");
    for (end = field + strlen(field); end > field && strchr(" \t", end[-1]); end--)
        ;
    *end = '\0';
    return field;
}

/* The first line says how many fields a line has. */
static ps_status learn_fields(struct csv *r, const char *line)
{
    int64_t column = r->label_column;

    r->n_fields = 1;
    for (; *line; line++)
        r->n_fields += *line == ',';
    if (r->n_fields < 2 || r->n_fields > FIELDS_MAX)
        return ps_fail(PS_ERR_DATA,
                       "data %s:%" PRIu64 ": %u fields, expected 2 to %u with commas "
                       "between them",
                       r->file.name, r->file.line, r->n_fields, FIELDS_MAX);
    if (column < 0)
        column += r->n_fields;
    if (column < 0 || column >= r->n_fields)
        return ps_fail(PS_ERR_DATA,
                       "data %s:%" PRIu64 ": %u fields, and the label is to be in "
                       "column %d, expected %d to %u",
                       r->file.name, r->file.line, r->n_fields, r->label_column,
                       -(int)r->n_fields, r->n_fields - 1);
    r->label = (uint32_t)column;
    r->data->n_features = r->n_fields - 1;
    return PS_OK;
}

static ps_status check_line(struct csv *r, const char *line)
{
    uint32_t n = 1;

    if (strchr(line, '"'))
        return ps_fail(PS_ERR_DATA,
                       "data %s:%" PRIu64 ": a quoted field, expected fields without "
                       "quotation marks",
                       r->file.name, r->file.line);
    if (r->n_fields == 0)
        return learn_fields(r, line);
    for (const char *p = line; *p; p++)
        n += *p == ',';
    if (n != r->n_fields)
        return ps_fail(PS_ERR_DATA, "data %s:%" PRIu64 ": %u fields, expected %u",
                       r->file.name, r->file.line, n, r->n_fields);
    return PS_OK;
}

/* One sample behind the others; the arrays grow, `n` does not. */
static ps_status read_sample(struct csv *r, char *line)
{
    struct ps_data *d = r->data;
    uint64_t        at = d->n * d->n_features;
    ps_status st = psw_file_grow(&r->file, &d->dense, sizeof(*d->dense), &r->dense_room,
                                 at + d->n_features);

    for (uint32_t i = 0; !st && i < r->n_fields; i++) {
        char *field = trimmed(strsep(&line, ","));

        if (i == r->label)
            st = psw_data_label(d, &r->file, &r->targets_room, field);
        else
            st = psw_file_float(&r->file, "field", i + 1, field, &d->dense[at++]);
    }
    return st;
}

static ps_status read_samples(struct csv *r, int header, uint64_t limit)
{
    struct ps_data *d = r->data;
    char           *line;
    ps_status       st;

    while (!(st = psw_file_line(&r->file, &line)) && line) {
        if (!*trimmed(line))
            continue;
        st = check_line(r, line);
        if (!st && !header)
            st = read_sample(r, line);
        if (st)
            return st;
        if (!header && (!limit || d->n < limit))
            d->n++;
        header = 0;
    }
    return st;
}

ps_status ps_data_open_csv(ps_data **out, const char *file, int label_column,
                           int header, uint64_t limit)
{
    struct csv r = { .label_column = label_column };
    ps_status  st;

    if (!out || !file)
        return ps_fail(PS_ERR_BAD_ARG, "data: the name of a file is needed");
    r.data = calloc(1, sizeof(*r.data));
    if (!r.data)
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", file);
    st = psw_file_open_text(&r.file, file);
    if (!st)
        st = read_samples(&r, header, limit);
    if (!st)
        st = psw_data_finish(r.data, &r.file, r.data->dense,
                             r.data->n * r.data->n_features);
    psw_file_close(&r.file);
    if (st)
        ps_data_close(&r.data);
    else
        *out = r.data;
    return st;
}
