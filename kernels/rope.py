"""Rotary position embedding: the cos/sin tables, and one launch that rotates q and k of every token
row and writes k and v to the paged cache.

Every scaling scheme (linear, llama3, YaRN) changes only the small inverse-frequency array and the
attention scale that the host passes to `rope_table`."""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels.float8 import narrow
from kernels.kv_pages import PACK_DOC, pack_keys, pack_values, unpack_keys, unpack_values
from kernels.spec import FLOATS, F32, I32, Case, Cost, DType, Flag, Int, Kernel, Ptr, Tolerance


@triton.jit
def rope_table_kernel(
    inv_freq,
    cos,
    sin,
    positions,
    attention_scale,
    half: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    first = tl.program_id(0) * ROWS
    column = tl.arange(0, BLOCK)
    inside = column < half
    frequency = tl.load(inv_freq + column, mask=inside, other=0.0)
    for position in range(first, tl.minimum(first + ROWS, positions)):
        angle = position.to(tl.float32) * frequency
        offset = position.to(tl.int64) * half + column
        tl.store(cos + offset, tl.cos(angle) * attention_scale, mask=inside)
        tl.store(sin + offset, tl.sin(angle) * attention_scale, mask=inside)


@triton.jit
def _place(element, pack: tl.constexpr, group_stride: tl.constexpr):
    """Where element `element` of a head lies: `pack` in a row, then `group_stride` further; pack 0: all in a row."""
    if pack == 0:
        place = element
    else:
        place = element // pack * group_stride + element % pack
    return place


@triton.jit
def _rotate_heads(
    source, target, target_stride, first_head, heads, norm_weight, cos, sin, eps,
    head_dim: tl.constexpr, rotary_dim: tl.constexpr, interleaved: tl.constexpr, has_norm: tl.constexpr,
    pack: tl.constexpr, group_stride: tl.constexpr, HEADS: tl.constexpr, HALF: tl.constexpr, HEAD: tl.constexpr,
):  # fmt: skip
    """Heads first_head to first_head + HEADS, those below `heads`: target[head * target_stride :] at the elements' places
    = rotation of source[head * head_dim :][:head_dim], normalised first where has_norm. cos, sin: (rotary_dim / 2) of
    the row's position."""
    half: tl.constexpr = rotary_dim // 2
    if interleaved:
        # Every element with its partner in the other half of its pair: contiguous apart from a swap.
        pair = tl.arange(0, HALF)[:, None]
        member = tl.arange(0, 2)[None, :]
        first = tl.arange(0, 2 * HALF)
        in_first = first < rotary_dim
        second = tl.reshape(2 * pair + 1 - member, [2 * HALF])
        frequency = tl.reshape(pair + 0 * member, [2 * HALF])
    else:
        first = tl.arange(0, HALF)
        in_first = first < half
        second = first + half
        frequency = first
    c = tl.load(cos + frequency, mask=in_first, other=0.0)[None, :]
    s = tl.load(sin + frequency, mask=in_first, other=0.0)[None, :]
    if interleaved:
        s = tl.where((first < second)[None, :], -s, s)
    head = first_head + tl.arange(0, HEADS)[:, None]
    source += head * head_dim
    target += head * target_stride
    inside = in_first[None, :]
    if HEADS > 1:  # else every head of the loop is one
        inside = inside & (head < heads)
    x = tl.load(source + first[None, :], mask=inside, other=0.0).to(tl.float32)
    y = tl.load(source + second[None, :], mask=inside, other=0.0).to(tl.float32)
    if rotary_dim < head_dim:
        element = tl.arange(0, HEAD)
        in_rest = (element >= rotary_dim) & (element < head_dim)
        inside_rest = in_rest[None, :]
        if HEADS > 1:
            inside_rest = inside_rest & (head < heads)
        rest = tl.load(source + element[None, :], mask=inside_rest, other=0.0).to(tl.float32)
    if has_norm:
        total = tl.sum(x * x, axis=1)
        if not interleaved:
            total += tl.sum(y * y, axis=1)
        if rotary_dim < head_dim:
            total += tl.sum(rest * rest, axis=1)
        scale = tl.rsqrt(total / head_dim + eps)[:, None]
        x = x * scale * tl.load(norm_weight + first, mask=in_first, other=0.0).to(tl.float32)[None, :]
        y = y * scale * tl.load(norm_weight + second, mask=in_first, other=0.0).to(tl.float32)[None, :]
    if interleaved:
        tl.store(target + _place(first, pack, group_stride)[None, :], narrow(x * c + y * s, target.dtype.element_ty), mask=inside)
    else:
        tl.store(target + _place(first, pack, group_stride)[None, :], narrow(x * c - y * s, target.dtype.element_ty), mask=inside)
        tl.store(target + _place(second, pack, group_stride)[None, :], narrow(y * c + x * s, target.dtype.element_ty), mask=inside)
    if rotary_dim < head_dim:
        if has_norm:
            rest = rest * scale * tl.load(norm_weight + element, mask=in_rest, other=0.0).to(tl.float32)[None, :]
        tl.store(target + _place(element, pack, group_stride)[None, :], narrow(rest, target.dtype.element_ty), mask=inside_rest)


@triton.jit
def rope_kv_write_kernel(
    qkv, q_out, k_cache, v_cache, positions, slots, cos, sin, q_norm, k_norm, rows, qkv_stride, q_stride, num_pages, eps,
    q_heads: tl.constexpr, kv_heads: tl.constexpr, head_dim: tl.constexpr, rotary_dim: tl.constexpr,
    page_size: tl.constexpr, kv_pack: tl.constexpr, interleaved: tl.constexpr, has_qk_norm: tl.constexpr,
    ROWS: tl.constexpr, HEADS: tl.constexpr, HALF: tl.constexpr, HEAD: tl.constexpr,
):  # fmt: skip
    first_row = tl.program_id(0) * ROWS
    element = tl.arange(0, HEAD)[None, :]
    for row in range(first_row, tl.minimum(first_row + ROWS, rows)):
        table = tl.load(positions + row).to(tl.int64) * (rotary_dim // 2)
        source = qkv + row.to(tl.int64) * qkv_stride
        for head in range(0, q_heads, HEADS):
            _rotate_heads(
                source, q_out + row.to(tl.int64) * q_stride, head_dim, head, q_heads, q_norm,
                cos + table, sin + table, eps, head_dim, rotary_dim, interleaved, has_qk_norm, 0, 1, HEADS, HALF, HEAD,
            )  # fmt: skip
        slot = tl.load(slots + row)
        if slot >= 0:
            page, in_page = slot // page_size, slot % page_size
            k_source = source + q_heads * head_dim
            v_source = k_source + kv_heads * head_dim
            first = page.to(tl.int64) * (page_size * head_dim)  # of the page
            target_stride = num_pages.to(tl.int64) * (page_size * head_dim)
            if kv_pack == 0:
                k_target = first + in_page * head_dim
                v_target = k_target + element
            else:
                k_target = first + in_page * kv_pack
                v_target = first + (in_page // kv_pack * (head_dim * kv_pack) + in_page % kv_pack) + element * kv_pack
            for head in range(0, kv_heads, HEADS):
                _rotate_heads(
                    k_source, k_cache + k_target, target_stride, head, kv_heads, k_norm, cos + table, sin + table, eps,
                    head_dim, rotary_dim, interleaved, has_qk_norm, kv_pack, page_size * kv_pack, HEADS, HALF, HEAD,
                )  # fmt: skip
                heads = head + tl.arange(0, HEADS)[:, None]
                inside = element < head_dim
                if HEADS > 1:
                    inside = inside & (heads < kv_heads)
                v = tl.load(v_source + heads * head_dim + element, mask=inside, other=0.0)
                v = narrow(v.to(tl.float32), v_cache.dtype.element_ty)
                tl.store(v_cache + v_target + heads * target_stride, v, mask=inside)


# --- references -----------------------------------------------------------------------------------


def rope_table_reference(key, args):
    angle = (
        np.arange(args["positions"], dtype=np.float32)[:, None] * args["inv_freq"]
    )  # rounded to f32
    cos, sin = args["cos"].copy(), args["sin"].copy()
    cos[: args["positions"]] = np.cos(angle.astype(np.float64)) * args["attention_scale"]
    sin[: args["positions"]] = np.sin(angle.astype(np.float64)) * args["attention_scale"]
    return {"cos": cos, "sin": sin}


def _rotate(x, cos, sin, key, norm_weight, eps):
    """x (heads, head_dim) -> the same, normalised and rotated; cos, sin (rotary_dim / 2)."""
    x = x.astype(np.float64)
    if key["has_qk_norm"]:
        x = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * norm_weight
    half = key["rotary_dim"] // 2
    pair = np.arange(half)
    first, second = (2 * pair, 2 * pair + 1) if key["interleaved"] else (pair, pair + half)
    out = x.copy()
    out[:, first] = x[:, first] * cos - x[:, second] * sin
    out[:, second] = x[:, second] * cos + x[:, first] * sin
    return out


def rope_kv_write_reference(key, args):
    q_heads, kv_heads, dim = key["q_heads"], key["kv_heads"], key["head_dim"]
    q_out = args["q_out"].copy()
    k_cache = unpack_keys(args["k_cache"], key["kv_pack"]).copy()
    v_cache = unpack_values(args["v_cache"], key["kv_pack"]).copy()
    for row in range(args["rows"]):
        line = (
            args["qkv"]
            .reshape(-1)[row * args["qkv_stride"] :][: (q_heads + 2 * kv_heads) * dim]
            .reshape(-1, dim)
        )
        cos, sin = args["cos"][args["positions"][row]], args["sin"][args["positions"][row]]
        q = _rotate(line[:q_heads], cos, sin, key, args["q_norm"], args["eps"])
        q_out.reshape(-1)[row * args["q_stride"] :][: q_heads * dim] = q.reshape(-1)
        slot = args["slots"][row]
        if slot < 0:
            continue
        page, in_page = divmod(int(slot), key["page_size"])
        k = line[q_heads : q_heads + kv_heads]
        k_cache[:, page, in_page] = _rotate(k, cos, sin, key, args["k_norm"], args["eps"])
        v_cache[:, page, in_page] = line[q_heads + kv_heads :]
    return {
        "q_out": q_out,
        "k_cache": pack_keys(k_cache, key["kv_pack"]),
        "v_cache": pack_values(v_cache, key["kv_pack"]),
    }


# --- cases ----------------------------------------------------------------------------------------


def rope_table_cases():
    for name, half, positions, base, scale in (
        ("smollm2", 32, 70, 1e5, 1.0),
        ("one_position", 64, 1, 1e4, 1.0),
        ("odd_half_scaled", 10, 33, 1e4, 1.1386),
        ("far_positions", 4, 9000, 1e6, 1.0),
    ):
        inv_freq = (base ** -(np.arange(half) / half)).astype(np.float32)
        yield Case(
            name=name,
            key={"half": half},
            args={
                "inv_freq": inv_freq,
                "cos": np.full((positions + 1, half), -7, np.float32),
                "sin": np.full((positions + 1, half), -7, np.float32),
                "positions": positions,
                "attention_scale": scale,
            },
            tolerance={"cos": Tolerance(2e-6), "sin": Tolerance(2e-6)},
        )


# name, rows, (q heads, kv heads, head dim, rotary dim), page size, qkv/q/cache dtypes, interleaved,
# qk norm
_ROPE = [
    ("smollm2_decode", 1, (9, 3, 64, 64), 16, ("f32", "bf16", "bf16"), 1, 0),
    ("smollm2_prefill", 37, (9, 3, 64, 64), 16, ("f32", "bf16", "bf16"), 0, 0),
    ("all_f32", 5, (4, 4, 64, 64), 32, ("f32", "f32", "f32"), 0, 0),
    ("all_f32_interleaved", 5, (4, 1, 64, 64), 32, ("f32", "f32", "f32"), 1, 0),
    ("bf16_input", 6, (4, 2, 128, 128), 16, ("bf16", "bf16", "bf16"), 0, 0),
    ("f16_cache", 3, (2, 1, 32, 32), 16, ("f32", "f32", "f16"), 0, 0),
    ("partial_odd", 7, (3, 1, 80, 20), 16, ("f32", "f32", "f32"), 0, 0),
    ("partial_interleaved", 7, (2, 2, 64, 32), 64, ("f32", "f32", "bf16"), 1, 0),
    ("qwen3_norm", 9, (4, 2, 128, 128), 16, ("f32", "bf16", "bf16"), 0, 1),
    ("norm_partial", 4, (2, 1, 96, 32), 16, ("f32", "f32", "f32"), 0, 1),
    ("many_heads", 3, (40, 20, 64, 64), 16, ("bf16", "bf16", "bf16"), 0, 0),
    ("many_heads_norm", 3, (24, 3, 32, 32), 16, ("f32", "bf16", "f8e4m3"), 0, 1),
    ("f8_cache", 9, (4, 2, 64, 64), 16, ("f32", "bf16", "f8e4m3"), 0, 0),
    ("f8_cache_interleaved", 5, (4, 1, 80, 20), 16, ("f32", "f32", "f8e4m3"), 1, 1),
]


def _rope_case(rng, name, rows, heads, page_size, dtypes, interleaved, has_norm, in_place=False, kv_pack=0):
    q_heads, kv_heads, head_dim, rotary_dim = heads
    width = (q_heads + 2 * kv_heads) * head_dim
    stride = width + 16
    pages = rows // page_size + 3
    slots = rng.permutation(pages * page_size)[:rows].astype(np.int32)
    if rows > 2:
        slots[rows // 2] = -1
    cache = np.full((kv_heads, pages, page_size, head_dim), -7, np.float32)
    angle = np.arange(rows + 40)[:, None] * 1e4 ** -(np.arange(rotary_dim // 2) / (rotary_dim // 2))
    qkv = rng.standard_normal((rows + 1, stride), dtype=np.float32)
    if dtypes[2] == "f8e4m3":  # past the largest number, and below the smallest one
        qkv[0] *= 1000
        qkv[1] *= 0.002
    args = {
        "qkv": qkv,
        "q_out": np.full((rows + 1, q_heads * head_dim), -7, np.float32),
        "k_cache": cache,
        "v_cache": cache.copy(),
        "positions": rng.integers(0, rows + 40, rows).astype(np.int32),
        "slots": slots,
        "cos": np.cos(angle).astype(np.float32),
        "sin": np.sin(angle).astype(np.float32),
        "q_norm": rng.standard_normal(head_dim, dtype=np.float32) if has_norm else None,
        "k_norm": rng.standard_normal(head_dim, dtype=np.float32) if has_norm else None,
        "rows": rows,
        "qkv_stride": stride,
        "q_stride": stride if in_place else q_heads * head_dim,
        "num_pages": pages,
        "eps": 1e-6,
    }
    if in_place:
        del args["q_out"]
    key = {
        "qkv_dtype": dtypes[0], "q_dtype": dtypes[1], "cache_dtype": dtypes[2], "norm_dtype": "f32",
        "q_heads": q_heads, "kv_heads": kv_heads, "head_dim": head_dim, "rotary_dim": rotary_dim,
        "page_size": page_size, "kv_pack": kv_pack, "interleaved": interleaved, "has_qk_norm": has_norm,
    }  # fmt: skip
    # Differences of products: the error scales with the inputs (about 3), not with the result.
    unit = {
        "f32": Tolerance(5e-6), "f16": Tolerance(5e-6, 1e-3), "bf16": Tolerance(5e-6, 8e-3),
        "f8e4m3": Tolerance(2e-3, 0.126),
    }  # fmt: skip
    tolerance = {"q_out": unit[dtypes[1]], "k_cache": unit[dtypes[2]]}
    if in_place:
        tolerance["qkv"] = tolerance["q_out"]
    return Case(name, key, args, tolerance, alias={"q_out": "qkv"} if in_place else {})


def rope_kv_write_cases():
    rng = np.random.default_rng(31)
    for entry in _ROPE:
        yield _rope_case(rng, *entry)
    for pack, dtype in ((1, "f32"), (2, "bf16"), (2, "f16")):
        for interleaved in (0, 1):
            kind = f"packed{pack}_{dtype}_{'interleaved' if interleaved else 'halves'}"
            dtypes = ("f32", "f32", dtype)
            yield _rope_case(rng, kind, 37, (9, 3, 64, 64), 16, dtypes, interleaved, 0, kv_pack=pack)
            yield _rope_case(
                rng, f"{kind}_norm", 3, (4, 2, 128, 32), 32, dtypes, interleaved, 1, kv_pack=pack
            )
    yield _rope_case(
        rng, "in_place", 5, (4, 2, 64, 64), 16, ("f32", "f32", "bf16"), 0, 0, in_place=True
    )
    yield _rope_case(
        rng,
        "in_place_interleaved",
        5,
        (4, 2, 64, 64),
        16,
        ("bf16", "bf16", "bf16"),
        1,
        0,
        in_place=True,
    )


ROPE_TABLE = Kernel(
    name="rope_table",
    doc="cos[p, i] = cos(p * inv_freq[i]) * attention_scale, sin likewise, for positions p < positions",
    fn=rope_table_kernel,
    key=[Int("half", min=1, doc="rotary_dim / 2")],
    args=[
        Ptr("inv_freq", "f32", "read", shape="half"),
        Ptr("cos", "f32", "write", shape="positions, half"),
        Ptr("sin", "f32", "write", shape="positions, half"),
        I32("positions"),
        F32("attention_scale", doc="1 except for YaRN and LongRoPE"),
    ],
    grid="ceil_div(positions, ROWS)",
    cost=Cost(bytes="half * 4 + 2 * positions * half * 4", operations="2 * positions * half"),
    reference=rope_table_reference,
    cases=rope_table_cases,
    default_tiles=[{"ROWS": 16, "BLOCK": "next_pow2(half)", "num_warps": 1}],
)

ROPE_KV_WRITE = Kernel(
    name="rope_kv_write",
    doc="For every row of the fused projection: rotates the q heads into q_out, rotates the k heads into the K "
    "cache and copies the v heads into the V cache at slots[row] (-1: q only). RoPE, arXiv 2104.09864",
    fn=rope_kv_write_kernel,
    key=[
        DType("qkv_dtype"), DType("q_dtype"), DType("cache_dtype", allowed=(*FLOATS, "f8e4m3")),
        DType("norm_dtype", doc="of q_norm and k_norm; f32 without them"),
        Int("q_heads", min=1), Int("kv_heads", min=1), Int("head_dim", min=1),
        Int("rotary_dim", min=2, doc="even, at most head_dim; what lies beyond passes unchanged"),
        Int("page_size", min=1), Int("kv_pack", max=4, doc=PACK_DOC),
        Flag("interleaved", doc="pairs are (2i, 2i+1), else (i, i + rotary_dim/2)"),
        Flag("has_qk_norm", doc="RMSNorm of each q and k head before the rotation"),
    ],
    args=[
        Ptr("qkv", "qkv_dtype", "read", shape="rows, (q_heads + 2 kv_heads) * head_dim; row stride qkv_stride"),
        Ptr("q_out", "q_dtype", "write", shape="rows, q_heads * head_dim; row stride q_stride", doc="may be qkv"),
        Ptr("k_cache", "cache_dtype", "write", shape="kv_heads, num_pages, page_size, head_dim"),
        Ptr("v_cache", "cache_dtype", "write", shape="kv_heads, num_pages, page_size, head_dim"),
        Ptr("positions", "i32", "read", shape="rows"),
        Ptr("slots", "i32", "read", shape="rows", doc="page * page_size + place in the page, or -1"),
        Ptr("cos", "f32", "read", shape="max_position, rotary_dim / 2"),
        Ptr("sin", "f32", "read", shape="max_position, rotary_dim / 2"),
        Ptr("q_norm", "norm_dtype", "read", shape="head_dim", optional="has_qk_norm"),
        Ptr("k_norm", "norm_dtype", "read", shape="head_dim", optional="has_qk_norm"),
        I32("rows"), I32("qkv_stride", doc="elements"), I32("q_stride", doc="elements"),
        I32("num_pages", doc="of the caches"),
        F32("eps", doc="of the q and k norms"),
    ],
    grid="ceil_div(rows, ROWS)",
    select="rows",
    cost=Cost(
        bytes="rows * head_dim * ((q_heads + 2 * kv_heads) * size_of(qkv_dtype) + q_heads * size_of(q_dtype)"
        " + 2 * kv_heads * size_of(cache_dtype)) + rows * rotary_dim * 4",
        operations="3 * rows * (q_heads + kv_heads) * rotary_dim",
    ),
    reference=rope_kv_write_reference,
    cases=rope_kv_write_cases,
    default_tiles=[
        # In one warp, which may change interleaved pairs in place.
        {"when": "interleaved", "ROWS": 1, "HEADS": 1, "HALF": "next_pow2(rotary_dim // 2)", "HEAD": "next_pow2(head_dim)",
         "num_warps": 1},
        {"ROWS": 1, "HEADS": "min(next_pow2(q_heads), 16)", "HALF": "next_pow2(rotary_dim // 2)",
         "HEAD": "next_pow2(head_dim)", "num_warps": 4},
    ],
)  # fmt: skip

KERNELS = [ROPE_TABLE, ROPE_KV_WRITE]
