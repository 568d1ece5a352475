"""Compiles TTIR with nereid-cc and runs the result on NumPy arrays, in a child process.

The entry ABI is in docs/cpu-compiler.md. A kernel that crashes or hangs fails its own case only.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np

from buffers import Buffer, Scalar

from kernels import tile_registers

COMPILE_SECONDS = 120
RUN_SECONDS = 60


class CompileError(Exception):
    """nereid-cc refused the input; the text is its message."""


class RunError(Exception):
    """The kernel crashed, trapped or hung."""


class KernelInfo(ctypes.Structure):
    _fields_ = [
        ("abi_version", ctypes.c_uint32),
        ("num_args", ctypes.c_uint32),
        ("scratch_bytes", ctypes.c_uint64),
        ("scratch_align", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


def compile_ttir(compiler: Path, text: str, output: Path, cpu: str, emit: str = "so") -> float:
    """Returns the CPU seconds it took, which other load on the machine does not change much."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    source = output.with_suffix(".ttir")
    source.write_text(text)
    command = [str(compiler), str(source), "-o", str(output), "--cpu", cpu, "--emit", emit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    if done.returncode != 0:
        raise CompileError(f"exit code {done.returncode}: {done.stderr.strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass
class Kernel:
    path: Path
    name: str

    def launch(
        self,
        args: Sequence[Buffer | Scalar],
        grid: Sequence[int],
        threads: int = 1,
    ) -> None:
        """Runs all programs of `grid`; buffers must have been placed."""
        child = os.fork()
        if child == 0:
            _run_in_child(self, args, grid, threads)
        _wait_for(child)


def _load(kernel: Kernel) -> tuple[ctypes._CFuncPtr, KernelInfo]:
    library = ctypes.CDLL(str(kernel.path))
    entry = getattr(library, kernel.name)
    entry.restype = None
    entry.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_uint32,
        ctypes.c_void_p,
        ctypes.c_void_p,
    )
    return entry, KernelInfo.in_dll(library, f"{kernel.name}_info")


def _scratch(info: KernelInfo) -> tuple[mmap.mmap | None, int]:
    """Scratch memory full of NaN, ending at a page that traps."""
    size = -(-info.scratch_bytes // info.scratch_align) * info.scratch_align
    pages = -(-size // mmap.PAGESIZE) + 1
    area = mmap.mmap(-1, pages * mmap.PAGESIZE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(area))
    np.frombuffer(area, np.uint8)[:] = 0xFF
    ctypes.CDLL(None).mprotect(
        ctypes.c_void_p(base + (pages - 1) * mmap.PAGESIZE), ctypes.c_size_t(mmap.PAGESIZE), 0
    )
    return area, base + (pages - 1) * mmap.PAGESIZE - size


def _run_in_child(
    kernel: Kernel, args: Sequence[Buffer | Scalar], grid: Sequence[int], threads: int
) -> None:
    code = 99
    try:
        signal.alarm(RUN_SECONDS)
        for number in (signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGBUS, signal.SIGABRT):
            signal.signal(number, signal.SIG_DFL)
        tile_registers.allow()
        entry, info = _load(kernel)
        if info.abi_version != 1 or info.num_args != len(args):
            os._exit(98)
        slots = (ctypes.c_uint64 * max(1, len(args)))(
            *[a.address if isinstance(a, Buffer) else a.slot for a in args]
        )
        sizes = (ctypes.c_uint32 * 3)(*grid)
        programs = grid[0] * grid[1] * grid[2]
        bounds = [programs * part // threads for part in range(threads + 1)]
        areas = [_scratch(info) for _ in range(threads)]
        work = [
            threading.Thread(
                target=entry,
                args=(ctypes.addressof(slots), begin, end, ctypes.addressof(sizes), address),
            )
            for begin, end, (_, address) in zip(bounds, bounds[1:], areas)
        ]
        if threads == 1:
            work[0].run()
        else:
            for thread in work:
                thread.start()
            for thread in work:
                thread.join()
        code = 0
    except BaseException as error:  # the parent sees the exit code only
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def _wait_for(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise RunError(f"killed by {signal.Signals(os.WTERMSIG(status)).name}")
    code = os.WEXITSTATUS(status)
    if code == 98:
        raise RunError("the info record does not fit the arguments")
    if code != 0:
        raise RunError(f"exit code {code}")


def place_all(args: Sequence[Buffer | Scalar], at_end: bool, aligns: Mapping[int, int]) -> None:
    for index, argument in enumerate(args):
        if isinstance(argument, Buffer):
            argument.place(at_end, aligns.get(index, argument.raw.itemsize))
