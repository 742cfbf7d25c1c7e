#!/usr/bin/env python3
"""Counts the instructions of the program for a request over UDP, with and without recent decisions.

Runs `sip-authz serve` under callgrind. Each request waits for the answer to the last one, so that each is a batch of
its own, the worst case. Needs valgrind.

usage: instructions.py PROGRAM [--recent N]
"""

import argparse
import hashlib
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

CONFIG = """
realm = "example"
[[ip_access_control_lists]]
name = "inside"
addresses = ["127.0.0.1"]
[[ip_access_control_lists]]
name = "elsewhere"
addresses = ["192.0.2.1"]
[[credential_lists]]
name = "staff"
credentials = [{ username = "alice", password = "correct horse" }]
[[domains]]
name = "by-address.example"
ip_access_control_lists = ["inside"]
[[domains]]
name = "closed.example"
ip_access_control_lists = ["elsewhere"]
[[domains]]
name = "by-password.example"
credential_lists = ["staff"]
[domains.policy.guesses]
pair = { burst = 1000000, refill_ms = 1 }
any_name = { burst = 1000000, refill_ms = 1 }
"""

# the requests of a flood; the requests below the rate at which a ring keeps every refusal, and the pause between them
FLOOD, SLOW = (4000, 0), (400, 0.01)
# the largest share of further instructions in a flood, in percent
MOST = 5
KINDS = ["accept-address", "accept-password", "challenge", "wrong-password", "refuse-address", "unknown-host"]


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


class Caller:
    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(20)
        self.number = 0
        self.nonce = None

    def ask(self, host, authorization=""):
        self.number += 1
        number = self.number
        port = self.socket.getsockname()[1]
        self.socket.send(
            (
                f"INVITE sip:+15550100@{host} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-524287-1---{number:016x};rport\r\n"
                "Max-Forwards: 70\r\n"
                f"Contact: <sip:alice@127.0.0.1:{port};transport=UDP>\r\n"
                f"To: <sip:+15550100@{host}>\r\n"
                f"From: \"Alice\" <sip:alice@{host};transport=UDP>;tag={number:08x}\r\n"
                f"Call-ID: {number:022x}@127.0.0.1\r\n"
                "CSeq: 1 INVITE\r\n"
                "Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n"
                "User-Agent: Phone/5.6.4 (0004f2aabbcc)\r\n"
                f"{authorization}Content-Length: 0\r\n\r\n"
            ).encode()
        )
        return self.socket.recv(65536).decode()

    def answered(self, password):
        host = "by-password.example"
        if self.nonce is None:
            answer = self.ask(host)
            self.nonce = re.search('nonce="([^"]*)"', answer).group(1)
            self.count = 0
        self.count += 1
        uri, nc = f"sip:+15550100@{host}", f"{self.count:08x}"
        ha1, ha2 = md5(f"alice:example:{password}"), md5(f"INVITE:{uri}")
        response = md5(f"{ha1}:{self.nonce}:{nc}:0a4f113b:auth:{ha2}")
        return self.ask(
            host,
            f'Proxy-Authorization: Digest username="alice",realm="example",nonce="{self.nonce}",uri="{uri}",'
            f'response="{response}",cnonce="0a4f113b",nc={nc},qop=auth,algorithm=MD5\r\n',
        )

    def send(self, kind):
        answer = {
            "accept-address": lambda: self.ask("by-address.example"),
            "accept-password": lambda: self.answered("correct horse"),
            "challenge": lambda: self.ask("by-password.example"),
            "wrong-password": lambda: self.answered("wrong"),
            "refuse-address": lambda: self.ask("closed.example"),
            "unknown-host": lambda: self.ask("nowhere.example"),
        }[kind]()
        status = int(answer.split(" ")[1])
        expected = {"accept-address": 200, "accept-password": 200, "challenge": 407, "wrong-password": 403,
                    "refuse-address": 403, "unknown-host": 404}[kind]
        assert status == expected, answer


def start(program, folder, recent):
    server = subprocess.Popen(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", program, "serve", "--sip", "127.0.0.1:0",
         "--api", "off", "--config", folder / "edge.toml", "--on-accept", "ok", "--udp-workers", "1",
         "--recent", str(recent)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    port = None
    for line in server.stdout:
        if found := re.search(r"listening for SIP on 127.0.0.1:(\d+) ", line):
            port = int(found.group(1))
        if "snapshot 1" in line:
            break
    # the threads start now
    time.sleep(1)
    return server, Caller(port)


def control(server, option):
    subprocess.run(["callgrind_control", option, str(server.pid)], check=True, capture_output=True)


def count(server, caller, folder, kind, requests, pause):
    """The instructions of all threads for a request."""
    # the tables and the caller's nonce are warm then
    for _ in range(20):
        caller.send(kind)
    time.sleep(1.1)
    control(server, "-z")
    for _ in range(requests):
        caller.send(kind)
        time.sleep(pause)
    control(server, "-d")
    [dump] = folder.glob("out.*")
    text = dump.read_text()
    dump.unlink()
    return int(re.search(r"^(?:summary|totals): (\d+)", text, re.M).group(1)) / requests


def measure(program, folder, recent):
    server, caller = start(program, folder, recent)
    counted = {kind: [count(server, caller, folder, kind, *load) for load in (FLOOD, SLOW)] for kind in KINDS}
    server.terminate()
    server.communicate()
    (folder / "out").unlink()
    return counted


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--recent", type=int, default=16384)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "edge.toml").write_text(CONFIG)
        (folder / "edge.toml").chmod(0o600)
        off = measure(arguments.program, folder, 0)
        on = measure(arguments.program, folder, arguments.recent)
        print(f"{'':<18} {'flood':^24} {'slow':^25}")
        print(f"{'':<18} {'off':>8} {'on':>8} {'more':>6} {'off':>9} {'on':>8} {'more':>6}")
        failed = False
        for kind in KINDS:
            row = f"{kind:<18}"
            for without, kept in zip(off[kind], on[kind]):
                row += f" {without:8.0f} {kept:8.0f} {100 * (kept / without - 1):5.1f}% "
            print(row)
            failed |= on[kind][0] > off[kind][0] * (1 + MOST / 100)
        sys.exit(failed)


main()
