#!/usr/bin/env bash
# Measures the decision service, `sip-authz serve --decide`, which runs on one core, with a client on
# another: frames over a Unix socket and over TCP, and HTTP. Prints the time until an answer with one
# request under way, and the requests a second and the processor time for each when the core is busy. A
# wrong answer is an error.
#
#   crates/bench/decide/run.sh [seconds of each measurement, default 3]
#
# The two cores are 0 and 1, or those of SERVICE_CORE and CLIENT_CORE. Needs taskset. Linux only.
set -euo pipefail
cd "$(dirname "$0")/../../.."
seconds=${1:-3} service_core=${SERVICE_CORE:-0} client_core=${CLIENT_CORE:-1}
target=${CARGO_TARGET_DIR:-target}/release
# one by one: together they would be built with other features than by other tasks
cargo build --locked --release -p sip-authz-cli --features "${FEATURES:-sip-authz-cli/tls}" --bin sip-authz
cargo build --locked --release -p sip-authz-bench --bin decide-load

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
cat >"$work/edge.toml" <<'TOML'
realm = "example.com"
[[ip_access_control_lists]]
name = "office"
addresses = ["192.0.2.0/24"]
[[credential_lists]]
name = "users"
credentials = [{ username = "alice", password = "secret" }]
[[domains]]
name = "address.example.com"
ip_access_control_lists = ["office"]
[[domains]]
name = "digest.example.com"
credential_lists = ["users"]
TOML
chmod 600 "$work/edge.toml"
SIP_AUTHZ_DECIDE_TOKEN=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
export SIP_AUTHZ_DECIDE_TOKEN
: >"$work/out"
taskset -c "$service_core" "$target/sip-authz" serve --config "$work/edge.toml" --sip 127.0.0.1:0 \
    --udp-workers 1 --api off --on-accept ok --decide "unix:$work/decide.sock" --decide tcp:127.0.0.1:0 \
    --decide http:127.0.0.1:0 >"$work/out" 2>&1 &
server=$!
place() { sed -n "s/^listening for decisions on \($1:[^ ]*\).*/\1/p" "$work/out"; }
for _ in $(seq 100); do
    [ -z "$(place http)" ] || break
    sleep 0.1
done
[ -n "$(place http)" ] || { cat "$work/out"; exit 1; }

load() { # kind mode domain arguments…
    local place mode=$2 domain=$3
    place=$(place "$1")
    shift 3
    taskset -c "$client_core" "$target/decide-load" "$place" --mode "$mode" --domain "$domain.example.com" \
        --seconds "$seconds" --pid "$server" "$@"
}

echo
echo 'The service on one core, its clients on another.'
printf '%-26s %19s %31s\n' '' 'one under way, us' 'a busy core'
printf '%-26s %9s %9s %14s %16s\n' '' median p99 requests/s 'processor us'
for kind in unix tcp http; do
    # frames share a connection, HTTP requests do not
    if [ "$kind" = http ]; then busy=(--connections 64); else busy=(--connections 4 --window 64); fi
    for row in 'address address' 'digest digest' 'challenge digest'; do
        read -r mode domain <<<"$row"
        one=$(load "$kind" "$mode" "$domain")
        many=$(load "$kind" "$mode" "$domain" "${busy[@]}")
        printf '%s\n%s\n' "$one" "$many" | awk -v name="$kind, $mode" '
            /^us until/ && !median { median = $5; p99 = $7 }
            /^requests/ { rate = $2 }
            /^service us/ { used = $3 }
            END { printf "%-26s %9.1f %9.1f %14d %16.2f\n", name, median, p99, rate, used }'
    done
done
