#!/bin/sh
# A coordinator without shards is killed and comes back some seconds later, while workers
# of two jobs train on the shards of another psd: they notice nothing.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/counts.sh"

plan 22

at=tcp://127.0.0.1:$(steady_port)
head_starts() {
    psd_start head --set shards=0 --set "state=$work/head" --set "listen=$at"
}

head_starts
says "a psd may have no shards" head.log 'ready on .* with 0 shards'
ok "its status can be asked for" "$psctl" --coordinator="$at" status
PSW_RANK=0 PSW_JOB=early PSW_WORLD_SIZE=1 PSW_COORDINATOR=$at \
    ends "a job before there are any is refused" 69 \
    'job early: no psd with shards has joined the coordinator yet' \
    "$counts" 'job: {strategy: asp}' 1

psd_start store --set shards=2 --set "coordinator=$at" --set "state=$work/store"
count_on loose 2 'job: {strategy: asp}' 0
count_on tight 2 'job: {strategy: bsp, snapshot_every: 10}' 0
for one in loose-0 loose-1 tight-0 tight-1; do
    ok "$one trains" goes_on $one
done

psd_stop head KILL
gone=$(date +%s)
for one in loose-0 loose-1 tight-0 tight-1; do
    ok "$one goes on without a coordinator" goes_on $one
done
while [ $(($(date +%s) - gone)) -lt 3 ]; do
    sleep 0.1
done
head_starts
for one in loose tight; do
    ok "psctl shows the job $one" wait_until is_shown $one running
done
for one in loose-0 loose-1 tight-0 tight-1; do
    ok "$one goes on with it" goes_on $one
done
touch enough
for one in loose tight; do
    ok "the workers of $one leave as they should" all_end $one
done
for one in loose tight; do
    ok "the sums of $one are exact" are_exact $one
done
is "nobody went back, and nobody was lost" \
    "$(cat head.log loose-?.out tight-?.out | grep -cE '^back|^again|goes back|lost')" 0
