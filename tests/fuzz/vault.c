/*
 * vault.c - a state folder in which something is not as it was left.
 *
 * Two snapshots and a blob are kept; the input says what is damaged in the manifest,
 * the parts and the epoch file: bytes changed, files cut short or gone.  Then the
 * folder is opened, only to read or to write (the first byte), and used.
 *
 * What is not what was saved does not load, and is told in one sentence; a folder that
 * opens to write takes a new snapshot and gives it back.
 */
#include "tests/fuzz/fuzz.h"

#include "server/snapshot/vault.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 4u /* manifest, epoch, two parts */
#define FILE_ROOM 65536u
#define EDITS_MAX 8u
#define RUN 77

static char folder[256];

/* As the files were when all was well. */
static struct {
    char    path[600];
    uint8_t bytes[FILE_ROOM];
    size_t  n;
} files[FILES];

/* ---- what is kept -------------------------------------------------------------- */

static struct psd_image *an_image(uint64_t set)
{
    struct psd_image *i = calloc(1, sizeof(*i));

    fuzz_require(i != NULL);
    strcpy(i->job, "train");
    i->run = RUN;
    i->spec = ps_job_spec_default();
    strcpy(i->spec.name, "train");
    i->n_shards = i->life = 1;
    i->set = i->clock = set;
    i->version = 1000 * set;
    i->progress = fuzz_buf("how far", 7);
    i->model = calloc(1, sizeof(*i->model));
    fuzz_require(i->model != NULL);
    return i;
}

static ps_status save(struct psd_vault *v, uint64_t set)
{
    struct psd_image *image = an_image(set);
    ps_status         st = psd_vault_save(v, image);

    psd_image_free(&image);
    return st;
}

static ps_status open_folder(struct psd_vault **v, bool read_only)
{
    const struct psd_vault_options o = { .folder = folder,
                                         .read_only = read_only,
                                         .keep = 2 };

    return psd_vault_open(v, &o);
}

static void remember(unsigned at, const char *name)
{
    FILE *f;

    snprintf(files[at].path, sizeof(files[at].path), "%s/%s", folder, name);
    f = fopen(files[at].path, "rb");
    fuzz_require(f != NULL);
    files[at].n = fread(files[at].bytes, 1, FILE_ROOM, f);
    fuzz_require(files[at].n > 0 && files[at].n < FILE_ROOM);
    fclose(f);
}

static void remember_parts(void)
{
    char           path[300], name[300];
    struct dirent *entry;
    unsigned       at = 2;
    DIR           *parts;

    snprintf(path, sizeof(path), "%s/parts", folder);
    parts = opendir(path);
    fuzz_require(parts != NULL);
    while ((entry = readdir(parts)))
        if (entry->d_name[0] != '.') {
            fuzz_require(at < FILES);
            snprintf(name, sizeof(name), "parts/%.200s", entry->d_name);
            remember(at++, name);
        }
    closedir(parts);
    fuzz_require(at == FILES);
}

static void remove_folder(void)
{
    char           path[600];
    struct dirent *entry;
    DIR           *d;

    for (int inner = 1; inner >= 0; inner--) {
        snprintf(path, sizeof(path), "%s%s", folder, inner ? "/parts" : "");
        d = opendir(path);
        while (d && (entry = readdir(d))) {
            snprintf(path, sizeof(path), "%s%s/%.200s", folder, inner ? "/parts" : "",
                     entry->d_name);
            unlink(path);
        }
        if (d)
            closedir(d);
        snprintf(path, sizeof(path), "%s%s", folder, inner ? "/parts" : "");
        rmdir(path);
    }
}

static void make_folder(void)
{
    const char       *place = getenv("TMPDIR");
    struct psd_vault *v;
    struct ps_buf    *blob = fuzz_buf("a blob", 6);

    snprintf(folder, sizeof(folder), "%.200s/psd-fuzz-XXXXXX",
             place && *place ? place : "/tmp");
    fuzz_require(mkdtemp(folder) != NULL);
    atexit(remove_folder);
    fuzz_require(open_folder(&v, false) == PS_OK && save(v, 10) == PS_OK &&
                 save(v, 20) == PS_OK && psd_vault_keep(v, "b", blob) == PS_OK);
    ps_buf_drop(&blob);
    psd_vault_close(&v);
    remember(0, "manifest.sqlite");
    remember(1, "epoch");
    remember_parts();
}

/* ---- damage -------------------------------------------------------------------- */

static void write_file(unsigned at, const uint8_t *bytes, size_t n)
{
    int fd = open(files[at].path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    fuzz_require(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
}

static void damage(struct fuzz_input *in)
{
    uint8_t       *bytes = malloc(FILE_ROOM);
    uint8_t        what = fuzz_byte(in);
    const unsigned at = what % FILES;
    const uint8_t *from;
    const size_t   place = fuzz_number(in) % files[at].n;
    size_t         n;

    fuzz_require(bytes != NULL);
    memcpy(bytes, files[at].bytes, files[at].n);
    switch (what / FILES % 4) {
    case 0:
        bytes[place] ^= fuzz_byte(in);
        write_file(at, bytes, files[at].n);
        break;
    case 1:
        n = fuzz_take(in, fuzz_byte(in), &from);
        if (n > FILE_ROOM - place)
            n = FILE_ROOM - place;
        if (n > 0)
            memcpy(bytes + place, from, n);
        write_file(at, bytes, place + n > files[at].n ? place + n : files[at].n);
        break;
    case 2: write_file(at, bytes, place); break;
    default: unlink(files[at].path); break;
    }
    free(bytes);
}

static void heal(void)
{
    char journal[700];

    for (unsigned i = 0; i < FILES; i++)
        write_file(i, files[i].bytes, files[i].n);
    snprintf(journal, sizeof(journal), "%s-journal", files[0].path);
    unlink(journal);
}

/* ---- use ----------------------------------------------------------------------- */

static bool is_what_was_saved(const struct psd_image *i, uint64_t set)
{
    return i->set == set && i->clock == set && i->version == 1000 * set &&
           i->run == RUN && !strcmp(i->job, "train") && i->progress->len == 7;
}

static void load(struct psd_vault *v, const struct ps_part *part)
{
    struct psd_image *image = NULL;
    ps_status         st;

    fuzz_listen();
    st = psd_vault_load(v, "train", RUN, part, &image);
    fuzz_heard(st);
    fuzz_require(!st == (image != NULL));
    if (image)
        fuzz_require(is_what_was_saved(image, part->set));
    psd_image_free(&image);
}

static ps_status look_at_entry(void *ctx, const struct psd_vault_entry *entry)
{
    ps_status st;

    fuzz_listen();
    st = psd_vault_verify(ctx, entry);
    fuzz_heard(st);
    return PS_OK;
}

static void look(struct psd_vault *v)
{
    struct ps_part parts[8];
    struct ps_buf *blob = NULL;
    uint32_t       n = 0;
    ps_status      st;

    fuzz_listen();
    st = psd_vault_list(v, "train", RUN, parts, 8, &n);
    fuzz_heard(st);
    for (uint32_t i = 0; !st && i < n; i++)
        load(v, &parts[i]);
    fuzz_listen();
    st = psd_vault_recall(v, "b", &blob);
    fuzz_heard(st);
    ps_buf_drop(&blob);
    st = psd_vault_each(v, look_at_entry, v);
}

/* A new snapshot; whatever is wrong with the others. */
static void use(struct psd_vault *v)
{
    const struct ps_part part = { .n_shards = 1, .life = 1, .set = 30 };
    struct psd_image    *image;
    ps_status            st;

    fuzz_listen();
    st = save(v, 30);
    fuzz_heard(st);
    if (st)
        return;
    fuzz_require(psd_vault_load(v, "train", RUN, &part, &image) == PS_OK);
    fuzz_require(is_what_was_saved(image, 30));
    psd_image_free(&image);
    fuzz_listen();
    st = psd_vault_forget(v, "train", RUN, &part);
    fuzz_heard(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct fuzz_input in = { bytes, n_bytes };
    const bool        read_only = fuzz_byte(&in) % 4 != 0;
    struct psd_vault *v = NULL;
    ps_status         st;

    if (!folder[0])
        make_folder();
    heal();
    for (unsigned i = 0; in.left > 0 && i < EDITS_MAX; i++)
        damage(&in);
    fuzz_listen();
    st = open_folder(&v, read_only);
    fuzz_heard(st);
    if (st)
        return 0;
    look(v);
    if (!read_only)
        use(v);
    psd_vault_close(&v);
    return 0;
}
