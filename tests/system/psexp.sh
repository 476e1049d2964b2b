#!/bin/sh
# psexp from outside: a small experiment on made-up images, what it leaves, what it says
# when something is wrong, and that it ends what it started.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/images.sh"
. "$top_srcdir/tests/system/json.sh"

[ -x "$top_builddir/lenet" ] || skip_all "the example is not built"

PSD_BINDIR=$top_builddir PSD_EXPERIMENTS=$work/nowhere:$work/known
export PSD_BINDIR PSD_EXPERIMENTS
unset PSW_COORDINATOR PSW_JOB PSW_TOKEN PSW_RANK PSW_WORLD_SIZE PSW_TIMEOUT_MS PSW_CONFIG

plan 160

images 640 1 train
images 200 2 test

mkdir known
cat >known/tiny.yaml <<END
name: tiny
seed: 7
workers:
  count: 2
  command: lenet
  timeout: $deadline
optimiser:
  name: nesterov
  lr: 0.05
  schedule: { type: step, factor: 0.95, unit: epoch }
train:
  epochs: 4
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

# ---- the command line ------------------------------------------------------------------

ok   "help is printed"               "$psexp" --help
ends "version is printed"         0 '^psexp [0-9]' "$psexp" --version
ends "a command is needed"       64 '^psexp: no command' "$psexp"
ends "unknown command"           64 '^psexp: walk: no such command' "$psexp" walk tiny
ends "unknown option"            64 'psexp --help' "$psexp" run tiny --bogus
ends "an experiment is needed"   64 '^psexp: run: no experiment' "$psexp" run
ends "one experiment only"       64 '^psexp: run: more than one' "$psexp" run tiny tiny
ends "list takes no argument"    64 '^psexp: list: takes no argument' "$psexp" list tiny
ends "list shows what is known"   0 "^tiny	$work/known/tiny.yaml\$" "$psexp" list
printf 'description: |\n  a stone\n  unturned\n' >known/told.yaml
ends "and what it says of itself" 0 "^told	$work/known/told.yaml	a stone\$" "$psexp" list
echo 'nonsense: 1' >known/told.yaml
ends "a file that is wrong too"   0 "^told	$work/known/told.yaml\$" "$psexp" list
rm known/told.yaml

# ---- what is wrong is said before anything starts ----------------------------------------

# refused NAME CODE PATTERN ARGUMENT...
refused() {
    name=$1 expected=$2 pattern=$3
    shift 3
    ends "$name" "$expected" "$pattern" "$psexp" run "$@"
}

printf 'workers: { count: 2 }\n' >nothing.yaml
printf 'name: x\nworkers:\n  count: 0\n' >range.yaml
printf 'name: x\nworkrs:\n  count: 1\n' >unknown.yaml
: >empty.yaml

refused "unknown experiment"     78 "^psexp: no experiment nope in .*$work/known" nope
refused "missing file"           78 '^psexp: ./nope.yaml: No such file' ./nope.yaml
refused "unknown key"            78 '^psexp: unknown.yaml:2: workrs: unknown key' unknown.yaml
refused "value out of range"     78 '^psexp: range.yaml:3: workers.count: 0 is out of range' range.yaml
refused "empty file"             78 '^psexp: empty.yaml: empty' empty.yaml
refused "no program named"       78 'workers.command is missing' nothing.yaml -o none1
refused "no such program"        78 '^psexp: no program no-such in' tiny -s workers.command=no-such -o none2
refused "--set of unknown key"   78 '^psexp: --set train.epoch=1: ' tiny -s train.epoch=1
refused "--set of unknown word"  78 '^psexp: --set job.strategy=bps: bps is unknown' tiny --set job.strategy=bps
refused "--set out of range"     78 '^psexp: --set servers.shards=0: ' tiny --set=servers.shards=0
refused "--set of wrong type"    78 '^psexp: --set train.batch=many: ' tiny -s train.batch=many
refused "--set without value"    78 '^psexp: --set train.batch: ' tiny -s train.batch
refused "fewer shards than psds" 78 'servers.shards.*1 for 2 processes' tiny \
    -s servers.processes=2 -s servers.shards=1
ok "no folder was made for any of them" test ! -e results

# ---- a run -----------------------------------------------------------------------------

timeout $deadline "$psexp" run tiny --out first >first.out 2>first.err
is   "it runs"                         "$?" 0
[ "$code_" -eq 0 ] || { sed 's/^/# /' first.err; exit 1; }
says "it tells the accuracy"           first.out '^test accuracy  0\.[0-9]*$'
says "the rate"                        first.out '^samples/s  *[1-9][0-9]*$'
says "the bytes"                       first.out '^pushed  *[0-9.]* MB$'
says "the hash"                        first.out '^model hash  *[0-9a-f]\{64\}$'
says "the folder"                      first.out '^results  *first$'
says "and what it started"             first.err '^tiny: 1 psd with 2 shards at tcp://.*, 2 workers'

for file in run.yaml metrics.jsonl summary.json psd-0.log psd-0.yaml psd-0.endpoint \
    worker-0.log worker-1.log; do
    ok "it leaves $file" test -s first/$file
done
is "only the owner may read the token" "$(ls -l first/psd-0.yaml | cut -c 1-10)" "-rw-------"

ok "summary.json is well-formed" is_json first/summary.json
missing=
for key in schema_version name strategy workers servers shards epochs wall_seconds \
    samples_per_second final_loss test_accuracy bytes_pushed bytes_pulled bytes_pushed_raw \
    bytes_pulled_raw pushes batches late_dropped staleness restarts model_hash failure samples \
    test_accuracy_by_epoch metrics results stopped_by seconds_to_accuracy mean max; do
    grep -q "\"$key\":" first/summary.json || missing="$missing $key"
done
is "it has every key of the manual" "$missing" ""
is "samples: four epochs of all"    "$(json_value samples first/summary.json)" 2560
is "pushes: one per worker, shard and iteration" \
    "$(json_value pushes first/summary.json)" 320
is "no failure"                     "$(json_value failure first/summary.json)" null

{ echo '['; sed '$!s/$/,/' first/metrics.jsonl; echo ']'; } >metrics.json
ok "every line of metrics.jsonl is well-formed" is_json metrics.json
is "and has its keys" "$(grep -cv '^{"time":[0-9.e-]*,"rank":[01],"clock":[0-9]*,"metric":"[a-z_]*","value":[-0-9.e]*}$' \
    first/metrics.jsonl)" 0
for metric in loss epoch_loss epoch_seconds exchange_share compute_spread test_correct test_total; do
    ok "both workers report $metric" test \
        "$(grep "\"metric\":\"$metric\"" first/metrics.jsonl | grep -o '"rank":[01]' | sort -u | wc -l)" = 2
done

# about A B SHARE: do they differ by no more than this share?
about() {
    awk -v a="$1" -v b="$2" -v share="$3" 'BEGIN {
        d = a - b; if (d < 0) d = -d
        m = a < 0 ? -a : a
        exit !(a != "" && b != "" && d <= share * m) }'
}
# is_share NUMBER: more than nothing, less than all?
is_share() {
    awk -v a="$1" 'BEGIN { exit !(a > 0 && a < 1) }'
}
ok "a part of the time was not the net's" is_share "$(json_value exchange_share first/summary.json)"
ok "it is said how much the time of a batch varied" \
    awk -v a="$(json_value compute_spread first/summary.json)" 'BEGIN { exit !(a > 0 && a < 10) }'
ok "it learned something: of nine kinds more than a third is right" \
    awk -v a="$(json_value test_accuracy first/summary.json)" 'BEGIN { exit !(a > 0.34) }'

refused "a folder in use is refused" 64 '^psexp: first holds a run already' tiny --out first
is "and left alone" "$(json_value failure first/summary.json)" null

# ---- the same bits ---------------------------------------------------------------------

# hash_of FOLDER ARGUMENT...: the model of such a run.
hash_of() {
    folder=$1
    shift
    timeout $deadline "$psexp" run "$@" --quiet --out "$folder" >"$folder.out" 2>&1 ||
        sed 's/^/# /' "$folder.out" >&2
    json_value model_hash "$folder/summary.json"
}

hash=$(json_value model_hash first/summary.json)
is "the same again"               "$(hash_of again tiny)" "$hash"
is "the same from run.yaml"       "$(hash_of yaml first/run.yaml)" "$hash"
is "the same without prefetch"    "$(hash_of late tiny -s train.prefetch=false)" "$hash"
is "the same layer by layer"      "$(hash_of layers tiny -s train.layerwise=true)" "$hash"
ok "where moves do not count as the net's time" is_share "$(json_value exchange_share layers/summary.json)"
is "and tested with all values"   "$(json_value test_accuracy layers/summary.json)" \
    "$(json_value test_accuracy first/summary.json)"
is "and so with 3 shards"         "$(hash_of layers3 tiny -s train.layerwise=true -s servers.shards=3)" "$hash"
refused "but not with windows" 78 'train.layerwise=true: true with job.nfetch 1, job.npush 2 and job.average gradient, expected 1, 1 and gradient' \
    tiny -s train.layerwise=true -s job.npush=2 --out windows
refused "nor with averaged models" 78 'job.npush 1 and job.average model, expected' \
    tiny -s train.layerwise=true -s job.average=model --out averaged
for shards in 1 3 4; do
    is "the same with $shards shards" "$(hash_of "s$shards" tiny -s servers.shards=$shards)" "$hash"
done
is "the same with 2 processes"    "$(hash_of p2 tiny -s servers.processes=2)" "$hash"
is "and with 2 of 4 shards"       "$(hash_of p2s4 tiny -s servers.processes=2 -s servers.shards=4)" "$hash"
ok "the second psd has a log"     test -s p2/psd-1.log
ok "another seed is another model" test "$(hash_of seed tiny -s seed=8)" != "$hash"

hash_of two tiny -s train.batch=32 >/dev/null
hash_of one tiny -s train.batch=64 -s workers.count=1 >/dev/null
two=$(json_value final_loss two/summary.json) one=$(json_value final_loss one/summary.json)
ok "2 workers x 32 lose what 1 x 64 loses ($two, $one)" about "$two" "$one" 0.0001
is "and test alike" "$(json_value test_accuracy two/summary.json)" \
    "$(json_value test_accuracy one/summary.json)"

# ---- other forms -----------------------------------------------------------------------

timeout $deadline "$psexp" run tiny -j -q -s train.limit=320 -s train.epochs=1 -o json >json.out 2>json.err
is "--quiet is quiet"             "$(cat json.err)" ""
ok "--json prints the summary"    is_json json.out
is "train.limit limits"           "$(json_value samples json.out)" 320
ok "asp runs"                     "$psexp" run tiny -q -s job.strategy=asp -s optimiser.lr=0.02 -o asp
ok "and has a staleness"          test "$(grep -A 3 '"staleness"' asp/summary.json | json_value max /dev/stdin)" != 0
ok "ssp runs"                     "$psexp" run tiny -q -s job.strategy=ssp -s job.slack=1 -s optimiser.lr=0.02 -o ssp
ok "backup runs"                  "$psexp" run tiny -q -s job.strategy=backup -s workers.count=3 -o backup
ok "backup runs layer by layer"  "$psexp" run tiny -q -s job.strategy=backup -s workers.count=3 \
    -s train.layerwise=true -o spared
ok "and all of its workers are in the accuracy" \
    test "$(json_value test_accuracy backup/summary.json)" != null
refused "as many spares as workers" 78 'spares' tiny -s job.strategy=backup -s job.spares=2 -o spares


# ---- windows of batches ----------------------------------------------------------------

# first_loss FOLDER: the mean over the first epoch, of worker 0.
first_loss() {
    grep '"rank":0,.*"metric":"epoch_loss"' "$1/metrics.jsonl" | head -n 1 >first_loss
    json_value value first_loss
}

# 20 batches an epoch: four in a push are a quarter of the bytes, exactly.
for way in local=none local=sgd local=same average=model; do
    "$psexp" run tiny -q -s job.nfetch=4 -s job.npush=4 -s "job.$way" -s optimiser.lr=0.01 \
        -o "window-$way" >window.out 2>&1 || sed 's/^/# /' window.out
    is "$way: windows of 4 push a quarter of the bytes" \
        $((4 * $(json_value bytes_pushed "window-$way/summary.json"))) \
        "$(json_value bytes_pushed first/summary.json)"
    is "of all batches" "$(json_value batches "window-$way/summary.json")" 160
    ok "and lose less and less" awk -v a="$(first_loss "window-$way")" \
        -v b="$(json_value final_loss "window-$way/summary.json")" 'BEGIN { exit !(b > 0 && b < a) }'
done

cd known || exit 99
ok "the default folder"           "$psexp" run tiny -q -s train.epochs=1 -s train.limit=64
is "is below results"             "$(ls results/tiny-[0-9]*/summary.json | wc -l)" 1
cd ..

# ---- workers that fail -------------------------------------------------------------------

refused "a missing data set"     69 '^psexp: worker [01] ended with exit code 65: .*/nope' tiny \
    -s data.train_features=/nope -o fail1
ok "the summary names the reason" grep -q '"failure": "worker [01] ended with exit code 65' fail1/summary.json
refused "a worker's own reason"  69 '^psexp: worker [01] ended with exit code 3: rank [01] of 2' tiny \
    -s "workers.command=sh -c 'echo rank \$PSW_RANK of \$PSW_WORLD_SIZE; exit 3'" -o fail2
refused "a model that is none"   69 'ended with exit code 64: .*filters' tiny -s model.filters=4 -o fail3
refused "gradients that are none" 69 'exit code 65: lenet: matrix .* holds a NaN or an infinity' tiny \
    -s optimiser.lr=1e30 -s train.layerwise=true -o fail6
is "are said in one line" "$(grep -c '^lenet: ' fail6/worker-0.log)" 1
refused "a worker that trains nothing" 65 'none of them joined the job tiny' tiny \
    -s workers.command=true -o fail4
is "model: reaches the worker" \
    "$("$psexp" run tiny -s workers.command=echo -o fail5 >/dev/null 2>&1; cat fail5/worker-1.log)" \
    "--filters 4,4 --hidden 32"

# ---- workers that are started again --------------------------------------------------------

# Worker 1 joins after worker 0, leaves at once because of a malformed variable, and comes
# again without it.
cat >twice.sh <<'END'
lenet=$1
shift
if [ "$PSW_RANK" = 1 ]; then
    until "$psctl" --json workers | tr -d ' \n' | grep -q '"rank":0,"state":"active"'; do
        sleep 0.02
    done
    PSW_SLOW=fast "$lenet" "$@"
fi
exec "$lenet" "$@"
END
export psctl
ok "a worker may be started again" "$psexp" run tiny -q -o twice \
    -s job.on_loss=wait -s train.epochs=1 -s "workers.command=sh $work/twice.sh $top_builddir/lenet"
is "and the summary counts it" "$(json_value restarts twice/summary.json)" 1
is "which was none before"     "$(json_value restarts first/summary.json)" 0

# ---- stragglers --------------------------------------------------------------------------

is "slow and hiccups reach the workers that they mean" "$("$psexp" run tiny -o stragglers \
    -s workers.slow.rank=1 -s workers.slow.factor=2.5 -s workers.hiccups.rate=0.25 \
    -s workers.hiccups.factor=3 -s "workers.command=sh -c 'echo \$PSW_SLOW,\$PSW_HICCUPS'" \
    >/dev/null 2>&1; cat stragglers/worker-?.log | tr '\n' ' ')" ",0.25:3 2.5,0.25:3 "
is "without them nobody is slow" "$(PSW_SLOW=9 "$psexp" run tiny -o nobody \
    -s "workers.command=sh -c 'echo .\$PSW_SLOW.\$PSW_HICCUPS.'" >/dev/null 2>&1
    cat nobody/worker-0.log)" "..."
refused "a straggler that is no worker" 78 '^psexp: --set workers.slow.rank=2: 2 of 2 workers' \
    tiny -s workers.slow.rank=2
is "stragglers learn the same" "$(hash_of straggled tiny -s workers.slow.factor=2 \
    -s workers.hiccups.rate=0.1 -s workers.hiccups.factor=3)" "$hash"
refused "a malformed variable is named" 69 'exit code 78: .*PSW_SLOW: "fast"' tiny -o malformed \
    -s "workers.command=env PSW_SLOW=fast $top_builddir/lenet"

# ---- until it is accurate enough ---------------------------------------------------------

ends "it stops at the accuracy" 0 '^reached 0.34 *after [0-9.]* s$' "$psexp" run tiny -o stopped \
    -s train.epochs=1000000 -s stop.accuracy=0.34
is "and says that it did" "$(json_value stopped_by stopped/summary.json)" accuracy
ok "and after how long" awk -v to="$(json_value seconds_to_accuracy stopped/summary.json)" \
    -v wall="$(json_value wall_seconds stopped/summary.json)" 'BEGIN { exit !(to > 0 && to <= wall) }'
ok "the model is there" test "$(json_value model_hash stopped/summary.json)" != null

# ---- somebody else tests ---------------------------------------------------------------

ok "an observer tests" "$psexp" run tiny -q -o watched \
    -s job.strategy=asp -s optimiser.lr=0.02 -s test.every=0.05 -s test.limit=100 \
    -s workers.pace=0.01
ok "more often than once, and at the end" \
    test "$(grep -c '"accuracy"' watched/summary.json)" -ge 2
is "its last test is the run's accuracy" "$(json_value test_accuracy watched/summary.json)" \
    "$(grep '"accuracy"' watched/summary.json | tail -n 1 | tr -d ' ' | cut -d : -f 2)"
ok "it has no rank" grep -q '"rank":-1,.*"metric":"test_accuracy"' watched/metrics.jsonl
ok "and the workers do not test" sh -c '! grep -q test_correct watched/metrics.jsonl'
ok "of the first images only" grep -q 'of 100 test images' watched/tester-0.log
ok "it stops a run as well" "$psexp" run tiny -q -o watched2 \
    -s test.every=0.05 -s workers.pace=0.01 -s train.epochs=1000 -s stop.accuracy=0.34
is "and is the reason" "$(json_value stopped_by watched2/summary.json)" accuracy
is "no failure" "$(json_value failure stopped/summary.json)" null
is "a run that ends by itself was not stopped" "$(json_value stopped_by first/summary.json)" null
is "nor had it anything to reach" "$(json_value seconds_to_accuracy first/summary.json)" null

# ---- side by side ------------------------------------------------------------------------

ends "runs are compared" 0 "^tiny  *bsp  *2  *4  *0\.[0-9]*  *[0-9.]*  *[0-9]*  .* first\$" \
    "$psexp" compare first asp stopped
is "a line each under the titles" "$(cut -c 1-4 ends.out | tr '\n' ' ')" "RUN  tiny tiny tiny "
ok "those that failed as well" grep -q '^tiny  *bsp .* fail1$' <<END
$("$psexp" compare fail1)
END
"$psexp" compare --json first asp >compare.json
ok "as JSON" is_json compare.json
is "in the order of the folders" "$(grep -o '"folder": *"[a-z]*"' compare.json | tr -d ' ' | tr '\n' ' ')" \
    '"folder":"first" "folder":"asp" '
is "with what the summary says" "$(json_value final_loss compare.json)" \
    "$(json_value final_loss first/summary.json)"
ends "a folder without a run" 65 '^psexp: nothing-here/summary.json: .*No such file' "$psexp" compare first nothing-here
is   "in one sentence" "$(wc -l <ends.out)" 1
mkdir damaged && echo '{"name": ' >damaged/summary.json
ends "a damaged summary" 65 '^psexp: damaged/summary.json:[12]: ' "$psexp" compare damaged
echo '{"schema_version": 2}' >damaged/summary.json
ends "a summary of another kind" 65 '^psexp: damaged/summary.json: no summary' "$psexp" compare damaged
ends "nothing to compare" 64 '^psexp: compare: no folder' "$psexp" compare

# ---- and ends ----------------------------------------------------------------------------

# psctl_of FOLDER COMMAND: of the psd of a run.
psctl_of() {
    PSW_TOKEN=$(sed -n 's/^token: "\(.*\)"$/\1/p' "$1/psd-0.yaml") \
        "$psctl" --json --coordinator="$(cat "$1/psd-0.endpoint")" "$2"
}

is_training() {
    is_zombie "$run" && return 0 # it never will
    [ -s "$1/psd-0.endpoint" ] && psctl_of "$1" status >status.json 2>&1 &&
        [ "$(json_value clock status.json)" -gt 3 ] 2>/dev/null
}

# long_run FOLDER: one that would last for days.  Its number is in $run, its psd's in
# $server, its workers' in $first and $second.
long_run() {
    "$psexp" run tiny -q -s train.epochs=1000000 -o "$1" >"$1.out" 2>&1 &
    run=$!
    pids="$pids $run"
    wait_until is_training "$1"
    set -- $(grep -o '"pid": *[0-9]*' status.json | grep -o '[0-9]*')
    server=$1 first=$2 second=$3
}

# over: everything of the long run has ended.
over() {
    for p in "$server" "$first" "$second"; do
        is_zombie "$p" || return 1
    done
}

# await_run: its exit code is in $code.
await_run() {
    wait_until is_zombie "$run" || kill -9 "$run"
    wait "$run"
    code=$?
}

long_run killed
kill -9 "$server"
await_run
is   "a psd that is killed ends the run" "$code" 69
says "it says which"                    killed.out '^psexp: psd 0 was ended by signal 9'
ok   "nothing is left"                  over
ok   "the summary says so too"          grep -q '"failure": "psd 0 was ended' killed/summary.json

long_run lost
kill -9 "$first"
await_run
is   "a worker that is killed ends it"  "$code" 69
says "it says which"                    lost.out '^psexp: worker 0 was ended by signal 9'
ok   "nothing is left"                  over

for signal in INT TERM; do
    long_run "$signal"
    kill -$signal "$run"
    await_run
    is   "SIG$signal ends it"           "$code" 130
    says "it says why"                  $signal.out "^psexp: interrupted by SIG$signal"
    ok   "nothing is left"              over
    ok   "what it had is recorded"      is_json "$signal/summary.json"
done

long_run dead
kill -9 "$run"
wait "$run" 2>/dev/null
ok   "what it started dies with psexp"  wait_until over
