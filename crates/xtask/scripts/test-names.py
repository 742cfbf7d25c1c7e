#!/usr/bin/env python3
"""Maps every test of one revision to the test of the same name in another revision.

Usage: crates/xtask/scripts/test-names.py [-v] OLD [NEW]

NEW is the working tree if it is left out. Prints a summary, with -v each pair, and always the tests of OLD
that have no counterpart, with the reason from REASONS. Exits with 1 if one has neither.
"""
import collections
import pathlib
import re
import subprocess
import sys

# tests that are gone, with the reason
REASONS = {
    "modules_name_only_what_is_below_them": "cargo enforces the layers: each is a crate",
    "one_module_has_unsafe_code": "forbidden by a lint in every crate but sip-authz-arch",
    "the_limit_on_guessing_is_told_as_wrong_credentials": "now too_many_guesses_looks_like_wrong_credentials",
    "the_guide_names_what_there_is": "now the_tests_that_the_guide_names_exist and the_guide_names_every_reason",
}
TEST = re.compile(r"^[ \t]*#\[(?:tokio::)?test(?:\([^)]*\))?\]\s*\n((?:[ \t]*(?:#\[[^\n]*\]|//[^\n]*)\n)*)"
                  r"[ \t]*(?:async )?fn ([a-z0-9_]+)\(", re.M)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def sources(revision: str | None):
    if revision is None:
        for path in git("ls-files", "-co", "--exclude-standard", "*.rs").split():
            if pathlib.Path(path).exists():
                yield path, pathlib.Path(path).read_text()
        return
    for path in git("ls-tree", "-r", "--name-only", revision).split():
        if path.endswith(".rs"):
            yield path, git("show", f"{revision}:{path}")


def tests(revision: str | None) -> dict[str, list[str]]:
    """The files of each test name."""
    found = collections.defaultdict(list)
    for path, text in sources(revision):
        for match in TEST.finditer(text):
            found[match.group(2)].append(path)
    return found


def stem(path: str) -> set[str]:
    return set(re.split(r"[/_.]", path)) - {"rs", "src", "tests", "crates", "mod", "main", "lib"}


def main() -> int:
    arguments = [it for it in sys.argv[1:] if it != "-v"]
    if len(arguments) not in (1, 2):
        sys.exit(__doc__)
    old, new = tests(arguments[0]), tests(arguments[1] if len(arguments) == 2 else None)
    kept = moved = explained = 0
    missing = []
    for name, files in sorted(old.items()):
        places = list(new.get(name, []))
        for file in files:
            if not places:
                if name in REASONS:
                    explained += 1
                    print(f"{file}: {name}: gone: {REASONS[name]}")
                else:
                    missing.append(f"{file}: {name}")
                continue
            best = max(places, key=lambda place: (place == file, len(stem(place) & stem(file))))
            places.remove(best)
            kept += best == file
            moved += best != file
            if "-v" in sys.argv and best != file:
                print(f"{file}: {name} -> {best}")
    count = sum(map(len, new.values()))
    print(f"{kept} where they were, {moved} moved, {explained} gone with a reason, "
          f"{len(missing)} without; {count} tests now")
    for line in missing:
        print(f"no counterpart: {line}")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
