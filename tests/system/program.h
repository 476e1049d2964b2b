/*
 * program.h - what the programs of the plays have in common.
 *
 * Such a program uses the worker library as any other does.  It ends with 0 when
 * everything was as expected, with 1 and a line that says what was not, or with the
 * exit code of the status that ended it, and its sentence.
 */
#ifndef TESTS_SYSTEM_PROGRAM_H
#define TESTS_SYSTEM_PROGRAM_H

#include <ps/worker.h>

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

_Noreturn void fail(int line, const char *what);

#define check(fact)                                                                    \
    do {                                                                               \
        if (!(fact))                                                                   \
            fail(__LINE__, #fact);                                                     \
    } while (0)

/* The call succeeds; else the program ends as a user's would. */
void must(ps_status st);

/* The call fails so, and its sentence says this. */
#define refused(call, status, part)                                                    \
    do {                                                                               \
        check((call) == (status));                                                     \
        if (!strstr(ps_why(), part))                                                   \
            fail(__LINE__, "expected \"" part "\"");                                   \
    } while (0)

void nap_ms(long ms); /* less than a second */

/* Ends the program with the sentence when the file does not come within minutes. */
void wait_for_file(const char *path, const char *otherwise);

/* How many segments of psd's or a worker's memory are mapped here that are somebody
 * else's. */
int segments_of_others(void);

#endif
