#!/bin/sh
# Workers that are killed and come again, and workers with different numbers of batches,
# under every strategy, against a real psd.
. "$top_srcdir/tests/system/lib.sh"

comes=$top_builddir/tests/system/worker_comes
strategies="bsp ssp asp backup"

plan 70

psd_start psd --set shards=3 --set worker_silence=3
export PSW_COORDINATOR="$endpoint" PSW_TIMEOUT_MS=200000 PSW_WORLD_SIZE=3

# start NAME RANK CASE STRATEGY: its output is in NAME.out.
start() {
    PSW_RANK=$2 PSW_JOB="$3-$4" "$comes" "$3" "$4" >"$1.out" 2>"$1.err" &
    pids="$pids $!"
    eval "pid_$1=$!"
}

# ended NAME...: they have ended well.
ended() {
    for one in "$@"; do
        eval "wait \$pid_$one" || { cat "$one.err"; return 1; }
    done
}

is_lost() {
    "$psctl" --coordinator="$endpoint" --json workers |
        tr -d ' \n' | grep -qE "\"rank\":2,\"state\":\"lost\"[^}]*\"job\":\"$1\""
}

# counts CASE STRATEGY: of the three workers.
counts() {
    PSW_OBSERVER=1 PSW_JOB="$1-$2" "$comes" read "$2" 2>&1
}

acknowledged() {
    cat "$@" | grep -c '^done'
}

joined_at() {
    sed -n 's/^at //p' "$1.out"
}

# ---- killed, and again ---------------------------------------------------------------

# One that waits for two that never come; it ends while the others run.
PSW_RANK=0 PSW_JOB=alone PSW_TIMEOUT_MS=3000 "$comes" epochs bsp >alone.out 2>&1 &
pid_alone=$!
pids="$pids $pid_alone"

for case in life course; do
    for strategy in $strategies; do
        j=${case}_$strategy
        export BACK="$work/back_$j"
        start "a_$j" 0 $case "$strategy"
        start "b_$j" 1 $case "$strategy"
        VICTIM=1
        export VICTIM
        start "first_$j" 2 $case "$strategy"
        unset VICTIM
    done
done
for case in life course; do
    for strategy in $strategies; do
        j=${case}_$strategy
        wait_until grep -q half "first_$j.out"
        eval "kill -9 \$pid_first_$j; wait \$pid_first_$j" 2>/dev/null
    done
done
for case in life course; do
    for strategy in $strategies; do
        j=${case}_$strategy
        export BACK="$work/back_$j"
        ok "$strategy, $case: a worker killed is lost" wait_until is_lost "$case-$strategy"
        [ $case = life ] || { # the first of two trainings is over
            wait_until grep -q '^epoch 1 ' "a_$j.out"
            wait_until grep -q '^epoch 1 ' "b_$j.out"
        }
        start "again_$j" 2 $case "$strategy"
    done
done
for case in life course; do
    for strategy in $strategies; do
        j=${case}_$strategy
        ok "$strategy, $case: it comes again while the others run" \
            wait_until grep -q '^at' "again_$j.out"
        : >"$work/back_$j"
        ok "$strategy, $case: and all train to the end" \
            ended "a_$j" "b_$j" "again_$j"
    done
done

for strategy in $strategies; do
    j=life_$strategy
    of_a=$(acknowledged "a_$j.out")
    of_b=$(acknowledged "b_$j.out")
    of_c=$(acknowledged "first_$j.out" "again_$j.out")
    counts life $strategy >counted
    read -r a b c <counted
    case $strategy in
    bsp) # what it had begun is dropped
        is "bsp: every acknowledged iteration counts, once" "$a $b $c" "$of_a $of_b $of_c" ;;
    backup) # late ones are acknowledged and do not count
        ok "backup: no iteration counts twice" \
            test "$a" -le 40 -a "$b" -le 40 -a "$c" -le "$of_c" ;;
    *) # the push of the sixth was applied at once
        is "$strategy: every acknowledged push counts, once" "$a $b $c" \
            "$of_a $of_b $((of_c + 1))" ;;
    esac

    j=course_$strategy
    is "$strategy: in ps_train it ends where the others do" \
        "$(tail -qn1 "a_$j.out" "b_$j.out" "again_$j.out" | tr '\n' ' ')" \
        "ended at 40 ended at 40 ended at 40 "
    counts course $strategy >counted
    read -r a b c <counted
    ours=$((5 + 40 - $(joined_at "again_$j")))
    if [ $strategy = backup ]; then
        ok "backup: no batch counts twice" test "$a" -le 40 -a "$b" -le 40 -a "$c" -le $ours
    else
        is "$strategy: every batch that it was there for counts" "$a $b $c" "40 40 $ours"
    fi
done

wait $pid_alone
is "one that waits for others in vain is told for whom" "$? $(grep -c \
    'end of the epoch waits for worker 1 (not joined yet) and worker 2 (not joined yet)' \
    alone.out)" "69 1"

# ---- epochs of different lengths -----------------------------------------------------

unset BACK
for strategy in $strategies; do
    for case in epochs train layers; do
        start a 0 $case $strategy
        start b 1 $case $strategy
        start c 2 $case $strategy
        ok "$strategy, $case: epochs of 0, 4 and 8 batches end together" ended a b c
        grep -h '^epoch' a.out >epochs
        grep -h '^epoch' b.out c.out | sort | uniq -d | cmp - epochs >differ 2>&1
        is "$strategy, $case: at the same clocks" "$(cat differ) $(grep -c . epochs)" " 3"
        [ $strategy = backup ] ||
            is "$strategy, $case: each batch was counted" "$(counts $case $strategy)" "0 12 24"
    done
done
