#!/usr/bin/env bash
# Runs a real Prometheus against the program under load. Its counts must equal those of the load tool.
# Then evaluates the queries of the dashboard and of the alerts:
# crates/acceptance/metrics/run.sh PROGRAM LOAD [PICTURE.png]
# Needs Debian's `prometheus`; the picture needs matplotlib (PyPI), in the Python that PYTHON names.
set -euo pipefail
cd "$(dirname "$0")/../../.."
promtool check rules docs/prometheus-alerts.yml
promtool test rules crates/acceptance/metrics/alerts.yml
exec "${PYTHON:-python3}" crates/acceptance/metrics/run.py "$@"
