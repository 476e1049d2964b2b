/* compare.c - see compare.h. */
#include "tools/compare.h"

#include "common/base/status.h"
#include "tools/folder.h"
#include "tools/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static const struct column columns[] = {
    { "RUN", "name", 's' },
    { "STRATEGY", "strategy", 's' },
    { "WORKERS", "workers", 'n' },
    { "EPOCHS", "epochs", 'n' },
    { "ACCURACY", "test_accuracy", 'f' },
    { "LOSS", "final_loss", 'f' },
    { "SAMPLES/S", "samples_per_second", 'r' },
    { "SECONDS", "wall_seconds", 'd' },
    { "REACHED", "seconds_to_accuracy", 'd' },
    { "STALENESS", "staleness_mean", 'd' },
    { "MAX", "staleness_max", 'n' },
    { "LATE", "late_dropped", 'n' },
    { "PUSHED", "bytes_pushed", 'b' },
    { "FOLDER", "folder", 's' },
};

/* What a row takes from a summary as it stands there. */
static const char *const keys[] = {
    "name",
    "strategy",
    "workers",
    "epochs",
    "test_accuracy",
    "final_loss",
    "samples_per_second",
    "wall_seconds",
    "seconds_to_accuracy",
    "late_dropped",
    "bytes_pushed",
    "failure",
};

static void copy(json_t *row, const char *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);

    json_object_set_new(row, to, value ? json_incref(value) : json_null());
}

static json_t *row_of(const json_t *summary, const char *folder)
{
    const json_t *staleness = json_object_get(summary, "staleness");
    json_t       *row = json_object();

    json_object_set_new(row, "folder", json_string(folder));
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        copy(row, keys[i], summary, keys[i]);
    copy(row, "staleness_mean", staleness, "mean");
    copy(row, "staleness_max", staleness, "max");
    return row;
}

static ps_status read_summary(const char *folder, json_t **out)
{
    char        *path = folder_path(folder, "summary.json");
    FILE        *f = path ? fopen(path, "re") : NULL;
    json_error_t why;
    ps_status    st = PS_OK;

    *out = f ? json_loadf(f, 0, &why) : NULL;
    if (!path)
        st = ps_fail(PS_ERR_NO_MEMORY, "no memory");
    else if (!f)
        st = ps_fail(PS_ERR_DATA, "%s: %s, expected the summary of a run", path,
                     strerror(errno));
    else if (!*out)
        st = ps_fail(PS_ERR_DATA, "%s:%d: %s", path, why.line, why.text);
    else if (json_integer_value(json_object_get(*out, "schema_version")) != 1 ||
             !json_is_string(json_object_get(*out, "name")))
        st = ps_fail(PS_ERR_DATA, "%s: no summary of a run, as psexp(1) describes it",
                     path);
    if (st)
        json_decref(*out);
    if (f)
        fclose(f);
    free(path);
    return st;
}

static ps_status read_all(char *const *folders, size_t n, json_t *rows)
{
    ps_status st = PS_OK;

    for (size_t i = 0; !st && i < n; i++) {
        json_t *summary;

        st = read_summary(folders[i], &summary);
        if (st)
            break;
        json_array_append_new(rows, row_of(summary, folders[i]));
        json_decref(summary);
    }
    return st;
}

static void print_json(json_t *rows)
{
    json_t *o = json_pack("{s:i, s:O}", "schema_version", 1, "runs", rows);

    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(o);
}

int compare_runs(char *const *folders, size_t n, bool json)
{
    json_t   *rows = json_array();
    ps_status st = read_all(folders, n, rows);

    if (st)
        fprintf(stderr, "psexp: %s\n", ps_log_last_error());
    else if (json)
        print_json(rows);
    else
        TABLE(rows, columns);
    json_decref(rows);
    if (st)
        return ps_status_exit_code(st);
    return fflush(stdout) == 0 ? 0 : EX_IOERR;
}
