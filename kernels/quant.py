"""The run-time layout of weights, and the kernels that bring stored weights into it.

Every weight [n, k] (output rows, input columns), quantised or not, is kept in **panels of 32 rows**: 32-bit
words of 32 neighbouring rows lie side by side, and within a panel words follow k. So a program that owns
some panels reads one contiguous stream, a vector of lanes is a vector of output rows, and a dot product
needs neither shuffles nor a horizontal sum.

    n_pad = n rounded up to 32, k_pad = k rounded up to 32, per_word = 32 / bits

    codes   i32          [n_pad / 32, k_pad / per_word, 32]
    scales  scale_dtype  [n_pad / 32, k / group, 32]
    mins    scale_dtype  [n_pad / 32, k / group, 32]          formats with has_min

    w[r, c] = scale[r, c / group] * (code[r, c] - zero) + min[r, c / group]       quantised
    w[r, c] = code[r, c]                                                          f32, f16, bf16

Element i of a word: bits 4: shift 8 * (i % 4) + 4 * (i / 4), so that the low halves of the four bytes are
columns 0 to 3 and the high ones 4 to 7; bits 8: byte i; bits 16: half-word i; bits 32: the word. Rows past n may hold
anything; columns past k are zero.

    format  bits  code  zero  group  scale  min    what a scale is
    Q4_0      4    u8     8     32    f16    -     d
    Q4_1      4    u8     0     32    f16   yes    d
    Q5_0      8    i8     0     32    f16    -     d; stored code is q - 16
    Q5_1      8    i8     0     32    f16   yes    d
    Q8_0      8    i8     0     32    f16    -     d
              8    u8   128                        where an instruction wants weights without signs
    Q4_K      4    u8     0     32    f32   yes    d * sc, min = -(dmin * m); both products are exact in f32
    Q5_K      8    i8     0     32    f32   yes    as Q4_K
    Q6_K      8    i8     0     16    f32    -     d * sc (exact); stored code is q - 32
    F16/BF16 16   f16/bf16        F32 32   f32     -
    F8_E4M3   8   bytes [n_pad / 32, k_pad, 32] instead of words, and scales as linear_f8.py has them

No value is changed by repacking. A fused weight (q, k and v) is made by several launches with `row_offset`.
"""

from __future__ import annotations

import numpy as np
import triton
import triton.language as tl

from kernels import quant_reference as reference
from kernels.dtypes import narrow
from kernels.spec import I32, Case, Cost, DType, Int, Kernel, Ptr, Tolerance

EXACT = Tolerance()
_Q4_0, _Q4_1, _Q5_0, _Q5_1, _Q8_0 = (tl.constexpr(v) for v in (2, 3, 6, 7, 8))
_Q4_K, _Q5_K, _Q6_K = (tl.constexpr(v) for v in (12, 13, 14))


# --- reading codes ----------------------------------------------------------------------------------


@triton.jit
def word_element(word, i, BITS: tl.constexpr, CODE: tl.constexpr):
    """Element `i` (integers that broadcast with `word`) of i32 words, as f32."""
    if BITS == 4:
        return ((word >> (8 * (i % 4) + 4 * (i // 4))) & 15).to(tl.float32)
    elif BITS == 8:
        if CODE == tl.uint8:
            return ((word >> (8 * i)) & 255).to(tl.float32)
        return ((word << (24 - 8 * i)) >> 24).to(tl.float32)
    elif BITS == 32:
        return word.to(tl.float32, bitcast=True)
    elif CODE == tl.bfloat16:
        return ((word << (16 - 16 * i)) & -65536).to(tl.float32, bitcast=True)
    else:
        return (word >> (16 * i)).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)


# --- repacking GGUF blocks --------------------------------------------------------------------------


@triton.jit
def _byte(at, mask):
    return tl.load(at, mask=mask, other=0).to(tl.int32)


@triton.jit
def _two_bytes(at, mask):
    """Little-endian, at an even address: all blocks and their fields have even sizes."""
    return tl.load(at.to(tl.pointer_type(tl.int16), bitcast=True), mask=mask, other=0)


@triton.jit
def _half(at, mask):
    return _two_bytes(at, mask).to(tl.float16, bitcast=True)


@triton.jit
def _block_code(block, group, e, mask, FORMAT: tl.constexpr):
    """Stored 8-bit code of element `e` (0..31) of 32-element group `group` of the block at `block`."""
    if FORMAT == _Q5_0 or FORMAT == _Q5_1:
        HIGH: tl.constexpr = 2 if FORMAT == _Q5_0 else 4
        low = (_byte(block + HIGH + 4 + e % 16, mask) >> (4 * (e // 16))) & 15
        code = low | (((_byte(block + HIGH + e // 8, mask) >> (e % 8)) & 1) << 4)
        return code - 16 if FORMAT == _Q5_0 else code
    elif FORMAT == _Q5_K:
        low = (_byte(block + 48 + 32 * (group // 2) + e, mask) >> (4 * (group % 2))) & 15
        return low | (((_byte(block + 16 + e, mask) >> group) & 1) << 4)
    else:  # Q6_K: halves of 128, quarters of 32
        half = group // 4
        quarter = group % 4
        low = (_byte(block + 64 * half + 32 * (quarter % 2) + e, mask) >> (4 * (quarter // 2))) & 15
        high = (_byte(block + 128 + 32 * half + e, mask) >> (2 * quarter)) & 3
        return (low | (high << 4)) - 32


@triton.jit
def _block_word(block, group, word, mask, FORMAT: tl.constexpr, CODE: tl.constexpr):
    """Word `word` of the panels for 32-element group `group`: 8 codes of 4 bits or 4 codes of 8 bits."""
    if FORMAT == _Q4_0 or FORMAT == _Q4_1 or FORMAT == _Q4_K:
        if FORMAT == _Q4_K:
            first = block + 16 + 32 * (group // 2) + 8 * word
            shift = 4 * (group % 2)
        else:
            first = block + (2 if FORMAT == _Q4_0 else 4) + 8 * (word % 2)
            shift = 4 * (word // 2)
        packed = tl.zeros(mask.shape, dtype=tl.int32)
        for i in tl.static_range(4):  # columns 2 i and 2 i + 1
            pair = (_two_bytes(first + 2 * i, mask).to(tl.int32) >> shift) & 0xF0F
            packed |= pair << (16 * (i % 2) + 4 * (i // 2))
        return packed
    elif FORMAT == _Q8_0:
        first = block + 2 + 4 * word
        packed = (_two_bytes(first, mask).to(tl.int32) & 65535) | (_two_bytes(first + 2, mask).to(tl.int32) << 16)
        return packed ^ -0x7F7F7F80 if CODE == tl.uint8 else packed  # 128 more
    else:
        packed = tl.zeros(mask.shape, dtype=tl.int32)
        for i in tl.static_range(4):
            packed |= (_block_code(block, group, 4 * word + i, mask, FORMAT) & 255) << (8 * i)
        return packed


@triton.jit
def _block_scale(block, group, mask, FORMAT: tl.constexpr):
    """Scale and min of group `group` of the block; Q6_K: of its 16-element group."""
    if FORMAT == _Q4_1 or FORMAT == _Q5_1:
        return _half(block, mask), _half(block + 2, mask)
    elif FORMAT == _Q4_K or FORMAT == _Q5_K:
        # 6-bit values in 12 bytes: the first four whole, the last four in halves
        first = _byte(block + 4 + group, mask)
        if group < 4:
            second = _byte(block + 8 + group, mask)
            scale = first & 63
            minimum = second & 63
        else:
            both = _byte(block + 8 + group, mask)
            scale = (both & 15) | ((_byte(block + group, mask) >> 6) << 4)
            minimum = (both >> 4) | ((first >> 6) << 4)
        d = _half(block, mask).to(tl.float32)
        dmin = _half(block + 2, mask).to(tl.float32)
        return d * scale.to(tl.float32), 0.0 - dmin * minimum.to(tl.float32)
    elif FORMAT == _Q6_K:
        scale = (_byte(block + 192 + group, mask) << 24) >> 24
        d = _half(block + 208, mask).to(tl.float32) * scale.to(tl.float32)
        return d, d
    else:
        d = _half(block, mask)
        return d, d


@triton.jit
def repack_blocks_kernel(
    raw, codes, scales, mins, rows, row_offset,
    format: tl.constexpr, block: tl.constexpr, block_bytes: tl.constexpr, bits: tl.constexpr, code_dtype: tl.constexpr,
    group: tl.constexpr, has_min: tl.constexpr, k: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    PER_WORD: tl.constexpr = 32 // bits
    WORDS: tl.constexpr = 32 // PER_WORD  # of 32 elements
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < rows
    target = row_offset + row
    panel = (target // 32).to(tl.int64)
    lane = target % 32
    word = tl.arange(0, WORDS)
    source = raw + row.to(tl.int64) * (k // block * block_bytes)
    code_at = codes + panel * (k // PER_WORD * 32) + lane
    scale_at = scales + panel * (k // group * 32) + lane
    min_at = mins + panel * (k // group * 32) + lane
    mask = tl.broadcast_to(inside[None, :], (WORDS, ROWS))
    for g in range(0, k // 32):
        at = source + (g // (block // 32)) * block_bytes
        sub = g % (block // 32)
        packed = _block_word(at[None, :], sub, word[:, None], mask, format, code_dtype)
        tl.store(code_at[None, :] + (g * WORDS + word)[:, None] * 32, packed, mask=mask)
        for s in tl.static_range(32 // group):
            scale, minimum = _block_scale(at, sub * (32 // group) + s, inside, format)
            tl.store(scale_at + (g * (32 // group) + s) * 32, scale, mask=inside)
            if has_min:
                tl.store(min_at + (g * (32 // group) + s) * 32, minimum, mask=inside)


def repack_blocks_reference(key, args):
    stored = key["format"], key["code_dtype"]
    name = next(f.name for f in reference.FORMATS.values() if (f.ggml_type, f.code_dtype) == stored)
    rows, offset = args["rows"], args["row_offset"]
    whole = np.zeros((args["codes"].shape[0] * 32, args["raw"].shape[1]), np.uint8)
    whole[offset : offset + rows] = args["raw"][:rows]
    lanes = np.zeros(whole.shape[0], bool)
    lanes[offset : offset + rows] = True
    made = reference.pack_blocks(name, whole)
    result = {}
    for plane in ("codes", "scales", "mins"):
        if args[plane] is not None:
            written = np.broadcast_to(lanes.reshape(-1, 1, 32), args[plane].shape)
            result[plane] = np.where(written, made[plane], args[plane])
    if not key["has_min"]:
        result["mins"] = None
    return {name: value for name, value in result.items() if value is not None}


def repack_key(name: str, k: int) -> dict[str, int | str]:
    f = reference.FORMATS[name]
    return {
        "format": f.ggml_type, "block": f.block, "block_bytes": f.block_bytes, "bits": f.bits,
        "code_dtype": f.code_dtype, "group": f.group, "scale_dtype": f.scale_dtype, "has_min": f.has_min, "k": k,
    }  # fmt: skip


def repack_blocks_cases():
    rng = np.random.default_rng(41)
    for name, f in reference.FORMATS.items():
        for label, rows, k, offset in (
            ("one_row", 1, f.block, 0),
            ("panel", 32, 2 * f.block, 0),
            ("ragged", 77, 3 * f.block, 0),
            ("offset", 41, f.block, 55),
        ):
            raw = reference.random_raw(rng, name, rows, k)
            total = reference.padded(rows + offset) // 32
            scale = np.full((total, k // f.group, 32), 3.0, np.float32)
            yield Case(
                name=f"{name.lower()}_{label}",
                key=repack_key(name, k),
                args={
                    "raw": raw,
                    "codes": np.full((total, k * f.bits // 32, 32), -3, np.int32),
                    "scales": scale,
                    "mins": scale.copy() if f.has_min else None,
                    "rows": rows,
                    "row_offset": offset,
                },
                tolerance={"codes": EXACT, "scales": EXACT, "mins": EXACT},
            )


# --- unquantised weights ----------------------------------------------------------------------------


@triton.jit
def repack_dense_kernel(
    raw, codes, rows, row_offset, dtype: tl.constexpr, k: tl.constexpr, ROWS: tl.constexpr
):  # fmt: skip
    PER_WORD: tl.constexpr = 1 if dtype == tl.float32 else 2
    K_PAD: tl.constexpr = (k + 31) // 32 * 32
    WORDS: tl.constexpr = 32 // PER_WORD
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = (row < rows)[None, :]
    target = row_offset + row
    code_at = codes + (target // 32).to(tl.int64) * (K_PAD // PER_WORD * 32) + target % 32
    # Bits are moved as integers: no value, NaNs included, is touched.
    bits = raw.to(tl.pointer_type(tl.int32 if PER_WORD == 1 else tl.int16), bitcast=True)
    source = (bits + row.to(tl.int64) * k)[None, :]
    word = tl.arange(0, WORDS)
    for g in range(0, K_PAD // 32):
        packed = tl.zeros((WORDS, ROWS), dtype=tl.int32)
        for i in tl.static_range(PER_WORD):
            column = (g * 32 + word * PER_WORD + i)[:, None]
            value = tl.load(source + column, mask=inside & (column < k), other=0).to(tl.int32)
            packed |= value if PER_WORD == 1 else (value & 65535) << (16 * i)
        tl.store(code_at[None, :] + (g * WORDS + word)[:, None] * 32, packed, mask=inside & (word >= 0)[:, None])


def _bit_pattern(values: np.ndarray, dtype: str) -> np.ndarray:
    stored = narrow(values, dtype)
    return stored.view(np.uint32 if stored.dtype.itemsize == 4 else np.uint16)


def repack_dense_reference(key, args):
    rows, offset = args["rows"], args["row_offset"]
    whole = np.zeros((args["codes"].shape[0] * 32, key["k"]), np.float32)
    whole[offset : offset + rows] = args["raw"][:rows]
    lanes = np.zeros(whole.shape[0], bool)
    lanes[offset : offset + rows] = True
    made = reference.pack_dense(_bit_pattern(whole, key["dtype"]))
    return {"codes": np.where(lanes.reshape(-1, 1, 32), made, args["codes"])}


def repack_dense_cases():
    rng = np.random.default_rng(42)
    for dtype in ("f32", "f16", "bf16"):
        for label, rows, k, offset in (("one_row", 1, 32, 0), ("ragged", 77, 70, 0), ("offset", 33, 65, 21)):
            total = reference.padded(rows + offset) // 32
            words = reference.padded(k) * reference.DENSE_BITS[dtype] // 32
            yield Case(
                name=f"{dtype}_{label}",
                key={"dtype": dtype, "k": k},
                args={
                    "raw": rng.standard_normal((rows, k), dtype=np.float32),
                    "codes": np.full((total, words, 32), -3, np.int32),
                    "rows": rows,
                    "row_offset": offset,
                },
                tolerance={"codes": EXACT},
            )


# --- weights of one byte ----------------------------------------------------------------------------


@triton.jit
def repack_bytes_kernel(raw, codes, rows, row_offset, k: tl.constexpr, ROWS: tl.constexpr):
    K_PAD: tl.constexpr = (k + 31) // 32 * 32
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = (row < rows)[None, :]
    target = row_offset + row
    source = (raw + row.to(tl.int64) * k)[None, :]
    code_at = (codes + (target // 32).to(tl.int64) * (K_PAD * 32) + target % 32)[None, :]
    for start in range(0, K_PAD, 32):
        column = start + tl.arange(0, 32)[:, None]
        value = tl.load(source + column, mask=inside & (column < k), other=0)
        tl.store(code_at + column * 32, value, mask=inside & (column >= 0))


def repack_bytes_reference(key, args):
    rows, offset, k = args["rows"], args["row_offset"], key["k"]
    codes = args["codes"].transpose(0, 2, 1).reshape(-1, args["codes"].shape[1]).copy()
    codes[offset : offset + rows] = 0
    codes[offset : offset + rows, :k] = args["raw"][:rows]
    return {"codes": codes.reshape(-1, 32, codes.shape[1]).transpose(0, 2, 1)}


def repack_bytes_cases():
    rng = np.random.default_rng(43)
    for label, rows, k, offset in (("one_row", 1, 32, 0), ("ragged", 77, 70, 0), ("offset", 33, 65, 21)):
        codes = np.full((reference.padded(rows + offset) // 32, reference.padded(k), 32), 99, np.uint8)
        raw = rng.integers(0, 256, (rows, k)).astype(np.uint8)
        yield Case(
            name=label, key={"k": k}, args={"raw": raw, "codes": codes, "rows": rows, "row_offset": offset},
            tolerance={"codes": EXACT},
        )  # fmt: skip


# --- declarations -----------------------------------------------------------------------------------

CODE_DTYPES = ("u8", "i8", "f32", "f16", "bf16")

REPACK_BLOCKS = Kernel(
    name="repack_blocks",
    doc="planes of GGUF blocks: source row r of `raw` becomes row row_offset + r of the panels, values unchanged",
    fn=repack_blocks_kernel,
    key=[
        Int("format", doc="ggml type number: Q4_0 2, Q4_1 3, Q5_0 6, Q5_1 7, Q8_0 8, Q4_K 12, Q5_K 13, Q6_K 14"),
        Int("block", doc="elements of a stored block"), Int("block_bytes"), Int("bits"),
        DType("code_dtype", allowed=("u8", "i8"), doc="Q8_0 has both"), Int("group"),
        DType("scale_dtype", allowed=("f16", "f32")), Int("has_min", max=1), Int("k", min=32),
    ],
    args=[
        Ptr("raw", "u8", "read", shape="rows, k / block * block_bytes"),
        Ptr("codes", "i32", "write", shape="n_pad / 32, k * bits / 32, 32"),
        Ptr("scales", "scale_dtype", "write", shape="n_pad / 32, k / group, 32"),
        Ptr("mins", "scale_dtype", "write", shape="n_pad / 32, k / group, 32", optional="has_min"),
        I32("rows"),
        I32("row_offset"),
    ],
    grid="ceil_div(rows, ROWS)",
    cost=Cost(
        bytes="rows * (k // block * block_bytes + k * bits // 8 + k // group * size_of(scale_dtype) * (1 + has_min))"
    ),
    reference=repack_blocks_reference,
    cases=repack_blocks_cases,
    default_tiles=[{"ROWS": 32, "num_warps": 1}],
)  # fmt: skip

REPACK_DENSE = Kernel(
    name="repack_dense",
    doc="panels of an unquantised weight: source row r becomes row row_offset + r, columns past k become zero",
    fn=repack_dense_kernel,
    key=[DType("dtype"), Int("k", min=1)],
    args=[
        Ptr("raw", "dtype", "read", shape="rows, k"),
        Ptr("codes", "i32", "write", shape="n_pad / 32, k_pad / per_word, 32"),
        I32("rows"),
        I32("row_offset"),
    ],
    grid="ceil_div(rows, ROWS)",
    cost=Cost(bytes="2 * rows * k * size_of(dtype)"),
    reference=repack_dense_reference,
    cases=repack_dense_cases,
    default_tiles=[{"ROWS": 32, "num_warps": 1}],
)

REPACK_BYTES = Kernel(
    name="repack_bytes",
    doc="panels of a weight of one byte each: source row r becomes row row_offset + r, columns past k become zero",
    fn=repack_bytes_kernel,
    key=[Int("k", min=1)],
    args=[
        Ptr("raw", "u8", "read", shape="rows, k"),
        Ptr("codes", "u8", "write", shape="n_pad / 32, k_pad, 32"),
        I32("rows"),
        I32("row_offset"),
    ],
    grid="ceil_div(rows, ROWS)",
    cost=Cost(bytes="2 * rows * k"),
    reference=repack_bytes_reference,
    cases=repack_bytes_cases,
    default_tiles=[{"ROWS": 32, "num_warps": 1}],
)

KERNELS = [REPACK_BLOCKS, REPACK_DENSE, REPACK_BYTES]
