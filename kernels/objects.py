"""One tile choice of a variant to the bytes that go into a pack, with a cache of compiled
objects."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from kernels import ttir
from kernels.spec import Kernel
from kernels.targets import Choice

KERNEL_ABI = 1
_DIGEST_BYTES = hashlib.sha256().digest_size
_INFO = struct.Struct(
    "<IIQII"
)  # NereidKernelInfo: abi_version, num_args, scratch_bytes, scratch_align, reserved


class CompileError(RuntimeError):
    """A kernel did not compile; the message is what a person needs to see."""


@dataclass(frozen=True)
class Object:
    """One blob of a pack and what the manifest says of it."""

    blob: bytes
    entry: str
    num_args: int
    scratch_bytes: int
    num_warps: int
    shared_bytes: int
    num_ctas: int = 1
    launch_pdl: bool = False


@dataclass(frozen=True)
class Toolchain:
    """How kernels are compiled: for which target, by which nereid-cc, with which object cache (or
    None)."""

    target: str
    cc: Path | None
    cc_sha256: str
    cache: Path | None


def default_cache() -> Path:
    if explicit := os.environ.get("NEREID_CACHE_DIR"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nereid"


def toolchain(target: str, cc: Path | None, cache: Path | None) -> Toolchain:
    """Checks that the target can be compiled for, before anything is; `cpu:native` becomes the name
    of this machine's CPU."""
    if not target.startswith("cpu:"):
        ttir.gpu_target(target)
        return Toolchain(target, None, "", cache)
    if cc is None or not os.access(cc, os.X_OK):
        raise CompileError(
            f"target {target} needs the compiler nereid-cc, and there is none at {cc}"
        )
    command = [str(cc), "--print-cpu", "--cpu", target.removeprefix("cpu:")]
    known = subprocess.run(command, capture_output=True, text=True, check=False)
    if known.returncode != 0:
        reason = known.stderr.strip().removeprefix("nereid-cc: error: --cpu: ")
        raise CompileError(f"target {target!r} is not known: {reason}")
    target = "cpu:" + known.stdout.strip()
    return Toolchain(target, cc, hashlib.sha256(cc.read_bytes()).hexdigest(), cache)


def compile_fitting(
    kernel: Kernel, key: Mapping[str, Any], choice: Choice, tools: Toolchain
) -> tuple[Choice, Object]:
    """The choice, or the first of its fallbacks that the target can hold."""
    problem: ttir.DoesNotFit | None = None
    for candidate in (choice, *choice.fallbacks):
        try:
            return candidate, compile_choice(kernel, key, candidate, tools)
        except ttir.DoesNotFit as error:
            problem = problem or error
    raise CompileError(f"{tools.target}: {problem}")


def compile_choice(
    kernel: Kernel, key: Mapping[str, Any], choice: Choice, tools: Toolchain
) -> Object:
    if not tools.target.startswith("cpu:"):
        return _gpu_object(kernel, key, choice, tools)
    what = f"{kernel.variant(key)} tiles {dict(choice.tiles)}"
    blob = _cpu_object(kernel, key, choice, tools, what)
    abi, num_args, scratch_bytes, _, _ = read_info(blob, ttir.entry_name(kernel), what)
    if abi != KERNEL_ABI:
        raise CompileError(f"{what}: nereid-cc wrote kernel ABI {abi}, expected {KERNEL_ABI}")
    if num_args != len(kernel.args):
        raise CompileError(
            f"{what}: the object takes {num_args} arguments, the declaration has {len(kernel.args)}"
        )
    return Object(blob, ttir.entry_name(kernel), num_args, scratch_bytes, choice.num_warps, 0)


def _gpu_object(
    kernel: Kernel, key: Mapping[str, Any], choice: Choice, tools: Toolchain
) -> Object:
    """By Triton's own compiler. The cached file is a line of JSON and the binary."""
    options = [tools.target, choice.num_warps, choice.num_stages, ttir.triton.__version__]
    if choice.num_ctas != 1 or choice.launch_pdl:
        options += [choice.num_ctas, choice.launch_pdl]
    text = _without_locations(ttir.identity(kernel, key, choice))
    digest = hashlib.sha256("\0".join([text, *map(str, options)]).encode()).hexdigest()
    cached = tools.cache / "objects" / f"{digest}.gpu" if tools.cache else None
    if cached and (stored := _load(cached)) is not None:
        head, _, blob = stored.partition(b"\n")
        return Object(blob, **json.loads(head))
    binary = ttir.compile_gpu(kernel, key, choice, tools.target)
    facts = {
        "entry": binary.entry,
        "num_args": len(kernel.args),
        "scratch_bytes": binary.scratch_bytes,
        "num_warps": binary.num_warps,
        "shared_bytes": binary.shared_bytes,
        "num_ctas": binary.num_ctas,
        "launch_pdl": binary.launch_pdl,
    }
    if cached:
        _store(cached, json.dumps(facts).encode() + b"\n" + binary.blob)
    return Object(binary.blob, **facts)


def _cpu_object(
    kernel: Kernel, key: Mapping[str, Any], choice: Choice, tools: Toolchain, what: str
) -> bytes:
    text = ttir.to_ttir(kernel, key, choice)
    # The name covers the code, not the source lines it came from.
    digest = hashlib.sha256(
        "\0".join([_without_locations(text), tools.target, tools.cc_sha256]).encode()
    ).hexdigest()
    cached = tools.cache / "objects" / f"{digest}.so" if tools.cache else None
    if cached and (stored := _load(cached)) is not None:
        return stored
    with tempfile.TemporaryDirectory(prefix="nereid-cc-") as folder:
        source, result = Path(folder) / f"{kernel.name}.ttir", Path(folder) / f"{kernel.name}.so"
        source.write_text(text)
        cpu = tools.target.removeprefix("cpu:")
        _run_cc([str(tools.cc), str(source), "-o", str(result), "--cpu", cpu], what)
        blob = result.read_bytes()
    if cached:
        _store(cached, blob)
    return blob


def _without_locations(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.startswith("#loc"))
    return "\n".join(line.split(" loc(", 1)[0] for line in lines)


def _run_cc(command: list[str], what: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise CompileError(f"{what}: nereid-cc died of signal {-done.returncode}")
    if done.returncode != 0:
        raise CompileError(
            f"{what}: {done.stderr.strip() or f'nereid-cc exit code {done.returncode}'}"
        )
    return done.stdout


# A cached object is followed by the SHA-256 of its bytes.


def _load(path: Path) -> bytes | None:
    """The cached object; None if there is none, or it can't be read or is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    blob, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return blob if hashlib.sha256(blob).digest() == digest else None


def _store(path: Path, blob: bytes) -> None:
    """Best effort: a cache that can't be written (read-only, disk full) only costs time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with open(descriptor, "wb") as out:
                out.write(blob + hashlib.sha256(blob).digest())
                out.flush()
                os.fsync(out.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError:
        return


# --- reading <entry>_info from a shared object of any machine -------------------------------------


def read_info(blob: bytes, entry: str, what: str) -> tuple[int, ...]:
    """(abi_version, num_args, scratch_bytes, scratch_align, reserved) of a kernel in an ELF64
    shared object."""
    try:
        address = _dynamic_symbols(blob)[f"{entry}_info"]
        return _INFO.unpack_from(blob, _file_offset(blob, address))
    except (KeyError, struct.error, IndexError, ValueError):
        raise CompileError(
            f"{what}: the compiled object has no usable symbol {entry}_info"
        ) from None


def _dynamic_symbols(blob: bytes) -> dict[str, int]:
    """Name to address of the dynamic symbol table."""
    if blob[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian ELF64 file")
    section_offset = struct.unpack_from("<Q", blob, 40)[0]
    entry_size, count = struct.unpack_from("<HH", blob, 58)
    sections = [
        struct.unpack_from("<IIQQQQIIQQ", blob, section_offset + i * entry_size)
        for i in range(count)
    ]
    dynsym = next(s for s in sections if s[1] == 11)  # SHT_DYNSYM
    strings = sections[dynsym[6]][4]
    table: dict[str, int] = {}
    for offset in range(dynsym[4], dynsym[4] + dynsym[5], 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", blob, offset)
        if section:
            start = strings + name
            table[blob[start : blob.index(b"\0", start)].decode()] = value
    return table


def _file_offset(blob: bytes, address: int) -> int:
    header_offset = struct.unpack_from("<Q", blob, 32)[0]
    entry_size, count = struct.unpack_from("<HH", blob, 54)
    for index in range(count):
        kind, _, offset, virtual, _, size, _, _ = struct.unpack_from(
            "<IIQQQQQQ", blob, header_offset + index * entry_size
        )
        if kind == 1 and virtual <= address < virtual + size:  # PT_LOAD
            return offset + address - virtual
    raise ValueError("address is in no segment")
