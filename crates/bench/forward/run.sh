#!/usr/bin/env bash
# Forwards the same calls through `sip-authz serve` and through Kamailio in turn, at a fixed rate that
# both carry, each with one worker. Prints the processor time of each for a call, and the ratio. Fails if
# a call fails.
#
#   crates/bench/forward/run.sh [calls a second, default 200] [calls, default 4000] [rounds, default 3]
#
# A call is INVITE, 407, ACK, INVITE with a digest, 180, 200, ACK, BYE and 200, by sipp over UDP. With
# ONLY=ours only `sip-authz` is measured, and its memory is printed. Needs sipp and Kamailio.
set -euo pipefail
cd "$(dirname "$0")/../../.."
rate=${1:-200} calls=${2:-4000} rounds=${3:-3}
here=$PWD/crates/bench/forward
target=${CARGO_TARGET_DIR:-target}/release
[ -n "${NO_BUILD:-}" ] || cargo build --locked --release -p sip-authz-cli --features "${FEATURES:-sip-authz-cli/tls}"

work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
# what sipp cannot read at once waits here; its own size overflows in 15 ms
buffer=4000000
pbx=$(free_port) theirs=$(free_port) ours=$(free_port)
ha1=$(printf 'alice:example.com:secret' | md5sum | cut -d' ' -f1)
cat >"$work/edge.toml" <<END
realm = "example.com"
[[credential_lists]]
name = "users"
credentials = [{ username = "alice", ha1 = { md5 = "$ha1" } }]
[[domains]]
name = "digest.example.com"
credential_lists = ["users"]
END
chmod 600 "$work/edge.toml"
"$target/sip-authz" keys new "$work/keys" >/dev/null
"$target/sip-authz" serve --config "$work/edge.toml" --sip "127.0.0.1:$ours" --udp-workers 1 --api off \
    --on-accept "forward:127.0.0.1:$pbx" --forward-keys "$work/keys" --hop-probe 0 >"$work/ours.log" 2>&1 &
servers+=($!)
our_pids=$!
their_pids=
if [ "${ONLY:-}" != ours ]; then
    sed "s|@LISTEN@|127.0.0.1:$theirs|; s|@PBX@|127.0.0.1:$pbx|; s|@HA1@|$ha1|" "$here/kamailio.cfg" >"$work/kamailio.cfg"
    kamailio -f "$work/kamailio.cfg" -x fm -m 64 -M 16 -DD -E -Y "$work" -P "$work/kamailio.pid" \
        >"$work/kamailio.log" 2>&1 &
    servers+=($!)
    their_main=$!
fi
sipp -sf "$here/pbx.xml" -i 127.0.0.1 -p "$pbx" -nostdin -buff_size "$buffer" -trace_err -error_file "$work/pbx.err" \
    >/dev/null 2>&1 &
servers+=($!)
pbx_main=$!
# waits until a process has opened this UDP port
opened() { # port pid log
    for _ in $(seq 600); do
        ! grep -q ":$(printf '%04X' "$1") " /proc/net/udp || return 0
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    cat "$3"
    exit 1
}
opened "$pbx" "$pbx_main" "$work/pbx.err"
opened "$ours" "$our_pids" "$work/ours.log"
if [ "${ONLY:-}" != ours ]; then
    opened "$theirs" "$their_main" "$work/kamailio.log"
    # Kamailio starts its children
    sleep 2
    their_pids="$their_main $(pgrep -P "$their_main" | tr '\n' ' ')"
fi

# user time and system time of processes, in clock ticks
ticks() {
    local user=0 system=0 pid fields
    for pid in "$@"; do
        read -ra fields <"/proc/$pid/stat"
        user=$((user + fields[13])) system=$((system + fields[14]))
    done
    echo "$user $system"
}
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

hertz=$(getconf CLK_TCK)
measure() { # name port pids…
    local name=$1 port=$2 user system before
    shift 2
    read -r user system < <(ticks "$@")
    before="$user $system"
    timeout "$((calls / rate + 60))" sipp -sf "$here/caller.xml" "127.0.0.1:$port" -i 127.0.0.1 -m "$calls" -r "$rate" -l 100000 -nostdin \
        -buff_size "$buffer" \
        -trace_err -error_file "$work/caller.err" >"$work/caller.log" 2>&1 || {
        {
            echo "$name: calls failed"
            tail -n 40 "$work/caller.log"
            tail -n 20 "$work"/*.err "$work"/*.log 2>/dev/null || true
        } >&2
        exit 1
    }
    read -r user system < <(ticks "$@")
    user=$((user - ${before% *})) system=$((system - ${before#* }))
    awk -v user="$user" -v system_="$system" -v hertz="$hertz" -v calls="$calls" -v name="$name" 'BEGIN {
        each = 1e6 / hertz / calls
        printf "%-10s %8.1f µs of processor time for a call: %.1f in the program, %.1f in the system\n",
            name, (user + system_) * each, user * each, system_ * each }' >&2
    echo "$((user + system))"
}

ours_best=999999999 theirs_best=999999999
for _ in $(seq "$rounds"); do
    ours_now=$(measure sip-authz "$ours" "$our_pids")
    [ "$ours_now" -ge "$ours_best" ] || ours_best=$ours_now
    if [ -n "$their_pids" ]; then
        # shellcheck disable=SC2086
        theirs_now=$(measure Kamailio "$theirs" $their_pids)
        [ "$theirs_now" -ge "$theirs_best" ] || theirs_best=$theirs_now
    else
        echo "memory: $(rss "$our_pids") KiB"
    fi
done
if [ -n "$their_pids" ]; then
    awk -v ours="$ours_best" -v theirs="$theirs_best" \
        'BEGIN { printf "sip-authz takes %.2f times the processor time of Kamailio\n", ours / theirs }'
fi
