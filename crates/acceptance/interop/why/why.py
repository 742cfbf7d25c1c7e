#!/usr/bin/env python3
"""Makes calls that are refused, each for another cause, with sipp, baresip and sipsak, and reads what
`sip-authz why` prints about each.

    why.py BINARY [--check | --print] [--only CAUSE,...]

Each call must be explained by its true cause, and no two by the same words. The table of
docs/guide/causes.md is written from the output, or compared with it (--check).

Exit code: 0 all as expected, 1 a difference, 2 the test could not run.
"""

import argparse
import difflib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))
from edge import Edge, Failed, require, run_script  # noqa: E402
from callers import PATIENCE, Sent, baresip, sipp, sipsak  # noqa: E402

PAGE = Path(__file__).resolve().parents[4] / "docs/guide/causes.md"
BEGIN, END = "<!-- refusals: begin -->", "<!-- refusals: end -->"
REALM = "why.example"
RIGHT, WRONG = "Correct-Horse-7", "Other-Horse-8"

# An answer to a challenge that is right in all but the digest.
DIGEST = (
    'Proxy-Authorization: Digest username="alice", realm="why.example", nonce="{nonce}", '
    'uri="{uri}", algorithm={algorithm}, response="{response}", cnonce="c", nc=00000001, qop={qop}'
)


def digest(host, *, nonce="[$nonce]", uri="", algorithm="MD5", qop="auth"):
    size = 64 if "SHA" in algorithm else 32
    uri = uri or f"sip:100@{host}"
    return DIGEST.format(nonce=nonce, uri=uri, algorithm=algorithm, qop=qop, response="0" * size)


CONFIG = """\
realm = "why.example"

[[accounts]]
name = "open"
[[accounts]]
name = "suspended"
status = "suspended"
[[accounts]]
name = "closed"
status = "closed"

[[credential_lists]]
name = "phones"
account = "open"
credentials = [
  { username = "alice", password = "Correct-Horse-7" },
  { username = "bob", password = "Correct-Horse-7" },
  { username = "disabled", password = "Correct-Horse-7", disabled = true },
  { username = "no-md5", ha1 = { sha-256 = "HASH" } },
]
[[ip_access_control_lists]]
name = "elsewhere"
account = "open"
addresses = ["192.0.2.0/24"]
"""


# --- the cases ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A refused call: what is done, with which client, and the cause that must be named."""

    cause: str
    text: str
    client: str
    # makes the call: function of the case and the run
    call: object
    account: str = "open"
    # the lists of its domain; none if there is no domain
    lists: str = 'credential_lists = ["phones"]'
    policy: str = ""
    # whether the request has no host, and is found by its source
    by_source: bool = False

    @property
    def host(self):
        return re.sub(r"[^a-z0-9]+", "-", self.cause.lower()) + ".example"

    @property
    def source(self):
        """An address of its own, so that guesses are counted apart."""
        return f"127.0.1.{10 + CASES.index(self)}"

    def toml(self):
        if self.lists is None:
            return ""
        lines = ["[[domains]]", f'name = "{self.host}"', f'account = "{self.account}"']
        lines += [self.lists] + ([f"policy = {{ {self.policy} }}"] if self.policy else [])
        return "\n".join([*lines, ""])


def with_sipp(*requests, user="alice", password=RIGHT, times=1):
    """Sends requests with sipp, with texts in which HOST is that of the case."""

    def call(case, run):
        for _ in range(times):
            sent = [
                Sent(**{**vars(one), "credentials": one.credentials.replace("HOST", case.host)})
                for one in requests
            ]
            run.sipp(case, sent, user=user, password=password)

    return call


def with_baresip(**options):
    # baresip asks its user for a password if it has none
    options = {"password": RIGHT, **options}
    return lambda case, run: baresip(case.host, run.port, run.folder(case), **options)


def with_sipsak(**options):
    return lambda case, run: sipsak(case.host, run.port, run.folder(case), **options)


def replayed(case, run):
    """Sends the credentials of an accepted call again."""
    trace = run.sipp(case, [Sent(407), Sent(200, "[authentication]")], password=RIGHT)
    used = re.search(r"^Proxy-Authorization: Digest .*$", trace, re.M)
    if not used:
        raise Failed(f"no credentials in the trace of sipp:\n{trace}")
    run.sipp(case, [Sent(407, used[0].strip())])


def of_other_source(case, run):
    """Answers the challenge of another address."""
    nonce = nonce_of(run.sipp(case, [Sent(407)], source="127.0.2.1"))
    run.sipp(case, [Sent(407, digest(case.host, nonce=nonce))])


def of_other_process(case, run):
    run.sipp(case, [Sent(407, digest(case.host, nonce=run.old_nonce))])


def from_many_sources(case, run):
    for last in (1, 2, 3):
        requests = [Sent(407), Sent(403, "[authentication]")]
        run.sipp(case, requests, password=WRONG, source=f"127.0.3.{last}")


def at_many_names(case, run):
    for user in ("alice", "bob", "carol"):
        run.sipp(case, [Sent(407), Sent(403, "[authentication]")], user=user, password=WRONG)


def nonce_of(trace):
    found = re.search(r'nonce="([^"]+)"', trace)
    if not found:
        raise Failed(f"no challenge in the trace of sipp:\n{trace}")
    return found[1]


ONCE = "{ burst = 1, refill_ms = 3600000 }"
TWICE = "{ burst = 2, refill_ms = 3600000 }"
ANSWERED = Sent(403, "[authentication]")

CASES = [
    Case("unknown-host", "call to a host that is no domain", "baresip", with_baresip(), lists=None),
    Case(
        "hostless-uri", "call to a `tel:` URI", "sipp",
        with_sipp(Sent(416, uri="tel:+4930123")), lists=None, by_source=True,
    ),
    Case(
        "account-suspended", "call to a domain of a suspended account", "sipsak",
        with_sipsak(), account="suspended", lists="",
    ),
    Case(
        "account-closed", "call to a domain of a closed account", "baresip",
        with_baresip(), account="closed", lists="",
    ),
    Case(
        "target-needs-tls", "call over UDP to a `secure` domain", "baresip", with_baresip(),
        lists='secure = true\ncredential_lists = ["phones"]',
    ),
    Case("nothing-mapped", "call to a domain without a list", "sipsak", with_sipsak(), lists=""),
    Case(
        "address-not-listed", "call from an address that no list has", "sipsak", with_sipsak(),
        lists='ip_access_control_lists = ["elsewhere"]',
    ),
    Case(
        "no-credentials", "call of a client without a password, which gives up", "sipp",
        with_sipp(Sent(407)),
    ),
    Case(
        "not-digest", "answer with the scheme Basic", "sipp",
        with_sipp(Sent(407, "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0")),
    ),
    Case(
        "other-realm", "answer for another realm", "sipp",
        with_sipp(Sent(407, digest("HOST", nonce="n").replace("why.example", "pbx.example"))),
    ),
    Case(
        "user-unknown", "call of a user that no list has", "baresip",
        with_baresip(user="mallory"),
    ),
    Case(
        "user-disabled", "call of a disabled user", "baresip",
        with_baresip(user="disabled"),
    ),
    Case("wrong-password", "call with a wrong password", "sipsak", with_sipsak(password=WRONG)),
    Case(
        "hash-missing", "MD5 answer of a user that has a SHA-256 hash alone", "baresip",
        with_baresip(user="no-md5"),
    ),
    Case(
        "algorithm-not-offered", "SHA-256 answer where MD5 is offered", "sipp",
        with_sipp(Sent(407), Sent(403, digest("HOST", algorithm="SHA-256"))),
    ),
    Case(
        "nonce-expired", "right answer after the lifetime of the nonce", "sipp",
        with_sipp(Sent(407), Sent(407, "[authentication]", wait=2_500)), policy="nonce_lifetime = 1",
    ),
    Case("nonce-of-other-process", "answer to a challenge before a restart", "sipp", of_other_process),
    Case("nonce-of-other-binding", "answer to the challenge of another address", "sipp", of_other_source),
    Case("nonce-malformed", "answer with a nonce of another server", "sipp",
         with_sipp(Sent(407, digest("HOST", nonce="abcdef")))),
    Case("nonce-count-used", "credentials of an accepted call, sent again", "sipp", replayed),
    Case(
        "malformed-credentials", "answer with an unknown qop", "sipp",
        with_sipp(Sent(407), Sent(400, digest("HOST", qop="auth-conf"))),
    ),
    Case(
        "qop-missing", "answer without qop", "sipp",
        with_sipp(Sent(407), Sent(400, digest("HOST").split(", cnonce=")[0])),
    ),
    Case(
        "digest-uri-of-other-host", "answer for the URI of another host", "sipp",
        with_sipp(Sent(407), Sent(400, digest("HOST", uri="sip:100@elsewhere.example"))),
        policy='uri_check = "same-host"',
    ),
    Case(
        "from-of-other-user", "right password, and the From of another user", "baresip",
        with_baresip(user="bob", auth_user="alice"), policy="from_must_match = true",
    ),
    Case(
        "guess-limit", "two wrong passwords where one is allowed", "sipp",
        with_sipp(Sent(407), ANSWERED, password=WRONG, times=2),
        policy=f"guesses = {{ pair = {ONCE} }}",
    ),
    Case(
        "guess-limit-of-name", "wrong passwords for one name from three addresses", "sipp",
        from_many_sources, policy=f"guesses = {{ name = {TWICE} }}",
    ),
    Case(
        "guess-limit-of-source", "wrong passwords for three names from one address", "sipp",
        at_many_names, policy=f"guesses = {{ any_name = {TWICE} }}",
    ),
    Case("method not allowed", "PUBLISH", "sipsak", with_sipsak(method="PUBLISH")),
    Case(
        "repeated header From", "INVITE with two From", "sipp",
        with_sipp(Sent(400, "From: <sip:other@HOST>;tag=2")), by_source=True,
    ),
]


# --- the run -----------------------------------------------------------------------------------------------------------


class Server(Edge):
    """The edge with its API. `ask` runs a command of the program against it."""

    def __init__(self, binary, directory, configuration):
        super().__init__(binary, directory, configuration)
        self.command[self.command.index("off")] = "127.0.0.1:0"
        self.binary = binary

    def ask(self, *arguments):
        text = self.out.read_text(errors="replace")
        found = re.search(r"^listening for HTTP on (http://127\.0\.0\.1:\d+)", text, re.M)
        if not found:
            raise Failed(f"the program has no API:\n{text}")
        command = [self.binary, *arguments, "--api", found[1]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.stderr:
            raise Failed(f"{' '.join(arguments)}: {done.stderr}")
        return done.returncode, done.stdout


class Run:
    """A server, and the folders of the clients that call it."""

    def __init__(self, server, directory, old_nonce=""):
        self.server, self.directory, self.old_nonce = server, directory, old_nonce
        self.port, self.calls = server.port, 0

    def folder(self, case):
        self.calls += 1
        return self.directory / f"{self.calls}-{case.host}"

    def sipp(self, case, requests, **options):
        options = {"source": case.source, **options}
        return sipp(case.host, requests, self.port, self.folder(case), **options)


@dataclass(frozen=True)
class Row:
    """What `why` prints about a case."""

    case: Case
    answer: str
    cause: str
    advice: str

    def text(self):
        cells = [self.case.text, self.case.client, self.answer, self.cause, self.advice]
        return "| " + " | ".join(cells) + " |"


def until(look, fits):
    """The result of `look` once it fits, or the last one when the time is up."""
    end = time.monotonic() + PATIENCE
    while not fits(found := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def explained(case, server):
    """Asks `why` about the last refusal of a case. Returns its row, and a complaint or None."""
    selection = ["--source", case.source] if case.by_source else ["--domain", case.host]

    def last():
        code, text = server.ask("why", *selection, "--last", "1", "--json")
        return json.loads(text)["refusals"][0] if code == 0 else {"cause": "nothing"}

    # a thread keeps a decision after it has answered
    refusal = until(last, lambda refusal: refusal["cause"] == case.cause)
    code, text = server.ask("why", *selection, "--last", "1")
    if code != 0:
        raise Failed(f"`why` found nothing about {case.cause}:\n{text}")
    lines = dict(re.findall(r"^  (answer|cause|to do) +(.*)$", text, re.M))
    row = Row(case, lines["answer"], lines["cause"], lines["to do"])
    if refusal["cause"] != case.cause:
        return row, f"expected the cause {case.cause}, got {refusal['cause']}"
    if not row.cause.endswith(f" ({case.cause})"):
        return row, f"the line does not name its cause: {row.cause}"
    steps = refusal["steps"]
    if steps[-1]["passed"] or not all(step["passed"] for step in steps[:-1]):
        return row, f"the last step alone must fail: {steps}"
    return row, None


def configuration(cases):
    # RFC 7616 §3.4.2: the hash of user, realm and password
    from hashlib import sha256

    ha1 = sha256(f"no-md5:{REALM}:{RIGHT}".encode()).hexdigest()
    return CONFIG.replace("HASH", ha1) + "\n".join(case.toml() for case in cases)


def measure(binary, directory, cases):
    """Makes all calls. Returns the rows and the complaints."""
    text = configuration(cases)
    restarted = [case for case in cases if case.call is of_other_process]
    old_nonce = ""
    if restarted:
        with Server(binary, directory / "before", text) as server:
            run = Run(server, directory / "calls-before")
            old_nonce = nonce_of(run.sipp(restarted[0], [Sent(407)]))
    rows, complaints = [], []
    with Server(binary, directory / "edge", text) as server:
        run = Run(server, directory / "calls", old_nonce)
        for case in cases:
            case.call(case, run)
            row, complaint = explained(case, server)
            rows.append(row)
            if complaint:
                complaints.append(f"{case.cause}: {complaint}")
        # nothing was refused here, and the text says what was asked
        code, nothing = server.ask("why", "--domain", "silent.example", "--user", "alice")
        if code != 1 or "no refusal is kept for domain silent.example, user alice" not in nothing:
            complaints.append(f"nothing found: exit code {code}:\n{nothing}")
        complaints += limits(server, [case for case in cases if case.cause.startswith("guess-limit")])
    causes = [row.cause for row in rows]
    complaints += [f"several causes print: {text}" for text in set(causes) if causes.count(text) > 1]
    return rows, complaints


def limits(server, cases):
    """Lists and releases what the guess limits of these cases hold. Returns the complaints."""
    complaints = []
    for case in cases:
        at_host = lambda text: [line for line in text.splitlines() if f" at {case.host}" in line]
        text = until(lambda: server.ask("limits")[1], at_host)
        if not at_host(text):
            complaints.append(f"`limits` does not list {case.host}:\n{text}")
            continue
        server.ask("limits", "release", "--domain", case.host)
        _, text = server.ask("limits")
        if case.host in text:
            complaints.append(f"`limits release` left {case.host}:\n{text}")
    return complaints


def table(rows):
    head = ["what was done", "client", "answer", "`cause`", "`to do`"]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head))]
    return "\n".join([BEGIN, "", *lines, *(row.text() for row in rows), "", END])


def main():
    parser = argparse.ArgumentParser(description="Read what `why` prints about refused calls.")
    parser.add_argument("binary", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--check", action="store_true", help="compare with docs/guide/causes.md")
    parser.add_argument("--print", action="store_true", help="print the table, write nothing")
    parser.add_argument("--only", metavar="CAUSE,...", help="make these calls only; needs --print")
    args = parser.parse_args()
    only = args.only.split(",") if args.only else None
    if only and not args.print:
        parser.error("a part of the calls cannot fill the page: add --print")
    cases = [case for case in CASES if only is None or case.cause in only]
    require("sipp", "baresip", "sipsak")
    os.environ["SIP_AUTHZ_ADMIN_TOKEN"] = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as scratch:
        # a configuration of the user does not count
        os.environ["XDG_CONFIG_HOME"] = scratch
        rows, complaints = measure(args.binary, Path(scratch), cases)
    now = table(rows)
    print(now)
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    if complaints:
        return 1
    if args.print:
        return 0
    page = PAGE.read_text()
    old = re.search(f"{re.escape(BEGIN)}.*{re.escape(END)}", page, re.S)
    if not old:
        raise Failed(f"expected {BEGIN} and {END} in {PAGE}")
    if not args.check:
        PAGE.write_text(page[: old.start()] + now + page[old.end() :])
        return 0
    lines = difflib.unified_diff(old[0].splitlines(), now.splitlines(), "page", "measured", lineterm="")
    if difference := list(lines):
        print("\n".join(difference))
        print("the table of docs/guide/causes.md is outdated: run `cargo xtask why`")
        return 1
    print("the table of docs/guide/causes.md agrees")
    return 0


if __name__ == "__main__":
    run_script("why", main)
