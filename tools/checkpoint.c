/* checkpoint.c - see checkpoint.h. */
#include "tools/checkpoint.h"
#include "server/snapshot/vault.h"
#include "tools/ask.h"
#include "tools/table.h"
#include "tools/tensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_STATE "/var/lib/psd"
#define CREATE_MS 60000 /* the next clock has to come, and the disks to be ready */

/* A part, and in which folder it is. */
struct found {
    struct psd_vault_entry entry;
    struct psd_vault      *vault;
};

struct search {
    const struct checkpoint_options *options;
    const char *const               *jobs; /* only these; none: all */
    uint32_t                         n_jobs;
    uint32_t                         n_vaults;
    struct psd_vault                *vaults[CHECKPOINT_STATES_MAX];
    struct psd_vault                *vault; /* the one that is looked through */
    size_t                           n, room;
    struct found                    *parts; /* of one snapshot beside each other */
};

/* ---- what is there --------------------------------------------------------------- */

static bool is_wanted(const struct search *s, const char *job)
{
    for (uint32_t i = 0; i < s->n_jobs; i++)
        if (strcmp(s->jobs[i], job) == 0)
            return true;
    return s->n_jobs == 0;
}

static ps_status take(void *ctx, const struct psd_vault_entry *entry)
{
    struct search *s = ctx;

    if (!is_wanted(s, entry->job))
        return PS_OK;
    if (s->n == s->room) {
        size_t        room = s->room ? 2 * s->room : 64;
        struct found *grown = realloc(s->parts, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "no memory for %zu parts", room);
        s->parts = grown;
        s->room = room;
    }
    s->parts[s->n++] = (struct found){ .entry = *entry, .vault = s->vault };
    return PS_OK;
}

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* By job and run; of one run the newest first, of one snapshot by part. */
static int by_age(const void *a, const void *b)
{
    const struct psd_vault_entry *x = &((const struct found *)a)->entry;
    const struct psd_vault_entry *y = &((const struct found *)b)->entry;
    int                           order = strcmp(x->job, y->job);

    if (!order)
        order = compare(x->run, y->run);
    if (!order)
        order = compare(y->part.life, x->part.life);
    if (!order)
        order = compare(y->part.set, x->part.set);
    if (!order)
        order = compare(x->part.n_shards, y->part.n_shards);
    return order ? order : compare(x->part.index, y->part.index);
}

static ps_status open_states(struct search *s)
{
    const uint32_t n = s->options->n_states ? s->options->n_states : 1;
    ps_status      st = PS_OK;

    for (uint32_t i = 0; !st && i < n; i++) {
        struct psd_vault_options o = {
            .folder = s->options->n_states ? s->options->states[i] : DEFAULT_STATE,
            .read_only = true,
        };

        st = psd_vault_open(&s->vaults[i], &o);
        if (st)
            break;
        s->n_vaults++;
        s->vault = s->vaults[i];
        st = psd_vault_each(s->vault, take, s);
    }
    if (!st && s->n > 0)
        qsort(s->parts, s->n, sizeof(*s->parts), by_age);
    return st;
}

static ps_status check_jobs(const struct search *s)
{
    for (uint32_t i = 0; i < s->n_jobs; i++) {
        size_t k = 0;

        while (k < s->n && strcmp(s->parts[k].entry.job, s->jobs[i]) != 0)
            k++;
        if (k == s->n)
            return ps_fail(PS_ERR_UNKNOWN, "job %s: no snapshots of it there",
                           s->jobs[i]);
    }
    return PS_OK;
}

static void close_states(struct search *s)
{
    for (uint32_t i = 0; i < s->n_vaults; i++)
        psd_vault_close(&s->vaults[i]);
    free(s->parts);
}

/* ---- list ------------------------------------------------------------------------ */

static bool is_same_set(const struct psd_vault_entry *a,
                        const struct psd_vault_entry *b)
{
    return strcmp(a->job, b->job) == 0 && a->run == b->run &&
           a->part.life == b->part.life && a->part.set == b->part.set &&
           a->part.n_shards == b->part.n_shards;
}

static bool is_same_part(const struct psd_vault_entry *a,
                         const struct psd_vault_entry *b)
{
    return is_same_set(a, b) && a->part.index == b->part.index;
}

/* Behind the last part of the snapshot whose first one stands at `from`; *n: how many
 * parts of it there are. */
static size_t end_of_set(const struct search *s, size_t from, uint32_t *n)
{
    size_t end = from + 1;

    *n = 1;
    while (end < s->n && is_same_set(&s->parts[from].entry, &s->parts[end].entry)) {
        *n += !is_same_part(&s->parts[end - 1].entry, &s->parts[end].entry);
        end++;
    }
    return end;
}

static json_t *describe(const struct psd_vault_entry *e)
{
    char run[17];

    snprintf(run, sizeof(run), "%016jx", (uintmax_t)e->run);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:I, s:f}", "job", e->job, "run",
                     run, "strategy", ps_strategy_name(e->strategy), "life",
                     (json_int_t)e->part.life, "set", (json_int_t)e->part.set,
                     "n_shards", (int)e->part.n_shards, "clock", (json_int_t)e->clock,
                     "age_seconds", (double)time(NULL) - (double)e->saved_at);
}

static json_t *describe_set(const struct found *parts, size_t n, uint32_t n_different)
{
    json_t    *row = describe(&parts[0].entry), *files = json_array();
    char       text[32];
    json_int_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        const struct psd_vault_entry *e = &parts[i].entry;

        bytes += (json_int_t)e->bytes;
        json_array_append_new(files, json_pack("{s:i, s:s, s:I, s:I, s:I}", "part",
                                               (int)e->part.index, "file", e->file,
                                               "bytes", (json_int_t)e->bytes, "version",
                                               (json_int_t)e->version, "saved_at",
                                               (json_int_t)e->saved_at));
    }
    snprintf(text, sizeof(text), "%u of %u", n_different, parts[0].entry.part.n_shards);
    json_object_set_new(row, "parts", json_string(text));
    json_object_set_new(row, "complete",
                        json_boolean(n_different == parts[0].entry.part.n_shards));
    json_object_set_new(row, "bytes", json_integer(bytes));
    json_object_set_new(row, "files", files);
    return row;
}

static const struct column set_columns[] = {
    { "JOB", "job", 's' },     { "RUN", "run", 's' },         { "LIFE", "life", 'n' },
    { "SET", "set", 'n' },     { "PARTS", "parts", 's' },     { "CLOCK", "clock", 'n' },
    { "BYTES", "bytes", 'b' }, { "AGE", "age_seconds", 't' },
};

static const struct column part_columns[] = {
    { "JOB", "job", 's' },   { "RUN", "run", 's' },   { "LIFE", "life", 'n' },
    { "SET", "set", 'n' },   { "PART", "part", 's' }, { "RESULT", "result", 's' },
    { "FILE", "file", 's' },
};

/* Takes the rows. */
static ps_status show(const struct checkpoint_options *o, const char *key, json_t *rows,
                      const struct column *columns, size_t n_columns)
{
    json_t *all = json_pack("{s:i, s:o}", "schema_version", 1, key, rows);

    if (o->json) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        table_print(rows, columns, n_columns);
    }
    json_decref(all);
    return PS_OK;
}

#define SHOW(o, key, rows, columns)                                                    \
    show(o, key, rows, columns, sizeof(columns) / sizeof(*(columns)))

static ps_status list(struct search *s)
{
    json_t *rows = json_array();
    size_t  end;

    for (size_t i = 0; i < s->n; i = end) {
        uint32_t n;

        end = end_of_set(s, i, &n);
        json_array_append_new(rows, describe_set(&s->parts[i], end - i, n));
    }
    return SHOW(s->options, "snapshots", rows, set_columns);
}

/* ---- verify ---------------------------------------------------------------------- */

static json_t *verify_part(const struct found *f, ps_status *st)
{
    const struct psd_vault_entry *e = &f->entry;
    json_t                       *row = describe(e);
    char                          part[32];
    ps_status                     one = psd_vault_verify(f->vault, e);

    snprintf(part, sizeof(part), "%u of %u", e->part.index, e->part.n_shards);
    json_object_set_new(row, "part", json_string(part));
    json_object_set_new(row, "file", json_string(e->file));
    json_object_set_new(row, "result", json_string(one ? "damaged" : "ok"));
    if (one) {
        fprintf(stderr, "psctl: %s\n", ps_log_last_error());
        json_object_set_new(row, "why", json_string(ps_log_last_error()));
        *st = one;
    }
    return row;
}

static ps_status verify(struct search *s)
{
    json_t   *rows = json_array();
    size_t    bad = 0;
    ps_status st = PS_OK, shown;

    for (size_t i = 0; i < s->n; i++) {
        ps_status one = PS_OK;

        json_array_append_new(rows, verify_part(&s->parts[i], &one));
        bad += one != PS_OK;
        st = one ? one : st;
    }
    shown = SHOW(s->options, "parts", rows, part_columns);
    if (st)
        st = ps_fail(st, "%zu of %zu parts are damaged", bad, s->n);
    return st ? st : shown;
}

/* ---- export ---------------------------------------------------------------------- */

/* The parts to put together. */
struct choice {
    uint32_t            n; /* shards */
    const struct found *parts[PS_SHARDS_MAX];
};

/* The run that was asked for, or the one that was saved last. */
static uint64_t choose_run(const struct search *s)
{
    uint64_t run = 0, newest = 0;

    if (s->options->has_run)
        return s->options->run;
    for (size_t i = 0; i < s->n; i++)
        if (s->parts[i].entry.saved_at >= newest) {
            newest = s->parts[i].entry.saved_at;
            run = s->parts[i].entry.run;
        }
    return run;
}

static bool in_step(const struct psd_vault_entry *e)
{
    return e->strategy == PS_BSP || e->strategy == PS_BACKUP;
}

/* The newest snapshot of the run that has all its parts, or the one asked for. */
static bool choose_set(const struct search *s, uint64_t run, struct choice *c)
{
    size_t end;

    for (size_t i = 0; i < s->n; i = end) {
        const struct psd_vault_entry *e = &s->parts[i].entry;
        uint32_t                      n;

        end = end_of_set(s, i, &n);
        if (e->run != run || n != e->part.n_shards ||
            (s->options->has_set && e->part.set != s->options->set))
            continue;
        c->n = n;
        for (size_t k = i; k < end; k++)
            c->parts[s->parts[k].entry.part.index] = &s->parts[k];
        return true;
    }
    return false;
}

/* The newest of each part, as many as the newest of all says there are. */
static bool choose_newest(const struct search *s, uint64_t run, struct choice *c)
{
    const struct psd_vault_entry *first = NULL;
    uint32_t                      n = 0;

    for (size_t i = 0; i < s->n; i++) {
        const struct psd_vault_entry *e = &s->parts[i].entry;

        if (e->run != run)
            continue;
        if (!first)
            first = e;
        if (e->part.n_shards != first->part.n_shards || c->parts[e->part.index])
            continue;
        c->parts[e->part.index] = &s->parts[i];
        n++;
    }
    c->n = n;
    return first && n == first->part.n_shards;
}

static ps_status choose(const struct search *s, struct choice *c)
{
    const uint64_t run = choose_run(s);
    size_t         i = 0;
    bool           good;

    *c = (struct choice){ 0 };
    while (i < s->n && s->parts[i].entry.run != run)
        i++;
    if (i == s->n)
        return ps_fail(PS_ERR_UNKNOWN, "job %s: no run %016jx there", s->jobs[0],
                       (uintmax_t)run);
    good = in_step(&s->parts[i].entry) || s->options->has_set
               ? choose_set(s, run, c)
               : choose_newest(s, run, c);
    if (good)
        return PS_OK;
    if (s->options->has_set)
        return ps_fail(PS_ERR_UNKNOWN,
                       "job %s: snapshot %ju is not there with all parts", s->jobs[0],
                       (uintmax_t)s->options->set);
    return ps_fail(PS_ERR_UNKNOWN, "job %s: no snapshot is there with all parts",
                   s->jobs[0]);
}

static ps_status write_tensors(const struct search *s, const struct choice *c,
                               const struct tensors *t)
{
    const struct checkpoint_options *o = s->options;
    const struct psd_vault_entry    *e = &c->parts[0]->entry;
    char                             run[17], set[21], clock[21];
    json_t                          *about;
    ps_status                        st;

    if (o->format && strcmp(o->format, "npy") == 0)
        return tensors_write_npy(t, o->output);
    snprintf(run, sizeof(run), "%016jx", (uintmax_t)e->run);
    snprintf(set, sizeof(set), "%ju", (uintmax_t)e->part.set);
    snprintf(clock, sizeof(clock), "%ju", (uintmax_t)e->clock);
    about = json_pack("{s:s, s:s, s:s, s:s, s:s}", "format", "pt", "job", e->job, "run",
                      run, "set", set, "clock", clock);
    st = tensors_write_safetensors(t, about, o->output);
    json_decref(about);
    return st;
}

static ps_status tell_exported(const struct search *s, const struct choice *c,
                               const struct tensors *t)
{
    const struct psd_vault_entry *e = &c->parts[0]->entry;
    json_t                       *row;

    if (!s->options->json)
        return PS_OK;
    row = describe(e);
    json_object_set_new(row, "schema_version", json_integer(1));
    json_object_set_new(row, "arrays", json_integer((json_int_t)t->n));
    json_object_set_new(row, "output", json_string(s->options->output));
    json_dumpf(row, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(row);
    return PS_OK;
}

static ps_status export(struct search *s)
{
    struct psd_image *images[PS_SHARDS_MAX] = { 0 };
    struct tensors    t = { 0 };
    struct choice     c;
    ps_status         st = choose(s, &c);

    for (uint32_t i = 0; !st && i < c.n; i++)
        st = psd_vault_read(c.parts[i]->vault, &c.parts[i]->entry, &images[i]);
    if (!st)
        st = tensors_of(images, c.n, &t);
    for (uint32_t i = 0; i < PS_SHARDS_MAX; i++)
        psd_image_free(&images[i]);
    if (!st)
        st = write_tensors(s, &c, &t);
    if (!st)
        st = tell_exported(s, &c, &t);
    tensors_free(&t);
    return st;
}

/* ---- create ---------------------------------------------------------------------- */

static ps_status create(const char *job, const struct checkpoint_options *o)
{
    struct asker *asker = NULL;
    uint64_t      clock;
    ps_status     st = asker_open(&asker, o->coordinator, o->token);

    if (!st)
        st = asker_checkpoint(asker, job, o->timeout_ms ? o->timeout_ms : CREATE_MS,
                              &clock);
    asker_close(&asker);
    if (st)
        return st;
    if (o->json) {
        json_t *told = json_pack("{s:i, s:s, s:I}", "schema_version", 1, "job", job,
                                 "clock", (json_int_t)clock);

        json_dumpf(told, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(told);
    } else {
        printf("%s: a snapshot of clock %ju\n", job, (uintmax_t)clock);
    }
    return PS_OK;
}

/* ---- what was asked -------------------------------------------------------------- */

static ps_status check_words(const char *what, uint32_t n_jobs,
                             const struct checkpoint_options *o)
{
    const bool exports = strcmp(what, "export") == 0,
               makes = strcmp(what, "create") == 0;

    if ((exports || makes) && n_jobs != 1)
        return ps_fail(PS_ERR_BAD_ARG, "checkpoint %s: expected the name of one job",
                       what);
    if (exports && !o->output)
        return ps_fail(PS_ERR_BAD_ARG, "checkpoint export: expected -o FILE");
    if (!exports && (o->output || o->format || o->has_set || o->has_run))
        return ps_fail(PS_ERR_BAD_ARG,
                       "checkpoint %s: --output, --format, --set and "
                       "--run are for checkpoint export",
                       what);
    if (o->format && strcmp(o->format, "npy") != 0 &&
        strcmp(o->format, "safetensors") != 0)
        return ps_fail(PS_ERR_BAD_ARG, "--format %s: expected safetensors or npy",
                       o->format);
    if (makes && o->n_states)
        return ps_fail(PS_ERR_BAD_ARG,
                       "checkpoint create: it asks the coordinator, and "
                       "no --state");
    return PS_OK;
}

ps_status checkpoint_run(const char *const *words, uint32_t n,
                         const struct checkpoint_options *o)
{
    static const struct {
        const char *word;
        ps_status (*run)(struct search *s);
    } commands[] = {
        { "list", list }, { "verify", verify }, { "export", export }, { "create", NULL }
    };
    struct search s = { .options = o };
    size_t        i = 0;
    ps_status     st;

    while (i < 4 && (n == 0 || strcmp(words[0], commands[i].word) != 0))
        i++;
    if (i == 4)
        return ps_fail(PS_ERR_BAD_ARG,
                       "checkpoint: expected list, verify, export or create");
    s.jobs = words + 1;
    s.n_jobs = n - 1;
    st = check_words(words[0], s.n_jobs, o);
    if (!st && !commands[i].run)
        return create(words[1], o);
    if (!st)
        st = open_states(&s);
    if (!st)
        st = check_jobs(&s);
    if (!st)
        st = commands[i].run(&s);
    close_states(&s);
    return st;
}
