#!/bin/sh
# The logistic regression of examples/sparse: it learns through psd what FTRL in double
# learns without, and says what is wrong with a data set.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/json.sh"

logreg=$top_builddir/logreg
[ -x "$logreg" ] || skip_all "the example is not built"

PSD_BINDIR=$top_builddir
export PSD_BINDIR
unset PSW_COORDINATOR PSW_JOB PSW_TOKEN PSW_RANK PSW_WORLD_SIZE PSW_TIMEOUT_MS PSW_CONFIG

plan 33

cat >logreg.yaml <<END
seed: 5
workers: { count: 2, command: logreg, timeout: $deadline }
optimiser: { name: ftrl, lr: 0.3, ftrl_l1: 0.05 }
train: { epochs: 5, batch: 32 }
data: { format: libsvm, train_features: $work/train, test_features: $work/test }
END
with() {
    sed "$1" logreg.yaml >with.yaml
}

# ---- made-up samples ---------------------------------------------------------------------

"$logreg" --generate 5000 --config logreg.yaml >all
is "as many samples as asked for" "$(wc -l <all)" 5000
is "each is a line of a LIBSVM file" "$(grep -cvE '^[01]( [0-9]+:1)+$' all)" 0
"$logreg" --generate 5000 --config logreg.yaml | cmp -s - all
is "and the same every time" "$?" 0
head -n 4000 all >train
tail -n 1000 all >test

# ---- with servers as without -------------------------------------------------------------

# serial BATCH: its last epoch.  Sets loss, test_loss and in_use.
serial() {
    with "s/batch: 32/batch: $1/"
    "$logreg" --serial --config with.yaml >serial.out
    loss=$(sed -n 's/^epoch 5: log-loss \([0-9.]*\),.*/\1/p' serial.out)
    test_loss=$(sed -n 's/^epoch 5: .*test log-loss \([0-9.]*\),.*/\1/p' serial.out)
    in_use=$(sed -n 's/^\([0-9]*\) of [0-9]* weights.*/\1/p' serial.out)
}

# within SHARE A B
within() {
    awk -v share="$1" -v a="$2" -v b="$3" 'BEGIN {
        d = a - b; if (d < 0) d = -d
        exit !(a > 0 && b > 0 && d <= share * a) }'
}

# compare NAME SHARE FOLDER: of the log-loss, in training and in the test.
compare() {
    got=$(json_value final_loss "$3/summary.json")
    ok "$1: the log-loss is that of a serial run ($got, $loss)" within "$2" "$loss" "$got"
    got=$(json_value test_log_loss "$3/summary.json")
    ok "$1: that of the test too ($got, $test_loss)" within "$2" "$test_loss" "$got"
}

serial 64
ok "the serial run learns something" awk -v l="$test_loss" 'BEGIN { exit !(l > 0 && l < 0.68) }'
ok "bsp runs" "$psexp" run logreg.yaml -q -o bsp
compare "bsp" 0.001 bsp
ok "as many weights are not zero" within 0.01 "$in_use" \
    "$(json_value nonzero_weights bsp/summary.json)"
ok "every tenth at least is zero" awk -v n="$in_use" 'BEGIN { exit !(n > 100 && n < 9000) }'
"$psexp" run logreg.yaml -q -o again >again.out 2>&1
ok "psexp prints their number" grep -q '^[0-9]* of [0-9]* weights are not zero$' again.out
is "it is in the summary" "$(grep -c '"[0-9]* of [0-9]* weights are not zero"' again/summary.json)" 1
is "another run loses the same" "$(json_value final_loss again/summary.json)" \
    "$(json_value final_loss bsp/summary.json)"
is "there is a test accuracy" "$(json_value test_accuracy bsp/summary.json | cut -c 1,2)" "0."
is "another run has the same weights" "$(json_value model_hash again/summary.json)" \
    "$(json_value model_hash bsp/summary.json)"
ok "every summary is well-formed" is_json bsp/summary.json

# Not in step a run takes its samples in an order of its own: most alike are those in which
# the workers stay together.  Under asp one may be done before the other begins.
serial 32
ok "ssp runs" "$psexp" run logreg.yaml -q -o ssp -s job.strategy=ssp -s job.slack=1
compare "ssp" 0.01 ssp
ok "its parts may be disjoint" "$psexp" run logreg.yaml -q -o parts -s job.strategy=ssp \
    -s job.slack=1 -s data.partition=disjoint_random
compare "parts" 0.02 parts
ok "asp runs" "$psexp" run logreg.yaml -q -o asp -s job.strategy=asp
ok "asp: the log-loss of the test is near that of a serial run" within 0.08 "$test_loss" \
    "$(json_value test_log_loss asp/summary.json)"
ok "without a file it makes samples up" "$psexp" run logreg.yaml -q -o none \
    -s "data.train_features=''" -s model.made-up=2000 -s train.epochs=1
says "and says so" none/worker-0.log 'no data.train_features: 2000 made-up samples'

# ---- what is wrong -----------------------------------------------------------------------

printf '1 1:1\n2 1:1\n3 2:1\n' >three
printf '1 1:1\n1 2:1\n' >one
refused() {
    with "$4"
    ends "$1" "$2" "$3" "$logreg" --serial --config with.yaml
}
refused "three labels" 65 '^logreg: sample 3 of the training set has the label 3' "s,/train,/three,"
refused "one label" 65 'all have this one' "s,/train,/one,"
refused "other labels in the test" 65 '^logreg: sample 2 of the test set has the label 2' "s,/test,/three,"
ends "an observer" 69 'tester 0 ended with exit code 78: logreg: it cannot observe' \
    "$psexp" run logreg.yaml -q -o observed -s test.every=1 -s train.epochs=100000
ends "windows of batches" 69 'exit code 78: logreg: job.nfetch 1 and job.npush 2, .*expected 1 and 1' \
    "$psexp" run logreg.yaml -q -o windows -s job.npush=2
ends "pushes of models" 69 'exit code 78: logreg: job.average: model, .*expected gradient' \
    "$psexp" run logreg.yaml -q -o models -s job.average=model
ends "a pace that is none" 69 'exit code 78: logreg: PSW_PACE: "fast"' \
    "$psexp" run logreg.yaml -q -o paced -s "workers.command=env PSW_PACE=fast $logreg"
refused "another format" 78 '^logreg: data.format: csv' "s/libsvm/csv/"
