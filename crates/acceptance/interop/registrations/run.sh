#!/usr/bin/env bash
# Registers phones behind a NAT through the program, with PJSIP from PyPI (registrations.py).
#
#   run.sh BINARY VENV [--only PART,...]
#
# VENV is the virtual environment of the clients, created if missing. PYTHON names another interpreter
# than python3.
#
# Exit code: 0 all as expected, 1 a difference, 2 the test could not run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../python.sh"
begin registrations "${@:1:2}"
environment "$here/../second_client/requirements.txt" --no-deps
drive "$here/registrations.py" "${@:3}"
