#!/usr/bin/env bash
# Edges of one etcd, as programs: with TLS, client certificates and a password; a change at one shows
# at the others; changes that wait for all edges; an edge that is stopped, one whose network is cut,
# an etcd that is away or starts anew.
#
#   crates/acceptance/interop/fleet/run.sh BINARY [VENV]
#
# BINARY has the feature `etcd`. VENV is where the virtual environment of the official Python client is
# made, or was made by an earlier run. It has a network of its own, by `unshare`; where that is not
# allowed, no network is cut.
#
# Exit code: 0 all as expected, 1 a step differs, 2 it could not be tried.
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
