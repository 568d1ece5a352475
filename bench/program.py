"""How the scripts of this folder run a program: what it prints, or why it has nothing to say, as one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NEREID = Path(__file__).resolve().parent.parent / "build" / "release" / "nereid"


def answer(command: list[str], stdin: str = "") -> str:
    """What a program prints; the end of what it complains about, where it fails."""
    try:
        outcome = subprocess.run(command, input=stdin, capture_output=True, text=True)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")
    if outcome.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {outcome.returncode}\n{outcome.stderr[-2000:]}")
    return outcome.stdout
