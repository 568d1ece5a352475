"""Kernel arguments: typed arrays in memory whose borders trap, and scalars."""

from __future__ import annotations

import ctypes
import mmap
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_PAGE = mmap.PAGESIZE

# Triton's name -> how the elements are stored.
STORAGE = {
    "fp64": np.float64,
    "fp32": np.float32,
    "fp16": np.float16,
    "bf16": np.uint16,
    "fp8e4nv": np.uint8,
    "fp8e5": np.uint8,
    "i64": np.int64,
    "i32": np.int32,
    "i16": np.int16,
    "i8": np.int8,
    "u64": np.uint64,
    "u32": np.uint32,
    "u16": np.uint16,
    "u8": np.uint8,
    "i1": np.int8,
}


def bf16_bits(values: np.ndarray) -> np.ndarray:
    """Round to nearest even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


def bf16_values(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _fp8_table(mantissa_bits: int, bias: int, nan_from: int, inf_at: int | None) -> np.ndarray:
    table = np.zeros(256, np.float64)
    for code in range(128):
        exponent, mantissa = code >> mantissa_bits, code & ((1 << mantissa_bits) - 1)
        if exponent == 0:
            value = mantissa * 2.0 ** (1 - bias - mantissa_bits)
        else:
            value = ((1 << mantissa_bits) + mantissa) * 2.0 ** (exponent - bias - mantissa_bits)
        if code == inf_at:
            value = np.inf
        elif code >= nan_from:
            value = np.nan
        table[code], table[code | 0x80] = value, -value
    return table


FP8_TABLES = {"fp8e4nv": _fp8_table(3, 7, 0x7F, None), "fp8e5": _fp8_table(2, 15, 0x7D, 0x7C)}


def fp8_bits(values: np.ndarray, dtype: str) -> np.ndarray:
    """Nearest fp8 number (ties to the even code), saturating; by search in the table."""
    table = FP8_TABLES[dtype]
    finite = [code for code in range(128) if np.isfinite(table[code])]
    magnitudes = table[finite]
    wanted = np.minimum(np.abs(values.astype(np.float64)), magnitudes[-1])
    above = np.minimum(np.searchsorted(magnitudes, wanted), magnitudes.size - 1)
    below = np.maximum(above - 1, 0)
    error_above, error_below = magnitudes[above] - wanted, wanted - magnitudes[below]
    take_above = (error_above < error_below) | ((error_above == error_below) & (above % 2 == 0))
    code = np.where(take_above, above, below).astype(np.uint8)
    code = np.where(np.isnan(values), 0x7F, code)
    return (code | (np.signbit(values).astype(np.uint8) << 7)).astype(np.uint8)


def encode(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bf16":
        return bf16_bits(values)
    if dtype in FP8_TABLES:
        return fp8_bits(values, dtype)
    return np.ascontiguousarray(values).astype(STORAGE[dtype])


def decode(raw: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bf16":
        return bf16_values(raw)
    if dtype in FP8_TABLES:
        return FP8_TABLES[dtype][raw].astype(np.float32)
    return raw


@dataclass
class Buffer:
    """An array argument. `raw` holds the elements as stored; `values` decodes bf16 and fp8."""

    raw: np.ndarray
    dtype: str
    address: int = 0
    _map: Any = field(default=None, repr=False)
    _view: Any = field(default=None, repr=False)

    @property
    def values(self) -> np.ndarray:
        return decode(self.raw, self.dtype)

    @property
    def after(self) -> np.ndarray:
        """What the kernel left in memory, decoded."""
        return decode(self._view.copy(), self.dtype)

    @property
    def after_raw(self) -> np.ndarray:
        return self._view.copy()

    def place(self, at_end: bool, align: int) -> None:
        """Copies the array into shared memory between two pages that trap when touched.

        `at_end`: flush with the upper border, so that reading past the end traps; otherwise flush
        with the lower border.
        """
        size = self.raw.nbytes
        pages = max(1, -(-(size + align) // _PAGE))
        self._map = mmap.mmap(-1, (pages + 2) * _PAGE)  # shared with a forked child
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        for guard in (base, base + (pages + 1) * _PAGE):
            if _LIBC.mprotect(guard, _PAGE, 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        room = pages * _PAGE
        offset = (room - size) // align * align if at_end else 0
        self.address = base + _PAGE + offset
        start = _PAGE + offset
        flat = np.frombuffer(self._map, np.uint8, size, start) if size else np.zeros(0, np.uint8)
        self._view = flat.view(self.raw.dtype).reshape(self.raw.shape)
        self._view[...] = self.raw


def buffer(values: Any, dtype: str) -> Buffer:
    return Buffer(encode(np.asarray(values), dtype), dtype)


def zeros(shape: Any, dtype: str) -> Buffer:
    return Buffer(np.zeros(shape, STORAGE[dtype]), dtype)


def poison(shape: Any, dtype: str) -> Buffer:
    """An output: filled with a pattern, so that what a kernel forgets to write shows."""
    raw = np.empty(shape, STORAGE[dtype])
    raw.view(np.uint8 if raw.ndim else raw.dtype)[...] = 0xA5 if raw.ndim else 0
    return Buffer(raw, dtype)


@dataclass(frozen=True)
class Scalar:
    value: Any
    dtype: str

    @property
    def slot(self) -> int:
        """The 8-byte argument slot."""
        if self.dtype == "fp32":
            return struct.unpack("<I", struct.pack("<f", self.value))[0]
        if self.dtype == "fp64":
            return struct.unpack("<Q", struct.pack("<d", self.value))[0]
        if self.dtype in ("fp16", "bf16"):
            return int(encode(np.array([self.value]), self.dtype).view(np.uint16)[0])
        return int(self.value) & 0xFFFFFFFFFFFFFFFF


def to_argument(value: Any) -> Buffer | Scalar:
    """Plain numbers are i32 (i64 when they need it) and fp32."""
    if isinstance(value, (Buffer, Scalar)):
        return value
    if isinstance(value, bool):
        return Scalar(int(value), "i1")
    if isinstance(value, int):
        return Scalar(value, "i32" if -(2**31) <= value < 2**31 else "i64")
    if isinstance(value, float):
        return Scalar(value, "fp32")
    raise TypeError(f"cannot pass {value!r} to a kernel")
