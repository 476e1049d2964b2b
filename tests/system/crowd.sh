#!/bin/sh
# Many workers at one psd: all are served, nothing of them stays when they have gone, and
# psd says what it lacks when there is no room for more.
. "$top_srcdir/tests/system/lib.sh"

plan 8

crowd=$top_builddir/tests/system/worker_crowd
workers=60

# (A finished job is kept for a while, and so are the memory files of its parameters.)
sockets() {
    ls -l "/proc/$1/fd" | grep -c 'socket:'
}

# no_more_sockets PID N: it holds at most so many.
no_more_sockets() {
    [ "$(sockets "$1")" -le "$2" ]
}

psd_start many --set shards=2
export PSW_COORDINATOR="$endpoint"
before=$(sockets "$pid")
ok "they come, work, and go" timeout $deadline "$crowd" first $workers
ok "no connection of theirs stays" wait_until no_more_sockets "$pid" "$before"
ok "others come" timeout $deadline "$crowd" second $workers
ok "no connection of theirs stays" wait_until no_more_sockets "$pid" "$before"
psd_stop many
is "it ends cleanly" "$code" 0

# What a process may open at most is raised as far as it may be raised.
(ulimit -S -n 64 && exec "$psd" --set listen=tcp://127.0.0.1:0 --announce=raised.at) \
    2>raised.log &
pid=$!
pids="$pids $pid"
wait_until is_settled $pid raised.at
is "psd may open as many files as the system lets it" \
    "$(awk '/^Max open files/ { print $4 }' /proc/$pid/limits)" "$(ulimit -H -n)"
kill "$pid"
wait "$pid"

# Without room for all of them some wait outside.
(ulimit -n 64 && exec "$psd" --set listen=tcp://127.0.0.1:0 --set shards=1 \
    --announce=full.at) 2>full.log &
pid=$!
pids="$pids $pid"
wait_until is_settled $pid full.at
PSW_COORDINATOR=$(cat full.at) PSW_TIMEOUT_MS=3000 timeout $deadline "$crowd" third $workers \
    >crowd.log 2>&1
ok "without files for all it says so" wait_until grep -q \
    '^<3>psd: no file can be opened any more, of 64: workers wait outside' full.log
kill "$pid"
wait "$pid"
is "and goes on until it is ended" $? 0
