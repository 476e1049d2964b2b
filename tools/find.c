/* find.c - see find.h. */
#include "tools/find.h"

#include "common/config/config.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INSTALLED_EXPERIMENTS PS_DATADIR "/experiments"
#define INSTALLED_PROGRAMS PS_LIBEXECDIR ":" PS_SBINDIR ":" PS_BINDIR

/* DIR/NAMEsuffix for the first folder of the colon-separated list that has it. */
static ps_status look_in(const char *folders, const char *name, const char *suffix,
                         int mode, char **out)
{
    while (folders && *folders) {
        size_t n = strcspn(folders, ":");
        char  *path;

        if (n > 0) {
            if (asprintf(&path, "%.*s/%s%s", (int)n, folders, name, suffix) < 0)
                return ps_fail(PS_ERR_NO_MEMORY, "no memory");
            if (access(path, mode) == 0) {
                *out = path;
                return PS_OK;
            }
            free(path);
        }
        folders += n + (folders[n] == ':');
    }
    return PS_ERR_UNKNOWN;
}

static ps_status copy_path(const char *path, int mode, char **out)
{
    if (access(path, mode) != 0)
        return ps_fail(PS_ERR_CONFIG, "%s: %m", path);
    *out = strdup(path);
    return *out ? PS_OK : ps_fail(PS_ERR_NO_MEMORY, "no memory");
}

static bool is_path(const char *name)
{
    return strchr(name, '/') != NULL;
}

static bool is_file_name(const char *name)
{
    size_t n = strlen(name);

    return n > 5 && strcmp(name + n - 5, ".yaml") == 0;
}

ps_status find_experiment(const char *name, char **out)
{
    const char *folders = getenv("PSD_EXPERIMENTS");
    ps_status   st;

    if (is_path(name) || is_file_name(name))
        return copy_path(name, R_OK, out);
    st = look_in(folders, name, ".yaml", R_OK, out);
    if (st == PS_ERR_UNKNOWN)
        st = look_in(INSTALLED_EXPERIMENTS, name, ".yaml", R_OK, out);
    if (st == PS_ERR_UNKNOWN)
        return ps_fail(PS_ERR_CONFIG,
                       "no experiment %s in %s%s" INSTALLED_EXPERIMENTS
                       "; psexp list tells which there are",
                       name, folders ? folders : "", folders ? ":" : "");
    return st;
}

ps_status find_program(const char *name, char **out)
{
    const char *folders = getenv("PSD_BINDIR");
    ps_status   st;

    if (is_path(name))
        return copy_path(name, X_OK, out);
    st = look_in(folders, name, "", X_OK, out);
    if (st == PS_ERR_UNKNOWN)
        st = look_in(INSTALLED_PROGRAMS, name, "", X_OK, out);
    if (st == PS_ERR_UNKNOWN)
        st = look_in(getenv("PATH"), name, "", X_OK, out);
    if (st == PS_ERR_UNKNOWN)
        return ps_fail(PS_ERR_CONFIG,
                       "no program %s in %s%s" INSTALLED_PROGRAMS " or on the PATH",
                       name, folders ? folders : "", folders ? ":" : "");
    return st;
}

static int is_experiment(const struct dirent *entry)
{
    return is_file_name(entry->d_name);
}

/* "name, tab, file", and a tab and what it says of itself if it says something. */
static void list_file(const char *folder, const char *file, FILE *to)
{
    struct ps_experiment *e = NULL;
    char                 *path;

    if (asprintf(&path, "%s/%s", folder, file) < 0)
        return;
    fprintf(to, "%.*s\t%s", (int)strlen(file) - 5, file, path);
    if (ps_experiment_load(&e, path, NULL, 0) == PS_OK && e->description)
        fprintf(to, "\t%.*s", (int)strcspn(e->description, "\n"), e->description);
    fputc('\n', to);
    ps_experiment_free(&e);
    free(path);
}

static void list_folder(const char *folder, FILE *to)
{
    struct dirent **entries;
    int             n = scandir(folder, &entries, is_experiment, alphasort);

    for (int i = 0; i < n; i++) {
        list_file(folder, entries[i]->d_name, to);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

void find_list_experiments(FILE *to)
{
    const char *folders = getenv("PSD_EXPERIMENTS");

    while (folders && *folders) {
        size_t n = strcspn(folders, ":");
        char  *folder = strndup(folders, n);

        if (folder && *folder)
            list_folder(folder, to);
        free(folder);
        folders += n + (folders[n] == ':');
    }
    list_folder(INSTALLED_EXPERIMENTS, to);
}
