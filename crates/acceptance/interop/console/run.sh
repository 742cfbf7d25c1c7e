#!/usr/bin/env bash
# Drives the console with Debian's Chromium, Selenium (PyPI), axe-core (npm) and sipp.
#
#   run.sh BINARY VENV [--pictures]
#
# VENV is the virtual environment, created if missing. With --pictures, the screenshots in docs/images
# are made again. PYTHON names another interpreter than python3.
#
# Exit code: 0 all as expected, 1 a check failed, 2 the test could not run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../python.sh"
pictures=()
if [ "${3:-}" = --pictures ]; then
    pictures=(--pictures "$here/../../../../docs/images")
    set -- "$1" "$2"
fi
begin "console" "$@"

environment "$here/requirements.txt"
axe=$venv/npm/node_modules/axe-core/axe.min.js
version=4.14.1
if ! grep -q "\"version\": \"$version\"" "${axe%/*}/package.json" 2>/dev/null; then
    timeout 300 npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$venv/npm" \
        "axe-core@$version" || give_up "axe-core cannot be installed from npm"
fi
drive "$here/console.py" "$axe" "${pictures[@]}"
