"""A short run of openapi_fuzz.py against both servers; longer ones are by hand, with its --examples."""

from __future__ import annotations

from collections.abc import Callable

import openapi_fuzz
from conftest import run_real


def check(address: str, examples: int, *flags: str) -> None:
    done = openapi_fuzz.fuzz(address, examples, flags=flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout and "Tested: 11" in done.stdout, done.stdout


def test_engine_that_echoes(serve: Callable[..., str]) -> None:
    check(serve("--max-context", "4096"), 20, "--phases", "coverage,fuzzing")


def test_real_model() -> None:
    with run_real("--max-context", "64") as server:
        check(server.address, 15, "--phases", "fuzzing")
