/* report.c - see report.h. */
#include "bench/report.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static double ratio(struct bench_case *c, struct bench_limit *l)
{
    return bench_median(&c->series) / bench_median(l->series);
}

/* ---- the table ------------------------------------------------------------------ */

/* The prefix with which the value has one to three digits before the point. */
static const struct prefix {
    const char *letter;
    double      factor;
} prefixes[] = {
    { "G", 1e9 },  { "M", 1e6 },  { "k", 1e3 },  { "", 1 },
    { "m", 1e-3 }, { "u", 1e-6 }, { "n", 1e-9 }, { "p", 1e-12 },
};

#define PREFIXES (sizeof(prefixes) / sizeof(prefixes[0]))

/* A ratio has none. */
static const struct prefix *prefix_for(const struct bench_case *c, double value)
{
    size_t i = 0;

    if (strcmp(c->unit, "times") == 0)
        value = 1;
    while (i + 1 < PREFIXES && value < prefixes[i].factor)
        i++;
    return &prefixes[i];
}

static int width_of(const struct bench_case *cases, size_t n)
{
    size_t width = 4;

    for (size_t i = 0; i < n; i++)
        if (strlen(cases[i].name) > width)
            width = strlen(cases[i].name);
    return (int)width;
}

static void print_row(struct bench_case *c, int width)
{
    const double         median = bench_median(&c->series);
    const struct prefix *p = prefix_for(c, median);
    char                 spread[48], unit[24];

    snprintf(spread, sizeof(spread), "%.2f..%.2f", bench_lowest(&c->series) / p->factor,
             bench_highest(&c->series) / p->factor);
    snprintf(unit, sizeof(unit), "%s%s", p->letter, c->unit);
    printf("%-*s  %8.2f %-11s %15s", width, c->name, median / p->factor, unit, spread);
    for (size_t i = 0; i < c->n_limits; i++)
        printf("  %8.2f  %5.2f", bench_median(c->limits[i].series) / p->factor,
               ratio(c, &c->limits[i]));
    putchar('\n');
}

/* Above each limit's column stands what it is. */
static void print_head(const struct bench_case *c, int width)
{
    printf("%-*s  %8s %-11s %15s", width, "case", "psd", "", "lowest..highest");
    for (size_t i = 0; i < c->n_limits; i++)
        printf("  %8s  ratio", c->limits[i].name);
    putchar('\n');
}

static bool has_other_limits(const struct bench_case *a, const struct bench_case *b)
{
    bool other = a->n_limits != b->n_limits;

    for (size_t i = 0; !other && i < a->n_limits; i++)
        other = strcmp(a->limits[i].name, b->limits[i].name) != 0;
    return other;
}

void bench_print_table(struct bench_case *cases, size_t n)
{
    int width = width_of(cases, n);

    for (size_t i = 0; i < n; i++) {
        if (i == 0 || has_other_limits(&cases[i], &cases[i - 1]))
            print_head(&cases[i], width);
        print_row(&cases[i], width);
    }
}

/* ---- JSON ----------------------------------------------------------------------- */

/* `l` NULL: a case without limits. */
static void print_object(struct bench_case *c, struct bench_limit *l)
{
    json_t *o = json_pack("{s:s, s:n, s:n, s:f, s:s, s:n, s:f, s:f}", "case", c->name,
                          "limit", "limit_value", "value", bench_median(&c->series),
                          "unit", c->unit, "ratio", "lowest", bench_lowest(&c->series),
                          "highest", bench_highest(&c->series));

    if (l) {
        json_object_set_new(o, "limit", json_string(l->name));
        json_object_set_new(o, "limit_value", json_real(bench_median(l->series)));
        json_object_set_new(o, "ratio", json_real(ratio(c, l)));
        json_object_set_new(o, "limit_lowest", json_real(bench_lowest(l->series)));
        json_object_set_new(o, "limit_highest", json_real(bench_highest(l->series)));
    }
    json_object_set_new(o, "rounds", json_integer((json_int_t)c->series.n));
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

void bench_print_json(struct bench_case *cases, size_t n)
{
    for (struct bench_case *c = cases; c < cases + n; c++) {
        if (c->n_limits == 0)
            print_object(c, NULL);
        for (size_t i = 0; i < c->n_limits; i++)
            print_object(c, &c->limits[i]);
    }
}
