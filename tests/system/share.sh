#!/bin/sh
# Workers on the host of their psd: parameters and gradients stay where they are, in memory
# that both have mapped, and nothing else is different.
. "$top_srcdir/tests/system/lib.sh"

near=$top_builddir/tests/system/worker_near
unset PSW_OBSERVER

plan 14

# two NAME ARGUMENT...: two workers, each in NAME-RANK.out.
two() {
    as=$1
    shift
    PSW_RANK=1 "$near" "$@" >"$as-1.out" 2>"$as-1.err" &
    other=$!
    pids="$pids $other"
    PSW_RANK=0 "$near" "$@" >"$as-0.out" 2>"$as-0.err" || return
    wait $other
}

# borrowed: segments of workers that psd has mapped.
borrowed() {
    grep -c 'r--s.*/memfd:psd ' "/proc/$pid/maps"
}

nothing_is_borrowed() {
    [ "$(borrowed)" = 0 ]
}

# ---- the same bits ---------------------------------------------------------------------

export PSW_WORLD_SIZE=2 PSW_TIMEOUT_MS=60000
psd_start shares --set shards=1 --set worker_silence=4
export PSW_COORDINATOR="$endpoint" PSW_JOB=hash
ok "two workers train with shared memory" two near hash 8
is "each has mapped the segment of its job, and no more" \
    "$(grep -h segments near-?.out | sort -u)" "segments 1"
export PSW_JOB=again
ok "and again, while psd still shows the first job" two again hash 8
is "who works on the second job has not mapped the first" \
    "$(grep -h segments again-?.out | sort -u)" "segments 1"
ok "psd lets go of what workers lent that are gone" wait_until nothing_is_borrowed

psd_start keeps --set shards=1 --set shared_memory=false
export PSW_COORDINATOR="$endpoint" PSW_JOB=hash
ok "two workers train without" two far hash 8
is "nothing is mapped then" "$(grep -h segments far-?.out | sort -u)" "segments 0"
is "the model is the same, bit for bit" "$(head -n 1 near-0.out)" "$(head -n 1 far-0.out)"
psd_stop keeps

# ---- another user ----------------------------------------------------------------------

PSW_COORDINATOR=$(cat shares.at) pid=$pid_shares
export PSW_COORDINATOR
if [ "$(id -u)" -eq 0 ]; then
    export PSW_JOB=other NEAR_UID=65534
    ok "workers of another user train as well" two other hash 8
    is "but nothing is lent to them, nor by them" \
        "$(grep -h segments other-?.out | sort -u) $(borrowed)" "segments 0 0"
    unset NEAR_UID
else
    report 0 "workers of another user train as well # SKIP only root can be another"
    report 0 "but nothing is lent to them, nor by them # SKIP only root can be another"
fi

# ---- workers that are killed -----------------------------------------------------------

# missed TIMES: rank 1 may come again.
missed() {
    [ "$(grep -c 'worker 1 of job kills .* was silent' shares.log)" = "$1" ]
}

# Rank 1 is killed again and again in the middle of what it does, while rank 0 counts and
# looks whether what it pulls is of one moment.
kills() {
    export PSW_JOB=kills
    PSW_RANK=0 "$near" count >survivor.out 2>survivor.err &
    survivor=$!
    pids="$pids $survivor"
    for round in 1 2 3; do
        rm -f victim.err # the shell may look before the next one has opened it
        PSW_RANK=1 "$near" count 2>victim.err >/dev/null &
        victim=$!
        pids="$pids $victim"
        wait_until grep -qs "counted $round" victim.err || return
        kill -9 $victim
        wait $victim 2>/dev/null
        wait_until missed $round || return
    done
    : >stop
    wait $survivor
}
ok "a worker that is killed again and again leaves the other one untouched" kills
ok "and psd lets go of what it lent" wait_until nothing_is_borrowed
ok "in the end every chunk is of one moment" env PSW_OBSERVER=1 "$near" look
psd_stop shares
is "psd ends well" "$code" 0
