/*
 * pure.c - trains the toy in one thread, without a socket, and prints the model hash:
 *
 *     pure WORKERS SHARDS
 */
#include "tests/sim/cluster.h"

#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct cluster_options o = { .seed = 1, .job = ps_job_spec_default() };
    char                   hash[65];

    if (argc != 3)
        return 64;
    o.workers = (uint32_t)atoi(argv[1]);
    o.shards = (uint32_t)atoi(argv[2]);
    strcpy(o.job.name, "toy");
    o.job.seed = 11;
    o.job.optimiser = ps_optimiser_spec_default(PS_ADAM);
    if (cluster_train(&o, hash)) {
        fprintf(stderr, "pure: %s\n", ps_log_last_error());
        return 1;
    }
    puts(hash);
    return 0;
}
