#!/usr/bin/env bash
# Sends `sip-authz serve`, which runs on one core, good requests from callers that it has accepted
# before, and a flood of bad ones: twice as many as it can answer, or as many as the other core can
# send. Half of the bad requests have wrong digests, half have none. Prints the results of both and the
# memory of the program over time. Fails if an answer is wrong, if more than MAX_LOST percent of the good
# requests (default 1) get no answer within a fifth of a second, or if the memory grows.
#
#   crates/bench/soak.sh [seconds, default 600]
#
# Needs two cores and taskset. Linux only.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
target=${CARGO_TARGET_DIR:-target}/release
# one by one: together they would be built with other features than by other tasks
cargo build --locked --release -p sip-authz-cli --features "${FEATURES:-sip-authz-cli/tls}" --bin sip-authz
cargo build --locked --release -p sip-authz-bench --bin load

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
cat >"$work/edge.toml" <<'TOML'
realm = "example.com"
[[credential_lists]]
name = "users"
credentials = [{ username = "alice", password = "secret" }]
[[domains]]
name = "example.com"
credential_lists = ["users"]
TOML
chmod 600 "$work/edge.toml"
: >"$work/out"
taskset -c 0 "$target/sip-authz" serve --config "$work/edge.toml" --sip 127.0.0.1:0 \
    --udp-workers 1 --api off --on-accept redirect:sip:gw.example.net >"$work/out" 2>&1 &
server=$!
for _ in $(seq 600); do
    address=$(sed -n 's/^listening for SIP on \([^ ]*\).*/\1/p' "$work/out")
    [ -z "$address" ] || break
    sleep 0.1
done
[ -n "$address" ] || { cat "$work/out"; exit 1; }
load() { taskset -c 1 "$target/load" "$address" "$@"; }

capacity=0
for mode in wrong challenge; do
    rate=$(load --mode $mode --from 127.0.0.2 --seconds 3 | awk '/^requests\/s/ { print $2 }')
    echo "one core answers, when no more is sent than it answers: $rate a second of the mode $mode"
    capacity=$((rate > capacity ? rate : capacity))
done
echo "for $seconds s: $((2 * capacity)) bad requests a second, 1,000 right ones"
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$server/status"; }
load --mode flood --sockets 16 --flood-rate $((2 * capacity)) --good-rate 1000 --seconds 5 >/dev/null
first=$(memory)
begun=$SECONDS
{
    while sleep $((seconds > 60 ? 30 : 5)); do
        echo "after $((SECONDS - begun)) s: $(memory) KiB"
    done
} &
watch=$!
load --mode flood --sockets 16 --flood-rate $((2 * capacity)) --good-rate 1000 \
    --seconds "$seconds" --pid "$server" | tee "$work/flood"
kill "$watch"
last=$(memory)
echo "memory: $first KiB before, $last KiB after"
kill "$server"
wait "$server" || true
server=
grep '^totals' "$work/out"

awk -v first="$first" -v last="$last" -v max="${MAX_LOST:-1}" '
    function fail(why) { print why; failed = 1 }
    # 407 for a request for a new nonce
    /^good answers/ { for (i = 3; i <= NF; i++) { split($i, part, ":"); good += part[2]
        if (part[1] != 302 && part[1] != 407) fail("a good request got " part[1]) } }
    /^bad answers/ { for (i = 3; i <= NF; i++) { split($i, part, ":")
        if (part[1] != 403 && part[1] != 407) fail("a bad request got " part[1]) } }
    /^good lost/ { lost = $3 }
    END {
        printf "good requests without an answer: %.3f %%\n", 100 * lost / (good + lost)
        if (good == 0 || lost > max / 100 * (good + lost)) fail("too many good requests got no answer")
        if (last > 1.1 * first + 1024) fail("the memory has grown")
        exit failed
    }' "$work/flood"
