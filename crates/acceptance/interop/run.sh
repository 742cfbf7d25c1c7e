#!/usr/bin/env bash
# Runs sipp against the program and compares the numbers of 407, 200, 403 and 404.
# crates/acceptance/interop/run.sh target/release/sip-authz
set -euo pipefail

program=$(realpath "${1:?usage: $0 PATH-OF-SIP-AUTHZ}")
here=$(dirname "$(realpath "$0")")
calls=${CALLS:-20}
# sipp draws screens; any known terminal will do, and none need exist
export TERM=xterm

work=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

install -m 600 "$here/edge.toml" "$work/edge.toml"
"$program" serve --sip 127.0.0.1:0 --api off --config "$work/edge.toml" --on-accept ok \
    >"$work/out" 2>"$work/err" &
server=$!
address=
for _ in $(seq 1200); do
    address=$(sed -n 's/^listening for SIP on \([^ ]*\) .*/\1/p' "$work/out")
    [ -z "$address" ] || break
    kill -0 "$server" 2>/dev/null || { cat "$work/err" >&2; server=; exit 1; }
    sleep 0.05
done
[ -n "$address" ] || { echo "the program did not start to listen" >&2; exit 1; }

failed=0
printf '%-42s %-36s %s\n' case expected got

# answers CODE MESSAGES: the number of requests with this answer. A retransmission gets it again.
answers() {
    awk -v code="$1" '
        /^[A-Z]+ sips?:/ { status = "" }
        /^SIP\/2\.0 / { status = $2 }
        /^Call-ID:/ { call = $2 }
        /^CSeq:/ && status == code { seen[call " " $2 " " $3] = 1 }
        END { for (one in seen) count++; print count + 0 }' "$2"
}

# check CASE EXPECTED SCENARIO DOMAIN SIPP-OPTIONS...
check() {
    local case=$1 expected=$2 scenario=$3 domain=$4 messages=$work/messages code got verdict=ok
    shift 4
    rm -f "$messages"
    if ! timeout 120 sipp "$address" -sf "$here/$scenario.xml" -key domain "$domain" -s 100 \
        -m "$calls" -r 200 -nostdin -timeout 110s -timeout_error \
        -trace_msg -message_file "$messages" "$@" >"$work/sipp" 2>&1 </dev/null; then
        verdict=FAILED
    fi
    got=
    for code in 407 200 403 404; do
        got+="$code:$(answers "$code" "$messages") "
    done
    got+="code:$(sed -n 's/^X-Authz-Error: \([0-9]*\).*/\1/p' "$messages" | sort -u | paste -sd,)"
    [ "$got" = "$expected" ] || verdict=FAILED
    [ $verdict = ok ] || failed=1
    printf '%-42s %-36s %s %s\n' "$case" "$expected" "$got" "$verdict"
}

n=$calls
inside=(-i 127.0.0.1 -bind_local)
outside=(-i 127.0.0.2 -bind_local)
right=(-au alice -ap "correct horse" "${inside[@]}")
# wrong digests are counted by source, so they use another one than the correct ones
guesser=(-i 127.0.0.3 -bind_local)
wrong=(-au alice -ap guess "${guesser[@]}")
disabled=(-au bob -ap "battery staple" "${guesser[@]}")
unknown=(-au mallory -ap guess "${guesser[@]}")

check "right password" "407:$n 200:$n 403:0 404:0 code:" call by-password.example "${right[@]}"
check "right password, tcp" "407:$n 200:$n 403:0 404:0 code:" \
    call by-password.example "${right[@]}" -t t1
check "right password, whole call with BYE" "407:$n 200:$((2 * n)) 403:0 404:0 code:" \
    auth by-password.example "${right[@]}"
check "right password, qop=auth-int" "407:$n 200:$n 403:0 404:0 code:" \
    call with-body.example "${right[@]}"
check "wrong password" "407:$n 200:0 403:$n 404:0 code:32202" \
    call by-password.example "${wrong[@]}"
check "disabled user" "407:$n 200:0 403:$n 404:0 code:32202" \
    call by-password.example "${disabled[@]}"
check "unknown user" "407:$n 200:0 403:$n 404:0 code:32202" \
    call by-password.example "${unknown[@]}"
check "wrong password, challenged again" "407:$((2 * n)) 200:0 403:0 404:0 code:" \
    call again.example "${wrong[@]}"
check "address inside the list" "407:0 200:$n 403:0 404:0 code:" \
    call by-address.example "${inside[@]}"
check "address outside the list" "407:0 200:0 403:$n 404:0 code:32201" \
    call by-address.example "${outside[@]}"
check "address inside, right password" "407:$n 200:$n 403:0 404:0 code:" \
    call by-both.example "${right[@]}"
check "address outside, right password" "407:0 200:0 403:$n 404:0 code:32201" \
    call by-both.example "${right[@]}" "${outside[@]}"
check "no mapping" "407:0 200:0 403:$n 404:0 code:32200" call nothing-mapped.example "${inside[@]}"
check "unknown domain" "407:0 200:0 403:0 404:$n code:" call nowhere.example "${inside[@]}"

kill -TERM "$server"
if wait "$server"; then ended=0; else ended=$?; fi
server=
tail -n 1 "$work/out"
[ "$ended" -eq 0 ] || { echo "the program exited with $ended" >&2; failed=1; }
exit "$failed"
