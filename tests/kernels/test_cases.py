"""Every case of every kernel, with every tile choice that applies to it.

pytest tests/kernels/test_cases.py -k rms_norm
pytest tests/kernels/test_cases.py --interpret -k rms_norm     # without nereid-cc
"""

from __future__ import annotations

from functools import lru_cache

import pytest

from kernels import conformance, registry


@lru_cache(maxsize=None)
def _cases(name: str) -> list:
    return list(registry.find(name).cases())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    places = [
        (name, index)
        for name in sorted(registry.KERNELS)
        for index in range(0, len(_cases(name)), metafunc.config.getoption("--every"))
    ]
    names = [f"{name}-{_cases(name)[index].name}" for name, index in places]
    if "kernel_name" in metafunc.fixturenames:
        metafunc.parametrize(("kernel_name", "index"), places, ids=names)


def test_case(kernel_name: str, index: int, tools) -> None:
    problems, choices = conformance.run_case(
        registry.find(kernel_name), _cases(kernel_name)[index], tools
    )
    assert choices > 0
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", sorted(registry.KERNELS))
def test_case_names_differ(name: str) -> None:
    names = [case.name for case in _cases(name)]
    assert names and len(names) == len(set(names)), f"{name}: no cases, or two of the same name"
