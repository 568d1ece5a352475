"""The case runner notices what a wrong kernel does to memory."""

from __future__ import annotations

import numpy as np
import pytest
import triton
import triton.language as tl

from kernels.conformance import run_case
from kernels.spec import I32, Case, Kernel, Ptr


@triton.jit
def copy_kernel(x, out, count, shift, BLOCK: tl.constexpr):
    """out[i] = x[i + shift] for i < count; right for shift 0 and count 1000 only."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < count
    tl.store(out + index, tl.load(x + index + shift, mask=inside), mask=inside)


@triton.jit
def shifted_store_kernel(x, out, count, shift, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < count
    tl.store(out + index + shift, tl.load(x + index, mask=inside), mask=inside)


@triton.jit
def write_input_kernel(x, out, count, shift, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < count
    v = tl.load(x + index, mask=inside)
    tl.store(out + index, v, mask=inside)
    tl.store(x + index, v + 1.0, mask=inside & (index == 5))


@triton.jit
def endless_kernel(x, out, count, shift, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    step = count
    while step > 0:
        tl.store(out + index, tl.load(x + index))
        step += shift


def copy(fn, count: int = 1000, shift: int = 0) -> tuple[Kernel, Case]:
    kernel = Kernel(
        name="copy",
        doc="out = x",
        fn=fn,
        key=[],
        args=[
            Ptr("x", "f32", "read", shape="count"),
            Ptr("out", "f32", "write", shape="count"),
            I32("count"),
            I32("shift"),
        ],
        grid="ceil_div(count, BLOCK)",
        reference=lambda key, args: {"out": args["x"]},
        cases=lambda: [],
        default_tiles=[{"BLOCK": 64}],
    )
    x = np.arange(1000, dtype=np.float32)
    return kernel, Case(
        "copy", {}, {"x": x, "out": np.zeros_like(x), "count": count, "shift": shift}
    )


def problems_of(fn, tools, **changes: int) -> list[str]:
    if tools is None:
        pytest.fail("these tests need compiled code; do not run them with --interpret")
    return run_case(*copy(fn, **changes), tools)[0]


def test_right_kernel(tools) -> None:
    assert problems_of(copy_kernel, tools) == []


@pytest.mark.parametrize(
    ("fn", "changes", "message"),
    [
        (copy_kernel, {"count": 999}, "out: 1 of 1000 differ, first at [999]"),
        (copy_kernel, {"count": 1001}, "crashed: SIGSEGV"),
        (copy_kernel, {"shift": 1}, "crashed: SIGSEGV"),
        (shifted_store_kernel, {"shift": 1}, "crashed: SIGSEGV"),
        (shifted_store_kernel, {"shift": -1}, "out: bytes outside it changed"),
        (write_input_kernel, {}, "x: changed, but it is not declared as written"),
    ],
)
def test_wrong_kernel(fn, changes: dict, message: str, tools) -> None:
    assert any(message in problem for problem in problems_of(fn, tools, **changes))


def test_endless_kernel(tools, monkeypatch) -> None:
    monkeypatch.setattr("kernels.run_native.TIME_LIMIT", 2.0)
    assert "still running after 2 s" in problems_of(endless_kernel, tools, shift=0)[0]
