/*
 * schema.h - a tree into a struct and back, by one libcyaml schema.
 *
 * libcyaml says which keys there are, of what type, and where they go; it loads the
 * values.  What it does not say it gets from the same table here: sentences with file
 * and line, ranges of numbers, and defaults.  libcyaml alone would read -1 as a large
 * number, 010 as 8 and `maybe` as true, so every value is checked before it loads.
 *
 * Schemas for this room: every field is optional; text is CYAML_FIELD_STRING_PTR,
 * empty text counts as left out; a key of CYAML_IGNORE is its room's own business;
 * mappings share the struct of their parent or lie within it; lists hold mappings, in
 * an array with a count, and what these leave out is zero: defaults there are their
 * room's business too.  A word that the schema does not know is one that nobody said.
 *
 * Thread: any; nothing here keeps state.
 */
#ifndef PS_CONFIG_SCHEMA_H
#define PS_CONFIG_SCHEMA_H

#include "common/config/tree.h"

#include <cyaml/cyaml.h>

/* What a number may be.  max INFINITY: as large as its type holds. */
struct ps_range {
    const char *path; /* "job.strategy" */
    double      min, max;
    bool        above, below; /* min, max themselves are out */
};

struct ps_schema {
    cyaml_schema_value_t   root;
    const struct ps_range *ranges; /* one for every number of the schema */
    size_t                 n_ranges;
};

/* Are there only keys and values that the schema asks for? */
ps_status ps_schema_check(const struct ps_schema *schema, const struct ps_node *tree,
                          const char *file) PS_CHECKED;

/*
 * Checks the tree and loads it into a new struct of the schema; what the tree does not
 * say is zero.  `file` is for complaints.
 */
ps_status ps_schema_load(void **out, const struct ps_schema *schema,
                         const struct ps_node *tree, const char *file) PS_CHECKED;

/* Copies from `defaults`, a struct of the schema, what the tree does not say. */
ps_status ps_schema_fill(const struct ps_schema *schema, const struct ps_node *tree,
                         void *data, const void *defaults) PS_CHECKED;

/* The tree that loads to `data`.  Text that is NULL is left out. */
ps_status ps_schema_tree(struct ps_node **out, const struct ps_schema *schema,
                         const void *data) PS_CHECKED;

/* Frees the struct and its texts; *data becomes NULL. */
void ps_schema_free(const struct ps_schema *schema, void **data);

#endif
