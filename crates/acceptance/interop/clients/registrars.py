"""Calls through the program with phones that are registered at Kamailio: registrars.py BINARY
DIRECTORY [--only NAME,...].

Kamailio and the edge have the same realm and password, but each knows only its own nonces. Kamailio
runs without qop and with it. Each phone registers there, then makes a call in one or more ways:

- `direct`: to the edge.
- `redirected`: to Kamailio, which challenges the INVITE and redirects it to the edge. The phone then
  sends the edge its credentials with Kamailio's nonce.
- `relayed`: through Kamailio as its outbound proxy. A phone that keeps credentials for a realm sends
  those of its registration, so the edge gets Kamailio's nonce in the first INVITE.

The edge must answer a nonce that it did not issue with a challenge that has stale=true, and accept
the call in the end. Exit code: 0 all calls accepted, 1 a call was not, 2 the test could not run.
"""

import argparse
import re
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import phones
from edge import Edge, Failed, end, require, run_script, sid, start

HERE = Path(__file__).resolve().parent
REALM, USER, PASSWORD = "phones.example", "alice", "Correct-Horse-7"
QOPS = ("", "auth")
# The edge is called by its address. 407, as a proxy answers.
DOMAIN = "127.0.0.1"
# Seconds, also for the log of the edge. The machine may be busy.
SECONDS_A_CALL, SECONDS_OF_LOG = 60, 20


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Kamailio:
    """A registrar on a free port, until the end of the block."""

    def __init__(self, directory, qop, edge_port):
        self.directory, self.port = directory, free_port()
        text = (HERE / "kamailio.cfg").read_text()
        filled = {
            "LISTEN": f"127.0.0.1:{self.port}",
            "EDGE": f"127.0.0.1:{edge_port}",
            "REALM": REALM,
            "PASSWORD": PASSWORD,
            "QOP": qop,
            "FLAGS": "1" if qop else "0",
        }
        for name, value in filled.items():
            text = text.replace(f"@{name}@", value)
        directory.mkdir()
        self.config = directory / "kamailio.cfg"
        self.config.touch(mode=0o600)
        self.config.write_text(text)

    def __enter__(self):
        out = self.directory / "out"
        command = ["kamailio", "-f", str(self.config), "-DD", "-E", "-m", "64", "-M", "8"]
        command += ["-P", str(self.directory / "pid"), "-Y", str(self.directory)]
        self.process = start(command, out)
        until = time.monotonic() + SECONDS_A_CALL
        while time.monotonic() < until and self.process.poll() is None:
            if self.answers():
                return self
        self.__exit__()
        raise Failed(f"Kamailio does not answer:\n{out.read_text(errors='replace')}")

    def __exit__(self, *_):
        end(self.process)

    def answers(self):
        """Whether it answers a request, with 405."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.3)
            probe.connect(("127.0.0.1", self.port))
            host, port = probe.getsockname()
            lines = [
                f"OPTIONS sip:127.0.0.1:{self.port} SIP/2.0",
                f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{time.monotonic_ns()};rport",
                "From: <sip:probe@127.0.0.1>;tag=1",
                "To: <sip:127.0.0.1>",
                f"Call-ID: {time.monotonic_ns()}",
                "CSeq: 1 OPTIONS",
                "Content-Length: 0",
                "\r\n",
            ]
            try:
                probe.send("\r\n".join(lines).encode())
                return probe.recv(4096).startswith(b"SIP/2.0")
            except OSError:
                time.sleep(0.05)
                return False


# --- the phones --------------------------------------------------------------------------------------------------------


def baresip(registrar, dial, directory):
    """Registers and calls with baresip 1. Returns its output, which has a trace of messages."""
    account = f"<sip:{USER}@127.0.0.1:{registrar};transport=udp>;auth_user={USER}"
    console = free_port()
    listen = f"module cons.so\ncons_listen 127.0.0.1:{console}\n"
    phones.baresip_files(directory, f"{account};auth_pass={PASSWORD};regint=600", listen)

    def call(_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as typed:
            typed.sendto(f"/dial {dial}\n".encode(), ("127.0.0.1", console))

    command = ["baresip", "-4", "-s", "-f", str(directory), "-n", "127.0.0.1"]
    _, out = phones.run(
        command,
        directory,
        r"session closed|Call established",
        seconds=SECONDS_A_CALL,
        ready=r"\[1 binding\]",
        act=call,
        acted="call: connecting to",
    )
    return "200 OK" in registered(out), "Call established" in out, out


def registered(trace):
    """The last answer to a REGISTER in a trace."""
    found = re.findall(r"^SIP/2\.0 (\d+ [^\r\n]*)(?:\r?\n[^\r\n]+)*?\r?\nCSeq: *\d+ REGISTER", trace, re.M)
    return found[-1] if found else ""


def pjsip(registrar, dial, directory):
    command = [sys.executable, str(HERE / "pjsip_registered.py"), str(registrar)]
    command += [USER, PASSWORD, dial]
    code, out = phones.run(command, directory, seconds=SECONDS_A_CALL)
    if code is None:
        raise Failed(f"PJSIP did not end:\n{out}")
    return "registered: True" in out, "connected: True" in out, out


def linphone(registrar, dial, directory):
    settings = {"user": USER, "password": PASSWORD, "domain": "127.0.0.1", "realm": REALM}
    settings |= {"port": registrar, "register": 1, "route": ""}
    out = phones.linphone_calls(dial, directory, r"to \[LinphoneRegistrationOk\]", **settings)
    return "200" in registered(out), "connected." in out, out


@dataclass(frozen=True)
class Phone:
    """A phone and its ways to call: linphone sends every call through its registrar."""

    program: str | None
    ways: tuple
    call: object


PHONES = {
    "baresip": Phone("baresip", ("direct", "redirected"), baresip),
    "PJSIP": Phone(None, ("direct", "redirected"), pjsip),
    "linphone": Phone("linphonec", ("relayed",), linphone),
}


# --- a call -----------------------------------------------------------------------------------------------------------


def configuration():
    return f"""\
realm = "{REALM}"
[[credential_lists]]
name = "phones"
credentials = [{{ username = "{USER}", password = "{PASSWORD}" }}]
[[domains]]
name = "{DOMAIN}"
sid = "{sid(DOMAIN)}"
credential_lists = ["phones"]
"""


def messages(trace, port):
    """A line for each REGISTER and INVITE of the phone, and for each answer, without copies."""
    seen, lines = set(), []
    for text in re.split(r"(?=^(?:SIP/2\.0 \d|[A-Z]+ sips?:\S+ SIP/2\.0))", trace, flags=re.M):
        method = re.search(r"^CSeq:\s*\d+ (\w+)", text, re.M)
        if not method or method[1] not in ("INVITE", "REGISTER"):
            continue
        if method[1] == "REGISTER" and any("INVITE" in line for line in lines):
            # a phone ends its registration when it is stopped
            continue
        first = text.splitlines()[0].strip()
        identity = (first, *re.findall(r"^(?:Via|CSeq):.*$", text, re.M))
        if identity in seen:
            continue
        seen.add(identity)
        header = re.search(r"^((?:Proxy-|WWW-)?Auth\w+):\s*Digest (.*)$", text, re.M)
        said = ""
        if header:
            given = dict(phones.parameters(header[2]))
            wanted = ("nonce", "qop", "nc", "stale")
            said = f"  {header[1]}: " + ", ".join(f"{n}={given[n]}" for n in wanted if n in given)
        arrow = "<-" if first.startswith("SIP/2.0") else "->"
        to = "the edge" if f":{port}" in first else "Kamailio"
        lines.append(f"    {arrow} {method[1]:8} {first if arrow == '<-' else to}{said}")
    # a phone may follow a redirection for ever
    return lines[:30]


def check(edge, name, way, dial, registrar, directory):
    """Registers a phone and makes a call. Prints what was seen, and returns the complaints."""
    before = len(edge.decisions().get(sid(DOMAIN), []))
    directory.mkdir(parents=True)
    is_registered, connected, trace = PHONES[name].call(registrar.port, dial, directory)
    # the log has a writer of its own, so lines are late
    until = time.monotonic() + SECONDS_OF_LOG
    while True:
        decisions = edge.decisions().get(sid(DOMAIN), [])[before:]
        if time.monotonic() > until or decisions and decisions[-1]["outcome"] == "accept":
            break
        time.sleep(0.05)
    print("\n".join(messages(trace, edge.port)))
    said = [f"{one['outcome']} {one['status']} {one['reason']}" for one in decisions]
    print("    the edge decided: " + (", ".join(said) or "nothing"))
    wrong = []
    if not is_registered:
        wrong.append("the phone is not registered")
    if not decisions or decisions[-1]["outcome"] != "accept":
        wrong.append("the edge did not accept the call")
    if not connected:
        wrong.append("the phone is not connected")
    if way != "direct" and "stale=true" not in trace:
        wrong.append("no challenge had stale=true")
    return wrong


def main():
    parser = argparse.ArgumentParser(description="Call with phones that are registered at Kamailio.")
    parser.add_argument("binary")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--only", metavar="NAME,...", default=",".join(PHONES), help="these phones only")
    args = parser.parse_args()
    names = args.only.split(",")
    for name in names:
        if name not in PHONES:
            raise Failed(f"expected a phone of {', '.join(PHONES)}, got `{name}`")
    require("kamailio", *filter(None, (PHONES[name].program for name in names)))
    failed = 0
    for qop in QOPS:
        for name in names:
            for way in PHONES[name].ways:
                label = f"{name}, {way}, Kamailio {'with' if qop else 'without'} qop"
                own = args.directory / label.replace(", ", "-").replace(" ", "-")
                # an edge for each call: no call sees another's nonces
                with Edge(args.binary, own / "edge", configuration()) as edge:
                    with Kamailio(own / "kamailio", qop, edge.port) as registrar:
                        port = edge.port if way == "direct" else registrar.port
                        called = "relay" if way == "relayed" else "100"
                        print(label, flush=True)
                        dial = f"sip:{called}@127.0.0.1:{port}"
                        wrong = check(edge, name, way, dial, registrar, own / "phone")
                print("    FAILED: " + ", ".join(wrong) if wrong else "    ok", flush=True)
                failed += bool(wrong)
    print(f"{failed} calls failed" if failed else "all calls were accepted")
    return 1 if failed else 0


if __name__ == "__main__":
    run_script("registrars", main)
