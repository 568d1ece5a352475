"""Run by test_workspace.py with TRITON_INTERPRET=1: linear_rows with its sum over k in pieces, in every mode that has
them. Programs run last to first, so the last to arrive is the first piece."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kernels import conformance, registry  # noqa: E402
from kernels.run_interpreted import run_interpreted  # noqa: E402
from kernels.targets import Choice  # noqa: E402


def main() -> int:
    kernel = registry.find("linear_rows")
    cases = {case.name: case for case in kernel.cases()}
    failed = 0
    for name in ("long_rows40", "long_residual_rows40", "long_gate_rows40"):
        prepared = conformance.prepare(kernel, cases[name])
        for mode in (1, 2, 3):
            tiles = {"MODE": mode, "BLOCK_M": 64, "BLOCK_N": 32, "BLOCK_K": 128, "SPLIT": 4}
            tiles["PROGRAMS"] = 7 if mode == 3 else 1 << 30
            tiles = {**kernel.tile_defaults, **tiles}
            memory = run_interpreted(prepared, Choice(1024, tiles, 4, 2))
            problems = conformance.check_memory(prepared, memory)
            failed += bool(problems)
            print(name, mode, problems or "ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
