"""A @triton.jit function, a signature and constants -> TTIR text with locations. Needs no GPU."""

from __future__ import annotations

from typing import Any, Mapping

from triton.compiler.compiler import ASTSource

from kernels.ttir import source_to_ttir


def emit_ttir(
    fn: Any,
    signature: Mapping[str, str],
    constexprs: Mapping[str, Any],
    divisibility: Mapping[str, int] | None = None,
    optimize: bool = False,
    debug: bool = False,
) -> str:
    """`signature`: run-time argument -> "*fp32", "i32", ...; `divisibility`: argument -> 16.

    `optimize` runs Triton's own target-independent passes first, as kernel packs do.
    """
    names = fn.arg_names
    full = {name: "constexpr" if name in constexprs else signature[name] for name in names}
    attributes = {
        (names.index(name),): [["tt.divisibility", value]]
        for name, value in (divisibility or {}).items()
    }
    source = ASTSource(fn, full, constexprs=dict(constexprs), attrs=attributes)
    return source_to_ttir(source, optimize=optimize, debug=debug)
