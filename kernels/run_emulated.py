"""Runs compiled code for another CPU under QEMU's user-mode emulation, with foreign/run_case.c.

The arguments lie in a file that both processes map, laid out as run_native.py lays out memory: every
buffer ends at a page that may not be touched."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import signal
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kernels.objects import CompileError, Object

PAGE = 4096  # of the emulated CPU
_MAX_ARGS = _MAX_FORBIDDEN = 64  # as in run_case.c
_SOURCE = Path(__file__).parent / "foreign" / "run_case.c"
_HEADER = struct.Struct(f"<4Q{2 * _MAX_ARGS + _MAX_FORBIDDEN}Q")


@dataclass(frozen=True)
class Machine:
    """What runs code of one ELF machine here: Debian packages qemu-user and gcc-<triple>."""

    compiler: str
    emulator: tuple[str, ...]


MACHINES = {
    0xB7: Machine(  # EM_AARCH64
        "aarch64-linux-gnu-gcc", ("qemu-aarch64", "-cpu", "max", "-L", "/usr/aarch64-linux-gnu")
    )
}


def machine_of(blob: bytes) -> Machine | None:
    """None for an object of this machine."""
    number = struct.unpack_from("<H", blob, 18)[0]
    with open("/proc/self/exe", "rb") as python:
        if struct.unpack_from("<H", python.read(20), 18)[0] == number:
            return None
    if number not in MACHINES:
        raise CompileError(f"no emulator is known for ELF machine {number}")
    return MACHINES[number]


@lru_cache(maxsize=None)
def _runner(compiler: str) -> Path:
    """foreign/run_case.c, compiled once for all processes."""
    source = _SOURCE.read_bytes()
    digest = hashlib.sha256(source + Path(__file__).read_bytes()).hexdigest()[:16]
    runner = Path(tempfile.gettempdir()) / f"nereid-run-case-{os.getuid()}-{digest}"
    if runner.is_file():
        return runner
    if not shutil.which(compiler):
        raise CompileError(f"{compiler} is missing (Debian package gcc-aarch64-linux-gnu)")
    beside = f"{runner}.{os.getpid()}"
    # Kernels take functions of libm from the process that loads them.
    flags = ["-O1", "-Wall", "-Werror", "-Wl,--no-as-needed"]
    subprocess.run([compiler, *flags, "-o", beside, str(_SOURCE), "-lm"], check=True)
    os.replace(beside, runner)
    return runner


class Memory:
    """A file with the header and the buffers, each of them in pages of its own."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "memory"
        self._size = -(-_HEADER.size // PAGE) * PAGE
        self._forbidden: list[int] = []

    def reserve(self, body: int) -> int:
        """Offset of `body` bytes, whole pages of them, in front of a forbidden page."""
        offset = self._size
        self._size += body + PAGE
        self._forbidden.append(offset + body)
        return offset

    def map(self) -> mmap.mmap:
        with open(self._path, "w+b") as file:
            file.truncate(self._size)
            return mmap.mmap(file.fileno(), self._size)

    def header(self, is_pointer: list[bool], slots: list[int], programs: int, scratch: int) -> bytes:
        if len(slots) > _MAX_ARGS or len(self._forbidden) > _MAX_FORBIDDEN:
            raise CompileError(f"more than {_MAX_ARGS} arguments")

        def padded(values: list) -> list[int]:
            return [int(value) for value in values] + [0] * (_MAX_ARGS - len(values))

        return _HEADER.pack(
            len(slots), len(self._forbidden), programs, scratch,
            *padded(is_pointer), *padded(slots), *padded(self._forbidden),
        )  # fmt: skip

    def run(self, compiled: Object, machine: Machine, time_limit: float) -> str:
        """What went wrong, or ""."""
        library = self._path.with_name("kernel.so")
        library.write_bytes(compiled.blob)
        command = [*machine.emulator, str(_runner(machine.compiler)), library, compiled.entry, self._path]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=time_limit, check=False
            )
        except subprocess.TimeoutExpired:
            return f"still running after {time_limit:.0f} s"
        except FileNotFoundError:
            raise CompileError(f"{command[0]} is missing (Debian package qemu-user)") from None
        if done.returncode < 0:
            return f"crashed: {signal.Signals(-done.returncode).name}"
        return f"exit code {done.returncode}: {done.stderr.strip()}" if done.returncode else ""
