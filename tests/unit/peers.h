/*
 * peers.h - a coordinator without a network, and everybody it speaks with: workers,
 * observers and shards are numbers whose messages the test writes, time is a counter.
 *
 * What a shard answers is the business of each test program: it says so in `play`.
 */
#ifndef TESTS_UNIT_PEERS_H
#define TESTS_UNIT_PEERS_H

#include "tests/unit/suite.h"

#include "common/wire/wire.h"
#include "server/coordinator/coordinator.h"

#define SECOND UINT64_C(1000000000)
#define SILENCE (15 * SECOND)
#define SHARD_TIMEOUT (5 * SECOND)
#define EPOCH UINT64_C(0xabcdef0123456789)
#define OBSERVER UINT32_MAX
#define KEPT 4096u

extern struct psd_coordinator *c;
extern struct ps_outbox        out;
extern uint64_t                now;

/* What came to peers and to shards so far. */
extern struct ps_parcel mail[KEPT], sent[KEPT];
extern size_t           n_mail, n_sent;

/* What a test program does besides; a member may be NULL. */
struct play {
    void (*shard_hears)(uint16_t shard, const struct ps_header *ask);
    void (*goes_in)(const struct ps_parcel *p); /* to the coordinator */
    void (*has_worked)(void);                   /* the coordinator: on what was said */
    void (*second)(void);                       /* one has passed */
};

/* A world without a coordinator yet, and its end with that of the coordinator. */
void open_world(const struct play *play);
void close_world(void);

/* Of a coordinator with room for four jobs. */
struct psd_coordinator_options usual_options(void);

/* ---- carrying messages ---------------------------------------------------------- */

/* Valid until the next one is read. */
const struct ps_header *read_head(const struct ps_parcel *p);

void keep(struct ps_parcel *list, size_t *n, struct ps_parcel *p);
void forget(struct ps_parcel *list, size_t *n);

struct ps_route peer_route(unsigned peer);

/* Delivers the outbox until it is empty. */
void carry(void);
void say(unsigned peer, const struct ps_header *h);
void shard_says(uint32_t shard, const struct ps_header *h); /* nothing is delivered */
void wait_for(uint64_t ns);

/* ---- looking at what came ------------------------------------------------------- */

const struct ps_parcel *mail_to(unsigned peer, uint64_t request); /* NULL: none */
const struct ps_header *answer(unsigned peer, uint64_t request, uint32_t kind);
void expect_error(unsigned peer, uint64_t request, ps_status status, const char *part);
void expect_notice(unsigned peer, ps_status status, const char *part);

/* The last message of a kind to a shard. */
const struct ps_header *told(uint32_t shard, uint32_t kind);
size_t                  count_told(uint32_t kind);

struct ps_member told_member(uint32_t shard, uint32_t rank);
uint32_t         told_state(uint32_t shard, uint32_t rank);

/* What observers see of the job. */
void expect_word(const char *job, const char *word);

/* ---- what peers say ------------------------------------------------------------- */

/* The number of a request, where the test does not care which. */
uint64_t fresh(void);

/* A worker as it sees itself; its peer number is also its pid. */
struct worker {
    unsigned peer;
    uint32_t job, rank, incarnation;
    uint64_t session, epoch;
};

struct ps_job_spec    spec_of(const char *name, uint32_t workers);
struct ps_matrix_spec matrix_spec(const char *name, uint64_t rows, uint64_t cols);

/* All that ask give the number of their request. */
uint64_t      hello(unsigned peer, uint64_t request, uint32_t rank,
                    const struct ps_job_spec *spec);
struct worker welcomed(unsigned peer, uint64_t request);
struct worker join_as(unsigned peer, uint32_t rank, const struct ps_job_spec *spec);
struct worker observe(unsigned peer, const char *job);

/* Of one that has a session. */
struct ps_header from(const struct worker *w, uint32_t kind, uint64_t request);
uint64_t         hello_again(const struct worker *w, uint64_t request, const char *job);
uint64_t         beat(const struct worker *w, uint64_t request, uint64_t clock);
uint64_t         bye(const struct worker *w, uint64_t request, const char *reason);
uint64_t         ask_matrix(const struct worker *w, uint64_t request, uint32_t flags,
                            const struct ps_matrix_spec *spec);

const struct ps_header *watch(unsigned peer, uint64_t request, const char *job,
                              uint64_t after);

#endif
