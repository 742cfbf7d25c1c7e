#!/usr/bin/env bash
# Builds the Debian package and checks its contents. Usage: build.sh TARGET [PROFILE] [--no-build]
#
# TARGET is cargo's folder of build results, and PROFILE a profile of Cargo.toml (default: dist). With
# --no-build the program of an earlier build is packed, with fast compression.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$1
profile=${2:-dist}
options=()
if [[ ${3:-} == --no-build ]]; then
    options+=(--fast)
else
    cargo build --locked --profile "$profile" -p sip-authz-cli
fi
program=$target/$profile/sip-authz
files=$target/$profile/package
version=$("$program" --version | cut -d' ' -f2)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' crates/cli/Cargo.toml)

rm -rf "$files"
mkdir -p "$files/man" "$files/completions"
"$program" man "$files/man"
"$program" completions bash > "$files/completions/sip-authz.bash"
"$program" completions zsh > "$files/completions/_sip-authz"
"$program" completions fish > "$files/completions/sip-authz.fish"
gzip -9n "$files"/man/*.1
gzip -9n < CHANGELOG.md > "$files/changelog.gz"
printf 'sip-authz (%s-1) unstable; urgency=medium\n\n  * changelog.gz lists the changes.\n\n -- %s  %s\n' \
    "$version" "$maintainer" "$(date -R ${SOURCE_DATE_EPOCH:+-d "@$SOURCE_DATE_EPOCH"})" | gzip -9n > "$files/changelog.Debian.gz"

package=$target/debian/sip-authz_$version-1_$(dpkg --print-architecture).deb
cargo deb --quiet --no-build --strip --profile "$profile" -p sip-authz-cli --output "$package" "${options[@]}"
ls -l "$package"

# mode, owner and path of each file but the pages of docs/, which come and go
contents() {
    dpkg-deb -c "$package" | awk '{ print $1, $2, $6 }' | grep -v '/doc/sip-authz/docs/.*\.md$' | LC_ALL=C sort -k 3
}
if ! diff -u packaging/debian/contents.txt <(contents); then
    echo "the contents of the package differ from packaging/debian/contents.txt; change either" >&2
    exit 1
fi
echo "the package has the $(wc -l < packaging/debian/contents.txt) listed files and folders"
lintian --fail-on error "$package"
