#!/bin/sh
# psd or a worker is stopped (SIGSTOP) for longer than anybody may be silent, and goes on
# (SIGCONT).  A psd that slept itself takes nobody for lost; a worker that slept is lost
# where jobs shrink, and comes again, and is waited for where they wait.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/counts.sh"

silence=2
asleep=3
plan 20

psd_start psd --set shards=2 --set worker_silence=$silence --set shard_timeout=1
at=$endpoint
count_on shrinks 2 'job: {strategy: asp, on_loss: shrink}' 0
count_on waits 2 'job: {strategy: bsp, on_loss: wait}' 0
everybody="shrinks-0 shrinks-1 waits-0 waits-1"
for one in $everybody; do
    ok "$one trains" goes_on $one
done

# ---- psd --------------------------------------------------------------------------------

kill -STOP "$pid_psd"
sleep $asleep
kill -CONT "$pid_psd"
for one in $everybody; do
    ok "$one goes on when psd does" goes_on $one
done
says "psd knows that it was stopped" psd.log 'coordinator: was stopped for'
is "it takes nobody for lost" "$(grep -c 'was silent' psd.log)" 0

# ---- workers ----------------------------------------------------------------------------

kill -STOP "$pid_shrinks_1" "$pid_waits_1"
says "a worker that is stopped is lost" psd.log 'worker 1 of job shrinks .* was silent'
says "also where it is waited for" psd.log 'worker 1 of job waits .* was silent'
before=$(done_by waits-0)
ok "where jobs shrink the others go on" goes_on shrinks-0
is "where they wait the others do" "$(($(done_by waits-0) - before))" 0
kill -CONT "$pid_shrinks_1" "$pid_waits_1"
says "one that was lost comes again" shrinks-1.out again
for one in $everybody; do
    ok "$one goes on when the workers do" goes_on $one
done
touch enough
ok "all end well, and the sums are exact" \
    eval 'all_end shrinks && all_end waits && are_exact shrinks && are_exact waits'
