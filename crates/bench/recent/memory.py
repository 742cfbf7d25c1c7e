#!/usr/bin/env python3
"""Measures the memory of the program with recent decisions: at the start, and after its rings for datagrams are full.

Refuses calls to 4,000 domains over UDP, more than the rings have room for. Linux only.

usage: memory.py PROGRAM [N…]
"""

import pathlib
import re
import socket
import subprocess
import sys
import tempfile

DOMAINS = 4000
WINDOW = 64


def resident(server):
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024


def measure(program, folder, recent):
    server = subprocess.Popen(
        [program, "serve", "--sip", "127.0.0.1:0", "--api", "off", "--config", folder / "edge.toml",
         "--on-accept", "ok", "--udp-workers", "1", "--recent", str(recent)],
        stdout=subprocess.PIPE, text=True)
    port = None
    for line in server.stdout:
        if found := re.search(r"listening for SIP on 127.0.0.1:(\d+) ", line):
            port = int(found.group(1))
        if "snapshot 1" in line:
            break
    caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    caller.connect(("127.0.0.1", port))
    caller.settimeout(10)

    def send(count):
        for start in range(0, count, WINDOW):
            for number in range(start, start + WINDOW):
                caller.send(
                    (f"INVITE sip:+15550100@d{number % DOMAINS}.example SIP/2.0\r\n"
                     f"Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{number};rport\r\nMax-Forwards: 70\r\n"
                     f"To: <sip:+15550100@example.com>\r\nFrom: <sip:alice@example.com>;tag={number}\r\n"
                     f"Call-ID: {number:032x}@192.0.2.1\r\nCSeq: 1 INVITE\r\n"
                     "User-Agent: Phone/5.6.4 (0004f2aabbcc)\r\nContent-Length: 0\r\n\r\n").encode())
            for _ in range(WINDOW):
                caller.recv(65536)

    send(WINDOW * 100)
    before = resident(server)
    # the only thread for datagrams has half of the records
    room = recent // 2
    send(room + room // 4)
    after = resident(server)
    server.terminate()
    server.wait()
    each = (after - before) * 2**20 / room if room else 0
    print(f"{recent:>9} {room:>9} {before:>8.1f} {after:>8.1f} {each:>8.0f}", flush=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        config = "[[ip_access_control_lists]]\nname = 'a'\naddresses = ['192.0.2.1']\n"
        for number in range(DOMAINS):
            config += f"[[domains]]\nname = 'd{number}.example'\nip_access_control_lists = ['a']\n"
        (folder / "edge.toml").write_text(config)
        (folder / "edge.toml").chmod(0o600)
        print(f"{'--recent':>9} {'filled':>9} {'MiB':>8} {'full':>8} {'B each':>8}")
        for recent in [int(number) for number in sys.argv[2:]] or [0, 16384, 1048576]:
            measure(sys.argv[1], folder, recent)


main()
