/* program.c - see program.h. */
#include "tests/system/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 240

void fail(int line, const char *what)
{
    fprintf(stderr, "line %d: %s; %s\n", line, what, ps_why());
    exit(1);
}

void must(ps_status st)
{
    if (st == PS_OK)
        return;
    fprintf(stderr, "%s: %s\n", ps_status_text(st), ps_why());
    exit(ps_status_exit_code(st));
}

void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

void wait_for_file(const char *path, const char *otherwise)
{
    const time_t until = time(NULL) + PATIENCE_S;

    while (access(path, F_OK)) {
        if (time(NULL) > until) {
            fprintf(stderr, "%s\n", otherwise);
            exit(1);
        }
        nap_ms(5);
    }
}

/* "r--s ... /memfd:psd (deleted)": mapped for reading only. */
int segments_of_others(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char  line[512];
    int   n = 0;

    check(f);
    while (fgets(line, sizeof(line), f))
        n += strstr(line, " r--s ") && strstr(line, "/memfd:psd ");
    fclose(f);
    return n;
}
