#!/usr/bin/env bash
# Runs every fuzz target for HOURS in all, in turns of ten minutes, from where the last run left its
# corpus, and prints the executions and findings of each. Fails if there was a crash, a leak, a
# timeout or too much memory; the input is then in fuzz/artifacts/, and the others run on.
#
# Usage: fuzz/long.sh HOURS [TARGET]...
set -euo pipefail
cd "$(dirname "$0")"
hours=${1:?usage: fuzz/long.sh HOURS [TARGET]...}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"$/\1/p' Cargo.toml)
fi
turn=${TURN_SECONDS:-600}
dir=${FUZZ_DIR:-${TMPDIR:-/tmp}/sip-authz-fuzz}
mkdir -p "$dir/logs"
end=$(($(date +%s) + $(awk "BEGIN { print int($hours * 3600) }")))
declare -A executions seconds findings
for target in "${targets[@]}"; do
    executions[$target]=0 seconds[$target]=0 findings[$target]=0
done

report() {
    printf '\n%-16s %16s %10s %9s %10s\n' target executions seconds findings corpus
    for target in "${targets[@]}"; do
        printf '%-16s %16d %10d %9d %10d\n' "$target" "${executions[$target]}" \
            "${seconds[$target]}" "${findings[$target]}" \
            "$(find "$dir/corpus/$target" -type f 2>/dev/null | wc -l)"
    done
}
trap report EXIT

while [ "$(date +%s)" -lt "$end" ]; do
    for target in "${targets[@]}"; do
        now=$(date +%s)
        [ "$now" -lt "$end" ] || break
        time=$((end - now < turn ? end - now : turn))
        log=$dir/logs/$target-$now.log
        ./run.sh "$time" "$target" >"$log" 2>&1 || {
            findings[$target]=$((findings[$target] + 1))
            echo "$target failed, see $log:"
            tail -n 5 "$log"
        }
        done=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
        executions[$target]=$((executions[$target] + ${done:-0}))
        seconds[$target]=$((seconds[$target] + $(date +%s) - now))
        # what a run of the fuzzer leaves is only of use while it can be read
        find "$dir/logs" -name '*.log' -mtime +7 -delete
    done
done
for target in "${targets[@]}"; do
    [ "${findings[$target]}" -eq 0 ] || exit 1
done
