"""Expressions mean the same in Python and in the C++ that is generated from them."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from kernels.dtypes import DTYPES
from kernels.expr import ExprError, pairs_seen, parse
from kernels.generate import _SOURCE

GOOD = [
    "ceil_div(rows, 4) * dim",
    "rows // 3 - dim % 7",
    "(rows - 20) // 3 + (rows - 20) % 3",
    "-rows + min(dim, rows, 5) + max(dim, 2)",
    "next_pow2(dim)",
    "dim if rows <= 4 else dim * 2",
    "1 < rows <= 8",
    "rows == 1 or dim > 64 and not rows > 3",
    "dtype == 'bf16'",
    "dtype in ('f16', 'bf16') and dim % 32 == 0",
    "dtype not in ('f16', 'f32')",
    "dim * size_of(dtype) + size_of('i8')",
    "pairs_seen(min(rows, dim), dim, rows + 1)",
]

BAD = [
    "rows +",
    "rows / 2",
    "rows ** 2",
    "__import__('os')",
    "rows.bit_length()",
    "[1, 2]",
    "lambda: 1",
    "1.5",
    "'float32'",
    "min(rows)",
    "ceil_div(rows)",
    "rows << 2",
    "max(rows, key=1)",
]


@pytest.mark.parametrize("text", BAD)
def test_refused(text: str) -> None:
    with pytest.raises(ExprError):
        parse(text)


def test_values() -> None:
    env = {"rows": 5, "dim": 576, "dtype": "bf16"}
    results = [parse(text).evaluate(env) for text in GOOD]
    assert results == [1152, -1, -5, 576, 1024, 1152, 1, 0, 1, 1, 1, 1153, 30]


def test_pairs_seen_counts_what_a_causal_mask_leaves() -> None:
    for queries, context, window in itertools.product((1, 2, 5), (5, 9), (1, 3, 6, 100)):
        pairs = sum(
            max(0, position - window) < key <= position
            for position in range(context - queries + 1, context + 1)
            for key in range(1, context + 1)
        )
        assert pairs_seen(queries, context, window) == pairs


def test_unknown_name_and_division_by_zero() -> None:
    with pytest.raises(ExprError, match="unknown name cols"):
        parse("rows * cols").require({"rows"}, "grid")
    with pytest.raises(ExprError, match="division by zero"):
        parse("rows // (rows - 1)").evaluate({"rows": 1})


def test_cpp_agrees(tmp_path) -> None:
    """Compiles all good expressions and compares them over a grid of values."""
    names = {"rows": "rows", "dim": "dim", "dtype": "dtype"}
    helpers = _SOURCE[
        _SOURCE.index("[[maybe_unused]] constexpr int64_t floor_div") : _SOURCE.index(
            "[[maybe_unused]] Grid"
        )
    ]
    sizes = ", ".join(str(info.size) for info in DTYPES.values())
    enumerators = ", ".join(info.cpp for info in DTYPES.values())
    prints = "".join(
        f'  std::printf("%lld\\n", (long long)({parse(text).to_cpp(names)}));\n' for text in GOOD
    )
    source = tmp_path / "expressions.cc"
    source.write_text(
        "#include <algorithm>\n#include <cstdint>\n#include <cstdio>\n#include <cstdlib>\n"
        f"enum class DType {{ {enumerators} }};\n"
        f"size_t dtype_size(DType dtype) {{ constexpr size_t kSizes[] = {{{sizes}}}; return kSizes[int(dtype)]; }}\n"
        f"{helpers}\n"
        "void print(int64_t rows, int64_t dim, int64_t dtype) {\n" + prints + "}\n"
        "int main(int argc, char** argv) {\n"
        "  for (int i = 1; i + 2 < argc; i += 3) print(std::atoll(argv[i]), std::atoll(argv[i + 1]), std::atoll(argv[i + 2]));\n"
        "}\n"
    )
    binary = tmp_path / "expressions"
    subprocess.run(["c++", "-std=c++20", str(source), "-o", str(binary)], check=True)
    order = list(DTYPES)
    points = list(itertools.product((0, 1, 3, 5, 100), (1, 64, 577), ("f32", "bf16", "f16")))
    arguments = [
        str(value) for rows, dim, dtype in points for value in (rows, dim, order.index(dtype))
    ]
    printed = subprocess.run(
        [str(binary), *arguments], check=True, capture_output=True, text=True
    ).stdout
    expected = [
        parse(text).evaluate({"rows": rows, "dim": dim, "dtype": dtype})
        for rows, dim, dtype in points
        for text in GOOD
    ]
    assert [int(line) for line in printed.split()] == expected
