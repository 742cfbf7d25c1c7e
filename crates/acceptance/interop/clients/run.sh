#!/usr/bin/env bash
# Runs a script of this folder with SIP clients from Debian and PyPI.
#
#   run.sh clients BINARY VENV [--check] [--print] [--only NAME,...] [--without NAME,...]
#   run.sh registrars BINARY VENV [--only NAME,...]
#
# `clients` calls with each client under each policy and writes the table of docs/clients.md. With
# --check it compares with that table instead. `registrars` calls with phones that are registered
# at Kamailio.
#
# VENV is the virtual environment of the clients, created if missing. PYTHON names another
# interpreter than python3.
#
# Exit code: 0 all as expected, 1 a difference, 2 the test could not run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../python.sh"
if [ $# -lt 3 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
script=$1
begin "$script" "$2" "$3"
environment "$here/requirements.txt" --no-deps
drive "$here/$script.py" "${@:4}"
