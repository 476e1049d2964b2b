/*
 * three_shards.h - a coordinator with three shards that do as they are told, unless the
 * test says that they are mute or refuse.
 */
#ifndef TESTS_UNIT_THREE_SHARDS_H
#define TESTS_UNIT_THREE_SHARDS_H

#include "tests/unit/peers.h"

#include <jansson.h>

#define N_SHARDS 3u
#define CONTROL UINT64_C(0xc0)

/* How the shards behave. */
extern bool        shard_mute[PS_SHARDS_MAX];
extern uint64_t    shard_clock[PS_SHARDS_MAX];   /* of every job */
extern uint32_t    kind_mute;                    /* what shard 1 never answers */
extern const char *shard_refuses[PS_SHARDS_MAX]; /* a MATRIX_ADD, with this sentence */
extern unsigned    n_telling; /* shards with room for accounts of matrices */

/* What went in while `taping`, for the damaged conversations. */
extern struct ps_parcel tape[KEPT];
extern size_t           n_tape;
extern bool             taping;

extern bool damaging; /* messages that go in may say anything */

void start_with(uint32_t keep_finished, uint32_t max_jobs, const char *token);

/* A fixture. */
void three_shards(void);
void stop(void);

/* A case with this fixture. */
TCase *tcase(Suite *s, const char *name);

/* Without a tick, as when the process is stopped. */
void sleep_for(uint64_t ns);

/* Another psd, of one shard. */
void join_psd(uint64_t request, uint64_t control, const char *endpoint);

/* A matrix of one slot. */
void create(const struct worker *w, uint64_t request, const char *name);

void report(const struct worker *w, uint64_t request, uint64_t seq, uint32_t n,
            double value);

json_t     *ask_status(unsigned peer, uint64_t request);
json_int_t  integer(const json_t *object, const char *key);
const char *string(const json_t *object, const char *key);

#endif
