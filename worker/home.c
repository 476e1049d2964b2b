/* home.c - see home.h. */
#include "worker/home.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void psw_home_take(struct psw_home *home)
{
    int *page = mmap(NULL, page_bytes(), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *home = (struct psw_home){ .pid = getpid() };
    if (page == MAP_FAILED)
        return;
    if (madvise(page, page_bytes(), MADV_WIPEONFORK)) {
        munmap(page, page_bytes());
        return;
    }
    *page = 1;
    home->mark = page;
}

void psw_home_leave(struct psw_home *home)
{
    if (home->mark)
        munmap((void *)(uintptr_t)home->mark, page_bytes());
    home->mark = NULL;
}

bool psw_is_at_home(const struct psw_home *home)
{
    return home->mark ? *home->mark != 0 : home->pid == getpid();
}
