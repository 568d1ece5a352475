"""Gated activations of MLP blocks as kernels of their own (the linear epilogue also does them
fused)."""

from __future__ import annotations

import math

import numpy as np
import triton
import triton.language as tl

from kernels.exponential import quick_exp2
from kernels.spec import I32, Case, Cost, DType, Flag, Int, Kernel, Ptr, Tolerance


@triton.jit
def activate(v, activation: tl.constexpr, quick: tl.constexpr = False):
    """0 SiLU, 1 GELU with tanh, 2 GELU with erf, of f32. quick: SiLU within 3e-6 of it in proportion."""
    if activation == 0 and quick:
        v = tl.where(v < -87.0, -87.0, v)  # a NaN stays one
        return v / (1.0 + quick_exp2(v * -1.4426950408889634))
    elif activation == 0:
        return v / (1.0 + tl.exp(0.0 - v))
    elif activation == 1:
        # 0.5 (1 + tanh z) = 1 / (1 + exp(-2 z))
        z = 0.7978845608028654 * (v + 0.044715 * v * v * v)
        return v / (1.0 + tl.exp(-2.0 * z))
    else:
        return 0.5 * v * (1.0 + tl.erf(v * 0.7071067811865476))


@triton.jit
def _gated(
    gate,
    up,
    out,
    rows,
    gate_stride,
    up_stride,
    activation: tl.constexpr,
    dim: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program: BLOCK columns of one row."""
    blocks: tl.constexpr = (dim + BLOCK - 1) // BLOCK
    program = tl.program_id(0)
    row = (program // blocks).to(tl.int64)
    column = (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = column < dim
    g = tl.load(gate + row * gate_stride + column, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(up + row * up_stride + column, mask=inside, other=0.0).to(tl.float32)
    active = activate(g, activation)
    tl.store(out + row * dim + column, (active * u).to(out.dtype.element_ty), mask=inside)


@triton.jit
def silu_mul_kernel(
    gate, up, out, rows, gate_stride, up_stride, dim: tl.constexpr, BLOCK: tl.constexpr
):
    _gated(gate, up, out, rows, gate_stride, up_stride, 0, dim, BLOCK)


@triton.jit
def gelu_mul_kernel(
    gate,
    up,
    out,
    rows,
    gate_stride,
    up_stride,
    dim: tl.constexpr,
    exact: tl.constexpr,
    BLOCK: tl.constexpr,
):
    _gated(gate, up, out, rows, gate_stride, up_stride, 1 + exact, dim, BLOCK)


def activation_reference(v, activation):
    """As activate, in NumPy."""
    if activation == 0:
        return v / (1.0 + np.exp(-v))
    if activation == 1:
        return 0.5 * v * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (v + 0.044715 * v**3)))
    return 0.5 * v * (1.0 + np.vectorize(math.erf)(v / math.sqrt(2.0)))


def _apply(args, activation):
    rows = args["rows"]
    out = args["out"].copy()
    dim = out.shape[1]
    gate = args["gate"][:rows, :dim].astype(np.float64)
    with np.errstate(all="ignore"):
        out[:rows] = activation_reference(gate, activation) * args["up"][:rows, :dim]
    return {"out": out}


def silu_mul_reference(key, args):
    return _apply(args, 0)


def gelu_mul_reference(key, args):
    return _apply(args, 1 + key["exact"])


def _cases(exact: int | None):
    rng = np.random.default_rng(41)
    for name, rows, dim, x_dtype, out_dtype in (
        ("one_row", 1, 1536, "f32", "bf16"),
        ("one_element", 1, 1, "f32", "f32"),
        ("odd_dim", 5, 1537, "f32", "f32"),
        ("bf16", 3, 100, "bf16", "bf16"),
        ("f16", 2, 64, "f16", "f16"),
        ("extreme", 2, 40, "f32", "f32"),
    ):
        gate = rng.standard_normal((rows + 1, dim + 16), dtype=np.float32) * 3
        up = rng.standard_normal((rows + 1, dim + 32), dtype=np.float32)
        if name == "extreme":
            gate[0, :8] = [0.0, -0.0, 100.0, -100.0, np.nan, np.inf, 3e38, -87.0]
        key = {"x_dtype": x_dtype, "out_dtype": out_dtype, "dim": dim}
        yield Case(
            name=name,
            key=key if exact is None else key | {"exact": exact},
            args={
                "gate": gate,
                "up": up,
                "out": np.full((rows + 1, dim), -7, np.float32),
                "rows": rows,
                "gate_stride": dim + 16,
                "up_stride": dim + 32,
            },
            # 1 + erf(x) and 1 + tanh(x) cancel for negative x: the error is relative to x, not to
            # the result.
            tolerance={} if exact is None or out_dtype != "f32" else {"out": Tolerance(3e-6, 1e-5)},
        )


def gelu_mul_cases():
    for exact in (0, 1):
        for case in _cases(exact):
            case.name += "_erf" if exact else "_tanh"
            yield case


_KEY = [DType("x_dtype"), DType("out_dtype"), Int("dim", min=1)]
_ARGS = [
    Ptr("gate", "x_dtype", "read", shape="rows, dim; row stride gate_stride"),
    Ptr("up", "x_dtype", "read", shape="rows, dim; row stride up_stride"),
    Ptr("out", "out_dtype", "write", shape="rows, dim"),
    I32("rows"),
    I32("gate_stride", doc="elements"),
    I32("up_stride", doc="elements"),
]
_TILES = [{"BLOCK": "min(next_pow2(dim), 1024)", "num_warps": 4}]
_COST = Cost(
    bytes="rows * dim * (2 * size_of(x_dtype) + size_of(out_dtype))", operations="6 * rows * dim"
)

SILU_MUL = Kernel(
    name="silu_mul",
    doc="out[r, :] = gate[r, :] * sigmoid(gate[r, :]) * up[r, :]",
    fn=silu_mul_kernel,
    key=_KEY,
    args=_ARGS,
    grid="rows * ceil_div(dim, BLOCK)",
    cost=_COST,
    reference=silu_mul_reference,
    cases=lambda: _cases(None),
    default_tiles=_TILES,
)

GELU_MUL = Kernel(
    name="gelu_mul",
    doc="out[r, :] = gelu(gate[r, :]) * up[r, :]",
    fn=gelu_mul_kernel,
    key=[*_KEY, Flag("exact", doc="erf form; otherwise the tanh approximation")],
    args=_ARGS,
    grid="rows * ceil_div(dim, BLOCK)",
    cost=_COST,
    reference=gelu_mul_reference,
    cases=gelu_mul_cases,
    default_tiles=_TILES,
)

KERNELS = [SILU_MUL, GELU_MUL]
