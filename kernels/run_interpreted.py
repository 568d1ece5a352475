"""Runs a prepared case in Triton's interpreter: slow, but independent of any compiler.

TRITON_INTERPRET=1 must be set before Triton is imported.
"""

from __future__ import annotations

import builtins
import sys
from contextlib import contextmanager
from typing import Iterator

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

from kernels.conformance import Prepared
from kernels.dtypes import DTYPES, bf16_to_f32, f32_to_bf16
from kernels.spec import WORKSPACE_FLAG_BYTES, DType, Ptr, SpecError
from kernels.targets import Choice


def run_interpreted(prepared: Prepared, choice: Choice) -> dict[str, np.ndarray]:
    """Memory after all programs have run."""
    kernel, key = prepared.kernel, prepared.key
    workspace = _workspace(prepared, choice)
    if not isinstance(kernel.fn, interpreter.InterpretedFunction):
        raise SpecError("set TRITON_INTERPRET=1 before Triton is imported")
    memory = {
        name: None if value is None else value.copy() for name, value in prepared.inputs.items()
    }
    values = {}
    for arg in kernel.args:
        element = DTYPES[kernel.arg_dtype(arg.name, key)]
        if isinstance(arg, Ptr):
            array = memory[prepared.owner(arg.name)]
            if arg.name == "workspace" and workspace is not None:
                array = workspace
            address = 0 if array is None else array.ctypes.data
            values[arg.name] = _tensor(
                np.uint64(address), tl.pointer_type(getattr(tl, element.tl)), np.uint64
            )
        else:
            values[arg.name] = _tensor(
                prepared.scalars[arg.name], getattr(tl, element.tl), element.storage
            )
    parameters = kernel.fn.arg_names
    for field in kernel.key:
        if field.name in parameters:
            value = key[field.name]
            values[field.name] = (
                getattr(tl, DTYPES[value].tl) if isinstance(field, DType) else value
            )
    values |= choice.tiles
    function = kernel.fn.rewrite()
    builder = interpreter.interpreter_builder
    programs = kernel.grid_size(key, prepared.scalars, choice.tiles)
    order = list(range(programs))[::-1]  # programs are independent: any order will do
    scope = interpreter._patch_lang(function)
    try:
        with np.errstate(all="ignore"), _tensor_ranges(), _exact_bf16():
            builder.set_grid_dim(programs, 1, 1)
            for program in order:
                builder.set_grid_idx(program, 0, 0)
                function(**values)
    finally:
        scope.restore()
    if workspace is not None and workspace[: WORKSPACE_FLAG_BYTES // 4].any():
        raise SpecError(f"{kernel.variant(key)}: flags of the workspace are not zero after a launch")
    return memory


def _workspace(prepared: Prepared, choice: Choice) -> np.ndarray | None:
    """As a launcher gives it: flags of zero, then anything."""
    kernel, key = prepared.kernel, prepared.key
    size = kernel.workspace_size(key, prepared.scalars, choice.tiles)
    if size == 0:
        return None
    made = np.full((WORKSPACE_FLAG_BYTES + size) // 4, 0x7FC00000, dtype=np.int32)  # NaN
    made[: WORKSPACE_FLAG_BYTES // 4] = 0
    return made


def _tensor(value, dtype, storage):
    handle = interpreter.TensorHandle(np.array([value], dtype=storage), dtype)
    return tl.tensor(handle, dtype)


@contextmanager
def _tensor_ranges() -> Iterator[None]:
    """Loop variables of `range` are i32 tensors, as in compiled kernels; the interpreter makes them
    ints."""

    def tensor_range(*bounds):
        plain = (int(b.handle.data.item()) if isinstance(b, tl.tensor) else int(b) for b in bounds)
        return (_tensor(value, tl.int32, np.int32) for value in builtins.range(*plain))

    modules = [
        m
        for name, m in list(sys.modules.items())
        if name.startswith("kernels.") and not hasattr(m, "range")
    ]
    for module in modules:
        module.range = tensor_range
    try:
        yield
    finally:
        for module in modules:
            del module.range


@contextmanager
def _exact_bf16() -> Iterator[None]:
    """The interpreter truncates when it narrows to bf16; compiled kernels round to nearest even. Its dot takes
    the bits of bf16 for integers."""
    original = interpreter._convert_float
    original_dot = interpreter.InterpreterBuilder.create_dot

    def convert(data, from_type, to_type, rounding_mode):
        if (from_type, to_type) == (tl.float32, tl.bfloat16):
            return f32_to_bf16(data).reshape(data.shape)
        if (from_type, to_type) == (tl.bfloat16, tl.float32):
            return bf16_to_f32(data.view(np.uint16)).reshape(data.shape)
        return original(data, from_type, to_type, rounding_mode)

    def dot(builder, a, b, *rest):
        a, b = (
            interpreter.TensorHandle(bf16_to_f32(t.data.view(np.uint16)).reshape(t.data.shape), tl.float32)
            if t.dtype.scalar == tl.bfloat16
            else t
            for t in (a, b)
        )
        return original_dot(builder, a, b, *rest)

    interpreter._convert_float = convert
    interpreter.InterpreterBuilder.create_dot = dot
    try:
        yield
    finally:
        interpreter._convert_float = original
        interpreter.InterpreterBuilder.create_dot = original_dot
