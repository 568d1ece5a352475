"""NumPy reference of linear.py."""

from __future__ import annotations

import numpy as np

from kernels.activation import activation_reference
from kernels.activation_codes import SECOND, encode
from kernels.pair_rows import begun_pairs
from kernels.scale_pairs import scales_of_pairs

GATE_SILU, GATE_GELU_TANH, GATE_GELU_ERF = 1, 2, 3


def weight_from_planes(key, codes, scales, mins) -> np.ndarray:
    """f64 [n, k] of the planes. The cases make planes with quant_reference.pack_*; their agreement with the
    file formats is what the repack cases check."""
    bits, per_word = key["bits"], 32 // key["bits"]
    words = codes.reshape(-1, codes.shape[-2], 32).transpose(0, 2, 1).reshape(-1, codes.shape[-2]).view(np.uint32)
    i = np.arange(per_word)
    shift = (8 * (i % 4) + 4 * (i // 4) if bits == 4 else bits * i).astype(np.uint64)
    code = ((words[:, :, None].astype(np.uint64) >> shift) & ((1 << bits) - 1)).reshape(words.shape[0], -1)
    match key["code_dtype"]:
        case "u8":
            value = code.astype(np.float64)
        case "i8":
            value = code.astype(np.uint8).view(np.int8).astype(np.float64)
        case "f32":
            value = code.astype(np.uint32).view(np.float32).astype(np.float64)
        case "f16":
            value = code.astype(np.uint16).view(np.float16).astype(np.float64)
        case "bf16":
            value = (code.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    zero = key["zero"]
    if key["scale_dtype"] == "i32":
        zero = 8 if bits == 4 else 128
        scales, mins = scales_of_pairs(scales, mins)
    if key["group"]:
        widen = lambda p: np.repeat(p.astype(np.float64).transpose(0, 2, 1).reshape(value.shape[0], -1), key["group"], 1)
        value = (value - zero) * widen(scales)
        if key["has_min"]:
            value = value + widen(mins)
    return value[: key["n"], : key["k"]]


def linear_reference(key, args):
    rows, n = args["rows"], key["n"]
    x = args["x"][:rows, : key["terms"] * key["k"]].astype(np.float64)
    weight = weight_from_planes(key, args["codes"], args["scales"], args["mins"])
    if key["x_dtype"] == "i8":
        scales = np.repeat(args["x_scales"][:rows].astype(np.float64), 32, axis=1)
        first, x = x[:, : key["k"]] * scales, x[:, : key["k"]] * scales
        if key["terms"] == 2:
            x = x + args["x"][:rows, key["k"] : 2 * key["k"]] / SECOND.value * scales
    y = x @ weight.T
    if key["second_from"]:
        without = key["second_from"] // 32 * 32
        y[:, :without] = first @ weight[:without].T
    if key["gate"]:
        up = x @ weight_from_planes(key, args["codes2"], args["scales2"], args["mins2"]).T
        y = activation_reference(y, key["gate"] - 1) * up
    if key["has_bias"]:
        y = y + args["bias"][:n]
    out = args["out"].copy()
    if key["out_dtype"] == "i8":
        made = encode(y, octaves=False)
        scales = args["out_scales"].copy()
        out[:rows, :n], scales[:rows] = made["codes"], made["scales"]
        if key["paired_out"]:
            pairs = args["out_pairs"].copy()
            pairs[:rows, : n // 32] = begun_pairs(made["codes"])[:, : n // 32]
            return {"out": out, "out_scales": scales, "out_pairs": pairs}
        sums = args["out_sums"].copy()
        sums[:rows] = made["sums"]
        return {"out": out, "out_scales": scales, "out_sums": sums}
    out[:rows, :n] = y + (out[:rows, :n] if key["residual"] else 0)
    return {"out": out}
