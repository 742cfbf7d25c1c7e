#!/usr/bin/env bash
# Calls through Kamailio, which asks the program for each call, with docs/recipes/kamailio.cfg.
#
#   crates/acceptance/interop/behind_kamailio/run.sh BINARY
#
# Exit code: 0 all as expected, 1 a call differs, 2 the test could not run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=${1:?usage: $0 BINARY}
# Debian installs kamailio there
PATH=$PATH:/usr/sbin
for program in kamailio sipp python3; do
    command -v "$program" >/dev/null || { echo "behind kamailio: there is no $program" >&2; exit 2; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
PYTHONDONTWRITEBYTECODE=1 python3 "$here/behind_kamailio.py" "$binary" "$scratch/run"
