"""The corpus, one module per theme; each lists its cases in CASES."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any


def all_cases() -> list[Any]:
    cases: list[Any] = []
    for module in sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)])):
        cases += importlib.import_module(f"cases.{module}").CASES
    names = [case.name for case in cases]
    duplicates = {name for name in names if names.count(name) > 1}
    if duplicates:
        raise ValueError(f"two cases are named {sorted(duplicates)}")
    return cases
