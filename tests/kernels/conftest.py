"""Options of the kernel tests and the project root on the import path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cc", help="nereid-cc (default: $NEREID_CC, else build/release/nereid-cc)")
    parser.addoption(
        "--target",
        default="cpu:native",
        help="target to compile the cases for; this CPU must run it, or QEMU (kernels/run_emulated.py)",
    )
    parser.addoption("--every", type=int, default=1, help="every Nth case of each kernel only")
    parser.addoption(
        "--all-targets", action="store_true", help="compile every variant for every GPU target"
    )
    parser.addoption(
        "--interpret", action="store_true", help="run the cases in Triton's interpreter instead"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--interpret"):
        os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported


@pytest.fixture(scope="session")
def tools(request: pytest.FixtureRequest):
    """The toolchain that cases are compiled with; None when they are interpreted. Without nereid-cc
    this fails: a skipped kernel is an untested one."""
    from kernels import objects, pack

    if request.config.getoption("--interpret"):
        return None
    cc = request.config.getoption("--cc")
    return objects.toolchain(
        request.config.getoption("--target"),
        Path(cc) if cc else pack.default_cc(),
        _object_cache(),
    )


@pytest.fixture(scope="session")
def object_cache() -> Path | None:
    return _object_cache()


def _object_cache() -> Path | None:
    cache = os.environ.get("NEREID_TEST_CACHE")
    return Path(cache) if cache else None
