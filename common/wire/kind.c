/* kind.c - see kind.h. */
#include "common/wire/kind.h"

static const struct ps_kind_rule rules[] = {
    [PS_MSG_ERROR] = { "error", 0, PS_NEED_STATUS },
    [PS_MSG_NOTICE] = { "notice", 0, PS_NEED_STATUS },
    [PS_MSG_OK] = { "ok", 0, 0 },
    [PS_MSG_HELLO] = { "hello", PS_FLAG_OBSERVER, PS_NEED_NAME },
    [PS_MSG_WELCOME] = { "welcome", 0, PS_NEED_JOB_SPEC | PS_NEED_ENDPOINTS },
    [PS_MSG_MATRIX] = { "matrix", PS_FLAG_CREATE, PS_NEED_MATRIX },
    [PS_MSG_MATRIX_OK] = { "matrix_ok", 0, PS_NEED_MATRIX | PS_NEED_SLOTS },
    [PS_MSG_LIST] = { "list", 0, 0 },
    [PS_MSG_LIST_OK] = { "list_ok", 0, 0 },
    [PS_MSG_REPORT] = { "report", 0, 0 },
    [PS_MSG_BEAT] = { "beat", 0, 0 },
    [PS_MSG_BYE] = { "bye", 0, 0 },
    [PS_MSG_STATUS] = { "status", 0, 0 },
    [PS_MSG_STATUS_OK] = { "status_ok", 0, 0 },
    [PS_MSG_WATCH] = { "watch", 0, PS_NEED_NAME },
    [PS_MSG_WATCH_OK] = { "watch_ok", 0, 0 },
    [PS_MSG_CHECKPOINT] = { "checkpoint", 0, PS_NEED_NAME },
    [PS_MSG_JOIN] = { "join", 0, PS_NEED_ENDPOINTS },
    [PS_MSG_JOIN_OK] = { "join_ok", 0, 0 },
    [PS_MSG_PART] = { "part", 0, 0 },
    [PS_MSG_JOB] = { "job", 0, PS_NEED_JOB_SPEC },
    [PS_MSG_JOB_END] = { "job_end", 0, 0 },
    [PS_MSG_MATRIX_ADD] = { "matrix_add", 0, PS_NEED_MATRIX | PS_NEED_SLOTS },
    [PS_MSG_MEMBERS] = { "members", 0, 0 },
    [PS_MSG_STATS] = { "stats", 0, 0 },
    [PS_MSG_STATS_OK] = { "stats_ok", 0, 0 },
    [PS_MSG_SETS] = { "sets", 0, PS_NEED_NAME },
    [PS_MSG_SETS_OK] = { "sets_ok", 0, 0 },
    [PS_MSG_LOAD] = { "load", 0, 0 },
    [PS_MSG_SNAPSHOT] = { "snapshot", 0, 0 },
    [PS_MSG_PUSH] = { "push",
                      PS_FLAG_FINISH | PS_FLAG_PULL | PS_FLAG_REST | PS_FLAG_FINITE,
                      PS_NEED_SEQ },
    [PS_MSG_PUSH_OK] = { "push_ok", 0, 0 },
    [PS_MSG_PULL] = { "pull", PS_FLAG_VIEW, 0 },
    [PS_MSG_PULL_OK] = { "pull_ok", 0, 0 },
    [PS_MSG_ROWS] = { "rows", 0, 0 },
    [PS_MSG_ROWS_OK] = { "rows_ok", 0, 0 },
    [PS_MSG_RESUME] = { "resume", 0, 0 },
    [PS_MSG_RESUME_OK] = { "resume_ok", 0, 0 },
    [PS_MSG_SAVED] = { "saved", 0, 0 },
    [PS_MSG_KEEP] = { "keep", 0, 0 },
};

const struct ps_kind_rule *ps_kind_rule(uint32_t kind)
{
    if (kind >= sizeof(rules) / sizeof(rules[0]) || !rules[kind].name)
        return NULL;
    return &rules[kind];
}

const char *ps_kind_name(uint32_t kind)
{
    const struct ps_kind_rule *rule = ps_kind_rule(kind);

    return rule ? rule->name : "unknown";
}
