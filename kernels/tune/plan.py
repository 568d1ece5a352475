"""What is tried for a kernel: kernels/tune/<kernel>.toml, read and expanded into candidates.

    rotate = ["weights"]                    # arrays that a cache must not hold from one launch to the next
    when = "x_dtype == 'bf16'"              # what the `when` of every shape says besides
    [key]                                   # key fields that all shapes share
    [args]                                  # integer and float arguments but the select argument
    counts = ["slots"]                      # i32 arrays that hold 0, 1, 2, ..., where random numbers would be no places
    [arrays]                                # elements of each array, an expression; others are null
    [[shapes]]                              # name, when (for which keys it stands), key, select (values measured)
    [[candidates]]                          # when, select = [from, to], tiles: a value or a list of them each
"""

from __future__ import annotations

import itertools
import struct
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from kernels import expr, targets
from kernels.dtypes import DTYPES
from kernels.spec import COMPILE_OPTIONS, MAX_WORKSPACE_BYTES, Kernel, Ptr, SpecError
from kernels.targets import Choice

FOLDER = Path(__file__).parent
_FIELDS = {"rotate", "counts", "when", "key", "args", "arrays", "shapes", "candidates"}


@dataclass(frozen=True)
class Shape:
    """One key that is measured, at each of `select`; its results hold for the keys `when` admits."""

    name: str
    when: str
    key: Mapping[str, Any]
    select: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    kernel: Kernel
    rotate: frozenset[str]
    counts: frozenset[str]
    args: Mapping[str, Any]
    arrays: Mapping[str, str]
    shapes: tuple[Shape, ...]
    candidates: tuple[Mapping[str, Any], ...] = field(repr=False)


def default_path(kernel: Kernel) -> Path:
    return FOLDER / f"{kernel.name}.toml"


def tunable() -> list[str]:
    """Kernels that have a plan."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read(kernel: Kernel, path: Path) -> Plan:
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise SpecError(
            f"{path}: kernel {kernel.name} has no plan for tuning (there is one for {', '.join(tunable())})"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: {error}") from None
    try:
        return _plan(kernel, table)
    except (SpecError, expr.ExprError, KeyError, TypeError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
        raise SpecError(f"{path}: {what}") from None


def _plan(kernel: Kernel, table: Mapping[str, Any]) -> Plan:
    if unknown := sorted(set(table) - _FIELDS):
        raise SpecError(f"unknown {', '.join(unknown)} (expected {', '.join(sorted(_FIELDS))})")
    shapes = []
    for entry in table["shapes"]:
        key = kernel.check_key({**table.get("key", {}), **entry["key"]})
        when = " and ".join(filter(None, (table.get("when"), entry["when"])))
        expr.parse(when).require(kernel.key_names, f"shape {entry['name']}: when")
        if not expr.parse(when).evaluate(key):
            raise SpecError(f"shape {entry['name']}: its key is none of those of its `when`")
        select = tuple(sorted(entry["select"])) if kernel.select else (0,)
        shapes.append(Shape(entry["name"], when, key, select))
    if not shapes or not table["candidates"]:
        raise SpecError("no shapes, or no candidates")
    arrays = {name: str(elements) for name, elements in table["arrays"].items()}
    for name, elements in arrays.items():
        if name not in {arg.name for arg in kernel.pointers}:
            raise SpecError(f"arrays: {name} is no pointer of {kernel.name}")
        expr.parse(elements).require({*kernel.key_names, *kernel.int_args}, f"arrays.{name}")
    args = table.get("args", {})
    scalars = {arg.name for arg in kernel.args if not isinstance(arg, Ptr)}
    if missing := sorted(scalars - {kernel.select} - set(args)):
        raise SpecError(f"args: no value for {', '.join(missing)}")
    return Plan(
        kernel, frozenset(table.get("rotate", ())), frozenset(table.get("counts", ())), args, arrays, tuple(shapes), tuple(table["candidates"])
    )  # fmt: skip


def _combinations(tiles: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every choice of one value from each list."""
    lists = [value if isinstance(value, list) else [value] for value in tiles.values()]
    return [dict(zip(tiles, values)) for values in itertools.product(*lists)]


def resolve(kernel: Kernel, key: Mapping[str, Any], values: Mapping[str, Any]) -> Choice:
    """Tile constants and options, as a target file has them, for one key."""
    kernel.check_choices([values], "candidates")
    numbers = {name: expr.parse(value).evaluate(key) for name, value in values.items()}
    options = {name: numbers.pop(name, default) for name, default in COMPILE_OPTIONS.items()}
    tiles = {**kernel.tile_defaults, **numbers}
    return Choice(None, {name: tiles[name] for name in kernel.tiles}, **options)


def today(kernel: Kernel, key: Mapping[str, Any], select: int, target: str) -> dict[str, Any]:
    """The tiles that run now, as the target file has them."""
    _, listed = targets.candidates(kernel, target)
    chosen = next(
        entry
        for entry in listed
        if expr.parse(entry.get("when", 1)).evaluate(key) and select <= entry.get("max", select)
    )
    return {name: value for name, value in chosen.items() if name not in ("max", "when")}


def candidates(plan: Plan, shape: Shape, select: int) -> list[dict[str, Any]]:
    """All that is tried for a shape at one value of the select argument, beside what runs today."""
    found: list[dict[str, Any]] = []
    for entry in plan.candidates:
        low, high = entry.get("select", (0, 1 << 40))
        if not (low <= select <= high and expr.parse(entry.get("when", 1)).evaluate(shape.key)):
            continue
        for values in _combinations(entry["tiles"]):
            bytes_wanted = workspace_bytes(plan, shape.key, select, values)
            if bytes_wanted <= MAX_WORKSPACE_BYTES and values not in found:
                found.append(values)
    return found


def workspace_bytes(plan: Plan, key: Mapping[str, Any], select: int, values: Mapping[str, Any]) -> int:
    kernel = plan.kernel
    ints = {name: plan.args.get(name, 0) for name in kernel.int_args}
    if kernel.select:
        ints[kernel.select] = select
    return kernel.workspace_size(key, ints, resolve(kernel, key, values).tiles)


def job_args(plan: Plan, shape: Shape, select: int) -> list[dict[str, Any]]:
    """As bench/kernel_jobs.h reads them."""
    kernel = plan.kernel
    ints = {name: plan.args[name] for name in kernel.int_args if name in plan.args}
    if kernel.select:
        ints[kernel.select] = select
    values = {**shape.key, **ints}
    made: list[dict[str, Any]] = []
    for arg in kernel.args:
        if not isinstance(arg, Ptr):
            made.append({"slot": _slot(arg.type, values.get(arg.name, plan.args.get(arg.name)))})
        elif arg.name == "workspace":
            made.append({"workspace": True})
        elif elements := _elements(plan, arg.name, values):
            dtype = kernel.arg_dtype(arg.name, shape.key)
            made.append(
                {
                    "dtype": dtype,
                    "bytes": elements * np.dtype(DTYPES[dtype].storage).itemsize,
                    "rotates": arg.name in plan.rotate,
                    "written": arg.access in ("write", "readwrite"),
                    "counts": arg.name in plan.counts,
                }
            )
        else:
            made.append({"null": True})
    return made


def _elements(plan: Plan, name: str, values: Mapping[str, Any]) -> int:
    return expr.parse(plan.arrays[name]).evaluate(values) if name in plan.arrays else 0


def _slot(kind: str, value: Any) -> int:
    if kind == "f32":
        return struct.unpack("<I", struct.pack("<f", float(value)))[0]
    return int(value) & 0xFFFFFFFFFFFFFFFF
