#!/usr/bin/env bash
# Compares the public interface with docs/public-api.txt, where it is listed item by item, so that no
# change to it goes unseen. With --renew, writes the list anew.
#
# Usage: crates/xtask/scripts/public_api.sh [--renew]
set -euo pipefail
cd "$(dirname "$0")/../../.."
list=docs/public-api.txt

command -v cargo-public-api >/dev/null || cargo install cargo-public-api --version 0.52.0 --locked --quiet
found=$(mktemp)
trap 'rm -f "$found"' EXIT
# without what is derived, blanket or automatic
cargo +nightly public-api -p sip-authz --features rsip,serde,metrics,tracing -sss >"$found"
if [ "${1:-}" = --renew ]; then
    cp "$found" "$list"
elif ! diff -u "$list" "$found"; then
    echo "the public interface is not what $list says; if that is meant, renew the list:"
    echo "    crates/xtask/scripts/public_api.sh --renew"
    exit 1
fi
