"""The server on the real small model, the one on an engine that echoes its prompt, and Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("NEREID_BIN", ROOT / "build/release/nereid"))
MODEL = ROOT / ".cache" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "smollm"  # what requests call the real model
FAKE_SERVER = Path(os.environ.get("NEREID_FAKE_SERVER", ROOT / "build/release/nereid-fake-server"))


@dataclass
class RealServer:
    address: str  # "http://127.0.0.1:1234"
    pid: int


@contextmanager
def run_real(*flags: str) -> Iterator[RealServer]:
    """nereid serve with SmolLM2-135M and 8 sequences."""
    environment = os.environ | {"NEREID_CACHE_DIR": str(ROOT / "build" / "test-cache")}
    device = ["--device", os.environ.get("NEREID_TEST_DEVICE", "auto")]
    name = ["--port", "0", "--served-model-name", NAME, "--max-sequences", "8", "--log-level", "warn"]
    server = subprocess.Popen(
        [BINARY, "serve", MODEL, *name, *device, *flags], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("listening on "), line
    try:
        yield RealServer(line.removeprefix("listening on ").strip(), server.pid)
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert server.returncode == 0


@pytest.fixture(scope="session")
def real_server() -> Iterator[RealServer]:
    """One for all tests, with 2048 tokens of context."""
    with run_real("--max-context", "2048") as server:
        yield server


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """serve("--step-us", "1000") starts a server and returns its address; it ends with the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*flags: str) -> str:
        server = subprocess.Popen(
            [FAKE_SERVER, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(server)
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("listening on "), line
        return line.removeprefix("listening on ").strip()

    yield start
    for server in running:
        server.communicate(timeout=20)  # closes its standard input
        assert server.returncode == 0


@pytest.fixture(scope="session")
def browser_driver() -> Iterator[Any]:
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: './dev setup' could not install it")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()
