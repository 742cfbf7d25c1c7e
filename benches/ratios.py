#!/usr/bin/env python3
"""Prints the results of the last `cargo bench --bench authorize`: the median of each row in
nanoseconds, and its ratio to the bare hashing of the same message.

Usage: benches/ratios.py [TARGET_DIR]    (default: CARGO_TARGET_DIR, else target)
"""

import json
import os
import pathlib
import sys

BARE = ["sha512_256", "sha256", "md5_cnonce32", "md5"]


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CARGO_TARGET_DIR", "target")
    medians = {}
    for path in pathlib.Path(target, "criterion").glob("**/new/estimates.json"):
        name = json.loads((path.parent / "benchmark.json").read_text())["full_id"]
        medians[name] = json.loads(path.read_text())["median"]["point_estimate"]
    if not medians:
        sys.exit(f"no measurements in {target}")
    print(f"{'row':<46}{'median ns':>10}{'ratio':>8}  to")
    for name, median in sorted(medians.items()):
        # a row without a digest is compared with hashing of the default algorithm
        bare = "bare/" + next((it for it in BARE if it in name), "md5")
        ratio = f"{median / medians[bare]:8.2f}" if bare in medians else f"{'-':>8}"
        print(f"{name:<46}{median:>10.1f}{ratio}  {bare}")


if __name__ == "__main__":
    main()
