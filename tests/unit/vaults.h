/*
 * vaults.h - what tests of snapshots on disk save: the parts of one run of one job,
 * with nothing in them but what tells them apart.
 */
#ifndef TESTS_UNIT_VAULTS_H
#define TESTS_UNIT_VAULTS_H

#include "tests/unit/own_place.h"

#include "server/snapshot/vault.h"

#define JOB "train"
#define RUN 77u

struct ps_part part_of(uint32_t index, uint32_t n_shards, uint64_t life, uint64_t set);

/* Part `index` of n_shards of snapshot (life, set); its version tells them apart. */
struct psd_image *an_image(uint32_t index, uint32_t n_shards, uint64_t life,
                           uint64_t set);

/* How many files of parts a state folder has. */
int count_parts(const char *folder);

#endif
