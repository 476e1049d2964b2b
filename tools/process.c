/* process.c - see process.h. */
#include "tools/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* The child, between fork and exec: system calls only. */
static void become(int log, pid_t parent, char *const *argv, char *const *environment)
{
    sigset_t none;
    int      nothing;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(75); /* psexp died before the line above */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    nothing = open("/dev/null", O_RDONLY);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(71);
    execve(argv[0], argv, environment);
    dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static char **joined_environment(char *const *more)
{
    size_t n = 0, m = 0, at;
    char **all;

    while (environ[n])
        n++;
    while (more[m])
        m++;
    all = calloc(n + m + 1, sizeof(*all));
    if (!all)
        return NULL;
    memcpy(all, more, m * sizeof(*all)); /* first: getenv takes the first it finds */
    at = m;
    for (size_t i = 0; i < n; i++) {
        size_t name = strcspn(environ[i], "=") + 1;
        bool   replaced = false;

        for (size_t k = 0; k < m; k++)
            replaced |= strncmp(environ[i], more[k], name) == 0;
        if (!replaced)
            all[at++] = environ[i];
    }
    return all;
}

ps_status process_start(struct process *p, char *const *argv, char *const *environment)
{
    int    again = p->ended ? O_APPEND : O_TRUNC;
    int    log = open(p->log, O_WRONLY | O_CREAT | O_CLOEXEC | again, 0666);
    char **all = joined_environment(environment);
    pid_t  parent = getpid();
    pid_t  pid;

    if (log < 0 || !all) {
        free(all);
        return log < 0 ? ps_fail(PS_ERR_SYSTEM, "cannot write %s: %m", p->log)
                       : ps_fail(PS_ERR_NO_MEMORY, "no memory to start %s", p->name);
    }
    pid = fork();
    if (pid == 0)
        become(log, parent, argv, all);
    close(log);
    free(all);
    if (pid < 0)
        return ps_fail(PS_ERR_SYSTEM, "cannot start %s: %m", p->name);
    p->pid = pid;
    p->ended = false;
    return PS_OK;
}

bool process_ended(struct process *p)
{
    if (!p->ended && p->pid > 0 &&
        waitpid(p->pid, &p->wait_status, WNOHANG) == p->pid) {
        p->ended = true;
        p->pid = 0;
    }
    return p->ended;
}

bool process_runs(struct process *p)
{
    return p->pid > 0 && !process_ended(p);
}

void process_signal(const struct process *p, int number)
{
    if (p->pid > 0)
        kill(-p->pid, number);
}

void process_kill(struct process *p)
{
    process_signal(p, SIGKILL);
    if (p->pid > 0 && waitpid(p->pid, &p->wait_status, 0) == p->pid) {
        p->ended = true;
        p->pid = 0;
    }
}

bool process_succeeded(const struct process *p)
{
    return p->ended && WIFEXITED(p->wait_status) && WEXITSTATUS(p->wait_status) == 0;
}

void process_last_line(const struct process *p, char *text, size_t bytes)
{
    char   tail[2048];
    FILE  *f = fopen(p->log, "re");
    char  *line, *end;
    size_t n = 0;

    text[0] = '\0';
    if (!f)
        return;
    if (fseek(f, -(long)(sizeof(tail) - 1), SEEK_END) != 0)
        rewind(f); /* shorter than that */
    n = fread(tail, 1, sizeof(tail) - 1, f);
    fclose(f);
    while (n > 0 && (tail[n - 1] == '\n' || tail[n - 1] == ' '))
        n--;
    tail[n] = '\0';
    end = strrchr(tail, '\n');
    line = end ? end + 1 : tail;
    if (line[0] == '<' && line[1] && line[2] == '>') /* a level, as journald reads it */
        line += 3;
    snprintf(text, bytes, "%s", line);
}

void process_describe_end(const struct process *p, char *text, size_t bytes)
{
    char last[512];
    int  n;

    process_last_line(p, last, sizeof(last));
    if (WIFSIGNALED(p->wait_status))
        n = snprintf(text, bytes, "%s was ended by signal %d (%s)", p->name,
                     WTERMSIG(p->wait_status), strsignal(WTERMSIG(p->wait_status)));
    else
        n = snprintf(text, bytes, "%s ended with exit code %d", p->name,
                     WEXITSTATUS(p->wait_status));
    if (last[0] && n > 0 && (size_t)n < bytes)
        snprintf(text + n, bytes - (size_t)n, ": %s", last);
}

static bool all_ended(struct process *list, size_t n)
{
    bool all = true;

    for (size_t i = 0; i < n; i++)
        all &= list[i].pid == 0 || process_ended(&list[i]);
    return all;
}

static void signal_all(const struct process *list, size_t n, int number)
{
    for (size_t i = 0; i < n; i++)
        process_signal(&list[i], number);
}

void process_stop_all(struct process *list, size_t n, int grace_ms)
{
    const struct timespec tick = { .tv_nsec = 10000000 };

    signal_all(list, n, SIGTERM);
    signal_all(list, n, SIGCONT); /* a stopped one could not end */
    for (int waited = 0; waited < grace_ms && !all_ended(list, n); waited += 10)
        nanosleep(&tick, NULL);
    signal_all(list, n, SIGKILL);
    while (!all_ended(list, n))
        nanosleep(&tick, NULL);
}

void process_free(struct process *p)
{
    free(p->log);
    p->log = NULL;
}

/* The next word of *text into `word` (as long as the text); false at its end. */
static bool next_word(const char **text, char *word, bool *open_quote)
{
    const char *s = *text + strspn(*text, " \t\n");
    bool        any = false;

    *open_quote = false;
    while (*s && !strchr(" \t\n", *s)) {
        any = true;
        if (*s == '\'' || *s == '"') {
            const char *end = strchr(s + 1, *s);

            if (!end) {
                *open_quote = true;
                return false;
            }
            memcpy(word, s + 1, (size_t)(end - s) - 1);
            word += end - s - 1;
            s = end + 1;
        } else {
            *word++ = *s++;
        }
    }
    *word = '\0';
    *text = s;
    return any;
}

ps_status process_split(const char *command, char ***words, size_t *n)
{
    char  *word = malloc(strlen(command) + 1);
    char **list = calloc(strlen(command) + 1, sizeof(*list));
    bool   open_quote = false;

    *n = 0;
    for (const char *s = command; word && list && next_word(&s, word, &open_quote);)
        if (!(list[(*n)++] = strdup(word)))
            goto no_memory;
    if (!word || !list)
        goto no_memory;
    free(word);
    *words = list;
    if (open_quote || *n == 0) {
        for (size_t i = 0; i < *n; i++)
            free(list[i]);
        free(list);
        return ps_fail(PS_ERR_CONFIG, "workers.command: \"%s\": %s", command,
                       open_quote ? "a quote is not closed" : "no program");
    }
    return PS_OK;

no_memory:
    for (size_t i = 0; list && i < *n && list[i]; i++)
        free(list[i]);
    free(list);
    free(word);
    return ps_fail(PS_ERR_NO_MEMORY, "no memory");
}
