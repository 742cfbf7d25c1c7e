#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the Kamailio module authz against Debian's own source package of Kamailio.
set -euo pipefail

usage() {
    cat <<'END'
Usage: kamailio/build.sh [OPTION]...

Builds authz.so for the Kamailio of this Debian system, from Kamailio's source package of the same version.
Needs gcc, make, pkg-config, dpkg-dev and libsip_authz (cargo cinstall). Changes no file of the system.

  --version VERSION  version of Debian's package kamailio [default: the installed one]
  --source DIR       unpacked source package of this version; nothing is downloaded
  --prefix DIR       folder of libsip_authz, as given to cargo cinstall; the module finds the library there
                     [default: that of pkg-config, and of the system when Kamailio runs]
  --output FILE      where the module goes [default: authz.so in the current folder]
  --help             print this text

Exit code: 0 built, 1 error, 2 invalid command line.
END
}

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

wrong() {
    echo "build.sh: $*" >&2
    usage >&2
    exit 2
}

version='' source='' prefix='' output=authz.so
while [ $# -gt 0 ]; do
    option=$1
    case $option in
        --help | -h)
            usage
            exit 0
            ;;
        --version | --source | --prefix | --output)
            [ $# -ge 2 ] || wrong "$option needs a value"
            printf -v "${option#--}" '%s' "$2"
            shift 2
            ;;
        *) wrong "unknown argument: $option" ;;
    esac
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=$(realpath -m "$output")
# Debian installs kamailio there
PATH=$PATH:/usr/sbin

tools=(gcc make pkg-config dpkg-buildflags)
[ -n "$source" ] || tools+=(apt-get dpkg-source)
for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null ||
        fail "there is no $tool (Debian: apt-get install build-essential pkg-config dpkg-dev)"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pc=sip_authz runpath=
if [ -n "$prefix" ]; then
    file=$(find "$prefix" -path "*/pkgconfig/$pc.pc" -print -quit 2>/dev/null || true)
    [ -n "$file" ] || fail "--prefix $prefix: there is no pkgconfig/$pc.pc"
    # the prefix in the file can be relative, as cargo cinstall got it
    sed "s|^prefix=.*|prefix=$(realpath "$prefix")|" "$file" >"$work/$pc.pc"
    export PKG_CONFIG_PATH=$work
    runpath=$(pkg-config --variable=libdir "$pc")
fi
pkg-config --exists "$pc" || fail "pkg-config does not find $pc; install libsip_authz, or give --prefix"

# Prints the file of apt that names the repository with the binary package of a version.
sources_file() {
    local found target
    # such as: http://deb.debian.org/debian bookworm/main amd64 Packages
    found=$(apt-cache madison kamailio | awk -F' *[|] *' -v version="$1" '$2 == version { print $3; exit }')
    target=$(apt-get indextargets --format '$(SOURCESENTRY) $(DESCRIPTION)' 'Created-By: Packages')
    # the entry has the line behind a colon
    awk -v found="$found" 'found && index($0, " " found) { sub(/:[0-9]+$/, "", $1); print $1; exit }' <<<"$target"
}

# Downloads and unpacks the source package. apt gets the repositories of that file, with their keys, as
# sources, and lists and caches in the work folder.
download() {
    local file
    file=$(sources_file "$1")
    [ -f "$file" ] || fail "no repository of this system has kamailio $1: try apt-get update, or give --source"
    mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial"
    sed -E 's/^deb /deb-src /; s/^Types:.*/Types: deb-src/' "$file" >"$work/parts/$(basename "$file")"
    local apt=(apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/parts"
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
    echo "download the source of kamailio $1"
    "${apt[@]}" update || fail "cannot read the list of source packages"
    (cd "$work" && "${apt[@]}" source "kamailio=$1") >"$work/log" 2>&1 ||
        { cat "$work/log" >&2; fail "cannot download the source of kamailio $1"; }
    source=$(find "$work" -mindepth 1 -maxdepth 1 -type d -name 'kamailio-*')
    [ -d "$source" ] || fail "the source package has no folder kamailio-*"
}

if [ -z "$version" ]; then
    version=$(dpkg-query --show --showformat '${source:Version}' kamailio 2>/dev/null) ||
        [ -n "$source" ] || fail "kamailio is not installed; give --version"
fi
if [ -z "$source" ]; then
    download "$version"
else
    [ -f "$source/src/Makefile.modules" ] || fail "--source $source: expected the source of Kamailio"
    # the folder stays as it is
    cp -a "$source" "$work/kamailio"
    source=$work/kamailio
fi

# as debian/rules of the package does: Kamailio compares its version and its compile flags with the module's
flags="$(dpkg-buildflags --get CPPFLAGS) $(dpkg-buildflags --get CFLAGS) -DVERSION_NODATE"
module=$source/src/modules/authz
rm -rf "$module"
mkdir "$module"
cp "$here"/authz/*.[ch] "$here/authz/Makefile" "$module/"
echo "build authz.so"
{
    make -C "$source" cfg prefix=/usr FLAVOUR=kamailio group_include=kstandard \
        CC_EXTRA_OPTS="$flags" LD_EXTRA_OPTS="$(dpkg-buildflags --get LDFLAGS)" &&
        make -C "$module" SIP_AUTHZ_PC="$pc" SIP_AUTHZ_RUNPATH="$runpath"
} >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; fail "the build failed"; }
grep 'warning:' "$work/log" >&2 || true
install -D -m 644 "$module/authz.so" "$output"

if command -v kamailio >/dev/null; then
    # another version than the installed one is not compared
    config=$work/check.cfg
    printf '#!KAMAILIO\nloadmodule "sl.so"\nloadmodule "%s"\nrequest_route { authz_check(); }\n' "$(realpath "$output")" >"$config"
    if [ "$version" = "$(dpkg-query --show --showformat '${source:Version}' kamailio 2>/dev/null)" ]; then
        kamailio -c -f "$config" >"$work/log" 2>&1 ||
            { cat "$work/log" >&2; fail "the installed kamailio does not load $output"; }
        echo "the installed kamailio loads it"
    fi
fi
echo "built $output for kamailio $version"
