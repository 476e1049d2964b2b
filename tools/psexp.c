/* psexp.c - experiments from files; see psexp(1). */
#include "tools/compare.h"
#include "tools/find.h"
#include "tools/run.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static void usage(FILE *to)
{
    fputs(
        "usage: psexp run EXPERIMENT [OPTION]...\n"
        "       psexp list\n"
        "       psexp compare [--json] DIR...\n"
        "\n"
        "  run    start what the experiment file names, and record what comes of it;\n"
        "         EXPERIMENT is a file, or the name of one that `list` shows\n"
        "  list   the experiments that are known by name\n"
        "  compare\n"
        "         a table of runs, from the folders that they left\n"
        "\n"
        "  -s, --set=KEY=VALUE  override a key of the file (train.epochs=1); "
        "repeatable\n"
        "  -o, --out=DIR        where to write  [results/NAME-DATE-TIME]\n"
        "  -q, --quiet          no progress\n"
        "  -j, --json           the summary, or the table, as JSON\n"
        "  -h, --help\n"
        "  -V, --version\n",
        to);
}

static int wrong(const char *what, const char *why)
{
    fprintf(stderr, "psexp: %s%s; psexp --help tells the usage\n", what, why);
    return EX_USAGE;
}

static int run(struct run_options *o, int n, char **arguments)
{
    if (n != 1)
        return wrong("run: ", n == 0 ? "no experiment" : "more than one experiment");
    o->experiment = arguments[0];
    return run_experiment(o);
}

static int list(int n)
{
    if (n != 0)
        return wrong("list: ", "takes no argument");
    find_list_experiments(stdout);
    return fflush(stdout) == 0 ? 0 : EX_IOERR;
}

static int compare(bool json, int n, char **folders)
{
    if (n == 0)
        return wrong("compare: ", "no folder of a run");
    return compare_runs(folders, (size_t)n, json);
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "set", required_argument, NULL, 's' },
        { "out", required_argument, NULL, 'o' },
        { "quiet", no_argument, NULL, 'q' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    const char       **sets = calloc((size_t)argc, sizeof(*sets));
    struct run_options o = { .sets = sets };
    int                opt, code;

    if (!sets)
        return EX_OSERR;
    while ((opt = getopt_long(argc, argv, "s:o:qjhV", long_options, NULL)) != -1)
        switch (opt) {
        case 's': sets[o.n_sets++] = optarg; break;
        case 'o': o.out = optarg; break;
        case 'q': o.quiet = true; break;
        case 'j': o.json = true; break;
        case 'h':
            usage(stdout);
            free(sets);
            return 0;
        case 'V':
            puts("psexp " PACKAGE_VERSION);
            free(sets);
            return 0;
        default:
            fputs("psexp --help tells the usage\n", stderr);
            free(sets);
            return EX_USAGE;
        }
    if (optind == argc)
        code = wrong("no command", "");
    else if (strcmp(argv[optind], "run") == 0)
        code = run(&o, argc - optind - 1, argv + optind + 1);
    else if (strcmp(argv[optind], "list") == 0)
        code = list(argc - optind - 1);
    else if (strcmp(argv[optind], "compare") == 0)
        code = compare(o.json, argc - optind - 1, argv + optind + 1);
    else
        code = wrong(argv[optind], ": no such command");
    free(sets);
    return code;
}
