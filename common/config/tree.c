/* tree.c - see tree.h; the text becomes the tree, and `--set` changes it. */
#include "common/config/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* What a parse in progress knows. */
struct reading {
    yaml_parser_t yaml;
    const char   *name; /* of the file, or "--set a.b=c" */
    bool          set;  /* of a --set, where lines mean nothing */
    size_t        n_nodes;
};

static ps_status no_memory(void)
{
    return ps_fail(PS_ERR_NO_MEMORY, "config: no memory for its values");
}

void ps_shown(const char *text, char out[PS_SHOWN_BYTES])
{
    size_t n = 0;

    for (; *text && n < PS_SHOWN_BYTES - 4; text++)
        out[n++] = (unsigned char)*text < ' ' || *text == 127 ? '?' : *text;
    if (*text) { /* cut, but not within a UTF-8 character */
        while (n > 0 && ((unsigned char)out[n - 1] & 0xc0) == 0x80)
            n--;
        if (n > 0 && (unsigned char)out[n - 1] >= 0xc0)
            n--;
        memcpy(out + n, "...", 3);
        n += 3;
    }
    out[n] = '\0';
}

void ps_node_path(const struct ps_node *node, char out[PS_PATH_BYTES])
{
    char   shown[PS_SHOWN_BYTES];
    size_t used = 0;

    out[0] = '\0';
    if (node->parent) {
        ps_node_path(node->parent, out);
        used = strlen(out);
    }
    if (node->key) {
        ps_shown(node->key, shown);
        snprintf(out + used, PS_PATH_BYTES - used, "%s%s", used ? "." : "", shown);
    }
}

void ps_node_where(const struct ps_node *node, const char *file,
                   char out[PS_WHERE_BYTES])
{
    char path[PS_PATH_BYTES], shown[PS_SHOWN_BYTES];

    ps_node_path(node, path);
    if (!node->set) {
        snprintf(out, PS_WHERE_BYTES, "%.400s:%u%s%s", file, node->line,
                 *path ? ": " : "", path);
        return;
    }
    ps_shown(node->set, shown);
    if (!strncmp(node->set, path, strlen(path)) && node->set[strlen(path)] == '=')
        path[0] = '\0'; /* the --set says it already */
    snprintf(out, PS_WHERE_BYTES, "--set %s%s%s", shown, *path ? ": " : "", path);
}

void ps_tree_where(const struct ps_node *root, const char *path, const char *file,
                   char out[PS_WHERE_BYTES])
{
    char                  part[PS_PATH_BYTES];
    char                 *rest = part, *key;
    const struct ps_node *node = root;

    snprintf(part, sizeof(part), "%s", path);
    while (node && (key = strsep(&rest, ".")))
        node = ps_node_find(node, key);
    if (node)
        ps_node_where(node, file, out);
    else
        snprintf(out, PS_WHERE_BYTES, "%.400s: %s", file, path);
}

static void node_free(struct ps_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->n; i++)
        node_free(node->children[i]);
    free(node->children);
    free(node->key);
    free(node->text);
    free(node);
}

void ps_tree_free(struct ps_node **root)
{
    node_free(*root);
    *root = NULL;
}

/* Takes `node`, also on failure. */
static ps_status adopt(struct ps_node *parent, struct ps_node *node)
{
    struct ps_node **grown = parent->children;

    if ((parent->n & (parent->n - 1)) == 0) /* full at every power of two */
        grown =
            realloc(grown, (parent->n ? 2 * parent->n : 1) * sizeof(struct ps_node *));
    if (!grown) {
        node_free(node);
        return no_memory();
    }
    parent->children = grown;
    parent->children[parent->n++] = node;
    node->parent = parent;
    return PS_OK;
}

static ps_status node_new(enum ps_node_kind kind, const char *key, const char *text,
                          struct ps_node **out)
{
    struct ps_node *node = calloc(1, sizeof(*node));

    if (!node || (key && !(node->key = strdup(key))) ||
        (text && !(node->text = strdup(text)))) {
        node_free(node);
        return no_memory();
    }
    node->kind = kind;
    *out = node;
    return PS_OK;
}

ps_status ps_node_add(struct ps_node *parent, enum ps_node_kind kind, const char *key,
                      const char *text, struct ps_node **out)
{
    ps_status st = node_new(kind, key, text, out);

    return st ? st : adopt(parent, *out);
}

struct ps_node *ps_node_find(const struct ps_node *map, const char *key)
{
    for (size_t i = 0; map && i < map->n; i++)
        if (map->children[i]->key && !strcmp(map->children[i]->key, key))
            return map->children[i];
    return NULL;
}

/* ---- from text to tree ---------------------------------------------------------- */

static void place_of(const struct reading *r, yaml_mark_t mark,
                     char out[PS_WHERE_BYTES])
{
    if (r->set)
        snprintf(out, PS_WHERE_BYTES, "%s", r->name);
    else
        snprintf(out, PS_WHERE_BYTES, "%.400s:%zu", r->name, mark.line + 1);
}

/* Why libyaml stopped. */
static ps_status not_yaml(const struct reading *r)
{
    const yaml_parser_t *p = &r->yaml;
    char                 where[PS_WHERE_BYTES];

    if (p->error == YAML_MEMORY_ERROR)
        return no_memory();
    if (p->error == YAML_READER_ERROR) /* it knows no line, only the byte */
        return ps_fail(PS_ERR_CONFIG,
                       "%s: not a text file (%s at byte %zu), expected YAML in UTF-8",
                       r->name, p->problem, p->problem_offset);
    place_of(r, p->problem_mark, where);
    return ps_fail(PS_ERR_CONFIG, "%s: not YAML: %s%s%s", where, p->problem,
                   p->context ? " " : "", p->context ? p->context : "");
}

static ps_status next_event(struct reading *r, yaml_event_t *event)
{
    return yaml_parser_parse(&r->yaml, event) ? PS_OK : not_yaml(r);
}

static const char *marked_by(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT: return "an alias (*)";
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor ? "an anchor (&)"
               : event->data.scalar.tag  ? "a tag (!)"
                                         : NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor ? "an anchor (&)"
               : event->data.sequence_start.tag  ? "a tag (!)"
                                                 : NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor ? "an anchor (&)"
               : event->data.mapping_start.tag  ? "a tag (!)"
                                                : NULL;
    default: return NULL;
    }
}

static ps_status check_event(const struct reading *r, const yaml_event_t *event)
{
    const char *mark = marked_by(event);
    char        where[PS_WHERE_BYTES];

    place_of(r, event->start_mark, where);
    if (mark)
        return ps_fail(PS_ERR_CONFIG, "%s: %s, expected the value itself", where, mark);
    if (event->type == YAML_SCALAR_EVENT &&
        memchr(event->data.scalar.value, 0, event->data.scalar.length))
        return ps_fail(PS_ERR_CONFIG, "%s: a NUL byte, expected text", where);
    return PS_OK;
}

static ps_status check_size(struct reading *r, const yaml_event_t *event,
                            unsigned depth)
{
    char where[PS_WHERE_BYTES];

    place_of(r, event->start_mark, where);
    if (++r->n_nodes > PS_TREE_NODES)
        return ps_fail(PS_ERR_CONFIG, "%s: too much, expected at most %u values", where,
                       PS_TREE_NODES);
    if (depth > PS_TREE_DEPTH)
        return ps_fail(PS_ERR_CONFIG, "%s: too deep, expected at most %u levels", where,
                       PS_TREE_DEPTH);
    return PS_OK;
}

static enum ps_node_kind kind_of(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT           ? PS_NODE_TEXT
           : event->type == YAML_SEQUENCE_START_EVENT ? PS_NODE_LIST
                                                      : PS_NODE_MAP;
}

static ps_status read_children(struct reading *r, struct ps_node *parent,
                               unsigned depth);

/* The value that `event` starts; it knows its parent, which does not know it yet. */
static ps_status read_value(struct reading *r, const yaml_event_t *event,
                            struct ps_node *parent, const char *key, unsigned depth,
                            struct ps_node **out)
{
    bool        is_text = event->type == YAML_SCALAR_EVENT;
    const char *text = is_text ? (const char *)event->data.scalar.value : NULL;
    ps_status   st;

    if ((st = check_event(r, event)) || (st = check_size(r, event, depth)) ||
        (st = node_new(kind_of(event), key, text, out)))
        return st;
    (*out)->parent = parent;
    (*out)->line = (uint32_t)event->start_mark.line + 1;
    if (is_text)
        (*out)->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    else if ((st = read_children(r, *out, depth)))
        ps_tree_free(out);
    return st;
}

static ps_status check_key(const struct reading *r, const yaml_event_t *event,
                           const struct ps_node *map)
{
    const struct ps_node *before;
    char                  where[PS_WHERE_BYTES], path[PS_PATH_BYTES];
    ps_status             st = check_event(r, event);

    if (st)
        return st;
    place_of(r, event->start_mark, where);
    if (event->type != YAML_SCALAR_EVENT)
        return ps_fail(PS_ERR_CONFIG, "%s: a list or mapping as a key, expected a word",
                       where);
    before = ps_node_find(map, (const char *)event->data.scalar.value);
    if (!before)
        return PS_OK;
    ps_node_path(before, path);
    return ps_fail(PS_ERR_CONFIG, "%s: %s: repeated key, first in line %u", where, path,
                   before->line);
}

/* The key that `event` holds, and the value after it. */
static ps_status read_pair(struct reading *r, const yaml_event_t *event,
                           struct ps_node *map, unsigned depth, struct ps_node **out)
{
    yaml_event_t value;
    ps_status    st = check_key(r, event, map);

    if (st || (st = next_event(r, &value)))
        return st;
    st = read_value(r, &value, map, (const char *)event->data.scalar.value, depth, out);
    yaml_event_delete(&value);
    if (!st)
        (*out)->line = (uint32_t)event->start_mark.line + 1; /* of the key */
    return st;
}

static ps_status read_children(struct reading *r, struct ps_node *parent,
                               unsigned depth)
{
    ps_status st = PS_OK;
    bool      more = true;

    while (!st && more) {
        struct ps_node *child = NULL;
        yaml_event_t    event;

        if ((st = next_event(r, &event)))
            return st;
        if (event.type == YAML_SEQUENCE_END_EVENT ||
            event.type == YAML_MAPPING_END_EVENT)
            more = false;
        else if (parent->kind == PS_NODE_LIST)
            st = read_value(r, &event, parent, NULL, depth + 1, &child);
        else
            st = read_pair(r, &event, parent, depth + 1, &child);
        yaml_event_delete(&event);
        if (child)
            st = adopt(parent, child);
    }
    return st;
}

/* *out stays NULL when there is no document. */
static ps_status read_document(struct reading *r, struct ps_node **out)
{
    char      where[PS_WHERE_BYTES];
    ps_status st = PS_OK;
    bool      more = true;

    while (!st && more) {
        yaml_event_t event;

        if ((st = next_event(r, &event)))
            return st;
        place_of(r, event.start_mark, where);
        if (event.type == YAML_STREAM_END_EVENT)
            more = false;
        else if (event.type == YAML_DOCUMENT_START_EVENT && *out)
            st = ps_fail(PS_ERR_CONFIG, "%s: a second document, expected one", where);
        else if (event.type != YAML_STREAM_START_EVENT &&
                 event.type != YAML_DOCUMENT_START_EVENT &&
                 event.type != YAML_DOCUMENT_END_EVENT)
            st = read_value(r, &event, NULL, NULL, 0, out);
        yaml_event_delete(&event);
    }
    return st;
}

static ps_status parse(struct ps_node **out, struct reading *r, const char *text,
                       size_t bytes)
{
    ps_status st;

    *out = NULL;
    if (bytes > PS_TREE_BYTES)
        return ps_fail(PS_ERR_CONFIG, "%s: too large, expected at most %u bytes",
                       r->name, PS_TREE_BYTES);
    if (!yaml_parser_initialize(&r->yaml))
        return no_memory();
    yaml_parser_set_input_string(&r->yaml, (const unsigned char *)text, bytes);
    st = read_document(r, out);
    yaml_parser_delete(&r->yaml);
    if (st)
        ps_tree_free(out);
    return st;
}

ps_status ps_tree_parse(struct ps_node **out, const char *name, const char *text,
                        size_t bytes)
{
    struct reading r = { .name = name };
    ps_status      st = parse(out, &r, text, bytes);

    if (st || *out)
        return st;
    return node_new(PS_NODE_MAP, NULL, NULL, out);
}

ps_status ps_tree_read(struct ps_node **out, const char *file)
{
    FILE     *f = fopen(file, "re");
    char     *text;
    size_t    bytes = 0;
    ps_status st;

    *out = NULL;
    if (!f)
        return ps_fail(errno == ENOMEM ? PS_ERR_NO_MEMORY : PS_ERR_SYSTEM,
                       "%s: cannot be opened: %m", file);
    text = malloc(PS_TREE_BYTES + 1); /* one more, to see that there is more */
    if (text)
        bytes = fread(text, 1, PS_TREE_BYTES + 1, f);
    if (!text)
        st = no_memory();
    else if (ferror(f))
        st = ps_fail(PS_ERR_SYSTEM, "%s: cannot be read: %m", file);
    else
        st = ps_tree_parse(out, file, text, bytes);
    free(text);
    fclose(f);
    return st;
}

/* ---- --set ---------------------------------------------------------------------- */

static void mark_set(struct ps_node *node, const char *set)
{
    node->set = set;
    for (size_t i = 0; i < node->n; i++)
        mark_set(node->children[i], set);
}

/* What stands after the '='. */
static ps_status parse_set(struct ps_node **out, const char *set, const char *text)
{
    char           name[PS_SHOWN_BYTES + 8], shown[PS_SHOWN_BYTES];
    struct reading r = { .name = name, .set = true };
    ps_status      st;

    ps_shown(set, shown);
    snprintf(name, sizeof(name), "--set %s", shown);
    if ((st = parse(out, &r, text, strlen(text))))
        return st;
    if (!*out && *text)
        return ps_fail(PS_ERR_CONFIG, "%s: a comment, expected a value (in quotes?)",
                       name);
    if (!*out) {
        if ((st = node_new(PS_NODE_TEXT, NULL, "", out)))
            return st;
        (*out)->quoted = true; /* on a command line nothing is a value */
    }
    if ((*out)->kind == PS_NODE_MAP) {
        ps_tree_free(out);
        return ps_fail(PS_ERR_CONFIG, "%s: a mapping, expected a word or a list", name);
    }
    mark_set(*out, set);
    return PS_OK;
}

/* Puts `node` under its key, over what stood there.  Takes it, also on failure. */
static ps_status replace(struct ps_node *map, struct ps_node *node)
{
    for (size_t i = 0; i < map->n; i++) {
        if (strcmp(map->children[i]->key, node->key))
            continue;
        node_free(map->children[i]);
        map->children[i] = node;
        node->parent = map;
        return PS_OK;
    }
    return adopt(map, node);
}

/* The mapping called `key` under `map`; made when there is none. */
static ps_status enter(struct ps_node **map, const char *key, const char *set)
{
    struct ps_node *next = ps_node_find(*map, key);
    ps_status       st;

    if (!next || next->kind != PS_NODE_MAP) {
        if ((st = node_new(PS_NODE_MAP, key, NULL, &next)))
            return st;
        next->set = set;
        if ((st = replace(*map, next)))
            return st;
    }
    *map = next;
    return PS_OK;
}

/* `path` is "a.b", and is cut up. */
static ps_status put(struct ps_node *map, char *path, const char *set,
                     struct ps_node *value)
{
    char     *rest = path;
    char     *key = strsep(&rest, ".");
    ps_status st = PS_OK;

    for (; rest && !st; key = strsep(&rest, "."))
        st = enter(&map, key, set);
    if (st || !(value->key = strdup(key))) {
        node_free(value);
        return st ? st : no_memory();
    }
    return replace(map, value);
}

static bool is_path(const char *path)
{
    size_t   n = strlen(path);
    unsigned levels = 1;

    for (size_t i = 0; i < n; i++)
        levels += path[i] == '.';
    return n > 0 && path[0] != '.' && path[n - 1] != '.' && !strstr(path, "..") &&
           levels <= PS_TREE_DEPTH;
}

ps_status ps_tree_set(struct ps_node *root, const char *set)
{
    const char     *equals = strchr(set, '=');
    char           *path = strndup(set, equals ? (size_t)(equals - set) : 0);
    struct ps_node *value = NULL;
    char            shown[PS_SHOWN_BYTES];
    ps_status       st = PS_OK;

    ps_shown(set, shown);
    if (!path)
        st = no_memory();
    else if (!is_path(path))
        st = ps_fail(PS_ERR_CONFIG,
                     "--set %s: no key, expected KEY=VALUE or KEY.KEY=VALUE", shown);
    else if (root->kind != PS_NODE_MAP)
        st = ps_fail(PS_ERR_CONFIG, "--set %s: the file holds no keys to set", shown);
    else
        st = parse_set(&value, set, equals + 1);
    if (!st)
        st = put(root, path, set, value);
    free(path);
    return st;
}
