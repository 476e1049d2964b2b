#!/bin/sh
# allocations.sh CASE... - how often psd and a worker ask for memory, and call the system, for
# each request of a case of psbench, when all is warm.
#
# Runs `psbench --alone` for the case, with libpscount (count.c) in both processes, and takes the
# difference of two dumps a few seconds apart; the number of requests is psd's own count.  Then
# the same with strace, where it is installed, for system calls.  Run it in the build folder:
#
#     ../bench/allocations.sh dense/tcp/push/1MiB 'sparse/tcp/1s1w/push-sgd/random/4'
#
# Places in the sources need debugging information in the binaries (-g).
set -u

seconds=3
: "${PSD_BINDIR:=$PWD}"
export PSD_BINDIR
library=$PSD_BINDIR/.libs/libpscount.so
psbench=$PSD_BINDIR/psbench

complain() {
    echo "allocations.sh: $*" >&2
    exit 1
}

[ $# -gt 0 ] || complain "expected cases of psbench, psbench --list names them"
[ -e "$library" ] || complain "$library: not there, expected a build folder (make $library)"
work=$(mktemp -d) || exit 1
bench=
trap '[ -z "$bench" ] || kill "$bench"; rm -rf "$work"' EXIT INT TERM

# The announced endpoint of process $1.
endpoint_of() {
    cat "$(tr '\0' '\n' <"/proc/$1/cmdline" | sed -n 's/^--announce=//p')"
}

# begin CASE [NAME=VALUE]...: psbench is at work; $bench and $psd are the processes.
begin() {
    name=$1
    shift
    env COUNT_FOLDER="$work" "$@" "$psbench" --alone --quiet --rounds=1 --seconds=$((4 * seconds + 4)) \
        --rows=1000000 --only="$name" >"$work/out" 2>&1 &
    bench=$!
    sleep 4
    psd=$(pgrep -P $bench -x psd)
    [ -n "$psd" ] || {
        cat "$work/out" >&2
        complain "$name: psbench has started no psd"
    }
    endpoint=$(endpoint_of "$psd")
}

end() {
    kill "$bench" 2>/dev/null
    wait "$bench" 2>/dev/null
    bench=
}

requests() {
    "$PSD_BINDIR/psctl" --coordinator="$endpoint" --json jobs |
        tr ',{}' '\n\n\n' | awk -F: '/"(pushes|pulls)"/ { n += $2 } END { print n + 0 }'
}

# What the coordinator has been told so far, the moment it is told more: it asks shards now and
# then, and what has happened since is in no count.
fresh_requests() {
    was=$(requests)
    until now=$(requests) && [ "$now" -ne "$was" ]; do
        sleep 0.02
    done
    echo "$now"
}

dumped() {
    tries=0
    until grep -qs "^$1 end" "$work/$bench" && grep -qs "^$1 end" "$work/$psd"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || complain "no dump of processes $bench and $psd"
        sleep 0.05
    done
}

dump() {
    kill -USR2 "$bench" "$psd"
    dumped "$1"
}

# place OBJECT+OFFSET: "psd: server/shard/apply.c", or "libzmq.so.5"
place() {
    object=${1%+*}
    file=
    case $object in
    "$PSD_BINDIR"/*)
        file=$(addr2line -e "$object" "${1#*+}" 2>/dev/null |
            sed -n 's;.*/\(\(server\|common\|worker\|bench\|tools\|proto\)/[^:]*\):.*;\1;p')
        ;;
    esac
    echo "${file:-$(basename "$object" | sed 's/\.so.*//')}"
}

# differences FILE: THREAD CALLS BYTES FREES OBJECT+OFFSET between the two dumps.
differences() {
    awk '
        $2 == "end" { next }
        $1 == 1 { calls[$2, $6] = $3; bytes[$2, $6] = $4; frees[$2, $6] = $5 }
        $1 == 2 && $3 + $5 > calls[$2, $6] + frees[$2, $6] {
            print $2, $3 - calls[$2, $6], $4 - bytes[$2, $6], $5 - frees[$2, $6], $6
        }' "$1"
}

# by_place FILE REQUESTS
by_place() {
    differences "$1" | while read -r thread calls bytes frees at; do
        [ "$at" = - ] && echo "$thread frees $frees 0" || echo "$thread $(place "$at") $calls $bytes"
    done | awk -v requests="$2" '
        { calls[$1 "  " $2] += $3; bytes[$1 "  " $2] += $4 }
        END {
            for (k in calls)
                if (calls[k] / requests >= 0.01)
                    printf "  %-44s %8.2f %12.0f\n", k, calls[k] / requests, bytes[k] / requests
        }' | sort
}

for name in "$@"; do
    begin "$name" LD_PRELOAD="$library"
    before=$(fresh_requests)
    dump 1
    sleep $seconds
    n=$(($(fresh_requests) - before))
    dump 2
    [ "$n" -gt 0 ] || complain "$name: no requests in $seconds s"
    echo "$name: $n requests"
    echo "  thread, asked by                               per request        bytes"
    echo " psd"
    by_place "$work/$psd" "$n"
    echo " psbench, the worker"
    by_place "$work/$bench" "$n"
    end
    command -v strace >/dev/null || {
        echo " (no strace: system calls are not counted)"
        continue
    }
    begin "$name"
    for process in psd bench; do
        eval "of=\$$process"
        strace -c -f -qq -o "$work/calls" -p "$of" 2>/dev/null &
        tracer=$!
        before=$(fresh_requests)
        sleep $seconds
        n=$(($(fresh_requests) - before))
        kill -INT $tracer
        wait $tracer
        [ "$n" -gt 0 ] || n=1
        awk -v requests="$n" -v of="$process" '
            $1 ~ /^[0-9]/ && $NF != "total" && $4 / requests >= 0.01 {
                line = line sprintf(" %s %.2f,", $NF, $4 / requests)
            }
            END { print " system calls of " of " per request:" line }' "$work/calls"
    done
    end
done
