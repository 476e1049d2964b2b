/*
 * heartbeat.h - tells the coordinator each second that this process lives, also while
 * its own thread computes for minutes.
 *
 * One small thread with a connection of its own.  It shares nothing with the worker
 * but who that is, a few numbers and a word: when the coordinator says that it is over,
 * the word is kept and the worker's thread is woken.  The same when the job has gone
 * back, which the coordinator says by another epoch in its answer than the beat had.
 *
 * Thread: the worker's, for all functions here.
 */
#ifndef PSW_HEARTBEAT_H
#define PSW_HEARTBEAT_H

#include "common/net/net.h"
#include "common/wire/wire.h"

struct psw_heartbeat;

/* `who` holds what every message of this worker carries, and in `version` the number of
 * the life that its epoch is of; `wake` is raised when there
 * is a word or the job has gone back, and must live until the stop. */
ps_status psw_heartbeat_start(struct psw_heartbeat **out, struct ps_net *net,
                              const char *coordinator, const struct ps_header *who,
                              struct ps_signal *wake) PS_CHECKED;
void      psw_heartbeat_stop(struct psw_heartbeat **heartbeat);

/* What the next beat says; of `who` as in psw_heartbeat_start. */
void psw_heartbeat_tell(struct psw_heartbeat *hb, const struct ps_header *who,
                        uint64_t clock, const struct ps_traffic *traffic);

/* Is the life of the job over that has this epoch, because the job has gone back? */
bool psw_heartbeat_is_over(const struct psw_heartbeat *hb, uint64_t epoch);

/* When the coordinator last answered; 0: never. */
uint64_t psw_heartbeat_heard_ns(const struct psw_heartbeat *hb);

/* PS_OK: no word.  Else the coordinator's status, and *why its sentence. */
ps_status psw_heartbeat_word(const struct psw_heartbeat *hb,
                             const char                **why) PS_CHECKED;

#endif
