#!/usr/bin/env python3
"""Whether each commit is on the disk before it is answered, as strace (Debian: strace) sees it.

A kill alone does not show that: what the system holds in memory outlives the program. So this runs
the example `sqlite_load`, which makes commits and writes a line for each answer, and looks at its
system calls: between the last write to the log of the database and the line there must be a sync of
the log that ended well.

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
                # a write counts from its beginning, a sync and an answer from their end
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
            sys.exit(f"{answered} answers were seen, not {commits}")
        if syncs < commits or writes < commits:
            sys.exit(f"only {writes} writes and {syncs} syncs of the log were seen")
        print(f"{answered} answers, each after a sync of all that was written ({syncs} syncs)")


main()
