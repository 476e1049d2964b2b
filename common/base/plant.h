/*
 * plant.h - mistakes on purpose, to see that the simulator finds them.
 *
 * Only in the copies of a few files that tests/sim/planted is built of; everywhere else
 * PSD_PLANTED is false, and what depends on it is not there.
 */
#ifndef PS_BASE_PLANT_H
#define PS_BASE_PLANT_H

enum psd_plant {
    PLANT_NONE,
    PLANT_DEDUPE,        /* the last push seen is taken for a fresh one */
    PLANT_ACK_EARLY,     /* a push that has to wait is acknowledged and forgotten */
    PLANT_DEAD_COUNTS,   /* the gate waits for one that has left */
    PLANT_TORN,          /* chunks of a snapshot, or in a view, are written to */
    PLANT_LATE_IS_OK,    /* a late push is acknowledged like one in time */
    PLANT_SLACK,         /* ssp: one iteration more */
    PLANT_SPARES,        /* backup: one worker fewer */
    PLANT_PARTS,         /* an iteration ends before all of its parts are here */
    PLANT_NO_RESEND,     /* the worker sends once */
    PLANT_HIGHEST,       /* after a rollback it goes on from the furthest shard */
    PLANT_DURABLE,       /* durable is said when it is applied */
    PLANT_MIXED_SETS,    /* each shard loads its newest part */
    PLANT_OLD_LIFE,      /* a message of an older life begins that life again */
    PLANT_KEPT_GRADIENT, /* what a lost worker had begun is not dropped */
    PLANT_PARTS_AGAIN,   /* which parts of an iteration a snapshot has is forgotten */
    PLANT_ROLLBACK,      /* max_rollback is not kept */
    PLANT_LENT,          /* a gradient is read after its push was given up */
    PLANTS,
};

#ifdef PSD_PLANT
extern enum psd_plant psd_planted; /* the one that is there */
#define PSD_PLANTED(plant) (psd_planted == (plant))
#else
#define PSD_PLANTED(plant) 0
#endif

#endif
