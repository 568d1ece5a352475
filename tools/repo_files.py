"""What the checks share: the files of the project (tracked by git, or new and not ignored), and their
command line."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def repo_files(root: Path = ROOT) -> list[Path]:
    """Paths relative to `root`, sorted. Outside a git checkout: every file below `root`."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        found = (p.relative_to(root) for p in root.rglob("*") if p.is_file())
        skipped = {".git", "build", ".venv", ".cache", "target", "__pycache__"}
        return sorted(p for p in found if not skipped & set(p.parts))
    return sorted({Path(line) for line in out.splitlines() if (root / line).is_file()})


def run_check(check: Callable[[Path], list[str]], description: str | None) -> int:
    """Prints the problems that `check` finds below --root. Returns the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", type=Path, default=ROOT)
    problems = check(parser.parse_args().root)
    for problem in problems:
        print(f"{Path(sys.argv[0]).stem}: {problem}", file=sys.stderr)
    return 1 if problems else 0
