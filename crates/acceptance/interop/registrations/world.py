"""Network namespaces: phones behind a NAT, the edge, and a PBX with a phone beside it.

    alice, bob ── nat ── edge ── pbx, carol
    192.168.7.0/24   198.51.100.0/24   10.9.0.0/24

The edge has an address on each side and routes nothing. carol has a second address outside, for media.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from edge import Failed

NAT_OUTSIDE, EDGE_OUTSIDE, CAROL_OUTSIDE = "198.51.100.2", "198.51.100.10", "198.51.100.30"
EDGE_INSIDE, PBX, CAROL = "10.9.0.10", "10.9.0.20", "10.9.0.30"
ALICE, BOB, ROUTER = "192.168.7.11", "192.168.7.12", "192.168.7.1"
NAMES = Path("/run/netns")
SECONDS_FOR_A_COMMAND = 20
CLONE_NEWNET, PR_SET_PDEATHSIG = 0x40000000, 1


def run(*command):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=SECONDS_FOR_A_COMMAND
    )
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def alone():
    """Continues in namespaces of its own, in a child process. With this process end all processes in them, and with
    these the network."""
    if os.environ.get("REGISTRATIONS_ALONE"):
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        NAMES.mkdir()
        run("ip", "link", "set", "lo", "up")
        return
    own = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    for way in (["unshare"], ["unshare", "--map-root-user"]):
        if subprocess.run([*way, *own, "true"], capture_output=True).returncode == 0:
            break
    else:
        raise Failed("network namespaces are not allowed here")
    child = subprocess.Popen(
        [*way, *own, sys.executable, *sys.argv],
        env={**os.environ, "REGISTRATIONS_ALONE": "1"},
        preexec_fn=die_with_the_parent,
    )

    # `unshare` ignores the usual signals while it waits
    def stop(*_):
        child.kill()

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    code = child.wait()
    sys.exit(code if code >= 0 else 2)


def die_with_the_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Host:
    """A network namespace with a name."""

    # one thread of this process is in a namespace at a time
    lock = threading.Lock()

    def __init__(self, name):
        self.name, self.prefix = name, ["ip", "netns", "exec", name]
        run("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command):
        return run(*self.prefix, *command)

    def link(self, name, other, other_name=None):
        """A link `name` to the interface `other_name` of another host, both up."""
        other_name = other_name or name
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", other_name, "netns", other.name)
        self.run("ip", "link", "set", name, "up")
        other.run("ip", "link", "set", other_name, "up")

    def address(self, interface, address, gateway=None):
        self.run("ip", "address", "add", f"{address}/24", "dev", interface)
        if gateway:
            self.run("ip", "route", "add", "default", "via", gateway)

    def set(self, name, value):
        """Sets a kernel parameter of this namespace."""
        with self.inside():
            Path("/proc/sys/net", name).write_text(str(value))

    @contextlib.contextmanager
    def inside(self):
        """Moves this process into the namespace for the block: sockets that it makes stay there."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(descriptor):
            if libc.setns(descriptor, CLONE_NEWNET):
                raise Failed(f"setns: {os.strerror(ctypes.get_errno())}")

        with self.lock:
            home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            there = os.open(NAMES / self.name, os.O_RDONLY)
            try:
                enter(there)
                yield
            finally:
                enter(home)
                os.close(home)
                os.close(there)


class World:
    """All hosts."""

    def __init__(self):
        names = ("alice", "bob", "nat", "outside", "edge", "inside", "pbx", "carol")
        for name in names:
            setattr(self, name, Host(name))
        self.switch(self.nat, ROUTER, (self.alice, ALICE, ROUTER), (self.bob, BOB, ROUTER))
        self.switch(
            self.outside,
            None,
            (self.nat, NAT_OUTSIDE, None),
            (self.edge, EDGE_OUTSIDE, None),
            # as if there were the Internet
            (self.carol, CAROL_OUTSIDE, NAT_OUTSIDE),
        )
        inside = [(self.edge, EDGE_INSIDE, None), (self.pbx, PBX, None), (self.carol, CAROL, None)]
        self.switch(self.inside, None, *inside)
        self.nat.set("ipv4/ip_forward", 1)
        # a new binding gets another port: a lost one does not come back by chance
        for table, rule in [
            ("nat", "POSTROUTING -o outside -j MASQUERADE --random-fully"),
            # a NAT drops what it has no binding for, without an answer
            ("filter", "INPUT -i outside -j DROP"),
            ("filter", "FORWARD -i outside -m conntrack --ctstate NEW -j DROP"),
        ]:
            self.nat.run("iptables", "-w", "-t", table, "-A", *rule.split())

    @staticmethod
    def switch(host, own, *members):
        """Connects the members, each with an address and a gateway, by a bridge in `host`."""
        name = "bridge"
        host.run("ip", "link", "add", name, "type", "bridge")
        host.run("ip", "link", "set", name, "up")
        if own:
            host.address(name, own)
        for member, address, gateway in members:
            member.link(host.name, host, f"to-{member.name}")
            host.run("ip", "link", "set", f"to-{member.name}", "master", name)
            member.address(host.name, address, gateway)

    def forget_after(self, seconds):
        """Sets how long the NAT keeps a binding that is not used. None: the defaults of Linux."""
        for name, usual in [
            ("udp_timeout", 30),
            ("udp_timeout_stream", 120),
            ("tcp_timeout_established", 432_000),
            ("tcp_timeout_unacknowledged", 300),
        ]:
            self.nat.set(f"netfilter/nf_conntrack_{name}", seconds or usual)
