/*
 * plain_shards.h - one to four shards of one job, without a network and without a disk:
 * the test is the coordinator and every worker.  They share the matrices by the map.
 */
#ifndef TESTS_UNIT_PLAIN_SHARDS_H
#define TESTS_UNIT_PLAIN_SHARDS_H

#include "tests/unit/suite.h"

#include "common/place/place.h"
#include "common/wire/wire.h"
#include "server/shard/shard.h"

#define CONTROL 4711u
#define EPOCH 9u
#define SESSION(rank) (1000u + (rank))
#define OBSERVER_SESSION 77u
#define SHARDS_MAX 4u
#define N 20000u /* elements of the dense matrix: 80 KB, so it is cut into slots */

extern struct psd_shard  *shards[SHARDS_MAX];
extern uint32_t           n_shards;
extern struct ps_outbox   out;
extern struct ps_job_spec job;
extern struct ps_place    place;
extern uint64_t           seq[8][SHARDS_MAX];  /* by rank and shard */
extern uint64_t           base[8][SHARDS_MAX]; /* of the worker's last pull */

/* Room for models and gradients; `start` is what a dense matrix begins with. */
extern float value[N], start[N], g[8][N];

/* A case of a suite; what it began is ended behind each test. */
TCase *tcase(Suite *s, const char *name);

/* ---- the shards ----------------------------------------------------------------- */

struct ps_job_spec spec_of(uint32_t workers, uint32_t strategy, uint32_t optimiser);

/* `n` shards, with all workers active. */
void cluster_for(uint32_t n, struct ps_job_spec spec);
void cluster(uint32_t n, uint32_t workers, uint32_t strategy, uint32_t optimiser);

/* bsp and sgd, with members in these states. */
void cluster_of(uint32_t n, uint32_t workers, const uint32_t *states);
void end_cluster(void);

/* ---- messages ------------------------------------------------------------------- */

struct ps_route  route_of(uint32_t rank);
struct ps_header header(uint32_t kind);

/* Hands a message to a shard; frames are copied.  The answers pile up in `out`. */
void hand(uint32_t shard, uint32_t rank, const struct ps_header *h, const void *frame0,
          size_t bytes0, const void *frame1, size_t bytes1);

/* The answer to a request: its header, or kind 0 when there is none yet. */
struct ps_header answer_to(uint64_t request, struct ps_parcel **parcel);
void             forget_answers(void);

void expect_ok(uint64_t request);
void expect_error(uint64_t request, ps_status status);

/* ---- the coordinator ------------------------------------------------------------ */

void                  send_members(uint64_t epoch, const uint32_t *states);
struct ps_matrix_spec matrix_spec(uint32_t number, const char *name);
void                  add_matrix(const struct ps_matrix_spec *m, ps_status expected);
void                  dense_matrix(void);
struct ps_job_stats   account(uint32_t shard);

/* ---- workers -------------------------------------------------------------------- */

struct ps_header worker_header(uint32_t kind, uint32_t rank, uint64_t clock);

/* The only push of a worker for iteration t to a shard. */
struct ps_header finishing_push(uint32_t rank, uint64_t t, uint64_t number,
                                const struct ps_range *range);

/* Pushes elements [from, to) for iteration t, to whichever shards own them; finishes
 * on every shard.  Gives the request of shard 0. */
uint64_t push_part(uint32_t rank, uint64_t t, uint64_t from, uint64_t to,
                   const float *grad, double weight);
uint64_t push(uint32_t rank, uint64_t t, const float *grad);

/* Asks every shard for its part at `clock`; false when one does not answer yet. */
bool pull(uint32_t rank, uint64_t clock, float *to);

void gradient(uint32_t rank, uint64_t t, float *to); /* [N] */

#endif
