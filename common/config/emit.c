/* emit.c - a tree as YAML text; see tree.h. */
#include "common/config/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct text {
    char  *data;
    size_t bytes, room;
    bool   no_memory;
};

static int append(void *ctx, unsigned char *more, size_t bytes)
{
    struct text *t = ctx;

    if (t->bytes + bytes > t->room) {
        size_t room = 2 * (t->bytes + bytes);
        char  *grown = realloc(t->data, room);

        if (!grown) {
            t->no_memory = true;
            return 0;
        }
        t->data = grown;
        t->room = room;
    }
    memcpy(t->data + t->bytes, more, bytes);
    t->bytes += bytes;
    return 1;
}

/* The emitter takes the event, whatever comes of it. */
static bool put_text(yaml_emitter_t *yaml, const char *text, bool quoted)
{
    yaml_event_t        event;
    yaml_scalar_style_t style =
        quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE;

    return yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
                                        (int)strlen(text), 1, 1, style) &&
           yaml_emitter_emit(yaml, &event);
}

/* Words stand in a line, mappings below each other. */
static yaml_sequence_style_t style_of(const struct ps_node *list)
{
    return list->n > 0 && list->children[0]->kind == PS_NODE_MAP
               ? YAML_BLOCK_SEQUENCE_STYLE
               : YAML_FLOW_SEQUENCE_STYLE;
}

static bool put_start(yaml_emitter_t *yaml, const struct ps_node *node)
{
    yaml_event_t event;

    if (node->kind == PS_NODE_LIST)
        return yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                    style_of(node)) &&
               yaml_emitter_emit(yaml, &event);
    return yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                               YAML_BLOCK_MAPPING_STYLE) &&
           yaml_emitter_emit(yaml, &event);
}

static bool put_end(yaml_emitter_t *yaml, enum ps_node_kind kind)
{
    yaml_event_t event;

    return (kind == PS_NODE_LIST ? yaml_sequence_end_event_initialize(&event)
                                 : yaml_mapping_end_event_initialize(&event)) &&
           yaml_emitter_emit(yaml, &event);
}

static bool put_node(yaml_emitter_t *yaml, const struct ps_node *node)
{
    bool ok = !node->key || put_text(yaml, node->key, false);

    if (node->kind == PS_NODE_TEXT)
        return ok && put_text(yaml, node->text, node->quoted);
    ok = ok && put_start(yaml, node);
    for (size_t i = 0; ok && i < node->n; i++)
        ok = put_node(yaml, node->children[i]);
    return ok && put_end(yaml, node->kind);
}

static bool put_document(yaml_emitter_t *yaml, const struct ps_node *root)
{
    yaml_event_t event;

    return yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) &&
           yaml_emitter_emit(yaml, &event) &&
           yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) &&
           yaml_emitter_emit(yaml, &event) && put_node(yaml, root) &&
           yaml_document_end_event_initialize(&event, 1) &&
           yaml_emitter_emit(yaml, &event) &&
           yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(yaml, &event);
}

static ps_status write_failed(const struct text *t, const yaml_emitter_t *yaml)
{
    /* An event that cannot be made says nothing of why, but malloc has. */
    if (t->no_memory || yaml->error == YAML_MEMORY_ERROR || errno == ENOMEM)
        return ps_fail(PS_ERR_NO_MEMORY, "config: no memory to write YAML");
    return ps_fail(PS_ERR_BAD_ARG,
                   "config: a value cannot be written as YAML, expected UTF-8 text");
}

ps_status ps_tree_write(const struct ps_node *root, char **text, size_t *bytes)
{
    struct text    t = { 0 };
    yaml_emitter_t yaml;
    ps_status      st = PS_OK;

    if (!yaml_emitter_initialize(&yaml))
        return ps_fail(PS_ERR_NO_MEMORY, "config: no memory to write YAML");
    yaml_emitter_set_output(&yaml, append, &t);
    yaml_emitter_set_unicode(&yaml, 1);
    yaml_emitter_set_width(&yaml, -1); /* no line breaks within a value */
    errno = 0;
    if (!put_document(&yaml, root))
        st = write_failed(&t, &yaml);
    yaml_emitter_delete(&yaml);
    if (st) {
        free(t.data);
        return st;
    }
    *text = t.data;
    *bytes = t.bytes;
    return PS_OK;
}

ps_status ps_tree_print(const struct ps_node *root, FILE *to)
{
    char     *text;
    size_t    bytes;
    bool      ok;
    ps_status st = ps_tree_write(root, &text, &bytes);

    if (st)
        return st;
    ok = fwrite(text, 1, bytes, to) == bytes && fflush(to) == 0;
    free(text);
    return ok ? PS_OK : ps_fail(PS_ERR_SYSTEM, "config: cannot be written: %m");
}
