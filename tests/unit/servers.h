/*
 * servers.h - the servers of a client, which the test plays: it looks at each message
 * that leaves and writes each answer by hand.  Time is a number.
 */
#ifndef TESTS_UNIT_SERVERS_H
#define TESTS_UNIT_SERVERS_H

#include "tests/unit/suite.h"

#include "worker/client.h"

#define MS UINT64_C(1000000)

extern struct psw_client    *client;
extern struct ps_outbox      out; /* what it has sent */
extern uint64_t              now; /* ns */
extern const struct ps_route coordinator;
extern const char *const     endpoints[3]; /* of the shards */

/* A fixture: a client and, if there are shards, its welcome to job 3, epoch 5. */
void come(uint32_t n_shards, bool observer, uint64_t snapshot_every);
void go(void);

/* Another client in the place of one that was freed. */
void join(uint32_t n_shards, bool observer, uint64_t snapshot_every);

/* The fixture again, after go(): one shard, and a job like this one. */
void join_as(const struct ps_job_spec *job);

struct ps_route shard(uint16_t index);

/* A message that left, taken apart; valid until the outbox is cleared. */
struct sent {
    struct ps_header  h;
    struct ps_range   ranges[PS_RANGES_MAX];
    struct ps_parcel *parcel;
};

struct sent sent(size_t i);
struct sent only_sent(void);

/* Answers, and how they are given. */
struct ps_header answer_to(uint64_t request, uint32_t kind);
void give(struct ps_route from, const struct ps_header *h, const void *payload,
          const size_t *cuts, uint32_t n_cuts);
void acknowledge(struct ps_route from, uint64_t request, uint32_t kind);
void refuse(struct ps_route from, uint64_t request, ps_status status, const char *text);
void values_of(uint64_t version, struct ps_route from, uint64_t request,
               const void *payload, size_t bytes);
void values(struct ps_route from, uint64_t request, const void *payload, size_t bytes);

/* Opens a matrix whose slots are spread as the coordinator would. */
ps_matrix *opened(const char *name, uint64_t rows, uint64_t cols, uint32_t dtype);

struct ps_ticket *move(uint32_t moves, const struct psw_span *spans, uint32_t n);

/* The whole of a dense matrix. */
struct psw_span all_of(ps_matrix *m, void *value, const void *gradient);

/* It is done and went like this; drops it. */
void assert_ended(struct ps_ticket *t, ps_status expected);

#endif
