/*
 * world.h - psd processes and workers' clients in one thread, under virtual time.
 *
 * The coordinator, the shards and the clients are the real ones; only what lies beneath
 * them is made up: the clock, the network, the processes that come and go.  A message
 * is under way for as long as the plan says, may be lost, come twice, overtake another,
 * and finds nobody when the process it was for is gone.  All chance comes from the
 * plan's seed, so that a run can be repeated step by step.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "common/wire/wire.h"
#include "server/coordinator/coordinator.h"
#include "server/shard/shard.h"
#include "tests/sim/disk.h"
#include "tests/sim/plan.h"
#include "tests/sim/queue.h"
#include "worker/client.h"

#define WORLD_CLIENTS (PLAN_WORKERS + 1) /* the last one is an observer */
#define WORLD_NEVER UINT64_MAX
#define WORLD_LIVES 256u /* of jobs, in a run */

enum node_kind {
    NODE_COORDINATOR = 1,
    NODE_MEMBER, /* a psd as its coordinator sees it: joins, says that it lives */
    NODE_SHARD,
    NODE_CLIENT,
    NODE_HEART, /* the heartbeat of a client */
};

/* Who sends or receives.  The life tells a process from the one before it. */
struct node {
    uint8_t  kind, host; /* host: of a client its number */
    uint16_t shard;      /* of its host */
    uint32_t life;
};

struct flight {
    uint64_t         at_ns, order;
    struct node      from, to;
    struct ps_parcel parcel;
};

struct host {
    uint32_t          life; /* 0: it is down */
    uint32_t          n_shards;
    struct psd_shard *shards[PLAN_SHARDS];
    uint64_t          control;
    bool              joined; /* known to the coordinator of host 0 */
    uint64_t          beat_ns;
    uint64_t          cut_ns;  /* until then nothing reaches it or leaves it */
    uint64_t          end_ns;  /* its disk has failed: it ends then */
    bool              mute;    /* that was its coordinator's: it says nothing more */
    uint64_t          back_ns; /* it is down: it is started again then */
    struct disk       disk;    /* outlives it */
};

struct seat {
    uint32_t           life; /* 0: nobody */
    struct psw_client *client;
    uint64_t           beat_ns;
    uint64_t           cut_ns, stop_ns, slow_ns; /* until then */
    uint64_t           epoch;                    /* of the job, in its last beat */
    uint64_t           since_ns;                 /* the first beat with it */
    uint64_t           n_late; /* pushes of it that a shard refused as too late */
};

struct world {
    const struct plan *plan;
    uint64_t           now_ns, thrown;
    bool               calm; /* nothing is lost or late any more */
    uint32_t           lives;

    struct psd_coordinator *coordinator;
    struct host             hosts[PLAN_HOSTS];
    struct seat             seats[WORLD_CLIENTS];

    struct ps_outbox   out;
    struct ps_decoder *decoder;
    struct queue       flights; /* struct flight */
    uint64_t           n_sent, n_delivered;

    size_t n_seen; /* lives of the job that shards were told of */
    struct {
        uint64_t epoch, life;
    } seen[WORLD_LIVES];
    bool     loses; /* the shards were told that some worker is lost */
    uint32_t version_job;
    uint64_t version[PLAN_HOSTS][PLAN_SHARDS]; /* the last one that a shard told */
    uint64_t last_ns[64][64];                  /* in_order: of the last message */

    FILE *trace;                /* NULL: none */
    char  wrong[PS_TEXT_BYTES]; /* the first rule that was broken, or "" */
};

ps_status world_open(struct world *w, const struct plan *plan, FILE *trace) PS_CHECKED;
void      world_close(struct world *w);

uint64_t world_draw(struct world *w, uint64_t bound);

/* The first thing that is wrong counts. */
void world_wrong(struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void world_say(struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A process for a client begins or ends. */
ps_status world_seat(struct world *w, uint32_t i, bool observer) PS_CHECKED;
void      world_unseat(struct world *w, uint32_t i);

/* A psd ends as by SIGKILL, and is started again when back_ns has come. */
void world_kill(struct world *w, uint32_t host, uint64_t back_ns);

/* Its disk fails from the next write on, and the psd with it. */
void world_break_disk(struct world *w, uint32_t host, uint64_t until_ns);

/* Sends what the client of seat i has put into the outbox. */
void world_post_client(struct world *w, uint32_t i);

/* Which life of a job has this epoch?  The higher, the later. */
uint64_t world_life(const struct world *w, uint64_t epoch);

/* When something is due that is not the caller's; WORLD_NEVER: nothing. */
uint64_t world_next(const struct world *w);

/* Time goes on to now_ns, what is due happens. */
void world_run(struct world *w, uint64_t now_ns);

#endif
