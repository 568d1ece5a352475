"""Writing entries into a target file without touching what people wrote there.

Tuned entries stand first in a kernel's list, between two comments; they are replaced as a whole. Everything else of
the file stays as it is, byte by byte."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Mapping

from kernels.spec import Kernel, SpecError
from kernels.tune.choose import Entry

BEGIN = "  # tuned"
END = "  # end of what ./dev tune wrote; by hand from here on"


def write(path: Path, kernel: Kernel, entries: list[Entry], facts: str, inherited: list[Mapping[str, Any]]) -> None:
    """`inherited`: what holds for the kernel today, for a file that does not list it yet."""
    old = path.read_text() if path.exists() else ""
    new = updated(old, kernel, entries, facts, inherited)
    _check(new, kernel, path)
    _replace(path, new)


def updated(
    text: str, kernel: Kernel, entries: list[Entry], facts: str, inherited: list[Mapping[str, Any]]
) -> str:  # fmt: skip
    block = [f"{BEGIN}: {facts}"]
    for entry in entries:
        block += [f"  # {entry.comment}", f"  {_line(kernel, entry)},"]
    block.append(END)
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if re.match(rf"{kernel.name}\s*=\s*\[", line)), None)
    if start is None:
        return _with_new_list(lines, kernel, block, inherited)
    if lines[start].rstrip()[-1] != "[":
        raise SpecError(f"the list of {kernel.name} begins and ends on one line; give each entry its own")
    begin = next((at for at in range(start, len(lines)) if lines[at].startswith(BEGIN)), None)
    close = next(at for at in range(start, len(lines)) if lines[at].startswith("]"))
    if begin is not None and begin < close:
        end = next((at for at in range(begin, close) if lines[at] == END), None)
        if end is None:
            raise SpecError(f"the list of {kernel.name} has {BEGIN.strip()!r}, but not the comment that ends it")
        del lines[begin : end + 1]
    lines[start + 1 : start + 1] = block
    return "\n".join(lines) + "\n"


def _with_new_list(
    lines: list[str], kernel: Kernel, block: list[str], inherited: list[Mapping[str, Any]]
) -> str:  # fmt: skip
    rest = [f"  {_inline(entry)}," for entry in inherited]
    added = [f"{kernel.name} = [", *block, *rest, "]"]
    # Before the first table: below its head the list would be the table's.
    first = next((at for at, line in enumerate(lines) if re.match(r"\[[^\]]*\]\s*(#.*)?$", line)), len(lines))
    lines[first:first] = added + ([""] if first < len(lines) else [])
    return "\n".join(lines) + "\n"


def _line(kernel: Kernel, entry: Entry) -> str:
    fields: dict[str, Any] = {}
    if entry.max is not None:
        fields["max"] = entry.max
    if entry.when.strip() not in ("", "1"):
        fields["when"] = entry.when
    return _inline(fields | {n: v for n, v in entry.tiles.items() if kernel.tile_defaults.get(n) != v})


def _inline(fields: Mapping[str, Any]) -> str:
    text = lambda value: str(value) if isinstance(value, int) else '"' + str(value).replace('"', '\\"') + '"'
    return "{ " + ", ".join(f"{name} = {text(value)}" for name, value in fields.items()) + " }"


def _check(text: str, kernel: Kernel, path: Path) -> None:
    """What is written must be read as it was meant."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: would not be TOML any more: {error}") from None
    names = table.get("names", {})
    listed = [{k: names.get(v, v) for k, v in entry.items()} for entry in table[kernel.name]]
    kernel.check_choices(listed, str(path))


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with open(descriptor, "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
