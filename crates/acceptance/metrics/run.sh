#!/usr/bin/env bash
# A real Prometheus scrapes the program while it is under load. Its figures must be those of the load
# tool; the queries of the dashboard and of the alerts are asked of it:
# crates/acceptance/metrics/run.sh PROGRAM LOAD [PICTURE.png]
# Needs Debian's `prometheus`; the picture needs matplotlib (PyPI), in the Python that PYTHON names.
set -euo pipefail
cd "$(dirname "$0")/../../.."
promtool check rules docs/prometheus-alerts.yml
promtool test rules crates/acceptance/metrics/alerts.yml
exec "${PYTHON:-python3}" crates/acceptance/metrics/run.py "$@"
