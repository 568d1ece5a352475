"""Every corpus case: compile, run against both borders of its buffers, compare with NumPy."""

from __future__ import annotations

from pathlib import Path

import pytest

from case import Case, check_outputs
from cases import all_cases
from emit_ttir import emit_ttir
from run import CompileError, Kernel, compile_ttir, place_all


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_case(case: Case, cpu: str, optimize: bool, compiler: Path, tmp_path: Path) -> None:
    args = case.make_args()
    divisibility = {n: 16 for n in args if hasattr(args[n], "raw")} if case.aligned else {}
    text = emit_ttir(case.kernel, case.signature(args), case.constexprs, divisibility, optimize)
    output = tmp_path / "kernel.so"
    if case.unsupported:
        with pytest.raises(CompileError, match=case.unsupported) as caught:
            compile_ttir(compiler, text, output, cpu)
        assert "exit code 1:" in str(caught.value), "a refusal is not a crash"
        return
    seconds = compile_ttir(compiler, text, output, cpu)
    assert seconds < case.max_compile_s, f"{seconds:.1f} CPU seconds to compile"
    kernel = Kernel(output, case.kernel.__name__)
    aligns = {index: 16 for index in range(len(args))} if case.aligned else {}
    for at_end in (True, False):
        place_all(list(args.values()), at_end, aligns)
        kernel.launch(list(args.values()), case.full_grid, case.threads)
        check_outputs(case, args)
