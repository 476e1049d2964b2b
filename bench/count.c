/*
 * count.c - who asks for memory?  A library to be loaded before all others, into psd or
 * a worker (LD_PRELOAD), that counts the calls of malloc and its kin by thread and by
 * the place that they come from.
 *
 * Each time the process receives SIGUSR2 it appends to the file COUNT_FOLDER/PID a line
 * for each place:
 *
 *     NUMBER-OF-THE-DUMP THREAD CALLS BYTES FREES OBJECT+OFFSET
 *
 * Counts are from the beginning of the process; who wants those of some seconds takes
 * the difference of two dumps (allocations.sh does).  Of a free the place is not kept.
 *
 * A thread counts in a table of its own, so nobody waits for anybody.
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACES 1024u /* of a thread; a power of two */
#define TABLES 512u  /* threads; those beyond are not counted */
#define THREAD_NAME_BYTES 32

struct place {
    _Atomic(void *)      from; /* NULL: free */
    atomic_uint_fast64_t calls, bytes;
};

struct table {
    pid_t                thread; /* 0: nobody's yet */
    atomic_uint_fast64_t frees;
    struct place         places[PLACES];
};

static struct table           tables[TABLES];
static atomic_uint            n_tables;
static _Thread_local uint32_t mine; /* its table's number, + 1; 0: none yet */

/* The C library's own. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void  __libc_free(void *p);

static struct table *table_of_thread(void)
{
    if (mine == 0) {
        mine = atomic_fetch_add(&n_tables, 1) + 1;
        if (mine <= TABLES)
            tables[mine - 1].thread = gettid();
    }
    return mine <= TABLES ? &tables[mine - 1] : NULL;
}

/* Places beyond the table's room go where the search ends. */
static void count(void *from, size_t bytes)
{
    struct table *t = table_of_thread();
    size_t        at = ((uintptr_t)from >> 1) * 11400714819323198485u >> 40;

    if (!t)
        return;
    for (unsigned tries = 0; tries < PLACES; tries++, at++) {
        struct place *p = &t->places[at % PLACES];
        void         *there = atomic_load_explicit(&p->from, memory_order_relaxed);

        if (there && there != from)
            continue;
        atomic_store_explicit(&p->from, from, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->calls, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->bytes, bytes, memory_order_relaxed);
        return;
    }
}

#pragma GCC visibility push(default)

void *malloc(size_t bytes)
{
    count(__builtin_return_address(0), bytes);
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    count(__builtin_return_address(0), n * bytes);
    return __libc_calloc(n, bytes);
}

void *realloc(void *old, size_t bytes)
{
    count(__builtin_return_address(0), bytes);
    return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    count(__builtin_return_address(0), bytes);
    return __libc_memalign(alignment, bytes);
}

void free(void *p)
{
    struct table *t = p ? table_of_thread() : NULL;

    if (t)
        atomic_fetch_add_explicit(&t->frees, 1, memory_order_relaxed);
    __libc_free(p);
}

#pragma GCC visibility pop

/* ---- dumps ---------------------------------------------------------------------- */

static void name_thread(pid_t thread, char *out)
{
    char  path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/self/task/%d/comm", (int)thread);
    f = fopen(path, "re");
    if (!f || !fgets(out, THREAD_NAME_BYTES, f))
        snprintf(out, THREAD_NAME_BYTES, "ended");
    out[strcspn(out, "\n")] = '\0';
    for (char *c = out; *c; c++)
        if (*c == ' ')
            *c = '-';
    if (f)
        fclose(f);
}

static void dump_table(FILE *to, unsigned dump, struct table *t)
{
    char    name[THREAD_NAME_BYTES];
    Dl_info at;

    name_thread(t->thread, name);
    fprintf(to, "%u %s 0 0 %ju -\n", dump, name, (uintmax_t)atomic_load(&t->frees));
    for (unsigned i = 0; i < PLACES; i++) {
        struct place *p = &t->places[i];
        char         *from = atomic_load(&p->from);

        if (from && dladdr(from, &at))
            fprintf(to, "%u %s %ju %ju 0 %s+0x%jx\n", dump, name,
                    (uintmax_t)atomic_load(&p->calls),
                    (uintmax_t)atomic_load(&p->bytes), at.dli_fname,
                    (uintmax_t)(from - 1 - (char *)at.dli_fbase));
    }
}

static void *dump_each_time(void *arg)
{
    const sigset_t *wanted = arg;
    const char     *folder = getenv("COUNT_FOLDER");
    char            path[512];
    int             signal;

    snprintf(path, sizeof(path), "%s/%d", folder ? folder : ".", (int)getpid());
    for (unsigned dump = 1; sigwait(wanted, &signal) == 0; dump++) {
        FILE *to = fopen(path, "ae");

        if (!to)
            continue;
        for (unsigned i = 0; i < TABLES && i < atomic_load(&n_tables); i++)
            dump_table(to, dump, &tables[i]);
        fprintf(to, "%u end\n", dump);
        fclose(to);
    }
    return NULL;
}

/* Before main: threads that come later inherit the mask, so only ours hears it. */
static __attribute__((constructor)) void begin(void)
{
    static sigset_t wanted;
    pthread_t       thread;

    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    if (pthread_create(&thread, NULL, dump_each_time, &wanted) == 0)
        pthread_detach(thread);
}
