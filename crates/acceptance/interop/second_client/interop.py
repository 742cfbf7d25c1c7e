"""Starts the program, calls through it with independent clients, and compares their results with
the expected ones and with the program's counts: interop.py BINARY DIRECTORY.

Each client runs in its own process, against a new program: pjsua_calls.py or sippy_calls.py
JOB RESULT. JOB is JSON with the port of the program, the TLS port or null, the time limit of a call in seconds, and
the calls to make in sequence. RESULT has for each call an error or null, whether it was
connected, and the SIP messages in order from the client's log. After an error no more calls are
made.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The machine may be busy.
SECONDS_A_CALL = 20
SECONDS_A_CLIENT = 300
SECONDS_IN_ALL = 900
PASSWORD = "Correct-Horse-7"
REALM = "interop.example"


@dataclass(frozen=True)
class Offer:
    """A domain with this policy, and the choice of each client: None if it cannot answer."""

    name: str
    policy: str
    pjsip: str | None
    sippy: str | None
    challenge: int = 407
    transport: str = "udp"

    # short, since an INVITE of more than 1,300 bytes uses TCP

    @property
    def user(self):
        return f"u{OFFERS.index(self)}"

    @property
    def domain(self):
        return f"d{OFFERS.index(self)}.example"


# The PJSIP of this wheel computes SHA-512/256 with OpenSSL 1.0.2, which does not support it;
# it supports neither -sess nor auth-int. sippy supports all of these. Both take the first
# challenge that they support, and sippy the first qop. sippy has no TCP.
SHA256 = "SHA-256 auth"
OFFERS = [
    Offer("MD5 only", 'algorithms = "md5-only"', "MD5 auth", "MD5 auth"),
    Offer("MD5 first", 'algorithms = "md5-first"', "MD5 auth", "MD5 auth"),
    Offer("SHA-256 only", 'algorithms = ["SHA-256"]', SHA256, SHA256),
    Offer("SHA-512-256 only", 'algorithms = ["SHA-512-256"]', None, "SHA-512-256 auth"),
    Offer("strongest first", 'algorithms = "strongest-first"', SHA256, "SHA-512-256 auth"),
    *(
        Offer(f"{name} only", f'algorithms = ["{name}"]', None, f"{name} auth")
        for name in ("MD5-sess", "SHA-256-sess", "SHA-512-256-sess")
    ),
    *(
        Offer(
            f"{name}, auth-int only",
            f'algorithms = ["{name}"]\nqop = "auth-int"',
            None,
            f"{name} auth-int",
        )
        for name in ("MD5", "SHA-256", "SHA-512-256")
    ),
    Offer("SHA-256, both qops", 'algorithms = ["SHA-256"]\nqop = "auth,auth-int"', SHA256, SHA256),
    Offer(
        "SHA-256 by 401",
        'algorithms = ["SHA-256"]\nchallenge = "server"',
        SHA256,
        SHA256,
        challenge=401,
    ),
    Offer("SHA-256 by TCP", 'algorithms = ["SHA-256"]', SHA256, None, transport="tcp"),
    # only if the program was built with it; sippy has no TLS either
    Offer("SHA-256 by TLS", 'algorithms = ["SHA-256"]', SHA256, None, transport="tls"),
    Offer(
        "SHA-256 by UDP, then TCP",
        'algorithms = ["SHA-256"]',
        SHA256,
        None,
        transport="udp, then tcp",
    ),
]


def configuration():
    """A domain and a user for each offer, so that guesses are counted separately."""
    lines = [f'realm = "{REALM}"', "[[credential_lists]]", 'name = "callers"', "credentials = ["]
    lines += [f'  {{ username = "{o.user}", password = "{PASSWORD}" }},' for o in OFFERS]
    lines.append("]")
    for offer in OFFERS:
        lines += ["[[domains]]", f'name = "{offer.domain}"', 'credential_lists = ["callers"]']
        lines += ["secure = true"] * (offer.transport == "tls")
        lines += ["[domains.policy]", offer.policy]
    return "\n".join(lines) + "\n"


class Failed(Exception):
    """The test could not run."""


def has_tls(binary):
    """Whether the program was built with the feature."""
    said = subprocess.run([binary, "serve", "--help"], capture_output=True, text=True, check=False)
    return "--sips" in said.stdout


def certificate(directory):
    """The options for a self-signed certificate, which PJSIP accepts by default."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run(
        ["openssl", *made, "-out", str(certificate), "-keyout", str(key)],
        check=True,
        capture_output=True,
    )
    return ["--tls-cert", str(certificate), "--tls-key", str(key)]


class Server:
    """The program on a free port, until the end of the block."""

    def __init__(self, binary, directory):
        self.out, self.err = directory / "stdout", directory / "stderr"
        config = directory / "config.toml"
        config.touch(mode=0o600)
        config.write_text(configuration())
        self.command = [
            *(binary, "serve", "--sip", "127.0.0.1:0", "--api", "off", "--config", str(config)),
            *("--on-accept", "ok", "--log", "decisions"),
        ]
        self.secure_port = None
        self.secure = has_tls(binary)
        if self.secure:
            self.command += ["--sips", "127.0.0.1:0", *certificate(directory)]

    def __enter__(self):
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        try:
            self.port = self.wait_for_port()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # BINARY may be a script with child processes
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait_for_port(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            out = self.out.read_text(errors="replace")
            found = dict(
                (way, int(port))
                for port, way in re.findall(
                    r"^listening for SIP on 127\.0\.0\.1:(\d+) \((udp|tls)", out, re.M
                )
            )
            if "udp" in found and ("tls" in found or not self.secure):
                self.secure_port = found.get("tls")
                return found["udp"]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise Failed(f"the program did not start to listen:\n{self.said()}")

    def said(self):
        return self.out.read_text(errors="replace") + self.err.read_text(errors="replace")

    def end(self):
        """Ends the program with SIGTERM and parses its line of totals."""
        self.process.terminate()
        try:
            code = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            raise Failed(f"the program did not end on SIGTERM:\n{self.said()}") from None
        if code != 0:
            raise Failed(f"the program exited with {code}:\n{self.said()}")
        line = re.search(r"^totals: (.*)$", self.out.read_text(errors="replace"), re.M)
        if not line:
            raise Failed(f"no line of totals:\n{self.said()}")
        return {name: int(count) for name, count in re.findall(r"([a-z][a-z -]*) (\d+)", line[1])}


def header(message, name):
    """The values of a header field, by its full name."""
    head = message.partition("\n\n")[0]
    return re.findall(rf"^{name}[ \t]*:[ \t]*(.*)$", head, re.M | re.I)


def method(message):
    return header(message, "CSeq")[0].split()[1]


def status(message):
    return int(message.split()[1])


def once(messages):
    """The messages without retransmissions."""
    seen = set()
    for message in messages:
        key = (message.partition("\n")[0], *header(message, "Via")[:1], *header(message, "CSeq"))
        if key not in seen:
            seen.add(key)
            yield message


def parameter(credentials, name):
    found = re.search(rf'\b{name}\s*=\s*"?([^",\s]+)', credentials, re.I)
    return found[1] if found else f"no {name}"


class Call:
    """The result of one call at a client."""

    def __init__(self, result):
        self.error, self.connected = result["error"], result["connected"]
        self.messages = [(way, text.replace("\r\n", "\n")) for way, text in result["messages"]]
        self.sent = [text for way, text in self.messages if way == "sent"]
        self.received = [text for way, text in self.messages if way == "received"]

    @property
    def answers(self):
        """The final answers to the INVITEs, in order."""
        invited = (text for text in once(self.received) if method(text) == "INVITE")
        return [status(text) for text in invited if status(text) >= 200]

    @property
    def chosen(self):
        """The algorithm and qop of each set of credentials."""
        choices = []
        for message in once(text for text in self.sent if text.startswith("INVITE ")):
            found = header(message, "Proxy-Authorization") + header(message, "Authorization")
            choices += [f"{parameter(c, 'algorithm')} {parameter(c, 'qop')}" for c in found]
        return " + ".join(choices) or None

    @property
    def transport(self):
        """The transport of the INVITEs."""
        vias = [header(text, "Via")[0] for text in self.sent if text.startswith("INVITE ")]
        ways = [re.match(r"SIP/2.0/(\w+)", via)[1].lower() for via in vias]
        return ", then ".join(dict.fromkeys(ways))

    @property
    def outcome(self):
        text = " ".join(map(str, self.answers)) or "nothing"
        if self.error:
            text += f" ({self.error})"
        if self.connected != (200 in self.answers):
            text += " (connected)" if self.connected else " (not connected)"
        return text


def run_client(script, server, calls, directory):
    job, result, log = directory / "job", directory / "result", directory / "client.log"
    ports = {"port": server.port, "secure_port": server.secure_port}
    job.write_text(json.dumps({**ports, "seconds": SECONDS_A_CALL, "calls": calls}))
    command = [sys.executable, str(HERE / script), str(job), str(result)]
    with open(log, "wb") as output:
        client = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory
        )
        try:
            code = client.wait(timeout=SECONDS_A_CLIENT)
        except subprocess.TimeoutExpired:
            code = f"nothing after {SECONDS_A_CLIENT} s"
        finally:
            client.kill()
            client.wait()
    if code != 0:
        raise Failed(f"{script} ended with {code}:\n{log.read_text(errors='replace')}")
    results = json.loads(result.read_text())
    untried = {"error": "not tried", "connected": False, "messages": []}
    results += [untried] * (len(calls) - len(results))
    return [Call(entry) for entry in results]


def check_calls(client, offers, calls):
    """Prints a row for each call, and returns the number of unexpected results."""
    wrong = 0
    for (offer, password), call in zip(offers, calls, strict=True):
        choice = getattr(offer, client.lower())
        right = password == PASSWORD
        expected = str(offer.challenge)
        if choice:
            expected += " 200" if right else " 403"
        got = call.outcome
        if not call.error and call.chosen != choice:
            got += f", and should have chosen {choice or 'none'}"
        if not call.error and call.transport != offer.transport:
            got += f", and came by {call.transport}"
        fits = got == expected
        wrong += not fits
        print_row(
            client,
            offer.name,
            "right" if right else "wrong",
            call.chosen or "none",
            expected,
            got if fits else f"{got}  <-- DIFFERS",
        )
        if not fits:
            for way, text in call.messages:
                print(f"    {way}:\n    " + text.strip().replace("\n", "\n    "))
    return wrong


def check_totals(client, totals, calls):
    """Compares the program's counts with the answers at the client, including retransmissions. The
    number of ACKs is not compared: the program may end before it reads the last one."""
    received = [text for call in calls for text in call.received]
    invited = [status(text) for text in received if method(text) == "INVITE"]
    challenged = sum(code in (401, 407) for code in invited)
    expected = {
        "accepted": invited.count(200),
        "challenged": challenged,
        "rejected": invited.count(403),
        "wrong-credentials": invited.count(403),
        "otherwise answered": sum(method(text) != "INVITE" for text in received),
        "dropped": 0,
        "not sent": 0,
        "connections closed": 0,
    }
    fits = all(totals.get(name, 0) == count for name, count in expected.items())
    counts = ", ".join(f"{name} {count}" for name, count in totals.items())
    print(f"{client}: {len(calls)} calls, the program counted: {counts}")
    if not fits:
        counts = ", ".join(f"{name} {count}" for name, count in expected.items())
        print(f"{client}: DIFFERS from the client's count:  {counts}")
    return not fits


WIDTHS = [6, 26, 8, 21, 8]


def print_row(*cells):
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS)]
    print(" | ".join([*padded, cells[-1]]), flush=True)


def stop(number, _):
    raise Failed(
        f"not done after {SECONDS_IN_ALL} s" if number == signal.SIGALRM else "stopped by a signal"
    )


def main(binary, directory):
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    signal.alarm(SECONDS_IN_ALL)
    print_row("client", "offer", "password", "client chose", "expected", "got")
    print_row(*("-" * width for width in WIDTHS), "---")
    differences = 0
    for client, script in (("PJSIP", "pjsua_calls.py"), ("sippy", "sippy_calls.py")):
        own = Path(directory) / client
        own.mkdir()
        offers = [
            (offer, password)
            for offer in OFFERS
            if client != "sippy" or offer.transport == "udp"
            if offer.transport != "tls" or has_tls(binary)
            for password in (PASSWORD, "not-" + PASSWORD)
            # one call is enough for a client that cannot answer
            if password == PASSWORD or getattr(offer, client.lower())
        ]
        calls = [
            {
                "user": offer.user,
                "domain": offer.domain,
                "password": password,
                "transport": offer.transport,
            }
            for offer, password in offers
        ]
        with Server(binary, own) as server:
            calls = run_client(script, server, calls, own)
            differences += check_calls(client, offers, calls)
            differences += check_totals(client, server.end(), calls)
        if differences:
            print(server.said().rstrip())
    signal.alarm(0)
    print(f"{differences} differences" if differences else "all as expected")
    return 1 if differences else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Failed as failure:
        print(f"second client: {failure}", file=sys.stderr)
        sys.exit(2)
