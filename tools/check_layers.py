#!/usr/bin/env python3
"""Enforces the order of layers among includes, as docs/architecture.md draws it.

Each folder of src/ is a layer. LAYERS names the layers it may include directly; what those may include
it may include too. A folder that is not in the table fails, so that a new layer is a decision.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from repo_files import repo_files, run_check

LAYERS: dict[str, set[str]] = {
    "base": set(),
    "pack": {"base"},
    "device": {"pack"},
    "tensor": {"device"},
    "quant": {"tensor"},
    "text": {"base"},
    "loadgen": {"base"},
    "weights": {"quant", "text"},
    "ops": {"quant"},
    "nn": {"ops", "weights"},
    "models": {"nn"},
    "kv": {"base"},
    "sched": {"kv"},
    "engine": {"models", "sched", "text"},
    "server": {"engine"},
    "apps": {"server", "loadgen"},
    "compiler": {"base"},
}
# Headers of libraries that only these layers may include.
LIBRARY_HOME = {"mlir/": {"compiler"}, "llvm/": {"compiler"}, "lld/": {"compiler"}}
# Headers generated from kernels/*.py: launches are written in ops, and in quant where weights are repacked;
# the engine asks for the pack of these kernels.
GENERATED_HOME = {"kernels/kernels.h": {"ops", "quant"}, "kernels/identity.h": {"engine"}}
VENDOR = re.compile(r"\b(cuda|cudnn|cublas|hipblas|rocm|nvrtc|hip_runtime)\w*\.h", re.IGNORECASE)

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def reachable(layer: str) -> set[str]:
    """The layer itself and all below it."""
    seen: set[str] = set()
    todo = [layer]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(LAYERS.get(name, set()))
    return seen


def layer_of(path: Path) -> str | None:
    """src/device/cpu/pool.cc -> device; apps/nereid/run.cc -> apps; None for what has no layer."""
    if path.parts[0] == "src" and len(path.parts) > 2:
        return path.parts[1]
    if path.parts[0] == "apps":
        return "apps"
    return None


def check_file(root: Path, path: Path) -> list[str]:
    layer = layer_of(path)
    if layer is None:
        return []
    if layer not in LAYERS:
        return [f"{path}: layer '{layer}' is not in the table of tools/check_layers.py"]
    allowed = reachable(layer)
    problems = []
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            problem = check_include(layer, allowed, match[2], is_test=path.stem.endswith("_test"))
            if problem:
                problems.append(f"{path}:{number}: {problem}")
    return problems


def check_include(layer: str, allowed: set[str], header: str, is_test: bool) -> str | None:
    target = layer_of(Path(header))
    if target is not None and target not in allowed:
        below = ", ".join(sorted(allowed - {layer})) or "nothing"
        return f'"{header}": {layer} may not include {target} (it may include {below})'
    if header.startswith("tests/") and not is_test:
        return f'"{header}": only tests include tests/'
    for prefix, homes in LIBRARY_HOME.items():
        if header.startswith(prefix) and layer not in homes:
            return f'"{header}": only {", ".join(sorted(homes))} may include {prefix}'
    if header.startswith("kernels/"):
        homes = GENERATED_HOME.get(header)
        if homes is None:
            return f'"{header}": no such header is generated'
        if layer not in homes:
            return f'"{header}": only {", ".join(sorted(homes))} may include it'
    if VENDOR.search(header) and layer != "device":
        return f'"{header}": vendor headers stay in src/device/'
    return None


def find_cycle() -> str | None:
    for layer, below in LAYERS.items():
        for other in below:
            if other in LAYERS and layer in reachable(other):
                return f"the table of layers has a cycle: {layer} <-> {other}"
    return None


def check(root: Path) -> list[str]:
    cycle = find_cycle()
    problems = [cycle] if cycle else []
    for path in repo_files(root):
        if path.suffix in {".h", ".cc", ".c", ".inc"}:
            problems += check_file(root, path)
    return problems


if __name__ == "__main__":
    sys.exit(run_check(check, __doc__))
