# lib.sh - what every system test shares: real processes, in a folder of their own.
#
#     . "$top_srcdir/tests/system/lib.sh"
#     plan 2
#     psd_start first --set shards=2
#     ok "it answers" "$psctl" --coordinator="$endpoint" status
#     psd_stop first
#     is "it ends cleanly" "$code" 0
#
# Prints TAP; the exit code says whether all went well.  Works in a fresh folder, which
# is left behind (and named) only when a test failed.  What was started here is ended
# here, by its number.  Waits have a deadline that only a broken psd reaches.

: "${top_srcdir:?}" "${top_builddir:?}"

psd=$top_builddir/psd
psctl=$top_builddir/psctl
psexp=$top_builddir/psexp

deadline=180 # seconds
planned=0
number=0
failures=0
pids=

work=$(mktemp -d "${TMPDIR:-/tmp}/psd-test-XXXXXX") || exit 99
cd "$work" || exit 99

clean_up() {
    for pid in $pids; do
        kill -9 "$pid" 2>/dev/null
    done
    wait 2>/dev/null
    if [ "$number" -ne "$planned" ]; then
        echo "# planned $planned tests, ran $number"
        failures=$((failures + 1))
    fi
    cd /
    if [ "$failures" -eq 0 ]; then
        rm -rf "$work"
    else
        echo "# $failures failed, see $work"
        exit 1
    fi
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

plan() {
    planned=$1
    echo "1..$planned"
}

skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

# report CODE NAME
report() {
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        failures=$((failures + 1))
    fi
}

# ok NAME COMMAND...: the command succeeds.
ok() {
    name=$1
    shift
    "$@" >ok.out 2>&1
    code=$?
    report $code "$name"
    [ $code -eq 0 ] || { echo "# $* ended with $code:"; sed 's/^/# /' ok.out; }
}

# is NAME GOT EXPECTED
is() {
    [ "$2" = "$3" ]
    code_=$?
    report $code_ "$1"
    [ $code_ -eq 0 ] || echo "# got \"$2\", expected \"$3\""
}

# ends NAME CODE PATTERN COMMAND...: the command ends with this code and says this.
ends() {
    name=$1 expected=$2 pattern=$3
    shift 3
    timeout $deadline "$@" >ends.out 2>&1
    code=$?
    [ $code -eq "$expected" ] && grep -qe "$pattern" ends.out
    code_=$?
    report $code_ "$name"
    [ $code_ -eq 0 ] || {
        echo "# $* ended with $code, expected $expected and \"$pattern\":"
        sed 's/^/# /' ends.out
    }
}

# says NAME FILE PATTERN: the file has such a line, now or before the deadline.
says() {
    wait_until grep -qe "$3" "$2"
    code_=$?
    report $code_ "$1"
    [ $code_ -eq 0 ] || { echo "# \"$3\" is not in $2:"; sed 's/^/# /' "$2"; }
}

# wait_until COMMAND...: until it succeeds; fails at the deadline.
wait_until() {
    tries=$((deadline * 20))
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}

is_gone() {
    ! kill -0 "$1" 2>/dev/null
}

# is_settled PID FILE: the file is there, or the process is not.
is_settled() {
    [ -e "$2" ] || is_gone "$1"
}

# psd_start NAME OPTION...: a psd on a free port (unless an option says otherwise), ready.
# Its endpoint is in $endpoint, its process in $pid, its log in NAME.log.
psd_start() {
    name=$1
    shift
    rm -f "$name.at"
    "$psd" --set listen=tcp://127.0.0.1:0 --set log_level=debug "$@" \
        --announce="$name.at" 2>"$name.log" &
    pid=$!
    pids="$pids $pid"
    eval "pid_$name=$pid"
    wait_until is_settled $pid "$name.at"
    if [ ! -e "$name.at" ]; then
        echo "# psd $name did not start:"
        sed 's/^/# /' "$name.log"
        exit 1
    fi
    endpoint=$(cat "$name.at")
}

# psd_wait NAME: until it has ended; its exit code is in $code.
psd_wait() {
    eval "pid=\$pid_$1"
    wait_until is_zombie "$pid" || kill -9 "$pid"
    wait "$pid"
    code=$?
}

# psd_stop NAME [SIGNAL]: asks it to end and waits.
psd_stop() {
    eval "pid=\$pid_$1"
    kill "-${2:-TERM}" "$pid" 2>/dev/null
    psd_wait "$1"
}

# A child that has ended stays until it is waited for.
is_zombie() {
    is_gone "$1" || grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}

# port_of ENDPOINT
port_of() {
    echo "${1##*:}"
}
