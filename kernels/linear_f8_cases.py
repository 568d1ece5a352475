"""References and cases of linear_f8.py and linear_f8_panels.py: scales of rows and of blocks, x as numbers and codes,
numbers of rows around the tiles, epilogues."""

from __future__ import annotations

import math

import numpy as np

from kernels import float8
from kernels.activation import activation_reference
from kernels.dtypes import narrow, widen
from kernels.quant_reference import padded
from kernels.spec import Case, Tolerance

BLOCK = 128


def _whole(codes, scales, key) -> np.ndarray:
    """f64 [n, k]: codes times their scales."""
    by_row = np.repeat(np.repeat(scales.astype(np.float64), key["scale_rows"], 0), key["group"], 1)
    return codes.astype(np.float64) * by_row[: key["n"], : key["k"]]


def _product(x, weights, key, args):
    n, rows = key["n"], args["rows"]
    y = x @ weights[0].T
    if key["gate"]:
        y = activation_reference(y, key["gate"] - 1) * (x @ weights[1].T)
    if key["has_bias"]:
        y = y + args["bias"][:n]
    out = args["out"].copy()
    out[:rows, :n] = y + (out[:rows, :n] if key["residual"] else 0)
    return {"out": out}


def _both(key, args, names, unpack):
    return [_whole(unpack(args[codes]), args[scales], key) for codes, scales in names if args[codes] is not None]


def linear_f8_reference(key, args):
    x = args["x"][: args["rows"]].astype(np.float64)
    if key["x_dtype"] == "f8e4m3":
        x = x * np.repeat(args["x_scales"].astype(np.float64).T, key["group"], axis=1)[:, : key["k"]]
    names = (("weights", "scales"), ("weights2", "scales2"))
    return _product(x, _both(key, args, names, lambda codes: codes), key, args)


def linear_f8_panels_reference(key, args):
    x = args["x"][: args["rows"]].astype(np.float64)
    unpack = lambda codes: codes.transpose(0, 2, 1).reshape(-1, codes.shape[1])[: key["n"], : key["k"]]
    return _product(x, _both(key, args, (("codes", "scales"), ("codes2", "scales2")), unpack), key, args)


def _weights(rng, n, k, block):
    """Codes as floats [n, k], and f32 scales."""
    codes = widen(narrow((40 * rng.standard_normal((n, k))).astype(np.float32), "f8e4m3"), "f8e4m3")
    shape = (-(-n // BLOCK), -(-k // BLOCK)) if block else (n, 1)
    return codes, (rng.uniform(0.5, 2.0, shape) / 40 / math.sqrt(k)).astype(np.float32)


def _in_panels(codes):
    n, k = codes.shape
    whole = np.zeros((padded(n), padded(k)), np.float32)
    whole[:n, :k] = codes
    return np.ascontiguousarray(whole.reshape(-1, 32, whole.shape[1]).transpose(0, 2, 1))


def _case(rng, name, rows, n, k, x_dtype="bf16", out_dtype="f32", block=False, gate=0, bias=0, residual=0, stride=None,
          panels=False):  # fmt: skip
    key = {
        "x_dtype": x_dtype, "out_dtype": out_dtype, "n": n, "k": k, "scale_rows": BLOCK if block else 1,
        "group": BLOCK if block and k > BLOCK else k, "out_stride": stride or n, "has_bias": bias, "residual": residual,
        "gate": gate,
    }  # fmt: skip
    first, second = _weights(rng, n, k, block), _weights(rng, n, k, block) if gate else (None, None)
    x = rng.standard_normal((rows, k), dtype=np.float32)
    args = {"x": x}
    if panels:
        args |= {"codes": _in_panels(first[0]), "scales": first[1]}
        args |= {"codes2": _in_panels(second[0]) if gate else None, "scales2": second[1]}
    else:
        args |= {"x_scales": None, "weights": first[0], "scales": first[1], "weights2": second[0], "scales2": second[1]}
    if x_dtype == "f8e4m3":
        values, args["x_scales"] = float8.encode(x, key["group"])
        args["x"] = values
    args["bias"] = rng.standard_normal(n, dtype=np.float32) if bias else None
    args |= {"out": rng.standard_normal((rows + 1, stride or n), dtype=np.float32), "rows": rows}
    # Codes are exact in every type. Hopper's product of codes keeps 14 bits of a sum of 128.
    size = float(np.sqrt((_whole(*first, key) ** 2).sum(axis=1)).max()) * (3.0 if gate else 1.0)
    relative = {"f32": 3e-6, "f16": 3e-6, "bf16": 3e-6, "f8e4m3": 1e-3}[x_dtype]
    out_relative = {"f32": 1e-5, "bf16": 8e-3, "f16": 1e-3}[out_dtype]
    return Case(
        name=f"{name}_rows{rows}", key=key, args=args,
        tolerance={"out": Tolerance(3 * relative * max(size, 0.1), out_relative)},
    )  # fmt: skip


def _shared_cases(rng, panels):
    for rows in (1, 2, 5, 17, 70, 130):
        for label, block in (("row", False), ("block", True)):
            make = lambda name, *a, **more: _case(rng, f"{label}_{name}", rows, *a, block=block, panels=panels, **more)
            yield make("plain", 160, 256)
            yield make("odd", 45, 70)
            yield make("ragged", 200, 333)
            yield make("residual", 64, 576, residual=1)
            yield make("bias_stride", 40, 64, out_dtype="bf16", bias=1, stride=96)
            yield make("gate", 96, 256, out_dtype="bf16", gate=1)
    for dtype in ("f32", "f16"):
        for rows in (1, 19, 70):
            yield _case(rng, f"{dtype}_block", rows, 150, 272, dtype, dtype, block=True, panels=panels)
            yield _case(rng, f"{dtype}_row", rows, 70, 96, dtype, dtype, panels=panels)
    yield _case(rng, "tiny", 1, 1, 1, "f32", panels=panels)
    for gate in (2, 3):
        yield _case(rng, f"gate{gate}", 5, 96, 64, "f32", "bf16", gate=gate, panels=panels)
    yield _case(rng, "all_epilogues", 6, 70, 96, "f32", gate=1, bias=1, residual=1, stride=80, block=True, panels=panels)


def linear_f8_panels_cases():
    yield from _shared_cases(np.random.default_rng(72), True)


def linear_f8_cases():
    rng = np.random.default_rng(73)
    yield from _shared_cases(rng, False)
    for rows in (2, 17, 70, 300):
        for label, block in (("row", False), ("block", True)):
            make = lambda name, *a, **more: _case(rng, f"codes_{label}_{name}", rows, *a, "f8e4m3", block=block, **more)
            yield make("plain", 320, 256)
            yield make("ragged", 200, 336)
            yield make("odd", 45, 70)
            yield make("residual", 128, 640, residual=1)
            yield make("bias_stride", 40, 128, out_dtype="bf16", bias=1, stride=96)
            yield make("gate", 256, 384, out_dtype="bf16", gate=1)
    for block in (False, True):
        yield _case(rng, f"codes_many_tiles{int(block)}", 1100, 700, 384, "f8e4m3", block=block)
