#!/usr/bin/env python3
"""clang-tidy (.clang-tidy) over the sources of src/ and apps/, two at a time or as many as --jobs says.

    check_tidy.py          files that changed against the branch this one comes from (on that branch: since
                           the commit before)
    check_tidy.py --part   those first, then others, from a place in the list that the commit chooses, as
                           many as begin within --seconds
    check_tidy.py --all    all files

A file that was found clean is not checked again until it, a header of the project that it includes, its
flags, the checks or clang-tidy change: build/tidy-cache has one empty file for each clean state.
Headers are checked through the files that include them.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import json
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from repo_files import ROOT, repo_files

# Left out in tests: they take what they expect, and what they get wrong fails there and then; their random
# numbers are the same in every run.
NOT_IN_TESTS = "-bugprone-unchecked-optional-access,-bugprone-random-generator-seed"
INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


@lru_cache(maxsize=None)
def scan(path: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of a file and what it includes by name in quotes."""
    content = path.read_bytes()
    names = tuple(name.decode(errors="replace") for name in INCLUDE.findall(content))
    return hashlib.sha256(content).hexdigest(), names


def closure(source: Path, folders: list[Path]) -> list[Path]:
    """The source and all headers below the root that it reaches."""
    seen: dict[Path, None] = {}
    todo = [source]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen[path] = None
        for name in scan(path)[1]:
            found = next((p for f in [path.parent, *folders] if (p := f / name).is_file()), None)
            if found is not None:
                todo.append(found.resolve())
    return sorted(seen)


class Checker:
    def __init__(self, root: Path, build: Path, tidy: str) -> None:
        self.root, self.build, self.tidy = root, build, tidy
        self.cache = root / "build" / "tidy-cache"
        self.cache.mkdir(parents=True, exist_ok=True)
        commands = json.loads((build / "compile_commands.json").read_text())
        self.commands = {Path(entry["file"]): shlex.split(entry["command"]) for entry in commands}
        version = subprocess.run([tidy, "--version"], capture_output=True, text=True, check=True)
        self.version = version.stdout + (root / ".clang-tidy").read_text()

    def sources(self) -> list[Path]:
        """Relative to the root; those that the build compiles."""
        found = []
        for path in repo_files(self.root):
            if path.suffix != ".cc" or path.parts[0] not in ("src", "apps"):
                continue
            if self.root / path in self.commands:
                found.append(path)
            else:
                print(f"tidy: {path} is not part of the release build, not checked")
        return found

    def key(self, source: Path) -> str:
        """Changes with everything that the outcome depends on."""
        command = self.commands[self.root / source]
        folders = [Path(word[2:]) for word in command if word.startswith("-I")]
        own = [folder for folder in folders if folder.is_relative_to(self.root)]
        digest = hashlib.sha256(self.version.encode())
        digest.update(" ".join(checks_of(source)).encode())
        digest.update(" ".join(command).replace(str(self.root), ".").encode())
        for path in closure((self.root / source).resolve(), own):
            digest.update(f"{path.relative_to(self.root)} {scan(path)[0]}\n".encode())
        return digest.hexdigest()

    def check(self, source: Path, deadline: float) -> "Outcome":
        mark = self.cache / self.key(source)
        if mark.exists():
            return Outcome(source, cached=True)
        if time.monotonic() > deadline:
            return Outcome(source, skipped=True)
        start = time.monotonic()
        flags = ["-p", str(self.build), "--quiet", *checks_of(source)]
        done = subprocess.run(
            [self.tidy, *flags, str(self.root / source)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            mark.touch()
            return Outcome(source, seconds=time.monotonic() - start)
        return Outcome(source, output=done.stdout + done.stderr)


def checks_of(source: Path) -> list[str]:
    is_test = source.stem.endswith("_test") or "testing" in source.parts
    return [f"--checks={NOT_IN_TESTS}"] if is_test else []


@dataclass
class Outcome:
    source: Path
    cached: bool = False
    skipped: bool = False  # no time was left
    seconds: float = 0
    output: str = ""  # of a failure


def git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def changed_files(root: Path) -> set[Path]:
    head = git(root, "rev-parse", "-q", "--verify", "HEAD")
    base = git(root, "merge-base", "HEAD", "origin/HEAD")
    if base in ("", head):
        base = "HEAD~1"
    names = git(root, "diff", "--name-only", "--diff-filter=d", base).splitlines()
    names += git(root, "ls-files", "--others", "--exclude-standard").splitlines()
    return {Path(name) for name in names}


def chosen(root: Path, sources: list[Path], mode: str) -> tuple[list[Path], list[Path]]:
    """(those to check whatever it takes, those to check while there is time)"""
    if mode == "all":
        return sources, []
    changed = changed_files(root)
    first = [path for path in sources if path in changed]
    if mode == "changed":
        return first, []
    others = [path for path in sources if path not in changed]
    start = int(git(root, "rev-parse", "HEAD")[:8] or "0", 16) % max(len(others), 1)
    return first, others[start:] + others[:start]


def run(checker: Checker, first: list[Path], others: list[Path], jobs: int, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    failed, counts = [], {"checked": 0, "cached": 0, "skipped": 0}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(checker.check, path, float("inf")) for path in first]
        tasks += [pool.submit(checker.check, path, deadline) for path in others]
        for task in concurrent.futures.as_completed(tasks):
            outcome = task.result()
            kind = "cached" if outcome.cached else "skipped" if outcome.skipped else "checked"
            counts[kind] += 1
            if outcome.output:
                failed.append(outcome.source)
                print(outcome.output, flush=True)
            elif kind == "checked":
                print(f"  {outcome.seconds:5.1f} s  {outcome.source}", flush=True)
    print(
        f"tidy: {counts['checked']} files checked, {counts['cached']} known to be clean, "
        f"{counts['skipped']} left for another time, {len(failed)} with findings"
    )
    for path in sorted(failed):
        print(f"tidy: {path}", file=sys.stderr)
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--all", dest="mode", action="store_const", const="all", default="changed")
    mode.add_argument("--part", dest="mode", action="store_const", const="part")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tidy", default="/usr/lib/llvm-22/bin/clang-tidy")
    parser.add_argument("--root", type=Path, default=ROOT)
    args = parser.parse_args()
    root = args.root.resolve()
    checker = Checker(root, root / "build" / "release", args.tidy)
    first, others = chosen(root, checker.sources(), args.mode)
    return run(checker, first, others, args.jobs, args.seconds)


if __name__ == "__main__":
    sys.exit(main())
