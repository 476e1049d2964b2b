/* check.c - is a tree what a schema asks for?  One sentence if not; see schema.h. */
#include "common/config/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXPECTED_BYTES 640u

/* One value under check. */
struct checked {
    const struct ps_schema     *schema;
    const char                 *file;
    const struct ps_node       *node;
    const cyaml_schema_value_t *type;
};

static void list_keys(const cyaml_schema_field_t *field, char *out, size_t room)
{
    size_t used = 0;

    for (; field->key && used < room; field++)
        used += (size_t)snprintf(out + used, room - used, "%s%s", used ? ", " : "",
                                 field->key);
}

static void list_words(const cyaml_schema_value_t *type, char *out, size_t room)
{
    size_t used = 0;

    for (uint32_t i = 0; i < type->enumeration.count && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%s", used ? ", " : "",
                                 type->enumeration.strings[i].str);
}

static const struct ps_range *range_of(const struct checked *c)
{
    char path[PS_PATH_BYTES];

    ps_node_path(c->node, path);
    for (size_t i = 0; i < c->schema->n_ranges; i++)
        if (!strcmp(c->schema->ranges[i].path, path))
            return &c->schema->ranges[i];
    return NULL;
}

/* "1 to 256", "above 0 and at most 1", "at least 1" */
static void describe_range(const struct checked *c, char *out, size_t room)
{
    const struct ps_range *r = range_of(c);
    bool                   whole = c->type->type == CYAML_UINT;

    if (isinf(r->max) && whole)
        snprintf(out, room, "%.0f to %ju", r->min, (uintmax_t)UINT64_MAX);
    else if (isinf(r->max))
        snprintf(out, room, "%s %g", r->above ? "above" : "at least", r->min);
    else if (r->above || r->below)
        snprintf(out, room, "%s %g and %s %g", r->above ? "above" : "at least", r->min,
                 r->below ? "below" : "at most", r->max);
    else
        snprintf(out, room, "%.15g to %.15g", r->min, r->max);
}

/* What should have stood there. */
static void describe_type(const struct checked *c, char out[EXPECTED_BYTES])
{
    char more[EXPECTED_BYTES - 64] = "";

    switch (c->type->type) {
    case CYAML_SEQUENCE:
        list_keys(c->type->sequence.entry->mapping.fields, more, sizeof(more));
        snprintf(out, EXPECTED_BYTES, "a list of mappings with keys of %s", more);
        break;
    case CYAML_MAPPING:
        list_keys(c->type->mapping.fields, more, sizeof(more));
        snprintf(out, EXPECTED_BYTES, "a mapping with keys of %s", more);
        break;
    case CYAML_ENUM:
        list_words(c->type, more, sizeof(more));
        snprintf(out, EXPECTED_BYTES, "one of %s", more);
        break;
    case CYAML_UINT:
    case CYAML_INT:
        describe_range(c, more, sizeof(more));
        snprintf(out, EXPECTED_BYTES, "a whole number, %s", more);
        break;
    case CYAML_FLOAT:
        describe_range(c, more, sizeof(more));
        snprintf(out, EXPECTED_BYTES, "a number, %s", more);
        break;
    case CYAML_BOOL: snprintf(out, EXPECTED_BYTES, "true or false"); break;
    default: snprintf(out, EXPECTED_BYTES, "text"); break;
    }
}

/* "found 4, expected a mapping ..." */
static ps_status wrong_type(const struct checked *c)
{
    const struct ps_node *node = c->node;
    char                  where[PS_WHERE_BYTES], expected[EXPECTED_BYTES];
    char                  found[PS_SHOWN_BYTES] = "no value";

    ps_node_where(node, c->file, where);
    describe_type(c, expected);
    if (node->kind != PS_NODE_TEXT)
        snprintf(found, sizeof(found),
                 node->kind == PS_NODE_LIST ? "a list" : "a mapping");
    else if (*node->text || node->quoted)
        ps_shown(*node->text ? node->text : "empty text", found);
    return ps_fail(PS_ERR_CONFIG, "%s: found %s, expected %s", where, found, expected);
}

static ps_status out_of_range(const struct checked *c)
{
    char where[PS_WHERE_BYTES], found[PS_SHOWN_BYTES], expected[EXPECTED_BYTES];

    ps_node_where(c->node, c->file, where);
    ps_shown(c->node->text, found);
    describe_range(c, expected, sizeof(expected));
    return ps_fail(PS_ERR_CONFIG, "%s: %s is out of range, expected %s", where, found,
                   expected);
}

static bool in_range(const struct checked *c, double value)
{
    const struct ps_range *r = range_of(c);

    return (r->above ? value > r->min : value >= r->min) &&
           (r->below ? value < r->max : value <= r->max) && isfinite(value);
}

/* Decimal, without a leading zero, which others would take for octal. */
static ps_status check_whole(const struct checked *c)
{
    bool        minus = c->node->text[0] == '-';
    const char *digits = c->node->text + minus;
    uintmax_t   value;

    if (!*digits || digits[strspn(digits, "0123456789")] ||
        (digits[0] == '0' && digits[1]))
        return wrong_type(c);
    errno = 0;
    value = strtoumax(digits, NULL, 10);
    if (errno || value > UINT64_MAX || (minus && c->type->type == CYAML_UINT) ||
        !in_range(c, minus ? -(double)value : (double)value))
        return out_of_range(c);
    return PS_OK;
}

/* No nan, inf or hexadecimal. */
static ps_status check_number(const struct checked *c)
{
    const char *text = c->node->text;
    char       *end;
    double      value = strtod(text, &end);

    if (end == text || *end || text[strspn(text, "0123456789+-.eE")])
        return wrong_type(c);
    return in_range(c, value) ? PS_OK : out_of_range(c);
}

static ps_status check_word(const struct checked *c)
{
    char where[PS_WHERE_BYTES], found[PS_SHOWN_BYTES], expected[EXPECTED_BYTES];

    for (uint32_t i = 0; i < c->type->enumeration.count; i++)
        if (!strcmp(c->node->text, c->type->enumeration.strings[i].str))
            return PS_OK;
    ps_node_where(c->node, c->file, where);
    ps_shown(c->node->text, found);
    list_words(c->type, expected, sizeof(expected));
    return ps_fail(PS_ERR_CONFIG, "%s: %s is unknown, expected one of %s", where, found,
                   expected);
}

static ps_status check_text(const struct checked *c)
{
    char   where[PS_WHERE_BYTES];
    size_t bytes = strlen(c->node->text);

    if (bytes <= c->type->string.max)
        return PS_OK;
    ps_node_where(c->node, c->file, where);
    return ps_fail(PS_ERR_CONFIG, "%s: too long with %zu bytes, expected at most %u",
                   where, bytes, c->type->string.max);
}

static ps_status check_scalar(const struct checked *c)
{
    const char *text = c->node->text;

    if (c->node->kind != PS_NODE_TEXT || (!*text && !c->node->quoted) ||
        (!*text && c->type->type != CYAML_STRING))
        return wrong_type(c);
    switch (c->type->type) {
    case CYAML_UINT:
    case CYAML_INT: return check_whole(c);
    case CYAML_FLOAT: return check_number(c);
    case CYAML_ENUM: return check_word(c);
    case CYAML_BOOL:
        return strcmp(text, "true") && strcmp(text, "false") ? wrong_type(c) : PS_OK;
    default: return check_text(c);
    }
}

static ps_status unknown_key(const struct checked *map, const struct ps_node *child)
{
    char where[PS_WHERE_BYTES], expected[EXPECTED_BYTES];

    ps_node_where(child, map->file, where);
    list_keys(map->type->mapping.fields, expected, sizeof(expected));
    return ps_fail(PS_ERR_CONFIG, "%s: unknown key, expected one of %s", where,
                   expected);
}

static ps_status check(const struct checked *c);

static ps_status check_child(const struct checked *map, const struct ps_node *child)
{
    const cyaml_schema_field_t *field = map->type->mapping.fields;
    struct checked              c = *map;

    while (field->key && strcmp(field->key, child->key))
        field++;
    if (!field->key)
        return unknown_key(map, child);
    c.node = child;
    c.type = &field->value;
    return check(&c);
}

static ps_status check_list(const struct checked *list)
{
    char           where[PS_WHERE_BYTES];
    struct checked c = *list;
    ps_status      st = PS_OK;

    if (list->node->kind != PS_NODE_LIST)
        return wrong_type(list);
    if (list->node->n > list->type->sequence.max) {
        ps_node_where(list->node, list->file, where);
        return ps_fail(PS_ERR_CONFIG, "%s: %zu entries, expected at most %u", where,
                       list->node->n, list->type->sequence.max);
    }
    c.type = list->type->sequence.entry;
    for (size_t i = 0; !st && i < list->node->n; i++) {
        c.node = list->node->children[i];
        st = check(&c);
    }
    return st;
}

static ps_status check(const struct checked *c)
{
    ps_status st = PS_OK;

    if (c->type->type == CYAML_IGNORE)
        return PS_OK;
    if (c->type->type == CYAML_SEQUENCE)
        return check_list(c);
    if (c->type->type != CYAML_MAPPING)
        return check_scalar(c);
    if (c->node->kind != PS_NODE_MAP)
        return wrong_type(c);
    for (size_t i = 0; !st && i < c->node->n; i++)
        st = check_child(c, c->node->children[i]);
    return st;
}

ps_status ps_schema_check(const struct ps_schema *schema, const struct ps_node *tree,
                          const char *file)
{
    struct checked c = {
        .schema = schema, .file = file, .node = tree, .type = &schema->root
    };

    return check(&c);
}
