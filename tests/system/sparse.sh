#!/bin/sh
# Sparse matrices through libpsworker and a real psd: what worker_sparse.c does, on
# several numbers of shards.
. "$top_srcdir/tests/system/lib.sh"

sparse=$top_builddir/tests/system/worker_sparse

plan 9

for shards in 1 3; do
    psd_start "shards$shards" --set shards=$shards
    export PSW_COORDINATOR="$endpoint" PSW_TIMEOUT_MS=20000
    ok "$shards shards: the rows that exist are listed, each once" "$sparse" list
    ok "$shards shards: limits refuse or evict" "$sparse" limits
    ok "$shards shards: gradients are given entry by entry" "$sparse" entries
    "$sparse" hash "model$shards" >"hash$shards" 2>&1
    is "$shards shards: the hash is of the rows in the order of their keys" \
        "$(cat "hash$shards")" "$(b2sum -l 256 "model$shards" | cut -d' ' -f1)"
    psd_stop "shards$shards"
done
is "the hash does not depend on the shards" "$(cat hash1)" "$(cat hash3)"
