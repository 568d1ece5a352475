"""bench/compiler.py: what it measures, which follows the kernels' declarations, can be made for every kind of target."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import compiler as bench  # noqa: E402

ARRAY = bench.array


def small_array(dtype: str, *shape: int):
    """An array of one number that says to have this shape: nothing is run here."""
    values = ARRAY(dtype, 1)
    return bench.np.broadcast_to(values, shape)


@pytest.mark.parametrize("target", ["cpu:x86-64-v3", "cpu:znver4"])
def test_every_work_can_be_made(target: str, monkeypatch) -> None:
    monkeypatch.setattr(bench, "array", small_array)
    names = []
    for work in [*bench.limits(target, 2), *(make() for make in bench.all_work(target))]:
        assert "tt.func public @" + work.entry in work.text
        assert work.bytes > 0 or work.operations > 0
        names.append(work.name)
    assert len(set(names)) == len(names) >= 25
