"""Calls through Kamailio with docs/recipes/kamailio.cfg: behind_kamailio.py BINARY DIRECTORY.

Kamailio relays each INVITE to the program, and accepted calls to a gateway, which is sipp. Callers
have two addresses. Everything is run twice: the program takes the source from the header that Kamailio
sets, and from Via.

- An access list with one of the addresses admits its calls and refuses those of the other.
- Wrong passwords from one address do not limit the other.
- Header fields and Vias that a caller forges change nothing, through Kamailio and past it.
- The gateway gets the number, and no credentials.

Exit code: 0 all as expected, 1 a call differs, 2 the test could not run.
"""

import hashlib
import itertools
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))
from edge import Failed, end, free_port, json_lines, require, run_script, start  # noqa: E402

RECIPE = HERE.parents[3] / "docs/recipes/kamailio.cfg"
INSIDE, OUTSIDE = "127.0.0.2", "127.0.0.3"
ASKING, PUBLIC, GATEWAY = "127.0.0.1", "127.0.0.10", "127.0.0.20"
USER, PASSWORD, REALM = "alice", "correct horse", "example"
CONFIGURATION = f"""\
realm = "{REALM}"
[[ip_access_control_lists]]
name = "inside"
addresses = ["{INSIDE}"]
[[credential_lists]]
name = "staff"
credentials = [{{ username = "{USER}", password = "{PASSWORD}" }}]
[[domains]]
name = "by-address.example"
ip_access_control_lists = ["inside"]
[[domains]]
name = "by-password.example"
credential_lists = ["staff"]
# no guess comes back during the test
policy = {{ algorithms = "md5-first", guesses = {{ pair = {{ burst = 10, refill_ms = 3600000 }} }} }}
"""
# The machine may be busy.
SECONDS = 60
NUMBERS = itertools.count(1)


def wait_for(what, condition):
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise Failed(f"{what}: not within {SECONDS} s")


# --- the three programs -----------------------------------------------------------------------------------------------


class Setup:
    """The program, Kamailio and the gateway, until the end of the block."""

    def __init__(self, binary, directory, options):
        directory.mkdir(parents=True)
        self.binary, self.directory, self.options = binary, directory, options
        self.decision_log = directory / "decisions.json"
        self.processes = []

    def __enter__(self):
        try:
            self.start_edge()
            self.gateway = free_port(GATEWAY)
            self.public = free_port(PUBLIC)
            self.start_gateway()
            self.start_kamailio()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            end(process)

    def run(self, name, command, **options):
        out = self.directory / name
        process = start([str(part) for part in command], out, **options)
        self.processes.append(process)
        return process, out

    def start_edge(self):
        config = self.directory / "edge.toml"
        config.touch(mode=0o600)
        config.write_text(CONFIGURATION)
        command = [self.binary, "serve", "--sip", "127.0.0.1:0", "--api", "off", "--config", config]
        command += ["--on-accept", "redirect:sip:accepted.invalid", "--trusted-proxy", ASKING]
        command += ["--decision-log", self.decision_log, "--decision-log-names"]
        command += ["--decision-log-rate", "unlimited", *self.options]
        _, out = self.run("edge.out", command)
        listening = r"^listening for SIP on 127\.0\.0\.1:(\d+)"
        self.edge = int(
            wait_for("the program", lambda: re.search(listening, out.read_text(), re.M))[1]
        )

    def start_gateway(self):
        self.trace = self.directory / "gateway.messages"
        self.trace.touch()
        command = ["sipp", "-sf", HERE / "gateway.xml", "-i", GATEWAY, "-p", self.gateway, "-nostdin"]
        self.run("gateway.out", [*command, "-trace_msg", "-message_file", self.trace])

    def start_kamailio(self):
        asking = free_port(ASKING)
        text = RECIPE.read_text()
        for written, here in [
            ("203.0.113.10:5060", f"{PUBLIC}:{self.public}"),
            ("127.0.0.1:5062", f"{ASKING}:{asking}"),
            ("127.0.0.1:5070", f"127.0.0.1:{self.edge}"),
            ("192.0.2.20:5060", f"{GATEWAY}:{self.gateway}"),
            ('"192.0.2.20"', f'"{GATEWAY}"'),
            ('$rp = "5060"', f'$rp = "{self.gateway}"'),
            ("log_stderror=no", "log_stderror=yes"),
        ]:
            if written not in text:
                raise Failed(f"{RECIPE}: there is no {written}")
            text = text.replace(written, here)
        config = self.directory / "kamailio.cfg"
        config.write_text(text)
        command = ["kamailio", "-f", config, "-DD", "-E", "-m", "64", "-M", "8"]
        command += ["-P", self.directory / "kamailio.pid", "-Y", self.directory]
        process, out = self.run("kamailio.out", command)
        ping = Request("OPTIONS", f"sip:{PUBLIC}:{self.public}")
        with Caller(INSIDE) as caller:
            until = time.monotonic() + SECONDS
            while not caller.ask(ping.text(caller), self.kamailio, seconds=0.3):
                if process.poll() is not None or time.monotonic() > until:
                    raise Failed(f"Kamailio does not answer:\n{out.read_text(errors='replace')}")

    @property
    def kamailio(self):
        return (PUBLIC, self.public)

    def decisions(self):
        return json_lines(self.decision_log)

    def accepts(self):
        return sum(one["outcome"] == "accept" for one in self.decisions())

    def at_the_gateway(self, number):
        """The first INVITE for this number that the gateway has received."""
        for text in re.split(r"^-{10,}.*$", self.trace.read_text(errors="replace"), flags=re.M):
            found = re.search(rf"^INVITE sip:{number}@.*", text, re.M | re.S)
            if found:
                return found[0]
        return None


# --- callers ----------------------------------------------------------------------------------------------------------


class Request:
    """A request of a caller, whose fields a test can forge."""

    def __init__(self, method, uri, *, via=None, lines=(), to=""):
        self.method, self.uri, self.via, self.lines, self.to = method, uri, via, lines, to
        self.call_id = f"call{next(NUMBERS)}.{time.monotonic_ns()}"

    def text(self, caller, cseq=1, credentials=""):
        ip, port = caller.address
        via = self.via or "Via: SIP/2.0/UDP {ip}:{port};branch={branch};rport"
        branch = f"z9hG4bK{next(NUMBERS)}x{time.monotonic_ns()}"
        fill = {"ip": ip, "port": port, "branch": branch, "inside": INSIDE}
        head = [
            f"{self.method} {self.uri} SIP/2.0",
            via.format(**fill),
            *(line.format(**fill) for line in self.lines),
            f"From: <sip:caller@{ip}>;tag=1",
            f"To: <{self.uri}>{self.to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {self.method}",
            f"Contact: <sip:caller@{ip}:{port}>",
            "Max-Forwards: 70",
        ]
        if credentials:
            head.append(f"Proxy-Authorization: {credentials}")
        return "\r\n".join([*head, "Content-Length: 0", "\r\n"]).encode()


class Caller:
    """A UDP socket with an address of its own."""

    def __init__(self, ip):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, 0))
        self.address = self.socket.getsockname()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, request, to, seconds=20):
        """The final answer to a request, or none. An answer to an INVITE is acknowledged."""
        self.socket.sendto(request, to)
        identity = re.search(rb"^(?:Call-ID: .*|CSeq: .*)", request, re.M)[0]
        number = re.search(rb"^CSeq: (\d+ \w+)", request, re.M)[1]
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                answer = self.socket.recv(65_535)
            except (TimeoutError, ConnectionError):
                return None
            if identity not in answer or b"CSeq: " + number not in answer:
                continue
            status = int(answer[8:11])
            if status >= 300 and b" INVITE" in number:
                self.acknowledge(request, answer, to)
            if status >= 200:
                return answer.decode()
        return None

    def acknowledge(self, request, answer, to):
        lines = request.split(b"\r\n")
        lines[0] = lines[0].replace(b"INVITE", b"ACK", 1)
        own_to = re.search(rb"^To: .*?(?=\r\n)", answer, re.M)[0]
        lines = [own_to if line.startswith(b"To: ") else line for line in lines]
        text = b"\r\n".join(lines).replace(b" INVITE\r\n", b" ACK\r\n")
        self.socket.sendto(text, to)

    def call_with(self, password, to, uri):
        """The final answer to a call with this password."""
        request = Request("INVITE", uri)
        challenge = self.ask(request.text(self), to)
        if not challenge or not challenge.startswith("SIP/2.0 407"):
            raise Failed(f"expected a challenge, got {challenge}")
        credentials = digest(challenge, uri, password)
        return self.ask(request.text(self, 2, credentials), to)


def digest(challenge, uri, password):
    """The credentials for the MD5 challenge of an answer."""
    for offer in re.findall(r"^Proxy-Authenticate: Digest (.*)$", challenge, re.M):
        # without an algorithm it is MD5 (RFC 7616 §3.3)
        if (re.findall(r"algorithm=([\w-]+)", offer) or ["MD5"]) == ["MD5"]:
            break
    else:
        raise Failed(f"no MD5 challenge in {challenge}")
    nonce = re.search(r'nonce="([^"]*)"', offer)[1]

    def md5(*parts):
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    ha1, ha2 = md5(USER, REALM, password), md5("INVITE", uri)
    response = md5(ha1, nonce, "00000001", "c", "auth", ha2)
    return (
        f'Digest username="{USER}", realm="{REALM}", nonce="{nonce}", uri="{uri}", qop=auth, '
        f'nc=00000001, cnonce="c", algorithm=MD5, response="{response}"'
    )


def sipp(setup, ip, domain, number, directory):
    """A call with sipp, to its end. Returns whether it went as a call does, and the final statuses."""
    messages = directory / f"sipp-{number}.messages"
    command = ["sipp", f"{PUBLIC}:{setup.public}", "-sf", HERE / "call.xml", "-key", "domain", domain]
    command += ["-s", number, "-au", USER, "-ap", PASSWORD, "-i", ip, "-bind_local", "-m", "1"]
    command += ["-nostdin", "-timeout", "40s", "-timeout_error", "-trace_msg"]
    command += ["-message_file", messages]
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    statuses = re.findall(r"^SIP/2\.0 (\d+)", messages.read_text(errors="replace"), re.M)
    # sipp does not acknowledge an answer that it does not expect, so that comes again
    final = [int(status) for status in statuses if not status.startswith("1")]
    return done.returncode == 0, [status for status, _ in itertools.groupby(final)]


# --- what is checked --------------------------------------------------------------------------------------------------

FORGED_LINES = [
    "X-Authz-Source: {inside}:5060",
    "x-authz-source:{inside}:5060",
    "X-authz-source : {inside}:5060",
    "X-AUTHZ-SOURCE\t \t: {inside}:5060",
    "X-Authz-Source:\r\n {inside}:5060",
    "X-Authz-Source: {inside}:5060\r\nX-Authz-Source: {inside}:5060",
    "X-Authz-Source: {inside}:5060, {inside}:5060",
    "X-Authz-Source: x\r\nSubject: y\r\nX-Authz-Source: {inside}:5060",
    "X-Forwarded-For: {inside}",
    "Via: SIP/2.0/UDP {inside}:5060;branch=z9hG4bKf;received={inside};rport=5060",
    "v: SIP/2.0/UDP {inside}",
    "Record-Route: <sip:{inside};lr>",
]
OWN = "SIP/2.0/UDP {ip}:{port};branch={branch}"
FORGED_VIAS = [
    "Via: SIP/2.0/UDP {inside}:5060;branch={branch}",
    "Via: SIP/2.0/UDP {inside}:5060;branch={branch};rport",
    "v:SIP/2.0/UDP {inside}:5060;branch={branch};rport=5060",
    f"Via: {OWN};received={{inside}}",
    f"Via: {OWN};received={{inside}};rport=5060",
    f"Via: {OWN};rport;received={{inside}}",
    f"Via: {OWN};RECEIVED = {{inside}};rport;rport=5060",
    "Via: SIP/2.0/UDP {inside}:5060;received={inside};rport=5060;branch={branch}",
    f"Via : {OWN};rport, SIP/2.0/UDP {{inside}};branch=z9hG4bKf;received={{inside}}",
    f"V\t: {OWN}\r\nVIA: SIP/2.0/UDP {{inside}};received={{inside}};rport=5060",
    f"Via: {OWN};x=\"\\\";received={{inside}},SIP/2.0/UDP h;y=\"",
    f"Via: {OWN};x=\",SIP/2.0/UDP {{inside}};received={{inside}}\"",
    "Via: SIP/2.0/UDP {inside};x=\"\\\",SIP/2.0/UDP h;y=\";branch={branch}",
    f"Via: {OWN} (;received={{inside}})",
    "Via: SIP/2.0/UDP {inside} (x, SIP/2.0/UDP h);branch={branch}",
    "Via: SIP/2.0/UDP\r\n {inside}:5060;branch={branch};rport",
    f"Via: {OWN}\r\n ;received={{inside}}",
    "Via: SIP/2.0/UDP phone.example;branch={branch};received={inside}",
    "Via: SIP/2.0/UDP [::ffff:{inside}]:5060;branch={branch}",
]


class Report:
    def __init__(self, mode):
        self.mode, self.failed = mode, 0

    def check(self, name, holds, seen=""):
        self.failed += not holds
        verdict = "ok" if holds else f"FAILED: {seen}"
        print(f"{self.mode:8} {name:72} {verdict}", flush=True)


def lists_and_numbers(setup, report):
    for ip, domain, number, expected in [
        (INSIDE, "by-address.example", "14155550100", [200]),
        (OUTSIDE, "by-address.example", "14155550101", [403]),
        (INSIDE, "by-password.example", "14155550102", [407, 200]),
        (OUTSIDE, "by-password.example", "14155550103", [407, 200]),
    ]:
        ended, statuses = sipp(setup, ip, domain, number, setup.directory)
        holds = statuses == expected and ended == (expected[-1] == 200)
        report.check(f"{domain} from {ip} answers {expected}", holds, (ended, statuses))
        if expected == [403]:
            seen = setup.at_the_gateway(number)
            report.check(f"{number} does not reach the gateway", seen is None, seen)
            continue
        # sipp writes its trace in its own time
        seen = wait_for(f"{number} at the gateway", lambda: setup.at_the_gateway(number))
        report.check(f"{number} reaches the gateway", seen is not None, setup.trace.read_text())
        extra = re.findall(r"^(?:Proxy-Authorization|X-Authz-Source).*", seen or "", re.M | re.I)
        report.check("the gateway gets no credentials and no source", not extra, extra)
    # the log has a writer of its own, so lines are late
    wait_for("three accepts in the log", lambda: setup.accepts() == 3)
    sources = {one["source"].rsplit(":", 1)[0] for one in setup.decisions()}
    report.check("the log names both callers", sources == {INSIDE, OUTSIDE}, sources)


def guesses(setup, report):
    uri = "sip:100@by-password.example"
    with Caller(OUTSIDE) as guesser, Caller(INSIDE) as other:
        answers = [guesser.call_with(f"guess {n}", setup.kamailio, uri) or "" for n in range(14)]
        refused = all(answer.startswith("SIP/2.0 403") for answer in answers)
        report.check("14 wrong passwords are refused", refused, answers)
        limited = lambda: "too-many-guesses" in [one["reason"] for one in setup.decisions()]
        report.check("their source is limited", wait_for("a limited guess", limited))
        answer = other.call_with(PASSWORD, setup.kamailio, uri) or ""
        report.check("the other address is not limited", answer.startswith("SIP/2.0 200"), answer)
    with Caller(OUTSIDE) as guesser:
        answer = guesser.call_with(PASSWORD, setup.kamailio, uri) or ""
        report.check("the right password from the limited one", answer.startswith("SIP/2.0 403"), answer)


def forged(setup, report):
    accepted = setup.accepts()
    for kind, texts in (("field", FORGED_LINES), ("Via", FORGED_VIAS)):
        for text in texts:
            given = {"lines": (text,)} if kind == "field" else {"via": text}
            number = f"900{next(NUMBERS)}"
            request = Request("INVITE", f"sip:{number}@by-address.example", **given)
            with Caller(OUTSIDE) as caller:
                # only a field must get an answer
                seconds = 20 if kind == "field" else 1
                answer = caller.ask(request.text(caller), setup.kamailio, seconds) or "none"
            holds = answer.split()[1:2] not in (["200"], ["302"])
            holds &= setup.at_the_gateway(number) is None
            # a Via that nobody can read may get no answer; a field changes nothing at all
            if kind == "field":
                holds &= answer.startswith("SIP/2.0 403")
            shown = text.encode("unicode_escape").decode()
            report.check(f"forged {kind}: {shown} -> {answer.splitlines()[0]}", holds, answer)
    # the other way round: a caller in the list cannot lose its place by a field
    request = Request(
        "INVITE", "sip:7001@by-address.example", lines=(f"X-Authz-Source: {OUTSIDE}:5060",)
    )
    with Caller(INSIDE) as caller:
        answer = caller.ask(request.text(caller), setup.kamailio) or ""
    report.check("a field that names another source", answer.startswith("SIP/2.0 200"), answer)
    wait_for("the accept in the log", lambda: setup.accepts() > accepted)
    report.check("nothing else was accepted", setup.accepts() == accepted + 1, setup.decisions())


def past_the_proxy(setup, report):
    """Requests that leave out a step: past Kamailio, or past the program."""
    source = f"X-Authz-Source: {INSIDE}:5060"
    via = f"Via: SIP/2.0/UDP {INSIDE};branch=z9hG4bKf;received={INSIDE};rport=5060"
    request = Request("INVITE", "sip:8001@by-address.example", lines=(source, via))
    with Caller(OUTSIDE) as caller:
        answer = caller.ask(request.text(caller), ("127.0.0.1", setup.edge)) or ""
        report.check("a caller at the program itself", answer.startswith("SIP/2.0 403"), answer)
        route = f"Route: <sip:{PUBLIC}:{setup.public};lr>"
        gateway = f"sip:8002@{GATEWAY}:{setup.gateway}"
        for name, method, uri, lines, to, expected in [
            ("a preloaded Route", "INVITE", "sip:8003@by-address.example", (route,), "", "403"),
            ("a Route to the gateway", "INVITE", gateway, (route,), "", "404"),
            ("a To tag and a Route", "INVITE", gateway, (route,), ";tag=x", "481"),
            ("a To tag", "INVITE", gateway, (), ";tag=x", "481"),
            ("MESSAGE", "MESSAGE", gateway, (), "", "405"),
            ("BYE with a Route", "BYE", gateway, (route,), ";tag=x", "481"),
        ]:
            request = Request(method, uri, lines=lines, to=to)
            answer = caller.ask(request.text(caller), setup.kamailio) or ""
            report.check(f"{name} answers {expected}", answer.startswith(f"SIP/2.0 {expected}"), answer)
        # the dialog of a call that waits for the credentials is not known
        request = Request("INVITE", "sip:8004@by-password.example", lines=(route,))
        first = caller.ask(request.text(caller), setup.kamailio) or ""
        tag = re.search(r"^To: .*(;tag=[^\r\n;]+)", first, re.M)
        request.uri, request.to = gateway, tag[1] if tag else ";tag=x"
        answer = caller.ask(request.text(caller, 2), setup.kamailio) or ""
        report.check("the To tag of a challenge", answer.startswith("SIP/2.0 481"), answer)
    for number in ("8001", "8002", "8003", "8004"):
        seen = setup.at_the_gateway(number)
        report.check(f"{number} does not reach the gateway", seen is None, seen)


def main():
    if len(sys.argv) != 3:
        print(f"usage: {sys.argv[0]} BINARY DIRECTORY", file=sys.stderr)
        return 2
    binary, directory = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    require("kamailio", "sipp")
    failed = 0
    for mode, options in (("header", ()), ("via", ("--source-from", "via"))):
        with Setup(binary, directory / mode, options) as setup:
            report = Report(mode)
            for part in (lists_and_numbers, forged, past_the_proxy, guesses):
                part(setup, report)
            failed += report.failed
    print(f"{failed} differ" if failed else "all as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    run_script("behind kamailio", main)
