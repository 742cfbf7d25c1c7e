#!/usr/bin/env bash
# One run end to end: the official Python client changes what is stored, and sipp calls after each
# change.
#
#   tests/interop/end_to_end/run.sh BINARY [VENV]
#
# VENV is where the client's virtual environment is made, or was made by an earlier run. Without it,
# it is made in a temporary directory. PYTHON names another interpreter than python3.
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
    echo "end to end: $*" >&2
    exit 2
}

[ -x "$binary" ] || give_up "$binary is no program"
command -v sipp >/dev/null || give_up "there is no sipp (Debian: sip-tester)"
command -v "$python" >/dev/null || give_up "there is no $python"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
venv=${2:-$scratch/venv}

# what an environment has already is not fetched again
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv "$venv" ||
        give_up "$python cannot make a virtual environment (Debian: python3-venv)"
fi
timeout 300 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --root-user-action=ignore -r "$here/../../rest_client/requirements.txt" ||
    give_up "the client cannot be installed from PyPI"

mkdir "$scratch/run"
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/end_to_end.py" "$binary" "$scratch/run" &
# who ends this script ends what it started
trap 'kill $! 2>/dev/null || true' HUP INT TERM
code=0
wait $! || code=$?
wait $! 2>/dev/null || true
exit "$code"
