"""nereid-cc as a program: flags, errors, determinism, several inputs, other targets, flat compile time."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from pathlib import Path

import pytest

from cases import all_cases
from emit_ttir import emit_ttir

CASES = {case.name: case for case in all_cases()}


def ttir_of(name: str, **constexprs: object) -> str:
    case = CASES[name]
    signature = case.signature(case.make_args())
    return emit_ttir(case.kernel, signature, {**case.constexprs, **constexprs})


def run(compiler: Path, *flags: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(compiler), *map(str, flags)], capture_output=True, text=True, timeout=120)


def assert_one_error(done: subprocess.CompletedProcess, *words: str) -> None:
    assert done.returncode == 1, done
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("nereid-cc: error: "), done.stderr
    for word in words:
        assert word in lines[0], done.stderr


@pytest.fixture
def add(tmp_path: Path) -> Path:
    path = tmp_path / "add.ttir"
    path.write_text(ttir_of("add_fp32"))
    return path


def test_help_and_stages(compiler: Path) -> None:
    text = run(compiler, "--help").stdout
    for word in ("--cpu", "--emit", "--dump-after", "--list-stages", "znver4", "cleanup"):
        assert word in text
    stages = [line.split()[0] for line in run(compiler, "--list-stages").stdout.splitlines()]
    assert stages[0] == "parse" and "lower" in stages


def test_every_stage_can_be_dumped(compiler: Path, add: Path, tmp_path: Path) -> None:
    stages = [line.split()[0] for line in run(compiler, "--list-stages").stdout.splitlines()]
    for stage in stages:
        done = run(compiler, add, "-o", tmp_path / "a.so", "--dump-after", stage)
        assert done.returncode == 0
        mark = "define" if stage in ("lower", "optimize") else "tt.func public @add_kernel"
        assert mark in done.stderr, stage


@pytest.mark.parametrize("kind, mark", [("ttir", "tt.func public @add_kernel"), ("llvm", "define"),
                                        ("asm", "add_kernel:")])
def test_text_outputs(compiler: Path, add: Path, kind: str, mark: str) -> None:
    assert mark in run(compiler, add, "--emit", kind).stdout


@pytest.mark.parametrize("case", ["add_fp32", "pairs_4x32_16_0_1_16384_15"])
def test_emitted_ttir_compiles_again(compiler: Path, tmp_path: Path, case: str) -> None:
    source, again = tmp_path / "once.ttir", tmp_path / "again.ttir"
    source.write_text(ttir_of(case))
    again.write_text(run(compiler, source, "--emit", "ttir").stdout)
    assert run(compiler, again, "-o", tmp_path / "a.so").returncode == 0


def test_marks_of_prefetches_in_the_input_mean_nothing(compiler: Path, tmp_path: Path) -> None:
    source = tmp_path / "marked.ttir"
    source.write_text("""module { tt.func public @k(%x: !tt.ptr<f32>) {
      %v = tt.load %x {prefetch = 3 : i32, spread} : !tt.ptr<f32>
      tt.store %x, %v : !tt.ptr<f32>
      tt.return
    } }""")
    assert run(compiler, source, "-o", tmp_path / "marked.so").returncode == 0


def test_same_input_gives_same_bytes(compiler: Path, tmp_path: Path) -> None:
    outputs = []
    for folder in ("one", "another_place"):
        (tmp_path / folder).mkdir()
        source = tmp_path / folder / f"{folder}.ttir"
        source.write_text(ttir_of("tutorial_attention_bf16_130x64_causal"))
        output = tmp_path / folder / f"{folder}.so"
        assert run(compiler, source, "-o", output).returncode == 0
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


def test_several_inputs_in_one_object(compiler: Path, add: Path, tmp_path: Path) -> None:
    other = tmp_path / "softmax.ttir"
    other.write_text(ttir_of("softmax_rows_5x781"))
    output = tmp_path / "both.so"
    assert run(compiler, add, other, "-o", output).returncode == 0
    library = ctypes.CDLL(str(output))
    for symbol in ("add_kernel", "add_kernel_info", "softmax_kernel", "softmax_kernel_info"):
        assert ctypes.c_char.in_dll(library, symbol) is not None
    assert_one_error(run(compiler, add, add, "-o", tmp_path / "twice.so"), "add_kernel", "more than one")
    assert not (tmp_path / "twice.so").exists()


def test_usage_errors(compiler: Path, add: Path, tmp_path: Path) -> None:
    assert_one_error(run(compiler), "no input")
    assert_one_error(run(compiler, add), "-o FILE")
    assert_one_error(run(compiler, tmp_path / "missing.ttir", "-o", tmp_path / "a.so"), "missing.ttir")
    assert_one_error(run(compiler, tmp_path, "-o", tmp_path / "a.so"), str(tmp_path))
    assert_one_error(run(compiler, add, "-o", tmp_path / "no" / "folder.so"), "folder.so", "No such file")
    assert_one_error(run(compiler, add, "-o", tmp_path / "a.so", "--cpu", "z80"), "z80", "znver4")
    assert_one_error(run(compiler, "--print-cpu", "--cpu", "z80"), "z80", "znver4")
    assert_one_error(run(compiler, "--print-cpu", "--cpu", ""), "found ''", "znver4")
    assert_one_error(run(compiler, add, "-o", tmp_path / "a.so", "--cpu", "pentium"), "pentium", "64 bits")
    assert run(compiler, add, "--emit", "nonsense").returncode not in (0, 70)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["add.ttir"], "nothing may be left behind"


def test_output_through_links_and_into_a_pipe(compiler: Path, add: Path, tmp_path: Path) -> None:
    assert run(compiler, add, "-o", tmp_path / "a.so").returncode == 0
    expected = (tmp_path / "a.so").read_bytes()
    (tmp_path / "link.so").symlink_to("target.so")
    assert run(compiler, add, "-o", tmp_path / "link.so").returncode == 0
    assert (tmp_path / "link.so").is_symlink()
    assert (tmp_path / "target.so").read_bytes() == expected
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        assert run(compiler, add, "-o", pipe).returncode == 0
        assert reader.communicate()[0] == expected
    assert pipe.is_fifo()


def test_output_is_replaced_only_on_success(compiler: Path, add: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.so"
    output.write_text("old")
    bad = tmp_path / "bad.ttir"
    bad.write_text("module {")
    assert run(compiler, bad, "-o", output).returncode == 1
    assert output.read_text() == "old"
    assert run(compiler, add, "-o", output).returncode == 0
    assert output.read_bytes()[:4] == b"\x7fELF"


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4", "znver4", "sapphirerapids", "neoverse-n1"])
@pytest.mark.parametrize("name", ["softmax_rows_5x781", "dot_bf16_37x41x53_tile_16x16x16_nn_fp32",
                                  "dot_i8_17x33x70_tile_16x16x32_nn_i32", "atomic_add_fp32"])
def test_other_targets(compiler: Path, tmp_path: Path, target: str, name: str) -> None:
    source = tmp_path / "k.ttir"
    source.write_text(ttir_of(name))
    done = run(compiler, source, "-o", tmp_path / "k.so", "--cpu", target)
    assert done.returncode == 0, done.stderr
    machine = int.from_bytes((tmp_path / "k.so").read_bytes()[18:20], "little")
    assert machine == (183 if target.startswith("neoverse") else 62)


@pytest.mark.parametrize(("name", "instruction"), [
    ("dot_bf16_37x41x53_tile_16x16x16_nn_fp32", "tdpbf16ps"), ("dot_i8_17x33x70_tile_16x16x32_nn_i32", "tdpbssd")])
def test_tile_registers(compiler: Path, tmp_path: Path, name: str, instruction: str) -> None:
    """Machines that cannot run them see at least that they are used, set up before and released behind."""
    source = tmp_path / "k.ttir"
    source.write_text(ttir_of(name))
    done = run(compiler, source, "--emit", "asm", "--cpu", "sapphirerapids")
    assert done.returncode == 0, done.stderr
    order = [done.stdout.find(word) for word in ("ldtilecfg", "tileloadd", instruction, "tilestored", "tilerelease")]
    assert -1 not in order and order == sorted(order), order
    assert instruction not in run(compiler, source, "--emit", "asm", "--cpu", "cooperlake").stdout


def test_error_names_the_python_line(compiler: Path, tmp_path: Path) -> None:
    bad = tmp_path / "k.ttir"
    bad.write_text("""module {
  tt.func public @k(%x: !tt.ptr<f32>) {
    %c = arith.constant 1 : i7 loc("kernel.py":12:34)
    tt.return
  }
}
""")
    assert_one_error(run(compiler, bad, "-o", tmp_path / "k.so"), "k.ttir", "kernel.py:12:34",
                     "arith.constant")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_code_size_does_not_grow_with_the_tile(compiler: Path, tmp_path: Path, dtype: str) -> None:
    """Bigger tiles are more trips of the same loops."""
    name = {"fp32": "dot_fp32_128x128x200_tile_64x64x64_nn_fp32",
            "bf16": "dot_bf16_64x96x128_tile_32x32x64_nn_fp32"}[dtype]
    lines = {}
    for tile in ((64, 64, 64), (128, 128, 64), (256, 256, 64)):
        source = tmp_path / "k.ttir"
        source.write_text(ttir_of(name, BM=tile[0], BN=tile[1], BK=tile[2]))
        done = run(compiler, source, "--emit", "asm")
        assert done.returncode == 0, done.stderr
        lines[tile] = done.stdout.count("\n")
    assert lines[(256, 256, 64)] < 2 * lines[(64, 64, 64)], lines
    assert lines[(128, 128, 64)] < 12000, lines


def test_elementwise_code_does_not_grow_with_the_tile(compiler: Path, tmp_path: Path) -> None:
    sizes = {}
    for block in (1024, 65536):
        source = tmp_path / "k.ttir"
        source.write_text(ttir_of("softmax_rows_5x781", BLOCK=block))
        sizes[block] = run(compiler, source, "--emit", "asm").stdout.count("\n")
    assert sizes[65536] < 2 * sizes[1024], sizes


def test_pages_behind_a_table_and_streams_are_asked_for_ahead(compiler: Path, tmp_path: Path) -> None:
    path = tmp_path / "kernel.ttir"
    # Rows of two lines, before the loop and in it; 32 lines of weights and two of scales, and two of a last row of scales, as
    # many iterations ahead as in the loop: eight.
    for case, least in (("paged_sum_0_5", 4), ("stream_sum_7", 3), ("stream_sum_7_last", 3)):
        path.write_text(ttir_of(case))
        assembly = run(compiler, path, "--cpu", "znver4", "--emit", "asm", "-o", "-").stdout
        assert assembly.count("prefetch") >= least, case
        last = {offset for offset in (1024, 1088) if re.search(rf"prefetcht1\s+{offset}\(%\w+\)", assembly)}
        assert len(last) == (2 if case.endswith("last") else 0), case
    path.write_text(ttir_of("add_fp32"))
    assert "prefetch" not in run(compiler, path, "--cpu", "znver4", "--emit", "asm", "-o", "-").stdout


def test_a_table_behind_a_table_is_read_in_its_turn(compiler: Path, tmp_path: Path) -> None:
    source = tmp_path / "kernel.ttir"
    # Before the store of an iteration its entry may hold anything, and be no place in %u.
    body = """
      %ti = tt.addptr %t, %i : !tt.ptr<i32>, i32
      tt.store %ti, %zero : !tt.ptr<i32>
      %entry = tt.load %ti : !tt.ptr<i32>"""
    behind = """
      %ui = tt.addptr %u, %entry : !tt.ptr<i32>, i32
      %place = tt.load %ui : !tt.ptr<i32>"""
    for text, place, asks in ((body, "%entry", True), (body + behind, "%place", False)):
        source.write_text(f"""module {{ tt.func public @k(%x: !tt.ptr<f32>, %t: !tt.ptr<i32>, %u: !tt.ptr<i32>, %n: i32) {{
          %zero = arith.constant 0 : i32
          %one = arith.constant 1 : i32
          %sums = arith.constant dense<0.0> : tensor<1024xf32>
          %lane = tt.make_range {{end = 1024 : i32, start = 0 : i32}} : tensor<1024xi32>
          %first = tt.splat %x : !tt.ptr<f32> -> tensor<1024x!tt.ptr<f32>>
          %at = tt.addptr %first, %lane : tensor<1024x!tt.ptr<f32>>, tensor<1024xi32>
          %sum = scf.for %i = %zero to %n step %one iter_args(%acc = %sums) -> (tensor<1024xf32>) : i32 {{
            {text}
            %places = tt.splat {place} : i32 -> tensor<1024xi32>
            %there = tt.addptr %at, %places : tensor<1024x!tt.ptr<f32>>, tensor<1024xi32>
            %tile = tt.load %there : tensor<1024x!tt.ptr<f32>>
            %next = arith.addf %acc, %tile : tensor<1024xf32>
            scf.yield %next : tensor<1024xf32>
          }}
          tt.store %at, %sum : tensor<1024x!tt.ptr<f32>>
          tt.return
        }} }}""")
        assembly = run(compiler, source, "--cpu", "znver4", "--emit", "asm", "-o", "-").stdout
        assert assembly and ("prefetch" in assembly) == asks, place


@pytest.mark.parametrize("processor, dot", [("znver4", "vpdpwssd"), ("x86-64-v4", "vpmaddwd"), ("x86-64-v3", "vpmaddwd")])
def test_pairs_of_products_are_one_instruction(compiler: Path, tmp_path: Path, processor: str, dot: str) -> None:
    path = tmp_path / "kernel.ttir"
    for case, scaled in (("pairs_4x32_16_0_0_16384_15", False), ("pairs_4x32_16_0_1_16384_15", True)):
        path.write_text(ttir_of(case))
        assembly = run(compiler, path, "--cpu", processor, "--emit", "asm", "-o", "-").stdout
        assert dot in assembly and ("vpmulhrsw" in assembly) == scaled and "vpmulld" not in assembly, case
    path.write_text(ttir_of("pairs_4x32_16_0_1_16384_14"))  # another rounding
    assert "vpmulhrsw" not in run(compiler, path, "--cpu", processor, "--emit", "asm", "-o", "-").stdout


@pytest.mark.parametrize("case, loops", [("paged_dot_4_0_5", 2), ("two_panels_1_32", 1)])
def test_dots_ask_for_a_tile_with_each_of_their_steps(compiler: Path, tmp_path: Path, case: str, loops: int) -> None:
    path = tmp_path / "kernel.ttir"
    path.write_text(ttir_of(case))
    code = run(compiler, path, "--cpu", "znver4", "--emit", "llvm", "-o", "-").stdout
    blocks = re.split(r"^(\S+):.*\n", code, flags=re.MULTILINE)[1:]  # label, text, label, text ...
    labels, texts = blocks[::2], blocks[1::2]
    # One loop has products and, in a short loop of their own or without one, lines that are asked for.
    found = 0
    for at, text in enumerate(texts):
        if "@llvm.prefetch" not in text:
            continue
        loop_of_its_own = "@llvm.fma" not in text and re.search(rf"label %{re.escape(labels[at])}(?![\w.])", text)
        begin = labels[at - 1] if loop_of_its_own else labels[at]
        rest = "".join(texts[at : at + 3])
        found += "@llvm.fma" in rest and re.search(rf"br i1.*label %{re.escape(begin)}(?![\w.])", rest) is not None
    assert found >= loops, code
