#!/usr/bin/env python3
"""Calls through the program as a proxy, which forwards to Kamailio with docs/recipes/pbx.cfg.

    forward.py BINARY [--only PART,...]

PART is udp, tcp or tls: a baresip that calls through the program over this transport, and one that is
registered at Kamailio. Calls are held, ended from both sides, cancelled, refused and not answered, and the
program restarts during calls. Or sipp-udp or sipp-tcp: PRACK, UPDATE, INFO and re-INVITE from both sides.
All requests that reach Kamailio are checked.

Exit code: 0 all as expected, 1 a difference, 2 the test could not run.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]
from edge import Failed, chosen_parts, end, require, run_script, start  # noqa: E402
from servers import DOMAIN, EDGE, INSIDE, PASSWORD, REALM, USER, Edge, Kamailio  # noqa: E402
from softphone import Late, Softphone, free_port  # noqa: E402

PARTS = ["udp", "tcp", "tls", "sipp-udp", "sipp-tcp"]


class Report:
    def __init__(self):
        self.failed = 0

    def check(self, name, holds, seen=""):
        self.failed += not holds
        print(f"{name:74} {'ok' if holds else f'FAILED: {seen}'}", flush=True)

    def run(self, name, part):
        """Runs a part, which returns nothing, or a difference."""
        begin, seen = time.monotonic(), None
        try:
            seen = part()
        except Late as late:
            seen = late
        self.check(f"{name} ({time.monotonic() - begin:.1f} s)", seen is None, seen)


# --- phones -----------------------------------------------------------------------------------------------------------


class Phones:
    """Calls from the phone `caller` outside to the phone `callee` at Kamailio."""

    def __init__(self, edge, caller, callee):
        self.edge, self.caller, self.callee = edge, caller, callee

    def ring(self):
        self.marks = {phone: phone.mark() for phone in (self.caller, self.callee)}
        self.caller.do("dial", f"sip:bob@{DOMAIN}")
        self.callee.event("CALL_INCOMING")
        self.caller.event("CALL_RINGING")

    def establish(self, *, restart=False):
        self.ring()
        if restart:
            self.edge.restart()
        self.callee.do("accept")
        self.caller.event("CALL_ESTABLISHED")
        self.message(self.callee, "<-", "ACK sip:")

    def message(self, phone, direction, *patterns):
        return phone.message(" ".join(patterns), self.marks[phone], direction, *patterns)

    def hang_up(self, phone):
        """Ends an established call from the side of `phone`."""
        other = self.callee if phone is self.caller else self.caller
        phone.do("hangup")
        self.message(other, "<-", "^BYE sip:")
        other.event("CALL_CLOSED")
        self.message(phone, "<-", r"^SIP/2.0 200 ", r"^CSeq: \d+ BYE")

    def by_the_caller(self):
        self.establish()
        self.hang_up(self.caller)

    def by_the_callee(self):
        self.establish()
        self.hang_up(self.callee)

    def hold(self):
        """Holds and resumes from both sides."""
        self.establish()
        for phone, other in ((self.caller, self.callee), (self.callee, self.caller)):
            for command, direction in (("hold", "sendonly|inactive"), ("resume", "sendrecv")):
                self.marks = {one: one.mark() for one in (self.caller, self.callee)}
                phone.do(command)
                self.message(other, "<-", "^INVITE sip:", f"^a=({direction})")
                self.message(phone, "<-", "^SIP/2.0 200 ", r"^CSeq: \d+ INVITE")
                self.message(other, "<-", "^ACK sip:")
        self.hang_up(self.caller)

    def cancel(self, *, restart=False):
        self.ring()
        if restart:
            self.edge.restart()
        self.caller.do("hangup")
        self.callee.event("CALL_CLOSED")
        self.message(self.caller, "<-", "^SIP/2.0 200 ", r"^CSeq: \d+ CANCEL")
        self.message(self.caller, "<-", "^SIP/2.0 487 ")
        self.message(self.callee, "<-", "^ACK sip:")

    def busy(self):
        self.ring()
        self.callee.do("hangup")
        return self.fails(486)

    def no_answer(self):
        self.ring()
        difference = self.fails(408)
        # Kamailio cancels the call of the second phone
        self.callee.event("CALL_CLOSED")
        return difference

    def unknown(self):
        self.marks = {self.caller: self.caller.mark()}
        self.caller.do("dial", f"sip:nobody@{DOMAIN}")
        return self.fails(404)

    def fails(self, status):
        """The difference if the call of the caller does not end with this status, and its ACK."""
        reason = self.caller.event("CALL_CLOSED")
        self.message(self.caller, "<-", f"^SIP/2.0 {status} ")
        self.message(self.caller, "->", "^ACK sip:")
        return None if str(status) in reason else f"expected {status}, got {reason}"

    def restart(self, *, by):
        self.establish()
        self.edge.restart()
        self.hang_up(by)

    def restart_before_the_answer(self):
        self.establish(restart=True)
        self.hang_up(self.caller)

    def all(self, report, name):
        parts = [
            ("BYE from the caller", self.by_the_caller),
            ("BYE from the callee", self.by_the_callee),
            ("hold and resume from both sides", self.hold),
            ("CANCEL while it rings", self.cancel),
            ("busy", self.busy),
            ("no answer", self.no_answer),
            ("an unknown number", self.unknown),
            ("restart, then BYE from the caller", lambda: self.restart(by=self.caller)),
        ]
        # over a stream, the way back to the caller ends with the connection
        if name == "udp":
            parts += [
                ("restart, then BYE from the callee", lambda: self.restart(by=self.callee)),
                ("restart while it rings, then the answer", self.restart_before_the_answer),
                ("restart while it rings, then CANCEL", lambda: self.cancel(restart=True)),
            ]
        for what, part in parts:
            report.run(f"{name}: {what}", part)



def phones(binary, directory, transport, report):
    with Kamailio(directory) as kamailio, Edge(binary, directory, kamailio.port) as edge:
        account, peer, more = edge.account(transport)
        registered = f"<sip:bob@{kamailio.address};transport=udp>;regint=600"
        # the registrar answers before the second phone asks
        kamailio.register("nobody-yet", f"sip:x@{INSIDE}")
        with (
            Softphone(directory / "caller", account, peer, more=more) as caller,
            Softphone(directory / "callee", registered, kamailio.address, address=INSIDE) as callee,
        ):
            callee.message("registration", 0, "<-", "^SIP/2.0 200 ", "^CSeq: .* REGISTER")
            Phones(edge, caller, callee).all(report, transport)
        arrived(kamailio, transport, report)


# --- sipp -------------------------------------------------------------------------------------------------------------


def sipp(binary, directory, transport, report):
    name = f"sipp over {transport}"
    with Kamailio(directory) as kamailio, Edge(binary, directory, kamailio.port, inside=True) as edge:
        port = free_port(INSIDE)
        kamailio.register("uas", f"sip:uas@{INSIDE}:{port};transport={transport}")

        def run(scenario, *options):
            mode = {"udp": "u1", "tcp": "t1"}[transport]
            command = ["sipp", "-sf", HERE / f"{scenario}.xml", "-t", mode, "-m", "1", *options]
            command += ["-nostdin", "-timeout", "60s", "-timeout_error", "-trace_msg"]
            command += ["-message_file", directory / f"{scenario}.messages"]
            return start([str(part) for part in command], directory / f"{scenario}.out")

        def outside(scenario):
            options = ["-i", EDGE, "-bind_local", "-key", "domain", DOMAIN, "-key", "realm", REALM]
            return run(scenario, f"{EDGE}:{edge.port}", *options, "-au", USER, "-ap", PASSWORD)

        def ended(process, *scenarios):
            try:
                code = process.wait()
            finally:
                end(process)
            files = [f"{scenario}.{kind}" for scenario in scenarios for kind in ("out", "messages")]
            texts = [(directory / file).read_text(errors="replace")[-4000:] for file in files]
            return "\n".join([f"sipp ended with {code}", *texts]) if code else None

        def call():
            callee, caller = run("callee", "-i", INSIDE, "-p", port), outside("caller")
            try:
                seen = ended(caller, "caller", "callee")
                return seen or ended(callee, "callee")
            finally:
                end(callee)

        report.run(f"{name}: PRACK, UPDATE, INFO, re-INVITE", call)
        requests = [text for _, text in kamailio.from_edge()]
        methods = {text.split()[0] for text in requests}
        expected = {"INVITE", "ACK", "PRACK", "UPDATE", "INFO", "BYE"}
        report.check(f"{name}: all methods arrive", methods == expected, methods)
        others = [text for text in requests if 'realm="elsewhere.example"' not in text]
        others = [text for text in others if text.startswith(("INVITE", "BYE"))]
        report.check(f"{name}: credentials for another realm stay", not others, others)
        seen = (directory / "caller.messages").read_text(errors="replace")
        leaked = re.findall(r"^x-authz-\w+.*mallory-inside.*", seen, re.M | re.I)
        report.check(f"{name}: identity fields of the callee stay inside", not leaked, leaked)
        arrived(kamailio, name, report)
        what = f"{name}: Kamailio answers 481 to a made-up To tag"
        report.run(what, lambda: ended(outside("stray"), "stray"))


# --- what arrives -----------------------------------------------------------------------------------------------------


def arrived(kamailio, name, report):
    """Checks all requests that Kamailio got from the edge."""
    requests = kamailio.from_edge()
    hop = {"udp": "udp"}.get(name.rsplit(" ", 1)[-1], "tcp")
    transports = {transport for transport, _ in requests}
    report.check(f"{name}: Kamailio is reached over {hop}", transports == {hop}, transports)
    named = [text for _, text in requests if is_named(text)]
    for field, expected in [("User", USER), ("Domain", DOMAIN), ("Account", r"AC[0-9a-f]{32}")]:
        pattern = rf"\AX-Authz-{field}: {expected}\Z"
        wrong = [text for text in named if not re.search(pattern, "; ".join(lines_of(text, field)))]
        report.check(f"{name}: X-Authz-{field} of {len(named)} requests", named and not wrong, wrong)
    others = [text for _, text in requests if not is_named(text) and re.search("x-authz-", text, re.I)]
    report.check(f"{name}: other requests have none of these fields", not others, others)
    calls = {transaction(text) for _, text in requests if text.startswith("INVITE ")}
    strays = [text for _, text in requests if text.startswith("ACK ") and transaction(text) not in calls]
    report.check(f"{name}: the ACKs of the challenges end at the edge", not strays, strays)
    leaked = [text for _, text in requests if f'realm="{REALM}"' in text]
    report.check(f"{name}: no credentials for the realm of the edge", not leaked, leaked)
    routes = [text for _, text in requests if re.search(rf"^Route:.*@{EDGE}:", text, re.M)]
    report.check(f"{name}: the edge takes its routes out", not routes, routes)


def is_named(text):
    """Whether a request must tell who calls: all but CANCEL and the ACK of a failure."""
    return not text.startswith("CANCEL ") and not (
        text.startswith("ACK ") and not re.search(r"^Route:", text, re.M)
    )


def transaction(text):
    """The Call-ID and the number of a request."""
    return re.search(r"^Call-ID: (\S+)", text, re.M)[1], re.search(r"^CSeq: (\d+)", text, re.M)[1]


def lines_of(text, field):
    """The header lines with this field, in any spelling."""
    return re.findall(rf"^x-authz-{field}\s*:.*(?:\n[ \t].*)*", text.replace("\r", ""), re.M | re.I)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("binary", type=Path)
    args, parts = chosen_parts(parser, PARTS)
    require("kamailio", "baresip", "sipp", "openssl")
    report, begin = Report(), time.monotonic()
    for part in parts:
        with tempfile.TemporaryDirectory() as scratch:
            run = sipp if part.startswith("sipp-") else phones
            try:
                run(args.binary.resolve(), Path(scratch), part.removeprefix("sipp-"), report)
            except Late as late:
                raise Failed(late) from late
    seconds = time.monotonic() - begin
    print(f"{report.failed or 'none'} of the checks failed; {seconds:.0f} s", flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    run_script("forward", main)
