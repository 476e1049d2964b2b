/*
 * data_open.c - the data set that an experiment names: which reader, which files, which
 * parts.
 */
#include <ps/worker.h>

#include "common/base/status.h"

#include <string.h>

static ps_status named(const char *key, const char *set, const char *file)
{
    if (file && *file)
        return PS_OK;
    return ps_fail(PS_ERR_CONFIG, "data.%s_%s: the experiment names no file", set, key);
}

static ps_status open_files(ps_data **out, const ps_train_settings *s, int test)
{
    const char *set = test ? "test" : "train";
    const char *features = test ? s->test_features : s->train_features;
    const char *labels = test ? s->test_labels : s->train_labels;
    uint64_t    limit = test ? s->test_limit : s->limit;
    ps_status   st = named("features", set, features);

    if (st)
        return st;
    if (strcmp(s->data_format, "libsvm") == 0)
        return ps_data_open_libsvm(out, features, limit);
    if (strcmp(s->data_format, "csv") == 0)
        return ps_data_open_csv(out, features, s->label_column, s->header, limit);
    if (strcmp(s->data_format, "idx") != 0)
        return ps_fail(
            PS_ERR_CONFIG,
            "data.format: %s is no data set of samples, expected idx, libsvm "
            "or csv",
            s->data_format);
    st = named("labels", set, labels);
    return st ? st : ps_data_open_idx(out, features, labels, limit);
}

ps_status ps_data_open(ps_data **out, const ps_settings *settings, int test)
{
    ps_train_settings s;
    ps_data          *data;
    ps_status         st;

    if (!out || !settings)
        return ps_fail(PS_ERR_BAD_ARG,
                       "data: the settings of an experiment are needed");
    ps_settings_train(settings, &s);
    st = open_files(&data, &s, test);
    if (st)
        return st;
    if (!test)
        st = ps_data_partition(data, s.partition);
    if (st)
        ps_data_close(&data);
    else
        *out = data;
    return st;
}
