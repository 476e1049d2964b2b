#!/bin/sh
# The word vectors of examples/sparse: words that stand in the same places are found to be
# near each other.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/json.sh"

wordvec=$top_builddir/wordvec
[ -x "$wordvec" ] || skip_all "the example is not built"

PSD_BINDIR=$top_builddir
export PSD_BINDIR
unset PSW_COORDINATOR PSW_JOB PSW_TOKEN PSW_RANK PSW_WORLD_SIZE PSW_TIMEOUT_MS PSW_CONFIG

plan 24

# Ten pairs of synonyms: "onea" and "twoa" stand between "left.a" and "right.a".
LC_ALL=C awk 'BEGIN {
    seed = 1
    for (i = 0; i < 4000; i++) {
        c = letter(draw(10))
        print "filler" letter(draw(10)), "Left" letter(draw(3)) c "," \
            (draw(2) ? "one" : "two") c, "right" letter(draw(3)) c ".", "filler" letter(draw(10))
    }
}
function draw(m) { seed = seed * 16807 % 2147483647; return int(seed / 100) % m }
function letter(i) { return substr("abcdefghij", i + 1, 1) }' >text
echo "hapax legomenon" >>text

cat >words.yaml <<END
seed: 1
workers: { count: 2, command: wordvec, timeout: $deadline }
job: { strategy: asp }
optimiser: { name: adagrad, lr: 0.1 }
train: { epochs: 5, batch: 200 }
data: { format: text, train_features: $work/text, partition: disjoint_contiguous }
model:
  dimensions: 16
  window: 1
  subsample: 0
  nearest: 1
  neighbours: [onea, oneb, onec, oned, onee, twof, twog, twoh, twoi, twoj, hapax]
END

# synonyms FOLDER: how many of the ten were found.
synonyms() {
    grep -cE '"(one(.): two\2|two(.): one\3) 0\.[0-9]*"|"(one(.): two\5|two(.): one\6) 1\.00"' \
        "$1/summary.json"
}

for strategy in asp ssp bsp; do
    ok "$strategy runs" "$psexp" run words.yaml -q -o $strategy -s job.strategy=$strategy
    is "$strategy: synonyms are nearest" "$(synonyms $strategy)" 10
done
is "a rare word has no neighbours" \
    "$(grep -c '"hapax is not in the text, or too rare"' asp/summary.json)" 1
ok "psexp prints them" grep -qx 'hapax is not in the text, or too rare' <<END
$("$psexp" run words.yaml -q -o printed -s train.epochs=1)
END
is "there is no accuracy" "$(json_value test_accuracy asp/summary.json)" null
ok "but a loss" awk -v l="$(json_value final_loss asp/summary.json)" 'BEGIN { exit !(l > 1 && l < 2) }'
is "words are counted: five epochs of all blocks" "$(json_value samples asp/summary.json)" 100000
ok "it is well-formed" is_json asp/summary.json
is "under bsp another run has the same vectors" \
    "$("$psexp" run words.yaml -q -o again -s job.strategy=bsp >/dev/null
        json_value model_hash again/summary.json)" "$(json_value model_hash bsp/summary.json)"

for partition in none disjoint_round_robin disjoint_random overlap_reshuffle; do
    "$psexp" run words.yaml -q -o $partition -s job.strategy=ssp -s data.partition=$partition \
        -s "data.train_features=''" -s "model.command=cat $work/text" >/dev/null 2>$partition.err
    is "partition $partition, and the text from a command" "$(synonyms $partition)" 10
done

"$psexp" run words.yaml -q -o file -s train.epochs=1 -s "model.vectors=$work/vectors" >/dev/null
is "the vectors are written" "$(head -n 1 vectors; sed 1d vectors | awk 'NF != 17' | wc -l)" "90 16
0"

# ---- what is wrong -------------------------------------------------------------------------

refused() {
    name=$1 pattern=$2
    shift 2
    ends "$name" 69 "$pattern" "$psexp" run words.yaml -q -o refused-$number "$@"
}
refused "a missing text" 'exit code 65: .*/nowhere: cannot be opened' -s data.train_features=/nowhere
refused "a command that fails" 'exit code 65: .*exit 3.* failed with exit code 3' \
    -s "data.train_features=''" -s "model.command=exit 3"
refused "no text" 'exit code 78: .*names no file' -s "data.train_features=''"
refused "windows of batches" 'exit code 78: wordvec: job.nfetch 2 and job.npush 1' -s job.nfetch=2
refused "a pace that is none" 'exit code 78: wordvec: PSW_SLOW: "fast"' \
    -s "workers.command=env PSW_SLOW=fast $top_builddir/wordvec"
refused "another format" 'exit code 78: .*data.format: csv, expected text' -s data.format=csv
