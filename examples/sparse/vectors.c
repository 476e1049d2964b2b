/* vectors.c - see vectors.h. */
#include "vectors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define NEAREST_MAX 100u

struct near {
    uint32_t word;
    double   cosine;
};

void vectors_normalise(float *vectors, uint32_t n_words, uint32_t dimensions)
{
    for (uint32_t i = 0; i < n_words; i++) {
        float *v = vectors + (size_t)i * dimensions;
        double squares = 0;

        for (uint32_t k = 0; k < dimensions; k++)
            squares += (double)v[k] * (double)v[k];
        for (uint32_t k = 0; k < dimensions && squares > 0; k++)
            v[k] = (float)(v[k] / sqrt(squares));
    }
}

/* Into the list of the nearest, which is sorted and has room for `n`. */
static void insert(struct near *list, uint32_t *used, uint32_t n, struct near new)
{
    uint32_t at = *used;

    while (at > 0 && list[at - 1].cosine < new.cosine)
        at--;
    if (at == n)
        return;
    if (*used < n)
        ++*used;
    memmove(list + at + 1, list + at, (*used - at - 1) * sizeof(*list));
    list[at] = new;
}

static void tell_one(const struct text *t, const float *vectors, uint32_t dimensions,
                     const char *word, uint32_t n)
{
    struct near  list[NEAREST_MAX];
    uint32_t     used = 0, self = text_find(t, word);
    const float *v = vectors + (size_t)self * dimensions;

    if (self == t->n_words) {
        printf("result: %s is not in the text, or too rare\n", word);
        return;
    }
    for (uint32_t i = 0; i < t->n_words; i++) {
        const float *w = vectors + (size_t)i * dimensions;
        double       cosine = 0;

        for (uint32_t k = 0; k < dimensions; k++)
            cosine += (double)v[k] * (double)w[k];
        if (i != self)
            insert(list, &used, n, (struct near){ i, cosine });
    }
    printf("result: %s:", word);
    for (uint32_t i = 0; i < used; i++)
        printf("%s %s %.2f", i ? "," : "", t->word[list[i].word], list[i].cosine);
    putchar('\n');
}

void vectors_tell(const struct text *t, const float *vectors, uint32_t dimensions,
                  const char *words, uint32_t n)
{
    while (*words) {
        size_t bytes = strcspn(words, ",");
        char   word[64];

        snprintf(word, sizeof(word), "%.*s", (int)bytes, words);
        if (*word)
            tell_one(t, vectors, dimensions, word, n < NEAREST_MAX ? n : NEAREST_MAX);
        words += bytes + (words[bytes] == ',');
    }
    fflush(stdout);
}

int vectors_write(const struct text *t, const char *program, const float *vectors,
                  uint32_t dimensions, const char *file)
{
    FILE *f = fopen(file, "we");
    int   bad;

    if (f) {
        fprintf(f, "%u %u\n", t->n_words, dimensions);
        for (uint32_t i = 0; i < t->n_words; i++) {
            fputs(t->word[i], f);
            for (uint32_t k = 0; k < dimensions; k++)
                fprintf(f, " %.6g", (double)vectors[(size_t)i * dimensions + k]);
            fputc('\n', f);
        }
        bad = ferror(f);
        if (fclose(f) == 0 && !bad)
            return 0;
    }
    fprintf(stderr, "%s: cannot write %s: %m\n", program, file);
    return EX_CANTCREAT;
}
