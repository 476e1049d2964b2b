/*
 * main.c - psd: options, settings, the log, and then the daemon.
 *
 * Ends with a code of sysexits.h; the last line of its log says why.
 */
#include "server/daemon/daemon.h"
#include "server/daemon/files.h"
#include "server/daemon/options.h"
#include "server/daemon/policy.h"

#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* "<6>shard 0: ..." in one write, so that lines of several threads do not mix.  What
 * peers made us say cannot begin a line of its own. */
static void write_log(void *ctx, enum ps_log_level level, const char *line)
{
    char text[1100];
    int  n = snprintf(text, sizeof(text), "<%d>%s\n", (int)level, line);

    (void)ctx;
    if (n >= (int)sizeof(text))
        n = sizeof(text) - 1;
    for (int i = 0; i < n - 1; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 127)
            text[i] = '?';
    text[n - 1] = '\n';
    if (write(STDERR_FILENO, text, (size_t)n) < 0)
        return; /* nobody listens any more */
}

/*
 * ZeroMQ allocates every large message that it receives; given back to the kernel each
 * time, a block of 1 MiB costs about a third of the time of receiving it.
 */
static void keep_big_blocks(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* the most that glibc takes */
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
}

static ps_status dump(const struct ps_daemon_config *config)
{
    ps_status st = ps_daemon_config_print(config, stdout);

    if (st == PS_OK && fflush(stdout))
        st = ps_fail(PS_ERR_SYSTEM, "psd: cannot write the settings: %m");
    return st;
}

static ps_status run(const struct psd_options *o)
{
    struct ps_daemon_config *config;
    ps_status st = ps_daemon_config_load(&config, o->config, o->sets, o->n_sets);

    if (st)
        return st;
    st = psd_policy_check(config);
    if (st == PS_OK && o->dump_config)
        st = dump(config);
    else if (st == PS_OK && !o->check_config) {
        ps_log_listen(write_log, NULL, config->log_level);
        keep_big_blocks();
        psd_files_allow_many();
        st = psd_daemon_run(config, o->announce);
    }
    ps_daemon_config_free(&config);
    return st;
}

int main(int argc, char **argv)
{
    struct psd_options options = { 0 };
    ps_status          st;

    ps_log_listen(write_log, NULL, PS_LOG_INFO);
    st = psd_options_parse(&options, argc, argv);
    if (st == PS_OK && options.help)
        psd_options_help(stdout);
    else if (st == PS_OK && options.version)
        puts("psd " PACKAGE_VERSION);
    else if (st == PS_OK)
        st = run(&options);
    psd_options_free(&options);
    if (st == PS_OK && fflush(stdout))
        return EX_IOERR;
    return ps_status_exit_code(st);
}
