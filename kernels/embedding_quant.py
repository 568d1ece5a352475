"""Token embedding from a table in the panel layout of quant.py, quantised or not.

The output layer reads the same planes, so a tied table is held once.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels import quant_reference
from kernels.dtypes import narrow
from kernels.linear_reference import weight_from_planes
from kernels.quant import CODE_DTYPES, word_element
from kernels.quant_reference import FORMATS, dense_key
from kernels.spec import I32, Case, Cost, DType, Flag, Int, Kernel, Ptr


@triton.jit
def embedding_quant_kernel(
    ids, codes, scales, mins, out, rows,
    bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr, has_min: tl.constexpr,
    n: tl.constexpr, k: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    PER_WORD: tl.constexpr = 32 // bits
    K_WORDS: tl.constexpr = (k + 31) // 32 * 32 // PER_WORD
    row = tl.program_id(0)
    id = tl.load(ids + row)
    columns = tl.where((id >= 0) & (id < n), k, 0)  # to read
    panel = (id // 32).to(tl.int64)
    lane = id % 32
    WORDS: tl.constexpr = (BLOCK + PER_WORD - 1) // PER_WORD
    i = tl.arange(0, PER_WORD)
    for start in range(0, k, BLOCK):
        word = start // PER_WORD + tl.arange(0, WORDS)
        first = word * PER_WORD  # column
        column = first[:, None] + i[None, :]
        read = first < columns
        packed = tl.load(codes + panel * (K_WORDS * 32) + lane + word * 32, mask=read, other=0)
        value = word_element(packed[:, None], i[None, :], bits, code_dtype)
        if group > 0:
            at = panel * (k // group * 32) + lane + first // group * 32
            if zero != 0:
                value -= zero
            value *= tl.load(scales + at, mask=read, other=0.0).to(tl.float32)[:, None]
            if has_min:
                value += tl.load(mins + at, mask=read, other=0.0).to(tl.float32)[:, None]
        tl.store(out + row.to(tl.int64) * k + column, value.to(out.dtype.element_ty), mask=column < k)


def embedding_quant_reference(key, args):
    rows, ids = args["rows"], args["ids"]
    table = weight_from_planes(key, args["codes"], args["scales"], args["mins"])
    known = (ids[:rows] >= 0) & (ids[:rows] < key["n"])
    out = args["out"].copy()
    out[:rows] = np.where(known[:, None], table[np.where(known, ids[:rows], 0)], 0.0)
    return {"out": out}


def embedding_quant_cases():
    rng = np.random.default_rng(71)
    for weight, k in (*((name, 768) for name in FORMATS), ("f32", 70), ("f16", 70), ("bf16", 70), ("bf16", 1)):
        n = 77
        if weight in FORMATS:
            planes = quant_reference.pack_blocks(weight, quant_reference.random_raw(rng, weight, n, k))
        else:
            stored = narrow(rng.standard_normal((n, k), dtype=np.float32), weight)
            bits = stored.view(np.uint32 if stored.dtype.itemsize == 4 else np.uint16)
            planes = {"codes": quant_reference.pack_dense(bits), "scales": None, "mins": None}
        key = FORMATS[weight].linear_key() if weight in FORMATS else dense_key(weight)
        for rows in (1, 6):
            ids = np.array([76, 0, 31, 32, -1, 77], np.int32)[:rows]
            yield Case(
                name=f"{weight.lower()}_{'one_column_' if k == 1 else ''}rows{rows}",
                key={"out_dtype": "f32" if rows == 1 else "bf16", **key, "n": n, "k": k},
                args={"ids": ids, **planes, "out": np.full((rows + 1, k), -7, np.float32), "rows": rows},
            )


EMBEDDING_QUANT = Kernel(
    name="embedding_quant",
    doc="out[r, :] = row ids[r] of a table [n, k] in the panels of quant.py; zeros for ids outside [0, n)",
    fn=embedding_quant_kernel,
    key=[
        DType("out_dtype"), Int("bits"), DType("code_dtype", allowed=CODE_DTYPES), Int("zero"), Int("group"),
        DType("scale_dtype", allowed=("f16", "f32")), Flag("has_min"), Int("n", min=1), Int("k", min=1),
    ],
    args=[
        Ptr("ids", "i32", "read", shape="rows"),
        Ptr("codes", "i32", "read", shape="n_pad / 32, k_pad / per_word, 32"),
        Ptr("scales", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="group"),
        Ptr("mins", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="has_min"),
        Ptr("out", "out_dtype", "write", shape="rows, k"),
        I32("rows"),
    ],
    grid="rows",
    cost=Cost(
        bytes="rows * (k * bits // 8 + (k // group * size_of(scale_dtype) * (1 + has_min) if group else 0))"
        " + rows * k * size_of(out_dtype)"
    ),
    reference=embedding_quant_reference,
    cases=embedding_quant_cases,
    default_tiles=[{"BLOCK": "min(next_pow2(k), 1024)", "num_warps": 4}],
)  # fmt: skip

KERNELS = [EMBEDDING_QUANT]
