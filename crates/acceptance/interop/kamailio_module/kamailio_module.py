"""Calls through Kamailio with the module authz: kamailio_module.py BINARY MODULE [CALLS] [--only PART,...].

BINARY is sip-authz, MODULE is authz.so of kamailio/build.sh. Kamailio has 4 processes at one UDP socket.
sipp is the caller.

Parts, each with a decision service (mode `service`) and with a decision process of the module (`process`):

- load: CALLS calls with the right password are all accepted; none of CALLS replays of their credentials, and none
  of CALLS calls with a wrong password.
- restart: the service is killed. Calls are refused with 503 until it runs again, then all are accepted.

Parts of their own:

- values: address lists, TCP, the variables and the response of each outcome.
- late: a service that answers after the time-out, or with another id, never admits a call.
- refused: a module with a wrong user or token is refused, and Kamailio logs why.
- reload: RPC reloads the decision process; it ends with Kamailio.
- recipes: the two scripts of docs/recipes do the same. The used credentials do not reach the gateway, others
  do.

Exit code: 0 all as expected, 1 a call differs, 2 the test could not run.
"""

import argparse
import contextlib
import os
import pwd
import re
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import recipes  # noqa: E402
from fake_service import ACCEPT, CHALLENGE, OVERLOADED, REJECT, FakeService, status, text  # noqa: E402
from world import (  # noqa: E402
    BY_ADDRESS,
    BY_PASSWORD,
    CONFIGURATION,
    GUESSER,
    INSIDE,
    OUTSIDE,
    PASSWORD,
    SECONDS,
    USER,
    Caller,
    Failed,
    Kamailio,
    Load,
    Request,
    Service,
    call,
    code,
    digest,
    free_port,
    header,
    invite,
    udp_port,
    wait_for,
    write_configuration,
)

from edge import require, run_script  # noqa: E402

SID = re.compile(r"^(AC|SD)[0-9a-f]{32}$")
NULL = "<null>"


class Report:
    def __init__(self):
        self.failed, self.part = 0, ""

    def check(self, name, holds, seen=""):
        self.failed += not holds
        verdict = "ok" if holds else f"FAILED: {seen}"
        print(f"{self.part:16} {name:76} {verdict}", flush=True)


class Test:
    """The programs and a folder for each part."""

    def __init__(self, binary, module, calls, folder):
        self.binary, self.module, self.calls, self.folder = binary, module, calls, folder

    def new_folder(self, name):
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        return folder

    @contextlib.contextmanager
    def by_service(self, name):
        """Kamailio and a service, with the actions that kill and restart the service."""
        folder, metrics = self.new_folder(name), free_port()
        place = f"unix:{folder}/decide.sock"
        with (
            Service(self.binary, folder, place, "--metrics", f"127.0.0.1:{metrics}") as service,
            Kamailio(self.module, folder, {"service": place, "timeout": 10_000}) as kamailio,
        ):
            kamailio.metrics = metrics
            yield kamailio, service.kill, service.start

    @contextlib.contextmanager
    def by_process(self, name):
        """Kamailio with a decision process."""
        folder, metrics = self.new_folder(name), free_port()
        config = write_configuration(folder)
        parameters = {
            "mode": "process",
            "program": self.binary,
            "config": config,
            "socket": folder / "private/decide.sock",
            "options": f"--api off --metrics 127.0.0.1:{metrics}",
            "timeout": 10_000,
        }
        with Kamailio(self.module, folder, parameters) as kamailio:
            kamailio.metrics = metrics
            kamailio.wait_for_program()
            yield kamailio, kamailio.kill_program, kamailio.allow_program


def decisions(kamailio, outcome, reason):
    """The number of decisions, by the metrics of the service."""
    with urllib.request.urlopen(f"http://127.0.0.1:{kamailio.metrics}/metrics", timeout=SECONDS) as page:
        text = page.read().decode()
    series = f'sip_authz_decisions_total{{outcome="{outcome}",reason="{reason}"}} '
    return sum(int(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(series))


# --- with a service and with a process --------------------------------------------------------------------------------


def load(test, kamailio, report):
    calls, port = test.calls, udp_port()
    folder = kamailio.folder

    def sipp(name, *words, **options):
        run = Load(kamailio, folder, name, calls, **options)
        return run.add("-key", "domain", "by-password.example", *words)

    right = sipp("right", "-au", USER, "-ap", PASSWORD, "-p", port)
    seen = right.run()
    report.check(f"{calls} of {calls} calls with the right password are accepted", seen == {200: calls}, seen)

    credentials = right.credentials()
    report.check("each call has credentials", len(set(credentials)) == calls, len(set(credentials)))
    if any(";" in value for value in credentials):
        raise Failed("credentials with a semicolon do not fit into a file of sipp")
    lines = folder / "replays.csv"
    lines.write_text("SEQUENTIAL\n" + "".join(f"{value};\n" for value in credentials))
    seen = sipp("replay", "-inf", lines, "-p", port, scenario="replay").run()
    report.check(f"0 of {calls} replays from the same port are accepted", seen == {407: calls}, seen)

    # one for each of the credentials: a second one would be a replay
    seen = decisions(kamailio, "accept", "passed")
    report.check(f"the service has accepted {calls} times", seen == calls, seen)

    seen = sipp("wrong", "-au", USER, "-ap", "guess", source=GUESSER).run()
    report.check(f"0 of {calls} calls with a wrong password are accepted", seen == {403: calls}, seen)

    seen = Load(kamailio, folder, "inside", calls).add("-key", "domain", "by-address.example").run()
    report.check(f"{calls} of {calls} calls of the address list are accepted", seen == {200: calls}, seen)
    seen = Load(kamailio, folder, "outside", calls, OUTSIDE).add("-key", "domain", "by-address.example").run()
    report.check(f"0 of {calls} calls of another address are accepted", seen == {403: calls}, seen)


def restart(test, kamailio, kill, start, report):
    calls = max(test.calls // 10, 20)

    def sipp(name):
        words = ("-key", "domain", "by-password.example", "-au", USER, "-ap", PASSWORD)
        return Load(kamailio, kamailio.folder, name, calls).add(*words).run()

    seen = sipp("before")
    report.check(f"{calls} of {calls} calls before are accepted", seen == {200: calls}, seen)
    with Caller(INSIDE) as caller:
        request = Request("INVITE", BY_PASSWORD)
        challenge = caller.ask(request.text(caller), kamailio.address, SECONDS)
        kill()
        # each of the four processes notices the end by itself
        answers = [invite(kamailio, INSIDE, BY_ADDRESS) for _ in range(20)]
        credentials = digest(challenge, BY_PASSWORD, PASSWORD)
        answers.append(caller.ask(request.text(caller, 2, credentials), kamailio.address, SECONDS))
        start()
        refused = [code(answer) for answer in answers]
        report.check("calls are refused with 503", set(refused) == {503}, refused)
        report.check("their code is -5", header(answers[0], "X-Code") == "-5", answers[0])
        log = kamailio.log()
        report.check("Kamailio logs the error", "the request is refused" in log, log[-500:])
        # a nonce of the process that was killed
        credentials = digest(challenge, BY_PASSWORD, PASSWORD).replace("00000001", "00000002")
        answer = caller.ask(request.text(caller, 3, credentials), kamailio.address, SECONDS) or ""
        report.check("an old nonce is challenged with stale=true", "stale=true" in answer, answer)
    seen = sipp("after")
    report.check(f"{calls} of {calls} calls after it are accepted", seen == {200: calls}, seen)


# --- one mode is enough -----------------------------------------------------------------------------------------------


def values(test, report):
    with test.by_service("values") as (kamailio, *_):
        answer = invite(kamailio, INSIDE, BY_ADDRESS)
        expected = {"Code": "1", "User": NULL, "Target-Name": "by-address.example", "Permissions": NULL}
        expected |= {"Reason": "passed", "Cause": NULL, "Status": NULL, "Retransmission": "0"}
        check_values(report, "an accept by address", answer, 200, expected)
        for name in ("X-Account", "X-Target"):
            report.check(f"{name} is a SID", SID.match(header(answer, name) or ""), answer)
        answer = invite(kamailio, OUTSIDE, BY_ADDRESS)
        expected = {"Code": "-2", "Account": NULL, "Status": "403", "Reason": "address-not-listed"}
        check_values(report, "a refusal", answer, 403, expected)
        report.check("the response has its header", header(answer, "X-Authz-Error"), answer)
        answer = invite(kamailio, INSIDE, BY_PASSWORD)
        check_values(report, "a challenge", answer, 407, {"Code": "-1", "Account": NULL, "Status": "407"})
        report.check("the challenge has its header", header(answer, "Proxy-Authenticate"), answer)
        answer = invite(kamailio, INSIDE, "sip:100@nowhere.example")
        check_values(report, "an unknown domain", answer, 404, {"Code": "-2", "Status": "404"})
        with Caller(INSIDE) as caller:
            request = Request("INVITE", BY_PASSWORD)
            challenge = caller.ask(request.text(caller), kamailio.address, SECONDS)
            message = request.text(caller, 2, digest(challenge, BY_PASSWORD, PASSWORD))
            for number in ("0", "1"):
                answer = caller.ask(message, kamailio.address, SECONDS) or ""
                expected = {"Code": "1", "User": USER, "Retransmission": number}
                check_values(report, f"a digest, sent again {number} times", answer, 200, expected)
            answer = caller.ask(Request("OPTIONS", "sip:unchecked@x").text(caller), kamailio.address) or ""
            report.check("authz_reply() alone answers 500", code(answer) == 500, answer)
            bye = Request("BYE", BY_ADDRESS, to=";tag=x")
            answer = caller.ask(bye.text(caller), kamailio.address) or ""
            report.check("a request within a dialog is not accepted", header(answer, "X-Code") != "1", answer)
            uri = BY_PASSWORD.replace("100", "transaction")
            request = Request("INVITE", uri)
            challenge = caller.ask(request.text(caller), kamailio.address, SECONDS) or ""
            seen = (code(challenge), header(challenge, "X-Code"))
            report.check("tm sends the challenge of a transaction", seen == (407, "-1"), challenge)
            credentials = digest(challenge, uri, PASSWORD)
            answer = caller.ask(request.text(caller, 2, credentials), kamailio.address, SECONDS) or ""
            report.check("the answer to it is accepted", code(answer) == 200, answer)
        calls = 20
        for domain, source, expected in [
            ("by-password.example", INSIDE, {200: calls}),
            ("by-address.example", INSIDE, {200: calls}),
            ("by-address.example", OUTSIDE, {403: calls}),
        ]:
            sipp = Load(kamailio, kamailio.folder, f"tcp-{domain}-{source}", calls, source)
            seen = sipp.add("-key", "domain", domain, "-au", USER, "-ap", PASSWORD, "-t", "t1").run()
            report.check(f"TCP: {domain} from {source}", seen == expected, seen)


def check_values(report, name, answer, number, expected):
    seen = {part: header(answer, f"X-{part}") for part in expected}
    report.check(f"the values of {name}", code(answer) == number and seen == expected, answer)


def late(test, report):
    folder = test.new_folder("late")
    place = folder / "fake.sock"
    parameters = {"service": f"unix:{place}", "timeout": 500}
    accept = [text(7, "AC" + "0" * 32), text(8, "SD" + "1" * 32), text(9, "by.example"), text(10, "bob")]
    accept += [text(11, "one"), text(11, "two"), text(13, "passed")]
    with FakeService(place) as fake, Kamailio(test.module, folder, parameters, children=1) as kamailio:

        def ask(answer):
            """The answer to a call. `answer` gets the question while the caller waits."""
            with Caller(INSIDE) as caller:
                request = Request("INVITE", "sip:1@by.example")
                caller.socket.sendto(request.text(caller), kamailio.address)
                answer(fake.question())
                caller.socket.settimeout(SECONDS)
                return caller.socket.recv(65_535).decode()

        def ask_until(holds, answer):
            """The answer to one of several calls: a busy machine can let one time out."""
            for _ in range(10):
                found = ask(answer)
                if holds(found):
                    break
            return found

        held, rounds = [], []

        def reject(question):
            # the late answer comes first
            held[-1].answer(ACCEPT, *accept)
            question.answer(REJECT, *status(403, "Forbidden"))

        for _ in range(5):
            rounds.append(code(ask(held.append)))
            held[-1].answer(ACCEPT, *accept)
            rounds.append(code(ask_until(lambda answer: code(answer) != 503, reject)))
        seen = rounds == [503, 403] * 5
        report.check("five late accepts are not used: 503, then the next call's own 403", seen, rounds)

        for name, wrong in [
            ("an accept with the id of no request", lambda it: it.answer(ACCEPT, *accept, id=b"\xff" * 8)),
            ("an outcome that is not known", lambda it: it.answer(9, *status(403, "Forbidden"))),
            (
                "an accept that names a header that is not there",
                lambda it: it.answer(ACCEPT, *accept, (6, b"\0\0Proxy-Authorization")),
            ),
            ("an accept with a status", lambda it: it.answer(ACCEPT, *accept, *status(200, "OK"))),
            ("a connection that ends", lambda it: it.connection.shutdown(2)),
        ]:
            answer = ask(wrong)
            values = (code(answer), header(answer, "X-Code"), header(answer, "X-Account"))
            report.check(f"{name} is refused with 503", values == (503, "-5", NULL), answer)
        overload = status(503, "Service Unavailable")
        answer = ask_until(
            lambda answer: header(answer, "X-Code") == "-4", lambda it: it.answer(OVERLOADED, *overload)
        )
        check_values(report, "an overload", answer, 503, {"Code": "-4", "Status": "503"})
        challenge = [*status(401, "Unauthorized"), (5, b"X-One: 1\r\n"), (5, b"X-Two: 2\r\n")]
        answer = ask_until(lambda answer: code(answer) == 401, lambda it: it.answer(CHALLENGE, *challenge))
        holds = (code(answer), header(answer, "X-One"), header(answer, "X-Two")) == (401, "1", "2")
        report.check("all header lines of a response are sent", holds, answer)
        answer = ask_until(lambda answer: code(answer) == 200, lambda it: it.answer(ACCEPT, *accept))
        expected = {"Code": "1", "User": "bob", "Target-Name": "by.example", "Permissions": "one,two"}
        check_values(report, "an accept of the same service in time", answer, 200, expected)


def refused(test, report):
    me = pwd.getpwuid(os.geteuid()).pw_name
    other = "nobody" if me != "nobody" else "daemon"
    folder = test.new_folder("user")
    place = f"unix:{folder}/decide.sock"
    with (
        Service(test.binary, folder, place, "--decide-user", other),
        Kamailio(test.module, folder, {"service": place, "timeout": 10_000}) as kamailio,
    ):
        answer = invite(kamailio, INSIDE, BY_ADDRESS)
        report.check(f"the user {me} is refused if {other} is listed", code(answer) == 503, answer)
        logs = re.search(r"ERROR: authz.*user", kamailio.log())
        report.check("Kamailio logs that the user is not allowed", logs, kamailio.log())
    for name, token, expected in [("wrong", "another token of 16", 503), ("right", "the right token!", 200)]:
        folder = test.new_folder(f"token-{name}")
        place = f"tcp:127.0.0.1:{free_port()}"
        path = folder / "module.token"
        path.touch(mode=0o600)
        path.write_text(token + "\n")
        parameters = {"service": place, "token_file": path, "timeout": 10_000}
        with (
            Service(test.binary, folder, place, token="the right token!"),
            Kamailio(test.module, folder, parameters) as kamailio,
        ):
            answer = invite(kamailio, INSIDE, BY_ADDRESS)
            report.check(f"the {name} token: {expected}", code(answer) == expected, answer)
            logs = re.search(r"ERROR: authz.*token", kamailio.log())
            report.check("Kamailio logs a wrong token only", bool(logs) == (expected == 503), kamailio.log())
    for name, parameters, expected in [
        ("a token for all users", {"service": "tcp:127.0.0.1:9", "token_file": folder / "open"}, "chmod 600"),
        ("an unknown mode", {"mode": "both"}, 'expected "service" or "process"'),
        ("another place", {"service": "file:/etc/sip-authz/edge.toml"}, "expected unix:PATH or tcp:"),
        ("no time", {"timeout": 0}, "expected 1 to 60000 ms"),
        ("a relative socket", {"mode": "process", "socket": "a.sock"}, "expected an absolute path"),
    ]:
        (folder / "open").write_text("the right token!")
        (folder / "open").chmod(0o644)
        try:
            with Kamailio(test.module, folder, parameters) as kamailio:
                seen = f"Kamailio starts:\n{kamailio.log()}"
        except Failed as failure:
            seen = str(failure)
        report.check(f"Kamailio does not start with {name}", expected in seen, seen)


def reload(test, report):
    with test.by_process("reload") as (kamailio, *_):
        report.check("an address outside the list", code(invite(kamailio, OUTSIDE, BY_ADDRESS)) == 403)
        write_configuration(kamailio.folder, CONFIGURATION.replace(f'["{INSIDE}"]', f'["{OUTSIDE}"]'))
        seen = kamailio.rpc("authz.reload")
        wait_for("the reload", lambda: "reloaded " in kamailio.log())
        answer = invite(kamailio, OUTSIDE, BY_ADDRESS)
        report.check("the new list after authz.reload", code(answer) == 200, (seen, answer))
        report.check("the old address is refused", code(invite(kamailio, INSIDE, BY_ADDRESS)) == 403)
        program = kamailio.program()
        folder = kamailio.folder / "private"
        report.check("the folder of the socket is private", folder.stat().st_mode & 0o777 == 0o700)
    report.check("the decision process ends with Kamailio", not runs(program), program)
    with test.by_process("killed") as (kamailio, *_):
        program = kamailio.program()
        kamailio.process.kill()
        kamailio.process.wait()
        wait_for("the end of the decision process", lambda: not runs(program))
        report.check("the decision process ends if Kamailio is killed", True)
    with test.by_process("open") as (kamailio, *_):
        # another user could put a socket there
        kamailio.kill_program()
        answer = invite(kamailio, INSIDE, BY_ADDRESS)
        report.check("no decision process in a folder that others can write to", code(answer) == 503, answer)


def runs(process):
    """Whether a process runs. One that waits for its parent to read its end does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def main():
    both = {"load": lambda test, world, report: load(test, world[0], report)}
    both["restart"] = lambda test, world, report: restart(test, *world, report)
    single = {"values": values, "late": late, "refused": refused, "reload": reload, "recipes": recipes.check}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=lambda text: Path(text).resolve())
    parser.add_argument("module", type=lambda text: Path(text).resolve())
    parser.add_argument("calls", type=int, nargs="?", default=500)
    parser.add_argument("--only", default=",".join([*both, *single]), metavar="PART,...")
    args = parser.parse_args()
    parts = args.only.split(",")
    if unknown := set(parts) - {*both, *single}:
        parser.error(f"unknown parts: {', '.join(unknown)}")
    require("kamailio", "kamcmd", "sipp")
    report = Report()
    with tempfile.TemporaryDirectory(prefix="authz-") as folder:
        test = Test(args.binary, args.module, args.calls, Path(folder))
        for part in parts:
            if part in single:
                report.part = part
                single[part](test, report)
                continue
            for mode, world in (("service", test.by_service), ("process", test.by_process)):
                report.part = f"{part}, {mode}"
                with world(f"{part}-{mode}") as running:
                    both[part](test, running, report)
    print(f"{report.failed} differ" if report.failed else "all as expected")
    return 1 if report.failed else 0


if __name__ == "__main__":
    run_script("kamailio module", main)
