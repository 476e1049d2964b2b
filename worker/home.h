/*
 * home.h - is this still the process in which something began, or a child of it?
 *
 * To ask for the number of the process is a call of the system, which small requests
 * would make several times each.  So a page is looked at that the kernel empties in a
 * child (MADV_WIPEONFORK); where there is no such page, the number is asked for.
 *
 * Thread: any, once it is taken.
 */
#ifndef PSW_HOME_H
#define PSW_HOME_H

#include <stdbool.h>
#include <sys/types.h>

struct psw_home {
    pid_t               pid;
    const volatile int *mark; /* not 0 at home; NULL: there is no page */
};

void psw_home_take(struct psw_home *home);
void psw_home_leave(struct psw_home *home);

bool psw_is_at_home(const struct psw_home *home);

#endif
