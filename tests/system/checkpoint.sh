#!/bin/sh
# Snapshots on disk: who may use the folder, what is in it, and what psctl makes of it.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/json.sh"

toy=$top_builddir/tests/system/toy
model_hash=$top_builddir/tests/system/model_hash

back=$top_builddir/tests/system/worker_back
logreg=$top_builddir/logreg # not there when examples are left out
unset PSW_COORDINATOR PSW_JOB PSW_TOKEN PSW_RANK PSW_WORLD_SIZE PSW_TIMEOUT_MS PSW_CONFIG

live=0
[ ! -x "$logreg" ] || live=7
plan $((45 + live))

# ---- the folder ------------------------------------------------------------------------

psd_start main --set shards=1 --set state="$work/state"
says "psd says where it keeps its state" main.log "<6>state $work/state: start 1"
ends "a second psd on the folder is refused" 69 "process $pid uses it already" \
    "$psd" --set listen=tcp://127.0.0.1:0 --set state="$work/state"
psd_stop main
is   "the first one ends well" "$code" 0
psd_start main --set shards=1 --set state="$work/state"
says "then the next one may" main.log "<6>state $work/state: start 2"
psd_stop main KILL
psd_start main --set shards=1 --set state="$work/state"
says "also after a violent end" main.log "<6>state $work/state: start 3"
psd_stop main

ends "a folder needs its parent" 71 'No such file or directory' \
    "$psd" --set listen=tcp://127.0.0.1:0 --set state="$work/none/state"
mkdir bad
head -c 5000 /dev/zero | tr '\0' x >bad/manifest.sqlite
ends "a manifest that is none is refused" 65 'bad/manifest.sqlite: file is not a database' \
    "$psd" --set listen=tcp://127.0.0.1:0 --set state=bad
ends "a folder to restore from has to be there" 65 'none: there is no manifest' \
    "$psd" --set listen=tcp://127.0.0.1:0 --set state=own --set restore_from=none

# ---- two psd processes, a folder each ----------------------------------------------------

printf 'seed: 11\njob: {snapshot_every: 2}\noptimiser: {name: adam}\n' >bsp.yaml
printf 'seed: 11\njob: {strategy: asp, snapshot_every: 3}\n' >asp.yaml

# train JOB CONFIG: two workers; the hash of the model is in $model.
train() {
    for rank in 0 1; do
        PSW_COORDINATOR=$endpoint PSW_JOB=$1 PSW_WORLD_SIZE=2 PSW_RANK=$rank \
            PSW_TIMEOUT_MS=${deadline}000 PSW_CONFIG=$2 "$toy" >"$1-$rank.out" 2>&1 &
        eval "worker$rank=$!"
    done
    pids="$pids $worker0 $worker1"
    wait "$worker0" && wait "$worker1"
    code=$?
    model=$(cat "$1-0.out")
}

psd_start one --set shards=1 --set state=one
psd_start two --set shards=1 --set state=two --set coordinator="$endpoint"
train lenet bsp.yaml
is   "a job that asks for snapshots trains" "$code" 0
bsp_model=$model
train fast asp.yaml
is   "also asynchronously" "$code" 0

# The last snapshot is written when the workers have gone.
is_saved() {
    "$psctl" checkpoint list --state=one --state=two "$1" >list.out && grep -q "$2" list.out
}
wait_until is_saved lenet '  6  2 of 2  *6 '
ends "its last snapshot has all parts" 0 '^lenet  *[0-9a-f]*  *1  *6  2 of 2  *6 ' \
    "$psctl" checkpoint list --state=one --state=two
ends "half of them in each folder" 0 '^lenet  *[0-9a-f]*  *1  *6  1 of 2  *6 ' \
    "$psctl" checkpoint list --state=two lenet
ends "of an asynchronous job the parts count for themselves" 0 '^fast .* 1 of 2' \
    "$psctl" checkpoint list --state=one fast
ends "all of it is whole" 0 '^lenet .* 0 of 2  ok ' \
    "$psctl" checkpoint verify --state=one --state=two
ends "the list is JSON" 0 '"complete": true' \
    "$psctl" checkpoint list --state=one --state=two --json lenet
ok   "well-formed"  is_json ends.out
ends "so is verify's" 0 '"result": "ok"' "$psctl" checkpoint verify --state=one --json
ok   "well-formed"  is_json ends.out

# ---- export ------------------------------------------------------------------------------

ok   "a snapshot can be exported while psd runs" \
    "$psctl" checkpoint export --state=one --state=two -o lenet.safetensors lenet
psd_stop two
psd_stop one
is   "and holds the very model" "$("$model_hash" lenet.safetensors)" "$bsp_model"
ok   "also as npy" "$psctl" checkpoint export --state=one --state=two -o npy --format=npy lenet
is   "and each is the very array" "$("$model_hash" npy lenet.safetensors)" "$bsp_model"
# That of clock 4, or of 2 where the disk was slow.
older=$("$psctl" checkpoint list --state=one --state=two lenet |
    awk '/2 of 2/ && $4 < 6 { print $4; exit }')
ok   "an older one too" \
    "$psctl" checkpoint export --state=one --state=two -o older.safetensors "--set=$older" lenet
"$model_hash" older.safetensors >older.out
ok   "which is another model" sh -c "! grep -q $bsp_model older.out && [ -s older.out ]"
ends "an asynchronous one" 0 '"arrays": 3' \
    "$psctl" checkpoint export --state=one --state=two -o fast.safetensors --json fast
ends "half of a snapshot is none" 65 'job lenet: no snapshot is there with all parts' \
    "$psctl" checkpoint export --state=one -o half.safetensors lenet
ends "one that is not there" 65 'snapshot 5 is not there with all parts' \
    "$psctl" checkpoint export --state=one --state=two -o half.safetensors --set=5 lenet
ends "a run that is not there" 65 'job lenet: no run 0000000000000012 there' \
    "$psctl" checkpoint export --state=one --state=two -o half.safetensors --run=12 lenet
ends "a job that is not there" 65 'job nix: no snapshots of it there' \
    "$psctl" checkpoint verify --state=one nix
ends "no folder" 65 'state none: there is no manifest of snapshots' \
    "$psctl" checkpoint list --state=none
ends "a place that cannot be written" 71 'none/x: cannot be made' \
    "$psctl" checkpoint export --state=one --state=two -o none/x lenet
is   "none of these left a file" "$(ls | grep -c half)" 0

# ---- damage ------------------------------------------------------------------------------

file=$(ls one/parts/lenet.*.0of2.1.6.*)
printf 'x' | dd of="$file" bs=1 seek=5000 conv=notrunc 2>/dev/null
ends "a damaged file is named" 65 "$file: it is damaged" \
    "$psctl" checkpoint verify --state=one --state=two
ok   "the others are whole"  grep -q '  4  1 of 2  ok ' ends.out
ends "and not exported" 65 "$file: it is damaged" \
    "$psctl" checkpoint export --state=one --state=two -o half.safetensors lenet

# ---- a full disk: no file may be longer than 200 KiB -----------------------------------------

cat >limited <<'END'
#!/bin/sh
ulimit -f 400
exec "$real_psd" "$@"
END
chmod +x limited
real_psd=$psd psd=$work/limited
export real_psd
psd_start full --set shards=1 --set state=two
train lenet bsp.yaml
is   "training goes on when the disk is full" "$code" 0
is   "with the same result" "$model" "$bsp_model"
says "the log says why" full.log 'lenet.*: cannot be written: File too large'
psd_stop full
is   "psd ends well" "$code" 0
ends "what was there before is whole" 0 '^lenet .* 6  1 of 2  ok ' \
    "$psctl" checkpoint verify --state=two
is   "nothing is left of what failed" "$(ls two/parts | grep -c new)" 0
psd=$real_psd

# ---- the folder of a psd that is gone ----------------------------------------------------------

# start JOB: two workers of it.
start() {
    for rank in 0 1; do
        PSW_COORDINATOR=$at PSW_JOB=$1 PSW_WORLD_SIZE=2 PSW_RANK=$rank \
            PSW_TIMEOUT_MS=${deadline}000 "$back" loop bsp wait >"$1-$rank.out" 2>&1 &
        eval "worker$rank=$!"
    done
    pids="$pids $worker0 $worker1"
}
model_of() {
    PSW_COORDINATOR=$at PSW_JOB=$1 "$back" read 2>&1
}

psd_start stays --set shards=1 --set state=stays --set shard_timeout=1
at=$endpoint
psd_start goes --set shards=1 --set state=goes --set coordinator="$at"
start calm
wait "$worker0" "$worker1"
calm=$(model_of calm)
start moved
wait_until grep -qs '^done 20$' moved-0.out
psd_stop goes KILL
psd_stop stays KILL
psd_start stays --set shards=1 --set state=stays --set restore_from=goes --set listen="$at" \
    --set shard_timeout=1 --set recovery_wait=0.5
wait "$worker0" && wait "$worker1"
is   "workers go on with one psd of two, from both folders" "$?" 0
ok   "they were told"  grep -q '^back' moved-0.out
is   "and the model is that of a run without losses" "$(model_of moved)" "$calm"
is_in_one_part() {
    "$psctl" checkpoint list --state=stays | grep -q '^moved .* 60  1 of 1 '
}
ok   "whose snapshots have one part now" wait_until is_in_one_part
psd_stop stays

# ---- one on request, of a job that asks for none, with sparse matrices -------------------------

[ $live -gt 0 ] || exit 0
printf 'seed: 5\noptimiser: {name: ftrl, lr: 0.3}\ntrain: {epochs: 100000, batch: 32}\n' >live.yaml
psd_start live --set shards=2 --set state=three
PSW_COORDINATOR=$endpoint PSW_JOB=live PSW_WORLD_SIZE=1 PSW_RANK=0 PSW_CONFIG=live.yaml \
    "$logreg" >live.out 2>&1 &
worker=$!
pids="$pids $worker"
is_running() {
    "$psctl" -c "$endpoint" jobs | grep -q '^live  running .* 20001 '
}
wait_until is_running
ends "a snapshot can be asked for" 0 '^live: a snapshot of clock [0-9]' \
    "$psctl" -c "$endpoint" checkpoint create live
made=$(sed 's/.* //' ends.out)
ends "also as JSON" 0 '"clock": [0-9]' "$psctl" -c "$endpoint" --json checkpoint create live
ends "and is there" 0 "^live  .* $made  2 of 2  *$made " "$psctl" checkpoint list --state=three
ok   "a sparse model can be exported" \
    "$psctl" checkpoint export --state=three -o live.safetensors --set="$made" live
ok   "keys and values" grep -aq '"[a-z]*.keys":{"dtype":"U64","shape":.20001.,' live.safetensors
ends "a job that is not known" 65 'job nix: not known here' \
    "$psctl" -c "$endpoint" checkpoint create nix
kill $worker
wait $worker
psd_stop live
is   "psd ends well" "$code" 0
