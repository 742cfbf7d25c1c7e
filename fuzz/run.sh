#!/bin/sh
# Runs every fuzz target, or those named, for SECONDS each (default 30) with the nightly toolchain.
# The first crash, leak or timeout ends it; the input is then in fuzz/artifacts/. The build and the
# corpus grown from the seeds stay outside the tree, in FUZZ_DIR (default: sip-authz-fuzz in the
# folder for temporary files). FUZZ_SEED other than 0 makes the inputs the same in each run, given the
# same corpus. CI uses one, so that it fails by a change and not by chance. FUZZ_SANITIZER=none runs
# more inputs a second, and finds no wrong access to memory. `batch` and `lanes`, which are about the
# hash kernels with their unsafe code, keep the sanitizer.
#
# Usage: fuzz/run.sh [SECONDS] [TARGET]...
set -eu
cd "$(dirname "$0")"
seconds=${1:-30}
[ $# -gt 0 ] && shift
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"$/\1/p' Cargo.toml)
dir=${FUZZ_DIR:-${TMPDIR:-/tmp}/sip-authz-fuzz}

# targets that are about unsafe code
unsafe="batch lanes"

command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
for target; do
    mkdir -p "$dir/corpus/$target"
    # what is read as a message begins with the RFCs' torture messages too
    case $target in
        forward) more="../tests/torture/rfc4475 ../tests/torture/rfc5118 seeds/request" ;;
        request) more="../tests/torture/rfc4475 ../tests/torture/rfc5118" ;;
        fields | from_datagram)
            more="../tests/torture/rfc4475 ../tests/torture/rfc5118 seeds/request"
            ;;
        *) more= ;;
    esac
    dict="dictionaries/$target.dict"
    [ "$target" != fields ] || dict=dictionaries/from_datagram.dict
    [ -f "$dict" ] || dict=
    sanitizer=${FUZZ_SANITIZER:-address}
    case " $unsafe " in *" $target "*) sanitizer=address ;; esac
    # a build for each sanitizer, so that none replaces the other
    build=$dir/target
    [ "$sanitizer" = address ] || build=$dir/target-$sanitizer
    # shellcheck disable=SC2086
    cargo +nightly fuzz run --sanitizer "$sanitizer" --target-dir "$build" "$target" \
        "$dir/corpus/$target" "seeds/$target" $more -- \
        -max_total_time="$seconds" -seed="${FUZZ_SEED:-0}" -max_len=4096 -timeout=10 -print_final_stats=1 \
        ${dict:+-dict="$dict"}
done
