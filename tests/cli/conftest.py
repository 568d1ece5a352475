"""Runs the real program as a person would. $NEREID_BIN names it (default: build/release/nereid).

$NEREID_TEST_DEVICE is the device (default: auto). Packs are kept in build/test-cache, so that only the
first run of the tests after a change of kernels has to compile them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "models" / "data"
DEFAULT_MODEL = ROOT / ".cache" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
TIMEOUT = 300


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every program started here.

    Under xdist each worker, and the program it runs, keeps to one core: two programs that each take
    all cores would mostly wait for each other."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.startswith("gw"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker[2:]) % len(cores)]})


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    def json_lines(self) -> list[Any]:
        assert self.code == 0, self.err
        return [json.loads(line) for line in self.out.splitlines()]

    def error(self, code: int = 1) -> str:
        """The message of a failure: one line (warnings and progress aside), no output, no crash."""
        assert self.code == code, (self.code, self.err)
        assert self.out == ""
        aside = ("nereid: warning: ", "compiling kernels")
        lines = [line for line in self.err.splitlines() if not line.startswith(aside)]
        assert len(lines) == 1 and lines[0].startswith("nereid: error: "), self.err
        return lines[0].removeprefix("nereid: error: ")


class Nereid:
    def __init__(self, binary: Path, environment: dict[str, str]) -> None:
        self.binary = binary
        self.environment = environment

    def __call__(
        self, *args: str | Path, stdin: str = "", env: dict[str, str] | None = None, **kwargs: Any
    ) -> Outcome:
        done = subprocess.run(
            self.command(*args),
            input=stdin.encode(),
            capture_output=True,
            env=self.environment | (env or {}),
            timeout=TIMEOUT,
            check=False,
            **kwargs,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    def command(self, *args: str | Path) -> list[str]:
        return [str(self.binary), *map(str, args)]

    def popen(self, *args: str | Path, **kwargs: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(*args), env=self.environment, **kwargs)


@pytest.fixture(scope="session")
def nereid() -> Nereid:
    binary = Path(os.environ.get("NEREID_BIN", ROOT / "build" / "release" / "nereid"))
    assert binary.is_file(), f"{binary} is missing: ./dev build"
    environment = dict(os.environ)
    environment.pop("NEREID_MODEL", None)
    environment.setdefault("NEREID_CACHE_DIR", str(ROOT / "build" / "test-cache"))
    return Nereid(binary, environment)


@pytest.fixture(scope="session")
def device() -> list[str]:
    """Flags that choose the device under test."""
    return ["--device", os.environ.get("NEREID_TEST_DEVICE", "auto")]


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    return DATA / "tiny_llama"


@pytest.fixture(scope="session")
def tiny_gguf() -> Path:
    return DATA / "tiny_llama_q8_0.gguf"


@pytest.fixture(scope="session")
def default_model() -> Path:
    assert DEFAULT_MODEL.is_file(), "the default model is missing: ./dev setup"
    return DEFAULT_MODEL
