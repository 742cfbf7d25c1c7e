#!/usr/bin/env bash
# Changes one thing at a time in a module and runs the module's own fast tests, which should notice
# (cargo-mutants). Not a part of CI: each change is compiled by itself, so a module takes from half an
# hour to hours. What was caught once is not tried again, so it can be ended and started anew, and a
# module can be cut into shards. crates/xtask/scripts/mutants.md has the results, and a line for each survivor that
# no test can catch, or need not.
#
# Usage: crates/xtask/scripts/mutants.sh MODULE [SHARD/OF]
#   MODULE: digest, acl, model, snapshot, authorizer or directory, or one file of src/
#
# The results stay outside the tree, in MUTANTS_DIR (default: sip-authz-mutants in the folder for
# temporary files).
set -euo pipefail
cd "$(dirname "$0")/../../.."
module=${1:?usage: crates/xtask/scripts/mutants.sh MODULE [SHARD/OF]}
out=${MUTANTS_DIR:-${TMPDIR:-/tmp}/sip-authz-mutants}
files=("src/$module.rs" "src/$module/**/*.rs")
case $module in
src/*)
    files=("$module")
    module=${module#src/} module=${module%.rs} module=${module//\//-}
    ;;
esac

# which tests: few enough to end in seconds
package=sip-authz
case $module in
digest*) tests=(--lib --test library -- digest_vectors digest_header decision) ;;
acl*) tests=(--lib --test library -- prefix_table) ;;
model*) tests=(--lib --test library -- commits decision) ;;
snapshot*) tests=(--lib --test library -- commits decision) ;;
authorizer*) tests=(--lib --test library --test hostile) ;;
directory*)
    package=sip-authz-directory
    files=("crates/directory/src/**/*.rs")
    tests=(--test directory)
    ;;
*) tests=(--lib) ;;
esac

command -v cargo-mutants >/dev/null || cargo install cargo-mutants --locked
args=(--iterate --no-shuffle --output "$out/$module" --package "$package" --test-package "$package")
for file in "${files[@]}"; do args+=(--file "$file"); done
[ $# -lt 2 ] || args+=(--shard "$2")
mkdir -p "$out/$module"
# fewer cases than usual, as what a mutant breaks seldom hides; and which is the smallest that fails
# does not matter
export CARGO_PROFILE_TEST_DEBUG=0 CARGO_INCREMENTAL=1
export PROPTEST_CASES=${PROPTEST_CASES:-48} PROPTEST_MAX_SHRINK_ITERS=0
code=0
nice cargo mutants "${args[@]}" -- "${tests[@]}" || code=$?
echo "survivors, of which crates/xtask/scripts/mutants.md tells why or which are new:"
cat "$out/$module/mutants.out/missed.txt"
# 2: some survived, which is for the reader to judge
[ "$code" -eq 2 ] || exit "$code"
