"""Compiles a prepared case with nereid-cc and runs it on this CPU, in a child process, or, where it is
compiled for another kind of CPU, under emulation (run_emulated.py).

Every buffer ends at a page that may not be touched, so reading or writing past an end is caught; a
crash or an endless loop is a failed case, not the end of the run."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import select
import signal
import tempfile
from pathlib import Path

import numpy as np

from kernels import expr, objects, run_emulated, tile_registers
from kernels.conformance import Prepared, check_memory, compare_bits
from kernels.spec import Ptr
from kernels.targets import Choice

TIME_LIMIT = 120.0  # seconds
_PAGE = mmap.PAGESIZE
_CANARY = 0xA5
_libc = ctypes.CDLL(None, use_errno=True)


class _Buffer:
    """One array in shared memory, at `start`: [canary][array][up to 15 canary bytes]; the page behind
    is forbidden."""

    def __init__(self, array: np.ndarray, memory: mmap.mmap, start: int) -> None:
        size, body = array.nbytes, _body_bytes(array)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(memory, start))
        self._memory = memory
        self._bytes = np.frombuffer(memory, dtype=np.uint8)[start : start + body]
        self._bytes[:] = _CANARY
        self.begin = (body - size) // 16 * 16
        self.end = self.begin + size
        self._bytes[self.begin : self.end] = np.frombuffer(array.tobytes(), dtype=np.uint8)
        self._dtype, self._shape = array.dtype, array.shape

    def array(self) -> np.ndarray:
        return self._bytes[self.begin : self.end].view(self._dtype).reshape(self._shape)

    def intact(self) -> bool:
        return bool(
            (self._bytes[: self.begin] == _CANARY).all()
            and (self._bytes[self.end :] == _CANARY).all()
        )


def _body_bytes(array: np.ndarray) -> int:
    return -(-(array.nbytes + 64) // _PAGE) * _PAGE


def run_native(prepared: Prepared, choice: Choice, tools: objects.Toolchain) -> list[str]:
    """Problems found; none if the result is right."""
    compiled = objects.compile_choice(prepared.kernel, prepared.key, choice, tools)
    programs = prepared.kernel.grid_size(prepared.key, prepared.scalars, choice.tiles)
    arrays = {name: value for name, value in prepared.inputs.items() if value is not None}
    machine = run_emulated.machine_of(compiled.blob)
    if machine:
        problem, buffers = _run_emulated(prepared, compiled, programs, arrays, machine)
    else:
        problem, buffers = _run_here(prepared, compiled, programs, arrays)
    if problem:
        return [problem]
    memory = {name: buffer.array() for name, buffer in buffers.items()}
    problems = check_memory(prepared, memory)
    if expr.parse(prepared.kernel.same_bits).evaluate(prepared.key):
        problems += compare_bits(prepared, memory)
    return problems + [
        f"{name}: bytes outside it changed" for name, b in buffers.items() if not b.intact()
    ]


def _run_here(
    prepared: Prepared, compiled: objects.Object, programs: int, arrays: dict[str, np.ndarray]
) -> tuple[str, dict[str, _Buffer]]:
    """What went wrong, or "", and the memory afterwards."""
    buffers, addresses = {}, {}
    for name, array in arrays.items():
        body = _body_bytes(array)
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS
        buffer = buffers[name] = _Buffer(array, mmap.mmap(-1, body + _PAGE, flags=flags), 0)
        _libc.mprotect(ctypes.c_void_p(buffer.base + body), ctypes.c_size_t(_PAGE), 0)
        addresses[name] = buffer.base + buffer.begin
    slots = _slots(prepared, addresses)
    values = (ctypes.c_uint64 * max(1, len(slots)))(*slots)
    return _in_child(lambda: _launch(compiled, values, programs)), buffers


def _run_emulated(
    prepared: Prepared,
    compiled: objects.Object,
    programs: int,
    arrays: dict[str, np.ndarray],
    machine: run_emulated.Machine,
) -> tuple[str, dict[str, _Buffer]]:
    """The same, with offsets in a file for addresses."""
    with tempfile.TemporaryDirectory(prefix="nereid-case-") as folder:
        memory = run_emulated.Memory(Path(folder))
        starts = {name: memory.reserve(_body_bytes(array)) for name, array in arrays.items()}
        content = memory.map()
        buffers = {name: _Buffer(arrays[name], content, start) for name, start in starts.items()}
        slots = _slots(prepared, {name: starts[name] + b.begin for name, b in buffers.items()})
        pointers = [isinstance(arg, Ptr) for arg in prepared.kernel.args]
        header = memory.header(pointers, slots, programs, compiled.scratch_bytes)
        content[: len(header)] = header
        return memory.run(compiled, machine, TIME_LIMIT), buffers


def _slots(prepared: Prepared, addresses: dict[str, int]) -> list[int]:
    """One 64-bit number for each argument, as docs/cpu-compiler.md says."""
    slots = []
    for arg in prepared.kernel.args:
        if isinstance(arg, Ptr):
            slots.append(addresses.get(prepared.owner(arg.name), 0))
        elif arg.type == "f32":
            slots.append(int(np.float32(prepared.scalars[arg.name]).view(np.uint32)))
        else:
            bits = 32 if arg.type in ("i32", "u32") else 64
            slots.append(_sign_extended(prepared.scalars[arg.name], bits))
    return slots


def _sign_extended(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return (value - (1 << bits) if value >> (bits - 1) else value) & (2**64 - 1)


def _launch(compiled: objects.Object, slots: ctypes.Array, programs: int) -> None:
    """All programs as two ranges, the later one first: they must not depend on each other."""
    library = _load(compiled.blob)
    tile_registers.allow()
    entry = getattr(library, compiled.entry)
    entry.restype = None
    scratch = np.full(compiled.scratch_bytes + 64, 0xFF, dtype=np.uint8)
    aligned = -(-scratch.ctypes.data // 64) * 64
    grid = (ctypes.c_uint32 * 3)(programs, 1, 1)
    middle = programs // 2
    for begin, end in ((middle, programs), (0, middle)):
        if begin < end:
            entry(
                slots, ctypes.c_uint32(begin), ctypes.c_uint32(end), grid, ctypes.c_void_p(aligned)
            )


def _load(blob: bytes) -> ctypes.CDLL:
    with tempfile.NamedTemporaryFile(suffix=".so") as out:
        out.write(blob)
        out.flush()
        return ctypes.CDLL(out.name)


def _in_child(action) -> str:
    """Runs `action` in a forked child; "" if it ended well."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            faulthandler.disable()  # a crash is reported by the parent
            action()
            code = 0
        except BaseException as error:  # noqa: BLE001  (reported to the parent)
            os.write(writer, repr(error).encode()[:4096])
        finally:
            os._exit(code)
    os.close(writer)
    # The pipe closes when the child ends.
    timed_out = not select.select([reader], [], [], TIME_LIMIT)[0]
    if timed_out:
        os.kill(child, signal.SIGKILL)
    text = os.read(reader, 4096).decode(errors="replace")
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if timed_out:
        return f"still running after {TIME_LIMIT:.0f} s"
    if os.WIFSIGNALED(status):
        return f"crashed: {signal.Signals(os.WTERMSIG(status)).name}"
    return text if os.WEXITSTATUS(status) else ""
