/*
 * options.h - what the command line says: the shape of the net, and which experiment.
 */
#ifndef LENET_OPTIONS_H
#define LENET_OPTIONS_H

#include "net.h"

struct lenet_options {
    struct lenet_shape shape;  /* but its side, which the images say */
    const char        *config; /* NULL: what PSW_CONFIG names */
    uint32_t           batch;  /* 0: as the experiment says */
    int                serial; /* train alone, without servers */
    int                help;
};

/* 0, or -1 after it said on stderr what is wrong. */
int lenet_options_read(struct lenet_options *o, int argc, char **argv);

void lenet_options_help(void);

#endif
