"""Cases of linear.py: every weight format, numbers of rows around the tiles, epilogues, codes."""

from __future__ import annotations

import math

import numpy as np

from kernels import quant_reference
from kernels.activation_codes import CODE_TOLERANCE, encode, pair_words, planes_for, sums_tolerance
from kernels.dtypes import round_to
from kernels.linear_reference import GATE_GELU_ERF, GATE_GELU_TANH, GATE_SILU, weight_from_planes
from kernels.pair_rows import begun_pairs, pair_rows
from kernels.quant_reference import FORMATS, dense_key
from kernels.scale_pairs import pair_scales, scales_of_pairs
from kernels.spec import Case, Tolerance


def _planes(rng, name: str, n: int, k: int, paired: int) -> dict[str, np.ndarray | None]:
    if name in FORMATS:
        planes = quant_reference.pack_blocks(name, quant_reference.random_raw(rng, name, n, k))
        if not paired:
            return planes
        made = pair_scales(planes["scales"], planes["mins"])
        return {"codes": planes["codes"], "scales": made["pairs"], "mins": made["min_pairs"]}
    values = round_to((rng.standard_normal((n, k)) / math.sqrt(k)).astype(np.float32), name)
    bits = values.view(np.uint32)
    if name == "bf16":
        bits = (bits >> 16).astype(np.uint16)
    elif name == "f16":
        bits = values.astype(np.float16).view(np.uint16)
    return {"codes": quant_reference.pack_dense(bits), "scales": None, "mins": None}


def _pairs_rounding(weights, made, bits: int) -> float:
    """How much a result may miss since sums are rounded to the largest scale of their row, of 8 bits to 16 times that: half
    of it for each group and for its minimum, and for groups with parts twice."""
    scale, offset = (0.0 if p is None else np.abs(p) for p in scales_of_pairs(weights["scales"], weights["mins"]))
    return float(made["scales"].max() * (scale * (1 if bits == 4 else 16) + offset).sum(axis=1).max())


def _case(rng, name, weight, rows, n, k, x_dtype="f32", out_dtype="f32", gate=0, bias=0, residual=0, stride=None,
          terms=1, second_from=0, apart=0, octaves=1, paired=0, paired_out=0):
    key = {"x_dtype": x_dtype, "out_dtype": out_dtype, "paired_out": paired_out, "terms": terms, "second_from": second_from}
    key["octaves"] = octaves if x_dtype == "i8" else 0
    key |= FORMATS[weight].linear_key() if weight in FORMATS else dense_key(weight)
    key |= {"n": n, "k": k, "x_stride": terms * k + apart, "out_stride": stride or n, "has_bias": bias, "residual": residual, "gate": gate}
    if paired:
        key["scale_dtype"] = "i32"
    first = _planes(rng, weight, n, k, paired)
    second = _planes(rng, weight, n, k, paired) if gate else dict.fromkeys(first)
    args = {"x": rng.standard_normal((rows, k), dtype=np.float32), "x_scales": None, "x_sums": None, "x_pairs": None}
    if x_dtype == "i8":
        args["x"][: terms - 1 and rows // 2 + 1, 5] = 40.0  # so that a group stands out, not in every tile of rows
        made = encode(args["x"], terms, bool(octaves), key["bits"] if paired and octaves else 0)
        args |= {"x": made["codes"].astype(np.int8), "x_scales": made["scales"], "x_sums": made["sums"]}
        if paired:
            args["x_pairs"] = made["pairs"] if octaves else pair_rows(key["bits"], made["scales"], begun_pairs(made["codes"]))
    args["x"] = np.pad(args["x"], ((0, 0), (0, apart)), constant_values=99)
    args |= first | {f"{plane}2": value for plane, value in second.items()}
    args["bias"] = rng.standard_normal(n, dtype=np.float32) if bias else None
    args |= dict.fromkeys(("out_scales", "out_sums", "out_pairs"))
    args["out"] = rng.standard_normal((rows + 1, stride or n), dtype=np.float32)
    if out_dtype == "i8":
        planes = planes_for(rows + 1, n)
        args |= {"out": planes["codes"], "out_scales": planes["scales"]}
        if paired_out:
            args["out_pairs"] = np.full((rows + 1, pair_words(n // 32, 1)), 5, np.int32)
        else:
            args["out_sums"] = planes["sums"]
    args["rows"] = rows
    # Sums of k products of unit size and weights of size `scale`; bf16 products round the weight to 8 bits.
    weights = weight_from_planes(key, *(first[p] for p in ("codes", "scales", "mins")))
    size = float(np.sqrt((weights**2).sum(axis=1)).max()) * (3.0 if gate else 1.0)
    rounding = _pairs_rounding(first, made, key["bits"]) * (3.0 if gate else 1.0) if paired else 0.0
    relative = {"f32": 2e-6, "bf16": 6e-3, "f16": 1e-3, "i8": 4e-6}[x_dtype]
    scales_tolerance = Tolerance(1e-6 + rounding / 127, 1e-4)
    tolerance = {"out": CODE_TOLERANCE, "out_scales": scales_tolerance, "out_sums": sums_tolerance(np.array([size]))}
    tolerance["out_pairs"] = Tolerance(3 * 65537.0)  # codes that are off by one, in both halves
    if out_dtype != "i8":
        out_relative = {"f32": 1e-6, "bf16": 8e-3, "f16": 1e-3}[out_dtype]
        tolerance = {"out": Tolerance(3 * relative * max(size, 0.1) + rounding, out_relative)}
    return Case(name=name, key=key, args=args, tolerance=tolerance)


def linear_cases():
    rng = np.random.default_rng(51)
    for weight in (*FORMATS, "f32", "f16", "bf16"):
        k = 512 if weight.endswith("_K") else 96
        for rows in (1, 3, 19):
            yield _case(rng, f"{weight.lower()}_rows{rows}", weight, rows, 64, k)
        yield _case(rng, f"{weight.lower()}_bf16_one", weight, 1, 96, k, "bf16", "bf16")
        yield _case(rng, f"{weight.lower()}_bf16_many", weight, 70, 96, k, "bf16", "f32")
    for rows in (1, 2, 4, 5, 17, 64, 130):
        yield _case(rng, f"odd_n_rows{rows}", "Q4_1", rows, 77, 160)
        yield _case(rng, f"odd_k_rows{rows}", "bf16", rows, 45, 70, "bf16")
        for k in (256, 352, 576):
            yield _case(rng, f"residual_k{k}_rows{rows}", "Q4_1", rows, 64, k, "bf16", "f32", residual=1)
        yield _case(rng, f"bias_stride_rows{rows}", "Q8_0", rows, 40, 64, "bf16", "bf16", bias=1, stride=96)
        for gate in (GATE_SILU, GATE_GELU_TANH, GATE_GELU_ERF):
            yield _case(rng, f"gate{gate}_rows{rows}", "Q4_1", rows, 96, 64, "bf16", "bf16", gate=gate)
    for rows in (1, 2, 4, 7):  # panels side by side
        yield _case(rng, f"panels_rows{rows}", "bf16", rows, 2176, 64, "bf16", "f32", residual=1)
        yield _case(rng, f"panels_f32_rows{rows}", "bf16", rows, 576, 96, gate=1)
        yield _case(rng, f"panels_odd_k_rows{rows}", "f16", rows, 2048, 70, "bf16" if rows == 1 else "f16", "f32")
    for weight in FORMATS:
        k = 512 if weight.endswith("_K") else 96
        for rows in (1, 5, 19):
            yield _case(rng, f"{weight.lower()}_codes_rows{rows}", weight, rows, 70, k, "i8", "f32")
    for rows in (1, 2, 8, 17, 130):
        yield _case(rng, f"codes_residual_rows{rows}", "Q4_1", rows, 64, 576, "i8", "f32", residual=1)
        yield _case(rng, f"codes_two_terms_rows{rows}", "Q4_1", rows, 70, 160, "i8", "f32", terms=2)
        yield _case(rng, f"codes_two_terms_head_rows{rows}", "Q8_0", rows, 70, 160, "i8", "f32", terms=2)
        yield _case(rng, f"codes_gate_rows{rows}", "Q4_1", rows, 96, 64, "i8", "i8", gate=1)
        yield _case(rng, f"codes_apart_rows{rows}", "Q4_0", rows, 70, 96, "i8", "f32", apart=64)
        yield _case(rng, f"codes_two_terms_apart_rows{rows}", "Q8_0_U8", rows, 96, 64, "i8", "f32", terms=2, apart=64)
        yield _case(rng, f"codes_bias_stride_rows{rows}", "Q8_0", rows, 40, 64, "i8", "bf16", bias=1, stride=96)
        for weight in ("Q4_0", "Q4_1", "Q8_0"):
            yield _case(rng, f"{weight.lower()}_codes_exact_scales_rows{rows}", weight, rows, 70, 96, "i8", "f32", octaves=0)
        yield _case(rng, f"codes_exact_scales_two_terms_rows{rows}", "Q4_1", rows, 70, 96, "i8", "f32", terms=2, octaves=0)
        for octaves in (0, 1):
            for second_from in (32, 64):
                name = f"codes_second_from_{second_from}_octaves{octaves}_rows{rows}"
                yield _case(rng, name, "Q4_1", rows, 70, 160, "i8", "f32", terms=2, second_from=second_from, octaves=octaves)
        for weight in ("Q4_0", "Q4_1", "Q8_0_U8", "Q4_K"):
            k = 512 if weight == "Q4_K" else 576
            yield _case(rng, f"{weight.lower()}_pairs_rows{rows}", weight, rows, 70, k, "i8", "f32", paired=1)
            for name, more in (("parts", {"octaves": 0}), ("two_terms", {"terms": 2, "second_from": 32})):
                name = f"{weight.lower()}_pairs_{name}_rows{rows}"
                yield _case(rng, name, weight, rows, 70, k, "i8", "f32", paired=1, **more)
        yield _case(rng, f"pairs_spans_rows{rows}", "Q4_1", rows, 64, 1280, "i8", "f32", residual=1, paired=1)
        for paired_out in (0, 1):
            name = f"pairs_gate_out{paired_out}_rows{rows}"
            yield _case(rng, name, "Q4_1", rows, 96, 64, "i8", "i8", gate=1, paired=1, paired_out=paired_out)
    yield _case(rng, "tiny", "f32", 1, 1, 1)
    yield _case(rng, "all_epilogues", "Q4_0", 6, 70, 96, "f32", "f32", gate=1, bias=1, residual=1, stride=80)
    yield _case(rng, "f16_activations", "f16", 33, 70, 96, "f16", "f16")
    yield _case(rng, "wide", "Q4_1", 1, 1536, 576, "bf16", "bf16", gate=1)
