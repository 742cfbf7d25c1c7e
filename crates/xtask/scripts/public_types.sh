#!/usr/bin/env bash
# Compares the public enums and structs of the published crates with docs/public-types.md, where the
# decision about each stands: every type has a row, and is `#[non_exhaustive]` if its row says so.
# Builds sip-authz-store-etcd, which needs protoc; without protoc, its types are left out.
#
# Usage: crates/xtask/scripts/public_types.sh
set -euo pipefail
cd "$(dirname "$0")/../../.."
list=docs/public-types.md

crates=(sip-authz sip-authz-{arch,decide,proxy,store,store-sqlite,directory,rest,console,config})
features=sip-authz-decide/engine,sip-authz/rsip,sip-authz/serde,sip-authz/metrics,sip-authz/tracing,sip-authz-store/metrics
if command -v protoc >/dev/null; then
    crates+=(sip-authz-store-etcd)
else
    echo "no protoc: sip-authz-store-etcd is not compared" >&2
fi
mapfile -t packages < <(printf -- '-p\n%s\n' "${crates[@]}")
cargo doc --quiet --no-deps "${packages[@]}" --features "$features"

declared() {
    for crate in "${crates[@]}"; do
        root=${CARGO_TARGET_DIR:-target}/doc/${crate//-/_}
        grep -oE 'href="[^"]*(enum|struct)\.[A-Za-z0-9_]+\.html"' "$root/all.html" | sort -u |
            while IFS='"' read -r _ page _; do
                kind=$(basename "$page" | cut -d. -f1)
                path=$(sed -E "s,/,::,g; s,$kind\.([A-Za-z0-9_]+)\.html,\1," <<<"$page")
                open=exhaustive
                # the declaration stands before the first description
                sed '/<\/code><\/pre>/q' "$root/$page" | grep '#\[non_exhaustive\]' >/dev/null && open=open
                echo "$crate $kind $path $open"
            done
    done | sort
}

decided() {
    awk -F ' *\\| *' '
        /^## / { crate = substr($0, 4) }
        /^\| (enum|struct) \|/ { kind = $2 }
        /^\| `/ && kind { gsub("`", "", $2); print crate, kind, $2, ($3 ~ /non_exhaustive/ ? "open" : "exhaustive") }
        /^$/ { kind = "" }
    ' "$list" | if command -v protoc >/dev/null; then cat; else grep -v '^sip-authz-store-etcd '; fi | sort
}

if ! diff -u <(decided) <(declared); then
    echo "docs/public-types.md (-) and the code (+) differ"
    exit 1
fi
