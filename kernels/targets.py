"""Tile choices per target, from targets/*.toml.

`cpu:znver4` looks a kernel up in targets/cpu-znver4.toml, then targets/cpu.toml, then in the
declaration's default_tiles. A file maps kernel names to ordered lists of choices, and in its table
`names` names to values that these use more than once, or that the file of one architecture sets otherwise; see
docs/architecture.md."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping

from kernels import expr
from kernels.spec import COMPILE_OPTIONS, MAX_WORKSPACE_BYTES, Kernel, SpecError

DIRECTORY = Path(__file__).parent / "targets"


@dataclass(frozen=True)
class Choice:
    """One compilation of a variant: runs when the select argument is at most `max` (None: no
    bound). `fallbacks` are the entries behind it that could take its place, for a target that it
    does not fit."""

    max: int | None
    tiles: Mapping[str, int]
    num_warps: int
    num_stages: int
    num_ctas: int = 1
    launch_pdl: int = 0
    fallbacks: tuple["Choice", ...] = ()


@lru_cache(maxsize=None)
def _read(stem: str) -> Mapping[str, Any]:
    path = DIRECTORY / f"{stem}.toml"
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: {error}") from None


def candidates(kernel: Kernel, target: str) -> tuple[str, list[Mapping[str, Any]]]:
    """The list that applies to `kernel` on `target`, and where it comes from."""
    family, _, arch = target.partition(":")
    stems = ([f"{family}-{arch}"] if arch else []) + [family]
    names: dict[str, Any] = {}
    for stem in reversed(stems):
        names |= _read(stem).get("names", {})
    for stem in stems:
        if kernel.name in (table := _read(stem)):
            entries = table[kernel.name]
            return f"targets/{stem}.toml", [
                {key: names.get(value, value) for key, value in entry.items()} for entry in entries
            ]
    return "default_tiles", list(kernel.default_tiles)


def choices(kernel: Kernel, key: Mapping[str, Any], target: str) -> list[Choice]:
    """What to compile for the variant: ascending `max`, the last one unbounded."""
    where, listed = candidates(kernel, target)
    try:
        kernel.check_choices(listed, where)
        return _resolve(kernel, key, listed, where)
    except (SpecError, expr.ExprError) as error:
        raise SpecError(f"kernel {kernel.name!r}: {error}") from None


def _resolve(
    kernel: Kernel, key: Mapping[str, Any], listed: list[Mapping[str, Any]], where: str
) -> list[Choice]:
    applicable = [
        _choice(kernel, key, entry)
        for entry in listed
        if expr.parse(entry.get("when", 1)).evaluate(key)
    ]
    resolved: list[Choice] = []
    for index, choice in enumerate(applicable):
        if resolved and choice.max is not None and choice.max <= resolved[-1].max:  # type: ignore[operator]
            continue  # an earlier choice already takes these
        fallbacks = tuple(
            replace(other, max=choice.max)
            for other in applicable[index + 1 :]
            if other.max is None or (choice.max is not None and other.max >= choice.max)
        )
        resolved.append(replace(choice, fallbacks=fallbacks))
        if choice.max is None:
            return resolved
    raise SpecError(f"{where} has no choice without max for {kernel.variant(key)}")


def _choice(kernel: Kernel, key: Mapping[str, Any], entry: Mapping[str, Any]) -> Choice:
    values = {
        name: expr.parse(value).evaluate(key)
        for name, value in entry.items()
        if name not in ("max", "when")
    }
    options = {name: values.pop(name, default) for name, default in COMPILE_OPTIONS.items()}
    values = {**kernel.tile_defaults, **values}
    choice = Choice(entry.get("max"), {name: values[name] for name in kernel.tiles}, **options)
    _check_workspace(kernel, key, choice)
    return choice


def _check_workspace(kernel: Kernel, key: Mapping[str, Any], choice: Choice) -> None:
    """Its size is known before the first launch, for the largest `select` that the choice takes."""
    if kernel.workspace is None:
        return
    known = {**key, **choice.tiles, kernel.select: choice.max or 1}
    size = expr.parse(kernel.workspace).evaluate(known)
    if size and choice.max is None:
        raise SpecError(f"tiles {dict(choice.tiles)} take a workspace, so they need a max")
    if size > MAX_WORKSPACE_BYTES:
        raise SpecError(
            f"tiles {dict(choice.tiles)} want a workspace of {size} bytes for {kernel.select} = {choice.max}, "
            f"at most {MAX_WORKSPACE_BYTES} are there"
        )
