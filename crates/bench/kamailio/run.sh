#!/usr/bin/env bash
# Measures `sip-authz serve` and Kamailio in turn on the same core, each with one worker, with the same
# load from another core. Prints both results and their ratio. Fails if `sip-authz` answers fewer than
# MIN_RATIO times as many requests with digests.
#
#   crates/bench/kamailio/run.sh [seconds of each measurement, default 3] [rounds, default 3]
#
# Installs Kamailio from Debian's packages if it is missing. Needs two cores and taskset.
set -euo pipefail
cd "$(dirname "$0")/../../.."
seconds=${1:-3} rounds=${2:-3}
min_ratio=${MIN_RATIO:-2}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
if ! command -v kamailio >/dev/null; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq kamailio >/dev/null
fi
target=${CARGO_TARGET_DIR:-target}/release
cargo build --locked --release -p sip-authz-cli -p sip-authz-bench --features "${FEATURES:-sip-authz-cli/tls}" --bin sip-authz --bin load

work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
theirs=127.0.0.1:$(free_port)
ours=127.0.0.1:$(free_port)

# a thousand prefixes that do not contain the caller, for both
prefixes=$(for i in $(seq 0 999); do echo "10.$((i / 250)).$((i % 250)).0/24"; done)
for prefix in $prefixes; do echo "1 ${prefix%/*} 24 0"; done >"$work/addresses"
ha1=$(printf 'alice:example.com:secret' | md5sum | cut -d' ' -f1)
sed "s|@LISTEN@|$theirs|; s|@ADDRESSES@|$work/addresses|; s|@HA1@|$ha1|" \
    crates/bench/kamailio/kamailio.cfg >"$work/kamailio.cfg"
{
    echo 'realm = "example.com"'
    echo '[[ip_access_control_lists]]'
    echo 'name = "thousand"'
    echo "addresses = [$(for prefix in $prefixes; do printf '"%s", ' "$prefix"; done)]"
    echo '[[credential_lists]]'
    echo 'name = "users"'
    echo "credentials = [{ username = \"alice\", ha1 = { md5 = \"$ha1\" } }]"
    echo '[[domains]]'
    echo 'name = "acl.example.com"'
    echo 'ip_access_control_lists = ["thousand"]'
    echo '[[domains]]'
    echo 'name = "digest.example.com"'
    echo 'credential_lists = ["users"]'
} >"$work/edge.toml"
chmod 600 "$work/edge.toml"

# both run on the same core, but only one at a time has work
taskset -c 0 kamailio -f "$work/kamailio.cfg" -x fm -m 64 -M 16 -DD -E -Y "$work" \
    -P "$work/kamailio.pid" >"$work/kamailio.log" 2>&1 &
servers+=($!)
their_main=$!
taskset -c 0 "$target/sip-authz" serve --config "$work/edge.toml" --sip "$ours" --udp-workers 1 \
    --api off --on-accept redirect:sip:gw.example.net >"$work/ours.log" 2>&1 &
servers+=($!)
our_main=$!
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
opened "${theirs##*:}" "$their_main" "$work/kamailio.log"
opened "${ours##*:}" "$our_main" "$work/ours.log"
# Kamailio starts its children
sleep 2
their_pids=$(echo "$their_main" $(pgrep -P "$their_main") | tr ' ' ',')

load() { # server pids arguments…
    local server=$1 pids=$2
    shift 2
    taskset -c 1 "$target/load" "$server" --pid "$pids" --seconds "$seconds" "$@"
}

# best of the rounds: other load on the machine only lowers a result
measure() { # name expected-status arguments…
    local name=$1 status=$2 round out which
    shift 2
    declare -A rate=([theirs]=0 [ours]=0) used=([theirs]=999 [ours]=999)
    for round in $(seq "$rounds"); do
        for which in theirs ours; do
            if [ "$which" = theirs ]; then out=$(load "$theirs" "$their_pids" "$@")
            else out=$(load "$ours" "$our_main" "$@"); fi
            # almost every answer must have the expected status
            awk -v status="$status" -v name="$name $which" '/^answers/ {
                    for (i = 2; i <= NF; i++) { split($i, part, ":"); all += part[2]
                        if (index("," status ",", "," part[1] ",")) good += part[2] } }
                END { if (good < 0.99 * all || all == 0) { print name ": wrong answers"; exit 1 } }' \
                <<<"$out" || { echo "$out"; exit 1; }
            rate[$which]=$(awk -v best="${rate[$which]}" \
                '/^requests\/s/ { print ($2 > best) ? $2 : best }' <<<"$out")
            used[$which]=$(awk -v best="${used[$which]}" \
                '/^server us/ { print ($3 < best) ? $3 : best }' <<<"$out")
        done
    done
    awk -v name="$name" -v t="${rate[theirs]}" -v o="${rate[ours]}" \
        -v tu="${used[theirs]}" -v ou="${used[ours]}" 'BEGIN {
            printf "%-34s %10d %10d %7.2f %10.2f %10.2f %7.2f\n", name, t, o, o / t, tu, ou, tu / ou }'
    ratio=$(awk -v t="${rate[theirs]}" -v o="${rate[ours]}" 'BEGIN { print o / t }')
}

echo
kamailio -v | head -1
printf '%-34s %21s %7s %21s %7s\n' '' 'requests a second' '' 'processor us/request' ''
printf '%-34s %10s %10s %7s %10s %10s %7s\n' 'one core, saturated' Kamailio ours ratio Kamailio ours ratio
measure 'OPTIONS, answered 200' 200 --mode options
measure 'INVITE challenged, 407' 407 --mode challenge --domain digest.example.com
measure 'address list of 1,000, miss, 403' 403 --mode acl --domain acl.example.com
measure 'challenge, then digest' 407,302 --mode call --domain digest.example.com --sockets 64
measure 'digest, nonce count going up, 302' 302 --mode digest --domain digest.example.com
awk -v ratio="$ratio" -v min="$min_ratio" 'BEGIN {
    if (ratio < min) { print "ours answers only " ratio " times as many digests"; exit 1 } }'
