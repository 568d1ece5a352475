"""Writes kernels.h and kernels.cc: the C++ image of every declaration, for src/ops and src/quant; and
identity.h: what packs are told apart by, for src/engine.

    python -m kernels.generate --out DIR

Files are rewritten only when they change, so a build does not recompile for nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from importlib import metadata
from pathlib import Path

from kernels import expr
from kernels.dtypes import DTYPES
from kernels.spec import STEP_NAMES, DType, Flag, Int, Kernel, Ptr, Scalar, SpecError

ROOT = Path(__file__).resolve().parent
COMPILER_SOURCES = ROOT.parent / "src" / "compiler"

_CPP_TYPES = {
    "i32": "int32_t",
    "i64": "int64_t",
    "u32": "uint32_t",
    "u64": "uint64_t",
    "f32": "float",
}
_ARG_KINDS = {"i32": "kI32", "i64": "kI64", "u32": "kU32", "u64": "kU64", "f32": "kF32"}
_ACCESS = {"read": "kRead", "write": "kWrite", "readwrite": "kReadWrite", "scratch": "kReadWrite"}


def _hash_files(paths: list[Path], base: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(base).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def kernel_sources_sha256() -> str:
    """Over everything that decides what a kernel is: kernels/*.py and targets/*.toml."""
    return _hash_files([*ROOT.glob("*.py"), *(ROOT / "targets").glob("*.toml")], ROOT)


def toolchain_id() -> str:
    """Triton's version and the sources of the CPU compiler."""
    sources = [
        path
        for path in COMPILER_SOURCES.rglob("*")
        if path.suffix in (".h", ".cc", ".td", ".inc", ".txt")
    ]
    return f"triton-{metadata.version('triton')}-cc-{_hash_files(sources, COMPILER_SOURCES)[:16]}"


def struct_name(kernel: Kernel) -> str:
    return "".join(part.capitalize() for part in kernel.name.split("_"))


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


def _comment(text: str, indent: str, width: int = 100) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(indent) + 3 + len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines.append(line)
    return "".join(f"{indent}// {line}\n" for line in lines)


def _key_member(field: DType | Int | Flag) -> str:
    kind = {DType: "DType", Int: "int64_t", Flag: "bool"}[type(field)]
    if isinstance(field, DType):
        note = "/".join(field.allowed) + (f"; {field.doc}" if field.doc else "")
    else:
        note = field.doc
    return f"    {kind} {field.name};" + (f"  // {note}" if note else "") + "\n"


def _arg_member(arg: Ptr | Scalar) -> str:
    if isinstance(arg, Scalar):
        notes = [arg.doc] if arg.doc else []
        if arg.divisible:
            notes.append(f"a multiple of {arg.divisible}")
        return (
            f"    {_CPP_TYPES[arg.type]} {arg.name};"
            + (f"  // {'; '.join(notes)}" if notes else "")
            + "\n"
        )
    notes = [
        f"{arg.dtype} ({arg.shape})",
        {"read": "in", "write": "out", "readwrite": "in/out", "scratch": "scratch"}[arg.access],
    ]
    if arg.optional:
        notes.append(f"used if {arg.optional}, else null")
    if arg.doc:
        notes.append(arg.doc)
    return f"    DevicePtr {arg.name}{' = 0' if arg.optional else ''};  // {'; '.join(notes)}\n"


def header_of(kernel: Kernel) -> str:
    name = struct_name(kernel)
    text = _comment(kernel.doc, "")
    text += f"struct {name} {{\n  struct Key {{\n"
    text += "".join(_key_member(field) for field in kernel.key)
    text += "  };\n  struct Args {\n"
    text += "".join(_arg_member(arg) for arg in kernel.args)
    text += "  };\n  static const KernelDecl& decl();\n"
    text += f"  static std::array<int64_t, {len(kernel.key)}> pack_key(const Key& key);\n"
    text += f"  static std::array<uint64_t, {len(kernel.args)}> pack_args(const Args& args);\n"
    return text + "};\n"


def _arg_decl(arg: Ptr | Scalar) -> str:
    if isinstance(arg, Scalar):
        return f"{{.name = {_quote(arg.name)}, .kind = ArgKind::{_ARG_KINDS[arg.type]}, .divisible = {arg.divisible or 1}}}"
    nullable = ", .nullable = true" if arg.optional else ""
    streamed = ", .streamed = true" if arg.streamed else ""
    return (
        f"{{.name = {_quote(arg.name)}, .kind = ArgKind::kPtr, .access = Access::{_ACCESS[arg.access]}{nullable}"
        f"{streamed}, .divisible = 16, .shape = {_quote(arg.shape)}}}"
    )


def _value_names(kernel: Kernel) -> dict[str, str]:
    """What key fields, integer arguments and tile constants are in a function over the three arrays."""
    names = {field.name: f"key[{index}]" for index, field in enumerate(kernel.key)}
    for index, arg in enumerate(kernel.args):
        if isinstance(arg, Scalar) and arg.type != "f32":
            narrow = f"static_cast<{_CPP_TYPES[arg.type]}>(args[{index}])"
            names[arg.name] = (
                f"int64_t{{{narrow}}}"
                if arg.type != "u64"
                else f"static_cast<int64_t>(args[{index}])"
            )
    return names | {tile: f"tiles[{index}]" for index, tile in enumerate(kernel.tiles)}


def _cost_function(kernel: Kernel) -> str:
    if kernel.cost is None:
        return ""
    names = _value_names(kernel)
    products = kernel.cost.products
    dtype = (
        f"static_cast<DType>({names[products]})"
        if products in names
        else f"DType::{DTYPES[products].cpp}"
    )
    names |= {name: f"int64_t{{step.{name}}}" for name in STEP_NAMES}
    return (
        f"LaunchCost {kernel.name}_cost([[maybe_unused]] const int64_t* key, [[maybe_unused]] const uint64_t* args,\n"
        f"    [[maybe_unused]] const StepShape& step) {{\n"
        f"  return {{.bytes = {expr.parse(kernel.cost.bytes).to_cpp(names)},\n"
        f"          .operations = {expr.parse(kernel.cost.operations).to_cpp(names)},\n"
        f"          .products = {dtype}}};\n}}\n"
    )


def _value_functions(kernel: Kernel) -> str:
    names = _value_names(kernel)
    parameters = (
        "([[maybe_unused]] const int64_t* key, [[maybe_unused]] const uint64_t* args,\n"
        "    [[maybe_unused]] const int64_t* tiles)"
    )
    text = (
        f"// {kernel.grid}\nGrid {kernel.name}_grid{parameters} {{\n"
        f"  return grid_1d({expr.parse(kernel.grid).to_cpp(names)});\n}}\n"
    )
    if kernel.workspace is not None:
        text += (
            f"// {kernel.workspace}\nint64_t {kernel.name}_workspace{parameters} {{\n"
            f"  return {expr.parse(kernel.workspace).to_cpp(names)};\n}}\n"
        )
    return text


def _table(kind: str, name: str, entries: list[str]) -> str:
    if not entries:  # a zero-sized array is not C++
        return f"constexpr std::span<{kind} const> {name};\n"
    return (
        f"constexpr {kind} {name}[] = {{\n"
        + "".join(f"    {entry},\n" for entry in entries)
        + "};\n"
    )


def source_of(kernel: Kernel) -> str:
    name = struct_name(kernel)
    keys = [
        f"{{.name = {_quote(f.name)}, .kind = KeyKind::{'kDType' if isinstance(f, DType) else 'kInt'}}}"
        for f in kernel.key
    ]
    select = kernel.arg_names.index(kernel.select) if kernel.select else -1
    text = f"// --- {kernel.name}\nnamespace {{\n" + _value_functions(kernel)
    text += _cost_function(kernel)
    text += _table("KeyFieldDecl", f"k{name}Key", keys)
    text += _table("ArgDecl", f"k{name}Args", [_arg_decl(arg) for arg in kernel.args])
    text += _table("const char*", f"k{name}Tiles", [_quote(tile) for tile in kernel.tiles])
    text += (
        f"constexpr KernelDecl k{name}Decl{{\n"
        f"    .name = {_quote(kernel.name)},\n    .doc = {_quote(kernel.doc)},\n    .key_fields = k{name}Key,\n"
        f"    .args = k{name}Args,\n    .tile_names = k{name}Tiles,\n    .select_arg = {select},\n"
        f"    .uneven = {'true' if kernel.uneven else 'false'},\n    .grid = {kernel.name}_grid"
    )
    if kernel.workspace is not None:
        text += (
            f",\n    .workspace_arg = {kernel.arg_names.index('workspace')},\n"
            f"    .workspace = {kernel.name}_workspace"
        )
    if kernel.cost is not None:
        text += f",\n    .cost = {kernel.name}_cost"
    text += "};\n}  // namespace\n"
    slots = ", ".join(f"static_cast<int64_t>(key.{field.name})" for field in kernel.key)
    values = ", ".join(f"arg_slot(args.{arg.name})" for arg in kernel.args)
    text += f"const KernelDecl& {name}::decl() {{ return k{name}Decl; }}\n"
    text += (
        f"std::array<int64_t, {len(kernel.key)}> {name}::pack_key([[maybe_unused]] const Key& key) {{\n"
        f"  return {{{slots}}};\n}}\n"
    )
    text += (
        f"std::array<uint64_t, {len(kernel.args)}> {name}::pack_args([[maybe_unused]] const Args& args) {{\n"
        f"  return {{{values}}};\n}}\n"
    )
    return text


_HEADER = """// Launch structs of every kernel. Generated by kernels/generate.py from the declarations in kernels/; do not
// edit. The entry of each struct is described in src/device/kernel_decl.h.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "src/device/kernel_decl.h"

namespace nereid::kernels {

// Every kernel, ordered by name.
std::span<const KernelDecl* const> all_kernels();

"""

IDENTITY = """// Which kernels these are. Generated by kernels/generate.py; do not edit.
#pragma once

namespace nereid::kernels {

// SHA-256 over kernels/*.py and kernels/targets/*.toml.
extern const char* const kKernelSourcesSha256;
// Triton's version and a hash over the sources of nereid-cc.
extern const char* const kToolchainId;

}  // namespace nereid::kernels
"""

_SOURCE = """// Generated by kernels/generate.py; do not edit.
#include "kernels.h"

#include <algorithm>

#include "identity.h"
#include "src/base/check.h"

namespace nereid::kernels {
namespace {

[[maybe_unused]] constexpr int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}
[[maybe_unused]] constexpr int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }
[[maybe_unused]] constexpr int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }
[[maybe_unused]] constexpr int64_t next_pow2(int64_t value) {
  int64_t result = 1;
  while (result < value) result *= 2;
  return result;
}
[[maybe_unused]] int64_t size_of(int64_t dtype) {
  return static_cast<int64_t>(dtype_size(static_cast<DType>(dtype)));
}
[[maybe_unused]] constexpr int64_t pairs_until(int64_t position, int64_t window) {
  const int64_t growing = std::min(position, window);
  return growing * (growing + 1) / 2 + (position - growing) * window;
}
// See kernels/expr.py.
[[maybe_unused]] constexpr int64_t pairs_seen(int64_t queries, int64_t context, int64_t window) {
  return pairs_until(context, window) - pairs_until(context - queries, window);
}
[[maybe_unused]] Grid grid_1d(int64_t programs) {
  NEREID_CHECK(programs >= 0 && programs < (int64_t{1} << 31), "grid of a launch is out of range");
  return {.x = static_cast<uint32_t>(programs), .y = 1, .z = 1};
}

}  // namespace

"""


def generate(kernels: dict[str, Kernel]) -> tuple[str, str]:
    """Text of kernels.h and kernels.cc."""
    ordered = [kernels[name] for name in sorted(kernels)]
    header = (
        _HEADER
        + "\n".join(header_of(kernel) for kernel in ordered)
        + "\n}  // namespace nereid::kernels\n"
    )
    source = _SOURCE
    source += f'const char* const kKernelSourcesSha256 = "{kernel_sources_sha256()}";\n'
    source += f'const char* const kToolchainId = "{toolchain_id()}";\n\n'
    source += "\n".join(source_of(kernel) for kernel in ordered)
    pointers = "".join(f"      &k{struct_name(kernel)}Decl,\n" for kernel in ordered)
    source += (
        "\nstd::span<const KernelDecl* const> all_kernels() {\n"
        f"  static constexpr const KernelDecl* kAll[] = {{\n{pointers}  }};\n  return kAll;\n}}\n\n"
        "}  // namespace nereid::kernels\n"
    )
    return header, source


def write_if_changed(path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the three files"
    )
    out = parser.parse_args().out
    try:
        from kernels.registry import KERNELS  # errors of a declaration surface here
    except SpecError as error:
        print(f"kernels: error: {error}", file=sys.stderr)
        return 1
    header, source = generate(KERNELS)
    write_if_changed(out / "identity.h", IDENTITY)
    write_if_changed(out / "kernels.h", header)
    write_if_changed(out / "kernels.cc", source)
    return 0


if __name__ == "__main__":
    sys.exit(main())
