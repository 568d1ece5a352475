"""The element types a declaration can name, and their NumPy, Triton and C++ counterparts.

NumPy has no bfloat16 and no 8-bit floats: those are stored as unsigned integers and widened to
float32 for arithmetic, so that references see ordinary float arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DTypeInfo:
    name: str  # short name used by keys, packs and the C++ side
    storage: type  # NumPy type that holds the bits
    triton: str  # name in a Triton signature
    tl: str  # attribute of triton.language
    cpp: str  # enumerator of nereid::DType
    is_float: bool

    @property
    def size(self) -> int:
        return np.dtype(self.storage).itemsize


DTYPES = {
    info.name: info
    for info in (
        DTypeInfo("f32", np.float32, "fp32", "float32", "kF32", True),
        DTypeInfo("f16", np.float16, "fp16", "float16", "kF16", True),
        DTypeInfo("bf16", np.uint16, "bf16", "bfloat16", "kBF16", True),
        DTypeInfo("i8", np.int8, "i8", "int8", "kI8", False),
        DTypeInfo("u8", np.uint8, "u8", "uint8", "kU8", False),
        DTypeInfo("i16", np.int16, "i16", "int16", "kI16", False),
        DTypeInfo("i32", np.int32, "i32", "int32", "kI32", False),
        DTypeInfo("i64", np.int64, "i64", "int64", "kI64", False),
        DTypeInfo("u32", np.uint32, "u32", "uint32", "kU32", False),
        DTypeInfo("u64", np.uint64, "u64", "uint64", "kU64", False),
        DTypeInfo("f8e4m3", np.uint8, "fp8e4nv", "float8e4nv", "kF8E4M3", True),
        DTypeInfo("f8e5m2", np.uint8, "fp8e5", "float8e5", "kF8E5M2", True),
    )
}


def bf16_to_f32(bits: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(bits).astype(np.uint32) << 16).view(np.float32)


def f32_to_bf16(values: np.ndarray) -> np.ndarray:
    """Round to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    quiet = ((bits >> 16) | 0x40).astype(np.uint16)
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.where(is_nan, quiet, rounded).astype(np.uint16)


def _f8e4m3_table() -> np.ndarray:
    code = np.arange(256)
    exponent, mantissa = (code >> 3) & 15, code & 7
    normal = np.ldexp(1 + mantissa / 8, exponent - 7)
    value = np.where(exponent == 0, np.ldexp(mantissa / 8, -6), normal)
    value = np.where((code & 127) == 127, np.nan, value)
    return np.where(code >= 128, -value, value).astype(np.float32)


def f32_to_f8e4m3(values: np.ndarray) -> np.ndarray:
    """Round to nearest, ties to even; past 448 to 448; NaN stays NaN."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    numbers = _f8e4m3_table()[:127]
    magnitude = np.minimum(np.abs(np.nan_to_num(values, nan=0.0, posinf=448.0, neginf=-448.0)), 448)
    above = np.clip(np.searchsorted(numbers, magnitude), 1, 126)
    below = above - 1
    middle = (numbers[above].astype(np.float64) + numbers[below]) / 2
    take_above = (magnitude > middle) | ((magnitude == middle) & (above % 2 == 0))
    code = np.where(take_above, above, below)
    code = np.where(np.isnan(values), 127, code) | np.where(np.signbit(values), 128, 0)
    return code.astype(np.uint8)


def widen(array: np.ndarray, dtype: str) -> np.ndarray:
    """Storage form to what references compute with: float types become float32, integers stay."""
    if dtype == "bf16":
        return bf16_to_f32(array)
    if dtype == "f16":
        return array.astype(np.float32)
    if dtype == "f8e5m2":
        return (array.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    if dtype == "f8e4m3":
        return _f8e4m3_table()[array]
    return array


def narrow(array: np.ndarray, dtype: str) -> np.ndarray:
    """What references compute with to storage form; floats round to nearest even."""
    info = DTYPES[dtype]
    if dtype == "bf16":
        return f32_to_bf16(np.asarray(array, dtype=np.float32))
    if info.is_float and info.size == 1:
        if np.asarray(array).dtype == np.uint8:  # codes already
            return np.ascontiguousarray(array)
        if dtype != "f8e4m3":
            raise TypeError(
                f"give {dtype} arrays as uint8 codes; there is no rounding to {dtype} here"
            )
        return f32_to_f8e4m3(array)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(np.asarray(array).astype(info.storage))


def round_to(array: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values of `array` after rounding to `dtype`."""
    return widen(narrow(array, dtype), dtype)
