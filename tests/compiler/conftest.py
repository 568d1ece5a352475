"""Options of the compiler's corpus: which nereid-cc, which CPUs, raw or optimised TTIR."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cc", default=str(ROOT / "build/release/nereid-cc"))
    parser.addoption("--cpu", default="native", help="comma-separated: native,x86-64-v4,x86-64-v3")
    parser.addoption("--random", type=int, default=30, help="number of random kernels")
    parser.addoption("--ttir", default="raw", choices=("raw", "optimized", "both"))


def pytest_configure(config: pytest.Config) -> None:
    path = Path(config.getoption("--cc"))
    if not path.exists():
        raise pytest.UsageError(f"{path} does not exist; build the target nereid-cc or pass --cc")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cpu" in metafunc.fixturenames:
        metafunc.parametrize("cpu", metafunc.config.getoption("--cpu").split(","))
    if "optimize" in metafunc.fixturenames:
        kind = metafunc.config.getoption("--ttir")
        metafunc.parametrize(
            "optimize", {"raw": [False], "optimized": [True], "both": [False, True]}[kind],
            ids=lambda optimize: "optimized" if optimize else "raw",
        )


@pytest.fixture(scope="session")
def compiler(request: pytest.FixtureRequest) -> Path:
    return Path(request.config.getoption("--cc")).resolve()
