/* options.c - see options.h. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILTERS = 256, HIDDEN, DROPOUT, CONV1_PAD, CONV2_PAD, CONFIG, BATCH, SERIAL };

static const struct option known[] = {
    { "filters", required_argument, NULL, FILTERS },
    { "hidden", required_argument, NULL, HIDDEN },
    { "dropout", required_argument, NULL, DROPOUT },
    { "conv1-pad", required_argument, NULL, CONV1_PAD },
    { "conv2-pad", required_argument, NULL, CONV2_PAD },
    { "config", required_argument, NULL, CONFIG },
    { "batch", required_argument, NULL, BATCH },
    { "serial", no_argument, NULL, SERIAL },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

void lenet_options_help(void)
{
    puts(
        "usage: lenet [OPTION]...\n"
        "Trains LeNet on images as a worker of a psd job; psexp(1) starts it.\n"
        "\n"
        "  --filters A,B    filters of the two 5x5 convolutions [16,16]\n"
        "  --hidden A[,B]   units of up to 4 hidden layers [128]\n"
        "  --dropout P      share of the last hidden layer that is dropped [0.5]\n"
        "  --conv1-pad N    zeros around the images [2]\n"
        "  --conv2-pad N    zeros around the second convolution's input [2]\n"
        "  --config FILE    the experiment [what PSW_CONFIG names]\n"
        "  --batch N        samples per worker and iteration [the experiment's]\n"
        "  --serial         train in this process alone, without servers, and print\n"
        "                   loss, accuracy and samples/s of every epoch\n"
        "\n"
        "The job is found as libpsworker(3) says: PSW_COORDINATOR, PSW_JOB, PSW_RANK,\n"
        "PSW_WORLD_SIZE, PSW_TOKEN.");
}

/* "16,16": between least and most whole numbers. */
static int read_numbers(const char *name, const char *text, uint32_t least,
                        uint32_t most, uint32_t *out, uint32_t *n)
{
    const char *at = text;
    char       *end;

    for (*n = 0; *n < most; at = end + 1) {
        unsigned long value;

        errno = 0;
        value = strtoul(at, &end, 10);
        if (*at < '0' || *at > '9' || errno || value > UINT32_MAX)
            break;
        out[(*n)++] = (uint32_t)value;
        if (*end == '\0') {
            if (*n < least)
                break;
            return 0;
        }
        if (*end != ',')
            break;
    }
    if (least == most)
        fprintf(stderr, "lenet: --%s %s: expected %u whole number%s\n", name, text,
                least, least == 1 ? "" : "s with commas between");
    else
        fprintf(stderr,
                "lenet: --%s %s: expected %u to %u whole numbers with commas "
                "between\n",
                name, text, least, most);
    return -1;
}

static int read_share(const char *name, const char *text, double *out)
{
    char *end;

    *out = strtod(text, &end);
    if (end != text && *end == '\0' && *out >= 0 && *out < 1)
        return 0;
    fprintf(stderr, "lenet: --%s %s: expected a number from 0 to below 1\n", name,
            text);
    return -1;
}

static int read_batch(const char *name, const char *text, uint32_t *out)
{
    uint32_t n;

    if (read_numbers(name, text, 1, 1, out, &n))
        return -1;
    if (*out > 0)
        return 0;
    fprintf(stderr, "lenet: --%s %s: expected 1 or more\n", name, text);
    return -1;
}

static int take(struct lenet_options *o, int which, const char *name, const char *text)
{
    struct lenet_shape *s = &o->shape;
    uint32_t            n;

    switch (which) {
    case FILTERS: return read_numbers(name, text, 2, 2, s->filters, &n);
    case HIDDEN:
        return read_numbers(name, text, 1, LENET_HIDDEN_MAX, s->hidden, &s->n_hidden);
    case DROPOUT: return read_share(name, text, &s->dropout);
    case CONV1_PAD: return read_numbers(name, text, 1, 1, &s->pad[0], &n);
    case CONV2_PAD: return read_numbers(name, text, 1, 1, &s->pad[1], &n);
    case BATCH: return read_batch(name, text, &o->batch);
    case CONFIG: o->config = text; return 0;
    case SERIAL: o->serial = 1; return 0;
    case 'h': o->help = 1; return 0;
    default: return -1; /* getopt_long has said why */
    }
}

int lenet_options_read(struct lenet_options *o, int argc, char **argv)
{
    static char self[] = "lenet"; /* in getopt's complaints too, wherever it lies */
    int         which, index = 0;

    *o = (struct lenet_options){ .shape = { .filters = { 16, 16 },
                                            .pad = { 2, 2 },
                                            .n_hidden = 1,
                                            .hidden = { 128 },
                                            .classes = 10,
                                            .dropout = 0.5 } };
    argv[0] = self;
    while ((which = getopt_long(argc, argv, "h", known, &index)) != -1)
        if (take(o, which, known[index].name, optarg))
            return -1;
    if (optind < argc) {
        fprintf(stderr, "lenet: %s: expected options only, see --help\n", argv[optind]);
        return -1;
    }
    return 0;
}
