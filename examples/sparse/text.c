/* text.c - see text.h. */
#include "text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <zlib.h>

#define WORD_BYTES 64u /* of longer ones the beginning */
#define FIRST_ROOM 1024u

/* A word on its way in, numbered by its first appearance. */
struct entry {
    char    *word;
    uint64_t count;
    uint32_t number; /* in the end; UINT32_MAX: too rare */
};

struct reader {
    struct text  *text;
    uint64_t      limit, room; /* of text->words */
    struct entry *entries;
    uint32_t      n_entries, n_room;
    uint32_t     *cells; /* entry + 1 by hash of the word; 0: free */
    uint32_t      n_cells;

    char     word[WORD_BYTES];
    uint32_t bytes;      /* of the word in progress */
    bool     apostrophe; /* was there: the rest is left out */
};

/* ---- words --------------------------------------------------------------------- */

/* FNV-1a. */
static uint32_t *cell_of(const struct reader *r, const char *word)
{
    uint64_t h = 0xcbf29ce484222325u;
    uint32_t at;

    for (const char *c = word; *c; c++)
        h = (h ^ (uint8_t)*c) * 0x100000001b3u;
    at = (uint32_t)(h ^ (h >> 32)) & (r->n_cells - 1);
    while (r->cells[at] && strcmp(r->entries[r->cells[at] - 1].word, word) != 0)
        at = (at + 1) & (r->n_cells - 1);
    return &r->cells[at];
}

static bool grow_entries(struct reader *r)
{
    uint32_t      room = r->n_room ? 2 * r->n_room : FIRST_ROOM;
    struct entry *entries = reallocarray(r->entries, room, sizeof(*entries));
    uint32_t     *cells = calloc(2 * (size_t)room, sizeof(*cells));

    if (entries)
        r->entries = entries;
    if (!entries || !cells) {
        free(cells);
        return false;
    }
    free(r->cells);
    r->cells = cells;
    r->n_cells = 2 * room;
    r->n_room = room;
    for (uint32_t i = 0; i < r->n_entries; i++)
        *cell_of(r, r->entries[i].word) = i + 1;
    return true;
}

static bool grow_text(struct reader *r)
{
    uint64_t  room = r->room ? 2 * r->room : FIRST_ROOM;
    uint32_t *words = reallocarray(r->text->words, room, sizeof(*words));

    if (!words)
        return false;
    r->text->words = words;
    r->room = room;
    return true;
}

static bool end_word(struct reader *r)
{
    struct text *t = r->text;
    uint32_t    *cell;

    if (r->bytes == 0 || (r->limit && t->n == r->limit))
        return true;
    r->word[r->bytes] = '\0';
    r->bytes = 0;
    if ((r->n_entries == r->n_room && !grow_entries(r)) ||
        (t->n == r->room && !grow_text(r)))
        return false;
    cell = cell_of(r, r->word);
    if (*cell == 0) {
        r->entries[r->n_entries] = (struct entry){ .word = strdup(r->word) };
        if (!r->entries[r->n_entries].word)
            return false;
        *cell = ++r->n_entries;
    }
    r->entries[*cell - 1].count++;
    t->words[t->n++] = *cell - 1;
    return true;
}

static bool take(struct reader *r, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = bytes[i] >= 'A' && bytes[i] <= 'Z' ? (char)(bytes[i] + 32) : bytes[i];

        if (c == '\'' && r->bytes > 0) {
            r->apostrophe = true;
        } else if (c < 'a' || c > 'z') {
            r->apostrophe = false;
            if (!end_word(r))
                return false;
        } else if (!r->apostrophe && r->bytes < WORD_BYTES - 1) {
            r->word[r->bytes++] = c;
        }
    }
    return true;
}

/* ---- where they come from ------------------------------------------------------ */

static int no_memory(const char *program)
{
    fprintf(stderr, "%s: no memory for the text\n", program);
    return EX_OSERR;
}

static int read_file(struct reader *r, const char *program, const char *file)
{
    gzFile f = gzopen(file, "rb");
    char   bytes[65536];
    int    n = 0, code = 0, error;

    if (!f) {
        fprintf(stderr, "%s: data %s: cannot be opened: %m\n", program, file);
        return EX_DATAERR;
    }
    while (!code && (n = gzread(f, bytes, sizeof(bytes))) > 0)
        if (!take(r, bytes, (size_t)n))
            code = no_memory(program);
    if (n < 0) {
        const char *why = gzerror(f, &error);

        fprintf(stderr, "%s: data %s: cannot be read: %s\n", program, file,
                error == Z_ERRNO ? strerror(errno) : why);
        code = EX_DATAERR;
    }
    gzclose(f);
    return code;
}

static int read_command(struct reader *r, const char *program, const char *command)
{
    FILE  *f = popen(command, "r");
    char   bytes[65536];
    size_t n;
    int    code = 0, end;

    if (!f) {
        fprintf(stderr, "%s: \"%s\": cannot be started: %m\n", program, command);
        return EX_OSERR;
    }
    while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0)
        if (!code && !take(r, bytes, n))
            code = no_memory(program);
    end = pclose(f);
    if (code || end == 0)
        return code;
    fprintf(stderr, "%s: \"%s\" failed with exit code %d\n", program, command,
            WIFEXITED(end) ? WEXITSTATUS(end) : 128 + WTERMSIG(end));
    return EX_DATAERR;
}

/* ---- numbers ------------------------------------------------------------------- */

static int most_frequent_first(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->word, y->word);
}

/* Takes the words that are frequent enough out of the entries, in their order. */
static bool number_words(struct reader *r, uint32_t min_count)
{
    struct text   *t = r->text;
    struct entry **order = calloc(r->n_entries + 1, sizeof(struct entry *));

    if (!order)
        return false;
    for (uint32_t i = 0; i < r->n_entries; i++) {
        r->entries[i].number = UINT32_MAX;
        if (r->entries[i].count >= min_count)
            order[t->n_words++] = &r->entries[i];
    }
    qsort(order, t->n_words, sizeof(struct entry *), most_frequent_first);
    t->word = calloc(t->n_words + 1, sizeof(*t->word));
    t->count = calloc(t->n_words + 1, sizeof(*t->count));
    for (uint32_t i = 0; t->word && t->count && i < t->n_words; i++) {
        order[i]->number = i;
        t->count[i] = order[i]->count;
        t->word[i] = order[i]->word;
        order[i]->word = NULL;
    }
    free(order);
    return t->word && t->count;
}

static void renumber_text(struct reader *r)
{
    struct text *t = r->text;
    uint64_t     n = 0;

    for (uint64_t i = 0; i < t->n; i++) {
        uint32_t number = r->entries[t->words[i]].number;

        if (number != UINT32_MAX)
            t->words[n++] = number;
    }
    t->n = n;
}

int text_read(struct text *t, const char *program, const char *file,
              const char *command, uint64_t limit, uint32_t min_count)
{
    struct reader r = { .text = t, .limit = limit };
    int           code;

    *t = (struct text){ 0 };
    if (file && *file)
        code = read_file(&r, program, file);
    else
        code = read_command(&r, program, command);
    if (!code && (!end_word(&r) || !number_words(&r, min_count)))
        code = no_memory(program);
    if (!code)
        renumber_text(&r);
    if (!code && t->n_words < 2) {
        fprintf(stderr, "%s: %s: %u words that occur %u times, expected 2 or more\n",
                program, file && *file ? file : command, t->n_words, min_count);
        code = EX_DATAERR;
    }
    for (uint32_t i = 0; i < r.n_entries; i++)
        free(r.entries[i].word);
    free(r.entries);
    free(r.cells);
    return code;
}

void text_free(struct text *t)
{
    for (uint32_t i = 0; t->word && i < t->n_words; i++)
        free(t->word[i]);
    free(t->word);
    free(t->count);
    free(t->words);
    *t = (struct text){ 0 };
}

uint32_t text_find(const struct text *t, const char *word)
{
    uint32_t i = 0;

    while (i < t->n_words && strcmp(t->word[i], word) != 0)
        i++;
    return i;
}
