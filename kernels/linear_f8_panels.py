"""Linear layers over e4m3 weights in panels of 32 rows: how CPUs want them.

A panel holds, column by column, the codes of its 32 rows side by side, so that a vector of lanes is a vector of
output rows. Codes are widened to x's type, exactly, and multiplied; scales are applied to sums. Of x nothing is
rounded. `scale_rows` and `group` as in linear_f8.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels import linear_f8_cases
from kernels.float8 import widen
from kernels.linear_out import gated
from kernels.linear_f8 import SCALE_KEY, cost_of
from kernels.spec import FLOATS, I32, DType, Flag, Int, Kernel, Ptr


@triton.jit
def _rows_times_panel(
    x, codes, scales, row, row_inside, panel,
    n: tl.constexpr, k: tl.constexpr, scale_rows: tl.constexpr, group: tl.constexpr, BLOCK_K: tl.constexpr,
    FULL: tl.constexpr,
):  # fmt: skip
    """[rows, 32] f32. FULL: all rows are inside."""
    K_PAD: tl.constexpr = (k + 31) // 32 * 32
    PARTS: tl.constexpr = (k + group - 1) // group
    kk = tl.arange(0, BLOCK_K)
    lane = tl.arange(0, 32)
    x_at = x + row.to(tl.int64)[:, None] * k + kk[None, :]
    w_at = codes + panel * (K_PAD * 32) + kk[:, None] * 32 + lane[None, :]
    acc = tl.zeros((row.shape[0], 32), dtype=tl.float32)
    for k0 in range(0, K_PAD, BLOCK_K):
        if k % BLOCK_K != 0:
            xs = tl.load(x_at + k0, mask=row_inside[:, None] & (k0 + kk < k)[None, :], other=0.0)
        elif FULL:
            xs = tl.load(x_at + k0)
        else:
            xs = tl.load(x_at + k0, mask=row_inside[:, None], other=0.0)
        w = widen(tl.load(w_at + k0 * 32), xs.dtype)
        if group < k:
            tl.static_assert(group % BLOCK_K == 0 and scale_rows % 32 == 0)
            scale = tl.load(scales + panel * 32 // scale_rows * PARTS + k0 // group)
            acc += tl.dot(xs, w, input_precision="ieee") * scale
        else:
            acc = tl.dot(xs, w, acc, input_precision="ieee")
    if group >= k:
        column = (panel * 32 + lane).to(tl.int32)
        acc *= tl.load(scales + column // scale_rows, mask=column < n, other=0.0)[None, :]
    return acc


@triton.jit
def linear_f8_panels_kernel(
    x, codes, scales, codes2, scales2, bias, out, rows,
    n: tl.constexpr, k: tl.constexpr, scale_rows: tl.constexpr, group: tl.constexpr, out_stride: tl.constexpr,
    has_bias: tl.constexpr, residual: tl.constexpr, gate: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    blocks_m = tl.cdiv(rows, BLOCK_M)
    panel = (pid // blocks_m).to(tl.int64)  # neighbours share weights
    row = (pid % blocks_m) * BLOCK_M + tl.arange(0, BLOCK_M)
    row_inside = row < rows
    if BLOCK_M == 1 or (pid % blocks_m + 1) * BLOCK_M <= rows:
        acc = _rows_times_panel(x, codes, scales, row, row_inside, panel, n, k, scale_rows, group, BLOCK_K, True)
        up = acc
        if gate != 0:
            up = _rows_times_panel(
                x, codes2, scales2, row, row_inside, panel, n, k, scale_rows, group, BLOCK_K, True
            )
    else:
        acc = _rows_times_panel(x, codes, scales, row, row_inside, panel, n, k, scale_rows, group, BLOCK_K, False)
        up = acc
        if gate != 0:
            up = _rows_times_panel(
                x, codes2, scales2, row, row_inside, panel, n, k, scale_rows, group, BLOCK_K, False
            )
    column = (panel * 32).to(tl.int32) + tl.arange(0, 32)
    acc = gated(acc, up, bias, column, n, has_bias, gate)
    out_at = out + row.to(tl.int64)[:, None] * out_stride + column[None, :]
    inside = row_inside[:, None] & (column < n)[None, :]
    if residual:
        acc += tl.load(out_at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_at, acc.to(out.dtype.element_ty), mask=inside)


LINEAR_F8_PANELS = Kernel(
    name="linear_f8_panels",
    doc="as linear_f8, W in panels: e4m3 codes [n_pad / 32, k_pad, 32]",
    fn=linear_f8_panels_kernel,
    key=[
        DType("x_dtype", allowed=FLOATS), DType("out_dtype", allowed=FLOATS),
        Int("n", min=1), Int("k", min=1), *SCALE_KEY,
        Int("out_stride", min=1, doc="elements between rows of out"),
        Flag("has_bias"), Flag("residual", doc="adds to what out holds"),
        Int("gate", max=3, doc="0 none, 1 SiLU, 2 GELU (tanh), 3 GELU (erf)"),
    ],
    args=[
        Ptr("x", "x_dtype", "read", shape="rows, k"),
        Ptr("codes", "f8e4m3", "read", shape="n_pad / 32, k_pad, 32"),
        Ptr("scales", "f32", "read", shape="n / scale_rows, k / group, both rounded up"),
        Ptr("codes2", "f8e4m3", "read", shape="n_pad / 32, k_pad, 32", optional="gate"),
        Ptr("scales2", "f32", "read", shape="n / scale_rows, k / group, both rounded up", optional="gate"),
        Ptr("bias", "f32", "read", shape="n", optional="has_bias"),
        Ptr("out", "out_dtype", "readwrite", shape="rows, out_stride"),
        I32("rows"),
    ],
    grid="ceil_div(rows, BLOCK_M) * ceil_div(n, 32)",
    select="rows",
    cost=cost_of("0"),
    reference=linear_f8_cases.linear_f8_panels_reference,
    cases=linear_f8_cases.linear_f8_panels_cases,
    default_tiles=[
        {"max": 16, "BLOCK_M": 16, "BLOCK_K": "32 if k % 64 else 64"},
        {"BLOCK_M": 64, "BLOCK_K": "32 if k % 64 else 64"},
    ],
)  # fmt: skip

KERNELS = [LINEAR_F8_PANELS]
