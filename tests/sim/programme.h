/*
 * programme.h - what the workers of the simulator do, and what must have come of it.
 *
 * Each worker goes through the plan's iterations as a training program would: it pulls,
 * computes, pushes, and finishes.  Beside gradients that depend on what was pulled it
 * pushes a one into an element of its own for each iteration: the tallies, one matrix
 * for each shard, and a sparse one.  A ledger says between which bounds each element
 * must be: 1 for an iteration that was acknowledged, 0 or 1 for one that was begun and
 * whose worker died, 0 for one that was never begun.
 *
 * In some plans a worker also looks at one of the matrices where it is, and computes
 * with what it sees.  It holds the view until the next one, and longer than it lives;
 * meanwhile that must not change.
 *
 * At the end an observer reads everything.
 */
#ifndef TESTS_SIM_PROGRAMME_H
#define TESTS_SIM_PROGRAMME_H

#include "tests/sim/world.h"

#define PROGRAMME_GROUPS (PLAN_HOSTS * PLAN_SHARDS)
#define PROGRAMME_MATRICES (2 * PROGRAMME_GROUPS + 2)
#define PROGRAMME_ITERATIONS 32u
#define OBSERVER PLAN_WORKERS /* a student that looks at what the others did */
#define MODEL_ROWS 3u
#define MODEL_COLS 5u
#define MODEL_ELEMENTS (MODEL_ROWS * MODEL_COLS)
#define TALLY_ELEMENTS (PROGRAMME_ITERATIONS * PLAN_WORKERS)
#define EMBED_COLS 2u
#define EMBED_KEYS 5u  /* of an iteration, some of them twice */
#define EMBED_ROWS 11u /* different ones */

enum stage {
    STAGE_AWAY, /* until wake_ns */
    STAGE_HELLO,
    STAGE_OPEN,
    STAGE_PULL,
    STAGE_VIEW,
    STAGE_PULL_EMBED,
    STAGE_COMPUTE, /* until wake_ns */
    STAGE_PUSH_ROWS,
    STAGE_PUSH_EMBED,
    STAGE_FINISH,
    STAGE_REST,
    STAGE_WAIT, /* for the others, before it leaves */
    STAGE_DRAIN,
    STAGE_BYE,
    STAGE_DONE,
};

struct student {
    enum stage        stage;
    uint64_t          wake_ns;      /* AWAY, COMPUTE */
    uint64_t          deadline_ns;  /* of the call in progress */
    struct ps_ticket *ticket;       /* of the call in progress */
    struct ps_ticket *rows, *embed; /* pushes that the end of the iteration waits for */
    unsigned          opened;
    ps_matrix        *matrices[PROGRAMME_MATRICES];
    uint64_t          iteration; /* in progress, from 1 */
    uint64_t          late;      /* of the seat, when the iteration began */
    uint64_t          lives;
    uint64_t          rollbacks; /* of the life, that it knows of */
    uint64_t          map_epoch; /* of the job, where it is */
    uint64_t          doomed_ns; /* it is killed in its next push, and away so long */

    int64_t one; /* what it adds to its element of the tallies, while that is pushed */

    unsigned viewed;      /* which matrix is looked at */
    ps_view *view, *held; /* the one that comes, and the one before it, */
    size_t   held_bytes;  /* an element of which has so many, */
    uint8_t  shown[TALLY_ELEMENTS * sizeof(int64_t)]; /* and which has shown this */

    float   model[PROGRAMME_GROUPS][MODEL_ELEMENTS];
    float   gradient[PROGRAMME_GROUPS][MODEL_ELEMENTS];
    int64_t tally[PROGRAMME_GROUPS][TALLY_ELEMENTS];
    float   embed_value[EMBED_KEYS][EMBED_COLS], embed_gradient[EMBED_KEYS][EMBED_COLS];
};

/* What each element of the tallies may be. */
struct ledger {
    uint8_t  low[PROGRAMME_ITERATIONS + 1], high[PROGRAMME_ITERATIONS + 1];
    bool     answered[PROGRAMME_ITERATIONS + 1]; /* and not taken back */
    bool     torn[PROGRAMME_ITERATIONS + 1];     /* some shards may never have it */
    uint64_t begun_by[PROGRAMME_ITERATIONS + 1]; /* the last life that began it */
    uint64_t begun_in[PROGRAMME_ITERATIONS + 1]; /* which life of the job */
};

struct programme {
    struct world   world;
    struct student students[WORLD_CLIENTS];
    struct ledger  ledgers[PLAN_WORKERS];
    uint32_t       job;        /* its number; another one: everything began anew */
    uint64_t       life;       /* of the job, as far as the ledgers know */
    bool           failed;     /* the job, for good */
    bool           off_window; /* somebody has pulled where it would not have */
    bool           went_back;
    bool           disturbed; /* somebody was lost, or came again */
    bool           begun;
    uint32_t       next_fault;
    bool           observing;
    uint64_t       n_steps;
};

static inline const struct plan *plan_in(const struct programme *p)
{
    return p->world.plan;
}

static inline struct psw_client *client_of(const struct programme *p, uint32_t i)
{
    return p->world.seats[i].client;
}

/* What a run has come to. */
struct outcome {
    char     wrong[PS_TEXT_BYTES]; /* "": nothing */
    bool     comparable;           /* bsp, and nothing that may change the model */
    char     hash[65];             /* of the model's parameters */
    uint64_t n_messages, n_lives;
    uint64_t virtual_ns;
};

/* `without`: a bit for each fault of the plan that is left out. */
struct outcome programme_run(const struct plan *plan, uint32_t without, FILE *trace);

/*
 * A run that may be compared must have ended with the model of the undisturbed one,
 * which is run here; else that is what is wrong.
 */
void programme_compare(const struct plan *plan, struct outcome *outcome);

/* Time passes until something happens.  For verdict.c. */
void programme_step(struct programme *p);

#endif
