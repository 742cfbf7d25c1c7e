#!/usr/bin/env bash
# An end-to-end test: the official Python client makes changes, and sipp calls after each change.
#
#   crates/acceptance/interop/end_to_end/run.sh BINARY [VENV]
#
# VENV is the virtual environment of the client, created if missing. The default is a temporary
# directory. PYTHON names another interpreter than python3.
#
# Exit code: 0 all as expected, 1 a step differs, 2 the test could not run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../python.sh"
begin "end to end" "$@"

command -v sipp >/dev/null || give_up "there is no sipp (Debian: sip-tester)"
environment "$here/../../rest_client/requirements.txt"
drive "$here/end_to_end.py"
