"""A @triton.jit function, a signature and constants -> TTIR text with locations. Needs no GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Mapping

from triton._C.libtriton import ir, passes
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import ASTSource

_TARGET = GPUTarget("cpu", "x86", 1)
_OPTIONS = SimpleNamespace(
    arch="x86",
    debug=False,
    sanitize_overflow=False,
    supported_fp8_dtypes=("fp8e5", "fp8e4nv"),
    deprecated_fp8_dot_operand_dtypes=(),
    default_dot_input_precision="ieee",
    allowed_dot_input_precisions=("ieee", "tf32", "tf32x3", "bf16x3", "bf16x6"),
    max_num_imprecise_acc_default=0,
    num_warps=1,
    num_ctas=1,
)


def _no_custom_types(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("fp8e4b15 is not supported on a CPU")


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
    context = ir.context()
    ir.load_dialects(context)
    options = SimpleNamespace(**{**vars(_OPTIONS), "debug": debug, "sanitize_overflow": debug})
    functions = {"min_dot_size": lambda lhs, rhs: (1, 1, 1), "convert_custom_types": _no_custom_types}
    source = ASTSource(fn, full, constexprs=dict(constexprs), attrs=attributes)
    module = source.make_ir(_TARGET, options, functions, {}, context)
    if optimize:
        manager = ir.pass_manager(context)
        passes.common.add_inliner(manager)
        passes.common.add_canonicalizer(manager)
        passes.ttir.add_combine(manager)
        passes.ttir.add_reorder_broadcast(manager)
        passes.common.add_cse(manager)
        passes.common.add_symbol_dce(manager)
        passes.ttir.add_loop_unroll(manager)
        manager.run(module, "ttir")
    return module.str()
