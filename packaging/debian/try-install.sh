#!/usr/bin/env bash
# Installs, starts, upgrades, removes and purges the package in a new Debian system with a running systemd.
# Usage: try-install.sh PACKAGE.deb [FOLDER]
#
# FOLDER keeps the Debian system for the next run. Needs root, Debian's mmdebstrap and a mirror. systemd
# runs in namespaces of its own, without a connection to the network.
set -euo pipefail
package=$(realpath "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
base=${2:-$scratch/base}
root=$scratch/root
[[ -d $base ]] || mmdebstrap --variant=minbase --include=systemd,systemd-sysv,logrotate bookworm "$base"
cp -a "$base" "$root"
cp "$package" "$root/root/one.deb"
# the same package with a higher version and another example
dpkg-deb -R "$package" "$scratch/next"
sed -i 's/^Version: .*/Version: 999.0-1/' "$scratch/next/DEBIAN/control"
echo '# a line of the next version' >> "$scratch/next/etc/sip-authz/edge.toml"
dpkg-deb --root-owner-group -b "$scratch/next" "$root/root/two.deb" > "$scratch/output"

cat > "$root/root/try.sh" <<'E_O_F'
say() { printf '\n== %s\n' "$*"; }
expect() { # expect WHAT COMMAND: the command succeeds
    if sh -c "$2" > /root/output 2>&1; then echo "ok: $1"; else
        echo "FAILED: $1: $2"
        cat /root/output
        failed=1
    fi
}
edge=/etc/sip-authz/edge.toml
failed=0

say dpkg -i
dpkg -i /root/one.deb
expect "the user exists and cannot log in" "getent passwd sip-authz | grep nologin"
expect "the configuration is readable for the group alone" \
    "stat -c '%a %U %G' $edge /etc/default/sip-authz | uniq | grep -x '640 root sip-authz'"
expect "the unit is valid" "systemd-analyze verify --man=no sip-authz.service"
expect "the service is enabled" "systemctl is-enabled sip-authz"
expect "the service is ready" "systemctl is-active sip-authz"
expect "it has a status" "systemctl show -p StatusText sip-authz | grep -F 'serving the records in $edge'"
expect "logrotate reads its file" "logrotate -d /etc/logrotate.d/sip-authz"
systemctl --no-pager --full status sip-authz
systemd-analyze --no-pager security sip-authz | tail -1

say systemctl reload, restart
sed -i 's/^#\[\[accounts/[[accounts/; s/^#name = "acme"/name = "acme"/' $edge
systemctl reload sip-authz
expect "it reads the file again" "timeout 10 sh -c 'until journalctl -u sip-authz | grep -F \"reloaded $edge\"; do sleep 0.1; done'"
expect "it is ready again" "systemctl is-active sip-authz"
echo '[[domains' >> $edge
systemctl reload sip-authz
expect "it keeps the old records" \
    "timeout 10 sh -c 'until journalctl -u sip-authz | grep \"the old state stays in use\"; do sleep 0.1; done'"
sed -i '$d' $edge
expect "it restarts" "systemctl restart sip-authz && systemctl is-active sip-authz"

say dpkg -i of a higher version, after a change of edge.toml
echo '# a line of the administrator' >> $edge
before=$(systemctl show -p MainPID sip-authz)
dpkg --force-confdef --force-confold -i /root/two.deb
expect "the change is kept" "grep -qx '# a line of the administrator' $edge"
expect "the new file is beside it" "grep -qx '# a line of the next version' $edge.dpkg-dist"
expect "mode and owner are kept" "stat -c '%a %U %G' $edge | grep -x '640 root sip-authz'"
expect "the new program runs" "systemctl is-active sip-authz && test '$before' != \"\$(systemctl show -p MainPID sip-authz)\""

say dpkg -r
touch /var/lib/sip-authz/sip-authz.db /var/log/sip-authz/decisions.json
dpkg -r sip-authz
expect "the service is stopped" "! systemctl is-active sip-authz"
expect "it ended in order" "journalctl -u sip-authz | grep 'totals: '"
expect "the program is gone" "test ! -e /usr/bin/sip-authz"
expect "the configuration stays" "test -e $edge"

say dpkg -P
dpkg -P sip-authz
expect "configuration and logs are gone" "test ! -e /etc/sip-authz -a ! -e /etc/default/sip-authz -a ! -e /var/log/sip-authz"
expect "the records stay" "test -e /var/lib/sip-authz/sip-authz.db"
expect "nothing else is left" "! find /etc /usr /var/lib/dpkg/info /var/lib/systemd -name '*sip-authz*' | grep ."
[ $failed = 0 ] && echo passed
E_O_F
cat > "$root/etc/systemd/system/try.service" <<'E_O_F'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /root/try.sh > /root/result 2>&1; systemctl --no-block exit'
E_O_F
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../try.service "$root/etc/systemd/system/multi-user.target.wants/"

cat > "$scratch/boot.sh" <<'E_O_F'
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys"
mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
mount -t tmpfs tmpfs "$1/run"
mount --rbind /dev "$1/dev"
ip link set lo up
exec chroot "$1" env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --log-target=console --unit=multi-user.target
E_O_F
timeout -k 5 300 unshare -p -m -n -C -u -f --kill-child bash "$scratch/boot.sh" "$root" > "$scratch/boot" 2>&1 || true
cat "$root/root/result" || cat "$scratch/boot"
tail -1 "$root/root/result" | grep -qx passed
