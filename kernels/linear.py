"""Linear layers: y = x W^T over every weight format, with what follows it fused.

One kernel reads the panels of quant.py. Three regimes, chosen by tile constants:
  - DOT = 0, one row: weights are taken from their words straight into registers and multiplied in f32;
    each group is summed before its scale is applied.
  - DOT = 1, many rows: a [BLOCK_K, BLOCK_N] tile of weights is brought to x's type once and used for
    BLOCK_M rows by a matrix product that accumulates in f32.
  - DOT = 2, x as 8-bit codes and weights as 4- or 8-bit ones: each group's product is summed in integers, and
    both scales are applied to the sum. Any number of rows gives a row the same result. DOT = 3 is the same
    without matrix instructions, for targets whose instructions take more columns than a group has.
  - DOT = 4, as 1 for k that is a multiple of BLOCK_K, with every word and scale loaded once: what GPUs want.
With x in f32 every product is of exact f32 weights; with bf16 x, DOT = 1 rounds a weight to bf16.
"""

from __future__ import annotations

import math

import numpy as np
import triton
import triton.language as tl

from kernels import quant_reference
from kernels.activation_codes import (
    CODE_TOLERANCE,
    SECOND,
    TERMS,
    encode,
    encode_groups,
    planes_for,
    sums_tolerance,
)
from kernels.dtypes import round_to
from kernels.quant import CODE_DTYPES, word_element
from kernels.quant_reference import FORMATS, dense_key
from kernels.spec import FLOATS, I32, Case, DType, Flag, Int, Kernel, Ptr, Tolerance

GATE_NONE, GATE_SILU, GATE_GELU_TANH, GATE_GELU_ERF = 0, 1, 2, 3


@triton.jit
def _row_times_panels(
    x, codes, scales, mins, row, panel, lane,
    k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """[1, BLOCK_N] f32 without a matrix product, for the row of index `row`; `panel` is a scalar or, as `lane`,
    [BLOCK_N]."""
    PER_WORD: tl.constexpr = 32 // bits
    STEP: tl.constexpr = group if group > 0 else 32
    WORDS: tl.constexpr = STEP // PER_WORD
    STEPS: tl.constexpr = (k + STEP - 1) // STEP
    K_WORDS: tl.constexpr = (k + 31) // 32 * 32 // PER_WORD
    word = tl.arange(0, WORDS)
    i = tl.arange(0, PER_WORD)
    word_at = codes + (panel * (K_WORDS * 32) + lane)[None, None, :] + (word * 32)[:, None, None]
    scale_at = scales + panel * (STEPS * 32) + lane
    min_at = mins + panel * (STEPS * 32) + lane
    column = word[:, None] * PER_WORD + i[None, :]
    x_at = x + row.to(tl.int64) * k
    acc = tl.zeros((BLOCK_N,), dtype=tl.float32)
    for step in range(0, STEPS):
        value = word_element(tl.load(word_at + step * (WORDS * 32)), i[None, :, None], bits, code_dtype)
        if k % STEP != 0:
            xs = tl.load(x_at + step * STEP + column, mask=column + step * STEP < k, other=0.0).to(tl.float32)
        else:
            xs = tl.load(x_at + step * STEP + column).to(tl.float32)
        part = tl.sum(tl.sum(value * xs[:, :, None], axis=1), axis=0)
        if group > 0:
            scale = tl.load(scale_at + step * 32).to(tl.float32)
            if zero != 0 or has_min:
                x_sum = tl.sum(tl.load(x_at + step * STEP + tl.arange(0, STEP)).to(tl.float32), axis=0)
            if zero != 0:
                part -= zero * x_sum
            part *= scale
            if has_min:
                part += tl.load(min_at + step * 32).to(tl.float32) * x_sum
        acc += part
    return acc[None, :]


@triton.jit
def _integer_product(x, w):
    """i32 [rows, lanes] of i8 [rows, group] and [group, lanes]."""
    return tl.sum(x.to(tl.int32)[:, :, None] * w.to(tl.int32)[None, :, :], axis=1)


@triton.jit
def _rows_times_codes(
    x, x_scales, x_sums, codes, scales, mins, row, row_inside, panel,
    terms: tl.constexpr, k: tl.constexpr, bits: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, DOT: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """[BLOCK_M, 32] f32 for x as codes (activation_codes.py) and one panel of 4- or 8-bit codes: per group of
    columns an exact integer product, then both scales. The words lie as an instruction that multiplies four
    neighbouring bytes wants them."""
    WORDS: tl.constexpr = group * bits // 32
    GROUPS: tl.constexpr = k // group
    lane = tl.arange(0, 32)
    byte_at = (codes + panel * (k * bits // 32 * 32)).to(tl.pointer_type(tl.int8), bitcast=True)
    byte_at = byte_at + tl.arange(0, WORDS)[:, None] * 128 + tl.arange(0, 128)[None, :]
    half = (tl.arange(0, 2) * 4).to(tl.int8)
    scale_at = scales + panel * (GROUPS * 32) + lane
    min_at = mins + panel * (GROUPS * 32) + lane
    x_at = x + row.to(tl.int64)[:, None] * (terms * k) + tl.arange(0, group)[None, :]
    x_scale_at = x_scales + row.to(tl.int64) * (k // 32)
    x_sum_at = x_sums + row.to(tl.int64) * (k // 32)
    acc = tl.zeros((BLOCK_M, 32), dtype=tl.float32)
    for g in range(0, GROUPS):
        byte = tl.load(byte_at + g * (WORDS * 128))
        if bits == 4:
            code = (byte[:, None, :] >> half[None, :, None]) & 15
            code = tl.reshape(code, (WORDS, 2, 32, 4))
            code = tl.reshape(tl.permute(code, (0, 1, 3, 2)), (group, 32))
        else:
            if has_min:
                byte = byte & 127  # no code is negative
            code = tl.reshape(byte, (WORDS, 32, 4))
            code = tl.reshape(tl.permute(code, (0, 2, 1)), (group, 32))
        if BLOCK_M == 1:  # every program has a row
            xs = tl.load(x_at + g * group)
            x_scale = tl.load(x_scale_at + g * group // 32)
        else:
            xs = tl.load(x_at + g * group, mask=row_inside[:, None], other=0)
            x_scale = tl.load(x_scale_at + g * group // 32, mask=row_inside, other=0.0)
        if DOT == 2:
            product = tl.dot(xs, code)
        else:
            product = _integer_product(xs, code)
        if terms == 2:
            if BLOCK_M == 1:
                xs = tl.load(x_at + k + g * group)
            else:
                xs = tl.load(x_at + k + g * group, mask=row_inside[:, None], other=0)
            if DOT == 2:
                product = tl.dot(xs, code, product * SECOND)
            else:
                product = product * SECOND + _integer_product(xs, code)
        scale = tl.load(scale_at + g * 32).to(tl.float32)
        acc += product.to(tl.float32) * (x_scale[:, None] * scale[None, :])
        if zero != 0 or has_min:
            tl.static_assert(group == 32)
            if BLOCK_M == 1:
                x_sum = tl.load(x_sum_at + g)
            else:
                x_sum = tl.load(x_sum_at + g, mask=row_inside, other=0.0)
            offset = scale * (0.0 - zero)
            if has_min:
                offset = tl.load(min_at + g * 32).to(tl.float32) + offset
            acc += offset[None, :] * x_sum[:, None]
    return acc


@triton.jit
def _half_tile(codes, k0, panel, k: tl.constexpr, BLOCK_K: tl.constexpr, code_dtype: tl.constexpr):
    """As weight_tile for one panel of 16-bit weights, unchanged: a word is two columns of a row, as an instruction
    that multiplies pairs wants them."""
    K_WORDS: tl.constexpr = (k + 31) // 32 * 32 // 2
    at = (codes + panel * (K_WORDS * 32) + k0 // 2 * 32).to(tl.pointer_type(code_dtype), bitcast=True)
    value = tl.load(at + tl.arange(0, BLOCK_K // 2)[:, None] * 64 + tl.arange(0, 64)[None, :])
    value = tl.permute(tl.reshape(value, (BLOCK_K // 2, 32, 2)), (0, 2, 1))
    return tl.reshape(value, (BLOCK_K, 32))


@triton.jit
def weight_tile(
    codes, scales, mins, k0, panel, lane,
    k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Columns k0 .. k0 + BLOCK_K of the rows `panel`, `lane` as f32 [BLOCK_K, rows]; k0 % BLOCK_K == 0."""
    PER_WORD: tl.constexpr = 32 // bits
    K_WORDS: tl.constexpr = (k + 31) // 32 * 32 // PER_WORD
    kk = tl.arange(0, BLOCK_K)
    at = codes + (panel * (K_WORDS * 32) + lane)[None, :] + (k0 // PER_WORD * 32 + kk // PER_WORD * 32)[:, None]
    value = word_element(tl.load(at), (kk % PER_WORD)[:, None], bits, code_dtype)
    if group > 0:
        offset = (panel * (k // group * 32) + lane)[None, :] + (k0 // group * 32 + kk // group * 32)[:, None]
        if zero != 0:
            value -= zero
        value *= tl.load(scales + offset).to(tl.float32)
        if has_min:
            value += tl.load(mins + offset).to(tl.float32)
    return value


@triton.jit
def weight_tile_by_words(
    codes, scales, mins, k0, panel, lane,
    k: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr,
    has_min: tl.constexpr, dtype: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The same in `dtype`, with every word and every scale loaded once."""
    PER_WORD: tl.constexpr = 32 // bits
    WORDS: tl.constexpr = BLOCK_K // PER_WORD
    K_WORDS: tl.constexpr = (k + 31) // 32 * 32 // PER_WORD
    word = k0 // PER_WORD + tl.arange(0, WORDS)
    words = tl.load(codes + (panel * (K_WORDS * 32) + lane)[None, :] + (word * 32)[:, None])
    i = tl.arange(0, PER_WORD)[None, :, None]
    if bits == 16 and code_dtype == dtype:
        value = (words[:, None, :] >> (16 * i)).to(tl.int16).to(dtype, bitcast=True)
        return tl.reshape(value, (BLOCK_K, BLOCK_N))
    value = word_element(words[:, None, :], i, bits, code_dtype)
    if group > 0:
        GROUPS: tl.constexpr = BLOCK_K // group
        value = tl.reshape(value, (GROUPS, group, BLOCK_N))
        offset = (panel * (k // group * 32) + lane)[None, :] + ((k0 // group + tl.arange(0, GROUPS)) * 32)[:, None]
        if zero != 0:
            value -= zero
        value *= tl.load(scales + offset).to(tl.float32)[:, None, :]
        if has_min:
            value += tl.load(mins + offset).to(tl.float32)[:, None, :]
    return tl.reshape(value.to(dtype), (BLOCK_K, BLOCK_N))


@triton.jit
def _activate(v, gate: tl.constexpr):
    if gate == 1:
        return v / (1.0 + tl.exp(0.0 - v))
    elif gate == 2:
        inner = 0.7978845608028654 * (v + 0.044715 * v * v * v)
        return v / (1.0 + tl.exp(-2.0 * inner))  # 0.5 v (1 + tanh(inner))
    else:
        return 0.5 * v * (1.0 + tl.erf(v * 0.7071067811865476))


@triton.jit
def linear_kernel(
    x, x_scales, x_sums, codes, scales, mins, codes2, scales2, mins2, bias, out, out_scales, out_sums, rows,
    out_dtype: tl.constexpr, terms: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr, zero: tl.constexpr, group: tl.constexpr, has_min: tl.constexpr,
    n: tl.constexpr, k: tl.constexpr, out_stride: tl.constexpr, has_bias: tl.constexpr, residual: tl.constexpr,
    gate: tl.constexpr, DOT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    blocks_m = tl.cdiv(rows, BLOCK_M)
    block_n = pid // blocks_m  # neighbours share weights
    row = (pid % blocks_m) * BLOCK_M + tl.arange(0, BLOCK_M)
    row_inside = row < rows
    local = tl.arange(0, BLOCK_N)
    if BLOCK_N == 32:
        panel = block_n.to(tl.int64)
        lane = local
    else:
        # Past the last panel read it again; nothing of that is stored.
        panel = tl.minimum(block_n * (BLOCK_N // 32) + local // 32, (n + 31) // 32 - 1).to(tl.int64)
        lane = local % 32
    if DOT == 2 or DOT == 3:
        tl.static_assert(BLOCK_N == 32)
        acc = _rows_times_codes(
            x, x_scales, x_sums, codes, scales, mins, row, row_inside, panel,
            terms, k, bits, zero, group, has_min, DOT, BLOCK_M,
        )  # fmt: skip
        if gate != 0:
            up = _rows_times_codes(
                x, x_scales, x_sums, codes2, scales2, mins2, row, row_inside, panel,
                terms, k, bits, zero, group, has_min, DOT, BLOCK_M,
            )  # fmt: skip
    elif DOT == 1:
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        up = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        kk = tl.arange(0, BLOCK_K)
        x_at = x + row.to(tl.int64)[:, None] * k + kk[None, :]
        for k0 in range(0, (k + 31) // 32 * 32, BLOCK_K):
            inside = row_inside[:, None]
            if k % BLOCK_K != 0:
                inside = inside & (k0 + kk < k)[None, :]
            xs = tl.load(x_at + k0, mask=inside, other=0.0)
            if x.dtype.element_ty == code_dtype and bits == 16 and BLOCK_N == 32:
                w = _half_tile(codes, k0, panel, k, BLOCK_K, code_dtype)
            else:
                w = weight_tile(
                    codes, scales, mins, k0, panel, lane, k, bits, code_dtype, zero, group, has_min, BLOCK_K
                )
            acc = tl.dot(xs, w.to(xs.dtype), acc, input_precision="ieee")
            if gate != 0:
                if x.dtype.element_ty == code_dtype and bits == 16 and BLOCK_N == 32:
                    w = _half_tile(codes2, k0, panel, k, BLOCK_K, code_dtype)
                else:
                    w = weight_tile(
                        codes2, scales2, mins2, k0, panel, lane, k, bits, code_dtype, zero, group, has_min, BLOCK_K
                    )
                up = tl.dot(xs, w.to(xs.dtype), up, input_precision="ieee")
    elif DOT == 4:
        tl.static_assert(k % BLOCK_K == 0)
        acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        up = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
        kk = tl.arange(0, BLOCK_K)
        x_at = x + row.to(tl.int64)[:, None] * k + kk[None, :]
        for k0 in range(0, k, BLOCK_K):
            xs = tl.load(x_at + k0, mask=row_inside[:, None], other=0.0)
            w = weight_tile_by_words(
                codes, scales, mins, k0, panel, lane, k, bits, code_dtype, zero, group, has_min,
                xs.dtype, BLOCK_K, BLOCK_N,
            )  # fmt: skip
            acc = tl.dot(xs, w, acc, input_precision="ieee")
            if gate != 0:
                w = weight_tile_by_words(
                    codes2, scales2, mins2, k0, panel, lane, k, bits, code_dtype, zero, group, has_min,
                    xs.dtype, BLOCK_K, BLOCK_N,
                )  # fmt: skip
                up = tl.dot(xs, w, up, input_precision="ieee")
    else:
        tl.static_assert(BLOCK_M == 1)
        first = pid % blocks_m
        acc = _row_times_panels(
            x, codes, scales, mins, first, panel, lane, k, bits, code_dtype, zero, group, has_min, BLOCK_N
        )
        if gate != 0:
            up = _row_times_panels(
                x, codes2, scales2, mins2, first, panel, lane, k, bits, code_dtype, zero, group, has_min, BLOCK_N
            )
    if gate != 0:
        acc = _activate(acc, gate) * up
    column = block_n * BLOCK_N + local
    if has_bias:
        acc += tl.load(bias + column, mask=column < n, other=0.0)[None, :]
    out_at = out + row.to(tl.int64)[:, None] * out_stride + column[None, :]
    inside = row_inside[:, None] & (column < n)[None, :]
    if residual:
        acc += tl.load(out_at, mask=inside, other=0.0).to(tl.float32)
    if out_dtype == tl.int8:
        tl.static_assert(BLOCK_N == 32 and n % 32 == 0 and not residual)
        code, _, scale, total = encode_groups(acc, 1)
        tl.store(out_at, code, mask=inside)
        group_at = row.to(tl.int64) * (n // 32) + block_n
        tl.store(out_scales + group_at, scale, mask=row_inside)
        tl.store(out_sums + group_at, total, mask=row_inside)
    else:
        tl.store(out_at, acc.to(out.dtype.element_ty), mask=inside)


# --- reference --------------------------------------------------------------------------------------


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
    if key["group"]:
        widen = lambda p: np.repeat(p.astype(np.float64).transpose(0, 2, 1).reshape(value.shape[0], -1), key["group"], 1)
        value = (value - key["zero"]) * widen(scales)
        if key["has_min"]:
            value = value + widen(mins)
    return value[: key["n"], : key["k"]]


def linear_reference(key, args):
    rows, n = args["rows"], key["n"]
    x = args["x"][:rows].astype(np.float64)
    if key["x_dtype"] == "i8":
        if key["terms"] == 2:
            x = 254 * x[:, : key["k"]] + x[:, key["k"] :]
        x = x * np.repeat(args["x_scales"][:rows].astype(np.float64), 32, axis=1)
    y = x @ weight_from_planes(key, args["codes"], args["scales"], args["mins"]).T
    if key["gate"]:
        up = x @ weight_from_planes(key, args["codes2"], args["scales2"], args["mins2"]).T
        y = _activation(y, key["gate"]) * up
    if key["has_bias"]:
        y = y + args["bias"][:n]
    out = args["out"].copy()
    if key["out_dtype"] == "i8":
        made = encode(y)
        scales, sums = args["out_scales"].copy(), args["out_sums"].copy()
        out[:rows, :n], scales[:rows], sums[:rows] = made["codes"], made["scales"], made["sums"]
        return {"out": out, "out_scales": scales, "out_sums": sums}
    out[:rows, :n] = y + (out[:rows, :n] if key["residual"] else 0)
    return {"out": out}


def _activation(v, gate):
    if gate == GATE_SILU:
        return v / (1 + np.exp(-v))
    if gate == GATE_GELU_TANH:
        return 0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
    return 0.5 * v * (1 + np.vectorize(math.erf)(v / math.sqrt(2)))


# --- cases ------------------------------------------------------------------------------------------


def _planes(rng, name: str, n: int, k: int) -> dict[str, np.ndarray | None]:
    if name in FORMATS:
        return quant_reference.pack_blocks(name, quant_reference.random_raw(rng, name, n, k))
    values = round_to((rng.standard_normal((n, k)) / math.sqrt(k)).astype(np.float32), name)
    bits = values.view(np.uint32)
    if name == "bf16":
        bits = (bits >> 16).astype(np.uint16)
    elif name == "f16":
        bits = values.astype(np.float16).view(np.uint16)
    return {"codes": quant_reference.pack_dense(bits), "scales": None, "mins": None}


def _case(rng, name, weight, rows, n, k, x_dtype="f32", out_dtype="f32", gate=0, bias=0, residual=0, stride=None,
          terms=1):
    key = {"x_dtype": x_dtype, "out_dtype": out_dtype, "terms": terms}
    key |= FORMATS[weight].linear_key() if weight in FORMATS else dense_key(weight)
    key |= {"n": n, "k": k, "out_stride": stride or n, "has_bias": bias, "residual": residual, "gate": gate}
    first = _planes(rng, weight, n, k)
    second = _planes(rng, weight, n, k) if gate else dict.fromkeys(("codes", "scales", "mins"))
    args = {"x": rng.standard_normal((rows, k), dtype=np.float32), "x_scales": None, "x_sums": None}
    if x_dtype == "i8":
        made = encode(args["x"], terms)
        args |= {"x": made["codes"].astype(np.int8), "x_scales": made["scales"], "x_sums": made["sums"]}
    args |= first | {f"{plane}2": value for plane, value in second.items()}
    args["bias"] = rng.standard_normal(n, dtype=np.float32) if bias else None
    args |= {"out": rng.standard_normal((rows + 1, stride or n), dtype=np.float32), "out_scales": None, "out_sums": None}
    if out_dtype == "i8":
        planes = planes_for(rows + 1, n)
        args |= {"out": planes["codes"], "out_scales": planes["scales"], "out_sums": planes["sums"]}
    args["rows"] = rows
    # Sums of k products of unit size and weights of size `scale`; bf16 products round the weight to 8 bits.
    weights = weight_from_planes(key, *(first[p] for p in ("codes", "scales", "mins")))
    size = float(np.sqrt((weights**2).sum(axis=1)).max()) * (3.0 if gate else 1.0)
    relative = {"f32": 2e-6, "bf16": 6e-3, "f16": 1e-3, "i8": 4e-6}[x_dtype]
    tolerance = {"out": CODE_TOLERANCE, "out_scales": Tolerance(1e-6, 1e-4), "out_sums": sums_tolerance(np.array([size]))}
    if out_dtype != "i8":
        out_relative = {"f32": 1e-6, "bf16": 8e-3, "f16": 1e-3}[out_dtype]
        tolerance = {"out": Tolerance(3 * relative * max(size, 0.1), out_relative)}
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
        yield _case(rng, f"residual_rows{rows}", "Q4_1", rows, 64, 576, "bf16", "f32", residual=1)
        yield _case(rng, f"bias_stride_rows{rows}", "Q8_0", rows, 40, 64, "bf16", "bf16", bias=1, stride=96)
        for gate in (GATE_SILU, GATE_GELU_TANH, GATE_GELU_ERF):
            yield _case(rng, f"gate{gate}_rows{rows}", "Q4_1", rows, 96, 64, "bf16", "bf16", gate=gate)
    for weight in FORMATS:
        k = 512 if weight.endswith("_K") else 96
        for rows in (1, 5, 19):
            yield _case(rng, f"{weight.lower()}_codes_rows{rows}", weight, rows, 70, k, "i8", "f32")
    for rows in (1, 2, 8, 17, 130):
        yield _case(rng, f"codes_residual_rows{rows}", "Q4_1", rows, 64, 576, "i8", "f32", residual=1)
        yield _case(rng, f"codes_two_terms_rows{rows}", "Q4_1", rows, 70, 160, "i8", "f32", terms=2)
        yield _case(rng, f"codes_two_terms_head_rows{rows}", "Q8_0", rows, 70, 160, "i8", "f32", terms=2)
        yield _case(rng, f"codes_gate_rows{rows}", "Q4_1", rows, 96, 64, "i8", "i8", gate=1)
        yield _case(rng, f"codes_bias_stride_rows{rows}", "Q8_0", rows, 40, 64, "i8", "bf16", bias=1, stride=96)
    yield _case(rng, "tiny", "f32", 1, 1, 1)
    yield _case(rng, "all_epilogues", "Q4_0", 6, 70, 96, "f32", "f32", gate=1, bias=1, residual=1, stride=80)
    yield _case(rng, "f16_activations", "f16", 33, 70, 96, "f16", "f16")
    yield _case(rng, "wide", "Q4_1", 1, 1536, 576, "bf16", "bf16", gate=1)


LINEAR = Kernel(
    name="linear",
    doc="out[r, :n] = act(x[r, :] W^T) * (x[r, :] W2^T) + bias (+ out[r, :n]), W [n, k] in the panels of quant.py; "
    "gate 0 leaves out act and W2",
    fn=linear_kernel,
    key=[
        DType("x_dtype", allowed=(*FLOATS, "i8"), doc="i8: codes as activation_codes.py has them"),
        DType("out_dtype", allowed=(*FLOATS, "i8"), doc="i8 too, of one term; then n is a multiple of 32"),
        TERMS,
        Int("bits", doc="of a code: 4, 8, or 16 and 32 for unquantised weights"),
        DType("code_dtype", allowed=CODE_DTYPES, doc="u8 unsigned, i8 signed codes; or the weight's float type"),
        Int("zero", doc="subtracted from codes"),
        Int("group", doc="columns that share a scale; 0: no scales"),
        DType("scale_dtype", allowed=("f16", "f32")),
        Flag("has_min"), Int("n", min=1), Int("k", min=1),
        Int("out_stride", min=1, doc="elements between rows of out"),
        Flag("has_bias"), Flag("residual", doc="adds to what out holds"),
        Int("gate", max=3, doc="0 none, 1 SiLU, 2 GELU (tanh), 3 GELU (erf)"),
    ],
    args=[
        Ptr("x", "x_dtype", "read", shape="rows, terms, k"),
        Ptr("x_scales", "f32", "read", shape="rows, k / 32", optional="x_dtype is i8"),
        Ptr("x_sums", "f32", "read", shape="rows, k / 32", optional="x_dtype is i8"),
        Ptr("codes", "i32", "read", shape="n_pad / 32, k_pad / per_word, 32"),
        Ptr("scales", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="group"),
        Ptr("mins", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="has_min"),
        Ptr("codes2", "i32", "read", shape="n_pad / 32, k_pad / per_word, 32", optional="gate"),
        Ptr("scales2", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="gate"),
        Ptr("mins2", "scale_dtype", "read", shape="n_pad / 32, k / group, 32", optional="gate"),
        Ptr("bias", "f32", "read", shape="n", optional="has_bias"),
        Ptr("out", "out_dtype", "readwrite", shape="rows, out_stride"),
        Ptr("out_scales", "f32", "write", shape="rows, n / 32", optional="out_dtype is i8"),
        Ptr("out_sums", "f32", "write", shape="rows, n / 32", optional="out_dtype is i8"),
        I32("rows"),
    ],
    grid="ceil_div(rows, BLOCK_M) * ceil_div(n, BLOCK_N)",
    select="rows",
    reference=linear_reference,
    cases=linear_cases,
    default_tiles=[
        {"when": "x_dtype == 'i8' and group < 32", "DOT": 3, "BLOCK_M": 8, "BLOCK_N": 32, "BLOCK_K": 32, "num_warps": 4},
        {"max": 16, "when": "x_dtype == 'i8'", "DOT": 2, "BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 32, "num_warps": 2},
        {"when": "x_dtype == 'i8'", "DOT": 2, "BLOCK_M": 64, "BLOCK_N": 32, "BLOCK_K": 32, "num_warps": 4},
        {"max": 16, "DOT": 1, "BLOCK_M": 16, "BLOCK_N": 64, "BLOCK_K": 32, "num_warps": 4},
        {"DOT": 1, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 32, "num_warps": 4},
    ],
)  # fmt: skip

KERNELS = [LINEAR]
