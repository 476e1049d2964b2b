/* own_place.c - see own_place.h. */
#include "tests/unit/own_place.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

char place[200];

void a_place(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(place, sizeof(place), "%.150s/psd-unit-XXXXXX",
             tmp && *tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(place));
}

void remove_all(const char *path)
{
    char           inner[1024];
    struct dirent *file;
    DIR           *d = opendir(path);

    while (d && (file = readdir(d))) {
        if (!strcmp(file->d_name, ".") || !strcmp(file->d_name, ".."))
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, file->d_name);
        if (unlink(inner))
            remove_all(inner);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

void no_place(void)
{
    remove_all(place);
}
