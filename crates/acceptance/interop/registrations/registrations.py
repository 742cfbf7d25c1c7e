#!/usr/bin/env python3
"""Phones behind a NAT that register through the program at Kamailio with docs/recipes/registrar.cfg.

    registrations.py BINARY DIRECTORY [--only PART,...]

PART is udp, tcp or tls: the transport of the two phones. They call each other, and a phone beside Kamailio. Each hears
the other. Calls are held, transferred, cancelled, and ended from both sides; registrations end and come back; the NAT
forgets bindings; the program restarts. Needs root, or user namespaces.

Exit code: 0 all as expected, 1 a difference, 2 the test could not run.
"""

import argparse
import re
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "forward"), str(HERE.parent / "clients")]
import hosts  # noqa: E402
import world as worlds  # noqa: E402
from edge import chosen_parts, require, run_script  # noqa: E402
from forward import Report, is_named, lines_of  # noqa: E402
from handsets import hears  # noqa: E402
from hosts import DOMAIN  # noqa: E402
from softphone import Late, wait_for  # noqa: E402
from strangers import Stranger  # noqa: E402

PARTS = ["udp", "tcp", "tls"]
# Seconds that the NAT keeps a binding that is not used. baresip sends its keep-alive over a stream after 20 s.
BINDING, LONG_BINDING = 5, 30
# Seconds until baresip registers again after its connection broke.
COMES_BACK = 75


class Scene:
    """Servers and phones of one part, and what they do."""

    def __init__(self, world, edge, registrar, alice, bob, carol):
        self.world, self.edge, self.registrar = world, edge, registrar
        self.alice, self.bob, self.carol = self.phones = (alice, bob, carol)

    # --- steps --------------------------------------------------------------------------------------------------------

    def mark(self):
        self.marks = {phone: phone.mark() for phone in self.phones}

    def message(self, phone, direction, *patterns):
        return phone.message(" ".join(patterns), self.marks[phone], direction, *patterns)

    def saw(self, phone, *patterns):
        """Whether the phone has sent or got such a message since the mark."""
        texts = [text for _, text in phone.messages(self.marks[phone])]
        return any(all(re.search(one, text, re.M) for one in patterns) for text in texts)

    def dial(self, caller, callee):
        self.mark()
        caller.do("dial", f"sip:{callee.name}@{DOMAIN}")

    def ring(self, caller, callee):
        self.dial(caller, callee)
        callee.event("CALL_INCOMING")
        caller.event("CALL_RINGING")

    def establish(self, caller, callee):
        self.ring(caller, callee)
        for phone in self.phones:
            phone.forget()
        callee.do("accept")
        caller.event("CALL_ESTABLISHED")
        self.message(callee, "<-", "^ACK sip:")

    def hang_up(self, phone, other):
        phone.do("hangup")
        self.message(other, "<-", "^BYE sip:")
        other.event("CALL_CLOSED")
        self.message(phone, "<-", r"^SIP/2.0 200 ", r"^CSeq: \d+ BYE")

    def fails(self, phone, status):
        """The difference if the call of this phone does not end with this status."""
        reason = phone.event("CALL_CLOSED")
        self.message(phone, "<-", f"^SIP/2.0 {status} ", r"^CSeq: \d+ INVITE")
        return None if str(status) in reason else f"expected {status}, got {reason}"

    def reaches(self, *callees):
        """carol calls, and they ring."""
        for callee in callees:
            self.ring(self.carol, callee)
            self.cancelled(self.carol, callee)

    def cancelled(self, caller, callee):
        caller.do("hangup")
        callee.event("CALL_CLOSED")
        self.message(caller, "<-", "^SIP/2.0 200 ", r"^CSeq: \d+ CANCEL")
        self.message(caller, "<-", "^SIP/2.0 487 ")
        self.message(callee, "<-", "^ACK sip:")

    def registered(self, phone, since=0, **patience):
        phone.message("registration", since, "<-", "^SIP/2.0 200 ", r"^CSeq: \d+ REGISTER", **patience)

    # --- calls --------------------------------------------------------------------------------------------------------

    def call(self, caller, callee, by):
        """A call that is answered, heard by both, and ended by one."""
        self.establish(caller, callee)
        hears(caller, callee)
        self.hang_up(by, callee if by is caller else caller)

    def hold(self, caller, callee):
        """Holds and resumes from both sides."""
        self.establish(caller, callee)
        for phone, other in ((caller, callee), (callee, caller)):
            for command, direction in (("hold", "sendonly|inactive"), ("resume", "sendrecv")):
                self.mark()
                phone.do(command)
                self.message(other, "<-", "^INVITE sip:", f"^a=({direction})")
                self.message(phone, "<-", "^SIP/2.0 200 ", r"^CSeq: \d+ INVITE")
                self.message(other, "<-", "^ACK sip:")
        self.hang_up(caller, callee)

    def cancel(self, caller, callee):
        self.ring(caller, callee)
        self.cancelled(caller, callee)

    def busy(self, caller, callee):
        self.ring(caller, callee)
        callee.do("hangup")
        return self.fails(caller, 486)

    def transfer(self, caller, callee, by):
        """One side of a call transfers the other to the third phone."""
        self.establish(caller, callee)
        other = callee if by is caller else caller
        (third,) = set(self.phones) - {caller, callee}
        self.mark()
        by.do("transfer", f"sip:{third.name}@{DOMAIN}")
        self.message(other, "<-", "^REFER sip:")
        self.message(by, "<-", "^SIP/2.0 202 ", r"^CSeq: \d+ REFER")
        third.event("CALL_INCOMING")
        third.do("accept")
        other.event("CALL_ESTABLISHED")
        self.message(by, "<-", "^NOTIFY sip:", "^SIP/2.0 200")
        hears(other, third)
        # who transfers ends its call; the other call ends too
        for phone in self.phones:
            phone.do("hangup")
        for phone in (by, third):
            wait_for(f"BYE at {phone.name}", lambda: self.saw(phone, "^BYE sip:"), show=phone.text)
            wait_for(f"200 at {phone.name}", lambda: self.saw(phone, "^SIP/2.0 200 ", r"^CSeq: \d+ BYE"))

    # --- registrations ------------------------------------------------------------------------------------------------

    def again(self):
        """bob registers again, and is called."""
        since = self.bob.mark()
        self.bob.do("register")
        self.registered(self.bob, since)
        self.reaches(self.bob)

    def gone(self):
        """bob ends its registration, and is called in vain until it registers."""
        self.bob.mark()
        self.bob.do("unregister")
        self.bob.event("UNREGISTERED")
        self.dial(self.carol, self.bob)
        if seen := self.fails(self.carol, 404):
            return seen
        return self.again()

    def lost(self):
        """The NAT has forgotten the binding of bob. bob is called again after the next registration."""
        self.dial(self.carol, self.bob)
        if seen := self.fails(self.carol, 408):
            return seen
        self.bob.mark()
        self.bob.do("register")
        wait_for("bob registers by a new binding", self.came_back, show=self.bob.text)
        self.reaches(self.bob)

    def came_back(self):
        self.bob.poll()
        if any(one["type"] == "REGISTER_FAIL" for one in self.bob.events):
            self.bob.events.clear()
            self.bob.do("register")
        return any(one["type"] == "REGISTER_OK" for one in self.bob.events)

    # --- a restart ----------------------------------------------------------------------------------------------------

    def restart_over_udp(self):
        """During a call. It ends afterwards, and phones are called that did not register since."""
        self.establish(self.alice, self.bob)
        marks = {phone: len(phone.text()) for phone in (self.alice, self.bob)}
        self.edge.restart()
        self.hang_up(self.bob, self.alice)
        self.reaches(self.alice, self.bob)
        sent = [text for phone, mark in marks.items() for arrow, text in phone.messages(mark)]
        again = [text for text in sent if text.startswith("REGISTER ")]
        return f"a phone registered:\n{again[0]}" if again else None

    def restart_over_a_stream(self):
        """bob is called at once in vain, and rings after it has connected again; later alice too."""
        marks = {phone: len(phone.text()) for phone in (self.bob, self.alice)}
        before = len(self.registrar.answers())
        self.edge.restart()
        self.dial(self.carol, self.bob)
        if seen := self.fails(self.carol, 480):
            return seen
        answers = self.registrar.answers()[before:]
        if (worlds.EDGE_INSIDE, "430") not in answers:
            return f"no 430 of the edge: {answers}"
        for phone, mark in marks.items():
            self.registered(phone, mark, patience=COMES_BACK)
            self.reaches(phone)


# --- what Kamailio gets -----------------------------------------------------------------------------------------------


def arrived(registrar, transport, report):
    """Checks all requests that Kamailio got from the edge."""
    requests = registrar.from_edge()
    hop = "udp" if transport == "udp" else "tcp"
    transports = {transport for transport, _ in requests}
    report.check(f"{transport}: Kamailio is reached over {hop}", transports == {hop}, transports)
    texts = [text for _, text in requests]
    named = [text for text in texts if is_named(text)]
    wrong = [text for text in named if lines_of(text, "User") != [f"X-Authz-User: {sender(text)}"]]
    what = f"{transport}: {len(named)} requests have the name of their phone"
    report.check(what, named and not wrong, "\n".join(wrong[:3]))
    registrations = [text for text in texts if text.startswith("REGISTER ")]
    paths = [re.findall(r"^Path\s*:.*$", text, re.M | re.I) for text in registrations]
    own = rf"^Path: <sip:[^@>]+@{worlds.EDGE_INSIDE}:5070;[^>]*lr[^>]*>\r?$"
    wrong = [found for found in paths if len(found) != 1 or not re.search(own, found[0])]
    report.check(f"{transport}: {len(paths)} registrations have one Path", paths and not wrong, wrong)
    leaked = [text for text in texts if f'realm="{hosts.REALM}"' in text]
    report.check(f"{transport}: no credentials for the realm of the edge", not leaked, leaked[:3])


def sender(text):
    return re.search(r"^From:.*?sip:([^@;>]+)@", text, re.M)[1]


def at_phones(scene, transport, report):
    """Checks all requests that phones outside got: nothing of the tokens is left in Route."""
    texts = [text for phone in (scene.alice, scene.bob) for arrow, text in phone.messages() if arrow == "<-"]
    requests = [text for text in texts if not text.startswith("SIP/2.0")]
    routed = [text for text in requests if re.search(r"^(Route|Path)\s*:", text, re.M | re.I)]
    report.check(f"{transport}: {len(requests)} requests came to phones without Route", requests and not routed, routed)
    kinds = {text.split()[0] for text in requests}
    report.check(f"{transport}: OPTIONS of Kamailio came to the phones", "OPTIONS" in kinds, kinds)
    seen = [text for text in texts if re.search("^X-Authz-", text, re.M | re.I)]
    report.check(f"{transport}: the phones see no identity fields", not seen, seen[:3])


# --- parts ------------------------------------------------------------------------------------------------------------


def calls(world, binary, directory, transport, report):
    with (
        hosts.Registrar(directory, world) as registrar,
        hosts.Edge(binary, directory, world) as edge,
        hosts.carol(directory, world) as carol,
        hosts.alice(directory, world, edge, transport) as alice,
        hosts.bob(directory, world, edge, transport) as bob,
    ):
        scene = Scene(world, edge, registrar, alice, bob, carol)
        for phone in scene.phones:
            report.run(f"{transport}: {phone.name} registers", lambda: scene.registered(phone))
        pairs = [(alice, bob), (bob, alice), (carol, alice), (carol, bob), (alice, carol), (bob, carol)]
        for caller, callee in pairs:
            for by in (caller, callee):
                name = f"{transport}: {caller.name} calls {callee.name}, {by.name} ends it"
                report.run(name, lambda: scene.call(caller, callee, by))
        for caller, callee in pairs[:3]:
            name = f"{transport}: {caller.name} and {callee.name} hold and resume"
            report.run(name, lambda: scene.hold(caller, callee))
        for caller, callee in pairs:
            name = f"{transport}: {caller.name} cancels its call to {callee.name}"
            report.run(name, lambda: scene.cancel(caller, callee))
        for caller, callee in (pairs[0], pairs[1], pairs[2], pairs[4]):
            name = f"{transport}: {callee.name} is busy for {caller.name}"
            report.run(name, lambda: scene.busy(caller, callee))
        transfers = [(alice, bob, bob), (alice, bob, alice), (carol, alice, carol), (alice, carol, alice)]
        for caller, callee, by in transfers:
            name = f"{transport}: {caller.name} calls {callee.name}, {by.name} transfers the other"
            report.run(name, lambda: scene.transfer(caller, callee, by))
        report.run(f"{transport}: bob registers again", scene.again)
        report.run(f"{transport}: bob ends its registration and comes back", scene.gone)
        strangers(scene, transport, report)
        if transport == "udp":
            report.run(f"{transport}: a restart during a call; phones are called at once", scene.restart_over_udp)
        else:
            report.run(f"{transport}: a restart: 430 until the phones come back", scene.restart_over_a_stream)
        arrived(registrar, transport, report)
        at_phones(scene, transport, report)


def strangers(scene, transport, report):
    """Requests that must not be relayed to bob."""
    path = scene.registrar.path("bob")
    outside = Stranger(scene.world.carol, worlds.CAROL_OUTSIDE, worlds.EDGE_OUTSIDE, 5060)
    inside = Stranger(scene.world.carol, worlds.CAROL, worlds.EDGE_INSIDE, 5070)
    scene.mark()
    for stranger, route, name in [
        (outside, path, "a stranger with the token of bob"),
        (outside, None, "a stranger without a token"),
        (inside, None, "a host inside without a token"),
        (inside, path.replace("sip:", "sip:A"), "a host inside with a forged token"),
    ]:
        for method in ("INVITE", "MESSAGE", "OPTIONS"):
            status = stranger.answer(method, f"sip:bob@{worlds.BOB}", route)
            # the edge answers OPTIONS itself if it names no domain
            right = ["401", "403", "404", "405", *(["200"] if method == "OPTIONS" and not route else [])]
            report.check(f"{transport}: {name}: {method} is refused", status in right, status)
    name = f"{transport}: none of them came to bob"
    came = [text for arrow, text in scene.bob.messages(scene.marks[scene.bob]) if "stranger" in text]
    report.check(name, not came, came)


def kept(world, binary, directory, transport, report):
    """The NAT forgets bindings that are not used. Kamailio uses them."""
    world.forget_after(BINDING)
    with (
        hosts.Registrar(directory, world) as registrar,
        hosts.Edge(binary, directory, world) as edge,
        hosts.carol(directory, world) as carol,
        hosts.alice(directory, world, edge, transport, options="") as alice,
        hosts.bob(directory, world, edge, transport, keep_alive=False) as bob,
    ):
        scene = Scene(world, edge, registrar, alice, bob, carol)
        for phone in scene.phones:
            scene.registered(phone)
        time.sleep(3 * BINDING)
        what = f"{transport}: bindings are kept by the OPTIONS of Kamailio"
        report.run(what, lambda: scene.reaches(alice, bob))


def forgotten(world, binary, directory, transport, report):
    """The NAT forgets bindings that are not used. alice uses its own."""
    seconds = BINDING if transport == "udp" else LONG_BINDING
    world.forget_after(seconds)
    with (
        hosts.Registrar(directory, world, hosts.NO_OPTIONS) as registrar,
        hosts.Edge(binary, directory, world) as edge,
        hosts.carol(directory, world) as carol,
        hosts.alice(directory, world, edge, transport) as alice,
        hosts.bob(directory, world, edge, transport, keep_alive=False) as bob,
    ):
        scene = Scene(world, edge, registrar, alice, bob, carol)
        for phone in scene.phones:
            scene.registered(phone)
        time.sleep(1.5 * seconds + 4)
        what = f"{transport}: the binding of alice is kept by its own keep-alive"
        report.run(what, lambda: scene.reaches(alice))
        report.run(f"{transport}: the binding of bob is lost until bob registers", scene.lost)


def challenged(world, binary, directory, transport, report):
    """A PBX that challenges in the realm of the edge is named in a warning."""
    with (
        hosts.Registrar(directory, world, *hosts.CHALLENGES),
        hosts.Edge(binary, directory, world) as edge,
        hosts.bob(directory, world, edge, transport) as bob,
    ):
        report.run(f"{transport}: bob cannot answer a challenge of Kamailio", lambda: failed(bob))
        what = f"{transport}: a challenge in the realm of the edge is named in a warning"
        report.run(what, lambda: warned_of(edge))


def warned_of(edge):
    hop, realm = re.escape(f"{worlds.PBX}:5060"), re.escape(hosts.REALM)

    def warned():
        return re.search(rf"warning: .*{hop}.* challenges in the realm `{realm}`", edge.out.read_text())

    wait_for("the warning", warned, show=edge.out.read_text)


def failed(phone):
    reason = phone.event("REGISTER_FAIL")
    return None if reason.startswith("401") else reason


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("directory", type=Path)
    args, parts = chosen_parts(parser, PARTS)
    require("kamailio", "kamcmd", "baresip", "openssl", "ip", "iptables")
    worlds.alone()
    world, report, begin = worlds.World(), Report(), time.monotonic()
    for transport in parts:
        for part in (calls, kept, forgotten, challenged):
            directory = args.directory.resolve() / f"{transport}-{part.__name__}"
            directory.mkdir()
            try:
                part(world, args.binary.resolve(), directory, transport, report)
            except Late as late:
                report.check(f"{transport}: {part.__name__}", False, late)
            finally:
                world.forget_after(None)
    seconds = time.monotonic() - begin
    print(f"{report.failed or 'none'} of the checks failed; {seconds:.0f} s", flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    run_script("registrations", main)
