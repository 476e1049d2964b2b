#!/bin/sh
# Jobs that are saved, and psds that are killed and started again: the model is, bit for
# bit, that of a run to which nothing happened, and every iteration counts once.
. "$top_srcdir/tests/system/lib.sh"

back=$top_builddir/tests/system/worker_back
alike="loop:bsp train:bsp layers:bsp own:bsp" # their model is a function of the job
counted="loop:asp train:asp layers:asp own:asp loop:ssp own:ssp"

plan 56

# serve NAME OPTION...: a psd with a folder for snapshots; again where it was before.
serve() {
    one=$1
    shift
    at=tcp://127.0.0.1:0
    [ ! -e "$one.old" ] || at=$(cat "$one.old")
    psd_start "$one" --set shards=1 --set state="$work/state_$one" --set listen="$at" "$@"
    echo "$endpoint" >"$one.old"
}

serve first --set worker_silence=2 --set shard_timeout=2
export PSW_COORDINATOR="$endpoint" PSW_TIMEOUT_MS=50000 PSW_WORLD_SIZE=2
serve second --set coordinator="$PSW_COORDINATOR"

# start JOB RANK CASE:STRATEGY: a worker of it.
start() {
    PSW_JOB=$1 PSW_RANK=$2 "$back" "${3%:*}" "${3#*:}" wait >"$1_$2.out" 2>"$1_$2.err" &
    pids="$pids $!"
    eval "pid_$1_$2=$!"
}

# job_of PREFIX CASE:STRATEGY
job_of() {
    echo "$1_${2%:*}_${2#*:}"
}

# start_all PREFIX CASE:STRATEGY...: both workers of a job of each.
start_all() {
    prefix=$1
    shift
    for one in "$@"; do
        start "$(job_of "$prefix" "$one")" 0 "$one"
        start "$(job_of "$prefix" "$one")" 1 "$one"
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

# all_of CASE:STRATEGY: what its workers count; the second has half as much data of its own.
all_of() {
    case $1 in
    own:*) echo "60-60 30-30" ;;
    *) echo "60-60 60-60" ;;
    esac
}

model_of() {
    PSW_JOB=$1 "$back" read 2>&1
}

# ---- a psd is killed, and started again ----------------------------------------------

start_all calm $alike
for one in $alike; do
    ok "${one%:*}: a run to which nothing happens" ended "$(job_of calm "$one")"
    model_of "$(job_of calm "$one")" >"calm_${one%:*}"
done

export IDLE=yes
start_all idle loop:bsp train:bsp
unset IDLE
is_idle() {
    [ "$(cat idle_*.out | grep -c idle)" -eq 4 ]
}
wait_until is_idle
export GATE="$work/struck"
start_all struck $alike $counted
for one in $alike $counted; do
    wait_until has_done "$(job_of struck "$one")" 20
done
psd_stop second KILL
serve second --set coordinator="$PSW_COORDINATOR"
: >struck-30
: >struck-50

for one in $alike $counted; do
    ok "$one: the workers live on and train to the end" ended "$(job_of struck "$one")"
done
for one in $alike; do
    is "$one: the model is the same" "$(model_of "$(job_of struck "$one")")" \
        "$(cat "calm_${one%:*}")"
done
for one in $counted; do
    model=$(model_of "$(job_of struck "$one")")
    is "$one: every iteration counts, once" "${model#* }" "$(all_of "$one")"
done
for one in bsp asp ssp; do
    ok "$one: a loop of one's own was told, once for each rollback" \
        test "$(grep -c '^back' struck_loop_${one}_0.out)" -eq 1
done
for one in loop:bsp train:bsp; do
    ok "$one: one that has done all is not let go without what was lost" \
        ended "$(job_of idle "$one")"
    is "$one: and does it again" "$(model_of "$(job_of idle "$one")")" \
        "$(cat "calm_${one%:*}")"
done
job=struck_train_bsp_0.out
ok "ps_train did again what was lost" \
    test "$(grep -c '^done' $job)" -gt "$(sort -u $job | grep -c '^done')"

# ---- the whole cluster is killed, twice ----------------------------------------------

apart=$PSW_COORDINATOR
serve alone --set worker_silence=3 --set shards=3
export PSW_COORDINATOR="$endpoint"
export GATE="$work/felled"
start_all felled $alike $counted
for one in $alike $counted; do
    wait_until has_done "$(job_of felled "$one")" 20
done
psd_stop alone KILL
serve alone --set worker_silence=3 --set shards=3
: >felled-30
went_back() {
    grep -q '^back' felled_loop_bsp_0.out
}
ok "workers live without any server, and hear of it when it is back" wait_until went_back
psd_stop alone KILL
serve alone --set worker_silence=3 --set shards=3
: >felled-50
unset GATE
for one in $alike $counted; do
    ok "$one: all train to the end" ended "$(job_of felled "$one")"
done
for one in $alike; do
    is "$one: and have the same model" "$(model_of "$(job_of felled "$one")")" \
        "$(cat "calm_${one%:*}")"
done
for one in $counted; do
    model=$(model_of "$(job_of felled "$one")")
    is "$one: and every iteration counts, once" "${model#* }" "$(all_of "$one")"
done
PSW_COORDINATOR=$apart

# ---- a worker is killed, and started again -------------------------------------------

start_all hurt loop:bsp
wait_until has_done hurt_loop_bsp 20
kill -9 "$pid_hurt_loop_bsp_1"
wait "$pid_hurt_loop_bsp_1" 2>/dev/null
is_lost() {
    "$psctl" --coordinator="$PSW_COORDINATOR" --json workers |
        tr -d ' \n' | grep -qE "\"rank\":1,\"state\":\"lost\"[^}]*\"job\":\"hurt_loop_bsp\""
}
ok "a worker killed is lost" wait_until is_lost
start hurt_loop_bsp 1 loop:bsp
ok "on_loss: wait: it comes again and they train to the end" ended hurt_loop_bsp
is "the model is the same" "$(model_of hurt_loop_bsp)" "$(cat calm_loop)"
