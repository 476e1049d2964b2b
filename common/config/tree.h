/*
 * tree.h - a YAML text as a small tree that remembers where everything was said.
 *
 * The tree knows lines, lists and mappings, and which `--set` put a value there.  It
 * does not know what the keys mean: that is schema.h's part.
 *
 * Only plain data is let in: one document, no anchors, aliases or tags, no key twice,
 * at most 1 MiB, PS_TREE_NODES values and PS_TREE_DEPTH levels, so that nothing in a
 * file can cost more than its length.
 *
 * Thread: any; a tree belongs to whoever holds it.
 */
#ifndef PS_CONFIG_TREE_H
#define PS_CONFIG_TREE_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stdio.h>

#define PS_TREE_BYTES (1u << 20)
#define PS_TREE_NODES 4096u
#define PS_TREE_DEPTH 16u

#define PS_PATH_BYTES 256u  /* "a.b.c" as a sentence shows it, with the NUL */
#define PS_WHERE_BYTES 768u /* the first part of a sentence, with the NUL */
#define PS_SHOWN_BYTES 64u  /* a value as a sentence shows it, with the NUL */

enum ps_node_kind {
    PS_NODE_TEXT,
    PS_NODE_LIST,
    PS_NODE_MAP,
};

struct ps_node {
    enum ps_node_kind kind;
    char             *key;    /* NULL: the root, or in a list */
    char             *text;   /* of PS_NODE_TEXT, never NULL there */
    bool              quoted; /* it stands in quotes; else "" means: no value */
    uint32_t          line;   /* from 1; 0: not from a text */
    const char       *set;    /* the --set that said it, lent; NULL: the file */

    struct ps_node  *parent; /* NULL: the root */
    struct ps_node **children;
    size_t           n;
};

/* The tree of a file or a text; a text without a document is an empty mapping.
 * `name` is what complaints call it. */
ps_status ps_tree_read(struct ps_node **out, const char *file) PS_CHECKED;
ps_status ps_tree_parse(struct ps_node **out, const char *name, const char *text,
                        size_t bytes) PS_CHECKED;

/*
 * Applies "a.b=c": c is read as YAML, a word or a list, and takes the place of what
 * stood at a.b.  The string must outlive the tree.
 */
ps_status ps_tree_set(struct ps_node *root, const char *set) PS_CHECKED;

void ps_tree_free(struct ps_node **root);

/* A new child, at the end; `key` and `text` are copied and may be NULL. */
ps_status ps_node_add(struct ps_node *parent, enum ps_node_kind kind, const char *key,
                      const char *text, struct ps_node **out) PS_CHECKED;

/* The child of that key, or NULL; `map` NULL has none. */
struct ps_node *ps_node_find(const struct ps_node *map, const char *key);

/* The whole tree as YAML; the text is freed by the caller and has no NUL. */
ps_status ps_tree_write(const struct ps_node *root, char **text,
                        size_t *bytes) PS_CHECKED;
ps_status ps_tree_print(const struct ps_node *root, FILE *to) PS_CHECKED;

/* Its keys from the root, "job.strategy"; items of a list have the path of the list. */
void ps_node_path(const struct ps_node *node, char out[PS_PATH_BYTES]);

/* "conf/psd.yaml:7: shards" or "--set job.strategy=bps". */
void ps_node_where(const struct ps_node *node, const char *file,
                   char out[PS_WHERE_BYTES]);

/* The same for a path below `root`; "conf/psd.yaml: shards" when nobody said it. */
void ps_tree_where(const struct ps_node *root, const char *path, const char *file,
                   char out[PS_WHERE_BYTES]);

/* A text from outside as a sentence may show it: short, on one line. */
void ps_shown(const char *text, char out[PS_SHOWN_BYTES]);

#endif
