#!/usr/bin/env python3
"""Measures how fast the API commits: POST of a credential at several concurrencies.

Usage: run.py POSTER PROGRAM SECONDS [PROGRAM...]

POSTER is the program `commits`. Each PROGRAM is a build of sip-authz; they take turns. The stores are SQLite, an
etcd, and an etcd with four servers. Prints a row for each concurrency and program: commits a second, the
median and the 99th percentile of the answers in ms, and the number of 503. Exits with 1 if another status came,
or if the records afterwards are not those that were acknowledged.
"""
import base64
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TOKEN = "0123456789abcdef0123456789abcdef"
CONCURRENCIES = (1, 8, 64, 256)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url, process, log):
    """Waits until a server answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return urllib.request.urlopen(url + "/health", timeout=5).read()
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    sys.exit(f"{process.args[0]} did not start:\n{log.read_text()}")


class Etcd:
    def __init__(self, folder):
        self.client, peer = free_port(), free_port()
        url, peers = f"http://127.0.0.1:{self.client}", f"http://127.0.0.1:{peer}"
        log = folder / "etcd.log"
        self.process = subprocess.Popen(
            ["etcd", "--data-dir", folder / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
             "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
             "--initial-cluster", f"default={peers}"],
            stdout=log.open("wb"), stderr=subprocess.STDOUT)
        self.url = url
        wait_for(url, self.process, log)


class Servers:
    """Servers of one program on an empty store, with an account and a list."""

    def __init__(self, program, store, folder):
        self.processes = []
        arguments, count = ["--data", folder / "data"], 1
        if store != "sqlite":
            etcd = Etcd(folder)
            self.processes.append(etcd.process)
            arguments, count = ["--etcd", etcd.url], 4 if store == "etcd-4" else 1
        self.apis = []
        for number in range(count):
            api = f"127.0.0.1:{free_port()}"
            name = ["--edge-name", f"edge{number}"] if store != "sqlite" else []
            log = folder / f"serve{number}.log"
            self.processes.append(subprocess.Popen(
                [program, "serve", "--sip", "127.0.0.1:0", "--on-accept", "ok", "--api", api, "--realm", "example.com",
                 "--limit", "credentials=10000000", "--limit", "credential-lists=1000", *arguments, *name],
                stdout=log.open("wb"), stderr=subprocess.STDOUT, env={**os.environ, "SIP_AUTHZ_ADMIN_TOKEN": TOKEN}))
            self.apis.append(api)
            wait_for(f"http://{api}", self.processes[-1], log)
        account = self.post("/2010-04-01/Accounts.json", "FriendlyName=bench")["sid"]
        self.sip = f"/2010-04-01/Accounts/{account}/SIP"
        self.lists = 0

    @property
    def authorization(self):
        return "Basic " + base64.b64encode(f"admin:{TOKEN}".encode()).decode()

    def request(self, path, data=None):
        headers = {"Authorization": self.authorization}
        request = urllib.request.Request(f"http://{self.apis[0]}{path}", data, headers)
        return json.load(urllib.request.urlopen(request, timeout=120))

    def post(self, path, form):
        return self.request(path, form.encode())

    def new_list(self):
        self.lists += 1
        made = self.post(f"{self.sip}/CredentialLists.json", f"FriendlyName=list{self.lists}")
        return f"{self.sip}/CredentialLists/{made['sid']}/Credentials.json"

    def count(self, path):
        found, page = 0, f"{path}?PageSize=1000"
        while page:
            answer = self.request(page)
            found += len(answer["credentials"])
            page = answer["next_page_uri"]
        return found

    def end(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def measure(poster, store, seconds, programs):
    is_right = True
    with tempfile.TemporaryDirectory() as root:
        servers = []
        for number, program in enumerate(programs):
            folder = pathlib.Path(root, str(number))
            folder.mkdir()
            servers.append(Servers(program, store, folder))
        print(f"{store:8} {'at once':>8} {'build':>6} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8} {'503':>6}")
        for concurrency in CONCURRENCIES:
            for number, server in enumerate(servers):
                path = server.new_list()
                command = [poster, "--path", path, "--authorization", server.authorization, "--prefix", "user",
                           "--connections", str(concurrency), "--seconds", seconds]
                for api in server.apis:
                    command += ["--api", api]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                print(f"{store:8} {concurrency:8} {number + 1:6} {found['rate']:8.0f} {found['p50_ms']:8.2f} "
                      f"{found['p99_ms']:8.2f} {found['busy']:6}", flush=True)
                kept = server.count(path)
                if found["wrong"] or not found["created"] <= kept <= found["created"] + found["busy"]:
                    print(f"wrong: {found['wrong']} other answers, {found['created']} acknowledged, {kept} kept")
                    is_right = False
        for server in servers:
            server.end()
    return is_right


def main(poster, program, seconds, *others):
    stores = ("sqlite", "etcd", "etcd-4")
    are_right = [measure(poster, store, seconds, [program, *others]) for store in stores]
    return 0 if all(are_right) else 1


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
