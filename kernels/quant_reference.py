"""NumPy side of the quantised formats: GGUF block decoding, random valid blocks, and the panel layout.

Written from the formats' definition and independent of the kernels: values come from the raw file bytes,
never from the planes that the kernels make.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PANEL = 32  # output rows whose words lie side by side


@dataclass(frozen=True)
class BlockFormat:
    name: str
    ggml_type: int
    block: int  # elements
    block_bytes: int
    # how the planes hold it (see quant.py)
    bits: int
    code_dtype: str
    zero: int
    group: int
    scale_dtype: str
    has_min: int

    def linear_key(self) -> dict[str, int | str]:
        names = ("bits", "code_dtype", "zero", "group", "scale_dtype", "has_min")
        return {name: getattr(self, name) for name in names}


FORMATS = {
    f.name: f
    for f in (
        BlockFormat("Q4_0", 2, 32, 18, 4, "u8", 8, 32, "f16", 0),
        BlockFormat("Q4_1", 3, 32, 20, 4, "u8", 0, 32, "f16", 1),
        BlockFormat("Q5_0", 6, 32, 22, 8, "i8", 0, 32, "f16", 0),
        BlockFormat("Q5_1", 7, 32, 24, 8, "i8", 0, 32, "f16", 1),
        BlockFormat("Q8_0", 8, 32, 34, 8, "i8", 0, 32, "f16", 0),
        BlockFormat("Q8_0_U8", 8, 32, 34, 8, "u8", 128, 32, "f16", 0),
        BlockFormat("Q4_K", 12, 256, 144, 4, "u8", 0, 32, "f32", 1),
        BlockFormat("Q5_K", 13, 256, 176, 8, "i8", 0, 32, "f32", 1),
        BlockFormat("Q6_K", 14, 256, 210, 8, "i8", 0, 16, "f32", 0),
    )
}
DENSE_BITS = {"f32": 32, "f16": 16, "bf16": 16}


def dense_key(dtype: str) -> dict[str, int | str]:
    return {"bits": DENSE_BITS[dtype], "code_dtype": dtype, "zero": 0, "group": 0, "scale_dtype": "f32", "has_min": 0}


# --- raw blocks -------------------------------------------------------------------------------------


def _half(blocks: np.ndarray, at: int) -> np.ndarray:
    return np.ascontiguousarray(blocks[..., at : at + 2]).view(np.float16)[..., 0]


def _put_half(blocks: np.ndarray, at: int, value: np.ndarray) -> None:
    blocks[..., at : at + 2] = value.astype(np.float16)[..., None].view(np.uint8)


_HALVES = {  # offset of f16 fields: typical size
    "Q4_0": {0: 0.02}, "Q4_1": {0: 0.02, 2: 0.1}, "Q5_0": {0: 0.01}, "Q5_1": {0: 0.01, 2: 0.1}, "Q8_0": {0: 0.002},
    "Q8_0_U8": {0: 0.002},
    "Q4_K": {0: 0.0005, 2: 0.0005}, "Q5_K": {0: 0.0003, 2: 0.0005}, "Q6_K": {208: 0.00005},
}  # fmt: skip


def random_raw(rng: np.random.Generator, name: str, rows: int, k: int) -> np.ndarray:
    """u8 [rows, k / block * block_bytes]: every code and sub-scale value occurs, f16 fields stay moderate."""
    f = FORMATS[name]
    raw = rng.integers(0, 256, (rows, k // f.block, f.block_bytes), dtype=np.uint8)
    for at, size in _HALVES[name].items():
        _put_half(raw, at, rng.uniform(-size, size, raw.shape[:2]))
    return raw.reshape(rows, -1)


def _k_scales(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 6-bit scales and mins, each [..., 8], of 12 packed bytes."""
    s = s.astype(np.int64)
    low, high = s[..., 0:4], s[..., 4:8]
    scale = np.concatenate([low & 63, (s[..., 8:12] & 15) | ((low >> 6) << 4)], -1)
    minimum = np.concatenate([high & 63, (s[..., 8:12] >> 4) | ((high >> 6) << 4)], -1)
    return scale, minimum


def _decode(name: str, b: np.ndarray):
    """codes [..., groups, group] minus zero, scale [..., groups], min [..., groups] or None; all f64."""
    f64 = np.float64
    if name in ("Q4_0", "Q4_1"):
        q = b[..., -16:]
        code = np.concatenate([q & 15, q >> 4], -1).astype(f64)
        if name == "Q4_0":
            return (code - 8)[..., None, :], _half(b, 0)[..., None], None
        return code[..., None, :], _half(b, 0)[..., None], _half(b, 2)[..., None]
    if name in ("Q5_0", "Q5_1"):
        q, at = b[..., -16:], 2 if name == "Q5_0" else 4
        bits = np.unpackbits(b[..., at : at + 4], axis=-1, bitorder="little")
        code = (np.concatenate([q & 15, q >> 4], -1) | (bits << 4)).astype(f64)
        if name == "Q5_0":
            return (code - 16)[..., None, :], _half(b, 0)[..., None], None
        return code[..., None, :], _half(b, 0)[..., None], _half(b, 2)[..., None]
    if name in ("Q8_0", "Q8_0_U8"):
        return b[..., 2:].view(np.int8).astype(f64)[..., None, :], _half(b, 0)[..., None], None
    if name in ("Q4_K", "Q5_K"):
        scale, minimum = _k_scales(b[..., 4:16])
        q = b[..., -128:].reshape(*b.shape[:-1], 4, 1, 32)
        code = np.concatenate([q & 15, q >> 4], -2).reshape(*b.shape[:-1], 8, 32)
        if name == "Q5_K":
            code = code | (((b[..., None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None]) & 1) << 4)
        d, dmin = _half(b, 0).astype(f64)[..., None], _half(b, 2).astype(f64)[..., None]
        return code.astype(f64), d * scale, -(dmin * minimum)
    assert name == "Q6_K"
    low = b[..., :128].reshape(*b.shape[:-1], 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], -2).reshape(*b.shape[:-1], 2, 4, 32)
    high = b[..., 128:192].reshape(*b.shape[:-1], 2, 1, 32) >> (2 * np.arange(4, dtype=np.uint8))[:, None]
    code = (low | ((high & 3) << 4)).astype(f64) - 32
    scale = _half(b, 208).astype(f64)[..., None] * np.ascontiguousarray(b[..., 192:208]).view(np.int8)
    return code.reshape(*b.shape[:-1], 16, 16), scale, None


def _blocks(name: str, raw: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw).reshape(raw.shape[0], -1, FORMATS[name].block_bytes)


def dequantize(name: str, raw: np.ndarray) -> np.ndarray:
    """f64 [rows, k] of raw u8 [rows, k / block * block_bytes]."""
    code, scale, minimum = _decode(name, _blocks(name, raw))
    value = code * scale.astype(np.float64)[..., None]
    if minimum is not None:
        value = value + minimum.astype(np.float64)[..., None]
    return value.reshape(raw.shape[0], -1)


# --- planes -----------------------------------------------------------------------------------------


def padded(value: int) -> int:
    return -(-value // 32) * 32


def _to_panels(rows_by_x: np.ndarray) -> np.ndarray:
    """[n, x] -> [n_pad / 32, x, 32]; padding rows are zero."""
    n, x = rows_by_x.shape
    full = np.zeros((padded(n), x), rows_by_x.dtype)
    full[:n] = rows_by_x
    return np.ascontiguousarray(full.reshape(-1, PANEL, x).transpose(0, 2, 1))


def _words(codes: np.ndarray, bits: int) -> np.ndarray:
    """i32 [n, k / per_word] of unsigned codes [n, k]."""
    per_word = 32 // bits
    i = np.arange(per_word)
    shift = 8 * (i % 4) + 4 * (i // 4) if bits == 4 else bits * i
    grouped = codes.reshape(codes.shape[0], -1, per_word).astype(np.uint64)
    return np.bitwise_or.reduce(grouped << shift.astype(np.uint64), axis=-1).astype(np.uint32).view(np.int32)


def pack_blocks(name: str, raw: np.ndarray) -> dict[str, np.ndarray | None]:
    """The planes codes i32, scales, mins (f32 values) that the repack kernel must make of `raw`."""
    f = FORMATS[name]
    code, scale, minimum = _decode(name, _blocks(name, raw))
    n = raw.shape[0]
    code = (code + f.zero).astype(np.int64).reshape(n, -1) & ((1 << f.bits) - 1)
    planes = {"codes": _to_panels(_words(code, f.bits)), "scales": _to_panels(scale.reshape(n, -1).astype(np.float32))}
    planes["mins"] = None if minimum is None else _to_panels(minimum.reshape(n, -1).astype(np.float32))
    return planes


def pack_dense(bits_array: np.ndarray) -> np.ndarray:
    """i32 [n_pad / 32, k_pad / per_word, 32] of a weight [n, k] given as u16 or u32 bit patterns."""
    n, k = bits_array.shape
    full = np.zeros((n, padded(k)), bits_array.dtype)
    full[:, :k] = bits_array
    return _to_panels(_words(full, 8 * bits_array.dtype.itemsize))
