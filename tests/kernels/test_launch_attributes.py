"""Clusters and programmatic dependent launches: options of a tile choice, facts of its object and of the
pack, refused where a target has none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from kernels import objects, pack_file, targets, ttir
from kernels.spec import I32, Case, DType, Kernel, Ptr, SpecError

KEY = {"dtype": "f32"}


@triton.jit
def double_kernel(x, out, count, WAIT: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if WAIT:
        gdc_wait()
        gdc_launch_dependents()
    v = tl.load(x + at, mask=at < count, other=0.0)
    tl.store(out + at, (v + v).to(out.dtype.element_ty), mask=at < count)


def _case() -> Case:
    return Case("case", KEY, {"x": np.ones(3, np.float32), "out": np.zeros(3, np.float32), "count": 3})


DOUBLE = Kernel(
    name="double",
    doc="out[:] = 2 x[:]",
    fn=double_kernel,
    key=[DType("dtype")],
    args=[
        Ptr("x", "dtype", "read", shape="count"),
        Ptr("out", "dtype", "write", shape="count"),
        I32("count"),
    ],
    grid="ceil_div(count, BLOCK)",
    reference=lambda key, args: {"out": 2 * args["x"]},
    cases=lambda: [_case()],
    default_tiles=[{"WAIT": 0, "BLOCK": 1024}],
)


def _choices(monkeypatch: pytest.MonkeyPatch, *entries: dict[str, Any]) -> list[targets.Choice]:
    tiles = [{"WAIT": 0, "BLOCK": 1024} | entry for entry in entries]
    monkeypatch.setattr(targets, "candidates", lambda kernel, target: ("a test", tiles))
    return targets.choices(DOUBLE, KEY, "cuda:90")


def _made(choices: list[targets.Choice], target: str = "cuda:90", cache=None):
    return objects.compile_fitting(DOUBLE, KEY, choices[0], objects.toolchain(target, None, cache))


def test_they_reach_the_object_and_the_pack(monkeypatch, tmp_path) -> None:
    both = _choices(monkeypatch, {"WAIT": 1, "num_ctas": 2, "launch_pdl": 1})
    choice, made = _made(both, cache=tmp_path)
    assert (made.num_ctas, made.launch_pdl) == (2, True)
    assert _made(both, cache=tmp_path)[1] == made  # from the cache
    plain_choice, plain = _made(_choices(monkeypatch, {}), cache=tmp_path)
    assert (plain.num_ctas, plain.launch_pdl) == (1, False)
    manifest, _ = pack_file.build("cuda:90", [("double", KEY, [(choice, made), (plain_choice, plain)])])
    packed = json.loads(manifest)["kernels"][0]["choices"]
    assert (packed[0]["num_ctas"], packed[0]["launch_pdl"]) == (2, True)
    assert "num_ctas" not in packed[1] and "launch_pdl" not in packed[1]


def test_the_code_depends_on_them(monkeypatch, tmp_path) -> None:
    alone = _made(_choices(monkeypatch, {}), cache=tmp_path)[1]
    clustered = _made(_choices(monkeypatch, {"num_ctas": 2}), cache=tmp_path)[1]
    assert alone.blob != clustered.blob


def test_a_kernel_that_does_not_wait_is_refused(monkeypatch) -> None:
    with pytest.raises(SpecError, match="launch_pdl, and it never waits"):
        _made(_choices(monkeypatch, {"launch_pdl": 1}))


@pytest.mark.parametrize("target", ["cuda:89", "hip:gfx942"])
def test_other_gpus_take_the_next_choice(monkeypatch, target: str) -> None:
    for entry in ({"num_ctas": 2}, {"WAIT": 1, "launch_pdl": 1}):
        choice, made = _made(_choices(monkeypatch, entry, {}), target)
        assert (choice.num_ctas, choice.launch_pdl) == (1, 0)
        assert (made.num_ctas, made.launch_pdl) == (1, False)
        with pytest.raises(objects.CompileError, match=f"{target} has no clusters and no dependent launches"):
            _made(_choices(monkeypatch, entry), target)


def test_wrong_values(monkeypatch) -> None:
    for entry, message in (
        ({"num_ctas": 3}, "num_ctas is 3, expected 1, 2, 4 or 8"),
        ({"launch_pdl": 2}, "launch_pdl is 2, expected 0 or 1"),
    ):
        with pytest.raises(SpecError, match=message):
            _made(_choices(monkeypatch, entry))
        with pytest.raises(SpecError, match=message):
            ttir.compile_gpu(DOUBLE, KEY, _choices(monkeypatch, entry)[0], "cuda:90")
