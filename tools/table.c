/* table.c - see table.h. */
#include "tools/table.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS_MAX 16u
#define CELL_BYTES 128u

static void format_bytes(double bytes, char *cell)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    size_t                   u = 0;

    for (; bytes >= 1024 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
        bytes /= 1024;
    snprintf(cell, CELL_BYTES, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
}

/* "a.b" is b of the row's object a. */
static const json_t *value_of(const json_t *row, const char *key)
{
    const char *dot = strchr(key, '.');
    char        outer[CELL_BYTES];

    if (!dot)
        return json_object_get(row, key);
    snprintf(outer, sizeof(outer), "%.*s", (int)(dot - key), key);
    return json_object_get(json_object_get(row, outer), dot + 1);
}

static void format_cell(const json_t *row, const struct column *c, char *cell)
{
    const json_t *v = value_of(row, c->key);

    if (!v || json_is_null(v))
        snprintf(cell, CELL_BYTES, "-");
    else if (json_is_string(v))
        snprintf(cell, CELL_BYTES, "%s", json_string_value(v));
    else if (c->as == 'b')
        format_bytes(json_number_value(v), cell);
    else if (c->as == 'B') {
        format_bytes(json_number_value(v), cell);
        strcat(cell, "/s"); /* short: a number and its unit */
    } else if (c->as == 't')
        snprintf(cell, CELL_BYTES, "%.0f s", json_number_value(v));
    else if (c->as == 'f')
        snprintf(cell, CELL_BYTES, "%.4f", json_number_value(v));
    else if (c->as == 'd')
        snprintf(cell, CELL_BYTES, "%.1f", json_number_value(v));
    else if (c->as == 'r')
        snprintf(cell, CELL_BYTES, "%.0f", json_number_value(v));
    else
        snprintf(cell, CELL_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
}

static void print_row(char cells[][CELL_BYTES], const struct column *columns, size_t n,
                      const int *widths)
{
    for (size_t c = 0; c < n; c++)
        if (columns[c].as == 's')
            printf(c + 1 < n ? "%-*s  " : "%.*s", c + 1 < n ? widths[c] : 127,
                   cells[c]);
        else
            printf(c + 1 < n ? "%*s  " : "%*s", widths[c], cells[c]);
    putchar('\n');
}

void table_print(const json_t *rows, const struct column *columns, size_t n)
{
    char          cells[COLUMNS_MAX][CELL_BYTES];
    int           widths[COLUMNS_MAX];
    size_t        i;
    const json_t *row;

    for (size_t c = 0; c < n; c++) {
        widths[c] = (int)strlen(columns[c].title);
        json_array_foreach(rows, i, row)
        {
            format_cell(row, &columns[c], cells[0]);
            if ((int)strlen(cells[0]) > widths[c])
                widths[c] = (int)strlen(cells[0]);
        }
    }
    for (size_t c = 0; c < n; c++)
        snprintf(cells[c], CELL_BYTES, "%s", columns[c].title);
    print_row(cells, columns, n, widths);
    json_array_foreach(rows, i, row)
    {
        for (size_t c = 0; c < n; c++)
            format_cell(row, &columns[c], cells[c]);
        print_row(cells, columns, n, widths);
    }
}
