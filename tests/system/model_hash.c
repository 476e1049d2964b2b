/*
 * model_hash.c - reads what psctl checkpoint export wrote, and prints the hash that
 * ps_model_hash gives of such a model.
 *
 *     model_hash FILE          safetensors
 *     model_hash FOLDER FILE   npy: the values of FOLDER, of the arrays that FILE names
 */
#include <jansson.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static crypto_generichash_state hash;

static void die(const char *what)
{
    fprintf(stderr, "model_hash: %s\n", what);
    exit(65);
}

static uint8_t *read_file(const char *path, size_t *bytes)
{
    FILE    *f = fopen(path, "r");
    uint8_t *all;

    if (!f)
        die(path);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    all = malloc(*bytes + 1);
    if (!all || fread(all, 1, *bytes, f) != *bytes)
        die(path);
    all[*bytes] = 0;
    fclose(f);
    return all;
}

/* The numbers of an array of a safetensors file. */
static const uint8_t *array_of(const json_t *one, const uint8_t *data, size_t room,
                               size_t *bytes)
{
    const json_t *offsets = json_object_get(one, "data_offsets");
    json_int_t    from = json_integer_value(json_array_get(offsets, 0));
    json_int_t    to = json_integer_value(json_array_get(offsets, 1));

    if (from < 0 || to < from || (size_t)to > room)
        die("an array lies outside the file");
    *bytes = (size_t)(to - from);
    return data + from;
}

/* Of npy: the file, whose numbers begin at *head, behind a header that has to say the
 * type and the shape.  The caller frees it. */
static uint8_t *npy_of(const char *folder, const char *name, const char *descr,
                       uint64_t rows, uint64_t cols, size_t bytes, size_t *head)
{
    char     path[512], text[128];
    size_t   n;
    uint8_t *file;

    snprintf(path, sizeof(path), "%s/%s.npy", folder, name);
    file = read_file(path, &n);
    if (n < 10 || memcmp(file, "\x93NUMPY\x01\x00", 8) != 0)
        die("not an npy file");
    *head = 10 + (size_t)file[8] + 256 * (size_t)file[9];
    snprintf(text, sizeof(text),
             "{'descr': '%s', 'fortran_order': False, 'shape': (%ju, %ju), }", descr,
             (uintmax_t)rows, (uintmax_t)cols);
    if (*head % 64 != 0 || n != *head + bytes || file[*head - 1] != '\n' ||
        memcmp(file + 10, text, strlen(text)) != 0)
        die("not the npy file that was expected");
    return file;
}

static void update(const void *bytes, size_t n)
{
    crypto_generichash_update(&hash, bytes, n);
}

/* Name with its NUL, type, rows, cols. */
static void update_head(const char *name, const char *dtype, uint64_t rows,
                        uint64_t cols)
{
    uint32_t type = !strcmp(dtype, "F32") ? 1 : !strcmp(dtype, "F64") ? 2 : 3;

    update(name, strlen(name) + 1);
    update(&type, sizeof(type));
    update(&rows, sizeof(rows));
    update(&cols, sizeof(cols));
}

static uint64_t dim_of(const json_t *one, size_t i)
{
    return (uint64_t)json_integer_value(
        json_array_get(json_object_get(one, "shape"), i));
}

static void update_dense(const char *name, const json_t *one, const uint8_t *data,
                         size_t room, const char *folder)
{
    const char    *dtype = json_string_value(json_object_get(one, "dtype"));
    const char    *descr = !strcmp(dtype, "F32")   ? "<f4"
                           : !strcmp(dtype, "F64") ? "<f8"
                                                   : "<i8";
    size_t         bytes, head = 0;
    const uint8_t *values = array_of(one, data, room, &bytes);
    uint8_t       *file = NULL;

    if (folder)
        file =
            npy_of(folder, name, descr, dim_of(one, 0), dim_of(one, 1), bytes, &head);
    update_head(name, dtype, dim_of(one, 0), dim_of(one, 1));
    update(file ? file + head : values, bytes);
    free(file);
}

static void update_sparse(const char *name, const json_t *keys, const json_t *values,
                          const uint8_t *data, size_t room)
{
    size_t         key_bytes, bytes, n = dim_of(keys, 0);
    const uint8_t *key = array_of(keys, data, room, &key_bytes);
    const uint8_t *row = array_of(values, data, room, &bytes);

    if (key_bytes != 8 * n || dim_of(values, 0) != n)
        die("keys and values do not fit");
    update_head(name, json_string_value(json_object_get(values, "dtype")), 0,
                dim_of(values, 1));
    for (size_t i = 0; i < n; i++) {
        update(key + 8 * i, 8);
        update(row + bytes / n * i, bytes / n);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void update_all(const json_t *header, const uint8_t *data, size_t room,
                       const char *folder)
{
    const char **names = calloc(json_object_size(header) + 1, sizeof(char *));
    size_t       n = 0;
    const char  *name;
    json_t      *one;

    json_object_foreach((json_t *)header, name, one)
    {
        if (strcmp(name, "__metadata__") != 0)
            names[n++] = name;
    }
    qsort(names, n, sizeof(char *), by_text);
    for (size_t i = 0; i < n; i++) {
        const json_t *values = json_object_get(header, names[i]);
        char          matrix[256];
        size_t        bytes = strlen(names[i]);

        if (bytes < 6 || strcmp(names[i] + bytes - 5, ".keys") != 0) {
            update_dense(names[i], values, data, room, folder);
            continue;
        }
        snprintf(matrix, sizeof(matrix), "%.*s", (int)bytes - 5, names[i]);
        update_sparse(matrix, values, json_object_get(header, names[++i]), data, room);
    }
    free(names);
}

int main(int argc, char **argv)
{
    unsigned char sum[32];
    char          hex[65];
    size_t        bytes;
    uint64_t      head;
    uint8_t      *file;
    json_t       *header;

    if (argc < 2 || sodium_init() < 0)
        die("usage: model_hash FILE | FOLDER FILE");
    file = read_file(argv[argc - 1], &bytes);
    if (bytes < 8)
        die("the file is too short");
    memcpy(&head, file, sizeof(head));
    if (head > bytes - 8 || head % 8 != 0)
        die("its header is too long");
    header = json_loadb((char *)file + 8, head, 0, NULL);
    if (!header)
        die("its header is no JSON");
    crypto_generichash_init(&hash, NULL, 0, sizeof(sum));
    update_all(header, file + 8 + head, bytes - 8 - head, argc > 2 ? argv[1] : NULL);
    crypto_generichash_final(&hash, sum, sizeof(sum));
    puts(sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum)));
    json_decref(header);
    free(file);
    return 0;
}
