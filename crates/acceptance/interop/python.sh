# Functions for scripts that test the program with Python clients, to be sourced: `begin WHAT "$@"`,
# checks for other tools, `environment REQUIREMENTS [OPTION_OF_PIP]...`, `drive SCRIPT [ARGUMENT]...`.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the sourcing script reads these variables

give_up() {
    echo "$what: $*" >&2
    exit 2
}

# Sets `binary`, `python`, `venv` and `scratch`, a directory that is removed at the end, from the
# arguments BINARY [VENV].
begin() {
    what=$1
    shift
    if [ $# -lt 1 ] || [ $# -gt 2 ]; then
        echo "usage: $0 BINARY [VENV]" >&2
        exit 2
    fi
    binary=$1
    python=${PYTHON:-python3}
    [ -x "$binary" ] || give_up "$binary is no program"
    command -v "$python" >/dev/null || give_up "there is no $python"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    venv=${2:-$scratch/venv}
}

# Creates the environment. Packages from an earlier run are not downloaded again.
environment() {
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --clear "$venv" ||
            give_up "$python cannot make a virtual environment (Debian: python3-venv)"
    fi
    timeout 300 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --root-user-action=ignore -r "$@" || give_up "the clients cannot be installed from PyPI"
}

# Runs the script in the environment, through `apart` if that is set, and exits with its exit code.
drive() {
    mkdir "$scratch/run"
    PYTHONDONTWRITEBYTECODE=1 "${apart[@]}" "$venv/bin/python" "$1" "$binary" "$scratch/run" "${@:2}" &
    # ending this script ends its child processes
    trap 'kill $! 2>/dev/null || true' HUP INT TERM
    code=0
    wait $! || code=$?
    wait $! 2>/dev/null || true
    exit "$code"
}

apart=()
