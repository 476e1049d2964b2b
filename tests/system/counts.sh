# counts.sh - jobs of workers that count (worker_counts.c), for plays in which something
# is done to them.  A job is NAME; worker R of it writes NAME-R.out and NAME-R.err.

counts=$top_builddir/tests/system/worker_counts
export PSW_TIMEOUT_MS=50000

# count_on NAME WORKERS SETTINGS END [RUNNER...]: starts the workers of a job.
count_on() {
    job=$1 size=$2 with=$3 until=$4
    shift 4
    eval "size_$job=\$size with_$job=\$with"
    rank=0
    while [ $rank -lt "$size" ]; do
        PSW_RANK=$rank PSW_JOB=$job PSW_WORLD_SIZE=$size PSW_COORDINATOR=$at \
            "$@" "$counts" "$with" "$until" >"$job-$rank.out" 2>"$job-$rank.err" &
        eval "pid_${job}_$rank=$!"
        pids="$pids $!"
        rank=$((rank + 1))
    done
}

done_by() {
    grep -c '^done' "$1.out"
}

# has_done WORKER ITERATIONS
has_done() {
    [ "$(done_by "$1")" -ge "$2" ]
}

# goes_on WORKER: it finishes some more iterations than it has by now.
goes_on() {
    wait_until has_done "$1" $(($(done_by "$1") + 30))
}

# all_end NAME: its workers come to their end, and well.
all_end() {
    eval "size=\$size_$1"
    rank=0
    while [ $rank -lt "$size" ]; do
        eval "counter=\$pid_${1}_$rank"
        wait_until is_zombie "$counter" && wait "$counter" || {
            echo "worker $rank of $1 ended with $?"
            cat "$1-$rank.err"
            return 1
        }
        rank=$((rank + 1))
    done
}

# are_exact NAME: the matrices hold what the workers say that they have counted.
are_exact() {
    eval "size=\$size_$1 with=\$with_$1"
    grep -h '^counted' "$1"-*.out | sort >"$1.said"
    PSW_OBSERVER=1 PSW_JOB=$1 PSW_WORLD_SIZE=$size PSW_COORDINATOR=$at \
        "$counts" "$with" read | sort >"$1.held"
    [ "$(wc -l <"$1.held")" -eq "$size" ] && diff "$1.said" "$1.held"
}

# is_shown NAME PATTERN: psctl has a line of the job that says so.
is_shown() {
    "$psctl" --coordinator="$at" jobs 2>/dev/null | grep -e "$1" | grep -qe "$2"
}

# A port that the kernel gives to nobody while psd is away: who connects to one of those
# again and again may be connected to himself.
steady_port() {
    lowest=$(cut -f 1 /proc/sys/net/ipv4/ip_local_port_range)
    echo $((10240 + $(od -An -N4 -tu4 /dev/urandom) % (lowest - 10240)))
}
