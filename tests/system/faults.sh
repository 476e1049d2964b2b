#!/bin/sh
# psexp with faults: processes of a run are killed, stopped and started again on purpose,
# and the model is the same bits as without.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/images.sh"
. "$top_srcdir/tests/system/json.sh"

[ -x "$top_builddir/lenet" ] || skip_all "the example is not built"

PSD_BINDIR=$top_builddir
export PSD_BINDIR
unset PSW_COORDINATOR PSW_JOB PSW_TOKEN PSW_RANK PSW_WORLD_SIZE PSW_TIMEOUT_MS PSW_CONFIG

plan 25

images 640 1 train
images 200 2 test
cat >tiny.yaml <<END
name: tiny
seed: 7
servers: { worker_silence: 1 }
workers:
  count: 2
  command: lenet
  timeout: $deadline
  pace: 0.02
job: { on_loss: wait, snapshot_every: 10 }
optimiser:
  name: nesterov
  lr: 0.05
  schedule: { type: step, factor: 0.95, unit: epoch }
train:
  epochs: 6
  batch: 16
data:
  train_features: $work/train-images
  train_labels: $work/train-labels
  test_features: $work/test-images
  test_labels: $work/test-labels
model:
  filters: [4, 4]
  hidden: [32]
END

# begin NAME ARGUMENT...: such a run; what it says is in NAME.err.
begin() {
    name=$1
    shift
    "$psexp" run ./tiny.yaml -o "$name" "$@" >"$name.out" 2>"$name.err" &
    eval "pid_$name=$!"
    pids="$pids $!"
}

# ended NAME: well?
ended() {
    eval "wait \$pid_$1" || { cat "$1.err"; return 1; }
}

# fault N KEY FOLDER: of the Nth entry in its summary.
fault() {
    sed -n '/"faults"/,/\]/p' "$3/summary.json" | grep "\"$2\":" | sed -n "$1{s/.*: //;s/,//;p}"
}

ends "a fault that makes no sense is refused" 78 \
    '^psexp: --set faults=.*: faults.rank: 2 of 2 workers, expected 0 to 1' \
    "$psexp" run ./tiny.yaml -s 'faults=[{kill: worker, rank: 2, at_clock: 3}]' -o wrong

begin plain
begin stops -s 'faults=[{stop: worker, rank: 1, at_clock: 10, for: 0.5},
    {stop: psd, at_clock: 50, for: 0.7}, {kill: worker, at_clock: 1000}]'
begin worker -s 'faults=[{kill: worker, rank: 0, at_clock: 10, restart_after: 0.1}]'
begin killed -s "faults=[{kill: psd, at_clock: 10, restart_after: 0.1},
    {kill: worker, rank: 1, at_clock: 40}, {kill: psd, at_clock: 80, restart_after: 0.3}]"
begin gone -s job.on_loss=shrink -s 'faults=[{kill: worker, rank: 1, at_clock: 10,
    restart: false}]'

ok   "it runs without faults" ended plain
is   "nothing was started again" "$(json_value restarts plain/summary.json)" 0
ok   "and with a psd and a worker that stop for a while" ended stops
is   "to the same model" "$(json_value model_hash stops/summary.json)" \
    "$(json_value model_hash plain/summary.json)"
says "which is told when it happens" stops.err 's: worker 1 stopped at iteration [0-9]*$'
says "and when it is over"           stops.err 's: psd 0 goes on$'
ok   "a fault comes at its clock or later" test "$(fault 2 clock stops)" -ge 50
is   "nobody was started again" "$(json_value restarts stops/summary.json)" 0
says "what was not reached is told"  stops.err \
    '^psexp: worker 0 was not killed: the run ended before iteration 1000 was seen$'
is   "and is null in the summary" "$(fault 3 seconds stops)" null
ok   "a worker is killed and comes again" ended worker
is   "to the same model" "$(json_value model_hash worker/summary.json)" \
    "$(json_value model_hash plain/summary.json)"
is   "which counts as a restart" "$(json_value restarts worker/summary.json)" 1
says "is told"                   worker.err 's: worker 0 started again$'
ok   "a psd is killed twice, and a worker" ended killed
is   "to the same model, bit for bit" "$(json_value model_hash killed/summary.json)" \
    "$(json_value model_hash plain/summary.json)"
is   "which counts as three restarts" "$(json_value restarts killed/summary.json)" 3
says "each psd came again"       killed/psd-0.log '^<6>state .*: start 3$'
is   "where it was" "$(grep -o 'ready on tcp.* with' killed/psd-0.log | sort -u | wc -l)" 1
ok   "the others may go on without it" ended gone
is   "then it is not started again" "$(json_value restarts gone/summary.json)" 0
is   "ever" "$(fault 1 again_seconds gone)" null
ok   "what was asked for is in run.yaml" grep -q 'restart: false' gone/run.yaml
ok   "the summary is well-formed" is_json stops/summary.json
