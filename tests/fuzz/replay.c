/*
 * replay.c - runs a harness once over the inputs of its corpus: a regression test that
 * needs no libFuzzer.
 *
 *     wire.t [FILE]...     without files: all of tests/fuzz/corpus/wire
 *
 * The name of each input is said before it runs, so that the log of a crash ends with
 * what it was.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_ROOM 4096
#define INPUT_MAX (1u << 20)

static int replay(const char *path)
{
    FILE    *file = fopen(path, "rb");
    uint8_t *bytes = malloc(INPUT_MAX);
    size_t   n;

    printf("# %s\n", path);
    fflush(stdout);
    if (!file || !bytes) {
        printf("# %s: cannot be read\n", path);
        return 1;
    }
    n = fread(bytes, 1, INPUT_MAX, file);
    fclose(file);
    bytes = realloc(bytes, n ? n : 1); /* exact, so that one read too many is found */
    fuzz_require(bytes != NULL);
    LLVMFuzzerTestOneInput(bytes, n);
    free(bytes);
    return 0;
}

/* tests/fuzz/corpus/wire for .../tests/fuzz/wire.t */
static void folder_of(const char *program, char out[PATH_ROOM])
{
    const char *top = getenv("top_srcdir"), *base = strrchr(program, '/');

    base = base ? base + 1 : program;
    snprintf(out, PATH_ROOM, "%s/tests/fuzz/corpus/%.*s", top ? top : ".",
             (int)strcspn(base, "."), base);
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_folder(const char *folder, int *n)
{
    struct dirent **entries;
    char            path[2 * PATH_ROOM];
    int             failed = 0;

    *n = scandir(folder, &entries, is_input, alphasort);
    for (int i = 0; i < *n; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        failed += replay(path);
        free(entries[i]);
    }
    if (*n >= 0)
        free(entries);
    return failed;
}

int main(int argc, char **argv)
{
    char folder[PATH_ROOM];
    int  n = argc - 1, failed = 0;

    printf("1..1\n");
    folder_of(argv[0], folder);
    for (int i = 1; i < argc; i++)
        failed += replay(argv[i]);
    if (argc == 1)
        failed = replay_folder(folder, &n);
    printf("%sok 1 - fuzz: %d inputs of %s\n", failed || n < 1 ? "not " : "", n,
           strrchr(folder, '/') + 1);
    return failed || n < 1;
}
