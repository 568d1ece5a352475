"""Reference and cases of linear_rows.py."""

from __future__ import annotations

import math

import numpy as np

from kernels.activation import activation_reference
from kernels.dtypes import round_to
from kernels.spec import Case, Tolerance


def linear_rows_reference(key, args):
    rows, n = args["rows"], key["n"]
    x = args["x"][:rows].astype(np.float64)
    y = x @ args["weights"].astype(np.float64).T
    if key["gate"]:
        y = activation_reference(y, key["gate"] - 1) * (x @ args["weights2"].astype(np.float64).T)
    if key["has_bias"]:
        y = y + args["bias"][:n]
    out = args["out"].copy()
    out[:rows, :n] = y + (out[:rows, :n] if key["residual"] else 0)
    return {"out": out}


def _case(rng, name, rows, n, k, dtypes=("bf16", "bf16", "f32"), gate=0, bias=0, residual=0, stride=None):
    x_dtype, weight_dtype, out_dtype = dtypes
    weights = lambda: round_to((rng.standard_normal((n, k)) / math.sqrt(k)).astype(np.float32), weight_dtype)
    first = weights()
    size = float(np.sqrt((first**2).sum(axis=1)).max()) * (3.0 if gate else 1.0)
    relative = {"f32": 2e-6, "bf16": 6e-3, "f16": 1e-3}[x_dtype]
    return Case(
        name=f"{name}_rows{rows}",
        key={
            "x_dtype": x_dtype, "weight_dtype": weight_dtype, "out_dtype": out_dtype, "n": n, "k": k,
            "out_stride": stride or n, "has_bias": bias, "residual": residual, "gate": gate,
        },
        args={
            "x": rng.standard_normal((rows, k), dtype=np.float32),
            "weights": first,
            "weights2": weights() if gate else None,
            "bias": rng.standard_normal(n, dtype=np.float32) if bias else None,
            "out": rng.standard_normal((rows + 1, stride or n), dtype=np.float32),
            "workspace": None,
            "rows": rows,
        },
        tolerance={"out": Tolerance(3 * relative * max(size, 0.1), {"f32": 1e-6, "bf16": 8e-3, "f16": 1e-3}[out_dtype])},
    )  # fmt: skip


def linear_rows_cases():
    rng = np.random.default_rng(52)
    for rows in (1, 2, 16, 17, 130, 300):
        yield _case(rng, "plain", rows, 160, 128)
        yield _case(rng, "odd", rows, 45, 70)
        yield _case(rng, "residual", rows, 64, 576, residual=1)
        yield _case(rng, "bias_stride", rows, 40, 64, ("bf16", "bf16", "bf16"), bias=1, stride=96)
        yield _case(rng, "gate", rows, 96, 64, ("bf16", "bf16", "bf16"), gate=1)
    for dtypes in (("f32", "bf16", "f32"), ("f32", "f32", "f32"), ("f16", "f16", "f16"), ("bf16", "f16", "f32"),
                   ("f32", "f16", "bf16"), ("bf16", "f32", "f32")):  # fmt: skip
        for rows in (1, 19, 70):
            yield _case(rng, "_".join(dtypes), rows, 70, 96, dtypes)
    for gate in (2, 3):
        yield _case(rng, f"gate{gate}", 5, 96, 64, ("f32", "bf16", "bf16"), gate=gate)
    yield _case(rng, "tiny", 1, 1, 1, ("f32", "f32", "f32"))
    yield _case(rng, "all_epilogues", 6, 70, 96, ("f32", "f32", "f32"), gate=1, bias=1, residual=1, stride=80)
    yield _case(rng, "many_tiles", 600, 700, 192)
    for rows in (40, 200):  # few tiles, much to add: the sum in pieces
        yield _case(rng, "long", rows, 160, 2048)
        yield _case(rng, "long_residual", rows, 96, 1024, residual=1)
        yield _case(rng, "long_gate", rows, 96, 1024, ("bf16", "bf16", "bf16"), gate=1)
    # Many rows: warps that only load, where there are such.
    yield _case(rng, "wide_residual", 600, 400, 1024, bias=1, residual=1)
    yield _case(rng, "wide_gate", 600, 200, 1024, ("bf16", "bf16", "bf16"), gate=1, bias=1, stride=208)
