"""Edges on one etcd, changed by the official Python client: fleet.py BINARY DIRECTORY APART.

If APART is not 0, this script runs in a network namespace. One edge has another one, joined by a pair of
interfaces, which the test cuts. Prints a table of the steps. Exits with 1 if a step is not as expected,
2 if the test could not run.
"""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

# the environment must not change the client or its HTTP library
for name in list(os.environ):
    if name.upper().startswith("TWILIO_") or name.lower().endswith("_proxy"):
        del os.environ[name]

import requests  # noqa: E402  a dependency of the client
from twilio.http.http_client import TwilioHttpClient  # noqa: E402
from twilio.rest import Client  # noqa: E402

from steps import ALONE, PATIENCE, Failed, Table, free_port, until  # noqa: E402

# the lease of the edge whose network is cut
LEASE = 12
DOMAINS = [f"d{n}.example.com" for n in range(6)]
# makes a change wait for all edges, with a short limit
SOON = {"Wait": "applied", "WaitSeconds": "8"}
LATE = "late.example.com"
# the address of etcd, and of the edge in the other network namespace
HERE, THERE = "192.0.2.1", "192.0.2.2"

PROBE = """
import socket, sys
address, domain, mark = sys.argv[1:]
host, port = address.rsplit(":", 1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(30)
    s.connect((host, int(port)))
    own = "%s:%d" % s.getsockname()
    s.send((
        f"INVITE sip:100@{domain} SIP/2.0\\r\\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{mark};rport\\r\\n"
        f"From: <sip:caller@{own}>;tag={mark}\\r\\nTo: <sip:100@{domain}>\\r\\nCall-ID: {mark}\\r\\n"
        f"CSeq: 1 INVITE\\r\\nMax-Forwards: 70\\r\\nContact: <sip:caller@{own}>\\r\\n"
        f"Content-Length: 0\\r\\n\\r\\n").encode())
    print(s.recv(65536).decode().split()[1])
"""


def run(*command, **more):
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=PATIENCE, **more)
    if ended.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {ended.stderr.strip()}")
    return ended.stdout


def certificates(folder, address):
    """Creates an authority and certificates for etcd and the edges, as an operator would."""
    def key(name, subject, *more):
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", folder / f"{name}.key", "-subj", subject, *more)

    key("ca", "/CN=fleet test authority", "-x509", "-days", "2", "-out", folder / "ca.pem",
        "-addext", "basicConstraints=critical,CA:TRUE")
    for name, extension in [("etcd", f"subjectAltName=IP:{address},IP:{ALONE}"),
                            ("edge", "extendedKeyUsage=clientAuth")]:
        key(name, f"/CN={name}", "-out", folder / f"{name}.csr")
        (folder / f"{name}.ext").write_text(extension + "\n")
        run("openssl", "x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem",
            "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", folder / f"{name}.ext", "-out", folder / f"{name}.pem")


class Etcd:
    """An etcd node that requires certificates, and passwords after `ask_for_passwords`."""

    def __init__(self, folder, address):
        self.folder, self.process = folder, None
        self.url, peer = f"https://{address}:{free_port()}", f"http://{ALONE}:{free_port()}"
        self.command = [
            "etcd", "--name", "one", "--data-dir", folder / "etcd", "--log-level", "error",
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"one={peer}", "--client-cert-auth",
            "--trusted-ca-file", folder / "ca.pem", "--cert-file", folder / "etcd.pem",
            "--key-file", folder / "etcd.key", "--logger", "zap",
        ]

    def start(self):
        with (self.folder / "etcd.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def ctl(self, *arguments):
        run("etcdctl", "--endpoints", self.url, "--cacert", self.folder / "ca.pem",
            "--cert", self.folder / "edge.pem", "--key", self.folder / "edge.key", *arguments,
            env={**os.environ, "ETCDCTL_API": "3"})

    def ask_for_passwords(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.ctl("endpoint", "health")
                break
            except Failed:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        self.ctl("user", "add", "root:root")
        self.ctl("user", "grant-role", "root", "root")
        self.ctl("role", "add", "edges")
        self.ctl("role", "grant-permission", "edges", "--prefix=true", "readwrite", "sip-authz/")
        self.ctl("user", "add", "fleet:fleet password")
        self.ctl("user", "grant-role", "fleet", "edges")
        self.ctl("auth", "enable")


class Edge:
    """The program, optionally in its own network namespace."""

    def __init__(self, binary, etcd, name, token, *more, apart=False, asked=False,
                 password="fleet password"):
        self.binary, self.name, self.prefix = binary, name, []
        self.out, self.err = etcd.folder / f"{name}.out", etcd.folder / f"{name}.err"
        self.sip, self.api = f"{ALONE}:{free_port()}", f"http://{ALONE}:{free_port()}"
        self.environment = {**os.environ, "SIP_AUTHZ_ADMIN_TOKEN": token,
                            "SIP_AUTHZ_ETCD_PASSWORD": password}
        command = [
            binary, "serve", "--etcd", etcd.url, "--etcd-ca", etcd.folder / "ca.pem",
            "--etcd-cert", etcd.folder / "edge.pem", "--etcd-key", etcd.folder / "edge.key",
            "--etcd-user", "fleet", "--edge-name", name, "--sip", self.sip,
            "--api", self.api.removeprefix("http://"), "--on-accept", "ok", *more,
        ]
        if asked:
            command += ["--api-advertise", self.api]
        if apart:
            # waits until its network is configured
            command = ["unshare", "--net", "sh", "-c", 'read -r _; exec "$@"', "sh", *command]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err,
                                            env=self.environment)
        if apart:
            self.connect()
        self.process.stdin.close()

    def connect(self):
        pid = str(self.process.pid)
        self.prefix = ["nsenter", "-t", pid, "-n"]
        own = os.readlink("/proc/self/ns/net")
        if until(True, lambda: os.readlink(f"/proc/{pid}/ns/net") != own) is not True:
            raise Failed("no network namespace for the edge")
        run("ip", "link", "set", "there", "netns", pid)
        for command in [f"address add {THERE}/30 dev there", "link set there up", "link set lo up"]:
            run(*self.prefix, "ip", *command.split())
        self.process.stdin.write(b"\n")

    def cut(self, change, *more):
        """Cuts or restores the link: sets an unused Ethernet address at both ends, or removes it."""
        for prefix, address, device in [([], THERE, "here"), (self.prefix, HERE, "there")]:
            run(*prefix, "ip", "neighbour", change, address, "dev", device, *more)

    def says(self, pattern, where=None):
        """Waits for this text in its output."""
        found = until(True, lambda: bool(re.search(pattern, (where or self.out).read_text(), re.M)))
        if not found:
            raise Failed(f"{self.name} did not print {pattern}: {self.err.read_text().strip()}")
        return True

    def status(self, domain, call=None):
        """The status of the answer to an INVITE, or `none`. `call` is its Call-ID."""
        call = call or secrets.token_hex(8)
        probe = [*self.prefix, sys.executable, "-c", PROBE, self.sip, domain, call]
        ended = subprocess.run(probe, capture_output=True, text=True, timeout=PATIENCE)
        return ended.stdout.strip() or "none"

    def comes_to(self, domain, expected):
        return until(expected, lambda: self.status(domain))

    def account(self, *arguments):
        return run(self.binary, "account", *arguments, "--api", self.api, env=self.environment)

    def fleet(self):
        """The exit code of `sip-authz status`, and the status of each edge."""
        command = [*self.prefix, self.binary, "status", "--json", "--api", self.api]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE,
                               env=self.environment)
        if not ended.stdout:
            return ended.returncode, ended.stderr.strip()
        # an edge whose name is not known has its URL in place of it
        edges = {edge["name"].replace(self.api, self.name): edge["status"]
                 for edge in json.loads(ended.stdout)["edges"]}
        return ended.returncode, edges

    def check(self, etcd, domain):
        """The status that `check` finds by the records in etcd, for an INVITE to a domain."""
        invite = (f"INVITE sip:1@{domain} SIP/2.0\nVia: SIP/2.0/UDP {ALONE};branch=z9hG4bK1\n"
                  f"From: <sip:a@{domain}>;tag=1\nTo: <sip:1@{domain}>\nCall-ID: 1\nCSeq: 1 INVITE\n\n")
        command = [
            self.binary, "check", "--etcd", etcd.url, "--etcd-ca", etcd.folder / "ca.pem",
            "--etcd-cert", etcd.folder / "edge.pem", "--etcd-key", etcd.folder / "edge.key",
            "--etcd-user", "fleet", "--json", "--source", ALONE, "-",
        ]
        ended = subprocess.run(command, input=invite, capture_output=True, text=True,
                               timeout=PATIENCE, env=self.environment)
        return str(json.loads(ended.stdout)["status"]) if ended.stdout else ended.stderr.strip()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Waiting(TwilioHttpClient):
    """Makes every change of the client wait for all edges."""

    def request(self, method, url, params=None, **others):
        return super().request(method, url, params={**(params or {}), **SOON}, **others)


def connect(edge, sid, token, http_client=None):
    client = Client(sid, token, http_client=http_client)
    client.api.base_url = edge.api
    return client


def delete(client, domain, **query):
    """Deletes a domain, and returns the answer and the time it took."""
    sid = client.domains[domain]
    path = f"/2010-04-01/Accounts/{client.account_sid}/SIP/Domains/{sid}.json"
    begun = time.monotonic()
    answer = client.request("DELETE", client.api.base_url + path, params=query)
    took = time.monotonic() - begun
    return told(answer), took


def told(answer):
    """The status, and the edges that have not confirmed a change."""
    edges = f" {','.join(json.loads(answer.text)['edges'])}" if answer.status_code == 202 else ""
    return f"{answer.status_code}{edges}"


class Asking:
    """A caller of the API who asks about decisions."""

    def __init__(self, user, token):
        self.auth, self.took = (user, token), 0

    def get(self, edge, path, **params):
        begun = time.monotonic()
        answer = requests.get(edge.api + path, params=params, auth=self.auth, timeout=PATIENCE)
        self.took = time.monotonic() - begun
        return answer

    def edges(self, edge, call):
        """The edges that decided about a call, and those that do not answer, as `edge` says."""
        found = self.get(edge, "/v1/Decisions", CallId=call).json()
        return ([row["edge"] for row in found["decisions"]],
                [silent["edge"] for silent in found["silent_edges"]])

    def follow(self, edge, call):
        """Opens a stream. Returns a list to which the edges of its decisions are added."""
        stream = requests.get(f"{edge.api}/v1/Decisions/Stream", params={"CallId": call},
                              auth=self.auth, stream=True, timeout=PATIENCE)
        seen = []

        def read():
            with contextlib.suppress(requests.RequestException):
                for line in stream.iter_lines(chunk_size=1):
                    data = json.loads(line[5:]) if line.startswith(b"data:") else {}
                    if "sid" in data:
                        seen.append(data["edge"])

        threading.Thread(target=read, daemon=True).start()
        return seen


def decisions(table, north, west, east, own, other, admin):
    """A call is refused at north. The other edges find it. South has no --api-advertise."""
    call = secrets.token_hex(8)
    seen = own.follow(east, call)
    # the stream has asked each edge for its time
    time.sleep(4)
    table.step("an INVITE at north, refused", "403", north.status(DOMAINS[-1], call))
    for name, asking in (("its account", own), ("the admin", admin)):
        table.step(f"{name} asks west, which finds it at north", (["north"], ["south"]),
                   until((["north"], ["south"]), lambda: asking.edges(west, call)))
    table.step("another account asks west and finds none", [], other.edges(west, call)[0])
    table.step("a stream of east shows it, once", ["north"], until(["north"], lambda: list(seen)))
    sid = own.get(west, "/v1/Decisions", CallId=call).json()["decisions"][0]["sid"]
    table.step("west shows it by its SID", (200, "north"),
               (lambda answer: (answer.status_code, answer.json().get("edge")))(
                   own.get(west, f"/v1/Decisions/{sid}")))
    table.step("another account does not get it", 404,
               other.get(west, f"/v1/Decisions/{sid}").status_code)
    north.signal(signal.SIGSTOP)
    found = own.edges(west, call)
    table.step(f"north is stopped: it is named ({own.took:.2f} s)", ([], ["north", "south"]), found)
    silent = {one["edge"]: one["reason"] for one in admin.get(west, "/v1/Decisions", CallId=call).json()["silent_edges"]}
    table.step("after a second", "no answer within 1 s", silent.get("north"))
    north.signal(signal.SIGCONT)
    table.step("north continues: west finds the call again", (["north"], ["south"]),
               until((["north"], ["south"]), lambda: own.edges(west, call)))
    table.step("and the stream has shown nothing twice", ["north"], seen)


def health(edge):
    return Client("nobody", "none").request("GET", f"{edge.api}/health").status_code


def steps(table, folder, binary, apart, running):
    address = HERE if apart else ALONE
    if apart:
        # reachable from the edge in the other network namespace
        run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
        run("ip", "address", "add", f"{HERE}/30", "dev", "here")
        run("ip", "link", "set", "here", "up")
    certificates(folder, address)
    etcd = Etcd(folder, address)
    running.callback(etcd.end)
    token = secrets.token_hex(16)

    def edge(name, *more, **kwargs):
        started = Edge(binary, etcd, name, token, *more, **kwargs)
        running.callback(started.kill)
        return started

    etcd.start()
    etcd.ask_for_passwords()
    etcd.end()
    south = edge("south", "--stale-for", f"{LEASE}s", apart=apart)
    table.step("an edge that starts without etcd reports it and waits", True,
               south.says("waiting for the store since", south.err))
    etcd.start()
    north = edge("north", asked=True)
    west = edge("west", asked=True)
    east = edge("east", asked=True)
    for each in (north, west, east, south):
        table.step(f"{each.name} has loaded by TLS, with a certificate and a password", True,
                   each.says("^listening for HTTP"))
    wrong = edge("wrong", password="guess")
    table.step("a wrong password ends the program", 2, wrong.process.wait(PATIENCE))

    sid, auth = re.search(r"(AC\w{32})\s+.*?([0-9a-f]{32})",
                          north.account("create", "Acme"), re.DOTALL).groups()
    client = connect(north, sid, auth)
    client.domains = {d: client.api.account.sip.domains.create(domain_name=d).sid for d in DOMAINS}
    for each in (north, west, south):
        table.step(f"domains made at north: an INVITE at {each.name}", "403",
                   each.comes_to(DOMAINS[-1], "403"))
    table.step("and west lists them", len(DOMAINS),
               len(connect(west, sid, auth).api.account.sip.domains.list()))
    table.step("check reads the same records from etcd", "403", west.check(etcd, DOMAINS[-1]))

    fleet = {"east": "ok", "north": "ok", "south": "unknown", "west": "ok"}
    table.step("status at north: all edges are well", (0, fleet), until((0, fleet), north.fleet))
    # the others do not reach it: it has no --api-advertise
    table.step("status at south has the health of south", "ok",
               until("ok", lambda: south.fleet()[1]["south"]))

    stranger = re.search(r"(AC\w{32})\s+.*?([0-9a-f]{32})",
                         north.account("create", "Other"), re.DOTALL).groups()
    east.comes_to(DOMAINS[-1], "403")
    decisions(table, north, west, east, Asking(sid, auth), Asking(*stranger),
              Asking("admin", token))
    table.step("east ends on SIGTERM", 0, east.end())

    answer, took = delete(client, DOMAINS[0], Wait="applied")
    table.step(f"deleted, and waited for all edges ({took:.2f} s)", "204", answer)
    for each in (north, west, south):
        table.step(f"at once, an INVITE at {each.name}", "404", each.status(DOMAINS[0]))
    table.step("and check finds no domain in etcd", "404", west.check(etcd, DOMAINS[0]))

    west.signal(signal.SIGSTOP)
    answer, took = delete(client, DOMAINS[1], Wait="applied", WaitSeconds="8")
    table.step(f"west, which has no lease, is stopped: it is named ({took:.2f} s)", "202 west", answer)
    fleet = {"north": "ok", "south": "unknown", "west": "no answer"}
    table.step("status at north names it", (1, fleet), north.fleet())
    made = connect(north, sid, auth, Waiting()).api.account.sip.domains.create(domain_name=LATE)
    table.step("a domain that is made meanwhile is answered with what it is", ("SD", LATE),
               (made.sid[:2], made.domain_name))
    rotate = f"{north.api}/2010-04-01/Accounts/{sid}/AuthToken.json"
    answer = Client("admin", token).request("POST", rotate, params=SOON)
    table.step("a new auth token is shown, though west is named", "202 west", told(answer))
    domains, client = client.domains, connect(north, sid, json.loads(answer.text)["auth_token"])
    client.domains = domains
    table.step("and the new token works", "Acme", client.api.account.fetch().friendly_name)
    west.signal(signal.SIGCONT)
    table.step("west continues and catches up", "404", west.comes_to(DOMAINS[1], "404"))

    if apart:
        south.cut("replace", "lladdr", "02:00:00:00:00:01", "nud", "permanent")
        answer, took = delete(client, DOMAINS[2], Wait="applied")
        table.step(f"south's network is cut: its lease is waited for ({took:.2f} s)", "204", answer)
        table.step("at once, an INVITE at south", "503", south.status(DOMAINS[2]))
        south.cut("delete")
        table.step("the network is back: south has caught up", "404",
                   south.comes_to(DOMAINS[2], "404"))

    etcd.end()
    table.step("etcd is stopped: an INVITE at north", "403", north.status(DOMAINS[3]))
    table.step("south answers 503 once its lease has ended", "503", south.comes_to(DOMAINS[3], "503"))
    table.step("north's /health reports it", 503, until(503, lambda: health(north)))
    table.step("status at north shows its own health alone", (1, {"north": "degraded"}), north.fleet())
    table.step("and at south", (1, {"south": "refusing"}), south.fleet())
    table.step("and stderr has the reason", True,
               north.says("HTTP request failed: the store: .*etcd", north.err))
    etcd.start()
    table.step("etcd is restarted without sessions: south decides again", "403",
               south.comes_to(DOMAINS[3], "403"))
    table.step("/health recovers", 200, until(200, lambda: health(north)))
    answer, _ = delete(client, DOMAINS[3], Wait="applied")
    table.step("a change that waits for all", "204", answer)
    for each in (north, west, south):
        table.step(f"an INVITE at {each.name}", "404", each.status(DOMAINS[3]))
    for each in (north, west, south):
        table.step(f"{each.name} ends on SIGTERM", 0, each.end())


def main():
    binary, folder, apart = sys.argv[1], Path(sys.argv[2]), sys.argv[3] != "0"
    table, begun = Table(), time.monotonic()
    if apart:
        run("ip", "link", "set", "lo", "up")
    else:
        print("network namespaces are not available here: the network cut is skipped")
    try:
        with contextlib.ExitStack() as running:
            steps(table, folder, str(Path(binary).resolve()), apart, running)
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        print(f"fleet: {error}", file=sys.stderr)
        for log in sorted(folder.glob("*.err")):
            print(f"--- {log.name}\n{log.read_text().strip()}", file=sys.stderr)
        sys.exit(2)
    took = time.monotonic() - begun
    print(f"{table.steps} steps, {table.failed} failed, in {took:.0f} s")
    sys.exit(1 if table.failed else 0)


# ending this script ends its child processes
signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
main()
