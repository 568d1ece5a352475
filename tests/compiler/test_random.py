"""Random kernels against NumPy; a failure prints the kernel. `--random N` runs more of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from buffers import buffer, poison, to_argument
from emit_ttir import emit_ttir
from random_kernels import Generator, load_kernel
from run import Kernel, compile_ttir, place_all


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--random")))


def test_random_kernel(seed: int, cpu: str, optimize: bool, compiler: Path, tmp_path: Path) -> None:
    generator = Generator(seed)
    source = generator.build(steps=6 + seed % 20)
    kernel = load_kernel(source, tmp_path, f"random_{seed}")
    expected = np.concatenate(generator.outputs)
    args = {"x": buffer(generator.x, "i32"), "out": poison(expected.size, "i32"),
            "s0": to_argument(generator.scalars["s0"]), "s1": to_argument(generator.scalars["s1"])}
    signature = {"x": "*i32", "out": "*i32", "s0": "i32", "s1": "i32"}
    output = tmp_path / "kernel.so"
    compile_ttir(compiler, emit_ttir(kernel, signature, {}, optimize=optimize), output, cpu)
    place_all(list(args.values()), True, {})
    Kernel(output, "random_kernel").launch(list(args.values()), (1, 1, 1))
    got = args["out"].after
    bad = np.flatnonzero(got != expected)
    assert bad.size == 0, f"{bad.size} of {got.size} differ, first at {bad[0]}:\n{source}"
