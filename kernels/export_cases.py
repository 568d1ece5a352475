"""Writes every case of every kernel as plain files for the C++ conformance runner.

    python -m kernels.export_cases --out DIR [--kernels rms_norm,...]

DIR/cases.json lists the cases, DIR/cases.bin holds all arrays (little-endian, each at a multiple of
64), DIR/request.json is the pack request with the variants they need. The format is in
docs/kernels.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kernels.conformance import Prepared, prepare
from kernels.spec import Kernel, Ptr


class _Blob:
    """Appends arrays to one file."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def add(self, array: np.ndarray) -> dict[str, int]:
        self._out.write(b"\0" * (-self._out.tell() % 64))
        offset = self._out.tell()
        self._out.write(np.ascontiguousarray(array).tobytes())
        return {"offset": offset, "size": array.nbytes}


def _number(value: np.float32) -> float | str:
    """JSON has no infinities and no NaN: those are written as text ("inf", "-inf", "nan")."""
    return float(value) if np.isfinite(value) else str(float(value))


def _argument(prepared: Prepared, arg: Any, blob: _Blob) -> dict[str, Any]:
    if not isinstance(arg, Ptr):
        value = prepared.scalars[arg.name]
        return {
            "name": arg.name,
            "type": arg.type,
            "value": _number(value) if arg.type == "f32" else value,
        }
    entry: dict[str, Any] = {
        "name": arg.name,
        "type": "ptr",
        "dtype": prepared.kernel.arg_dtype(arg.name, prepared.key),
    }
    if arg.name in prepared.case.alias:
        return entry | {"alias": prepared.case.alias[arg.name]}
    array = prepared.inputs[arg.name]
    if array is None:
        return entry | {"null": True}
    entry |= {"shape": list(array.shape), "input": blob.add(array)}
    if arg.access == "scratch":
        entry["scratch"] = True
    if arg.name in prepared.expected:
        tolerance = prepared.tolerance[arg.name]
        entry["expected"] = blob.add(prepared.expected[arg.name])
        entry["tolerance"] = {
            "atol": tolerance.atol,
            "rtol": tolerance.rtol,
            "mismatch": tolerance.mismatch,
        }
    return entry


def export(kernels: list[Kernel], folder: Path) -> int:
    """Returns the number of cases written."""
    folder.mkdir(parents=True, exist_ok=True)
    cases, variants = [], {}
    with (folder / "cases.bin").open("wb") as out:
        blob = _Blob(out)
        for kernel in kernels:
            for case in kernel.cases():
                prepared = prepare(kernel, case)
                arguments = [_argument(prepared, arg, blob) for arg in kernel.args]
                cases.append(
                    {
                        "kernel": kernel.name,
                        "case": case.name,
                        "key": prepared.key,
                        "args": arguments,
                    }
                )
                variants[kernel.variant(prepared.key)] = {
                    "kernel": kernel.name,
                    "key": prepared.key,
                }
    index = {"format": "nereid-cases", "version": 1, "data": "cases.bin", "cases": cases}
    (folder / "cases.json").write_text(json.dumps(index, indent=1, allow_nan=False))
    (folder / "request.json").write_text(
        json.dumps({"variants": list(variants.values())}, indent=1)
    )
    return len(cases)


def main() -> int:
    from kernels import registry

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kernels", help="comma-separated names (default: all)")
    options = parser.parse_args()
    names = options.kernels.split(",") if options.kernels else sorted(registry.KERNELS)
    count = export([registry.find(name) for name in names], options.out)
    print(f"{options.out}: {count} cases of {len(names)} kernels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
