/*
 * own_place.h - a folder of a test's own, below TMPDIR or /tmp.
 */
#ifndef TESTS_UNIT_OWN_PLACE_H
#define TESTS_UNIT_OWN_PLACE_H

#include "tests/unit/suite.h"

extern char place[200];

void a_place(void);
void no_place(void); /* with all that is in it */

/* A folder with all that is in it; nothing where nothing is. */
void remove_all(const char *path);

#endif
