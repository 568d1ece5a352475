"""Input that is not TTIR: always one error line and exit code 1, never a crash, never an output file."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from cases import all_cases
from emit_ttir import emit_ttir

GOOD = """module {
  tt.func public @k(%x: !tt.ptr<f32>, %n: i32) {
    %c = arith.constant dense<1.0> : tensor<16xf32>
    %r = tt.make_range {end = 16 : i32, start = 0 : i32} : tensor<16xi32>
    %p = tt.splat %x : !tt.ptr<f32> -> tensor<16x!tt.ptr<f32>>
    %q = tt.addptr %p, %r : tensor<16x!tt.ptr<f32>>, tensor<16xi32>
    tt.store %q, %c : tensor<16x!tt.ptr<f32>>
    tt.return
  }
}
"""


def body(*lines: str, args: str = "%x: !tt.ptr<f32>, %n: i32") -> str:
    return "\n".join(["module {", f"tt.func public @k({args}) {{", *lines, "tt.return", "}", "}"])


MALFORMED = {
    "empty": "",
    "blank": "\n\n  \n",
    "not_mlir": "int main() { return 0; }\n",
    "binary": "\x7fELF\x01\x02\x03",
    "zero_byte": GOOD.replace("tt.return", "tt.return\0"),
    "truncated_half": GOOD[: len(GOOD) // 2],
    "unclosed_string": 'module attributes {a = "' + "x" * 100,
    "no_kernel": "module { }",
    "private_only": "module { tt.func private @k() { tt.return } }",
    "declaration": "module { tt.func public @k() }",
    "kernel_returns": "module { tt.func public @k() -> i32 { %c = arith.constant 1 : i32 tt.return %c : i32 } }",
    "bad_name": 'module { tt.func public @"a b"() { tt.return } }',
    "name_with_dot": "module { tt.func public @a.b() { tt.return } }",
    "duplicate": "module { tt.func public @k() { tt.return } tt.func public @k() { tt.return } }",
    "two_returns": "module { tt.func public @k() { tt.return tt.return } }",
    "no_terminator": "module { tt.func public @k() { %c = arith.constant 1 : i32 } }",
    "foreign_dialect": body("%a = memref.alloc() : memref<4xf32>"),
    "foreign_op_generic": body('"foo.bar"() : () -> ()'),
    "unknown_tt_op": body("tt.does_not_exist %n : i32"),
    "func_dialect": "module { func.func @k() { return } }",
    "llvm_dialect": body("%a = llvm.mlir.constant(1 : i32) : i32"),
    "llvm_func": "module { llvm.func @k() { llvm.return } }",
    "scf_parallel": body("%c = arith.constant 1 : index", "scf.parallel (%i) = (%c) to (%c) step (%c) { }"),
    "index_type": body("%c = arith.constant 1 : index"),
    "i128": body("%c = arith.constant 1 : i128"),
    "i7": body("%c = arith.constant 1 : i7"),
    "f80": body("%c = arith.constant 1.0 : f80"),
    "complex_type": body("%c = arith.constant 1 : i32", args="%z: complex<f32>"),
    "vector_type": body("%c = arith.constant dense<1> : vector<4xi32>"),
    "memref_argument": body(args="%m: memref<4xf32>"),
    "tensor_argument": body(args="%t: tensor<4xf32>"),
    "dynamic_tensor": body(args="%t: tensor<?xf32>"),
    "unranked_tensor": body(args="%t: tensor<*xf32>"),
    "zero_sized": body("%c = arith.constant dense<0.0> : tensor<0xf32>"),
    "size_three": body("%r = tt.make_range {end = 3 : i32, start = 0 : i32} : tensor<3xi32>"),
    "size_three_arith": body("%c = arith.constant dense<0.0> : tensor<3xf32>"),
    "too_large": body("%c = arith.constant dense<0.0> : tensor<4194304xf32>"),
    "overflowing_shape": body("%c = arith.constant dense<0.0> : tensor<4294967296x4294967296xf32>"),
    "huge_number": body("%c = arith.constant dense<0.0> : tensor<99999999999999999999999xf32>"),
    "layout": body("%c = arith.constant dense<0.0> : tensor<16xf32, #ttg.blocked<{}>>"),
    "encoding": body('%c = arith.constant dense<0.0> : tensor<16xf32, "layout">'),
    "range_backwards": body("%r = tt.make_range {end = 0 : i32, start = 16 : i32} : tensor<16xi32>"),
    "range_mismatch": body("%r = tt.make_range {end = 8 : i32, start = 0 : i32} : tensor<16xi32>"),
    "range_i64": body("%r = tt.make_range {end = 16 : i32, start = 0 : i32} : tensor<16xi64>"),
    "range_2d": body("%r = tt.make_range {end = 16 : i32, start = 0 : i32} : tensor<4x4xi32>"),
    "range_no_attributes": body("%r = tt.make_range : tensor<16xi32>"),
    "load_of_float": body("%c = arith.constant 1.0 : f32", "%v = tt.load %c : f32"),
    "load_of_tensor_of_float": body("%c = arith.constant dense<1.0> : tensor<16xf32>",
                                    "%v = tt.load %c : tensor<16xf32>"),
    "load_generic_no_mask": body('%v = "tt.load"(%x, %x) <{operandSegmentSizes = array<i32: 1, 0, 1>}> '
                                 ": (!tt.ptr<f32>, !tt.ptr<f32>) -> f32"),
    "load_generic_bad_segments": body('%v = "tt.load"(%x) <{operandSegmentSizes = array<i32: 1, 1, 7>}> '
                                      ": (!tt.ptr<f32>) -> f32"),
    "load_generic_no_segments": body('%v = "tt.load"(%x) : (!tt.ptr<f32>) -> f32'),
    "load_wrong_result": body('%v = "tt.load"(%x) <{operandSegmentSizes = array<i32: 1, 0, 0>}> '
                              ": (!tt.ptr<f32>) -> i32"),
    "load_other_without_mask": body(
        "%c = arith.constant 1.0 : f32",
        '%v = "tt.load"(%x, %c) <{operandSegmentSizes = array<i32: 1, 0, 1>}> '
        ": (!tt.ptr<f32>, f32) -> f32"),
    "store_wrong_value": body("tt.store %x, %n : !tt.ptr<f32>"),
    "undefined_value": body("%v = tt.load %nothing : !tt.ptr<f32>"),
    "use_before_definition": body("%a = arith.addi %b, %n : i32", "%b = arith.addi %n, %n : i32"),
    "reshape_count": body("%c = arith.constant dense<1.0> : tensor<16xf32>",
                          "%r = tt.reshape %c : tensor<16xf32> -> tensor<32xf32>"),
    "reshape_scalar": body("%r = tt.reshape %n : i32 -> tensor<1xi32>"),
    "trans_order": body("%c = arith.constant dense<1.0> : tensor<4x4xf32>",
                        "%r = tt.trans %c {order = array<i32: 0, 7>} : tensor<4x4xf32> -> tensor<4x4xf32>"),
    "trans_negative": body("%c = arith.constant dense<1.0> : tensor<4x4xf32>",
                           "%r = tt.trans %c {order = array<i32: -1, 0>} : tensor<4x4xf32> -> tensor<4x4xf32>"),
    "trans_short": body("%c = arith.constant dense<1.0> : tensor<4x4xf32>",
                        "%r = tt.trans %c {order = array<i32: 0>} : tensor<4x4xf32> -> tensor<4x4xf32>"),
    "expand_axis": body("%c = arith.constant dense<1.0> : tensor<4xf32>",
                        "%r = tt.expand_dims %c {axis = 9 : i32} : tensor<4xf32> -> tensor<4x1xf32>"),
    "expand_negative": body("%c = arith.constant dense<1.0> : tensor<4xf32>",
                            "%r = tt.expand_dims %c {axis = -3 : i32} : tensor<4xf32> -> tensor<4x1xf32>"),
    "broadcast_shrinks": body("%c = arith.constant dense<1.0> : tensor<4xf32>",
                              "%r = tt.broadcast %c : tensor<4xf32> -> tensor<2xf32>"),
    "split_odd": body("%c = arith.constant dense<1.0> : tensor<4x4xf32>",
                      "%a, %b = tt.split %c : tensor<4x4xf32> -> tensor<4xf32>"),
    "join_shape": body("%c = arith.constant dense<1.0> : tensor<4xf32>",
                       "%a = tt.join %c, %c : tensor<4xf32> -> tensor<8xf32>"),
    "dot_shapes": body("%c = arith.constant dense<1.0> : tensor<4x4xf32>",
                       "%d = arith.constant dense<1.0> : tensor<8x8xf32>",
                       "%a = tt.dot %c, %d, %c : tensor<4x4xf32> * tensor<8x8xf32> -> tensor<4x4xf32>"),
    "dot_1d": body("%c = arith.constant dense<1.0> : tensor<4xf32>",
                   "%a = tt.dot %c, %c, %c : tensor<4xf32> * tensor<4xf32> -> tensor<4xf32>"),
    "dot_mixed": body("%c = arith.constant dense<1.0> : tensor<4x4xf32>",
                      "%i = arith.constant dense<1> : tensor<4x4xi32>",
                      "%a = tt.dot %c, %i, %c : tensor<4x4xf32> * tensor<4x4xi32> -> tensor<4x4xf32>"),
    "reduce_empty_region": body("%c = arith.constant dense<1.0> : tensor<4xf32>",
                                '%r = "tt.reduce"(%c) <{axis = 0 : i32}> ({}) : (tensor<4xf32>) -> f32'),
    "reduce_no_region": body("%c = arith.constant dense<1.0> : tensor<4xf32>",
                             '%r = "tt.reduce"(%c) <{axis = 0 : i32}> : (tensor<4xf32>) -> f32'),
    "reduce_wrong_axis": body(
        "%c = arith.constant dense<1.0> : tensor<4xf32>",
        '%r = "tt.reduce"(%c) <{axis = 5 : i32}> ({', "^bb0(%a: f32, %b: f32):",
        "tt.reduce.return %a : f32", "}) : (tensor<4xf32>) -> f32"),
    "reduce_negative_axis": body(
        "%c = arith.constant dense<1.0> : tensor<4xf32>",
        '%r = "tt.reduce"(%c) <{axis = -1 : i32}> ({', "^bb0(%a: f32, %b: f32):",
        "tt.reduce.return %a : f32", "}) : (tensor<4xf32>) -> f32"),
    "reduce_wrong_arguments": body(
        "%c = arith.constant dense<1.0> : tensor<4xf32>",
        '%r = "tt.reduce"(%c) <{axis = 0 : i32}> ({', "^bb0(%a: f32):",
        "tt.reduce.return %a : f32", "}) : (tensor<4xf32>) -> f32"),
    "reduce_wrong_return": body(
        "%c = arith.constant dense<1.0> : tensor<4xf32>",
        '%r = "tt.reduce"(%c) <{axis = 0 : i32}> ({', "^bb0(%a: f32, %b: f32):",
        "tt.reduce.return %n : i32", "}) : (tensor<4xf32>) -> f32"),
    "reduce_scan_return": body(
        "%c = arith.constant dense<1.0> : tensor<4xf32>",
        '%r = "tt.reduce"(%c) <{axis = 0 : i32}> ({', "^bb0(%a: f32, %b: f32):",
        "tt.scan.return %a : f32", "}) : (tensor<4xf32>) -> f32"),
    "reduce_nothing": body('"tt.reduce"() <{axis = 0 : i32}> ({', "^bb0:", '"tt.reduce.return"() : () -> ()',
                           "}) : () -> ()"),
    "scan_results": body(
        "%c = arith.constant dense<1.0> : tensor<4xf32>",
        '%r = "tt.scan"(%c) <{axis = 0 : i32, reverse = false}> ({', "^bb0(%a: f32, %b: f32):",
        "tt.scan.return %a : f32", "}) : (tensor<4xf32>) -> tensor<8xf32>"),
    "gather_axis": body("%c = arith.constant dense<1.0> : tensor<4xf32>",
                        "%i = arith.constant dense<1> : tensor<4xi32>",
                        "%g = tt.gather %c[%i] {axis = 3 : i32} : (tensor<4xf32>, tensor<4xi32>) -> tensor<4xf32>"),
    "call_missing": body("tt.call @nothing() : () -> ()"),
    "call_wrong_types": "module { tt.func private @f(%a: i32) { tt.return } "
                        "tt.func public @k() { tt.call @f() : () -> () tt.return } }",
    "recursion": "module { tt.func public @k() { tt.call @f() : () -> () tt.return } "
                 "tt.func private @f() { tt.call @f() : () -> () tt.return } }",
    "mutual_recursion": "module { tt.func public @k() { tt.call @f() : () -> () tt.return } "
                        "tt.func private @f() { tt.call @g() : () -> () tt.return } "
                        "tt.func private @g() { tt.call @f() : () -> () tt.return } }",
    "return_type": "module { tt.func public @k() { %c = arith.constant 1 : i32 tt.return %c : i32 } }",
    "nested_module": "module { module { tt.func public @k() { tt.return } } }",
    "op_outside_function": "module { %c = arith.constant 1 : i32 tt.func public @k() { tt.return } }",
    "atomic_kind": body("%t = arith.constant true", "%c = arith.constant 1.0 : f32",
                        "%a = tt.atomic_rmw nonsense, acq_rel, gpu, %x, %c, %t : (!tt.ptr<f32>, f32, i1) -> f32"),
    "atomic_fadd_of_int": body("%a = tt.atomic_rmw fadd, acq_rel, gpu, %y, %n : (!tt.ptr<i32>, i32) -> i32",
                               args="%y: !tt.ptr<i32>, %n: i32"),
    "bitcast_width": body("%a = tt.bitcast %n : i32 -> i64"),
    "bitcast_pointer": body("%a = tt.bitcast %x : !tt.ptr<f32> -> i64"),
    "pointer_to_tensor": body(args="%x: !tt.ptr<tensor<4xf32>>"),
    "pointer_space": body(args="%x: !tt.ptr<f32, nowhere>"),
    "bad_cache_policy": body("%v = tt.load %x {cachePolicy = #tt.cache_policy<cache_modifier = zz>} : !tt.ptr<f32>"),
    "descriptor_zero": body(args="%d: !tt.tensordesc<0x4xf32>"),
    "descriptor_type": body(args="%d: !tt.tensordesc<xf32>"),
    "deep_brackets": body("%c = arith.constant " + "[" * 5000 + "]" * 5000),
    "deep_pointers": body(args="%x: " + "!tt.ptr<" * 5000 + "f32" + ">" * 5000),
    "deep_regions": body(*["scf.if %t {"] * 3000, *["}"] * 3000, args="%t: i1"),
    "deep_locations": GOOD.replace("tt.return", "tt.return loc(" + "callsite(" * 2000 + ")" * 2000 + ")"),
    "endless_alias_chain": "\n".join(
        ['#l0 = loc("x")'] + [f"#l{i} = loc(callsite(#l{i - 1} at #missing))" for i in range(1, 50)]) + GOOD,
    "for_float_bounds": body("%c = arith.constant 1.0 : f32", "scf.for %i = %c to %c step %c : f32 { }"),
    "if_without_yield": body('%r = "scf.if"(%t) ({ }, { }) : (i1) -> i32', args="%t: i1"),
    "branch_to_nowhere": body("cf.br ^nowhere"),
    "integer_division_constant_zero_shape": body(
        "%z = arith.constant dense<0> : tensor<4xi32>", "%d = arith.divsi %z, %q : tensor<4xi32>"),
    "histogram_2d": body("%c = arith.constant dense<1> : tensor<4x4xi32>",
                         "%h = tt.histogram %c : tensor<4x4xi32> -> tensor<8xi32>"),
    "fp_to_fp_without_rounding": body("%c = arith.constant dense<1.0> : tensor<4xf32>",
                                      "%h = tt.fp_to_fp %c : tensor<4xf32> -> tensor<4xf16>"),
}


def stored(element: str, *lines: str, size: int = 16) -> str:
    """A kernel that stores the tensor %v of so many such elements, so that it is not left out."""
    return body(
        "%a = tt.splat %f : f32 -> tensor<16xf32>", "%i = tt.splat %n : i32 -> tensor<16xi32>", *lines,
        f"%p = tt.splat %x : !tt.ptr<{element}> -> tensor<{size}x!tt.ptr<{element}>>",
        f"tt.store %p, %v : tensor<{size}x!tt.ptr<{element}>>",
        args=f"%x: !tt.ptr<{element}>, %n: i32, %f: f32")


def external(symbol: str, types: str, operands: str = "%a") -> str:
    attributes = f'{{libname = "", libpath = "", pure = true, symbol = "{symbol}"}}'
    return f"%v = tt.extern_elementwise {operands} {attributes} : {types}"


F32, I32 = "tensor<16xf32>", "tensor<16xi32>"
PAIR = f"%v = tt.pair_dot %i, %i, %i : {I32}"

# What is found and expected, and for which processor.
SAID = {
    "extern_no_operands": (
        stored("f32", external("__nv_expf", f"() -> {F32}", "")), "native", "has no operands, expected at least one"),
    "extern_other_shape": (
        stored("f32", external("__nv_expf", f"({F32}) -> tensor<8xf32>"), size=8),
        "native", "of 'tensor<16xf32>' gives 'tensor<8xf32>', expected one shape"),
    "extern_scalar_beside_tensor": (
        stored("f32", external("__nv_powf", f"({F32}, f32) -> {F32}", "%a, %f")),
        "native", "of 'f32' gives 'tensor<16xf32>', expected one shape"),
    "extern_one_of_two": (
        stored("f32", external("__nv_fdividef", f"({F32}) -> {F32}")), "native", "has 1 operands, expected 2"),
    "extern_libm_one_of_two": (
        stored("f32", external("__nv_powf", f"({F32}) -> {F32}")), "native", "has 1 operands, expected 2"),
    "extern_two_of_one": (
        stored("f32", external("__nv_expf", f"({F32}, {F32}) -> {F32}", "%a, %a")), "native", "has 2 operands, expected 1"),
    "extern_of_integers": (
        stored("f32", external("__nv_fdividef", f"({F32}, {I32}) -> {F32}", "%a, %i")),
        "native", "takes tensor<16xi32> to tensor<16xf32>, expected f32 or f64 throughout"),
    "extern_to_bf16": (
        stored("bf16", external("__nv_exp", f"({F32}) -> tensor<16xbf16>")),
        "native", "takes tensor<16xf32> to tensor<16xbf16>, expected f32 or f64 throughout"),
    **{f"extern_{symbol}_{count}": (
        stored("i32", external(symbol, f"({', '.join([I32] * count)}) -> {I32}", ", ".join(["%i"] * count))),
        "native", f"external function '{symbol}' has no CPU version")
       for symbol in ("pair_dot", "pair_scale") for count in (1, 3)},
    "pair_of_two": (stored("i32", f"%v = tt.pair_dot %i, %i : {I32}"), "native", "expected ','"),
    "pair_generic_of_two": (
        stored("i32", f'%v = "tt.pair_scale"(%i, %i) : ({I32}, {I32}) -> {I32}'), "native", "expected 3 operands, but found 2"),
    "pair_of_floats": (stored("f32", f"%v = tt.pair_dot %a, %a, %a : {F32}"), "native", "must be ranked tensor of 32-bit"),
    "pair_other_shape": (
        stored("i32", f'%v = "tt.pair_dot"(%i, %i, %i) : ({I32}, {I32}, {I32}) -> tensor<8xi32>', size=8),
        "native", "requires the same type for all operands and results"),
    "pair_on_arm": (stored("i32", PAIR), "neoverse-n1", "found target neoverse-n1, expected AVX2"),
    "pair_before_avx2": (stored("i32", PAIR), "x86-64", "found target x86-64, expected AVX2"),
    "math_to_bool": (
        stored("i32", f"%b = math.isnan %a : {F32}", f"%v = arith.extui %b : tensor<16xi1> to {I32}"),
        "native", "'math.isnan': this function is not supported"),
    "math_with_integers": (
        stored("f32", f"%v = math.fpowi %a, %i : {F32}, {I32}"), "native", "'math.fpowi': this function is not supported"),
}


def run_compiler(compiler: Path, text: str, folder: Path, *flags: str) -> subprocess.CompletedProcess:
    source, output = folder / "in.ttir", folder / "out.so"
    source.write_bytes(text.encode("utf-8", "surrogateescape"))
    output.unlink(missing_ok=True)
    done = subprocess.run([str(compiler), str(source), "-o", str(output), *flags], capture_output=True, text=True,
                          errors="replace", timeout=60)
    if done.returncode != 0:
        left = [p.name for p in folder.iterdir() if p.name != "in.ttir"]
        assert not left, f"failed but left {left}"
    return done


def assert_refused(done: subprocess.CompletedProcess) -> None:
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stderr[-500:]}"
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("nereid-cc: error: "), done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_input_is_refused(name: str, compiler: Path, tmp_path: Path) -> None:
    assert_refused(run_compiler(compiler, MALFORMED[name], tmp_path))


@pytest.mark.parametrize("name", SAID)
def test_what_is_wrong_is_said(name: str, compiler: Path, tmp_path: Path) -> None:
    text, processor, said = SAID[name]
    done = run_compiler(compiler, text, tmp_path, "--cpu", processor)
    assert_refused(done)
    assert said in done.stderr


@pytest.mark.parametrize("line, element, symbol", [
    (external("__nv_powf", f"({F32}, {F32}) -> {F32}", "%a, %a"), "f32", "powf"),
    (f"%v = math.powf %a, %a : {F32}", "f32", "powf"),
    (external("__nv_fdividef", f"({F32}, {F32}) -> {F32}", "%a, %a"), "f32", ""),
    (PAIR, "i32", ""),
])  # fmt: skip
def test_the_same_without_mistakes_compiles(
    line: str, element: str, symbol: str, compiler: Path, tmp_path: Path
) -> None:
    done = run_compiler(compiler, stored(element, line), tmp_path, "--cpu", "x86-64-v3")
    assert done.returncode == 0, done.stderr
    assert symbol.encode() + b"\0" in (tmp_path / "out.so").read_bytes()


def test_the_good_one_compiles(compiler: Path, tmp_path: Path) -> None:
    done = run_compiler(compiler, GOOD, tmp_path)
    assert done.returncode == 0, done.stderr


def _mutate(text: str, rng: random.Random) -> str:
    """Deletes, duplicates, swaps or changes a few tokens or characters."""
    for _ in range(rng.randint(1, 4)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif kind == 2:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == 3 and lines[at]:
            spot = rng.randrange(len(lines[at]))
            lines[at] = lines[at][:spot] + chr(rng.randrange(32, 127)) + lines[at][spot + 1 :]
        elif kind == 4:
            words = lines[at].split(" ")
            del words[rng.randrange(len(words))]
            lines[at] = " ".join(words)
        elif kind == 5:
            old = rng.choice(["i32", "f32", "64", "16", "axis = 0", "true", "tensor<", "i1", "-> "])
            new = rng.choice(["i64", "bf16", "63", "0", "axis = 7", "false", "vector<", "-1", "f8E5M2", "!tt.ptr<"])
            lines[at] = lines[at].replace(old, new, 1)
        else:
            text = "\n".join(lines)
            cut = rng.randrange(len(text) + 1)
            return text[:cut] if rng.random() < 0.3 else text
        text = "\n".join(lines)
    return text


MUTATED_CASES = [case for case in all_cases() if case.name in {
    "add_fp32", "softmax_rows_5x781", "dot_bf16_37x41x53_tile_16x16x16_nn_fp32", "scan_sum_8x16_axis1_i32",
    "tutorial_attention_bf16_130x64_causal", "early_return", "descriptor_matmul_fp32", "argmax_first_of_ties",
    "atomic_add_fp32", "join_split_16", "while_with_if_collatz", "philox_seed_42", "int4_gemv"}]


@pytest.mark.parametrize("case", MUTATED_CASES, ids=lambda case: case.name)
def test_mutated_kernels_never_crash(case, compiler: Path, tmp_path: Path) -> None:
    args = case.make_args()
    text = emit_ttir(case.kernel, case.signature(args), case.constexprs)
    rng = random.Random(case.name)
    for _ in range(25):
        mutated = _mutate(text, rng)
        done = run_compiler(compiler, mutated, tmp_path)
        if done.returncode != 0:
            try:
                assert_refused(done)
            except AssertionError:
                (tmp_path / "crash.ttir").write_text(mutated)
                raise
