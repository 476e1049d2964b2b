/* folder.c - see folder.h. */
#include "tools/folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

char *folder_path(const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

char *folder_numbered(const char *folder, const char *stem, unsigned number,
                      const char *suffix)
{
    char *path;

    return asprintf(&path, "%s/%s-%u.%s", folder, stem, number, suffix) < 0 ? NULL
                                                                            : path;
}

static ps_status make_one(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return ps_fail(PS_ERR_SYSTEM, "cannot make folder %s: %m", path);
    return PS_OK;
}

/* With all folders above it. */
static ps_status make_all(char *path)
{
    ps_status st = PS_OK;

    for (char *s = path + 1; !st && *s; s++) {
        if (*s != '/')
            continue;
        *s = '\0';
        st = make_one(path);
        *s = '/';
    }
    return st ? st : make_one(path);
}

static ps_status make_wanted(char *path)
{
    char     *settings;
    ps_status st = *path ? make_all(path) : ps_fail(PS_ERR_BAD_ARG, "--out: no folder");

    if (st)
        return st;
    settings = folder_path(path, "run.yaml");
    if (!settings)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory");
    if (access(settings, F_OK) == 0)
        st = ps_fail(PS_ERR_BAD_ARG, "%s holds a run already; name another folder",
                     path);
    free(settings);
    return st;
}

static ps_status make_dated(char **out, const char *name)
{
    time_t    now = time(NULL);
    struct tm local;
    char      stamp[32];
    ps_status st = make_one("results");

    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", localtime_r(&now, &local));
    for (unsigned i = 1; !st; i++) {
        char suffix[16] = "";

        if (i > 1)
            snprintf(suffix, sizeof(suffix), "-%u", i);
        if (asprintf(out, "results/%s-%s%s", name, stamp, suffix) < 0)
            return ps_fail(PS_ERR_NO_MEMORY, "no memory");
        if (mkdir(*out, 0777) == 0)
            return PS_OK;
        if (errno != EEXIST)
            st = ps_fail(PS_ERR_SYSTEM, "cannot make folder %s: %m", *out);
        free(*out);
    }
    return st;
}

ps_status folder_make(char **out, const char *wanted, const char *name)
{
    char     *path = NULL;
    ps_status st;

    if (!wanted) {
        st = make_dated(&path, name);
    } else {
        path = strdup(wanted);
        st = path ? make_wanted(path) : ps_fail(PS_ERR_NO_MEMORY, "no memory");
        if (st)
            free(path);
    }
    if (!st)
        *out = path;
    return st;
}
