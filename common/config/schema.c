/* schema.c - see schema.h. */
#include "common/config/schema.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 32u

/* The first complaint of libcyaml; the others are its way back. */
struct complaint {
    char text[256];
};

__attribute__((format(printf, 3, 0))) static void keep_complaint(cyaml_log_t level,
                                                                 void       *ctx,
                                                                 const char *fmt,
                                                                 va_list     args)
{
    struct complaint *c = ctx;

    (void)level;
    if (!c->text[0])
        vsnprintf(c->text, sizeof(c->text), fmt, args);
    c->text[strcspn(c->text, "\n")] = '\0';
}

static cyaml_config_t cyaml_with(struct complaint *c)
{
    return (cyaml_config_t){
        .log_fn = c ? keep_complaint : NULL,
        .log_ctx = c,
        .log_level = CYAML_LOG_ERROR,
        .mem_fn = cyaml_mem,
        .flags = CYAML_CFG_NO_ALIAS,
    };
}

/* Numbers have a point here, whatever the language of the program around us. */
static ps_status speak_c(locale_t *c, locale_t *before)
{
    *c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!*c)
        return ps_fail(PS_ERR_NO_MEMORY, "config: no memory for the C locale");
    *before = uselocale(*c);
    return PS_OK;
}

static void speak_again(locale_t c, locale_t before)
{
    uselocale(before);
    freelocale(c);
}

/* ---- from tree to struct -------------------------------------------------------- */

static ps_status load_text(void **out, const struct ps_schema *schema, const char *text,
                           size_t bytes, const char *file)
{
    struct complaint complaint = { "" };
    cyaml_config_t   cyaml = cyaml_with(&complaint);
    cyaml_err_t      err =
        cyaml_load_data((const uint8_t *)text, bytes, &cyaml, &schema->root, out, NULL);

    /* The text is our own, so its parser stops for want of memory alone. */
    if (err == CYAML_ERR_OOM || err == CYAML_ERR_LIBYAML_PARSER_INIT ||
        err == CYAML_ERR_LIBYAML_PARSER)
        return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for its values", file);
    if (err)
        return ps_fail(PS_ERR_CONFIG, "%s: %s (%s)", file, complaint.text,
                       cyaml_strerror(err));
    return PS_OK;
}

static ps_status check_and_load(void **out, const struct ps_schema *schema,
                                const struct ps_node *tree, const char *file)
{
    char     *text;
    size_t    bytes;
    ps_status st = ps_schema_check(schema, tree, file);

    if (st || (st = ps_tree_write(tree, &text, &bytes)))
        return st;
    st = load_text(out, schema, text, bytes, file);
    free(text);
    if (!st && !*out && !(*out = calloc(1, schema->root.data_size))) /* an empty tree */
        return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for its values", file);
    return st;
}

ps_status ps_schema_load(void **out, const struct ps_schema *schema,
                         const struct ps_node *tree, const char *file)
{
    locale_t  c, before;
    ps_status st = speak_c(&c, &before);

    *out = NULL;
    if (st)
        return st;
    st = check_and_load(out, schema, tree, file);
    speak_again(c, before);
    return st;
}

void ps_schema_free(const struct ps_schema *schema, void **data)
{
    cyaml_config_t cyaml = cyaml_with(NULL);

    cyaml_free(&cyaml, &schema->root, *data, 0);
    *data = NULL;
}

/* ---- defaults ------------------------------------------------------------------- */

static ps_status fill_text(char **text, const char *from)
{
    char *copy = NULL;

    if (from && !(copy = strdup(from)))
        return ps_fail(PS_ERR_NO_MEMORY, "config: no memory for a default");
    free(*text);
    *text = copy;
    return PS_OK;
}

static ps_status fill(const cyaml_schema_field_t *field, const struct ps_node *map,
                      char *data, const char *defaults)
{
    ps_status st = PS_OK;

    for (; !st && field->key; field++) {
        const struct ps_node *said = ps_node_find(map, field->key);
        char                 *to = data + field->data_offset;
        const char           *from = defaults + field->data_offset;

        if (field->value.type == CYAML_MAPPING)
            st = fill(field->value.mapping.fields, said, to, from);
        else if (field->value.type == CYAML_STRING && (!said || !*said->text))
            st = fill_text((char **)(void *)to, *(char *const *)(const void *)from);
        else if (field->value.type != CYAML_STRING &&
                 field->value.type != CYAML_SEQUENCE &&
                 field->value.type != CYAML_IGNORE && !said)
            memcpy(to, from, field->value.data_size);
    }
    return st;
}

ps_status ps_schema_fill(const struct ps_schema *schema, const struct ps_node *tree,
                         void *data, const void *defaults)
{
    return fill(schema->root.mapping.fields, tree, data, defaults);
}

/* ---- from struct to tree -------------------------------------------------------- */

/* Integers, enums and booleans of 1, 4 or 8 bytes. */
static uint64_t whole_at(const cyaml_schema_value_t *type, const void *at)
{
    uint32_t four;
    uint64_t eight;

    if (type->data_size == 1)
        return *(const uint8_t *)at;
    if (type->data_size == sizeof(four)) {
        memcpy(&four, at, sizeof(four));
        return four;
    }
    memcpy(&eight, at, sizeof(eight));
    return eight;
}

static const char *word_of(const cyaml_schema_value_t *type, uint64_t value)
{
    for (uint32_t i = 0; i < type->enumeration.count; i++)
        if (type->enumeration.strings[i].val == (int64_t)value)
            return type->enumeration.strings[i].str;
    return NULL;
}

/* The shortest digits that read back as the same number. */
static void write_number(double value, char out[NUMBER_BYTES])
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(out, NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

/* NULL: nothing to say. */
static const char *text_of(const cyaml_schema_value_t *type, const void *at,
                           char number[NUMBER_BYTES])
{
    double value;

    switch (type->type) {
    case CYAML_STRING: return *(char *const *)at;
    case CYAML_ENUM: return word_of(type, whole_at(type, at));
    case CYAML_BOOL: return whole_at(type, at) ? "true" : "false";
    case CYAML_UINT:
        snprintf(number, NUMBER_BYTES, "%ju", (uintmax_t)whole_at(type, at));
        return number;
    case CYAML_INT:
        snprintf(number, NUMBER_BYTES, "%d", (int32_t)whole_at(type, at));
        return number;
    case CYAML_FLOAT:
        memcpy(&value, at, sizeof(value));
        write_number(value, number);
        return number;
    default: return NULL;
    }
}

static ps_status add_fields(struct ps_node *map, const cyaml_schema_field_t *field,
                            const char *data);

static ps_status add_list(struct ps_node *map, const cyaml_schema_field_t *field,
                          const char *data)
{
    const cyaml_schema_value_t *entry = field->value.sequence.entry;
    const char *const          *at =
        (const char *const *)(const void *)(data + field->data_offset);
    struct ps_node *list, *node;
    size_t          n;
    ps_status       st = ps_node_add(map, PS_NODE_LIST, field->key, NULL, &list);

    memcpy(&n, data + field->count_offset, sizeof(n));
    for (size_t i = 0; !st && i < n; i++) {
        st = ps_node_add(list, PS_NODE_MAP, NULL, NULL, &node);
        if (!st)
            st = add_fields(node, entry->mapping.fields, *at + i * entry->data_size);
    }
    return st;
}

static ps_status add_fields(struct ps_node *map, const cyaml_schema_field_t *field,
                            const char *data)
{
    ps_status st = PS_OK;

    for (; !st && field->key; field++) {
        const char     *at = data + field->data_offset, *text;
        char            number[NUMBER_BYTES];
        struct ps_node *node;

        if (field->value.type == CYAML_MAPPING) {
            st = ps_node_add(map, PS_NODE_MAP, field->key, NULL, &node);
            if (!st)
                st = add_fields(node, field->value.mapping.fields, at);
        } else if (field->value.type == CYAML_SEQUENCE) {
            st = add_list(map, field, data);
        } else if ((text = text_of(&field->value, at, number))) {
            st = ps_node_add(map, PS_NODE_TEXT, field->key, text, &node);
            if (!st)
                node->quoted = field->value.type == CYAML_STRING;
        }
    }
    return st;
}

ps_status ps_schema_tree(struct ps_node **out, const struct ps_schema *schema,
                         const void *data)
{
    locale_t  c, before;
    ps_status st = speak_c(&c, &before);

    *out = NULL;
    if (st)
        return st;
    st = ps_tree_parse(out, "", "", 0); /* an empty mapping */
    if (!st)
        st = add_fields(*out, schema->root.mapping.fields, data);
    speak_again(c, before);
    if (st)
        ps_tree_free(out);
    return st;
}
