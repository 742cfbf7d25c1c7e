#!/usr/bin/env bash
# Runs the C tests of libsip_authz with AddressSanitizer in Rust and in C, which finds leaks too, and with
# UndefinedBehaviorSanitizer in C. The runtime of both is that of the nightly toolchain.
#
# Usage: crates/xtask/scripts/capi_sanitize.sh TARGET
# TARGET is the folder of build results, with the program of `cargo build --release -p sip-authz-cli`.
set -euo pipefail
cd "$(dirname "$0")/../../.."
target=$(realpath "$1")
program=$target/release/sip-authz
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
build=$target/capi-sanitize
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# with a target of its own, build scripts and macros are not instrumented
RUSTFLAGS=-Zsanitizer=address cargo +nightly rustc --locked --quiet -p sip-authz-capi \
    --crate-type staticlib --target "$triple" --target-dir "$build"
runtime=$(rustc +nightly --print sysroot)/lib/rustlib/$triple/lib/librustc-nightly_rt.asan.a

mkdir -m 700 "$work/folder"
for test in engine service; do
    # instrumented by cc and linked with the runtime of Rust: a program can have one runtime only
    cc -std=c11 -g -Wall -Wextra -Werror -pedantic -pthread -fno-omit-frame-pointer \
        -fsanitize=address,undefined -fno-sanitize-recover=all -Icrates/capi/include \
        -c -o "$work/$test.o" "crates/capi/tests/c/$test.c"
    cc -pthread -rdynamic -o "$work/$test" "$work/$test.o" "$build/$triple/debug/libsip_authz_capi.a" \
        -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -lcrypto -lgcc_s -lm -ldl -lrt -lc
done
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:abort_on_error=0
"$work/engine" "$work/folder"
"$work/service" "$program" "$work/folder"
