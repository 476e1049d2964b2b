#!/bin/sh
# psd from outside: its options, its addresses, its end, and noise on its ports.
. "$top_srcdir/tests/system/lib.sh"

plan 52

# ---- the command line and the settings ----------------------------------------------

ok   "help is printed"                    "$psd" --help
ends "version is printed"              0 '^psd [0-9]' "$psd" --version
ends "unknown option is refused"      64 '^<3>psd: --bogus: not an option' "$psd" --bogus
ends "operand is refused"             64 '^<3>psd: psd.yaml: not an option' "$psd" psd.yaml
ends "missing value is refused"       64 '^<3>psd: --config: expected a value' "$psd" --config

printf 'listen: tcp://127.0.0.1:0\nshards: 3\n' >good.yaml
printf 'listen: tcp://127.0.0.1:0\nshards: 257\n' >range.yaml
printf 'shards: 1\nshads: 2\n' >unknown.yaml

ok   "good file passes"                   "$psd" --config good.yaml --check-config
ends "settings are printed"            0 '^shards: 3$' "$psd" --config good.yaml --dump-config
ends "--set overrides the file"        0 '^shards: 5$' "$psd" --config good.yaml \
    --set shards=4 --set shards=5 --dump-config
"$psd" --config good.yaml --dump-config >dump.yaml
ends "printed settings load again"     0 '^shards: 3$' "$psd" --config dump.yaml --dump-config
ends "value out of range is named"    78 '^<3>range.yaml:2: shards: 257 is out of range' \
    "$psd" --config range.yaml --check-config
ends "unknown key is named"           78 '^<3>unknown.yaml:2: shads: unknown key' \
    "$psd" --config unknown.yaml
ends "bad --set is named"             78 '^<3>--set shards=none: ' "$psd" --set shards=none
ends "missing file is named"          71 '^<3>no-such.yaml: ' "$psd" --config no-such.yaml

# ---- addresses -----------------------------------------------------------------------

ends "address for everybody is refused" 78 'expected a loopback address' \
    "$psd" --set listen=tcp://0.0.0.0:0 --set shard_listen=tcp://127.0.0.1:0
ends "shards for everybody are refused" 78 '^<3>shard_listen: .* loopback address' \
    "$psd" --set listen=tcp://127.0.0.1:0 --set shard_listen=tcp://10.0.0.1:0
ok   "trusted network is accepted"          "$psd" --set listen=tcp://0.0.0.0:0 \
    --set shard_listen=tcp://127.0.0.1:0 --set insecure_plaintext=true --check-config
ends "shards need an address to tell"   78 'does not tell workers where to connect' \
    "$psd" --set listen=tcp://0.0.0.0:0 --set insecure_plaintext=true

ok   "without shards there is nothing to tell" "$psd" --set listen=tcp://0.0.0.0:0 \
    --set insecure_plaintext=true --set shards=0 --check-config

psd_start first --set shards=2
says "it says that it is ready" first.log "^<6>psd: ready on $endpoint with 2 shards$"
ends "port in use is named" 69 "^<3>cannot bind $endpoint: address in use$" \
    "$psd" --set listen="$endpoint"

# ---- noise ---------------------------------------------------------------------------

# Is everything answered, by the coordinator and by every shard?
all_up() {
    "$psctl" --coordinator="$endpoint" --json shards >shards.json 2>&1 &&
        [ "$(grep -o '"state": *"up"' shards.json | wc -l)" -eq "$1" ]
}

noise() {
    dd if="$psd" bs=64k count=4 2>/dev/null >noise.program
    head -c 100000 /dev/zero >noise.zeros
    tr '\0' '\377' <noise.zeros >noise.ones
    printf 'GET / HTTP/1.1\r\nHost: psd\r\n\r\n' >noise.http
    # greetings of ZMTP 3 with NULL, and then: nothing, a frame of 2^63 bytes, a READY
    # that lies about its length
    { printf '\377\0\0\0\0\0\0\0\1\177\3\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
      head -c 31 /dev/zero; } | head -c 64 >noise.greeting
    { cat noise.greeting; printf '\2\200\0\0\0\0\0\0\0'; } >noise.huge
    { cat noise.greeting; printf '\4\51\5READY\377\377\377\377'; cat noise.zeros; } >noise.ready
}

# A peer that shakes hands properly and then sends a message that is not psd's, one that
# has no header, and a frame that claims 1 GiB.
strange_peer() {
    { cat noise.greeting
      printf '\4\51\5READY\13Socket-Type\0\0\0\6DEALER\10Identity\0\0\0\0'; } >hands
    { printf '\0\5hello\1\0\0\5hello\2\0\0\0\0\100\0\0\0'; cat noise.zeros; } >words
    # what it is answered is as long as what it sends; without waiting for it, its words
    # would count as part of the handshake
    bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && cat hands >&3 &&
             timeout 10 head -c 107 <&3 && cat words >&3 && timeout 5 cat <&3' \
        "$1" >answers 2>&1
}

# pour FILE PORT: the other end may hang up before it has all; else we do.
pour() {
    bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && cat "$0" >&3 && timeout 1 cat <&3' \
        "$1" "$2" >poured 2>&1
}

pour_everywhere() {
    for port in $(grep -o 'tcp://127.0.0.1:[0-9]*' first.log | sort -u); do
        pour "$1" "$(port_of "$port")" &
        pours="$pours $!"
    done
}

noise
pours=
ok "every shard is up" all_up 2
for file in noise.*; do
    pour_everywhere "$file"
    pour_everywhere "$file"
    ok "serving beside ${file#noise.}" all_up 2
done
strange_peer "$(port_of "$endpoint")"
wait $pours
ok   "serving after all of it" all_up 2
says "what is no header is refused" first.log '^<3>message: header of 5 bytes'
says "what is no message is dropped and counted" first.log 'dropped a malformed message, 1'

# ---- several in a cluster --------------------------------------------------------------

psd_start second --set coordinator="$endpoint" --set shards=3
says "second says what it joined" second.log "joined $endpoint with 3 shards from number 2$"
ok   "all shards are up" all_up 5
psd_stop second
is   "second ends cleanly" "$code" 0
says "the first has seen it" first.log '^<4>shard 4 at .* has ended$'

psd_stop first
is   "SIGTERM ends it cleanly" "$code" 0
says "it says why" first.log '^<6>psd received SIGTERM, ending$'

psd_start token --set token=sesame
ends "wrong token is refused" 77 'token' "$psd" --set coordinator="$endpoint" --set token=x
psd_start inside --set token=sesame --set coordinator="$endpoint"
psd_stop token INT
is   "SIGINT ends it cleanly" "$code" 0
psd_stop inside
is   "a member outlives its coordinator, and ends cleanly" "$code" 0

psd_start file --set listen="ipc://$work/socket" --set shards=2
ok   "sockets in files answer" all_up 2
kill -9 "$pid"
psd_wait file
psd_start file --set listen="ipc://$work/socket" --set shards=2
ok   "files of the dead are no obstacle" all_up 2
psd_stop file
is   "its files go with it" "$(echo "$work"/socket*)" "$work/socket*"

# A coordinator that dies and comes back knows nothing of those who had joined.
psd_start mortal --set listen="ipc://$work/mortal" --set shards=1
psd_start widow --set coordinator="$endpoint" --set shards=1
kill -9 "$pid_mortal"
psd_wait mortal
psd_start mortal --set listen="$endpoint" --set shards=1
psd_wait widow
is   "who was forgotten ends, to be started again" "$code" 75
says "it says why" widow.log '^<3>coordinator ipc://.*: was started again'

# ---- CPUs ----------------------------------------------------------------------------

# Those that we may use, one a line.
our_cpus() {
    sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status | tr ',' '\n' |
        while IFS=- read -r first last; do
            seq "$first" "${last:-$first}"
        done
}

# runs_on NAME: where the thread of that name of process $pid may run.
runs_on() {
    for task in /proc/"$pid"/task/*; do
        [ "$(cat "$task/comm")" = "$1" ] &&
            sed -n 's/^Cpus_allowed_list:[^0-9]*//p' "$task/status"
    done
}

anywhere=$(sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status)
one=$(our_cpus | tail -n 1)
other=$(our_cpus | head -n 1)
turns=$one
[ "$one" = "$other" ] || turns=$one,$other
psd_start pinned --set cpus="$turns" --set shards=3 --set io_cpus="$other" \
    --set io_threads=2
ok   "pinned shards answer" all_up 3
is   "the first shard runs on the first CPU" "$(runs_on 'psd shard 0')" "$one"
is   "the second on the second" "$(runs_on 'psd shard 1')" "$other"
is   "the third on the first again" "$(runs_on 'psd shard 2')" "$one"
is   "so many threads move bytes, where they are told" \
    "$(runs_on ZMQbg/IO/0) $(runs_on ZMQbg/IO/1)" "$other $other"
is   "all others run anywhere" "$(runs_on psd)" "$anywhere"
psd_stop pinned
ends "a CPU that is not there is named" 78 \
    '^<3>--set cpus=1023: CPU 1023 is not there, or not for psd, expected some of [0-9]' \
    "$psd" --set cpus=1023
