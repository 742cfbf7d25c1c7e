#!/usr/bin/env bash
# Edges of one etcd, as programs: with TLS, client certificates and a password; a change at one shows
# at the others; changes that wait for all edges; an edge that is stopped, one whose network is cut,
# an etcd that is away or starts anew.
#
#   tests/interop/fleet/run.sh BINARY [VENV]
#
# BINARY has the feature `etcd`. VENV is where the virtual environment of the official Python client is
# made, or was made by an earlier run. It has a network of its own, by `unshare`; where that is not
# allowed, no network is cut.
#
# Exit code: 0 all as expected, 1 a step differs, 2 it could not be tried.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 BINARY [VENV]" >&2
    exit 2
fi
binary=$1
python=${PYTHON:-python3}

give_up() {
    echo "fleet: $*" >&2
    exit 2
}

[ -x "$binary" ] || give_up "$binary is no program"
for tool in etcd:etcd-server etcdctl:etcd-client openssl:openssl "$python:python3"; do
    command -v "${tool%%:*}" >/dev/null || give_up "there is no ${tool%%:*} (Debian: ${tool##*:})"
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
venv=${2:-$scratch/venv}
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv "$venv" ||
        give_up "$python cannot make a virtual environment (Debian: python3-venv)"
fi
timeout 300 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --root-user-action=ignore -r "$here/../../rest_client/requirements.txt" ||
    give_up "the client cannot be installed from PyPI"

apart=()
for way in "unshare --net" "unshare --map-root-user --net"; do
    if $way sh -c 'ip link set lo up && ip link add here type veth peer name there' 2>/dev/null; then
        apart=($way)
        break
    fi
done

mkdir "$scratch/run"
PYTHONDONTWRITEBYTECODE=1 "${apart[@]}" "$venv/bin/python" "$here/fleet.py" "$binary" \
    "$scratch/run" "${#apart[@]}" &
trap 'kill $! 2>/dev/null || true' HUP INT TERM
code=0
wait $! || code=$?
wait $! 2>/dev/null || true
exit "$code"
