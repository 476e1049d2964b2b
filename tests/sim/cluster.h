/*
 * cluster.h - a whole cluster in one thread: the real coordinator, shards and clients,
 * and between them a network that is a list.
 *
 * The network delivers in an order drawn from a seed, and may deliver twice.  There is
 * no socket and no clock; time passes only when nothing else can happen.
 */
#ifndef TESTS_SIM_CLUSTER_H
#define TESTS_SIM_CLUSTER_H

#include "common/base/parcel.h"
#include "common/base/spec.h"

#include <stdio.h>

struct cluster_options {
    uint32_t           shards, workers;
    struct ps_job_spec job; /* workers is filled in */
    uint64_t           seed;
    unsigned           repeat_percent; /* of messages delivered twice */
    unsigned           lose_percent;   /* of messages not delivered at all */
};

/*
 * Trains the toy to its end and writes its model hash (64 digits and a NUL).  What goes
 * wrong is said on stderr.
 */
ps_status cluster_train(const struct cluster_options *options,
                        char                          hash[65]) PS_CHECKED;

#endif
