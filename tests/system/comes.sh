#!/bin/sh
# Workers that are killed and come again, and workers with different numbers of batches,
# under every strategy, against a real psd.
. "$top_srcdir/tests/system/lib.sh"

comes=$top_builddir/tests/system/worker_comes

plan 31

psd_start psd --set shards=3 --set worker_silence=3
export PSW_COORDINATOR="$endpoint" PSW_TIMEOUT_MS=50000 PSW_WORLD_SIZE=3

# start NAME RANK CASE STRATEGY: its output is in NAME.out.
start() {
    PSW_RANK=$2 "$comes" "$3" "$4" >"$1.out" 2>"$1.err" &
    pids="$pids $!"
    eval "pid_$1=$!"
}

# ended NAME: it has ended well.
ended() {
    eval "wait \$pid_$1" || { cat "$1.err"; return 1; }
}

is_lost() {
    "$psctl" --coordinator="$endpoint" --json workers |
        tr -d ' \n' | grep -qE "\"rank\":2,\"state\":\"lost\"[^}]*\"job\":\"$1\""
}

acknowledged() {
    cat "$@" | grep -c '^done'
}

for strategy in bsp ssp asp backup; do
    export PSW_JOB="life-$strategy" BACK="$work/back-$strategy"
    start a 0 life $strategy
    start b 1 life $strategy
    VICTIM=1
    export VICTIM
    start first 2 life $strategy
    unset VICTIM
    wait_until grep -q half first.out
    kill -9 "$pid_first"
    wait "$pid_first" 2>/dev/null
    ok "$strategy: a worker killed is lost" wait_until is_lost "$PSW_JOB"
    start again 2 life $strategy
    ok "$strategy: it comes again while the others run" wait_until grep -q '^at' again.out
    : >"$BACK"
    ok "$strategy: and trains to where they end" ended again
    ok "$strategy: so do the others" eval 'ended a && ended b'

    PSW_OBSERVER=1 "$comes" read $strategy >counts 2>&1
    read -r of_a of_b of_again <counts
    lives=$(acknowledged first.out again.out)
    case $strategy in
    bsp) # what it had begun is dropped
        is "bsp: every acknowledged iteration counts, once" "$of_a $of_b $of_again" \
            "$(acknowledged a.out) $(acknowledged b.out) $lives" ;;
    backup) # late ones are acknowledged and do not count
        ok "backup: no iteration counts twice" eval \
            '[ "$of_a" -le 40 ] && [ "$of_b" -le 40 ] && [ "$of_again" -le "$lives" ]' ;;
    *) # the push of the sixth was applied at once
        is "$strategy: every acknowledged push counts, once" "$of_a $of_b $of_again" \
            "$(acknowledged a.out) $(acknowledged b.out) $((lives + 1))" ;;
    esac
done

unset BACK
for strategy in bsp ssp asp backup; do
    for case in epochs train; do
        [ "$strategy-$case" = backup-train ] && continue
        export PSW_JOB="$case-$strategy"
        start a 0 $case $strategy
        start b 1 $case $strategy
        start c 2 $case $strategy
        ok "$strategy, $case: workers with 0, 4 and 8 batches end their epochs together" \
            eval 'ended a && ended b && ended c'
    done
    [ $strategy = backup ] && continue
    PSW_OBSERVER=1 PSW_JOB="train-$strategy" "$comes" read $strategy >counts 2>&1
    is "$strategy: each batch was counted" "$(cat counts)" "0 12 24"
done

# ---- time that passes ----------------------------------------------------------------

export PSW_JOB=alone PSW_TIMEOUT_MS=3000
PSW_RANK=0
export PSW_RANK
ends "one that waits for others in vain is told for whom" 69 \
    'end of the epoch waits for worker 1 (not joined yet) and worker 2 (not joined yet)' \
    "$comes" epochs bsp
