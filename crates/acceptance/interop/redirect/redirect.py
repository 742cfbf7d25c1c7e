#!/usr/bin/env python3
"""Dials through a redirect of the program with baresip, and reads what arrives at the gateway.

    redirect.py BINARY

The gateway is a UDP socket that prints the Request-URI of each INVITE and answers 486. The called
number must be in it, for the default target and for the targets of a domain.

Exit code: 0 all as expected, 1 a difference, 2 the test could not run.
"""

import re
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))
from edge import SECONDS_TO_START, Failed, end, start, run_script
from phones import baresip_files, run

NUMBER = "14155550100"
# Phones dial the domain by its address. `own` is a target of its own, which the operator allows.
CONFIG = """\
realm = "redirect.example"
next_hop_allow = ["127.0.0.1:{port}"]

[[credential_lists]]
name = "phones"
credentials = [{{ username = "alice", password = "Correct-Horse-7" }}]

[[domains]]
name = "127.0.0.1"
credential_lists = ["phones"]
{own}
"""
OWN = 'on_accept = "redirect:sip:own-{{user}}@127.0.0.1:{port}"'


class Gateway(threading.Thread):
    """Prints and keeps the Request-URI of each INVITE, and answers 486."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.name, self.uris = name, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def run(self):
        while True:
            message, source = self.socket.recvfrom(65_535)
            head = message.decode(errors="replace").split("\r\n")
            if not head[0].startswith("INVITE "):
                continue
            uri = head[0].split(" ")[1]
            if uri not in self.uris:
                self.uris.append(uri)
                print(f"{self.name}: {uri}", flush=True)
            echoed = [line for line in head if re.match(r"(Via|From|Call-ID|CSeq):", line)]
            to = next(line for line in head if line.startswith("To:"))
            lines = ["SIP/2.0 486 Busy Here", *echoed, f"{to};tag=gw", "Content-Length: 0", "", ""]
            self.socket.sendto("\r\n".join(lines).encode(), source)


def port_of(edge, out):
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until and edge.poll() is None:
        text = out.read_text(errors="replace")
        if found := re.search(r"^listening for SIP on 127\.0\.0\.1:(\d+)", text, re.M):
            return int(found[1])
        time.sleep(0.05)
    raise Failed(f"the program does not listen:\n{out.read_text(errors='replace')}")


def call(binary, directory, configuration, target):
    """Dials the number through the program, and returns the trace of the phone."""
    directory.mkdir()
    config, out = directory / "edge.toml", directory / "edge.out"
    config.touch(mode=0o600)
    config.write_text(configuration)
    command = [binary, "serve", "--sip", "127.0.0.1:0", "--api", "off", "--config", str(config)]
    edge = start([*command, "--on-accept", target], out)
    try:
        port = port_of(edge, out)
        account = "<sip:alice@127.0.0.1;transport=udp>;auth_user=alice;regint=0"
        baresip_files(directory, f"{account};auth_pass=Correct-Horse-7")
        command = ["baresip", "-4", "-s", "-f", str(directory), "-n", "127.0.0.1"]
        command += ["-e", f"/dial sip:{NUMBER}@127.0.0.1:{port}"]
        return run(command, directory, r"session closed|Call established")[1]
    finally:
        end(edge)


def main(binary):
    default, own = Gateway("default target"), Gateway("target of the domain")
    for gateway in (default, own):
        gateway.start()
    target = f"redirect:127.0.0.1:{default.port}"
    with tempfile.TemporaryDirectory() as scratch:
        plain = CONFIG.format(port=own.port, own="")
        traces = [call(binary, Path(scratch) / "default", plain, target)]
        with_own = CONFIG.format(port=own.port, own=OWN.format(port=own.port))
        traces.append(call(binary, Path(scratch) / "own", with_own, target))
    expected = (
        [f"sip:{NUMBER}@127.0.0.1:{default.port}"],
        [f"sip:own-{NUMBER}@127.0.0.1:{own.port}"],
    )
    if (default.uris, own.uris) != expected:
        print(f"expected {expected}, got {(default.uris, own.uris)}", *traces, sep="\n")
        return 1
    print("the called number arrived at both targets")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run_script("redirect", lambda: main(sys.argv[1]))
