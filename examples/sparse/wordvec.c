/*
 * wordvec.c - a worker that learns word vectors through psd.
 *
 * Two sparse matrices hold a row per word: `in`, the vectors, and `out`, what is
 * expected around a word.  A batch pulls the rows of its words and pushes their
 * gradients.
 */
#include "blocks.h"
#include "pairs.h"
#include "task.h"
#include "text.h"
#include "vectors.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define REPORT_EVERY 20u    /* iterations */
#define ROWS_AT_ONCE 16384u /* of the final look at all vectors */

struct options {
    const char *config;
    const char *command; /* whose output is the text, where no file is named */
    const char *neighbours, *vectors;
    uint32_t    nearest, dimensions, min_count;
    bool        help;

    struct pairs_options pairs;
};

struct training {
    const struct options *options;
    struct task           task;
    struct text           text;
    struct blocks         blocks;
    struct pairs          pairs; /* the batch in hand */
    ps_matrix            *in, *out;

    double   loss; /* sums since the last report */
    uint64_t n_loss;
    uint32_t n_iterations;
    double   epoch_loss; /* sums of the epoch */
    uint64_t n_epoch_loss;
    double   epoch_began;
    uint64_t n_ended; /* epochs */
};

static int no_memory(const struct training *t)
{
    fprintf(stderr, "%s: no memory for %u words\n", t->task.program, t->text.n_words);
    return EX_OSERR;
}

/* ---- an iteration -------------------------------------------------------------- */

static int report(const struct training *t, const char *metric, double value)
{
    return task_failed(&t->task, ps_report(t->task.worker, metric, value));
}

static int report_loss(struct training *t)
{
    int code = t->n_loss ? report(t, "loss", t->loss / (double)t->n_loss) : 0;

    t->loss = 0;
    t->n_loss = 0;
    t->n_iterations = 0;
    return code;
}

/* The batch of the iteration after `clock`. */
static int draw(struct training *t, uint64_t clock)
{
    uint32_t batch = t->task.train.batch;
    uint64_t first = (uint64_t)blocks_at(&t->blocks, clock) * batch;

    return pairs_draw(&t->pairs, first, batch, t->task.seed, ps_rank(t->task.worker),
                      clock)
               ? 0
               : no_memory(t);
}

static int iterate(struct training *t)
{
    struct pairs *p = &t->pairs;
    uint64_t      n;
    double        loss, began;
    ps_status     st = rows_pull_both(&p->in, t->in, &p->out, t->out);

    if (st)
        return task_failed(&t->task, st);
    began = task_seconds();
    loss = pairs_gradient(p, &n);
    t->loss += loss;
    t->n_loss += n;
    t->n_iterations++;
    t->epoch_loss += loss;
    t->n_epoch_loss += n;
    ps_count_samples(t->task.worker, t->task.train.batch);
    st = ps_pace(t->task.worker, task_seconds() - began);
    if (!st)
        st = rows_push_both(&p->in, t->in, &p->out, t->out);
    if (!st)
        st = ps_finish(t->task.worker);
    return task_failed(&t->task, st);
}

static int end_epoch(struct training *t, uint64_t epoch)
{
    double mean = t->n_epoch_loss ? t->epoch_loss / (double)t->n_epoch_loss : 0;
    int    code = report_loss(t);

    if (!code)
        code = report(t, "epoch_seconds", task_seconds() - t->epoch_began);
    if (!code)
        code = report(t, "epoch_loss", mean);
    if (code)
        return code;
    printf("epoch %" PRIu64 ": loss %.4f\n", epoch + 1, mean);
    fflush(stdout);
    t->epoch_loss = 0;
    t->n_epoch_loss = 0;
    t->epoch_began = task_seconds();
    t->n_ended = epoch + 1;
    return 0;
}

/* ---- the end ------------------------------------------------------------------- */

static int pull_all(struct training *t, float *vectors)
{
    uint32_t  n = t->text.n_words, cols = t->options->dimensions;
    uint64_t *keys = calloc(n, sizeof(*keys));
    ps_status st = PS_OK;

    if (!keys)
        return no_memory(t);
    for (uint32_t i = 0; i < n; i++)
        keys[i] = i;
    for (uint32_t i = 0; !st && i < n; i += ROWS_AT_ONCE)
        st = ps_pull_rows(t->in, keys + i, n - i < ROWS_AT_ONCE ? n - i : ROWS_AT_ONCE,
                          vectors + (size_t)i * cols);
    free(keys);
    return task_failed(&t->task, st);
}

static int tell(struct training *t)
{
    const struct options *o = t->options;
    float *vectors = calloc((size_t)t->text.n_words * o->dimensions, sizeof(*vectors));
    int    code = vectors ? pull_all(t, vectors) : no_memory(t);

    if (!code && *o->vectors)
        code = vectors_write(&t->text, t->task.program, vectors, o->dimensions,
                             o->vectors);
    if (!code) {
        vectors_normalise(vectors, t->text.n_words, o->dimensions);
        vectors_tell(&t->text, vectors, o->dimensions, o->neighbours, o->nearest);
    }
    free(vectors);
    return code;
}

/* ---- the run ------------------------------------------------------------------- */

/* The iterations that are left, from wherever the job is. */
static int train(struct training *t)
{
    ps_worker *w = t->task.worker;
    uint64_t   n = t->blocks.iterations, clock;
    int        code = 0;

    /* A backup worker that came too late goes on from a later clock than the next. */
    while (!code && (clock = ps_clock(w)) < n * t->task.train.epochs) {
        if (clock / n > t->n_ended) {
            code = end_epoch(t, clock / n - 1);
            continue;
        }
        code = draw(t, clock);
        if (!code)
            code = iterate(t);
        if (!code && t->n_iterations == REPORT_EVERY)
            code = report_loss(t);
    }
    if (!code && t->task.train.epochs > t->n_ended)
        code = end_epoch(t, t->task.train.epochs - 1);
    return code;
}

/* The job went back: epochs end again, and sums are of what comes from here. */
static void go_back(struct training *t)
{
    uint64_t epoch = ps_clock(t->task.worker) / t->blocks.iterations;

    t->loss = 0;
    t->n_loss = 0;
    t->n_iterations = 0;
    if (epoch > t->n_ended)
        return; /* its end was interrupted, and comes next */
    t->n_ended = epoch;
    t->epoch_loss = 0;
    t->n_epoch_loss = 0;
    t->epoch_began = task_seconds();
}

/* To the end, and once more what is lost when the job goes back. */
static int run(struct training *t)
{
    int code;

    t->epoch_began = task_seconds();
    t->n_ended = ps_clock(t->task.worker) / t->blocks.iterations;
    for (;;) {
        code = train(t);
        if (!code && ps_rank(t->task.worker) == 0)
            code = tell(t);
        if (!code)
            code = task_leave(&t->task);
        if (code != TASK_AGAIN)
            return code;
        go_back(t);
    }
}

static int open_matrices(struct training *t)
{
    ps_matrix_options in = PS_MATRIX_OPTIONS;
    uint32_t          n = t->options->dimensions;
    ps_status         st;

    in.init = PS_INIT_UNIFORM;
    in.init_a = -0.5 / n;
    in.init_b = 0.5 / n;
    st = ps_sparse(t->task.worker, "in", n, &in, &t->in);
    if (!st)
        st = ps_sparse(t->task.worker, "out", n, NULL, &t->out);
    return task_failed(&t->task, st);
}

static int check_blocks(const struct training *t)
{
    const ps_train_settings *s = &t->task.train;

    if (blocks_iterations(s->partition, t->text.n / s->batch, t->task.workers) > 0)
        return 0;
    fprintf(stderr, "%s: %" PRIu64 " words, a step takes %u workers x batch %u\n",
            t->task.program, t->text.n, t->task.workers, s->batch);
    return EX_DATAERR;
}

static int run_worker(struct training *t)
{
    const ps_train_settings *s = &t->task.train;
    uint64_t                 n_blocks = t->text.n / s->batch;
    int                      code =
        task_join(&t->task, blocks_iterations(s->partition, n_blocks, t->task.workers));

    if (code)
        return code;
    printf("%" PRIu64 " words, %u different ones\n", t->text.n, t->text.n_words);
    fflush(stdout);
    if (!pairs_init(&t->pairs, &t->text, &t->options->pairs, t->options->dimensions,
                    s->batch))
        return no_memory(t);
    code = task_failed(&t->task,
                       blocks_init(&t->blocks, s->partition, n_blocks, t->task.seed,
                                   ps_rank(t->task.worker), t->task.workers));
    if (!code)
        code = open_matrices(t);
    return code ? code : run(t);
}

static int read_text(struct training *t)
{
    const ps_train_settings *s = &t->task.train;
    bool                     file = s->train_features && *s->train_features;

    if (file && strcmp(s->data_format, "text") != 0) {
        fprintf(stderr, "%s: data.format: %s, expected text\n", t->task.program,
                s->data_format);
        return EX_CONFIG;
    }
    if (!file && !*t->options->command) {
        fprintf(stderr, "%s: data.train_features: the experiment names no file\n",
                t->task.program);
        return EX_CONFIG;
    }
    return text_read(&t->text, t->task.program, s->train_features, t->options->command,
                     s->limit, t->options->min_count);
}

/* ---- the command line ---------------------------------------------------------- */

static void help(void)
{
    puts(
        "usage: wordvec [OPTION]...\n"
        "Learns word vectors from a text (skip-gram, negative sampling) as a worker of "
        "a\n"
        "psd job; psexp(1) starts it.\n"
        "\n"
        "  --dimensions N     of a vector [64]\n"
        "  --window N         words to each side that count as near, at most [5]\n"
        "  --negatives N      words drawn against each near one [5]\n"
        "  --min-count N      how often a word has to occur [5]\n"
        "  --subsample T      words of a frequency f above T are dropped but for a\n"
        "                     share of sqrt(T / f); 0: none is [0.001]\n"
        "  --neighbours A,B   words whose nearest are printed at the end [none]\n"
        "  --nearest N        how many of them [8]\n"
        "  --vectors FILE     where to write all vectors at the end [nowhere]\n"
        "  --command COMMAND  a shell command that prints the text, where the "
        "experiment\n"
        "                     names no file (data.train_features) [none]\n"
        "  --config FILE      the experiment [what PSW_CONFIG names]\n"
        "\n"
        "The job is found as libpsworker(3) says: PSW_COORDINATOR, PSW_JOB, PSW_RANK,\n"
        "PSW_WORLD_SIZE, PSW_TOKEN.");
}

enum { DIMENSIONS = 256, WINDOW, NEGATIVES, MIN_COUNT, SUBSAMPLE, NEIGHBOURS };
enum { NEAREST = NEIGHBOURS + 1, VECTORS, COMMAND, CONFIG };

static int take(struct options *o, int which, const char *name, const char *text)
{
    static const char self[] = "wordvec";

    switch (which) {
    case DIMENSIONS: return task_read_whole(self, name, text, 4096, &o->dimensions);
    case WINDOW: return task_read_whole(self, name, text, 1000, &o->pairs.window);
    case NEGATIVES: return task_read_whole(self, name, text, 1000, &o->pairs.negatives);
    case MIN_COUNT: return task_read_whole(self, name, text, UINT32_MAX, &o->min_count);
    case SUBSAMPLE: return task_read_number(self, name, text, 1, &o->pairs.subsample);
    case NEAREST: return task_read_whole(self, name, text, 100, &o->nearest);
    case NEIGHBOURS: o->neighbours = text; return 0;
    case VECTORS: o->vectors = text; return 0;
    case COMMAND: o->command = text; return 0;
    case CONFIG: o->config = text; return 0;
    case 'h': o->help = true; return 0;
    default: return EX_USAGE; /* getopt_long has said why */
    }
}

static int read_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        { "dimensions", required_argument, NULL, DIMENSIONS },
        { "window", required_argument, NULL, WINDOW },
        { "negatives", required_argument, NULL, NEGATIVES },
        { "min-count", required_argument, NULL, MIN_COUNT },
        { "subsample", required_argument, NULL, SUBSAMPLE },
        { "neighbours", required_argument, NULL, NEIGHBOURS },
        { "nearest", required_argument, NULL, NEAREST },
        { "vectors", required_argument, NULL, VECTORS },
        { "command", required_argument, NULL, COMMAND },
        { "config", required_argument, NULL, CONFIG },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    static char self[] = "wordvec"; /* in getopt's complaints too, wherever it lies */
    int         which, index = 0, code = 0;

    *o = (struct options){
        .dimensions = 64,
        .min_count = 5,
        .nearest = 8,
        .neighbours = "",
        .vectors = "",
        .command = "",
        .pairs = { .window = 5, .negatives = 5, .subsample = 1e-3 },
    };
    argv[0] = self;
    while (!code && (which = getopt_long(argc, argv, "h", known, &index)) != -1)
        code = take(o, which, known[index].name, optarg);
    if (!code && optind < argc) {
        fprintf(stderr, "wordvec: %s: expected options only, see --help\n",
                argv[optind]);
        code = EX_USAGE;
    }
    return code;
}

int main(int argc, char **argv)
{
    struct options  o;
    struct training t = { .options = &o };
    int             code = read_options(&o, argc, argv);

    if (code || o.help) {
        if (!code)
            help();
        return code;
    }
    code = task_open(&t.task, "wordvec", o.config, 0);
    if (!code)
        code = read_text(&t);
    if (!code)
        code = check_blocks(&t);
    if (!code)
        code = run_worker(&t);
    code = task_close(&t.task, code);
    blocks_free(&t.blocks);
    pairs_free(&t.pairs);
    text_free(&t.text);
    return code;
}
