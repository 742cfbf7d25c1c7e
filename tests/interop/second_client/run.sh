#!/usr/bin/env bash
# Calls through the program with two SIP clients that are not ours, PJSIP and sippy, from PyPI.
#
#   run.sh BINARY [VENV]
#
# VENV is where their virtual environment is made, or was made by an earlier run. Without it, it is
# made in a temporary directory. PYTHON names another interpreter than python3.
#
# Exit code: 0 all as expected, 1 a call or the server's totals differ, 2 it could not be tried.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 BINARY [VENV]" >&2
    exit 2
fi
binary=$1
python=${PYTHON:-python3}

give_up() {
    echo "second client: $*" >&2
    exit 2
}

[ -x "$binary" ] || give_up "$binary is no program"
command -v "$python" >/dev/null || give_up "there is no $python"
"$python" - <<'PY' || exit 2
import platform, sys
found = f"CPython {platform.python_version()} on {sys.platform} {platform.machine()}"
libc, version = platform.libc_ver()
if libc:
    found += f", {libc} {version}"
fits = (
    platform.python_implementation() == "CPython"
    and (3, 10) <= sys.version_info[:2] <= (3, 12)
    and sys.platform == "linux"
    and platform.machine() == "x86_64"
    and libc == "glibc"
    and tuple(int(part) for part in version.split(".")[:2]) >= (2, 34)
)
if not fits:
    sys.exit(
        "second client: the pinned wheels of pjsua2-python and elperiodic need CPython 3.10 to 3.12"
        f" on Linux x86_64 with glibc 2.34 or later; this is {found}."
        " PYTHON=… chooses another interpreter."
    )
PY

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
venv=${2:-$scratch/venv}

# an environment of an earlier run serves again if nothing changed
stamp="$("$python" -VV) $(cat "$here/requirements.txt")"
if [ "$(cat "$venv/stamp" 2>/dev/null || true)" != "$stamp" ]; then
    "$python" -m venv --clear "$venv" ||
        give_up "$python cannot make a virtual environment (Debian: python3-venv)"
    timeout 300 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        -r "$here/requirements.txt" || give_up "the clients cannot be installed from PyPI"
    printf '%s' "$stamp" >"$venv/stamp"
fi

mkdir "$scratch/run"
PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$here/interop.py" "$binary" "$scratch/run" &
# who ends this script ends what it started
trap 'kill $! 2>/dev/null || true' HUP INT TERM
code=0
wait $! || code=$?
wait $! 2>/dev/null || true
exit "$code"
