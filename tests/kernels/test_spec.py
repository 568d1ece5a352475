"""A declaration that disagrees with its function, its grid or its cases is refused with the
reason."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import triton
import triton.language as tl

from kernels import expr, registry, targets
from kernels.conformance import check_memory, compare, prepare
from kernels.dtypes import DTYPES, bf16_to_f32, f32_to_bf16, narrow, widen
from kernels.spec import F32, I32, Case, Cost, DType, Flag, Int, Kernel, Ptr, SpecError


@triton.jit
def scale_kernel(
    x, bias, out, rows, factor, dim: tl.constexpr, has_bias: tl.constexpr, BLOCK: tl.constexpr
):
    column = tl.arange(0, BLOCK)
    row = tl.program_id(0)
    v = tl.load(x + row * dim + column, mask=column < dim, other=0.0) * factor
    if has_bias:
        v += tl.load(bias + column, mask=column < dim, other=0.0)
    tl.store(out + row * dim + column, v.to(out.dtype.element_ty), mask=column < dim)


def scale_reference(key, args):
    return {"out": args["x"] * args["factor"] + (args["bias"] if key["has_bias"] else 0)}


def scale_case(**changes) -> Case:
    args = {
        "x": np.ones((2, 3), np.float32), "bias": None, "out": np.zeros((2, 3), np.float32), "rows": 2, "factor": 2.0,
    }  # fmt: skip
    key = {"dtype": "f32", "dim": 3, "has_bias": 0}
    return Case("case", key | changes.pop("key", {}), args | changes)


def fields() -> dict:
    return dict(
        name="scale",
        doc="out[r, :] = x[r, :] * factor + bias",
        fn=scale_kernel,
        key=[DType("dtype"), Int("dim", min=1, max=64), Flag("has_bias")],
        args=[
            Ptr("x", "dtype", "read", shape="rows, dim"),
            Ptr("bias", "f32", "read", shape="dim", optional="has_bias"),
            Ptr("out", "dtype", "write", shape="rows, dim"),
            I32("rows"),
            F32("factor"),
        ],
        grid="rows",
        select="rows",
        reference=scale_reference,
        cases=lambda: [scale_case()],
        default_tiles=[
            {"max": 4, "BLOCK": 16},
            {"when": "dim > 8", "BLOCK": 64},
            {"BLOCK": "next_pow2(dim)"},
        ],
    )


def make(**changes) -> Kernel:
    return Kernel(**(fields() | changes))


KEY = {"dtype": "bf16", "dim": 3, "has_bias": 0}

REFUSED = {
    "no doc": (dict(doc=" "), "doc is empty"),
    "no reference": (dict(reference=None), "reference is missing"),
    "no cases": (dict(cases=None), "cases is missing"),
    "bad name": (dict(name="Scale"), "expected snake_case"),
    "not a kernel": (dict(fn=scale_reference), "expected a @triton.jit function"),
    "unknown in grid": (dict(grid="rows * cols"), "unknown name cols"),
    "grid syntax": (dict(grid="rows *"), "rows \\*"),
    "float in grid": (dict(grid="factor"), "unknown name factor"),
    "unknown select": (dict(select="cols"), "select='cols' is not an integer argument"),
    "float select": (dict(select="factor"), "select='factor'"),
    "argument order": (
        dict(args=fields()["args"][::-1]),
        "run-time parameters of scale_kernel are",
    ),
    "missing argument": (dict(args=fields()["args"][:-1]), "declared arguments are"),
    "missing key field": (
        dict(key=fields()["key"][:1] + fields()["key"][2:]),
        "constexpr dim is no key field",
    ),
    "key not in function": (
        dict(key=[*fields()["key"], Int("page")]),
        "no tl.constexpr parameter page",
    ),
    "twice": (dict(key=[*fields()["key"], Int("dim")]), "dim is declared twice"),
    "no tiles": (dict(default_tiles=[]), "default_tiles is empty"),
    "tile missing": (dict(default_tiles=[{"num_warps": 1}]), "no value for BLOCK"),
    "tile unknown": (dict(default_tiles=[{"BLOCK": 4, "ROWS": 1}]), "unknown ROWS"),
    "tile of an argument": (dict(default_tiles=[{"BLOCK": "rows"}]), "unknown name rows"),
    "unknown in cost": (dict(cost=Cost(bytes="rows * cols")), "cost.bytes .* unknown name cols"),
    "type of products": (dict(cost=Cost(bytes="rows", products="f8")), "cost.products is 'f8'"),
    "max without select": (dict(select=None), "declares no select"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    changes, message = REFUSED[what]
    with pytest.raises(SpecError, match=message) as error:
        make(**changes)
    assert "kernel" in str(error.value)


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        (Ptr("x", "q_dtype", "read", shape="dim"), "neither a dtype nor a DType key field"),
        (Ptr("x", "dtype", "rw", shape="dim"), "access 'rw'"),
        (Ptr("x", "dtype", "read", shape=""), "shape is missing"),
        (I32("x", divisible=8), "only 16"),
    ],
)
def test_bad_argument(arg, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make(args=[arg, *fields()["args"][1:]])


def test_keys() -> None:
    kernel = make()
    assert kernel.variant(dict(reversed(KEY.items()))) == "scale(dtype=bf16,dim=3,has_bias=0)"
    for change, message in (
        ({"dim": 0}, "dim is 0, expected 1 to 64"),
        ({"dim": True}, "expected an integer"),
        ({"dim": "3"}, "expected an integer"),
        ({"dtype": "i8"}, "expected one of f32, f16, bf16"),
        ({"has_bias": 2}, "expected 0 or 1"),
        ({"page": 1}, "unknown key field page"),
    ):
        with pytest.raises(SpecError, match=message):
            kernel.check_key(KEY | change)
    with pytest.raises(SpecError, match="missing key field dim"):
        kernel.check_key({"dtype": "f32", "has_bias": 0})


def test_cost_of_the_linear_kernel() -> None:
    """Against a count by hand: 3 rows through gate and up of 4-bit weights with minima, codes in, bf16 out."""
    kernel = registry.find("linear")
    key = {
        "x_dtype": "i8", "out_dtype": "bf16", "paired_out": 0, "terms": 1, "second_from": 0, "octaves": 1, "bits": 4, "code_dtype": "u8", "zero": 0, "group": 32,
        "scale_dtype": "f16", "has_min": 1, "n": 96, "k": 64, "x_stride": 64, "out_stride": 96, "has_bias": 0,
        "residual": 0, "gate": 1,
    }  # fmt: skip
    names = kernel.check_key(key) | {"rows": 3, "sequences": 1, "queries": 3, "context": 3}
    weights = 96 * 64 // 2 + 96 * (64 // 32) * (2 + 2)
    assert expr.parse(kernel.cost.bytes).evaluate(names) == 2 * weights + 3 * (64 + 64 // 32 * 8) + 3 * 96 * 2
    assert expr.parse(kernel.cost.operations).evaluate(names) == 2 * 2 * 3 * 96 * 64
    names |= {"bits": 16, "group": 0, "has_min": 0, "x_dtype": "bf16", "gate": 0, "residual": 1}
    assert expr.parse(kernel.cost.bytes).evaluate(names) == 96 * 64 * 2 + 3 * 64 * 2 + 2 * 3 * 96 * 2


def test_cost_of_the_linear_kernel_over_e4m3() -> None:
    """5 rows of codes through gate and up with a scale for every 128 x 128 block, bf16 out with a bias."""
    kernel = registry.find("linear_f8")
    key = {
        "x_dtype": "f8e4m3", "out_dtype": "bf16", "n": 200, "k": 300, "scale_rows": 128, "group": 128,
        "out_stride": 200, "has_bias": 1, "residual": 0, "gate": 1,
    }  # fmt: skip
    names = kernel.check_key(key) | {"rows": 5, "sequences": 1, "queries": 5, "context": 5}
    weights = 200 * 300 + 2 * 3 * 4
    expected = 2 * weights + 5 * (300 + 3 * 4) + 5 * 200 * 2 + 200 * 4
    assert expr.parse(kernel.cost.bytes).evaluate(names) == expected
    assert expr.parse(kernel.cost.operations).evaluate(names) == 2 * 2 * 5 * 200 * 300
    assert kernel.cost.products == "x_dtype"


@pytest.mark.parametrize("kernel", registry.KERNELS.values(), ids=lambda kernel: kernel.name)
def test_every_kernel_says_what_it_costs(kernel: Kernel) -> None:
    """A launch moves something, and no more than what its arrays hold. (What attention
    moves depends on the step; count_tokens adds to one count again and again.)"""
    assert kernel.cost is not None
    for case in itertools.islice(kernel.cases(), 300):
        ints = {name: int(case.args[name]) for name in kernel.int_args}
        key = kernel.check_key(case.key)
        names = key | ints | {"sequences": 1, "queries": 1, "context": 1}
        moved = expr.parse(kernel.cost.bytes).evaluate(names)
        assert expr.parse(kernel.cost.operations).evaluate(names) >= 0
        assert moved > 0 or kernel.name == "nothing" or 0 in ints.values(), case.name
        held = sum(
            case.args[arg.name].size * DTYPES[kernel.arg_dtype(arg.name, key)].size * (1 + (arg.access == "readwrite"))
            for arg in kernel.pointers
            if case.args.get(arg.name) is not None
        )
        assert moved <= held or kernel.name == "count_tokens", (case.name, moved, held)


def test_choices_are_resolved_for_the_key() -> None:
    small = targets.choices(make(), KEY, "cpu:test")
    assert [(choice.max, choice.tiles["BLOCK"]) for choice in small] == [(4, 16), (None, 4)]
    large = targets.choices(make(), KEY | {"dim": 9}, "cpu:test")
    assert [(choice.max, choice.tiles["BLOCK"]) for choice in large] == [(4, 16), (None, 64)]
    with pytest.raises(SpecError, match="no choice without max"):
        targets.choices(make(default_tiles=[{"max": 4, "BLOCK": 16}]), KEY, "cpu:test")


def test_a_later_smaller_bound_is_dropped() -> None:
    tiles = [
        {"max": 8, "BLOCK": 1},
        {"max": 4, "BLOCK": 2},
        {"max": 8, "BLOCK": 4},
        {"BLOCK": 8},
        {"BLOCK": 16},
    ]
    resolved = targets.choices(make(default_tiles=tiles), KEY, "cpu:test")
    assert [(choice.max, choice.tiles["BLOCK"]) for choice in resolved] == [(8, 1), (None, 8)]


def test_a_target_falls_back(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(targets, "DIRECTORY", tmp_path)
    (tmp_path / "cpu.toml").write_text('scale = [{ BLOCK = "SOME" }]\n[names]\nSOME = 32\n')
    (tmp_path / "cpu-fast.toml").write_text("scale = [{ BLOCK = 128 }]\n")
    (tmp_path / "cpu-named.toml").write_text('scale = [{ BLOCK = "WIDE" }]\n[names]\nWIDE = "64 * 4"\n')
    (tmp_path / "cpu-renamed.toml").write_text("[names]\nSOME = 64\n")
    (tmp_path / "cpu-broken.toml").write_text("scale = [\n")
    targets._read.cache_clear()
    block = lambda target: targets.choices(make(), KEY, target)[0].tiles["BLOCK"]  # noqa: E731
    assert (block("cpu:fast"), block("cpu:other"), block("cuda:90")) == (128, 32, 16)
    assert (block("cpu:named"), block("cpu:renamed")) == (256, 64)
    with pytest.raises(SpecError, match="cpu-broken.toml"):
        block("cpu:broken")
    targets._read.cache_clear()


@pytest.mark.parametrize("name", sorted(registry.KERNELS))
def test_target_files_cover_every_case(name: str) -> None:
    kernel = registry.find(name)
    for case in kernel.cases():
        for target in ("cpu:znver4", "cuda:90", "hip:gfx942"):
            assert targets.choices(kernel, kernel.check_key(case.key), target)[-1].max is None


def test_every_entry_of_a_target_file_is_a_kernel() -> None:
    for path in targets.DIRECTORY.glob("*.toml"):
        unknown = set(targets._read(path.stem)) - {"names"} - set(registry.KERNELS)
        assert not unknown, f"{path}: no such kernel: {unknown}"


def test_duplicate_kernel(monkeypatch) -> None:
    twice = dataclasses.make_dataclass("Family", ["KERNELS", "__name__"])(
        [registry.find("rms_norm")], "again"
    )
    monkeypatch.setattr(registry, "FAMILIES", (*registry.FAMILIES, twice))
    with pytest.raises(SpecError, match="'rms_norm' is declared twice"):
        registry._collect()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (scale_case(x=None), "x is null"),
        (scale_case(out=np.zeros((2, 4), np.float32)), "reference of out has shape"),
        (scale_case(more=1), "has arguments"),
    ],
)
def test_bad_case(case: Case, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        prepare(make(), case)


def test_reference_must_return_what_is_written() -> None:
    with pytest.raises(SpecError, match="the reference returned \\['x'\\]"):
        prepare(make(reference=lambda key, args: {"x": args["x"]}), scale_case())


def test_comparison_notices_differences() -> None:
    prepared = prepare(make(), scale_case(key={"dtype": "bf16"}))
    good = {"x": prepared.inputs["x"], "out": prepared.expected["out"].copy()}
    assert check_memory(prepared, good) == []
    for value in (np.nan, np.inf, 2.1, 0.0):
        wrong = good["out"].copy()
        wrong[1, 2] = f32_to_bf16(np.array([value], np.float32))[0]
        assert "out: 1 of 6 differ, first at [1, 2]" in compare(prepared, "out", wrong)
    touched = good["x"].copy()
    touched[0, 0] += 1
    assert check_memory(prepared, good | {"x": touched}) == [
        "x: changed, but it is not declared as written"
    ]


def test_bf16_rounding() -> None:
    values = np.array(
        [1.0, 1.00390625, 1.01171875, 3.4e38, np.inf, -np.inf, -0.0, 1e-40], np.float32
    )
    assert bf16_to_f32(f32_to_bf16(values))[:3].tolist() == [1.0, 1.0, 1.015625]
    assert np.isinf(bf16_to_f32(f32_to_bf16(values))[3:6]).all()
    assert np.isnan(bf16_to_f32(f32_to_bf16(np.array([np.nan], np.float32))))[0]
    every = np.arange(65536, dtype=np.uint16)
    numbers = every[~np.isnan(bf16_to_f32(every))]
    assert (f32_to_bf16(bf16_to_f32(numbers)) == numbers).all()


def test_eight_bit_floats_widen() -> None:
    assert widen(np.array([0x38, 0xB8, 0x7E, 0x01, 0x00], np.uint8), "f8e4m3").tolist() == [
        1.0,
        -1.0,
        448.0,
        2**-9,
        0.0,
    ]
    assert widen(np.array([0x3C, 0xC0, 0x7C], np.uint8), "f8e5m2").tolist() == [1.0, -2.0, np.inf]
    with pytest.raises(TypeError):
        narrow(np.array([1.0]), "f8e5m2")


def test_rounding_to_e4m3() -> None:
    codes = np.arange(256, dtype=np.uint8)
    codes = codes[(codes & 127) != 127]
    assert (narrow(widen(codes, "f8e4m3"), "f8e4m3") == codes).all()
    values = np.array([1.0625, 1.1875, 2**-10, 3 * 2**-10, 1e9, -np.inf, 464.0, np.nan], np.float32)
    expected = [1.0, 1.25, 0.0, 2**-8, 448.0, -448.0, 448.0]
    got = widen(narrow(values, "f8e4m3"), "f8e4m3")
    assert got[:-1].tolist() == expected and np.isnan(got[-1])
