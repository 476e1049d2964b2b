/* tensors_write.c - arrays in the files of others; see tensors.h. */
#include "tools/tensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file under a name of its own until it is whole. */
struct draft {
    const char *path;
    char       *draft;
    FILE       *f;
};

static ps_status draft_open(struct draft *d, const char *path)
{
    *d = (struct draft){ .path = path };
    if (asprintf(&d->draft, "%s.%ld", path, (long)getpid()) < 0)
        return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for its name", path);
    d->f = fopen(d->draft, "we");
    if (d->f)
        return PS_OK;
    free(d->draft);
    return ps_fail(PS_ERR_SYSTEM, "%s: cannot be made: %m", path);
}

static ps_status draft_close(struct draft *d)
{
    bool      bad = ferror(d->f);
    ps_status st = PS_OK;

    if (fclose(d->f) || bad || rename(d->draft, d->path)) {
        st = ps_fail(PS_ERR_SYSTEM, "%s: cannot be written: %m", d->path);
        unlink(d->draft);
    }
    free(d->draft);
    return st;
}

static void put(struct draft *d, const void *bytes, size_t n)
{
    (void)!fwrite(bytes, 1, n, d->f); /* ferror tells */
}

/* ---- safetensors ----------------------------------------------------------------- */

static json_t *describe(const struct tensor *t, size_t at)
{
    json_t *shape = json_array();

    for (uint32_t i = 0; i < t->n_dims; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->dims[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->safetensors, "shape", shape,
                     "data_offsets", (json_int_t)at, (json_int_t)(at + t->bytes));
}

/* Numbers of 8 bytes lie first, so that all are aligned. */
static bool is_first(const struct tensor *t)
{
    return t->safetensors[1] == '6';
}

static json_t *header_of(const struct tensors *t, const json_t *about)
{
    json_t *header = json_object();
    size_t  at = 0;

    json_object_set_new(header, "__metadata__", json_deep_copy(about));
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < t->n; i++)
            if (is_first(&t->list[i]) == (round == 0)) {
                json_object_set_new(header, t->list[i].name, describe(&t->list[i], at));
                at += t->list[i].bytes;
            }
    return header;
}

static void put_arrays(struct draft *d, const struct tensors *t)
{
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < t->n; i++)
            if (is_first(&t->list[i]) == (round == 0))
                put(d, t->list[i].data, t->list[i].bytes);
}

ps_status tensors_write_safetensors(const struct tensors *t, const json_t *about,
                                    const char *file)
{
    json_t      *header = header_of(t, about);
    char        *text = json_dumps(header, JSON_COMPACT);
    struct draft d;
    uint64_t     bytes;
    ps_status    st = PS_OK;

    if (!text || json_object_size(header) != t->n + 1)
        st = ps_fail(text ? PS_ERR_MISMATCH : PS_ERR_NO_MEMORY,
                     "%s: two arrays would have the same name, or memory is out", file);
    if (!st)
        st = draft_open(&d, file);
    if (!st) {
        bytes = (strlen(text) + 7) / 8 * 8; /* blanks, so that numbers are aligned */
        put(&d, &bytes, sizeof(bytes));
        fprintf(d.f, "%-*s", (int)bytes, text);
        put_arrays(&d, t);
        st = draft_close(&d);
    }
    free(text);
    json_decref(header);
    return st;
}

/* ---- npy ------------------------------------------------------------------------- */

#define NPY_HEAD_BYTES 128 /* magic, length and a header of any of our shapes */

static ps_status write_npy(const struct tensor *t, const char *file)
{
    char         shape[64], head[NPY_HEAD_BYTES + 1];
    struct draft d;
    ps_status    st;

    if (t->n_dims == 1)
        snprintf(shape, sizeof(shape), "(%ju,)", (uintmax_t)t->dims[0]);
    else
        snprintf(shape, sizeof(shape), "(%ju, %ju)", (uintmax_t)t->dims[0],
                 (uintmax_t)t->dims[1]);
    snprintf(head, sizeof(head),
             "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", t->npy, shape);
    st = draft_open(&d, file);
    if (st)
        return st;
    put(&d, "\x93NUMPY\x01\x00", 8);
    put(&d, &(const uint16_t){ NPY_HEAD_BYTES - 10 }, 2);
    fprintf(d.f, "%-*s\n", NPY_HEAD_BYTES - 11, head);
    put(&d, t->data, t->bytes);
    return draft_close(&d);
}

ps_status tensors_write_npy(const struct tensors *t, const char *folder)
{
    ps_status st = PS_OK;

    if (mkdir(folder, 0777) && errno != EEXIST)
        return ps_fail(PS_ERR_SYSTEM, "%s: cannot be made: %m", folder);
    for (size_t i = 0; !st && i < t->n; i++) {
        char *file;

        if (asprintf(&file, "%s/%s.npy", folder, t->list[i].name) < 0)
            return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for a name", folder);
        st = write_npy(&t->list[i], file);
        free(file);
    }
    return st;
}
