#!/usr/bin/env python3
"""Checks with strace (Debian: strace) that each commit is on the disk before its answer.

A kill does not show that, since the memory of the system outlives the program. So this runs
the example `sqlite_load`, which makes commits and prints a line after each, and traces its
system calls. Between the last write to the log of the database and the line there must be a
successful sync of the log.

Usage: crates/acceptance/sqlite_sync.py target/release/examples/sqlite_load [COMMITS]
"""
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def main():
    program, commits = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 300
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace")
        watched = "trace=openat,close,write,writev,pwrite64,pwritev,fsync,fdatasync"
        subprocess.run(
            ["strace", "-f", "-y", "-s", "24", "-o", trace, "-e", watched]
            + [program, "write", str(Path(folder, "data")), str(commits)],
            check=True, stdout=subprocess.DEVNULL,
        )
        answered, synced, unfinished = 0, True, {}
        writes = syncs = 0
        for line in trace.read_text(errors="replace").splitlines():
            pid, _, call = line.partition(" ")
            call = call.strip()
            if call.endswith("<unfinished ...>"):
                # a write counts from its start, a sync and an answer from their end
                if "-wal" in call and call.startswith("pwrite"):
                    synced, writes = False, writes + 1
                unfinished[pid] = call.removesuffix("<unfinished ...>")
                continue
            resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", call)
            if resumed:
                call = unfinished.pop(pid, "") + resumed.group(1)
            elif "-wal" in call and call.startswith("pwrite"):
                synced, writes = False, writes + 1
            if re.match(r"f(data)?sync\(", call) and "-wal>" in call and call.endswith("= 0"):
                synced, syncs = True, syncs + 1
            if re.match(r'write\(1<[^>]*>, "\d+\\n"', call):
                answered += 1
                if not synced:
                    sys.exit(f"answer {answered} came before its commit was on the disk: {line}")
        if answered != commits:
            sys.exit(f"expected {commits} answers, found {answered}")
        if syncs < commits or writes < commits:
            sys.exit(f"found only {writes} writes and {syncs} syncs of the log")
        print(f"{answered} answers, each after a sync of all writes ({syncs} syncs)")


main()
