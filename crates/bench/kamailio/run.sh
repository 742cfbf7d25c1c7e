#!/usr/bin/env bash
# Measures `sip-authz serve` and Kamailio in turn on the same core, each with one worker, with the same
# load from another core. Prints both results and their ratio. Fails if `sip-authz` answers fewer than
# MIN_RATIO times as many requests with digests.
#
#   crates/bench/kamailio/run.sh [--module authz.so] [seconds of each measurement, default 3] [rounds, default 3]
#
# With --module and the module authz.so of kamailio/build.sh, it measures Kamailio with its own modules, with this module and a
# decision service, and with this module and its own decision process, without a limit. The service and the process are
# on the same core as Kamailio, and their processor time counts too.
#
# Installs Kamailio from Debian's packages if it is missing. Needs two cores and taskset.
set -euo pipefail
module=
if [ "${1-}" = --module ]; then
    module=$(realpath "${2:?usage: $0 --module authz.so}")
    shift 2
fi
seconds=${1:-3} rounds=${2:-3}
min_ratio=${MIN_RATIO:-2}
cd "$(dirname "$0")/../../.."

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
if ! command -v kamailio >/dev/null; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq kamailio >/dev/null
fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}/release")
# one by one: together they would be built with other features than by other tasks
cargo build --locked --release -p sip-authz-cli --features "${FEATURES:-sip-authz-cli/tls}" --bin sip-authz
cargo build --locked --release -p sip-authz-bench --bin load

work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; wait; rm -rf "$work"' EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
if [ -n "$module" ]; then names=(theirs service process); else names=(theirs ours); fi
declare -A title=([theirs]=Kamailio [ours]=ours [service]=service [process]=process)
declare -A address pids
for name in "${names[@]}"; do address[$name]=127.0.0.1:$(free_port); done

# a thousand prefixes that do not contain the caller, for both
prefixes=$(for i in $(seq 0 999); do echo "10.$((i / 250)).$((i % 250)).0/24"; done)
for prefix in $prefixes; do echo "1 ${prefix%/*} 24 0"; done >"$work/addresses"
ha1=$(printf 'alice:example.com:secret' | md5sum | cut -d' ' -f1)
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

# a process with its children and theirs
family() {
    local child
    echo "$1"
    for child in $(pgrep -P "$1"); do family "$child"; done
}

# all run on the same core, but only one at a time has work
start_kamailio() { # name parameters options…
    local name=$1 parameters=$2 folder=$work/$1
    shift 2
    mkdir "$folder"
    sed "s|@LISTEN@|${address[$name]}|; s|@ADDRESSES@|$work/addresses|; s|@HA1@|$ha1|; s|@MODULE@|$module|;
        s|@PARAMETERS@|$parameters|" crates/bench/kamailio/kamailio.cfg >"$folder/kamailio.cfg"
    taskset -c 0 kamailio -f "$folder/kamailio.cfg" -x fm -m 64 -M 16 -DD -E -Y "$folder" \
        -P "$folder/kamailio.pid" "$@" >"$work/$name.log" 2>&1 &
    servers+=($!)
    pids[$name]=$!
}
start_program() { # name options…
    local name=$1
    shift
    taskset -c 0 "$target/sip-authz" serve --config "$work/edge.toml" --api off "$@" >"$work/$name.log" 2>&1 &
    servers+=($!)
}
parameter() { echo "modparam(\"authz\", \"$1\", \"$2\")"; }

start_kamailio theirs ''
if [ -n "$module" ]; then
    start_program decide --decide "unix:$work/decide.sock"
    start_kamailio service "$(parameter service "unix:$work/decide.sock")" -A WITH_AUTHZ
    pids[service]+=" ${servers[1]}"
    start_kamailio process "$(parameter mode process) $(parameter program "$target/sip-authz") $(
        parameter config "$work/edge.toml") $(parameter socket "$work/private/decide.sock")" -A WITH_AUTHZ
else
    start_program ours --sip "${address[ours]}" --udp-workers 1 --on-accept redirect:sip:gw.example.net
    pids[ours]=$!
fi
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
for name in "${names[@]}"; do
    opened "${address[$name]##*:}" "${pids[$name]%% *}" "$work/$name.log"
done
# Kamailio starts its children, and the decision processes start
sleep 2
for name in "${names[@]}"; do
    all=
    for pid in ${pids[$name]}; do
        kill -0 "$pid" || { cat "$work"/*.log; exit 1; }
        all+=" $(family "$pid" | tr '\n' ' ')"
    done
    pids[$name]=$(echo $all | tr ' ' ',')
done

load() { # server pids arguments…
    local server=$1 pids=$2
    shift 2
    taskset -c 1 "$target/load" "$server" --pid "$pids" --seconds "$seconds" "$@"
}

# best of the rounds: other load on the machine only lowers a result
measure() { # name expected-status arguments…
    local name=$1 status=$2 round out which
    shift 2
    declare -gA rate=() used=()
    for round in $(seq "$rounds"); do
        for which in "${names[@]}"; do
            out=$(load "${address[$which]}" "${pids[$which]}" "$@")
            # almost every answer must have the expected status
            awk -v status="$status" -v name="$name ${title[$which]}" '/^answers/ {
                    for (i = 2; i <= NF; i++) { split($i, part, ":"); all += part[2]
                        if (index("," status ",", "," part[1] ",")) good += part[2] } }
                END { if (good < 0.99 * all || all == 0) { print name ": wrong answers"; exit 1 } }' \
                <<<"$out" || { echo "$out"; exit 1; }
            rate[$which]=$(awk -v best="${rate[$which]:-0}" \
                '/^requests\/s/ { print ($2 > best) ? $2 : best }' <<<"$out")
            used[$which]=$(awk -v best="${used[$which]:-999}" \
                '/^server us/ { print ($3 < best) ? $3 : best }' <<<"$out")
        done
    done
    printf '%-34s' "$name"
    for which in "${names[@]}"; do printf ' %10.0f' "${rate[$which]}"; done
    [ -n "$module" ] || awk -v t="${rate[theirs]}" -v o="${rate[ours]}" 'BEGIN { printf " %7.2f", o / t }'
    for which in "${names[@]}"; do printf ' %10.2f' "${used[$which]}"; done
    [ -n "$module" ] || awk -v t="${used[theirs]}" -v o="${used[ours]}" 'BEGIN { printf " %7.2f", t / o }'
    echo
}

echo
kamailio -v | head -1
columns=$(for name in "${names[@]}"; do printf ' %10s' "${title[$name]}"; done)
[ -n "$module" ] || columns+=$(printf ' %7s' ratio)
printf '%-34s %-*s %s\n' '' "$((${#columns} - 1))" 'requests a second' 'processor us/request'
printf '%-34s%s%s\n' 'one core, saturated' "$columns" "$columns"
measure 'OPTIONS, answered 200' 200 --mode options
measure 'INVITE challenged, 407' 407 --mode challenge --domain digest.example.com
measure 'address list of 1,000, miss, 403' 403 --mode acl --domain acl.example.com
measure 'challenge, then digest' 407,302 --mode call --domain digest.example.com --sockets 64
measure 'digest, nonce count going up, 302' 302 --mode digest --domain digest.example.com
[ -n "$module" ] || awk -v t="${rate[theirs]}" -v o="${rate[ours]}" -v min="$min_ratio" 'BEGIN {
    if (o / t < min) { print "ours answers only " o / t " times as many digests"; exit 1 } }'
