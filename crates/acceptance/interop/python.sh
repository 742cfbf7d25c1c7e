# For scripts that try the program with clients in Python, to be sourced: `begin WHAT "$@"`, what else
# they need, `environment REQUIREMENTS [OPTION_OF_PIP]...`, `drive SCRIPT [ARGUMENT]...`.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is read there

give_up() {
    echo "$what: $*" >&2
    exit 2
}

# Sets `binary`, `python`, `venv` and `scratch`, a directory that goes away in the end, from the
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

# Makes the environment. What it has already from an earlier run is not fetched again.
environment() {
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --clear "$venv" ||
            give_up "$python cannot make a virtual environment (Debian: python3-venv)"
    fi
    timeout 300 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --root-user-action=ignore -r "$@" || give_up "the clients cannot be installed from PyPI"
}

# Runs the script in the environment, by `apart` if that is set, and ends with its exit code.
drive() {
    mkdir "$scratch/run"
    PYTHONDONTWRITEBYTECODE=1 "${apart[@]}" "$venv/bin/python" "$1" "$binary" "$scratch/run" "${@:2}" &
    # who ends this script ends what it started
    trap 'kill $! 2>/dev/null || true' HUP INT TERM
    code=0
    wait $! || code=$?
    wait $! 2>/dev/null || true
    exit "$code"
}

apart=()
