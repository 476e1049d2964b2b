/* server.c - see server.h. */
#include "bench/server.h"

#include "tools/find.h"
#include "tools/folder.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START_MS 30000 /* for a server to be ready */
#define GRACE_MS 5000  /* between SIGTERM and SIGKILL */

static ps_status no_memory(void)
{
    return ps_fail(PS_ERR_NO_MEMORY, "no memory to start servers");
}

static ps_status make_folder(char **out)
{
    const char *parent = getenv("TMPDIR");
    char *folder = folder_path(parent && *parent ? parent : "/tmp", "psbench-XXXXXX");

    if (!folder)
        return no_memory();
    if (!mkdtemp(folder)) {
        ps_status st = ps_fail(PS_ERR_SYSTEM, "cannot make a folder %s: %m", folder);

        free(folder);
        return st;
    }
    *out = folder;
    return PS_OK;
}

static int remove_one(const char *path, const struct stat *info, int kind,
                      struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static ps_status died(const struct process *p)
{
    char text[1024];

    process_describe_end(p, text, sizeof(text));
    return ps_fail(PS_ERR_UNAVAILABLE, "%s", text);
}

ps_status bench_await_file(struct process *p, const char *file)
{
    const struct timespec tick = { .tv_nsec = 5000000 };

    for (int waited = 0; access(file, R_OK) != 0; waited += 5) {
        if (process_ended(p))
            return died(p);
        if (waited > START_MS)
            return ps_fail(PS_ERR_TIMEOUT, "%s is not ready, waited %d s", p->name,
                           START_MS / 1000);
        nanosleep(&tick, NULL);
    }
    return PS_OK;
}

/* Waits until the process has written `file`, and reads `n` lines of it. */
static ps_status read_endpoints(struct process *p, const char           *file,
                                char (*lines)[PS_ENDPOINT_BYTES], size_t n)
{
    FILE     *f;
    size_t    got = 0;
    ps_status st = bench_await_file(p, file);

    if (st)
        return st;
    if (!(f = fopen(file, "r")))
        return ps_fail(PS_ERR_SYSTEM, "cannot read %s: %m", file);
    while (got < n && fgets(lines[got], PS_ENDPOINT_BYTES, f)) {
        lines[got][strcspn(lines[got], "\n")] = '\0';
        got++;
    }
    fclose(f);
    if (got < n)
        return ps_fail(PS_ERR_DATA, "%s listens at %zu addresses, expected %zu",
                       p->name, got, n);
    return PS_OK;
}

/* tcp: any free port; ipc and shm: FOLDER/NAME. */
static void endpoint_of(const struct bench_servers *s, const char *transport,
                        const char *name, size_t number, char *out, size_t bytes)
{
    if (strcmp(transport, "tcp") == 0)
        snprintf(out, bytes, "tcp://127.0.0.1:0");
    else
        snprintf(out, bytes, "ipc://%s/%s%zu", s->folder, name, number);
}

static ps_status start_psd(struct bench_servers *s, const char *transport,
                           enum bench_more more)
{
    struct process *p = &s->processes[BENCH_PSD];
    char           *none[] = { NULL };
    char           *program = NULL, *at = folder_path(s->folder, "psd.at");
    char            set[] = "--set", listen[PS_ENDPOINT_BYTES + 8], shards[32];
    char            announce[512], state[512], share[32], spin[32];
    const char     *spins = getenv("PSW_SPIN_US"); /* psd does as the workers do */
    ps_status       st = find_program("psd", &program);

    memcpy(listen, "listen=", 7);
    endpoint_of(s, transport, "psd", 0, listen + 7, sizeof(listen) - 7);
    snprintf(shards, sizeof(shards), "shards=%zu", s->shards);
    snprintf(share, sizeof(share), "shared_memory=%s",
             strcmp(transport, "shm") == 0 ? "true" : "false");
    snprintf(spin, sizeof(spin), "spin_us=%s", spins ? spins : "0");
    snprintf(announce, sizeof(announce), "--announce=%s", at ? at : "");
    snprintf(state, sizeof(state), "state=%s/state", s->folder);
    if (!st && !at)
        st = no_memory();
    if (!st)
        st = process_start(p,
                           (char *[]){ program, set, listen, set, shards, set, share,
                                       set, spin, announce,
                                       more == BENCH_STATE ? set : NULL, state, NULL },
                           none);
    if (!st)
        st = read_endpoints(p, at, &s->coordinator, 1);
    free(program);
    free(at);
    return st;
}

/* This program once more, in its other role. */
static ps_status start_raw(struct bench_servers *s, const char *transport)
{
    struct process *p = &s->processes[BENCH_RAW_SERVER];
    char           *none[] = { NULL };
    char           *at = folder_path(s->folder, "raw.at");
    char            self[] = "/proc/self/exe", role[] = "raw-server";
    char           *argv[4 + BENCH_RAW_SHARDS] = { self, role, at };
    ps_status       st;

    if (!at)
        return no_memory();
    for (size_t i = 0; i < s->shards; i++) {
        endpoint_of(s, transport, "raw", i, s->raw[i], sizeof(s->raw[i]));
        argv[3 + i] = s->raw[i];
    }
    st = process_start(p, argv, none);
    if (!st)
        st = read_endpoints(p, at, s->raw, s->shards);
    free(at);
    return st;
}

ps_status bench_servers_start(struct bench_servers *s, const char *transport,
                              size_t shards, enum bench_more more)
{
    static const char *const names[] = {
        [BENCH_PSD] = "psd", [BENCH_RAW_SERVER] = "raw server"
    };
    static const char *const logs[] = {
        [BENCH_PSD] = "psd.log", [BENCH_RAW_SERVER] = "raw.log"
    };
    ps_status st;

    *s = (struct bench_servers){ .shards = shards };
    st = make_folder(&s->folder);
    for (int i = 0; !st && i < BENCH_SERVERS; i++) {
        snprintf(s->processes[i].name, sizeof(s->processes[i].name), "%s", names[i]);
        if (!(s->processes[i].log = folder_path(s->folder, logs[i])))
            st = no_memory();
    }
    if (!st)
        st = start_psd(s, transport, more);
    if (!st && more == BENCH_RAW)
        st = start_raw(s, transport);
    if (st) {
        ps_status ignored = bench_servers_stop(s); /* the first reason counts */

        (void)ignored;
    }
    return st;
}

ps_status bench_servers_stop(struct bench_servers *s)
{
    ps_status st = PS_OK;

    for (int i = 0; i < BENCH_SERVERS; i++)
        if (!st && s->processes[i].pid > 0 && process_ended(&s->processes[i]))
            st = died(&s->processes[i]);
    process_stop_all(s->processes, BENCH_SERVERS, GRACE_MS);
    for (int i = 0; i < BENCH_SERVERS; i++)
        process_free(&s->processes[i]);
    if (s->folder)
        nftw(s->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(s->folder);
    s->folder = NULL;
    return st;
}

ps_status bench_process_seconds(const struct process *p, double *seconds)
{
    struct timespec used;
    clockid_t       clock;
    int             failed = clock_getcpuclockid(p->pid, &clock);

    if (failed || clock_gettime(clock, &used))
        return ps_fail(PS_ERR_SYSTEM, "%s: its processor time cannot be read: %s",
                       p->name, strerror(failed ? failed : errno));
    *seconds = (double)used.tv_sec + (double)used.tv_nsec / 1e9;
    return PS_OK;
}

ps_status bench_process_bytes(pid_t pid, double *bytes)
{
    char     path[64];
    uint64_t pages = 0;
    FILE    *f;
    int      got = 0;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    if ((f = fopen(path, "re"))) {
        got = fscanf(f, "%*u %" SCNu64, &pages);
        fclose(f);
    }
    if (got != 1)
        return ps_fail(PS_ERR_SYSTEM, "process %d: its memory cannot be read",
                       (int)pid);
    *bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
    return PS_OK;
}
