"""The files of the project as the checks see them: tracked by git, or new and not ignored."""

from __future__ import annotations

import subprocess
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
