#!/bin/sh
# A network is cut in two and healed: two network namespaces, and a cable between them
# that is pulled out.  Who is only cut off goes on where it was.  Who vanishes meanwhile,
# without a word that could get through, is missed: a worker by its silence, and a psd,
# too, so that nobody waits for an answer that cannot come.

# Namespaces are for root, or for those who may become it in a namespace of users.
if [ -z "$PSD_TEST_APART" ]; then
    for how in -n -rn; do
        unshare $how sh -c 'ip link add near type veth peer name far &&
            unshare -n true' >/dev/null 2>&1 &&
            PSD_TEST_APART=1 exec unshare $how "$0"
    done
    echo '1..0 # SKIP network namespaces are not permitted here'
    exit 0
fi

. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/counts.sh"

plan 20

near=10.99.0.1 far=10.99.0.2

unshare -n sleep 600 &
there=$!
pids="$pids $there"
other_namespace() {
    [ "$(readlink /proc/$there/ns/net)" != "$(readlink /proc/self/ns/net)" ]
}
wait_until other_namespace
in_far="nsenter -t $there -n"
{
    ip link add near type veth peer name far netns $there
    ip addr add $near/24 dev near
    ip link set lo up
    ip link set near up
    $in_far ip addr add $far/24 dev far
    $in_far ip link set lo up
    $in_far ip link set far up
} || exit 1

# Rank 0 is near, the others are far.
cat >placed <<END
#!/bin/sh
[ "\$PSW_RANK" -eq 0 ] || exec $in_far "\$@"
exec "\$@"
END
cat >far_psd <<END
#!/bin/sh
exec $in_far "$psd" "\$@"
END
chmod +x placed far_psd

# ---- before -----------------------------------------------------------------------------

near_psd() {
    psd_start "$@" --set "listen=tcp://$near:0" --set insecure_plaintext=true
}
near_psd patient --set shards=2
patient=$endpoint
near_psd brief --set shards=1 --set worker_silence=2
brief=$endpoint
near_psd host --set shards=0 --set shard_timeout=1
host=$endpoint

at=$patient
count_on loose 2 'job: {strategy: asp}' 0 ./placed
count_on tight 2 'job: {strategy: bsp}' 0 ./placed
at=$brief
count_on left 2 'job: {strategy: bsp, on_loss: shrink}' 0 ./placed
for one in loose-0 loose-1 tight-0 tight-1 left-0 left-1; do
    ok "$one trains" goes_on $one
done
usual=$psd psd=./far_psd
psd_start guest --set shards=1 --set "coordinator=$host" --set insecure_plaintext=true \
    --set "shard_listen=tcp://$far:0"
psd=$usual at=$host
count_on lent 1 'job: {strategy: asp}' 0
ok "a worker trains on a psd that is far" goes_on lent-0

# ---- apart ------------------------------------------------------------------------------

ip link set near down
kill -9 "$pid_left_1" "$pid_guest"
says "a worker that vanished is missed" brief.log 'worker 1 of job left .* was silent'
ok "and the one that is left goes on" goes_on left-0
says "a psd that vanished is missed" host.log 'its psd on .* was silent for 3 s'
wait_until is_zombie "$pid_lent_0"
wait "$pid_lent_0"
is "its worker ends" $? 69
ok "and knows why" grep -q 'its psd on .* was silent' lent-0.err
before=$(done_by loose-1)
ok "who is near goes on" goes_on loose-0
is "who is far does not" "$(($(done_by loose-1) - before))" 0

# ---- together ---------------------------------------------------------------------------

ip link set near up
for one in loose-1 tight-0 tight-1; do
    ok "$one goes on where it was" goes_on $one
done
touch enough
at=$patient
ok "they end well" eval 'all_end loose && all_end tight'
ok "their sums are exact" eval 'are_exact loose && are_exact tight'
is "nobody was lost or went back" \
    "$(cat patient.log loose-?.out tight-?.out | grep -cE '^back|^again|was silent')" 0
