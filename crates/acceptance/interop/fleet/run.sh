#!/usr/bin/env bash
# Tests edges on one etcd, as programs: TLS, client certificates and a password; changes that appear at
# the other edges; questions about decisions that all edges answer; changes that wait for all edges; a
# stopped edge, an edge whose network is cut, and an etcd that is stopped and restarted.
#
#   crates/acceptance/interop/fleet/run.sh BINARY [VENV]
#
# BINARY needs the feature `etcd`. VENV is the virtual environment of the official Python client,
# created if missing. The test creates a network namespace with `unshare`; if that is not allowed, it
# skips the network cut.
#
# Exit code: 0 all as expected, 1 a step differs, 2 the test could not run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../python.sh"
begin "fleet" "$@"

for tool in etcd:etcd-server etcdctl:etcd-client openssl:openssl; do
    command -v "${tool%%:*}" >/dev/null || give_up "there is no ${tool%%:*} (Debian: ${tool##*:})"
done
environment "$here/../../rest_client/requirements.txt"

for way in "unshare --net" "unshare --map-root-user --net"; do
    if $way sh -c 'ip link set lo up && ip link add here type veth peer name there' 2>/dev/null; then
        apart=($way)
        break
    fi
done

drive "$here/fleet.py" "${#apart[@]}"
