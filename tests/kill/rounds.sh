#!/bin/sh
# rounds.sh - psd processes are killed under load, again and again; what was lost?
#
#     tests/kill/rounds.sh [ROUNDS] [SEED]      from the build folder; 3 and 1
#
# In each round three workers (kill_tally.c) count, and one to three times psd is killed
# with SIGKILL and started again, now and then once more before it has recovered.  bsp and
# asp take turns, and so do `ack: durable` and `applied`, under bsp now and then `bounded`:
# applied, with max_rollback one interval of snapshots; every third round has two psd
# processes, of which one or both are killed.  Rounds, kills and times come from the seed.
# In the end an observer looks at every counter:
#
#     lost       iterations that are acknowledged, or over, and do not count
#     doubled    ... that count more than once
#     back       acknowledged iterations of one worker that a kill has taken back: none
#                under durable; bounded, those of one snapshot interval (50 clocks); under
#                applied (asp: 150 updates of all workers, which may all be one worker's) also
#                those that passed while disks were writing, which may be many on a busy machine
#     above      rounds in which that was more than one interval
#     untold     workers that went on after a kill and were not told that the job went back
#
# Ends with 1 if anything is not as promised, and leaves its folder then.
: "${top_builddir:=$PWD}" "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
export top_builddir top_srcdir
. "$top_srcdir/tests/system/lib.sh"

rounds=${1:-3} seed=${2:-1}
tally=$top_builddir/tests/kill/kill_tally
every_bsp=50  # clocks
every_asp=150 # updates of a shard
unset PSW_COORDINATOR PSW_JOB PSW_TOKEN PSW_RANK PSW_CONFIG PSW_OBSERVER
export PSW_WORLD_SIZE=3 PSW_TIMEOUT_MS=60000

# bad WHAT: is remembered.
bad() {
    echo "round $round: $1" >&2
    failures=$((failures + 1))
}

# ---- psd processes ----------------------------------------------------------------------

# A port that the kernel gives to nobody while psd is dead: who connects to one of those
# again and again may be connected to himself.
ports=$(($(date +%s) + $$ * 31))
next_port() {
    ports=$((ports + 1))
    lowest=$(cut -f 1 /proc/sys/net/ipv4/ip_local_port_range)
    port=$((10240 + ports % (lowest - 10240)))
}

# up NAME: starts it with NAME.yaml, and does not wait.
up() {
    rm -f "$1.at"
    "$psd" --config "$1.yaml" --announce "$1.at" 2>>"$1.log" &
    eval "pid_$1=$!"
    pids="$pids $!"
}

# ready NAME: waits until it is.
ready() {
    eval "pid=\$pid_$1"
    wait_until is_settled "$pid" "$1.at"
    [ -e "$1.at" ]
}

# down NAME: kill -9; its number may be another's soon.
down() {
    eval "pid=\$pid_$1"
    kill -9 "$pid"
    wait "$pid" 2>/dev/null
    pids=$(echo " $pids " | sed "s/ $pid / /")
}

# coordinator NAME SHARDS: a psd at a port that it finds again.
coordinator() {
    for try in 1 2 3 4 5 6 7 8; do
        next_port
        printf 'listen: tcp://127.0.0.1:%d\nshards: %d\nstate: "%s"\nshard_timeout: 1\n' \
            $port "$2" "$work/$1.state" >"$1.yaml"
        up "$1"
        ready "$1" && return
        wait "$pid"
    done
    echo "psd $1 does not start:" >&2
    tail -n 1 "$1.log" >&2
    failures=1
    exit 1
}

coordinator one 2
coordinator two 1
printf 'coordinator: %s\nshard_listen: tcp://127.0.0.1:0\nshards: 1\nstate: "%s"\n' \
    "$(cat two.at)" "$work/more.state" >more.yaml
up more
ready more

# ---- what the seed says -------------------------------------------------------------------

# For each round one line: for each of three kills the milliseconds before it and until psd
# comes again, whether it is killed once more at once, and which of two psds it is.
awk -v seed="$seed" -v rounds="$rounds" '
function draw(n) {
    seed = (seed * 16807 + 11) % 2147483647
    return int(seed / 2147483647 * n)
}
BEGIN {
    draw(1)
    for (i = 0; i < rounds; i++) {
        line = 1 + draw(3)
        for (k = 0; k < 3; k++)
            line = line " " 150 + draw(700) " " draw(300) " " (draw(4) == 0) " " draw(3)
        print line
    }
}' >plan

# ---- a round ------------------------------------------------------------------------------

pause() { # MILLISECONDS
    sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"
}

now() {
    date +%s.%N
}

# went_on SINCE: has each worker had an iteration acknowledged after that?
went_on() {
    for rank in 0 1 2; do
        tail -n 1 "journal-$rank" | awk -v since="$1" \
            '$1 == "a" && $3 > since { found = 1 } END { exit !found }' || return 1
    done
}

# Or will it never?
settled() {
    went_on "$1" || is_zombie $worker_0 || is_zombie $worker_1 || is_zombie $worker_2
}

# kill_some AGAIN: the round's victims, and starts them again after $away ms.
kill_some() {
    for name in $victims; do
        down "$name"
        kills=$((kills + 1))
    done
    pause "$1"
    restarted=$(now)
    for name in $victims; do
        up "$name"
    done
}

# one_kill BEFORE AWAY AGAIN WHICH: and looks what the workers say.
one_kill() {
    case $cluster$4 in
    one?) victims=one ;;
    two0) victims=two ;;
    two1) victims=more ;;
    two2) victims="two more" ;;
    esac
    pause "$1"
    killed=$(now)
    kill_some "$2"
    if [ "$3" -eq 1 ]; then
        pause $(($2 / 2))
        kill_some 20
    fi
    wait_until settled "$restarted"
    if ! went_on "$restarted"; then
        bad "the workers do not go on after a kill of $victims"
        return 1
    fi
    for rank in 0 1 2; do
        awk -v killed="$killed" '$1 == "b" && $4 > killed { found = 1 }
            END { exit !found }' "journal-$rank" || untold=$((untold + 1))
    done
    for rank in 0 1 2; do
        awk -v since="$restarted" '$1 == "a" && $3 > since { print $3 - since; exit }' \
            "journal-$rank"
    done | sort -n | tail -n 1 >>seconds
}

# all_ended: the workers, well?
all_ended() {
    for rank in 0 1 2; do
        eval "wait \$worker_$rank" || {
            bad "worker $rank: $(tail -n 1 worker-$rank.err)"
            return 1
        }
    done
}

# one_round NUMBER KILLS (BEFORE AWAY AGAIN WHICH)...
one_round() {
    round=$1 left=$2 kills=0 untold=0
    shift 2
    strategy=bsp every=$every_bsp ack=durable cluster=one
    [ $((round % 2)) -eq 1 ] || { strategy=asp every=$every_asp; }
    [ $(((round + 1) / 2 % 2)) -eq 1 ] || ack=applied
    kind=$ack most=0 allowed=
    [ $((round % 8)) -ne 3 ] || { kind=bounded most=$every allowed=$every; }
    [ $ack = applied ] || allowed=0
    [ $((round % 3)) -ne 0 ] || cluster=two
    rm -f stop journal-?
    PSW_COORDINATOR=$(cat $cluster.at) PSW_JOB=round-$round
    export PSW_COORDINATOR PSW_JOB
    for rank in 0 1 2; do
        PSW_RANK=$rank "$tally" work $strategy $ack $every $most 2>worker-$rank.err &
        eval "worker_$rank=$!"
        pids="$pids $!"
    done
    wait_until test -s journal-0 -a -s journal-1 -a -s journal-2
    while [ "$left" -gt 0 ] && one_kill "$1" "$2" "$3" "$4"; do
        shift 4
        left=$((left - 1))
    done
    : >stop
    result="- -"
    all_ended && result=$(PSW_OBSERVER=1 "$tally" check $strategy $ack $every $most 2>&1)
    back=$(awk '$1 == "b" && $2 - $3 > most { most = $2 - $3 } END { print most + 0 }' \
        journal-0 journal-1 journal-2)
    echo "$strategy $kind $((back > every)) $kills $result $back $untold" >>results
    [ "$result" = "0 0" ] || bad "lost and doubled: $result"
    [ "$untold" -eq 0 ] || bad "$untold workers were not told that the job went back"
    [ "$back" -le "${allowed:-$back}" ] ||
        bad "$back iterations taken back, expected $allowed at most"
    for rank in 0 1 2; do
        eval "pid=\$worker_$rank"
        pids=$(echo " $pids " | sed "s/ $pid / /")
    done
}

: >seconds
: >results
number_of=0
while read -r line; do
    number_of=$((number_of + 1))
    one_round $number_of $line
done <plan

# ---- the table ----------------------------------------------------------------------------

echo "strategy  ack      rounds  kills  lost  doubled  back(max)  above  untold"
for strategy in bsp asp; do
    for kind in durable applied bounded; do
        awk -v strategy=$strategy -v kind=$kind '$1 == strategy && $2 == kind {
                rounds++; above += $3; kills += $4; lost += $5; doubled += $6; untold += $8
                if ($7 > most) most = $7
            }
            END {
                if (rounds) printf "%-8s  %-7s  %6d  %5d  %4d  %7d  %9d  %5d  %6d\n",
                    strategy, kind, rounds, kills, lost, doubled, most, above, untold
            }' results
    done
done
sort -n seconds | awk -v seed="$seed" '{ s[NR] = $1 }
    function at(share) { i = int(share * NR); return s[i < share * NR ? i + 1 : i] }
    END {
        if (NR) printf "seconds from the restart of psd until every worker goes on: " \
            "p50 %.2f, p99 %.2f, of %d (seed %d)\n", at(0.5), at(0.99), NR, seed
    }'
[ "$failures" -eq 0 ]
