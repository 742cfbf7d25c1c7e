#!/usr/bin/env bash
# Calls through the program with two independent SIP clients, PJSIP and sippy, from PyPI.
#
#   run.sh BINARY [VENV]
#
# VENV is the virtual environment of the clients, created if missing. The default is a temporary
# directory. PYTHON names another interpreter than python3.
#
# Exit code: 0 all as expected, 1 a call or the server's totals differ, 2 the test could not run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../python.sh"
begin "second client" "$@"

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

environment "$here/requirements.txt" --no-deps
drive "$here/interop.py"
