"""A short soak of the HTTP server on the engine that echoes; soak.py itself is for longer ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import FAKE_SERVER


def test_soak() -> None:
    soak = Path(__file__).with_name("soak.py")
    flags = ["--duration", "20", "--burst", "400", "--"]
    server = [str(FAKE_SERVER), "--step-us", "2000", "--max-sequences", "8"]
    done = subprocess.run(
        [sys.executable, str(soak), *flags, *server], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
