#!/bin/sh
# A psd whose disk fails ends, and to workers it is as if it had been killed: they wait
# until it is back, and lose nothing.
. "$top_srcdir/tests/system/lib.sh"

back=$top_builddir/tests/system/worker_back
psd=$top_builddir/tests/system/psd_failing_disk

plan 20

# serve NAME OPTION...: a psd with a folder for snapshots; again where it was before.
serve() {
    one=$1
    shift
    at=tcp://127.0.0.1:0
    [ ! -e "$one.old" ] || at=$(cat "$one.old")
    psd_start "$one" --set state="$work/state_$one" --set listen="$at" "$@"
    echo "$endpoint" >"$one.old"
}

# train JOB STRATEGY: both workers of it.
train() {
    for rank in 0 1; do
        PSW_JOB=$1 PSW_RANK=$rank "$back" loop "$2" wait >"$1_$rank.out" 2>"$1_$rank.err" &
        pids="$pids $!"
        eval "pid_$1_$rank=$!"
    done
}

# ended JOB: both workers have ended well.
ended() {
    for rank in 0 1; do
        eval "wait \$pid_$1_$rank" || {
            cat "$1_$rank.err"
            return 1
        }
    done
}

has_done() {
    grep -q "^done $2\$" "$1_0.out"
}

model_of() {
    PSW_JOB=$1 "$back" read 2>&1
}

# goes_on NAME PREFIX: its disk works again, it is started, and its jobs train to the end.
goes_on() {
    name=$1 prefix=$2
    shift 2
    rm "$PSD_TEST_DISK_FAILS"
    serve "$name" "$@"
    : >"$prefix-30"
    : >"$prefix-50"
    for one in bsp asp; do
        ok "$prefix: $one: the workers live on and train to the end" ended "${prefix}_$one"
        is "$prefix: $one: they were told, once" "$(grep -c '^back' "${prefix}_${one}_0.out")" 1
    done
    is "$prefix: bsp: the model is the same" "$(model_of "${prefix}_bsp")" "$(cat calm)"
    model=$(model_of "${prefix}_asp")
    is "$prefix: asp: every iteration counts, once" "${model#* }" "60-60 60-60"
}

# train_until_it_fails NAME PREFIX: the psd NAME ends while jobs train.
train_until_it_fails() {
    export GATE="$work/$2"
    for one in bsp asp; do
        train "$2_$one" $one
    done
    for one in bsp asp; do
        wait_until has_done "$2_$one" 20
    done
    : >"$PSD_TEST_DISK_FAILS"
    psd_wait "$1"
    is "$2: psd ends with what sysexits.h calls EX_IOERR" "$code" 74
    says "$2: it says why" "$1.log" '^<3>.*cannot be made durable: Input/output error'
    unset GATE
}

# ---- a psd that has joined -----------------------------------------------------------

serve first --set worker_silence=2 --set shard_timeout=2
export PSW_COORDINATOR="$endpoint" PSW_TIMEOUT_MS=50000 PSW_WORLD_SIZE=2
export PSD_TEST_DISK_FAILS="$work/it_fails" # of psds that start from here on
serve second --set shards=1 --set coordinator="$PSW_COORDINATOR"
train calm bsp
ok "a run to which nothing happens" ended calm
model_of calm >calm

train_until_it_fails second member
ends "while its disk fails it does not start" 74 'cannot be made durable' \
    "$psd" --set listen=tcp://127.0.0.1:0 --set state="$work/state_second"
goes_on second member --set shards=1 --set coordinator="$PSW_COORDINATOR"

# ---- the only one --------------------------------------------------------------------

serve alone --set worker_silence=3 --set shards=3
PSW_COORDINATOR=$endpoint
train_until_it_fails alone alone
ok "alone: its workers are still there" kill -0 "$pid_alone_bsp_0" "$pid_alone_asp_1"
ok "alone: nobody was told that it ends" \
    test "$(cat alone_*.err | grep -c 'server is ending')" -eq 0
goes_on alone alone --set worker_silence=3 --set shards=3
