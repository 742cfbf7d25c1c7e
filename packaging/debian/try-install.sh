#!/usr/bin/env bash
# Installs, starts, upgrades, removes and purges the package in a new Debian system, by mmdebstrap.
# Usage: try-install.sh PACKAGE.deb [FOLDER]
#
# FOLDER keeps the Debian system for the next run. Needs root, Debian's mmdebstrap and a mirror. The
# folder has no running systemd, so the program is started with the command line of the unit.
set -euo pipefail
package=$(realpath "$1")
scratch=$(mktemp -d)
base=${2:-$scratch/base}
root=$scratch/root
mounted=()
cleanup() {
    for folder in "${mounted[@]}"; do umount "$folder"; done
    rm -rf "$scratch"
}
trap cleanup EXIT

say() { printf '\n== %s\n' "$*"; }
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
expect() { # expect WHAT COMMAND...: the command succeeds inside
    local what=$1
    shift
    if inside "$@" > "$scratch/output" 2>&1; then echo "ok: $what"; else
        echo "FAILED: $what"
        cat "$scratch/output"
        exit 1
    fi
}

if [[ ! -d $base ]]; then
    say "a new Debian system"
    mmdebstrap --variant=minbase --include=systemd,systemd-sysv,logrotate bookworm "$base"
fi
cp -a "$base" "$root"
mount --bind /dev "$root/dev" && mounted+=("$root/dev")
mount -t proc proc "$root/proc" && mounted=("$root/proc" "${mounted[@]}")
cp "$package" "$root/one.deb"
# a package of a higher version, with another example
dpkg-deb -R "$package" "$scratch/next"
sed -i 's/^Version: .*/Version: 999.0-1/' "$scratch/next/DEBIAN/control"
echo '# a line of the next version' >> "$scratch/next/etc/sip-authz/edge.toml"
dpkg-deb --root-owner-group -b "$scratch/next" "$root/two.deb" > "$scratch/output"

say "dpkg -i"
inside dpkg -i /one.deb
expect "the user exists and cannot log in" sh -c "getent passwd sip-authz | grep nologin"
expect "the configuration is readable for the group alone" \
    sh -c "stat -c '%a %U %G' /etc/sip-authz/edge.toml /etc/default/sip-authz | uniq | grep -x '640 root sip-authz'"
expect "the unit is enabled" systemctl is-enabled sip-authz.service
expect "the unit is valid" systemd-analyze verify --man=no /usr/lib/systemd/system/sip-authz.service
expect "logrotate reads its file" logrotate -d /etc/logrotate.d/sip-authz
expect "the conffiles are listed" \
    sh -c "grep -c . /var/lib/dpkg/info/sip-authz.conffiles | grep -x 3"

say "the command line of the unit, as its user, until it is told to stop"
cat > "$root/serve.sh" <<'SERVE'
set -eu
. /etc/default/sip-authz
exec setpriv --reuid sip-authz --regid sip-authz --clear-groups sip-authz serve $SIP_AUTHZ_OPTIONS --sip 127.0.0.1:0 --api 127.0.0.1:0
SERVE
# in a network of its own: the ports may be in use here
sed -i 's/ --sip 127.0.0.1:0 --api 127.0.0.1:0$//' "$root/serve.sh"
unshare -n bash -c "ip link set lo up; timeout --preserve-status -s TERM 3 chroot '$root' sh /serve.sh" 2>&1 | tee "$scratch/served"
grep -q 'listening for SIP on 0.0.0.0:5060' "$scratch/served"
grep -q 'totals: ' "$scratch/served"
echo "ok: it serves the configuration of the package"

say "dpkg -i of a higher version, after a change of edge.toml"
echo '# a line of the administrator' >> "$root/etc/sip-authz/edge.toml"
inside dpkg --force-confdef --force-confold -i /two.deb
expect "the change is kept" grep -qx '# a line of the administrator' /etc/sip-authz/edge.toml
expect "the new file is beside it" grep -qx '# a line of the next version' /etc/sip-authz/edge.toml.dpkg-dist
expect "mode and owner are kept" sh -c "stat -c '%a %U %G' /etc/sip-authz/edge.toml | grep -x '640 root sip-authz'"

say "dpkg -r"
inside dpkg -r sip-authz
expect "the program is gone" test ! -e /usr/bin/sip-authz
expect "the configuration stays" test -e /etc/sip-authz/edge.toml

say "dpkg -P, with records in the folder of the data"
mkdir -p "$root/var/lib/sip-authz" "$root/var/log/sip-authz"
touch "$root/var/lib/sip-authz/sip-authz.db" "$root/var/log/sip-authz/decisions.json"
inside dpkg -P sip-authz
expect "configuration and logs are gone" test ! -e /etc/sip-authz -a ! -e /var/log/sip-authz -a ! -e /etc/default/sip-authz
expect "the records stay" test -e /var/lib/sip-authz/sip-authz.db
expect "nothing else is left" sh -c "! find /etc /usr /var/lib/dpkg/info /var/lib/systemd -name '*sip-authz*' | grep ."
