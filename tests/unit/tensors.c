/* Snapshots for other programs: parts put together, and the files that come of it. */
#include "tools/tensors.h"
#include "tests/unit/own_place.h"

#include <stdio.h>

static struct psd_image *parts[2];
static struct tensors    t;

static void tear_down(void)
{
    tensors_free(&t);
    psd_image_free(&parts[0]);
    psd_image_free(&parts[1]);
    no_place();
}

static struct psd_image *an_image(uint32_t n_matrices)
{
    struct psd_image *i = calloc(1, sizeof(*i));

    i->model = calloc(1, sizeof(*i->model));
    i->model->n_matrices = n_matrices;
    i->model->matrices = calloc(n_matrices, sizeof(*i->model->matrices));
    return i;
}

/* f32 numbers first .. first+n-1 of a 2 x 4 matrix, each with its own number as value.
 */
static void dense(struct psd_captured_matrix *m, const char *name, uint64_t first,
                  uint64_t n)
{
    struct psd_chunk *c = calloc(1, sizeof(*c));

    m->spec = (struct ps_matrix_spec){ .dtype = PS_F32, .rows = 2, .cols = 4 };
    strcpy(m->spec.name, name);
    m->n_chunks = 1;
    m->chunks = c;
    c->first = first;
    c->n = n;
    ck_assert_ok(ps_buf_new(&c->value, 4 * n));
    c->value->len = 4 * n;
    for (uint64_t i = 0; i < n; i++)
        ((float *)(void *)c->value->data)[i] = (float)(first + i);
}

/* Rows of two i64, key and -key, with as much state behind them. */
static void sparse(struct psd_captured_matrix *m, const uint64_t *keys, uint64_t n)
{
    struct psd_captured_rows *r = calloc(1, sizeof(*r));

    m->spec = (struct ps_matrix_spec){
        .name = "rows", .dtype = PS_I64, .sparse = true, .cols = 2
    };
    m->n_state = 1;
    m->rows = r;
    r->n = n;
    r->row_bytes = 32;
    r->page_shift = 4;
    r->n_pages = 1;
    r->keys = malloc(n * sizeof(*r->keys));
    r->places = malloc(n * sizeof(*r->places));
    r->pages = calloc(1, sizeof(struct ps_buf *));
    ck_assert_ok(ps_buf_new(&r->pages[0], 16 * 32));
    memset(r->pages[0]->data, 0x55, 16 * 32);
    for (uint64_t i = 0; i < n; i++) {
        int64_t row[4] = { (int64_t)keys[i], -(int64_t)keys[i], 99, 99 };

        r->keys[i] = keys[i];
        r->places[i] = (uint32_t)(n - i);
        memcpy(r->pages[0]->data + r->places[i] * 32, row, sizeof(row));
    }
}

/* "b" in two parts, "a" in the second alone, and rows in both. */
static void two_parts(void)
{
    static const uint64_t first[] = { 7, 3 }, second[] = { 5, 100, 1 };

    parts[0] = an_image(2);
    parts[1] = an_image(3);
    dense(&parts[0]->model->matrices[0], "b", 0, 5);
    sparse(&parts[0]->model->matrices[1], first, 2);
    dense(&parts[1]->model->matrices[0], "b", 5, 3);
    dense(&parts[1]->model->matrices[1], "a", 0, 8);
    sparse(&parts[1]->model->matrices[2], second, 3);
}

START_TEST(the_parts_of_a_matrix_become_one_array)
{
    two_parts();
    ck_assert_ok(tensors_of(parts, 2, &t));
    ck_assert_uint_eq(t.n, 4);
    ck_assert_str_eq(t.list[0].name, "a");
    ck_assert_str_eq(t.list[1].name, "b");
    ck_assert_uint_eq(t.list[1].n_dims, 2);
    ck_assert_uint_eq(t.list[1].dims[0], 2);
    ck_assert_uint_eq(t.list[1].dims[1], 4);
    ck_assert_uint_eq(t.list[1].bytes, 32);
    for (int i = 0; i < 8; i++)
        ck_assert_float_eq(((float *)t.list[1].data)[i], (float)i);
}
END_TEST

START_TEST(the_rows_of_all_parts_stand_by_their_keys)
{
    static const uint64_t keys[] = { 1, 3, 5, 7, 100 };

    two_parts();
    ck_assert_ok(tensors_of(parts, 2, &t));
    ck_assert_str_eq(t.list[2].name, "rows.keys");
    ck_assert_uint_eq(t.list[2].n_dims, 1);
    ck_assert_uint_eq(t.list[2].dims[0], 5);
    ck_assert_mem_eq(t.list[2].data, keys, sizeof(keys));
    ck_assert_str_eq(t.list[3].name, "rows.values");
    ck_assert_uint_eq(t.list[3].dims[0], 5);
    ck_assert_uint_eq(t.list[3].dims[1], 2);
    ck_assert_uint_eq(t.list[3].bytes, 80);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(((int64_t *)t.list[3].data)[2 * i], (int64_t)keys[i]);
        ck_assert_int_eq(((int64_t *)t.list[3].data)[2 * i + 1], -(int64_t)keys[i]);
    }
}
END_TEST

START_TEST(parts_that_do_not_fit_are_refused)
{
    static const uint64_t twice[] = { 5 };

    two_parts();
    ck_assert_status(tensors_of(parts, 1, &t), PS_ERR_DATA);
    ck_assert_why("matrix b: the parts hold 5 of 8 elements");
    parts[1]->model->matrices[0].spec.cols = 5;
    ck_assert_status(tensors_of(parts, 2, &t), PS_ERR_DATA);
    ck_assert_why("matrix b: it has another shape in another part");
    ck_assert_uint_eq(t.n, 0);
    psd_image_free(&parts[0]);
    psd_image_free(&parts[1]);
    parts[0] = an_image(1);
    parts[1] = an_image(1);
    sparse(&parts[0]->model->matrices[0], twice, 1);
    sparse(&parts[1]->model->matrices[0], twice, 1);
    ck_assert_status(tensors_of(parts, 2, &t), PS_ERR_DATA);
    ck_assert_why("rows.keys: row 5 is in two parts");
}
END_TEST

static const char *path_of(const char *file)
{
    static char path[300];

    snprintf(path, sizeof(path), "%s/%s", place, file);
    return path;
}

static size_t read_file(const char *file, uint8_t *to, size_t room)
{
    FILE  *f = fopen(path_of(file), "r");
    size_t n;

    ck_assert_ptr_nonnull(f);
    n = fread(to, 1, room, f);
    fclose(f);
    return n;
}

START_TEST(safetensors_say_where_each_array_lies)
{
    static uint8_t file[4096];
    json_t        *about = json_pack("{s:s}", "job", "j"), *header;
    uint64_t       head;
    size_t         n;
    json_int_t     from, to, dim;
    const char    *dtype;

    two_parts();
    ck_assert_ok(tensors_of(parts, 2, &t));
    ck_assert_ok(tensors_write_safetensors(&t, about, path_of("m.safetensors")));
    json_decref(about);
    n = read_file("m.safetensors", file, sizeof(file));
    memcpy(&head, file, 8);
    ck_assert_uint_eq(head % 8, 0);
    ck_assert_uint_eq(n, 8 + head + 40 + 80 + 32 + 32);
    header = json_loadb((char *)file + 8, head, 0, NULL);
    ck_assert_uint_eq(json_object_size(header), 5);
    ck_assert_str_eq(json_string_value(json_object_get(
                         json_object_get(header, "__metadata__"), "job")),
                     "j");
    /* What takes 8 bytes lies first. */
    ck_assert_int_eq(json_unpack(json_object_get(header, "rows.keys"),
                                 "{s:s, s:[I!], s:[I, I]}", "dtype", &dtype, "shape",
                                 &dim, "data_offsets", &from, &to),
                     0);
    ck_assert_str_eq(dtype, "U64");
    ck_assert_int_eq(dim, 5);
    ck_assert_int_eq(from, 0);
    ck_assert_int_eq(to, 40);
    ck_assert_mem_eq(file + 8 + head, t.list[2].data, 40);
    ck_assert_int_eq(json_unpack(json_object_get(header, "b"), "{s:s, s:[I, I]}",
                                 "dtype", &dtype, "data_offsets", &from, &to),
                     0);
    ck_assert_str_eq(dtype, "F32");
    ck_assert_int_eq(from, 152);
    ck_assert_int_eq(to, 184);
    ck_assert_mem_eq(file + 8 + head + from, t.list[1].data, 32);
    json_decref(header);
}
END_TEST

START_TEST(npy_files_begin_as_numpy_says)
{
    static uint8_t    file[4096];
    static const char expected[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<u8', 'fortran_order': False, "
        "'shape': (5,), }";

    two_parts();
    ck_assert_ok(tensors_of(parts, 2, &t));
    ck_assert_ok(tensors_write_npy(&t, place));
    ck_assert_uint_eq(read_file("rows.keys.npy", file, sizeof(file)), 128 + 40);
    ck_assert_mem_eq(file, expected, sizeof(expected) - 1);
    ck_assert_uint_eq(file[127], '\n');
    ck_assert_mem_eq(file + 128, t.list[2].data, 40);
    ck_assert_uint_eq(read_file("b.npy", file, sizeof(file)), 128 + 32);
}
END_TEST

START_TEST(a_file_that_cannot_be_written_leaves_nothing)
{
    json_t *about = json_object();

    two_parts();
    ck_assert_ok(tensors_of(parts, 2, &t));
    ck_assert_status(tensors_write_safetensors(&t, about, path_of("none/m")),
                     PS_ERR_SYSTEM);
    ck_assert_why("none/m: cannot be made");
    ck_assert_status(tensors_write_safetensors(&t, about, place), PS_ERR_SYSTEM);
    ck_assert_why("cannot be written: Is a directory");
    json_decref(about);
}
END_TEST

static Suite *tensors_suite(void)
{
    Suite *s = suite_create("tensors");
    TCase *c = tcase_create("tensors");

    tcase_add_checked_fixture(c, a_place, tear_down);
    tcase_add_test(c, the_parts_of_a_matrix_become_one_array);
    tcase_add_test(c, the_rows_of_all_parts_stand_by_their_keys);
    tcase_add_test(c, parts_that_do_not_fit_are_refused);
    tcase_add_test(c, safetensors_say_where_each_array_lies);
    tcase_add_test(c, npy_files_begin_as_numpy_says);
    tcase_add_test(c, a_file_that_cannot_be_written_leaves_nothing);
    suite_add_tcase(s, c);
    return s;
}

TEST_MAIN(tensors_suite)
