/*
 * options.h - what the command line of psd says.
 *
 * Thread: the main one.
 */
#ifndef PSD_DAEMON_OPTIONS_H
#define PSD_DAEMON_OPTIONS_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stdio.h>

struct psd_options {
    const char  *config;   /* file; NULL: none */
    const char  *announce; /* file; NULL: none */
    const char **sets;     /* "a.b=c", in the order given */
    size_t       n_sets;
    bool         check_config, dump_config, version, help;
};

/* The texts stay the command line's.  PS_ERR_BAD_ARG and a sentence otherwise. */
ps_status psd_options_parse(struct psd_options *out, int argc,
                            char *const *argv) PS_CHECKED;
void      psd_options_free(struct psd_options *o);

void psd_options_help(FILE *to);

#endif
