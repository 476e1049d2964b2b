/*
 * experiment_private.h - what the files of experiments share.
 *
 * experiment_keys.c says which keys a file may have, experiment_model.c takes apart the
 * one mapping whose keys are free, experiment_faults.c says which faults make sense,
 * and experiment.c makes a struct of the whole: it knows what left out keys mean, and
 * which values do not go together.
 *
 * Thread: any; nothing here keeps state.
 */
#ifndef PS_CONFIG_EXPERIMENT_PRIVATE_H
#define PS_CONFIG_EXPERIMENT_PRIVATE_H

#include "common/config/config.h"
#include "common/config/schema.h"

#define BATCH_MAX 1048576

/* Of struct ps_experiment, without `model`. */
extern const struct ps_schema ps_experiment_schema;

/* Fills what the entries of `faults:` leave out, and refuses those that contradict
 * themselves or the rest of the experiment.  `faults` NULL: the file has none. */
ps_status ps_experiment_load_faults(struct ps_experiment *e,
                                    const struct ps_node *faults,
                                    const char           *file) PS_CHECKED;

/* `model` NULL: the file has none.  On failure e holds what was loaded until then. */
ps_status ps_experiment_load_model(struct ps_experiment *e, const struct ps_node *model,
                                   const char *file) PS_CHECKED;

/* Adds `model:` to a tree of the rest. */
ps_status ps_experiment_print_model(const struct ps_experiment *e,
                                    struct ps_node             *tree) PS_CHECKED;

#endif
