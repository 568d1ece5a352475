"""Runs declared cases: prepares memory, executes (Triton's interpreter or compiled CPU code),
compares.

python -m kernels.conformance rms_norm add_rms_norm        # compile with nereid-cc and run on this
CPU python -m kernels.conformance --interpret rms_norm         # semantics only, without nereid-cc
python -m kernels.conformance --case one_row rms_norm"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from kernels.dtypes import DTYPES, narrow, widen
from kernels.spec import DEFAULT_TOLERANCE, Case, Kernel, Ptr, SpecError, Tolerance


@dataclass
class Prepared:
    """A case in storage form: what goes into memory, what must be there afterwards."""

    kernel: Kernel
    case: Case
    key: dict[str, Any]
    inputs: dict[str, np.ndarray | None]  # every pointer; None is null; aliases are left out
    scalars: dict[str, int | np.float32]
    expected: dict[str, np.ndarray]  # written pointers only, under the name that owns the memory
    tolerance: dict[str, Tolerance]
    first: dict[str, bytes] = field(default_factory=dict)  # written pointers, as the first tile left them

    @property
    def label(self) -> str:
        return f"{self.kernel.name}[{self.case.name}]"

    def owner(self, name: str) -> str:
        return self.case.alias.get(name, name)


def prepare(kernel: Kernel, case: Case) -> Prepared:
    """Rounds the inputs to their storage types and asks the reference for the outputs."""
    key = kernel.check_key(case.key)
    what = f"{kernel.name}[{case.name}]"
    if set(case.args) | set(case.alias) != set(kernel.arg_names):
        raise SpecError(
            f"{what}: has arguments {sorted(case.args)}, declared are {sorted(kernel.arg_names)}"
        )
    inputs, scalars, seen = {}, {}, {}
    for arg in kernel.args:
        if arg.name in case.alias:
            continue
        value = case.args[arg.name]
        if not isinstance(arg, Ptr):
            scalars[arg.name] = np.float32(value) if arg.type == "f32" else int(value)
            seen[arg.name] = scalars[arg.name]
            continue
        if value is None and not arg.optional:
            raise SpecError(
                f"{what}: {arg.name} is null but the declaration does not say that it may be"
            )
        dtype = kernel.arg_dtype(arg.name, key)
        inputs[arg.name] = None if value is None else narrow(value, dtype)
        seen[arg.name] = None if value is None else widen(inputs[arg.name], dtype)
    for name, owner in case.alias.items():
        seen[name] = seen[owner]
    expected = _expected(kernel, case, key, inputs, seen, what)
    tolerance = {}
    for name in expected:
        dtype = kernel.arg_dtype(name, key)
        default = DEFAULT_TOLERANCE.get(dtype, Tolerance())
        tolerance[name] = case.tolerance.get(name, default)
    return Prepared(kernel, case, key, inputs, scalars, expected, tolerance)


def _expected(kernel, case, key, inputs, seen, what) -> dict[str, np.ndarray]:
    outputs = kernel.reference(key, {name: _private(value) for name, value in seen.items()})
    written = [
        arg.name
        for arg in kernel.pointers
        if arg.access in ("write", "readwrite") and seen[arg.name] is not None
    ]
    if sorted(outputs) != sorted(written):
        raise SpecError(
            f"{what}: the reference returned {sorted(outputs)}, written arguments are {sorted(written)}"
        )
    expected = {}
    for name, value in outputs.items():
        owner = case.alias.get(name, name)
        value = np.asarray(value)
        if value.shape != inputs[owner].shape:
            raise SpecError(
                f"{what}: reference of {name} has shape {value.shape}, the case {inputs[owner].shape}"
            )
        dtype = kernel.arg_dtype(name, key)
        if not DTYPES[dtype].is_float and not np.issubdtype(value.dtype, np.integer):
            raise SpecError(
                f"{what}: reference of {name} is {value.dtype}, the argument is {dtype}"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            narrowed = (
                value.astype(np.float32)
                if DTYPES[dtype].is_float and value.dtype != np.uint8
                else value
            )
        expected[owner] = narrow(narrowed, dtype)
    return expected


def _private(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def compare(prepared: Prepared, name: str, got: np.ndarray) -> str:
    """What differs between `got` and what is expected of the written argument `name`, or ""."""
    dtype = prepared.kernel.arg_dtype(name, prepared.key)
    expected, tolerance = prepared.expected[name], prepared.tolerance[name]
    a, b = widen(got, dtype).astype(np.float64), widen(expected, dtype).astype(np.float64)
    if not DTYPES[dtype].is_float and tolerance == Tolerance():
        bad = got != expected
    else:
        with np.errstate(invalid="ignore"):
            close = np.abs(a - b) <= tolerance.atol + tolerance.rtol * np.abs(b)
            same = (a == b) | (np.isnan(a) & np.isnan(b))
        bad = ~(same | (close & np.isfinite(b)))
    count = int(bad.sum())
    if count <= tolerance.mismatch * bad.size:
        return ""
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b)[bad]
    worst = float(difference[np.isfinite(difference)].max(initial=0))
    return (
        f"{name}: {count} of {bad.size} differ, first at {list(where)}: got {a[where]:.9g}, "
        f"expected {b[where]:.9g}; largest difference {worst:.3g}"
    )


def check_memory(prepared: Prepared, memory: Mapping[str, np.ndarray]) -> list[str]:
    """Compares all memory after a run: outputs by tolerance, the rest must be untouched."""
    problems = []
    scratch = {arg.name for arg in prepared.kernel.pointers if arg.access == "scratch"}
    for name, before in prepared.inputs.items():
        if before is None:
            continue
        if name in prepared.expected:
            if problem := compare(prepared, name, memory[name]):
                problems.append(problem)
        elif name not in scratch and memory[name].tobytes() != before.tobytes():
            problems.append(f"{name}: changed, but it is not declared as written")
    return problems


def compare_bits(prepared: Prepared, memory: Mapping[str, np.ndarray]) -> list[str]:
    """Compares outputs with those of the tile that ran first."""
    problems = []
    for name in prepared.expected:
        found = memory[name].tobytes()
        if prepared.first.setdefault(name, found) != found:
            problems.append(f"{name}: other bits than with the first tile")
    return problems


# --- command --------------------------------------------------------------------------------------


def run_case(kernel: Kernel, case: Case, tools: Any) -> tuple[list[str], int]:
    """(problems, number of tile choices run); without `tools` in Triton's interpreter."""
    from kernels import targets

    prepared = prepare(kernel, case)
    problems, count = [], 0
    size = prepared.scalars.get(kernel.select, 0) if kernel.select else 0
    for choice in targets.choices(kernel, prepared.key, tools.target if tools else "cpu"):
        if choice.max is not None and size > choice.max:
            continue  # such a launch never happens
        if tools:
            from kernels.run_native import run_native

            found = run_native(prepared, choice, tools)
        else:
            from kernels.run_interpreted import run_interpreted

            found = check_memory(prepared, run_interpreted(prepared, choice))
        problems += [f"{dict(choice.tiles)}: {problem}" for problem in found]
        count += 1
    return problems, count


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kernels", nargs="*", help="names (default: all)")
    parser.add_argument("--case", help="only cases whose name contains this")
    parser.add_argument(
        "--interpret", action="store_true", help="run in Triton's interpreter, without nereid-cc"
    )
    parser.add_argument("--target", default="cpu:native")
    parser.add_argument(
        "--cc", type=Path, help="nereid-cc (default: $NEREID_CC, build/release/nereid-cc)"
    )
    options = parser.parse_args()
    if options.interpret:
        os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
    from kernels import objects, pack, registry

    tools = None
    if not options.interpret:
        tools = objects.toolchain(
            options.target, options.cc or pack.default_cc(), objects.default_cache()
        )
    failed = total = 0
    for name in options.kernels or sorted(registry.KERNELS):
        kernel = registry.find(name)
        for case in kernel.cases():
            if options.case and options.case not in case.name:
                continue
            start = time.monotonic()
            try:
                problems, count = run_case(kernel, case, tools)
            except (SpecError, objects.CompileError) as error:
                problems, count = [str(error)], 1
            total += 1
            failed += bool(problems)
            verdict = "FAIL" if problems else "ok"
            print(
                f"{verdict:4} {name}[{case.name}] {count} choices, {time.monotonic() - start:.2f} s",
                flush=True,
            )
            for problem in problems:
                print(f"     {problem}")
    print(f"{total - failed} of {total} cases passed")
    return 1 if failed or not total else 0


if __name__ == "__main__":
    sys.exit(main())
