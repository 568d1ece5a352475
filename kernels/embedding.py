"""Rows by index: token embedding (rows of an unquantised table to the f32 residual stream), and rows of a step."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.spec import I32, Case, Cost, DType, Int, Kernel, Ptr


@triton.jit
def embedding_kernel(
    table, ids, out, rows, vocab: tl.constexpr, dim: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    first = tl.program_id(0) * ROWS
    for row in range(first, tl.minimum(first + ROWS, rows)):
        id = tl.load(ids + row)
        columns = tl.where((id >= 0) & (id < vocab), dim, 0)  # to read
        source = table + id.to(tl.int64) * dim
        target = out + row.to(tl.int64) * dim
        for start in range(0, dim, BLOCK):
            column = start + tl.arange(0, BLOCK)
            inside = column < dim
            value = tl.load(source + column, mask=column < columns, other=0.0)
            tl.store(target + column, value.to(tl.float32), mask=inside)


def embedding_reference(key, args):
    out = args["out"].copy()
    ids = args["ids"][: args["rows"]]
    known = (ids >= 0) & (ids < key["vocab"])
    out[: args["rows"]] = np.where(known[:, None], args["table"][np.where(known, ids, 0)], 0.0)
    return {"out": out}


def embedding_cases():
    rng = np.random.default_rng(21)
    for name, table_dtype, vocab, dim, rows in (
        ("one_row", "bf16", 50, 576, 1),
        ("f32_odd", "f32", 33, 77, 5),
        ("f16_wide", "f16", 9, 5120, 3),
        ("one_column", "f32", 4, 1, 9),
        ("many", "bf16", 300, 64, 130),
    ):
        ids = rng.integers(0, vocab, rows).astype(np.int32)
        ids[0], ids[-1] = vocab - 1, 0
        if rows > 4:
            ids[1], ids[2] = vocab, -1
        table = rng.standard_normal((vocab, dim), dtype=np.float32)
        table[0, 0] = np.nan
        yield Case(
            name=name,
            key={"table_dtype": table_dtype, "vocab": vocab, "dim": dim},
            args={
                "table": table,
                "ids": ids,
                "out": np.full((rows + 1, dim), -7, np.float32),
                "rows": rows,
            },
        )


EMBEDDING = Kernel(
    name="embedding",
    doc="out[r, :] = table[ids[r], :]; zeros for an id out of range",
    fn=embedding_kernel,
    key=[DType("table_dtype"), Int("vocab", min=1), Int("dim", min=1)],
    args=[
        Ptr("table", "table_dtype", "read", shape="vocab, dim"),
        Ptr("ids", "i32", "read", shape="rows"),
        Ptr("out", "f32", "write", shape="rows, dim"),
        I32("rows"),
    ],
    grid="ceil_div(rows, ROWS)",
    select="rows",
    cost=Cost(bytes="rows * dim * (size_of(table_dtype) + 4)"),
    reference=embedding_reference,
    cases=embedding_cases,
    default_tiles=[{"ROWS": 1, "BLOCK": "min(next_pow2(dim), 1024)", "num_warps": 4}],
)


@triton.jit
def take_rows_kernel(x, index, out, rows, dim: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    first = tl.program_id(0) * ROWS
    for row in range(first, tl.minimum(first + ROWS, rows)):
        source = x + tl.load(index + row).to(tl.int64) * dim
        target = out + row.to(tl.int64) * dim
        for start in range(0, dim, BLOCK):
            column = start + tl.arange(0, BLOCK)
            value = tl.load(source + column, mask=column < dim, other=0.0)
            tl.store(target + column, value, mask=column < dim)


def take_rows_reference(key, args):
    out = args["out"].copy()
    out[: args["rows"]] = args["x"][args["index"][: args["rows"]]]
    return {"out": out}


def take_rows_cases():
    rng = np.random.default_rng(22)
    for name, dtype, source_rows, dim, rows in (
        ("last_of_many", "f32", 512, 576, 1),
        ("some_bf16", "bf16", 64, 2048, 9),
        ("odd", "f16", 33, 77, 5),
        ("wide", "f32", 5, 5120, 3),
    ):
        x = rng.standard_normal((source_rows, dim), dtype=np.float32)
        x[0, 0] = np.nan
        index = rng.integers(0, source_rows, rows).astype(np.int32)
        index[-1] = source_rows - 1
        index[0] = 0 if rows > 1 else index[0]
        yield Case(
            name=name,
            key={"dtype": dtype, "dim": dim},
            args={"x": x, "index": index, "out": np.full((rows + 1, dim), -7, np.float32), "rows": rows},
        )


TAKE_ROWS = Kernel(
    name="take_rows",
    doc="out[r, :] = x[index[r], :]; x and out do not overlap",
    fn=take_rows_kernel,
    key=[DType("dtype"), Int("dim", min=1)],
    args=[
        Ptr("x", "dtype", "read", shape="source rows, dim"),
        Ptr("index", "i32", "read", shape="rows"),
        Ptr("out", "dtype", "write", shape="rows, dim"),
        I32("rows"),
    ],
    grid="ceil_div(rows, ROWS)",
    select="rows",
    cost=Cost(bytes="rows * (2 * dim * size_of(dtype) + 4)"),
    reference=take_rows_reference,
    cases=take_rows_cases,
    default_tiles=[{"ROWS": 1, "BLOCK": "min(next_pow2(dim), 1024)", "num_warps": 4}],
)

KERNELS = [EMBEDDING, TAKE_ROWS]
