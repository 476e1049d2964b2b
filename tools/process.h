/*
 * process.h - the programs that an experiment starts, and their end.
 *
 * Each child writes to a log of its own, in a process group of its own (so that the
 * terminal's Ctrl-C reaches psexp alone, which then ends them in order), and is killed
 * by the kernel when psexp dies.
 *
 * Thread: one.
 */
#ifndef TOOLS_PROCESS_H
#define TOOLS_PROCESS_H

#include "common/base/status.h"

#include <stdbool.h>
#include <sys/types.h>

struct process {
    char  name[64]; /* "worker 1", for sentences */
    char *log;      /* path */
    pid_t pid;      /* 0: not running */
    bool  ended;
    int   wait_status; /* once ended */
};

/* `environment`: "NAME=value" strings added to the caller's own, NULL at the end.  One
 * that ran before is started again, and goes on with its log. */
ps_status process_start(struct process *p, char *const *argv,
                        char *const *environment) PS_CHECKED;

/* Started, and not ended.  Never blocks. */
bool process_runs(struct process *p);

/* To it and all of its group; to one that does not run, nothing. */
void process_signal(const struct process *p, int number);

/* SIGKILL, and waits for its end. */
void process_kill(struct process *p);

/* Has it ended?  Never blocks. */
bool process_ended(struct process *p);

/* Ended well? */
bool process_succeeded(const struct process *p);

/* "worker 1 ended with exit code 69: lenet: ..." with the last line of its log. */
void process_describe_end(const struct process *p, char *text, size_t bytes);

/* The last line of its log, without level prefix; "" when there is none. */
void process_last_line(const struct process *p, char *text, size_t bytes);

/* SIGTERM, and after `grace_ms` SIGKILL, to all that run; waits for them. */
void process_stop_all(struct process *list, size_t n, int grace_ms);

void process_free(struct process *p);

/* Splits a command line at blanks; '...' and "..." keep them.  The caller frees the
 * array and each word.  PS_ERR_CONFIG. */
ps_status process_split(const char *command, char ***words, size_t *n) PS_CHECKED;

#endif
