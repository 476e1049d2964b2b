/*
 * find.h - where experiments and programs are: by path, beside a build, or installed.
 *
 * Experiments: a path; else NAME.yaml in each folder of $PSD_EXPERIMENTS; else in
 * share/psd/experiments of the installation.  Programs: a path; else in each folder of
 * $PSD_BINDIR; else where the installation puts them; else on the PATH.
 */
#ifndef TOOLS_FIND_H
#define TOOLS_FIND_H

#include "common/base/status.h"

#include <stdio.h>

/* *out is the caller's to free.  PS_ERR_CONFIG with the places that were searched. */
ps_status find_experiment(const char *name, char **out) PS_CHECKED;
ps_status find_program(const char *name, char **out) PS_CHECKED;

/* The experiments that can be found by name, one a line. */
void find_list_experiments(FILE *to);

#endif
