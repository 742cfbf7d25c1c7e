#!/usr/bin/env bash
# Prints which share of the lines of the hot path the quick tests run, file by file. Needs
# llvm-profdata and llvm-cov of the LLVM that rustc has, from Debian (llvm-22) or from rustup
# (llvm-tools).
#
# Usage: crates/xtask/scripts/coverage.sh [OUTPUT.lcov]
set -euo pipefail
cd "$(dirname "$0")/../../.."

version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
if [ -z "${LLVM_COV:-}" ] && command -v "llvm-cov-$version" >/dev/null; then
    LLVM_COV=$(command -v "llvm-cov-$version")
    LLVM_PROFDATA=$(command -v "llvm-profdata-$version")
    export LLVM_COV LLVM_PROFDATA
fi
command -v cargo-llvm-cov >/dev/null || cargo install cargo-llvm-cov --locked

lcov=${1:-$(mktemp)}
# the library's tests; those of the program and of HTTP add nothing to the hot path
cargo llvm-cov --locked -p sip-authz --lcov --output-path "$lcov"
python3 - "$lcov" <<'PYTHON'
import collections, os, sys
PARTS = "authorizer digest acl snapshot invite message uri".split()
root = os.getcwd() + "/src/"


def tests_from(path):
    """The line where the tests of a file begin, which are no part of what is measured."""
    lines = open(path, encoding="utf-8").read().split("\n")
    return next((at for at, line in enumerate(lines, 1) if line == "mod tests {"), len(lines) + 1)


files, path, end = {}, "", 0
for line in open(sys.argv[1], encoding="utf-8"):
    kind, _, rest = line.strip().partition(":")
    if kind == "SF":
        path, end = rest, 0
        if rest.startswith(root) and rest[len(root):].split("/")[0].removesuffix(".rs") in PARTS:
            end = tests_from(rest)
    elif kind == "DA":
        number, count = rest.split(",")[:2]
        if int(number) < end:
            files.setdefault(path[len(root):], []).append((int(number), int(count)))

sums = collections.defaultdict(lambda: [0, 0])
for name, lines in sorted(files.items()):
    run = sum(count > 0 for _, count in lines)
    missed = " ".join(str(number) for number, count in lines if count == 0)
    print(f"{run:6} of {len(lines):6} lines {100 * run / len(lines):7.2f} %  {name}  {missed}")
    for key in (name.split("/")[0].removesuffix(".rs"), "all of these"):
        sums[key][0] += run
        sums[key][1] += len(lines)
print()
for part, (run, count) in sums.items():
    print(f"{run:6} of {count:6} lines {100 * run / count:7.2f} %  {part}")
PYTHON
