#!/usr/bin/env python3
"""Calls through the edges of the folder examples with sipp, over UDP and TCP.

    stacks.py FOLDER NAME...

FOLDER has the built programs, NAME is rsipstack, ezk or rvoip. Each edge decides by digest, by digest and
address, and by the address alone; refuses calls; and reads its lists again after a user was removed. The
lines of an edge between its marks `sip-authz: begin` and `sip-authz: end` are counted, and its functions there
must be those of docs/guide/stacks.md.

Exit code: 0 all as expected, 1 a difference, 2 the test could not run.
"""

import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))
from edge import SECONDS_TO_START, Failed, end, require, run_script, start  # noqa: E402
from phones import run  # noqa: E402

EXAMPLES, GUIDE = HERE.parents[3] / "examples", HERE.parents[3] / "docs/guide/stacks.md"
# The most lines that an embedder writes to ask the library.
MOST_LINES = 20
CALLS, PATIENCE = 10, 60

LISTS = """\
realm = "stacks.example"

[[ip_access_control_lists]]
name = "inside"
addresses = ["127.0.0.1"]

[[credential_lists]]
name = "staff"
credentials = [
  {{ username = "bob", password = "Battery-Staple-8" }},
  {users}
]

[[domains]]
name = "digest.example"
credential_lists = ["staff"]

[[domains]]
name = "both.example"
ip_access_control_lists = ["inside"]
credential_lists = ["staff"]

[[domains]]
name = "address.example"
ip_access_control_lists = ["inside"]

[[domains]]
name = "nothing.example"
"""
ALICE = '{ username = "alice", password = "Correct-Horse-7" }'
INSIDE, OUTSIDE, GUESSER = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Edge:
    """The example on a free port, until the end of the block."""

    def __init__(self, program, directory):
        self.lists, self.out = directory / "lists.toml", directory / "edge.out"
        self.write(users=ALICE)
        self.command = [str(program), str(self.lists), "127.0.0.1:0"]

    def __enter__(self):
        self.process = start(self.command, self.out)
        try:
            self.port = int(self.wait_for(r"^listening on 127\.0\.0\.1:(\d+)$", 1))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        end(self.process)

    def write(self, **fields):
        self.lists.touch(mode=0o600)
        self.lists.write_text(LISTS.format(**fields))

    def reload(self, pattern):
        """Makes the edge read its lists, and waits for another line that matches the pattern."""
        count = len(re.findall(pattern, self.out.read_text(), re.M))
        os.kill(self.process.pid, signal.SIGHUP)
        self.wait_for(pattern, count + 1)

    def wait_for(self, pattern, count):
        """The group of the match with this number in the output."""
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until and self.process.poll() is None:
            found = re.findall(pattern, self.out.read_text(errors="replace"), re.M)
            if len(found) >= count:
                return found[-1]
            time.sleep(0.05)
        text = self.out.read_text(errors="replace")
        raise Failed(f"the edge does not print {pattern}:\n{text[-2000:]}")


def statuses(trace):
    """The answers to calls in a trace of sipp, as `STATUS:NUMBER` in order. A repeated answer counts once."""
    sent, answers = set(), set()
    for part in re.split(r"^-{20,}.*\n", trace, flags=re.M):
        call = re.search(r"^Call-ID[ \t]*:[ \t]*(.*?)\r?$", part, re.M | re.I)
        sequence = re.search(r"^CSeq[ \t]*:[ \t]*(.*?)\r?$", part, re.M | re.I)
        received = re.search(r"\A\S+ message received .*\n\nSIP/2\.0 (\d+) ", part)
        if call and re.match(r"\S+ message sent ", part):
            sent.add(call[1])
        elif call and sequence and received and received[1] != "100":
            answers.add((received[1], call[1], sequence[1]))
    # the port can still get answers to an earlier sipp
    counts = Counter(status for status, call, _ in answers if call in sent)
    return " ".join(f"{status}:{counts[status]}" for status in sorted(counts))


class Report:
    def __init__(self, name, edge, directory, transport):
        self.name, self.edge, self.directory, self.transport = name, edge, directory, transport
        self.failed = 0

    def check(self, case, expected, domain, *, source=INSIDE, password="Correct-Horse-7", **keys):
        """Makes the calls. `expected` is the answers of one call, such as `407 200 200`."""
        counts = Counter(expected.split())
        expected = " ".join(f"{status}:{counts[status] * CALLS}" for status in sorted(counts))
        messages = self.directory / f"{self.transport}-{len(list(self.directory.iterdir()))}"
        keys = {"domain": domain, "number": "100", "extra": "Max-Forwards: 70"} | keys
        command = ["sipp", f"127.0.0.1:{self.edge.port}", "-sf", str(HERE / "call.xml")]
        command += [word for key in keys.items() for word in ("-key", *key)]
        command += ["-m", str(CALLS), "-r", "50"]
        command += ["-au", "alice", "-ap", password, "-i", source, "-bind_local", "-nostdin"]
        command += ["-t", {"udp": "u1", "tcp": "t1"}[self.transport]]
        command += ["-timeout", f"{PATIENCE - 10}s", "-timeout_error"]
        command += ["-trace_msg", "-message_file", str(messages)]
        code, out = run(command, self.directory, seconds=PATIENCE)
        got = statuses(messages.read_text(errors="replace")) if messages.exists() else ""
        holds = (code, got) == (0, expected)
        self.failed += not holds
        verdict = "ok" if holds else f"FAILED (exit code {code})\n{out[-1500:]}"
        print(f"{self.name:10} {self.transport:4} {case:34} {expected:22} {got:22} {verdict}", flush=True)


def calls(name, program, transport, directory):
    """Makes the calls over one transport. Returns the number of differences."""
    directory.mkdir(parents=True)
    with Edge(program, directory) as edge:
        report = Report(name, edge, directory, transport)
        check = report.check
        check("digest", "407 200 200", "digest.example")
        check("digest, escaped user", "407 200 200", "digest.example", number="%23100")
        check("digest and address", "407 200 200", "both.example")
        check("digest, another address", "403", "both.example", source=OUTSIDE)
        check("address alone", "200 200", "address.example")
        check("another address", "403", "address.example", source=OUTSIDE)
        check("nothing mapped", "403", "nothing.example")
        check("unknown domain", "404", "unknown.example")
        check("wrong password", "407 403", "digest.example", source=GUESSER, password="guess")
        # a stack that took the first host would accept
        check("two hosts in the URI", "403", "nothing.example", number="address.example;x")
        check("two To, listed address", "400", "address.example", extra="To: <sip:100@b.example>")
        edge.lists.write_text("[[domains]]\nname = 1\n")
        edge.reload(r"^lists kept: (.*)")
        check("after lists with an error", "407 200 200", "digest.example")
        edge.write(users="")
        edge.reload(r"^lists read$()")
        check("after the user was removed", "407 403", "digest.example")
        edge.write(users=ALICE)
        edge.reload(r"^lists read$()")
        check("after the user was added", "407 200 200", "digest.example", source=OUTSIDE)
        if report.failed:
            print(edge.out.read_text(errors="replace")[-2000:], file=sys.stderr)
    return report.failed


def marked(source):
    """The parts of a source between the marks, each a list of lines."""
    parts, inside = [], False
    for line in source.splitlines():
        if line.strip() in ("// sip-authz: begin", "// sip-authz: end"):
            if inside == line.endswith("begin"):
                raise Failed("marks must alternate")
            inside = not inside
            if inside:
                parts.append([])
        elif inside:
            parts[-1].append(line)
    if inside or not parts:
        raise Failed("marks are missing")
    return parts


def count_lines(parts):
    """The lines of the parts that are neither blank nor comments."""
    lines = (line.strip() for part in parts for line in part)
    return sum(bool(line) and not line.startswith("//") for line in lines)


def check_source(name):
    """Whether the edge asks the library in few lines, which the guide shows."""
    parts = marked((EXAMPLES / name / "src" / "main.rs").read_text())
    count, guide = count_lines(parts), GUIDE.read_text()
    shown = ["\n".join(line for line in part if not line.startswith("use ")).strip("\n") for part in parts]
    is_shown = all(text in guide for text in shown if "fn " in text)
    holds = count <= MOST_LINES and is_shown
    verdict = "ok" if holds else "FAILED"
    same = "as in" if is_shown else "other than in"
    print(f"{name:10} {count} lines ask sip-authz, at most {MOST_LINES}; {same} {GUIDE.name}  {verdict}")
    return holds


def main(folder, *names):
    require("sipp")
    failed = 0
    failed += sum(not check_source(name) for name in names)
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            program = Path(folder).resolve() / f"sip-authz-on-{name}"
            for transport in ("udp", "tcp"):
                failed += calls(name, program, transport, Path(scratch) / name / transport)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    run_script("stacks", lambda: main(*sys.argv[1:]))
