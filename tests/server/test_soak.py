"""A short soak of the HTTP server on the engine that echoes; soak.py itself is for longer ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soak_requests
from conftest import FAKE_SERVER


def stream_of(text: str, end: str = "data: [DONE]\n\n") -> bytes:
    chunk = {"choices": [{"text": text, "finish_reason": "stop"}]}
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n{end}".encode()


@pytest.mark.parametrize("text", ["a", "a\u2028b", "a\x85b"])
def test_a_stream_is_complete_whatever_its_text(text: str) -> None:
    soak_requests.check_complete(stream_of(text), is_stream=True)


def test_a_stream_without_its_end_is_not_complete() -> None:
    with pytest.raises(ValueError, match="DONE"):
        soak_requests.check_complete(stream_of("a", end=""), is_stream=True)


def test_soak() -> None:
    soak = Path(__file__).with_name("soak.py")
    flags = ["--duration", "20", "--burst", "400", "--"]
    server = [str(FAKE_SERVER), "--step-us", "2000", "--max-sequences", "8"]
    done = subprocess.run(
        [sys.executable, str(soak), *flags, *server], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
