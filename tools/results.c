/* results.c - see results.h. */
#include "tools/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK "result: "
#define RESULTS_MAX 10000u /* lines: a summary is to be read */

/* Bytes that are no UTF-8 have no place in JSON. */
static void take(json_t *lines, const char *line)
{
    if (strncmp(line, MARK, strlen(MARK)) == 0 && json_array_size(lines) < RESULTS_MAX)
        json_array_append_new(lines, json_string(line + strlen(MARK)));
}

ps_status results_read(json_t **out, const char *log)
{
    json_t *lines = json_array();
    FILE   *f;
    char   *line = NULL;
    size_t  room = 0;

    if (!lines)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for results");
    f = fopen(log, "re");
    while (f && getline(&line, &room, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        take(lines, line);
    }
    free(line);
    if (f)
        fclose(f);
    *out = lines;
    return PS_OK;
}
