/* server.c - see server.h. */
#include "bench/server.h"

#include "tools/find.h"
#include "tools/folder.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START_MS 30000 /* for a server to be ready */
#define GRACE_MS 5000  /* between SIGTERM and SIGKILL */

enum { PSD, RAW };

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

/* Waits until the process has written `file`, and reads `n` lines of it. */
static ps_status read_endpoints(struct process *p, const char           *file,
                                char (*lines)[PS_ENDPOINT_BYTES], size_t n)
{
    const struct timespec tick = { .tv_nsec = 5000000 };
    FILE                 *f;
    size_t                got = 0;

    for (int waited = 0; access(file, R_OK) != 0; waited += 5) {
        if (process_ended(p))
            return died(p);
        if (waited > START_MS)
            return ps_fail(PS_ERR_TIMEOUT, "%s is not ready, waited %d s", p->name,
                           START_MS / 1000);
        nanosleep(&tick, NULL);
    }
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

/* tcp: any free port; ipc: FOLDER/NAME. */
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
    struct process *p = &s->processes[PSD];
    char           *none[] = { NULL };
    char           *program = NULL, *at = folder_path(s->folder, "psd.at");
    char            set[] = "--set", listen[PS_ENDPOINT_BYTES + 8], shards[32];
    char            announce[512], state[512];
    ps_status       st = find_program("psd", &program);

    memcpy(listen, "listen=", 7);
    endpoint_of(s, transport, "psd", 0, listen + 7, sizeof(listen) - 7);
    snprintf(shards, sizeof(shards), "shards=%zu", s->shards);
    snprintf(announce, sizeof(announce), "--announce=%s", at ? at : "");
    snprintf(state, sizeof(state), "state=%s/state", s->folder);
    if (!st && !at)
        st = no_memory();
    if (!st)
        st = process_start(p,
                           (char *[]){ program, set, listen, set, shards, announce,
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
    struct process *p = &s->processes[RAW];
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
    static const char *const names[] = { [PSD] = "psd", [RAW] = "raw server" };
    static const char *const logs[] = { [PSD] = "psd.log", [RAW] = "raw.log" };
    ps_status                st;

    *s = (struct bench_servers){ .shards = shards };
    st = make_folder(&s->folder);
    for (int i = PSD; !st && i <= RAW; i++) {
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

    for (int i = PSD; i <= RAW; i++)
        if (!st && s->processes[i].pid > 0 && process_ended(&s->processes[i]))
            st = died(&s->processes[i]);
    process_stop_all(s->processes, 2, GRACE_MS);
    for (int i = PSD; i <= RAW; i++)
        process_free(&s->processes[i]);
    if (s->folder)
        nftw(s->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(s->folder);
    s->folder = NULL;
    return st;
}
