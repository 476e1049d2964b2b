#!/bin/sh
# where.sh [CASE...] - where the time of a case of psbench goes: samples of psd and its worker
# (perf, every 0.5 ms of processor time), folded into a table of what they were at.  Run it in
# the build folder, on a machine that has nothing else to do:
#
#     ../bench/where.sh
#     ../bench/where.sh dense/shm/push/64MiB
#
# Without cases: push and pull of 1 MiB and of 64 bytes, over tcp and on one host.  Rooms come from
# the debugging information (-g) of the binaries.
set -u
export LC_ALL=C

seconds=${SECONDS_EACH:-4}
: "${PSD_BINDIR:=$PWD}"
export PSD_BINDIR
psbench=$PSD_BINDIR/psbench

complain() {
    echo "where.sh: $*" >&2
    exit 1
}

[ -x "$psbench" ] || complain "$psbench: not there, expected a build folder as PSD_BINDIR or here"
command -v perf >/dev/null ||
    complain "perf is not installed (on Debian: package linux-perf), and nothing else here takes samples"
work=$(mktemp -d) || exit 1
bench=
trap '[ -z "$bench" ] || kill "$bench"; rm -rf "$work"' EXIT INT TERM

perf record -q -e cpu-clock -o "$work/try" -- true 2>"$work/why" ||
    complain "perf may not take samples here (see /proc/sys/kernel/perf_event_paranoid): $(head -n 1 "$work/why")"

[ $# -gt 0 ] || set -- dense/tcp/push/1MiB dense/tcp/pull/1MiB dense/shm/push/1MiB dense/shm/pull/1MiB \
    small/tcp/push/requests small/tcp/pull/requests small/ipc/push/requests small/ipc/pull/requests \
    small/tcp/push/p50 small/ipc/push/p50

# Which function stands in which file: "NAME FILE", of everything that we have built.
for object in "$PSD_BINDIR/psd" "$psbench" "$PSD_BINDIR"/.libs/psbench "$PSD_BINDIR"/.libs/libpsworker.so; do
    [ -e "$object" ] && nm -l --defined-only "$object" 2>/dev/null
done | sed -nE 's;^[0-9a-f]+ [tT] ([^[:space:]]+)[[:space:]].*/((server|common|worker|bench|tools|proto)/[^:]+):.*;\1 \2;p' |
    sed -E 's;^([^. ]*)[^ ]*;\1;; s;/[^/ ]*$;;' | sort -u >"$work/rooms"

# fold THREAD...: those of psd.
fold() {
    perf report -i "$work/data" --no-children --stdio -q --sort pid,dso,symbol -F overhead,pid,dso,symbol \
        -t '|' 2>/dev/null | awk -F'|' -v threads="$*" -v rooms="$work/rooms" '
        BEGIN {
            while ((getline line <rooms) > 0) {
                split(line, word, " ")
                room[word[1]] = word[2]
            }
            n = split(threads, word, " ")
            for (i = 1; i <= n; i++)
                of_psd[word[i]] = 1
        }
        function trim(text) {
            gsub(/^[ \t]+|[ \t]+$/, "", text)
            return text
        }
        function kernel(s) {
            if (s ~ /copy_(to|from)_(iter|user)|rep_movs|copy_user|copyin|copyout|memcpy|copy_page_(to|from)_iter/)
                return "kernel: copies"
            if (s ~ /fault|clear_page|alloc_pages|folio|anon|zap_|unmap|mmap|charge|rmqueue|free_page|shmem|lru|vma|get_user_pages/)
                return "kernel: memory"
            if (s ~ /tcp|(^|_)ip_|inet|skb|sock|net_|_net|dev_|loopback|unix_|sk_|napi|bbr|cubic|qdisc|softirq|send_?msg|recv_?msg|sendto|recvfrom|csum/)
                return "kernel: network"
            if (s ~ /sched|futex|poll|epoll|eventfd|event_|task_switch|wake|switch|spin|rseq|idle|timer|hrtimer|fdget|fput|wait|rcu/)
                return "kernel: waiting and waking"
            return "kernel: the rest"
        }
        function group(dso, s) {
            if (dso ~ /kernel|^\[/)
                return kernel(s)
            if (dso ~ /libzmq/)
                return "libzmq"
            if (dso ~ /libstdc/)
                return "libzmq"
            if (dso ~ /protobuf/)
                return "protobuf-c"
            if (s ~ /mem(cpy|move|set|cmp)/)
                return "libc: memcpy and its like"
            if (s ~ /malloc|calloc|realloc|memalign|aligned_alloc|free|tcache|arena|unlink_chunk|consolidate/ && dso ~ /libc/)
                return "libc: malloc and free"
            if (dso ~ /^libc|ld-linux|libpthread|vdso/)
                return "libc: the rest"
            sub(/\..*/, "", s)
            if (s ~ /finite/)
                return "server/compute: looks for NaN"
            if (s in room && room[s] == "server/compute")
                return "server/compute: adds and steps"
            return s in room ? room[s] : dso
        }
        NF >= 4 && $1 ~ /[0-9]/ {
            share = $1 + 0
            sub(/^ *\[[.k]\] */, "", $4)
            g = group(trim($3), trim($4))
            side = trim($2) + 0 in of_psd ? "psd" : "worker"
            all[g] += share
            of[g, side] += share
            sum[side] += share
        }
        END {
            printf "| %-32s | %6s | %6s | %6s |\n", "% of the samples", "psd", "worker", "both"
            print "|---|---|---|---|"
            for (g in all)
                if (all[g] >= 0.5)
                    printf "| %-32s | %6.1f | %6.1f | %6.1f |\n", g, of[g, "psd"], of[g, "worker"], all[g] | \
                        "sort -t\"|\" -k5,5 -rn"
            close("sort -t\"|\" -k5,5 -rn")
            printf "| %-32s | %6.1f | %6.1f | %6.1f |\n", "all", sum["psd"], sum["worker"],
                sum["psd"] + sum["worker"]
        }'
}

for name in "$@"; do
    "$psbench" --alone --quiet --rounds=1 --seconds=$((2 * seconds + 6)) --only="$name" >"$work/out" 2>&1 &
    bench=$!
    sleep 3
    psd=$(pgrep -P $bench -x psd)
    [ -n "$psd" ] || {
        cat "$work/out" >&2
        complain "$name: psbench has started no psd"
    }
    threads=$(ls "/proc/$psd/task" | tr '\n' ' ')
    perf record -q -e cpu-clock -c 500000 -o "$work/data" -p "$psd,$bench" -- sleep "$seconds" \
        >/dev/null 2>&1 || {
        cat "$work/out" >&2
        complain "$name: perf has taken no samples"
    }
    echo "$name"
    echo
    # (The list of words is wanted.)
    fold $threads
    echo
    kill "$bench" 2>/dev/null
    wait "$bench" 2>/dev/null
    bench=
done
