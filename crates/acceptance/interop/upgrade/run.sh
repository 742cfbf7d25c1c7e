#!/usr/bin/env bash
# Upgrades three edges on one etcd, one by one, under calls and changes: from a build of the version before formats to
# this one, once back, and to the end with `sip-authz upgrade finish`.
#
#   crates/acceptance/interop/upgrade/run.sh BINARY [VENV]
#
# BINARY needs the feature `etcd`. VENV is the virtual environment of the official Python client,
# created if missing. The old version is built from git beside BINARY's folder, and kept there. A clone without its commit
# cannot run the test, and says so.
#
# Exit code: 0 all as expected or no history, 1 a step differs, 2 the test could not run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../python.sh"
begin "upgrade" "$@"

# the last commit before groups of changes, incarnations and formats
commit=268e399
for tool in etcd:etcd-server git:git tar:tar; do
    command -v "${tool%%:*}" >/dev/null || give_up "there is no ${tool%%:*} (Debian: ${tool##*:})"
done

target=$(cd "$(dirname "$binary")/.." && pwd)
old=$target/upgrade/sip-authz-$commit
if [ ! -x "$old" ]; then
    if ! git -C "$here" cat-file -e "$commit^{commit}" 2>/dev/null; then
        echo "upgrade: skipped, as this clone has no commit $commit (git fetch --unshallow)"
        exit 0
    fi
    mkdir -p "$target/upgrade/source"
    # of the whole repository, not of this folder
    git -C "$(git -C "$here" rev-parse --show-toplevel)" archive "$commit" |
        tar -x -C "$target/upgrade/source"
    # cargo takes crates of two versions of a workspace for the same, so they have folders of their own
    (cd "$target/upgrade/source" && CARGO_PROFILE_DEV_DEBUG=0 \
        cargo build --locked -p sip-authz-cli --features etcd --target-dir "$target/upgrade/build")
    mv "$target/upgrade/build/debug/sip-authz" "$old"
    rm -r "$target/upgrade/source" "$target/upgrade/build"
fi
! "$old" upgrade --help >/dev/null 2>&1 || give_up "$old is not the earlier version"

environment "$here/../../rest_client/requirements.txt"
drive "$here/upgrade.py" "$old"
