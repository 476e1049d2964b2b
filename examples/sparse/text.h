/*
 * text.h - a text as numbers: which words there are, and which follows which.
 *
 * A word is a run of the letters a to z, in either case; what follows an apostrophe is
 * left out, so that "king's" is "king".  Words that are too rare are taken out of the
 * text.  The others are numbered, the most frequent first.
 */
#ifndef SPARSE_TEXT_H
#define SPARSE_TEXT_H

#include <stdint.h>

struct text {
    uint32_t  n_words;
    char    **word;  /* [n_words] */
    uint64_t *count; /* [n_words] descending */
    uint64_t  n;     /* the text's length in words */
    uint32_t *words; /* [n] numbers of words */
};

/*
 * Reads a file, plain or gzip, or if `file` is NULL or "" what the shell command
 * `command` writes.
 *
 *   limit      words of the text to read; 0: all
 *   min_count  how often a word has to occur in them
 *
 * 0, or an exit code after it was said on stderr what is wrong; free in either case.
 */
int  text_read(struct text *t, const char *program, const char *file,
               const char *command, uint64_t limit, uint32_t min_count);
void text_free(struct text *t);

/* The number of a word; n_words when it is none of them. */
uint32_t text_find(const struct text *t, const char *word);

#endif
