/* signals.c - see signals.h. */
#include "server/daemon/signals.h"

#include <signal.h>
#include <unistd.h>

static struct ps_signal     *stop_signal;
static volatile sig_atomic_t received;

static void on_signal(int number)
{
    if (received)
        _exit(128 + number);
    received = number;
    ps_signal_raise(stop_signal);
}

ps_status psd_signals_catch(struct ps_signal *stop)
{
    struct sigaction end = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    stop_signal = stop;
    if (sigaction(SIGTERM, &end, NULL) || sigaction(SIGINT, &end, NULL) ||
        sigaction(SIGPIPE, &ignore, NULL) || sigaction(SIGXFSZ, &ignore, NULL))
        return ps_fail(PS_ERR_SYSTEM, "psd: cannot catch signals: %m");
    return PS_OK;
}

const char *psd_signals_reason(void)
{
    switch (received) {
    case SIGTERM: return "psd received SIGTERM";
    case SIGINT: return "psd received SIGINT";
    }
    return NULL;
}
