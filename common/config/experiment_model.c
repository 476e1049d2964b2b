/* experiment_model.c - `model:`, whose keys are the worker's own options; see
 * experiment_private.h. */
#include "common/config/experiment_private.h"

#include <stdlib.h>
#include <string.h>

static ps_status bad_setting(const struct ps_node *node, const char *file,
                             const char *fact)
{
    char where[PS_WHERE_BYTES];

    ps_node_where(node, file, where);
    return ps_fail(PS_ERR_CONFIG, "%s: %s", where, fact);
}

static ps_status check_item(const struct ps_node *item, const char *file)
{
    if (item->kind != PS_NODE_TEXT)
        return bad_setting(item, file,
                           "a list or mapping within, expected words or numbers");
    if (!*item->text && !item->quoted)
        return bad_setting(item, file, "found no value, expected a word or number");
    return PS_OK;
}

static ps_status check_setting(const struct ps_node *node, const char *file)
{
    size_t    bytes = strlen(node->key);
    ps_status st = PS_OK;

    if (node->key[0] < 'a' || node->key[0] > 'z' || bytes >= PS_NAME_BYTES ||
        node->key[strspn(node->key, "abcdefghijklmnopqrstuvwxyz0123456789_-")])
        return bad_setting(node, file,
                           "not an option's name, expected up to 127 of a-z, 0-9, _ "
                           "and -, the first of a-z");
    if (node->kind == PS_NODE_MAP)
        return bad_setting(node, file,
                           "found a mapping, expected a word, a number or a list");
    if (node->kind == PS_NODE_TEXT)
        return check_item(node, file);
    if (node->n == 0)
        return bad_setting(node, file, "found an empty list, expected values in it");
    for (size_t i = 0; !st && i < node->n; i++)
        st = check_item(node->children[i], file);
    return st;
}

/* A list becomes "a,b"; NULL without memory. */
static char *value_of(const struct ps_node *node)
{
    size_t bytes = 1;
    char  *value, *end;

    if (node->kind == PS_NODE_TEXT)
        return strdup(node->text);
    for (size_t i = 0; i < node->n; i++)
        bytes += strlen(node->children[i]->text) + 1;
    if (!(value = end = malloc(bytes)))
        return NULL;
    for (size_t i = 0; i < node->n; i++) {
        if (i > 0)
            *end++ = ',';
        end = stpcpy(end, node->children[i]->text);
    }
    return value;
}

ps_status ps_experiment_load_model(struct ps_experiment *e, const struct ps_node *model,
                                   const char *file)
{
    ps_status st;

    if (!model || (model->kind == PS_NODE_MAP && model->n == 0))
        return PS_OK;
    if (model->kind != PS_NODE_MAP)
        return bad_setting(model, file,
                           "not a mapping, expected options of the worker");
    if (!(e->model = calloc(model->n, sizeof(*e->model))))
        goto no_memory;
    for (size_t i = 0; i < model->n; i++) {
        const struct ps_node *node = model->children[i];

        if ((st = check_setting(node, file)))
            return st;
        e->n_model = i + 1;
        e->model[i].key = strdup(node->key);
        e->model[i].value = value_of(node);
        if (!e->model[i].key || !e->model[i].value)
            goto no_memory;
    }
    return PS_OK;

no_memory:
    return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for its model", file);
}

ps_status ps_experiment_print_model(const struct ps_experiment *e, struct ps_node *tree)
{
    struct ps_node *model, *node;
    ps_status       st = ps_node_add(tree, PS_NODE_MAP, "model", NULL, &model);

    for (size_t i = 0; !st && i < e->n_model; i++) {
        st =
            ps_node_add(model, PS_NODE_TEXT, e->model[i].key, e->model[i].value, &node);
        if (!st)
            node->quoted = true;
    }
    return st;
}
