#!/bin/sh
# Snapshots on disk: who may use the folder.
. "$top_srcdir/tests/system/lib.sh"

plan 8

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
