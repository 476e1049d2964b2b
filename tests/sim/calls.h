/*
 * calls.h - what a worker of the simulator asks of the servers, and what it computes.
 */
#ifndef TESTS_SIM_CALLS_H
#define TESTS_SIM_CALLS_H

#include "tests/sim/programme.h"

/* tally-0, model-0, tally-1, ..., rows, embed */
unsigned              calls_n_matrices(const struct plan *plan);
struct ps_matrix_spec calls_spec(const struct plan *plan, unsigned m);

/* The row of an iteration. */
uint64_t calls_row_key(uint32_t rank, uint64_t iteration);

ps_status calls_move(struct programme *p, uint32_t i, uint32_t moves,
                     const struct psw_span *spans, uint32_t n,
                     struct ps_ticket **out) PS_CHECKED;

/* Each begins; its ticket is the student's. */
ps_status calls_pull_dense(struct programme *p, uint32_t i) PS_CHECKED;
ps_status calls_view(struct programme *p, uint32_t i) PS_CHECKED;
ps_status calls_pull_embed(struct programme *p, uint32_t i) PS_CHECKED;
ps_status calls_push_rows(struct programme *p, uint32_t i) PS_CHECKED;
ps_status calls_push_embed(struct programme *p, uint32_t i) PS_CHECKED;
ps_status calls_finish(struct programme *p, uint32_t i) PS_CHECKED;

/* The view has come: its values count as pulled.  The one before it is let go of. */
void calls_look(struct programme *p, uint32_t i);

/* Gradients from the values that were pulled. */
void calls_compute(struct programme *p, uint32_t i);

/* Makes wrong what the worker pushes from: who still reads it will be found out. */
void calls_spoil(struct programme *p, uint32_t i);

#endif
