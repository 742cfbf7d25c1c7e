#!/usr/bin/env bash
# One run end to end: the official Python client changes what is stored, and sipp calls after each
# change.
#
#   crates/acceptance/interop/end_to_end/run.sh BINARY [VENV]
#
# VENV is where the client's virtual environment is made, or was made by an earlier run. Without it,
# it is made in a temporary directory. PYTHON names another interpreter than python3.
#
# Exit code: 0 all as expected, 1 a step differs, 2 it could not be tried.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../python.sh"
begin "end to end" "$@"

command -v sipp >/dev/null || give_up "there is no sipp (Debian: sip-tester)"
environment "$here/../../rest_client/requirements.txt"
drive "$here/end_to_end.py"
