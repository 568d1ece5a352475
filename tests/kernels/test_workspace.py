"""Kernels whose programs meet in a workspace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import registry, targets
from kernels.spec import SpecError

KEY = {
    "x_dtype": "bf16", "weight_dtype": "bf16", "out_dtype": "f32", "n": 128, "k": 1024, "out_stride": 128,
    "has_bias": 0, "residual": 0, "gate": 0,
}  # fmt: skip
TILES = {"MODE": 3, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64, "SPLIT": 4}


def _choices(monkeypatch: pytest.MonkeyPatch, *entries: dict) -> list[targets.Choice]:
    monkeypatch.setattr(targets, "candidates", lambda kernel, target: ("a test", list(entries)))
    return targets.choices(registry.find("linear_rows"), KEY, "cuda:90")


def test_sums_in_pieces() -> None:
    """In Triton's interpreter, in a process of its own: it has to be asked for before Triton is imported."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("interpret_split.py"))],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok\n") == 9


def test_size() -> None:
    kernel = registry.find("linear_rows")
    tiles = {**kernel.tile_defaults, **TILES}
    assert kernel.workspace_size(KEY, {"rows": 65}, tiles) == 4 * 128 * 128 * 4
    assert kernel.workspace_size(KEY | {"gate": 1}, {"rows": 65}, tiles) == 2 * 4 * 128 * 128 * 4
    assert kernel.workspace_size(KEY, {"rows": 65}, tiles | {"SPLIT": 1}) == 0


def test_a_choice_with_a_workspace_has_a_bound(monkeypatch) -> None:
    bounded, _ = _choices(monkeypatch, {"max": 64, **TILES}, {**TILES, "SPLIT": 1})
    assert bounded.tiles["SPLIT"] == 4
    with pytest.raises(SpecError, match="take a workspace, so they need a max"):
        _choices(monkeypatch, TILES)
    with pytest.raises(SpecError, match="want a workspace of .* bytes for rows = 1048576, at most 67108864 are there"):
        _choices(monkeypatch, {"max": 1 << 20, **TILES}, {**TILES, "SPLIT": 1})
