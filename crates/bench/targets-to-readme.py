#!/usr/bin/env python3
"""Puts what `cargo bench -p sip-authz-bench --bench targets` printed into the section on speed of README.md.

Usage: cargo bench -p sip-authz-bench --bench targets -- --full | tee targets.txt
       crates/bench/targets-to-readme.py [README.md] < targets.txt
"""

import pathlib
import re
import sys

BEGIN, END = "<!-- targets -->", "<!-- end of targets -->"
LINE = re.compile(r"(?P<name>[a-z0-9-]+) +(?P<measured>\S+) +(?:(?P<target>[<>]=\S+) +)?"
                  r"(?P<verdict>ok|MISS|-)(?: +(?P<note>.*))?")


def rows(lines):
    for line in lines:
        found = LINE.fullmatch(line.rstrip())
        if found:
            cells = found.groupdict(default="")
            target = cells["target"].replace("<=", "≤ ").replace(">=", "≥ ")
            verdict = {"MISS": "**missed**", "-": ""}.get(cells["verdict"], cells["verdict"])
            note = cells["note"].replace("|", "\\|")
            yield f"| `{cells['name']}` | {cells['measured']} | {target} | {verdict} | {note} |"


def main():
    readme = pathlib.Path(sys.argv[1] if len(sys.argv) > 1
                          else pathlib.Path(__file__).parent.parent / "README.md")
    table = list(rows(sys.stdin))
    if not table:
        sys.exit("no line of the bench on standard input")
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"{readme} has no place for the table")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    head = ["| | measured | target | | |", "|---|---|---|---|---|"]
    text = "\n".join([before + BEGIN, *head, *table, END]) + after
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
