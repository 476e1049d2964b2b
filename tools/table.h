/*
 * table.h - JSON objects as rows under right-sized columns, on standard output.
 *
 * Thread: one.
 */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include <jansson.h>

/* A column: its title, the key it shows, and how. */
struct column {
    const char *title;
    const char *key; /* "a.b": b in the object a */
    char        as; /* s text, n whole number, r rounded, d and f with 1 and 4 decimals,
                     * b bytes, B bytes per second, t seconds */
};

/* At most 16 columns.  A value that is missing or null is a dash. */
void table_print(const json_t *rows, const struct column *columns, size_t n);

#define TABLE(rows, columns)                                                           \
    table_print(rows, columns, sizeof(columns) / sizeof(*(columns)))

#endif
