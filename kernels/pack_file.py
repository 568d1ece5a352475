"""Pack files: laying one out, writing it atomically, reading it with every check of
docs/pack-format.md."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"NEREIDPK"
ALIGNMENT = 4096
MAX_MANIFEST = 16 << 20


class PackError(RuntimeError):
    """Something is wrong with a request or a pack file."""


def _align(value: int) -> int:
    return -(-value // ALIGNMENT) * ALIGNMENT


# --- writing --------------------------------------------------------------------------------------


def build(
    target: str, results: list[tuple[str, dict[str, Any], list[Any]]]
) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Manifest text and (offset, blob) list. Offsets depend on the manifest's length, which depends
    on the digits of the offsets: the room for the manifest is fixed first."""
    from kernels.generate import kernel_sources_sha256, toolchain_id
    from kernels.objects import KERNEL_ABI
    import triton

    def manifest_for(first: int) -> tuple[bytes, list[tuple[int, bytes]]]:
        offset, blobs, entries = first, [], []
        for name, key, compiled in results:
            choices = []
            for choice, obj in compiled:
                choices.append(
                    {
                        "max": choice.max,
                        "tiles": dict(choice.tiles),
                        "entry": obj.entry,
                        "num_args": obj.num_args,
                        "scratch_bytes": obj.scratch_bytes,
                        "num_warps": obj.num_warps,
                        "shared_bytes": obj.shared_bytes,
                        **({"num_ctas": obj.num_ctas} if obj.num_ctas != 1 else {}),
                        **({"launch_pdl": True} if obj.launch_pdl else {}),
                        "blob": {
                            "offset": offset,
                            "size": len(obj.blob),
                            "sha256": hashlib.sha256(obj.blob).hexdigest(),
                        },
                    }
                )
                blobs.append((offset, obj.blob))
                offset = _align(offset + len(obj.blob))
            entries.append({"kernel": name, "key": key, "choices": choices})
        manifest = {
            "format": "nereid-pack",
            "version": 1,
            "target": target,
            "kernel_abi": KERNEL_ABI,
            "triton": triton.__version__,
            "sources_sha256": kernel_sources_sha256(),
            "toolchain": toolchain_id(),
            "kernels": entries,
        }
        return json.dumps(manifest, separators=(",", ":")).encode(), blobs

    text, _ = manifest_for(1 << 40)  # offsets wider than any real one
    if len(text) > MAX_MANIFEST:
        raise PackError(f"the manifest would have {len(text)} bytes, more than {MAX_MANIFEST}")
    return manifest_for(_align(16 + len(text)))


def _write(out: BinaryIO, manifest: bytes, blobs: list[tuple[int, bytes]]) -> None:
    written = out.write(MAGIC + len(manifest).to_bytes(8, "little") + manifest)
    for offset, blob in blobs:
        written += out.write(b"\0" * (offset - written))
        written += out.write(blob)
    out.flush()


def write_atomically(path: Path, manifest: bytes, blobs: list[tuple[int, bytes]]) -> None:
    """A reader sees the whole file or none; the temporary file goes away on any failure. Links are
    followed, and what is no file (a device, a pipe, an open file under /proc) is written to as it
    is: src/base/atomic_file.h."""
    if (path.exists() and not path.is_file()) or path.is_relative_to("/proc"):
        with open(path, "ab", buffering=0) as device, io.BufferedWriter(device) as out:
            return _write(out, manifest, blobs)
    path = Path(os.path.realpath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            _write(out, manifest, blobs)
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


# --- reading --------------------------------------------------------------------------------------


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest, after checking every bound and digest that docs/pack-format.md names."""
    content = path.read_bytes()
    if content[:8] != MAGIC:
        raise PackError(f"{path}: not a pack (magic is {content[:8]!r}, expected {MAGIC!r})")
    length = int.from_bytes(content[8:16], "little")
    if length > MAX_MANIFEST or 16 + length > len(content):
        raise PackError(
            f"{path}: manifest length {length} does not fit the file ({len(content)} bytes)"
        )
    try:
        manifest = json.loads(content[16 : 16 + length])
        if (manifest["format"], manifest["version"]) != ("nereid-pack", 1):
            raise PackError(
                f"{path}: format {manifest['format']!r} version {manifest['version']!r} is not known"
            )
        taken = [(0, 16 + length)]
        for entry in manifest["kernels"]:
            for choice in entry["choices"]:
                _check_blob(path, content, choice["blob"], entry["kernel"], taken)
        seen = [
            json.dumps([entry["kernel"], entry["key"]], sort_keys=True)
            for entry in manifest["kernels"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise PackError(f"{path}: malformed manifest: {error!r}") from None
    if len(set(seen)) != len(seen):
        raise PackError(f"{path}: a variant is listed twice")
    return manifest


def _check_blob(
    path: Path, content: bytes, blob: dict[str, Any], what: str, taken: list[tuple[int, int]]
) -> None:
    begin, end = blob["offset"], blob["offset"] + blob["size"]
    if begin % ALIGNMENT or blob["size"] <= 0 or end > len(content):
        raise PackError(
            f"{path}: blob of {what} at {begin}+{blob['size']} is unaligned, empty or outside the file"
        )
    if any(begin < other_end and other_begin < end for other_begin, other_end in taken):
        raise PackError(f"{path}: blob of {what} at {begin} overlaps another part of the file")
    taken.append((begin, end))
    if hashlib.sha256(content[begin:end]).hexdigest() != blob["sha256"]:
        raise PackError(f"{path}: blob of {what} at {begin} is damaged (SHA-256 differs)")


def list_pack(path: Path) -> None:
    manifest = read_manifest(path)
    print(
        f"target {manifest['target']}  triton {manifest['triton']}  sources {manifest['sources_sha256'][:16]}"
    )
    for entry in manifest["kernels"]:
        print(
            f"{entry['kernel']}({','.join(f'{name}={value}' for name, value in entry['key'].items())})"
        )
        for choice in entry["choices"]:
            tiles = " ".join(f"{name}={value}" for name, value in choice["tiles"].items())
            bound = "any" if choice["max"] is None else f"<={choice['max']}"
            print(
                f"  {bound:>7}  {tiles}  {choice['blob']['size']} bytes, scratch {choice['scratch_bytes']}"
            )
