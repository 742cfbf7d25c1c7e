#!/usr/bin/env python3
"""Puts the output of `cargo xtask targets` into the table of targets in BENCHMARKING.md.

Usage: cargo xtask targets --full | tee targets.txt
       crates/bench/targets-to-markdown.py [FILE.md] < targets.txt
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
    default = pathlib.Path(__file__).resolve().parents[2] / "BENCHMARKING.md"
    page = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    table = list(rows(sys.stdin))
    if not table:
        sys.exit("expected the output of the bench `targets` on standard input, found no line of it")
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"expected `{BEGIN}` and `{END}` once each in {page}")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    head = ["| name | measured | target | | note |", "|---|---|---|---|---|"]
    text = "\n".join([before + BEGIN, *head, *table, END]) + after
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
