/* vaults.c - see vaults.h. */
#include "tests/unit/vaults.h"

#include <dirent.h>
#include <stdio.h>

struct ps_part part_of(uint32_t index, uint32_t n_shards, uint64_t life, uint64_t set)
{
    return (struct ps_part){ index, n_shards, .life = life, .set = set };
}

struct psd_image *an_image(uint32_t index, uint32_t n_shards, uint64_t life,
                           uint64_t set)
{
    struct psd_image *i = calloc(1, sizeof(*i));

    strcpy(i->job, JOB);
    i->run = RUN;
    i->spec = ps_job_spec_default();
    strcpy(i->spec.name, JOB);
    i->index = index;
    i->n_shards = n_shards;
    i->life = life;
    i->set = i->clock = set;
    i->version = 1000 * set + index;
    i->model = calloc(1, sizeof(*i->model));
    return i;
}

int count_parts(const char *folder)
{
    char           path[300];
    struct dirent *file;
    int            n = 0;
    DIR           *d;

    snprintf(path, sizeof(path), "%s/parts", folder);
    d = opendir(path);
    while ((file = readdir(d)))
        n += file->d_name[0] != '.';
    closedir(d);
    return n;
}
