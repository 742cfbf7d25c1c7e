#!/usr/bin/env python3
"""Maps every test of one revision to a test of another revision.

Usage: crates/xtask/scripts/test-names.py [-v] OLD [NEW]

NEW is the working tree if it is left out. A test maps to the test of the same name, or else to the test whose
body is most alike. Prints a summary and the tests of OLD without a counterpart, each with its reason from
REASONS; with -v also each pair that moved or has another name. Exits with 1 if a test has neither.
"""
import collections
import difflib
import pathlib
import re
import subprocess
import sys

# tests that are gone, with the reason
REASONS = {
    "modules_name_only_what_is_below_them": "cargo enforces the layers: each is a crate",
    "one_module_has_unsafe_code": "a lint forbids it in every crate but sip-authz-arch",
    "the_guide_names_what_there_is":
        "now the_tests_that_the_guide_names_exist and the_guide_names_every_reason",
    "at_once_and_then_once_a_minute_with_their_number":
        "now warnings_are_at_most_one_a_minute_and_count_the_errors_between",
    "a_page_that_would_be_too_large_is_refused_and_one_that_shrinks_is_not":
        "now a_page_may_shrink_but_not_outgrow_the_limit",
    "members_of_many_collections_count_too": "now members_of_many_collections_count",
    "a_record_that_no_request_holds_is_refused": "now a_record_larger_than_a_request_is_rejected",
}
# The smallest share of a body that a test of another name must have in common.
ALIKE = 0.4
TEST = re.compile(
    r"^([ \t]*)#\[(?:tokio::)?test(?:\([^)]*\))?\]\s*\n(?:[ \t]*(?:#\[[^\n]*\]|//[^\n]*)\n)*"
    r"[ \t]*(?:async )?fn ([a-z0-9_]+)\((.*?)^\1\}", re.M | re.S)


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


def words(body: str) -> list[str]:
    body = re.sub(r"//[^\n]*", "", body)
    return re.findall(r"\w+|[^\w\s]", body)


def tests(revision: str | None) -> list[tuple[str, str, list[str]]]:
    """File, name and body of each test."""
    return [(path, match.group(2), words(match.group(3)))
            for path, text in sources(revision) for match in TEST.finditer(text)]


def stem(path: str) -> set[str]:
    return set(re.split(r"[/_.]", path)) - {"rs", "src", "tests", "crates", "mod", "main", "lib"}


def alike(one: list[str], other: list[str]) -> float:
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= ALIKE else 0.0


def main() -> int:
    arguments = [it for it in sys.argv[1:] if it != "-v"]
    if len(arguments) not in (1, 2):
        sys.exit(__doc__)
    old, new = tests(arguments[0]), tests(arguments[1] if len(arguments) == 2 else None)
    by_name = collections.defaultdict(list)
    for place in new:
        by_name[place[1]].append(place)
    counts, pairs, rest = collections.Counter(), [], []
    for test in old:
        places = by_name[test[1]]
        if not places:
            rest.append(test)
            continue
        best = max(places, key=lambda place: (place[0] == test[0], len(stem(place[0]) & stem(test[0]))))
        places.remove(best)
        counts["kept" if best[0] == test[0] else "moved"] += 1
        pairs.append((test, best))
    free = [place for places in by_name.values() for place in places]
    missing = []
    for test in rest:
        near = [place for place in free if stem(place[0]) & stem(test[0])] or free
        score, best = max(((alike(test[2], place[2]), place) for place in near),
                          key=lambda it: it[0], default=(0.0, None))
        if best and score >= ALIKE:
            free.remove(best)
            counts["renamed"] += 1
            pairs.append((test, best))
        elif test[1] in REASONS:
            counts["gone"] += 1
            print(f"{test[0]}: {test[1]}: gone: {REASONS[test[1]]}")
        else:
            missing.append(test)
    if "-v" in sys.argv:
        for (file, name, _), (place, now, _) in pairs:
            if (file, name) != (place, now):
                print(f"{file}: {name} -> {place}: {now}")
    print(f"{counts['kept']} where they were, {counts['moved']} moved, {counts['renamed']} renamed, "
          f"{counts['gone']} gone with a reason, {len(missing)} without; {len(new)} tests now")
    for file, name, _ in missing:
        print(f"no counterpart: {file}: {name}")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
