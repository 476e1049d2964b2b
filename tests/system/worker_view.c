/*
 * worker_view.c - a worker that looks at parameters where they are; view.sh starts
 * several.
 *
 *     worker_view hash N          bsp: N iterations; what the views show must be what
 *                                 pulls bring; worker 0 prints the model's hash
 *     worker_view count           asp: counts in every element, until there is a file
 *                                 called stop, and keeps views meanwhile, which must
 *                                 stay as they are
 *     worker_view keep N          asp: holds N views of N versions, says so, and waits
 *                                 for the file stop
 *     worker_view outlive         asp: holds a view until there is a file called stop,
 *                                 whatever becomes of the servers
 *
 * VIEW_UID: as this user.  `hash` and `count` print how many segments of others they
 * have mapped; `hash` and `keep` say what is lent of what they hold, and not here.
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* 3 MiB and a bit, so that the last chunk is a small one. */
#define BIG (((uint64_t)3 << 17) + 48)
#define SMALL 100u
#define CHUNK ((uint64_t)1 << 17)
#define KEPT 3u /* views at a time */

static ps_worker *worker;
static ps_matrix *big, *small;
static int64_t    value[BIG], change[BIG];

static void join(const char *job)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_matrix_options o = PS_MATRIX_OPTIONS;
    ps_settings      *settings;

    must(ps_settings_parse(&settings, job));
    opt.settings = settings;
    must(ps_worker_open(&worker, &opt));
    ps_settings_free(&settings);
    o.dtype = PS_I64;
    o.optimiser = PS_ADD;
    must(ps_dense(worker, "big", 1, BIG, &o, &big));
    must(ps_dense(worker, "small", 1, SMALL, &o, &small));
}

/* Does all that it shows lie in segments of others? */
static bool is_lent(const ps_view *view)
{
    FILE          *f = fopen("/proc/self/maps", "r");
    char           line[512];
    size_t         n, found = 0;
    const ps_span *span = ps_view_spans(view, &n);
    uintptr_t      from, to;

    check(f);
    while (fgets(line, sizeof(line), f)) {
        if (!strstr(line, " r--s ") || !strstr(line, "/memfd:psd ") ||
            sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) != 2)
            continue;
        for (size_t i = 0; i < n; i++)
            found += (uintptr_t)span[i].data >= from && (uintptr_t)span[i].data < to;
    }
    fclose(f);
    return found == n;
}

/* Until both have found out that they are on one host. */
static void come_near(void)
{
    bool lent = false;

    for (int i = 0; !lent && i < 6000; i++) {
        ps_view *view;

        must(ps_pull_view(big, &view));
        lent = is_lent(view);
        ps_view_release(&view);
        nap_ms(lent ? 0 : 10);
    }
    check(lent);
}

/* All elements, in order, none twice. */
static void covers(const ps_view *view, uint64_t elements)
{
    uint64_t       next = 0;
    size_t         n;
    const ps_span *span = ps_view_spans(view, &n);

    for (size_t i = 0; i < n; i++) {
        check(span[i].first == next && span[i].count > 0);
        check((uintptr_t)span[i].data % 8 == 0);
        next += span[i].count;
    }
    check(next == elements);
}

static int64_t at(const ps_view *view, uint64_t element)
{
    size_t         n;
    const ps_span *span = ps_view_spans(view, &n);

    while (element - span->first >= span->count)
        span++;
    return ((const int64_t *)span->data)[element - span->first];
}

static bool shows(const ps_view *view, const int64_t *expected)
{
    size_t         n;
    const ps_span *span = ps_view_spans(view, &n);

    for (size_t i = 0; i < n; i++)
        if (memcmp(span[i].data, expected + span[i].first,
                   span[i].count * sizeof(*expected)) != 0)
            return false;
    return true;
}

/* Of a chunk all elements have been counted as often. */
static void is_of_one_moment(const ps_view *view)
{
    size_t         n;
    const ps_span *span = ps_view_spans(view, &n);

    for (size_t i = 0; i < n; i++)
        for (uint64_t k = 0; k < span[i].count; k++) {
            uint64_t e = span[i].first + k;

            if (((const int64_t *)span[i].data)[k] != at(view, e - e % CHUNK))
                fail(__LINE__, "a chunk of two moments");
        }
}

static void push(uint64_t t, int64_t scale)
{
    for (uint64_t i = 0; i < BIG; i++)
        change[i] = 1 + scale * (int64_t)((i * 7 + t * 13 + ps_rank(worker)) % 11);
    must(ps_push_any(big, change));
    must(ps_push_any(small, change));
}

/* What is held from the iteration before must not have changed. */
static void hash(uint64_t n)
{
    static int64_t before[BIG];
    ps_view       *view, *other, *older = NULL;
    ps_ticket     *ticket;
    ps_matrix     *rows;
    char           hex[65];

    join("job: {strategy: bsp}\n");
    must(ps_sparse(worker, "rows", 4, NULL, &rows));
    refused(ps_pull_view(rows, &view), PS_ERR_SHAPE, "view of rows: it is sparse");
    check(!view);
    for (uint64_t t = 0; t < n; t++) {
        push(t, 1);
        must(ps_finish(worker));
        must(ps_pull_view(big, &view));
        covers(view, BIG);
        must(ps_pull_any(big, value));
        check(shows(view, value));
        check(!older || shows(older, before));
        memcpy(before, value, sizeof(value));
        ps_view_release(&older);
        older = view;
        must(ps_pull_view_async(small, &other, &ticket));
        check(!other || ps_done(ticket));
        must(ps_wait(&ticket));
        covers(other, SMALL);
        must(ps_pull_any(small, value));
        check(shows(other, value));
        ps_view_release(&other);
        check(!other);
    }
    if (ps_rank(worker) == 0) {
        must(ps_model_hash(worker, hex));
        puts(hex);
    }
    printf("segments %d, %s\n", segments_of_others(), is_lent(older) ? "lent" : "here");
    must(ps_worker_close(&worker));
    check(shows(older, before));
    ps_view_release(&older);
}

static void count(void)
{
    ps_view *kept[KEPT] = { NULL };
    int64_t  first[KEPT], seen = 0;

    join("job: {strategy: asp}\n");
    come_near();
    for (uint64_t t = 0; access("stop", F_OK); t++) {
        const uint64_t k = t % KEPT;

        push(t, 0);
        must(ps_finish(worker));
        if (kept[k]) {
            is_of_one_moment(kept[k]);
            check(at(kept[k], 0) == first[k]);
        }
        ps_view_release(&kept[k]);
        must(ps_pull_view(big, &kept[k]));
        is_of_one_moment(kept[k]);
        first[k] = at(kept[k], 0);
        check(first[k] > seen); /* mine is in it */
        seen = first[k];
        fprintf(stderr, "counted %" PRIu64 "\n", t + 1);
    }
    printf("segments %d\n", segments_of_others());
    must(ps_worker_close(&worker));
    for (uint32_t k = 0; k < KEPT; k++)
        ps_view_release(&kept[k]);
}

/* Of so many versions; what cannot be lent any more is copied. */
static void keep(uint64_t n)
{
    ps_view **views = calloc(n, sizeof(ps_view *));
    uint64_t  n_lent = 0;
    int64_t   first;

    check(views);
    join("job: {strategy: asp}\n");
    come_near();
    must(ps_pull_any(big, value));
    first = value[0];
    for (uint64_t i = 0; i < n; i++) {
        push(i, 0);
        must(ps_pull_view(big, &views[i]));
    }
    for (uint64_t i = 0; i < n; i++) {
        covers(views[i], BIG);
        is_of_one_moment(views[i]);
        check(at(views[i], 0) == first + 1 + (int64_t)i);
        n_lent += is_lent(views[i]);
    }
    fprintf(stderr, "kept, %" PRIu64 " lent\n", n_lent);
    wait_for_file("stop", "nobody said stop");
    for (uint64_t i = 0; i < n; i++) {
        check(at(views[i], BIG - 1) == first + 1 + (int64_t)i);
        ps_view_release(&views[i]);
    }
    free(views);
    must(ps_pull_any(big, value)); /* what is back is heard of with this */
    must(ps_worker_close(&worker));
}

static void *release(void *view)
{
    ps_view *mine = view;

    is_of_one_moment(mine);
    ps_view_release(&mine);
    return NULL;
}

static void outlive(void)
{
    ps_view  *view, *other;
    pthread_t thread;
    pid_t     child;
    int       status;

    join("job: {strategy: asp}\n");
    come_near();
    push(0, 0);
    must(ps_pull_view(big, &view));
    must(ps_pull_view(big, &other));
    check(is_lent(view) && is_lent(other));
    fprintf(stderr, "kept\n");
    wait_for_file("stop", "nobody said stop");
    is_of_one_moment(view);
    check(at(view, 0) == 1);
    ps_worker_abandon(&worker, "the server has gone");
    is_of_one_moment(view);
    child = fork();
    if (child == 0) { /* it can read, and lets go of nothing */
        is_of_one_moment(view);
        ps_view_release(&view);
        _exit(view != NULL);
    }
    check(waitpid(child, &status, 0) == child && status == 0);
    is_of_one_moment(view);
    ps_view_release(&view);
    check(pthread_create(&thread, NULL, release, other) == 0);
    check(pthread_join(thread, NULL) == 0);
    check(segments_of_others() == 0);
}

int main(int argc, char **argv)
{
    const char *uid = getenv("VIEW_UID");
    uint64_t    n = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;

    if (uid)
        check(setuid((uid_t)atoi(uid)) == 0);

    if (argc > 1 && !strcmp(argv[1], "hash"))
        hash(n);
    else if (argc > 1 && !strcmp(argv[1], "count"))
        count();
    else if (argc > 1 && !strcmp(argv[1], "keep"))
        keep(n);
    else if (argc > 1 && !strcmp(argv[1], "outlive"))
        outlive();
    else
        return 64;
    return 0;
}
