"""A rolling upgrade of three edges on one etcd: upgrade.py BINARY DIRECTORY OLD_BINARY.

Callers and an admin go on meanwhile, and each edge is taken out of their rotation before it stops. Prints a table of
the steps. Exits with 1 if a step is not as expected, 2 if the test could not run.
"""

import contextlib
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fleet"))
from steps import ALONE, PATIENCE, Failed, Table, free_port, until  # noqa: E402

LEASE = 10
# always admits callers; the admin changes whether the other one does
OPEN, TOGGLED = "open.example.com", "toggled.example.com"
# the answer of a domain without mapped lists
REFUSED = "403"


def invite(port, domain):
    """Sends an INVITE, repeats it as UDP needs, and returns the status of the answer."""
    mark = secrets.token_hex(8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((ALONE, port))
        own = f"{ALONE}:{s.getsockname()[1]}"
        request = (
            f"INVITE sip:100@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{mark};rport\r\n"
            f"From: <sip:caller@{own}>;tag={mark}\r\nTo: <sip:100@{domain}>\r\nCall-ID: {mark}\r\n"
            f"CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:caller@{own}>\r\n"
            f"Content-Length: 0\r\n\r\n").encode()
        for wait in (0.5, 1, 2, 4, 8):
            s.settimeout(wait)
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                s.send(request)
                return s.recv(65536).decode().split()[1]
    return "no answer"


class Edge:
    """An edge, which keeps its name and its ports from version to version."""

    def __init__(self, folder, name, etcd, token):
        self.name, self.folder, self.token, self.etcd = name, folder, token, etcd
        self.sip, self.port, self.process = free_port(), free_port(), None
        self.api = f"http://{ALONE}:{self.port}"

    def start(self, binary):
        command = [binary, "serve", "--etcd", self.etcd, "--sip", f"{ALONE}:{self.sip}",
                   "--api", f"{ALONE}:{self.port}", "--edge-name", self.name,
                   "--stale-for", f"{LEASE}s", "--on-accept", "ok"]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, "SIP_AUTHZ_ADMIN_TOKEN": self.token})

    def is_ready(self):
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.api}/health", timeout=5).status_code == 200
        return False

    def stop(self, by=signal.SIGTERM):
        self.process.send_signal(by)
        return self.process.wait(PATIENCE)

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def log(self):
        return (self.folder / f"{self.name}.log").read_text(errors="replace")


class Rotation:
    """The edges that callers and the admin use."""

    def __init__(self, edges):
        self.edges, self.busy = list(edges), threading.Condition()
        self.users = {edge.name: 0 for edge in edges}

    @contextlib.contextmanager
    def one(self, number):
        """An edge. It is not taken out before the caller is done with it."""
        with self.busy:
            edge = self.edges[number % len(self.edges)]
            self.users[edge.name] += 1
        try:
            yield edge
        finally:
            with self.busy:
                self.users[edge.name] -= 1
                self.busy.notify_all()

    def names(self):
        with self.busy:
            return [edge.name for edge in self.edges]

    @contextlib.contextmanager
    def without(self, edge):
        with self.busy:
            self.edges.remove(edge)
            self.busy.wait_for(lambda: self.users[edge.name] == 0)
        yield
        with self.busy:
            self.edges.append(edge)


class Site:
    """Requests of the admin for an account, and calls to its domains."""

    def __init__(self, rotation, token):
        self.rotation, self.token, self.counter = rotation, token, itertools.count()
        self.calls, self.changes, self.wrong, self.stop = 0, 0, [], threading.Event()

    def request(self, edge, method, path, **more):
        return requests.request(method, edge.api + path, auth=("admin", self.token), timeout=60, **more)

    def set_up(self):
        with self.rotation.one(0) as edge:
            def made(path, **form):
                answer = self.request(edge, "POST", path, data=form)
                if answer.status_code != 201:
                    raise Failed(f"{path}: {answer.status_code} {answer.text}")
                return answer.json()

            account = made("/2010-04-01/Accounts.json", FriendlyName="Acme")
            self.sid, self.login = account["sid"], (account["sid"], account["auth_token"])
            sip = f"/2010-04-01/Accounts/{self.sid}/SIP"
            lists = made(f"{sip}/IpAccessControlLists.json", FriendlyName="here")["sid"]
            made(f"{sip}/IpAccessControlLists/{lists}/IpAddresses.json", FriendlyName="one",
                 IpAddress=ALONE)
            names = [made(f"{sip}/Domains.json", DomainName=name)["sid"] for name in (OPEN, TOGGLED)]
            self.list, mappings = lists, [f"{sip}/Domains/{sid}/IpAccessControlListMappings"
                                          for sid in names]
            made(f"{mappings[0]}.json", IpAccessControlListSid=lists)
            self.mappings = mappings[1]

    def caller(self, number):
        """Calls the open domain at one edge after the other."""
        while not self.stop.is_set():
            number += 1
            with self.rotation.one(number) as edge:
                answer = invite(edge.sip, OPEN)
                self.calls += 1
                if answer != "200":
                    self.wrong.append(f"a call at {edge.name}: {answer}")
            time.sleep(0.02)

    def admin(self):
        """Opens and closes the other domain. After a confirmed change, all edges in the rotation decide by it."""
        while not self.stop.is_set():
            with self.rotation.one(next(self.counter)) as edge:
                self.change(edge, "POST", f"{self.mappings}.json",
                            {"IpAccessControlListSid": self.list})
            self.expect("200")
            with self.rotation.one(next(self.counter)) as edge:
                self.change(edge, "DELETE", f"{self.mappings}/{self.list}.json", {})
            self.expect(REFUSED)

    def change(self, edge, method, path, form):
        answer = self.request(edge, method, path, data=form,
                              params={"Wait": "applied", "WaitSeconds": "50"})
        self.changes += 1
        if answer.status_code not in (201, 204):
            self.wrong.append(f"{method} at {edge.name}: {answer.status_code} {answer.text}")

    def expect(self, status):
        for number in range(3):
            with self.rotation.one(number) as edge:
                answer = invite(edge.sip, TOGGLED)
                if answer != status:
                    self.wrong.append(f"after a confirmed change, {edge.name} answers {answer}")


def upgrade(binary, edge, token, *words):
    """The exit code of `sip-authz upgrade`, and its output."""
    ended = subprocess.run([binary, "upgrade", "--api", edge.api, *words], capture_output=True,
                           text=True, timeout=PATIENCE,
                           env={**os.environ, "SIP_AUTHZ_ADMIN_TOKEN": token})
    return ended.returncode, ended.stdout + ended.stderr


def formats(binary, edge, token):
    """The format of the store, and the newest one of each reported process, by name."""
    shown = json.loads(upgrade(binary, edge, token, "status", "--json")[1])
    return shown["format"], [f"{edge['name']} {edge['newest_format']}" for edge in shown["edges"]]


def test(binary, old, folder, table, ends):
    etcd_url, peer = f"http://{ALONE}:{free_port()}", f"http://{ALONE}:{free_port()}"
    with (folder / "etcd.log").open("ab") as log:
        etcd = subprocess.Popen(
            ["etcd", "--name", "one", "--data-dir", folder / "etcd", "--log-level", "error",
             "--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", f"one={peer}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    ends.callback(etcd.wait)
    ends.callback(etcd.kill)
    token = secrets.token_hex(16)
    edges = [Edge(folder, name, etcd_url, token) for name in ("north", "south", "west")]
    for edge in edges:
        ends.callback(edge.end)
        edge.start(old)
    table.step("three edges of the old version are ready", True,
               all(until(True, edge.is_ready) for edge in edges))
    north, south, west = edges
    site = Site(Rotation(edges), token)
    site.set_up()
    threads = [threading.Thread(target=site.caller, args=(number,)) for number in range(2)]
    threads.append(threading.Thread(target=site.admin))
    for thread in threads:
        thread.start()
    ends.callback(site.stop.set)

    def replace(edge, version):
        with site.rotation.without(edge):
            ended = edge.stop()
            edge.start(version)
            ready = until(True, edge.is_ready)
        return ended, ready

    def secondary(edge):
        return requests.post(f"{edge.api}/v1/AuthTokens/Secondary", auth=site.login,
                             timeout=60).status_code

    table.step("the first edge is replaced", (0, True), replace(north, binary))
    table.step("the formats show two old edges", (1, ["north 2", "south 1", "west 1"]),
               formats(binary, north, token))
    code, text = upgrade(binary, north, token, "finish")
    table.step("the format cannot rise", (1, True),
               (code, "needs an upgrade of these edges: south, west" in text))
    table.step("a record of the new format is refused", 409, secondary(north))
    table.step("the edge goes back to the old version", (0, True), replace(north, old))
    table.step("and is replaced again", (0, True), replace(north, binary))
    table.step("the second edge is replaced", (0, True), replace(south, binary))
    with site.rotation.without(west):
        # no report ends: the edge hangs
        west.process.send_signal(signal.SIGSTOP)
        code, text = upgrade(binary, north, token, "finish")
        table.step("an old edge that hangs keeps the format", (1, True),
                   (code, "needs an upgrade of these edges: west" in text))
        west.end()
        west.start(binary)
        table.step("the third edge is replaced", True, until(True, west.is_ready))
    all_new = (1, ["north 2", "south 2", "west 2"])
    table.step("the report of the killed edge ends with its lease", all_new,
               until(all_new, lambda: formats(binary, north, token)))
    code, text = upgrade(binary, south, token, "finish")
    table.step("the format rises", (0, "the store has format 2"), (code, text.splitlines()[0]))
    table.step("a record of the new format is made", 201, secondary(west))
    changes = site.changes
    table.step("changes go on", True, until(True, lambda: site.changes > changes + 3))
    site.stop.set()
    for thread in threads:
        thread.join(PATIENCE)

    late = Edge(folder, "late", etcd_url, token)
    ends.callback(late.end)
    late.start(old)
    table.step("the old version does not start any more", True,
               until(True, lambda: "unsupported version 3" in late.log()) and not late.is_ready())
    print(f"{site.calls} calls, {site.changes} changes that waited for all edges")
    table.step("calls and changes went on all the time", True, site.calls > 100 and site.changes > 5)
    table.step("no call was refused, and no revocation lost", [], site.wrong[:5])


def main():
    binary, folder, old = (os.path.abspath(argument) for argument in sys.argv[1:])
    table = Table()
    try:
        with contextlib.ExitStack() as ends:
            test(binary, old, Path(folder), table, ends)
    except (Failed, OSError, requests.RequestException, subprocess.SubprocessError) as error:
        print(f"upgrade: {error}", file=sys.stderr)
        return 2
    print(f"{table.steps - table.failed} of {table.steps} steps as expected")
    return 1 if table.failed else 0


sys.exit(main())
