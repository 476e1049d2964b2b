/*
 * faults.h - what is done to the processes of a run on purpose, and when.
 *
 * Takes the experiment's `faults:` and the list of processes.  A fault is due when the
 * job has come to its clock, as far as psexp knows, and its victim runs; each is done
 * once, also when the job goes back to an earlier clock afterwards.  Killing, stopping
 * and going on happen here; starting is the run's, which is told whom.
 *
 * A worker is started again only when the coordinator does not count the old one as
 * there any more, else its rank would be taken.
 *
 * Thread: one.
 */
#ifndef TOOLS_FAULTS_H
#define TOOLS_FAULTS_H

#include "common/config/config.h"
#include "tools/process.h"
#include "tools/progress.h"

#include <jansson.h>

enum fault_state {
    FAULT_AHEAD,   /* its clock has not come, or its victim does not run */
    FAULT_DOWN,    /* killed, to be started again */
    FAULT_STOPPED, /* to go on */
    FAULT_OVER,
};

struct fault {
    const struct ps_fault *asked;
    struct process        *victim;
    bool                   is_server;
    unsigned               number; /* process or rank */
    enum fault_state       state;
    bool                   taken; /* a killed worker's rank, as far as we know */
    uint64_t               clock; /* when it was done */
    double                 seconds, again_seconds; /* of the run; NAN: never */
};

struct faults {
    size_t        n;
    struct fault *list;
    unsigned      server_starts, worker_starts; /* beyond the first of each */
};

/* The experiment and the processes outlive it. */
ps_status faults_prepare(struct faults *f, const struct ps_experiment *e,
                         struct process *servers, struct process *workers) PS_CHECKED;
void      faults_free(struct faults *f);

/* Kills, stops and lets go on who is due, and says so. */
void faults_act(struct faults *f, uint64_t clock, double seconds, struct progress *p);

/* Whom to start now, as his fault; NULL: nobody. */
struct fault *faults_start(struct faults *f, double seconds);

/* He was started. */
void faults_started(struct faults *f, struct fault *fault, double seconds,
                    struct progress *p);

/* The coordinator does (not) count the worker of this rank as there. */
void faults_rank_taken(struct faults *f, unsigned rank, bool taken);

/* Was it killed on purpose, and does not run since? */
bool faults_killed(const struct faults *f, const struct process *p);

/* Is it away or stopped, and nobody to talk to? */
bool faults_silent(const struct faults *f, const struct process *p);

/* Is there one that will be started again or go on? */
bool faults_open(const struct faults *f);

/* Is there one whose clock has not come? */
bool faults_ahead(const struct faults *f);

/* Those that the run did not come to, in sentences. */
void faults_tell_missed(const struct faults *f);

/* A list for the summary; NULL: no memory. */
json_t *faults_json(const struct faults *f);

#endif
