#!/usr/bin/env bash
# Builds and installs libsip_authz by cargo-c, compares its header and its symbols, builds the example of
# docs/c-library.md outside the tree by pkg-config, and runs the C tests, also under Valgrind.
#
# Usage: crates/xtask/scripts/capi.sh TARGET [--renew]
# TARGET is the folder of build results, with the program of `cargo build --release -p sip-authz-cli`.
# --renew: write the header crates/capi/include/sip_authz.h.
set -euo pipefail
cd "$(dirname "$0")/../../.."
program=$(realpath "$1")/release/sip-authz
header=crates/capi/include/sip_authz.h
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The dev profile has overflow checks and debug assertions, and is soon compiled. The folder is that of
# cargo-c alone: its builds and those of cargo replace each other.
cargo cinstall --locked -p sip-authz-capi --profile dev --target-dir "$1/cargo-c" --prefix "$work/prefix" --libdir lib
installed=$work/prefix/include/sip_authz.h
if [ "${2:-}" = --renew ]; then
    cp "$installed" "$header"
elif ! diff -u "$header" "$installed"; then
    echo "the header is not what cbindgen makes; to write it: cargo xtask capi --renew" >&2
    exit 1
fi

library=$work/prefix/lib/libsip_authz.so
exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort)
declared=$(grep -oE '\bsip_authz_[a-z_]+\(' "$header" | tr -d '(' | sort -u)
if ! diff -u <(echo "$declared") <(echo "$exported"); then
    echo "the functions of the header (-) and the symbols of the library (+) differ" >&2
    exit 1
fi
echo "symbols: $(wc -l <<<"$exported")"
readelf -d "$library" | grep -F 'Library soname: [libsip_authz.so.0]'
c++ -x c++ -std=c++17 -Wall -Wextra -Werror -pedantic -fsyntax-only - -I"$work/prefix/include" \
    <<<'#include <sip_authz.h>'

export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig LD_LIBRARY_PATH=$work/prefix/lib
flags=(-std=c11 -g -Wall -Wextra -Werror -pedantic)
read -ra linked <<<"$(pkg-config --cflags --libs sip_authz)"

# the example, with a configuration that admits 192.0.2.0/24
outside=$work/outside
mkdir -m 700 "$outside"
awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/c-library.md >"$outside/example.c"
cc "${flags[@]}" -o "$outside/example" "$outside/example.c" "${linked[@]}"
cat >"$outside/edge.toml" <<'TOML'
[[ip_access_control_lists]]
name = "offices"
addresses = ["192.0.2.0/24"]
[[domains]]
name = "sip.example.com"
ip_access_control_lists = ["offices"]
TOML
printf '%s\r\n' 'INVITE sip:100@sip.example.com SIP/2.0' 'Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1' \
    'From: <sip:a@example.com>;tag=1' 'To: <sip:100@sip.example.com>' 'Call-ID: 1' 'CSeq: 1 INVITE' \
    'Max-Forwards: 70' 'Content-Length: 0' '' >"$outside/invite.sip"
# asks as the given address, and expects this line and this exit code
ask() {
    local code=0 line
    line=$("$outside/example" "file:$outside/edge.toml" "$1" <"$outside/invite.sip") || code=$?
    if [ "$line $code" != "$2" ]; then
        echo "expected: $2; got: $line $code" >&2
        exit 1
    fi
}
ask 192.0.2.7 'accept: sip.example.com 0'
ask 10.0.0.1 'refuse: 403 Forbidden (address-not-listed) 1'

mkdir -m 700 "$work/plain" "$work/valgrind"
memcheck=(valgrind --quiet --error-exitcode=99 --fair-sched=yes --leak-check=full
    --show-leak-kinds=definite,indirect,possible --errors-for-leak-kinds=definite,indirect,possible)
for test in engine service; do
    cc "${flags[@]}" -pthread -o "$work/$test" "crates/capi/tests/c/$test.c" "${linked[@]}" -lcrypto
done
"$work/engine" "$work/plain"
"$work/service" "$program" "$work/plain"
"${memcheck[@]}" "$work/engine" "$work/valgrind"
"${memcheck[@]}" "$work/service" "$program" "$work/valgrind"
