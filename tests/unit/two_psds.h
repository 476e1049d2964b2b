/*
 * two_psds.h - a coordinator whose jobs go back: psds of two shards each, with a disk
 * of snapshots, and a disk of the coordinator's own.
 *
 * Psds 0 and 1 are there from the beginning; psd 0 is the coordinator's own.
 */
#ifndef TESTS_UNIT_TWO_PSDS_H
#define TESTS_UNIT_TWO_PSDS_H

#include "tests/unit/peers.h"

#define RECOVERY_WAIT (30 * SECOND)
#define N_PSDS 3u
#define EACH 2u /* shards of a psd */
#define N_FAKES (N_PSDS * EACH)
#define DISK 64u

struct psd {
    bool           there;
    uint64_t       control;
    uint32_t       n_parts; /* on its disk */
    struct ps_part parts[DISK];
    bool           damaged[DISK];
};

struct fake {
    uint64_t       life, epoch, run, clock;
    uint32_t       index, n_shards, n_matrices, n_loads;
    uint64_t       hurry;    /* clocks that pass between question and answer */
    uint32_t       n_loaded; /* parts of the last LOAD */
    struct ps_part loaded[PS_SHARDS_MAX];
};

extern struct psd  psds[N_PSDS];
extern struct fake fakes[N_FAKES];
extern uint32_t    kind_held; /* what the shards do not answer */

/* What the coordinator wanted kept, as its driver would have it on disk. */
extern struct ps_buf *state;
extern unsigned       n_states;

/* A fixture. */
void two_psds(void);
void stop(void);

/* A case with this fixture. */
TCase *tcase(Suite *s, const char *name);

/* ---- psds ----------------------------------------------------------------------- */

void psd_joins(uint32_t psd);
void psd_beats(uint32_t psd);
void psd_ends(uint32_t psd);

/* It is killed and comes back with its disk and nothing else. */
void psd_restarts(uint32_t psd);

void new_coordinator(void);

/* Psd 0 is killed, and started again with its disk. */
void coordinator_restarts(void);

/* ---- snapshots ------------------------------------------------------------------ */

void put_on_disk(uint32_t psd, uint32_t index, uint32_t n_shards, uint64_t life,
                 uint64_t set);

/* Every shard of psds 0 and 1 has saved its part of the set. */
void whole_set(uint64_t life, uint64_t set);

void damage(uint32_t psd, uint64_t set);

/* A shard tells the coordinator. */
void say_saved(uint32_t shard, uint64_t epoch, uint64_t life, uint64_t set);
void save(uint32_t shard, uint64_t set);

/* ---- workers -------------------------------------------------------------------- */

struct ps_job_spec saved_job(uint32_t strategy, uint32_t workers);
struct worker      bsp_job(void); /* with one worker and one matrix */

/* As a client does that has heard of the rollback. */
uint64_t resume(const struct worker *w);

/* A matrix with slots on every shard. */
uint64_t create(const struct worker *w, const char *name);

/* ---- looking -------------------------------------------------------------------- */

/* Place of the first message of a kind to a shard. */
size_t place(uint32_t shard, uint32_t kind);

/* All four shards of the job hold their parts of this set, in one life. */
void expect_back_at(uint64_t life, uint64_t set);

#endif
