"""A variant and its tile choice to TTIR text (CPU targets) or to a GPU binary. Needs no GPU.

The signature comes from the declaration alone: pointers are 16-byte aligned, integers are never
specialised on their value (no `== 1`, no `% 16` beyond what is declared), so a variant can't ask
for another compilation at run time."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Mapping

import triton
import triton.language as tl
from triton._C.libtriton import ir, passes
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import ASTSource
from triton.experimental.gluon._runtime import GluonASTSource

from kernels.dtypes import DTYPES
from kernels.spec import DType, Kernel, Ptr, SpecError
from kernels.targets import Choice

_CPU_TARGET = GPUTarget("cpu", "x86", 1)
# What Triton's front end asks of a backend's options.
_CPU_OPTIONS = SimpleNamespace(
    arch="x86",
    debug=False,
    sanitize_overflow=False,
    supported_fp8_dtypes=("fp8e5", "fp8e4nv"),
    deprecated_fp8_dot_operand_dtypes=(),
    default_dot_input_precision="ieee",
    allowed_dot_input_precisions=("ieee", "tf32", "tf32x3"),
    max_num_imprecise_acc_default=0,
    num_warps=1,
    num_ctas=1,
)


# Triton has no 8-bit float of this kind there: kernels see bytes, and convert them (float8.py).
_WITHOUT_E4M3 = ("cuda:80", "cuda:86")


def _source(kernel: Kernel, key: Mapping[str, Any], choice: Choice, target: str = "") -> ASTSource:
    signature: dict[str, str] = {}
    renamed = {"fp8e4nv": "u8"} if target in _WITHOUT_E4M3 else {}
    attributes: dict[tuple[int], list] = {}
    for index, arg in enumerate(kernel.args):
        if isinstance(arg, Ptr):
            element = DTYPES[kernel.arg_dtype(arg.name, key)].triton
            signature[arg.name] = "*" + renamed.get(element, element)
            attributes[(index,)] = [["tt.divisibility", 16]]
            continue
        signature[arg.name] = DTYPES[arg.type].triton
        if arg.divisible:
            attributes[(index,)] = [["tt.divisibility", arg.divisible]]
    fn = kernel.function(choice.tiles)
    parameters = fn.arg_names
    constants: dict[str, Any] = {}
    for field_ in kernel.key:
        if field_.name in parameters:
            value = key[field_.name]
            constants[field_.name] = (
                getattr(tl, DTYPES[value].tl) if isinstance(field_, DType) else value
            )
    constants |= choice.tiles
    signature |= {name: "constexpr" for name in constants}
    ordered = {name: signature[name] for name in parameters}
    make = GluonASTSource if fn.is_gluon() else ASTSource
    return make(fn, ordered, constexprs=constants, attrs=attributes)


def to_ttir(kernel: Kernel, key: Mapping[str, Any], choice: Choice, locations: bool = True) -> str:
    """TTIR text of one choice after Triton's target-independent passes."""
    if kernel.function(choice.tiles).is_gluon():
        raise SpecError(f"{kernel.variant(key)} tiles {dict(choice.tiles)}: Gluon has no TTIR")
    try:
        text = source_to_ttir(_source(kernel, key, choice), locations=locations)
    except (
        Exception
    ) as error:  # Triton raises many kinds; all mean that the kernel does not compile
        raise SpecError(f"{kernel.variant(key)}: {_last_line(error)}") from error
    return _rename_entry(text, entry_name(kernel))


def source_to_ttir(
    source: ASTSource, *, optimize: bool = True, debug: bool = False, locations: bool = True
) -> str:
    """What Triton's front end makes of a function for a CPU. `optimize`: its target-independent passes
    too; `debug`: with device_assert and checks for overflow."""
    context = ir.context()
    ir.load_dialects(context)
    functions = {
        "min_dot_size": lambda lhs, rhs: (1, 1, 1),
        "convert_custom_types": _no_custom_types,
    }
    options = SimpleNamespace(**(vars(_CPU_OPTIONS) | {"debug": debug, "sanitize_overflow": debug}))
    module = source.make_ir(_CPU_TARGET, options, functions, {}, context)
    if optimize:
        _run_passes(module, context)
    return module.str() if locations else module.str_nodebug()


def _run_passes(module: Any, context: Any) -> None:
    manager = ir.pass_manager(context)
    passes.common.add_inliner(manager)
    passes.common.add_canonicalizer(manager)
    passes.ttir.add_combine(manager)
    passes.ttir.add_reorder_broadcast(manager)
    passes.common.add_cse(manager)
    passes.common.add_symbol_dce(manager)
    passes.ttir.add_loop_unroll(manager)
    manager.run(module, "ttir")


def entry_name(kernel: Kernel) -> str:
    """Name of the compiled function, whatever the Python function is called."""
    return kernel.name


def _rename_entry(text: str, name: str) -> str:
    renamed, count = re.subn(r"(tt\.func public @)[\w.$-]+", rf"\g<1>{name}", text, count=1)
    if count != 1:
        raise SpecError(f"{name}: Triton produced no public function")
    return renamed


def _no_custom_types(*_: Any, **__: Any) -> Any:
    raise SpecError("conversion from or to this 8-bit float type is not supported on a CPU")


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(line.strip() for line in lines[-3:]) or type(error).__name__


# --- GPU ------------------------------------------------------------------------------------------


def identity(kernel: Kernel, key: Mapping[str, Any], choice: Choice) -> str:
    """Text that two choices have in common only if they compile to the same."""
    fn = kernel.function(choice.tiles)
    if not fn.is_gluon():
        return to_ttir(kernel, key, choice, locations=False)
    return f"{fn.cache_key} {kernel.variant(key)} {sorted(choice.tiles.items())}"


@dataclass(frozen=True)
class GpuBinary:
    blob: bytes  # cubin or HSACO
    entry: str
    shared_bytes: int
    num_warps: int
    scratch_bytes: int  # global scratch per program
    num_ctas: int
    launch_pdl: bool


# What is compiled for, and the shared memory that one program may have there, in bytes.
GPU_SHARED_BYTES = {
    "cuda:80": 163 * 1024,
    "cuda:86": 99 * 1024,
    "cuda:89": 99 * 1024,
    "cuda:90": 227 * 1024,
    "cuda:100": 227 * 1024,
    "cuda:120": 99 * 1024,
    "hip:gfx90a": 64 * 1024,
    "hip:gfx942": 64 * 1024,
    "hip:gfx950": 160 * 1024,
    "hip:gfx1100": 64 * 1024,
    "hip:gfx1201": 64 * 1024,
}


class DoesNotFit(RuntimeError):
    """Triton or its assembler could not make code for the target: out of shared memory, out of
    registers, or a tile that its instructions do not have."""


@lru_cache(maxsize=None)
def gpu_target(target: str) -> GPUTarget:
    """`cuda:90` or `hip:gfx942`."""
    if target not in GPU_SHARED_BYTES:
        known = ", ".join(["cpu:NAME", *GPU_SHARED_BYTES])
        raise SpecError(f"target {target!r} is not known (expected one of {known})")
    backend, _, arch = target.partition(":")
    if backend == "cuda":
        return GPUTarget("cuda", int(arch), 32)
    return GPUTarget("hip", arch, 64 if arch.startswith("gfx9") else 32)


def compile_gpu(kernel: Kernel, key: Mapping[str, Any], choice: Choice, target: str) -> GpuBinary:
    """Compiles for a GPU that need not be there. Triton appends two pointers, global and profile
    scratch, to the declared arguments."""
    options = {
        "num_warps": choice.num_warps,
        "num_stages": choice.num_stages,
        "enable_fp_fusion": True,  # explicit: Triton's default changes between versions
    }
    what = f"{kernel.variant(key)} tiles {dict(choice.tiles)}"
    options |= _launch_options(choice, target, what)
    with tempfile.TemporaryDirectory(prefix="nereid-triton-") as folder, triton.knobs.cache.scope():
        triton.knobs.cache.dir = folder  # objects.py has a cache of its own
        try:
            compiled = triton.compile(
                _source(kernel, key, choice, target), target=gpu_target(target), options=options
            )
        except Exception as error:  # Triton raises many kinds
            raise DoesNotFit(f"{what}: {_last_line(error)}") from error
    shared = compiled.metadata.shared
    if shared > GPU_SHARED_BYTES[target]:
        raise DoesNotFit(
            f"{what}: {shared} bytes of shared memory, {target} has {GPU_SHARED_BYTES[target]}"
        )
    # The driver lets such a kernel begin while the launch in front still writes.
    if choice.launch_pdl and "griddepcontrol.wait" not in compiled.asm["ptx"]:
        raise SpecError(f"{what}: launch_pdl, and it never waits (tl.extra.cuda.gdc_wait)")
    return GpuBinary(
        blob=compiled.asm["cubin" if target.startswith("cuda") else "hsaco"],
        entry=compiled.metadata.name,
        shared_bytes=shared,
        num_warps=compiled.metadata.num_warps,
        scratch_bytes=choice.num_ctas * getattr(compiled.metadata, "global_scratch_size", 0),
        num_ctas=choice.num_ctas,
        launch_pdl=bool(choice.launch_pdl),
    )


def _launch_options(choice: Choice, target: str, what: str) -> dict[str, Any]:
    """Options of Triton for what only some GPUs have."""
    if choice.num_ctas not in (1, 2, 4, 8):
        raise SpecError(f"{what}: num_ctas is {choice.num_ctas}, expected 1, 2, 4 or 8")
    if choice.launch_pdl not in (0, 1):
        raise SpecError(f"{what}: launch_pdl is {choice.launch_pdl}, expected 0 or 1")
    if choice.num_ctas == 1 and not choice.launch_pdl:
        return {}
    backend, _, arch = target.partition(":")
    if backend != "cuda" or int(arch) < 90:
        raise DoesNotFit(f"{what}: {target} has no clusters and no dependent launches (cuda:90 has)")
    return {"num_ctas": choice.num_ctas, "launch_pdl": bool(choice.launch_pdl)}
