#!/bin/sh
# Views: parameters that workers read where psd keeps them, or where they came in.
. "$top_srcdir/tests/system/lib.sh"

view=$top_builddir/tests/system/worker_view
unset PSW_OBSERVER

plan 19

# several N NAME ARGUMENT...: N workers, each in NAME-RANK.out.
several() {
    n=$1 as=$2
    shift 2
    others=
    PSW_WORLD_SIZE=$n
    export PSW_WORLD_SIZE
    for rank in $(seq $((n - 1))); do
        PSW_RANK=$rank "$view" "$@" >"$as-$rank.out" 2>"$as-$rank.err" &
        others="$others $!"
        pids="$pids $!"
    done
    PSW_RANK=0 "$view" "$@" >"$as-0.out" 2>"$as-0.err" || return
    for other in $others; do
        wait "$other" || return
    done
}

model() {
    head -n 1 "$1-0.out"
}

# shown: megabytes of memory files that psd has touched.
shown() {
    awk '/^RssShmem/ { print int($2 / 1024) }' "/proc/$pid/status"
}

# ---- the same bits ---------------------------------------------------------------------

export PSW_TIMEOUT_MS=60000
psd_start shares --set shards=1 --set worker_silence=4
export PSW_COORDINATOR="$endpoint" PSW_JOB=hash
ok "views show what pulls bring, and do not change" several 2 near hash 8
is "they are in the memory of psd" "$(grep -h segments near-?.out | sort -u)" "segments 1, lent"

psd_start several --set shards=3
export PSW_COORDINATOR="$endpoint"
ok "the same of several shards" several 2 many hash 8
is "and of them all" "$(grep -h segments many-?.out | sort -u)" "segments 3, lent"
is "the model is the same, bit for bit" "$(model many)" "$(model near)"
psd_stop several

psd_start keeps --set shards=2 --set shared_memory=false
export PSW_COORDINATOR="$endpoint"
ok "the same over sockets" several 2 far hash 8
is "nothing is mapped then" "$(grep -h segments far-?.out | sort -u)" "segments 0, here"
is "the model is the same, bit for bit" "$(model far)" "$(model near)"
psd_stop keeps

# ---- another user ----------------------------------------------------------------------

PSW_COORDINATOR=$(cat shares.at) pid=$pid_shares
export PSW_COORDINATOR
if [ "$(id -u)" -eq 0 ]; then
    export PSW_JOB=other VIEW_UID=65534
    ok "workers of another user have views as well" several 2 other hash 8
    is "but of no memory of psd's" "$(grep -h segments other-?.out | sort -u)" "segments 0, here"
    unset VIEW_UID
else
    report 0 "workers of another user have views as well # SKIP only root can be another"
    report 0 "but of no memory of psd's # SKIP only root can be another"
fi

# ---- who keeps many --------------------------------------------------------------------

export PSW_JOB=keep PSW_WORLD_SIZE=1

# keeps NAME N: somebody holds so many views; its process is in $keeper.
keeps() {
    PSW_RANK=0 "$view" keep "$2" >"$1.out" 2>"$1.err" &
    keeper=$!
    pids="$pids $keeper"
    wait_until grep -qs kept "$1.err"
}
ok "a worker holds views of more versions than psd keeps for it" keeps first 30
is "8 of them are in the memory of psd" "$(cat first.err)" "kept, 8 lent"
# The parameters, 8 versions of them, one on its way, and lists: 3 MiB each.
memory=$(shown)
ok "which takes no more of psd's memory than 8 of them" test "$memory" -lt 45
kill -9 $keeper
wait $keeper 2>/dev/null
again() {
    wait_until grep -q 'worker 0 of job keep .* was silent' shares.log && keeps second 30
}
ok "one that is killed with them frees what it held" again
is "so that the next one takes the same memory" "$(shown)" "$memory"
: >stop
ok "who lets go of them ends well" wait $keeper
rm stop

# ---- workers that are killed -----------------------------------------------------------

export PSW_JOB=kills PSW_WORLD_SIZE=2

is_missed() {
    grep -q 'worker 1 of job kills .* was silent' shares.log
}

# Rank 1 is killed in the middle of what it does, holding views, while rank 0 pushes and
# looks whether its own stay as they are.
kills() {
    PSW_RANK=0 "$view" count >survivor.out 2>survivor.err &
    survivor=$!
    pids="$pids $survivor"
    PSW_RANK=1 "$view" count 2>victim.err >/dev/null &
    victim=$!
    pids="$pids $victim"
    wait_until grep -qs "counted 5" victim.err || return
    kill -9 $victim
    wait $victim 2>/dev/null
    wait_until is_missed || return
    : >stop
    wait $survivor
}
ok "a worker that is killed with views in its hands leaves the other one untouched" kills
rm stop

# ---- views without a psd ---------------------------------------------------------------

export PSW_JOB=outlive PSW_WORLD_SIZE=1
PSW_RANK=0 "$view" outlive >outlive.out 2>outlive.err &
holder=$!
pids="$pids $holder"
ok "a worker holds views" wait_until grep -qs kept outlive.err
kill -9 $pid_shares
wait $pid_shares 2>/dev/null
: >stop
ok "they stay when psd is killed, and when the worker is closed" wait $holder
rm stop
