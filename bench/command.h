/*
 * command.h - what the benchmarks' command lines have in common: numbers as options,
 * sentences on standard error, and an end by signal.
 *
 * It does not know what is measured.
 *
 * Thread: the program's first; bench_may_go_on any.
 */
#ifndef BENCH_COMMAND_H
#define BENCH_COMMAND_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* First of all: `program` is the name in front of every sentence, a literal.  From now
 * on SIGINT and SIGTERM end what is measured, and failures are printed. */
void bench_begin(const char *program);

/* PS_ERR_ABORTED as soon as a signal has come. */
ps_status bench_may_go_on(void) PS_CHECKED;

/* Says what is wrong with the command line; the exit code. */
int bench_wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The argument of --OPTION, a whole number from 1 to `most`.  -1: go on; else the exit
 * code. */
int bench_count(const char *option, const char *text, uint32_t most, uint32_t *out);

/* A number from 0 to `most`; false if it is none. */
bool bench_number(const char *text, double most, double *out);

/* "2 cores, load 0.4 before", without an end of line. */
void bench_print_machine(FILE *to);

#endif
