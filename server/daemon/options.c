/* options.c - see options.h. */
#include "server/daemon/options.h"

#include <getopt.h>
#include <stdlib.h>

enum { CONFIG = 1, SET, ANNOUNCE, CHECK_CONFIG, DUMP_CONFIG, VERSION, HELP };

static const struct option table[] = {
    { "config", required_argument, NULL, CONFIG },
    { "set", required_argument, NULL, SET },
    { "announce", required_argument, NULL, ANNOUNCE },
    { "check-config", no_argument, NULL, CHECK_CONFIG },
    { "dump-config", no_argument, NULL, DUMP_CONFIG },
    { "version", no_argument, NULL, VERSION },
    { "help", no_argument, NULL, HELP },
    { 0 },
};

static const char help[] =
    "Usage: psd [OPTION]...\n"
    "Serve the parameters of machine-learning jobs to their workers.\n"
    "\n"
    "      --config=FILE    settings, see psd.yaml(5); without it the defaults hold\n"
    "      --set KEY=VALUE  one setting, over what FILE says; may be repeated\n"
    "      --announce=FILE  write the coordinator's endpoint to FILE when ready\n"
    "      --check-config   say what is wrong with the settings, and end\n"
    "      --dump-config    print the settings that would hold, and end\n"
    "      --version        print the version, and end\n"
    "      --help           print this, and end\n"
    "\n"
    "Without a setting psd listens on tcp://127.0.0.1:5570.  See psd(8).\n";

static ps_status take(struct psd_options *o, int option, char *const *argv, int at)
{
    switch (option) {
    case CONFIG: o->config = optarg; return PS_OK;
    case SET: o->sets[o->n_sets++] = optarg; return PS_OK;
    case ANNOUNCE: o->announce = optarg; return PS_OK;
    case CHECK_CONFIG: o->check_config = true; return PS_OK;
    case DUMP_CONFIG: o->dump_config = true; return PS_OK;
    case VERSION: o->version = true; return PS_OK;
    case HELP: o->help = true; return PS_OK;
    case ':':
        return ps_fail(PS_ERR_BAD_ARG, "psd: %s: expected a value after it", argv[at]);
    }
    return ps_fail(PS_ERR_BAD_ARG, "psd: %s: not an option, see psd --help", argv[at]);
}

ps_status psd_options_parse(struct psd_options *out, int argc, char *const *argv)
{
    struct psd_options o = { .sets = calloc((size_t)argc + 1, sizeof(*o.sets)) };
    ps_status          st = PS_OK;

    if (!o.sets)
        return ps_fail(PS_ERR_NO_MEMORY, "psd: no memory for the options");
    while (st == PS_OK) {
        int at = optind; /* what getopt is about to look at, for complaints */
        int option = getopt_long(argc, argv, "+:", table, NULL);

        if (option < 0)
            break;
        st = take(&o, option, argv, at);
    }
    if (st == PS_OK && optind < argc)
        st = ps_fail(PS_ERR_BAD_ARG, "psd: %s: not an option, see psd --help",
                     argv[optind]);
    if (st) {
        psd_options_free(&o);
        return st;
    }
    *out = o;
    return PS_OK;
}

void psd_options_free(struct psd_options *o)
{
    free(o->sets);
    *o = (struct psd_options){ 0 };
}

void psd_options_help(FILE *to)
{
    fputs(help, to);
}
