#!/usr/bin/env python3
"""Keeps one idea per file: source files over the hard limit of lines fail, long ones are listed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from repo_files import ROOT, repo_files

HARD_LIMIT = 600
LISTED_FROM = 300
SUFFIXES = {".cc", ".h", ".c", ".py", ".rs", ".td", ".cmake", ".sh", ".toml"}
NAMES = {"dev", "run", "CMakeLists.txt"}


def count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def check(root: Path) -> tuple[list[str], list[str]]:
    """(failures, notes), longest file first."""
    sizes = [
        (count_lines(root / path), path)
        for path in repo_files(root)
        if path.suffix in SUFFIXES or path.name in NAMES
    ]
    sizes.sort(key=lambda item: (-item[0], item[1]))
    failures = [f"{p}: {n} lines, at most {HARD_LIMIT}" for n, p in sizes if n > HARD_LIMIT]
    notes = [f"{p}: {n} lines" for n, p in sizes if LISTED_FROM < n <= HARD_LIMIT]
    return failures, notes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT)
    args = parser.parse_args()
    failures, notes = check(args.root)
    if notes:
        print(f"over {LISTED_FROM} lines (aim below): " + "; ".join(notes))
    for failure in failures:
        print(f"check_size: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
