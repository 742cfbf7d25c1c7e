"""Calls through the program with each client under each policy, and writes the table of
docs/clients.md: clients.py BINARY DIRECTORY [OPTION]... (run.sh says which options).

Each client makes two calls under each policy, with the right password and with a wrong one. Each call
has a domain of its own, by whose SID its decisions are found in the decision log. A call counts as
accepted if the log says so and the client says that it is connected.
"""

import argparse
import difflib
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edge import Edge, Failed, sid, run_script
from phones import PHONES, REALM, Call

PAGE = Path(__file__).resolve().parents[4] / "docs/clients.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
RIGHT, WRONG = "Correct-Horse-7", "Other-Horse-8"


@dataclass(frozen=True)
class Policy:
    """A row of the table: its text, and the policy in TOML."""

    text: str
    toml: str

    @property
    def key(self):
        return f"p{POLICIES.index(self)}"


def algorithms(*names):
    return "algorithms = [" + ", ".join(f'"{name}"' for name in names) + "]"


POLICIES = [
    Policy("`md5-only` (the default)", 'algorithms = "md5-only"'),
    Policy("SHA-256 alone", algorithms("SHA-256")),
    Policy("SHA-512-256 alone", algorithms("SHA-512-256")),
    Policy("MD5-sess alone", algorithms("MD5-sess")),
    Policy("SHA-256-sess alone", algorithms("SHA-256-sess")),
    Policy("SHA-512-256-sess alone", algorithms("SHA-512-256-sess")),
    Policy("`md5-first`: MD5, SHA-256", 'algorithms = "md5-first"'),
    Policy("`sha256-first`: SHA-256, MD5", 'algorithms = "sha256-first"'),
    Policy("`strongest-first`: SHA-512-256, SHA-256, MD5", 'algorithms = "strongest-first"'),
    Policy("MD5, `qop = \"auth-int\"`", 'qop = "auth-int"'),
    Policy("MD5, `qop = \"auth,auth-int\"`", 'qop = "auth,auth-int"'),
    Policy("MD5, `userhash`", "userhash = true"),
    Policy("SHA-256, `userhash`", algorithms("SHA-256") + ", userhash = true"),
    Policy("MD5, 401 instead of 407", 'challenge = "server"'),
    Policy("`sha256-first`, 401 instead of 407", 'algorithms = "sha256-first", challenge = "server"'),
    Policy("MD5, `allow_rfc2069`", "allow_rfc2069 = true"),
]


def domain(phone, policy, password):
    way = "right" if password == RIGHT else "wrong"
    return f"{policy.key}.{way}.{phone.name.replace(' ', '').lower()}.example"


def user(phone, policy, password):
    """A user for each call, so that guesses are counted separately."""
    # without a dash or dot, for clients that cut names there
    return f"u{PHONES.index(phone)}x{policy.key}{'r' if password == RIGHT else 'w'}"


def configuration(phones):
    """A domain and a user for each call."""
    cells = [(ph, po, pw) for ph in phones for po in POLICIES for pw in (RIGHT, WRONG)]
    # wrong passwords are expected here, from one address
    guesses = "guesses = { source = { burst = 1000, refill_ms = 1000 } }"
    lines = [f'realm = "{REALM}"', "[[credential_lists]]", 'name = "callers"', "credentials = ["]
    lines += [f'  {{ username = "{user(*cell)}", password = "{RIGHT}" }},' for cell in cells]
    lines.append("]")
    for cell in cells:
        name = domain(*cell)
        lines += ["[[domains]]", f'name = "{name}"', f'sid = "{sid(name)}"']
        lines += ['credential_lists = ["callers"]', f"policy = {{ {cell[1].toml}, {guesses} }}"]
    return "\n".join(lines) + "\n"


# --- what a cell says --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """A call with the view of both sides: the decisions of the edge, and the result of the client."""

    decisions: list
    result: object

    @property
    def accepted(self):
        return any(decision["outcome"] == "accept" for decision in self.decisions)

    @property
    def passes(self):
        return self.accepted and self.result.connected

    @property
    def answered(self):
        return bool(self.result.credentials())

    def failure(self):
        """Why the call was not accepted, in few words; empty if the client does not answer."""
        if self.accepted:
            return "accepted, but the client is not connected"
        if not self.decisions:
            return "the edge saw no INVITE"
        if not self.answered:
            # a client that retries without credentials is challenged again
            return ""
        return f"{self.decisions[-1]['status']} to {chosen(self.result)}"


def chosen(result):
    """The algorithm and qop of the last credentials."""
    last = result.credentials()[-1]
    # MD5 is what RFC 7616 reads into a missing algorithm
    name = last.get("algorithm", "MD5")
    qop = last.get("qop", "no qop")
    return name if qop == "auth" else f"{name}, {qop}"


def cell(right, wrong):
    """The text of a cell, and what is unsafe or odd in it, or None."""
    if wrong.accepted or wrong.result.connected:
        return "UNSAFE", "a wrong password was accepted"
    if right.result.connected and not right.accepted:
        return "ODD", "the client is connected without an accept"
    if not right.passes:
        reason = right.failure()
        return f"no: {reason}" if reason else "no", None
    last = wrong.decisions[-1]
    if (last["outcome"], last["reason"]) != ("reject", "wrong-credentials"):
        return "ODD", f"a wrong password got {last['status']} {last['reason']}"
    hashed = " (hashed name)" if right.result.credentials()[-1].get("userhash") == "true" else ""
    return f"yes: {chosen(right.result)}{hashed}", None


# --- the run -----------------------------------------------------------------------------------------------------------


class Progress:
    """A line on stderr that counts the calls."""

    def __init__(self, total):
        self.total, self.done, self.lock = total, 0, threading.Lock()

    def __call__(self):
        with self.lock:
            self.done += 1
            if self.done % 20 == 0 or self.done == self.total:
                print(f"{self.done} of {self.total} calls made", file=sys.stderr, flush=True)


def measure(binary, directory, phones):
    """Makes all calls. Returns the cells by phone and policy, and the complaints."""
    calls = [(policy, password) for policy in POLICIES for password in (RIGHT, WRONG)]
    progress = Progress(len(calls) * len(phones))
    with Edge(binary, directory / "edge", configuration(phones)) as edge:

        def dial(phone):
            wanted = [
                Call(user(phone, *call), call[1], domain(phone, *call)) for call in calls
            ]
            own = directory / phone.name.replace(" ", "-")
            results = phone.dial(wanted, edge.port, own, progress)
            return {call: (one, result) for call, one, result in zip(calls, wanted, results)}

        with ThreadPoolExecutor(len(phones)) as pool:
            made = dict(zip(phones, pool.map(dial, phones)))
    # the program has ended, so all are in its log
    decisions = edge.decisions()
    cells, complaints = {}, []
    for phone, results in made.items():
        for policy in POLICIES:
            right, wrong = (
                Outcome(decisions.get(sid(one.domain), []), result)
                for one, result in (results[policy, RIGHT], results[policy, WRONG])
            )
            text, complaint = cell(right, wrong)
            cells[phone, policy] = text
            if complaint:
                complaints.append(f"{phone.name}, {policy.text}: {complaint}")
    return cells, complaints


def table(phones, cells):
    head = ["policy", *(phone.name for phone in phones), "passes with"]
    rows = [head, ["---"] * len(head)]
    for policy in POLICIES:
        row = [cells[phone, policy] for phone in phones]
        passing = sum(text.startswith("yes") for text in row)
        rows.append([policy.text, *row, f"{passing} of {len(phones)}"])
    return ["| " + " | ".join(row) + " |" for row in rows]


def block(phones, cells):
    """The text between the markers of the page."""
    versions = [f"- {phone.name}: {phone.version()} ({phone.package})" for phone in phones]
    return "\n".join([BEGIN, "", *versions, "", *table(phones, cells), "", END])


def columns(text, names):
    """The rows of a block, with the columns of these clients only."""
    rows = [
        [part.strip() for part in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    if not rows:
        return []
    kept = [0, *(rows[0].index(name) for name in names if name in rows[0])]
    return [" | ".join(row[number] for number in kept) for row in rows]


def check(page, now, phones):
    """Compares the measured columns with those of the page."""
    names = [phone.name for phone in phones]
    before, after = columns(page, names), columns(now, names)
    lines = list(difflib.unified_diff(before, after, "docs/clients.md", "measured", lineterm="", n=0))
    if lines:
        print("\n".join(lines))
        print("the table of docs/clients.md is outdated: run `cargo xtask clients`")
        return 1
    print(f"docs/clients.md agrees for {', '.join(names)}")
    return 0


def choose(args):
    """The clients to call with. All must be installed."""
    names = [phone.name for phone in PHONES]
    asked = args.only.split(",") if args.only else names
    without = args.without.split(",") if args.without else []
    for name in [*asked, *without]:
        if name not in names:
            raise Failed(f"expected a client of {', '.join(names)}, got `{name}`")
    phones = [ph for ph in PHONES if ph.name in asked and ph.name not in without]
    missing = [f"{ph.name} ({ph.package})" for ph in phones if ph.version() is None]
    if missing:
        raise Failed(f"not installed: {', '.join(missing)}; --without leaves clients out")
    return phones


def main():
    parser = argparse.ArgumentParser(description="Call with each client under each policy.")
    parser.add_argument("binary")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--check", action="store_true", help="compare with docs/clients.md, write nothing")
    parser.add_argument("--print", action="store_true", help="print the table, write nothing")
    parser.add_argument("--only", metavar="NAME,...", help="call with these clients only")
    parser.add_argument("--without", metavar="NAME,...", help="leave these clients out")
    args = parser.parse_args()
    phones = choose(args)
    if len(phones) < len(PHONES) and not (args.check or args.print):
        raise Failed("a part of the clients cannot fill the page: add --check or --print")
    began = time.monotonic()
    cells, complaints = measure(args.binary, args.directory, phones)
    now = block(phones, cells)
    print(now)
    print(f"took {time.monotonic() - began:.0f} s")
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
    if args.check:
        return check(old[0], now, phones)
    PAGE.write_text(page[: old.start()] + now + page[old.end() :])
    return 0


if __name__ == "__main__":
    run_script("clients", main)
