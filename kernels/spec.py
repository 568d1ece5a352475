"""How a kernel is declared: once, beside its `@triton.jit` function.

From a declaration come the C++ launch structs (generate.py), the TTIR of a variant (ttir.py), the
packs (pack.py) and the conformance cases (export_cases.py, tests/kernels). A declaration that
disagrees with its function, its grid or its cases is an error when it is made, not when something
is launched. See docs/kernels.md for the author's guide."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Mapping, Sequence

import numpy as np

from kernels import expr
from kernels.dtypes import DTYPES

FLOATS = ("f32", "f16", "bf16")
# Of a tile choice, with what they are by default: warps of a program; loads in flight; programs of a
# cluster that work as one (CTAs of a CGA); whether it may begin before the launch in front has ended.
COMPILE_OPTIONS = {"num_warps": 4, "num_stages": 2, "num_ctas": 1, "launch_pdl": 0}
# The workspace that a launcher gives to kernels (Kernel.workspace): flags, then what the kernel asks for.
WORKSPACE_FLAG_BYTES = 64 << 10
MAX_WORKSPACE_BYTES = 64 << 20  # without the flags


class SpecError(ValueError):
    """A wrong declaration, request or target file; the message names the kernel and the field."""


# --- key fields -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class DType:
    """A key field whose value is a short dtype name. As a constexpr the kernel sees a tl.dtype; a
    field that only types pointers may be left out of the function's parameters."""

    name: str
    allowed: tuple[str, ...] = FLOATS
    doc: str = ""

    def check(self, value: Any) -> str:
        if value not in self.allowed:
            raise SpecError(
                f"key field {self.name} is {value!r}, expected one of {', '.join(self.allowed)}"
            )
        return value


@dataclass(frozen=True)
class Int:
    """An integer key field, compiled in as a constant."""

    name: str
    doc: str = ""
    min: int = 0
    max: int = 2**40

    def check(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise SpecError(f"key field {self.name} is {value!r}, expected an integer")
        if not self.min <= value <= self.max:
            raise SpecError(f"key field {self.name} is {value}, expected {self.min} to {self.max}")
        return value


@dataclass(frozen=True)
class Flag:
    """A key field that is 0 or 1 (bool in C++)."""

    name: str
    doc: str = ""

    def check(self, value: Any) -> int:
        if value not in (0, 1):
            raise SpecError(f"key field {self.name} is {value!r}, expected 0 or 1")
        return int(value)


# --- arguments ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ptr:
    """A 16-byte aligned device address. `dtype` is a key field's name or a short dtype name;
    `access` is "read", "write", "readwrite" or "scratch" (contents before and after mean nothing);
    `shape` documents what it points to. `optional` says, for people, when it is used (a key flag, as a
    rule); otherwise it may be null. `streamed`: program p of P reads the p-th of P parts of it, so that a driver
    knows what to fetch before it runs."""

    name: str
    dtype: str
    access: str
    shape: str
    optional: str = ""
    doc: str = ""
    streamed: bool = False


@dataclass(frozen=True)
class Scalar:
    name: str
    type: str  # i32 i64 u32 u64 f32
    divisible: int = 0  # value is always a multiple of this; only 16 has an effect
    doc: str = ""


def I32(name: str, divisible: int = 0, doc: str = "") -> Scalar:  # noqa: N802
    return Scalar(name, "i32", divisible, doc)


def I64(name: str, divisible: int = 0, doc: str = "") -> Scalar:  # noqa: N802
    return Scalar(name, "i64", divisible, doc)


def U32(name: str, doc: str = "") -> Scalar:  # noqa: N802
    return Scalar(name, "u32", 0, doc)


def U64(name: str, doc: str = "") -> Scalar:  # noqa: N802
    return Scalar(name, "u64", 0, doc)


def F32(name: str, doc: str = "") -> Scalar:  # noqa: N802
    return Scalar(name, "f32", 0, doc)


# --- cases ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tolerance:
    """|got - expected| <= atol + rtol * |expected|; NaN equals NaN; infinities must agree.
    `mismatch` is the share of elements that may be off (for results that rounding can legitimately
    flip), normally 0."""

    atol: float = 0.0
    rtol: float = 0.0
    mismatch: float = 0.0


# Floats: one unit in the last place, which a sum in another order can flip.
DEFAULT_TOLERANCE = {
    "f32": Tolerance(1e-6, 1e-5),
    "f16": Tolerance(1e-6, 1e-3),
    "bf16": Tolerance(1e-6, 8e-3),
}


@dataclass
class Case:
    """One run of a kernel. Arrays are in the widened form (float32 for every float type, see
    dtypes.py); an output's array gives its shape and what it holds before the launch (elements that
    the kernel must not touch keep it). A null pointer is None. `alias` maps an argument to the one
    whose memory it shares."""

    name: str
    key: Mapping[str, Any]
    args: Mapping[str, Any]
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    alias: Mapping[str, str] = field(default_factory=dict)


# --- kernel ---------------------------------------------------------------------------------------

# What a launch is told of the step that it is part of, for its cost: `sequences`, each with its last `queries` of
# `context` positions.
STEP_NAMES = ("sequences", "queries", "context")


@dataclass(frozen=True)
class Cost:
    """What one launch asks of the machine at least, to tell how near to its limits it ran: expressions over key
    fields, integer arguments and STEP_NAMES. `bytes` counts everything read and written once; `operations` what
    the mathematics asks for, a multiplication and an addition being two. `products` says in which type these are:
    a DType key field or a short dtype name."""

    bytes: str
    operations: str = "0"
    products: str = "f32"


# (key, args) -> {written argument: its whole expected content}. `args` are the case's, after
# rounding of
# the floats to their storage type; numeric results are rounded to the output's type by the caller.
Reference = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, np.ndarray]]


@dataclass
class Kernel:
    name: str
    doc: str
    fn: Any  # the @triton.jit function
    key: Sequence[DType | Int | Flag]
    args: Sequence[Ptr | Scalar]
    grid: str
    reference: Reference
    cases: Callable[[], Iterable[Case]]
    # Used by targets that do not list the kernel; same form as in targets/*.toml.
    default_tiles: Sequence[Mapping[str, Any]] = ({},)
    select: str | None = None
    # Programs of one launch take very different times (attention over ragged lengths).
    uneven: bool = False
    # Bytes, an expression as `grid`, of memory in which programs of one launch meet. The launcher gives it as the
    # argument `workspace`: WORKSPACE_FLAG_BYTES of flags, which are zero when a launch begins and must be when it
    # ends, then these bytes, of any content. Where it is zero bytes the argument is null.
    workspace: str | None = None
    # (condition over tile constants, function): what is compiled in place of `fn` where the condition holds. A Gluon
    # function of the same parameters, for what Triton's own compiler makes worse of; on targets that have it only.
    alternatives: Sequence[tuple[str, Any]] = ()
    cost: Cost | None = None  # None: not known, and its time is shown alone
    # Condition over the key: on CPUs outputs have the same bits with every tile, so that a row's result does not depend
    # on the rows beside it.
    same_bits: str | int = 0
    tiles: tuple[str, ...] = field(init=False)
    tile_defaults: Mapping[str, Any] = field(init=False)  # of the function's parameters

    def __post_init__(self) -> None:
        try:
            self._validate()
        except (SpecError, expr.ExprError) as error:
            raise SpecError(f"kernel {self.name!r}: {error}") from None

    # -- lookups

    @property
    def key_names(self) -> list[str]:
        return [field_.name for field_ in self.key]

    @property
    def arg_names(self) -> list[str]:
        return [arg.name for arg in self.args]

    @property
    def pointers(self) -> list[Ptr]:
        return [arg for arg in self.args if isinstance(arg, Ptr)]

    @property
    def int_args(self) -> list[str]:
        return [arg.name for arg in self.args if isinstance(arg, Scalar) and arg.type != "f32"]

    def arg_dtype(self, name: str, key: Mapping[str, Any]) -> str:
        """Short dtype of an argument (of what it points to, for a pointer) in the variant `key`."""
        arg = next(arg for arg in self.args if arg.name == name)
        if isinstance(arg, Scalar):
            return arg.type
        return key[arg.dtype] if arg.dtype in key else arg.dtype

    def function(self, tiles: Mapping[str, int]) -> Any:
        """What a choice compiles."""
        for condition, fn in self.alternatives:
            if expr.parse(condition).evaluate(tiles):
                return fn
        return self.fn

    # -- variants

    def check_key(self, key: Mapping[str, Any]) -> dict[str, Any]:
        """The key in declaration order, or SpecError."""
        unknown = sorted(set(key) - set(self.key_names))
        missing = [name for name in self.key_names if name not in key]
        if unknown or missing:
            problem = (
                f"unknown key field {', '.join(unknown)}"
                if unknown
                else f"missing key field {', '.join(missing)}"
            )
            raise SpecError(
                f"kernel {self.name!r}: {problem} (fields: {', '.join(self.key_names)})"
            )
        try:
            return {field_.name: field_.check(key[field_.name]) for field_ in self.key}
        except SpecError as error:
            raise SpecError(f"kernel {self.name!r}: {error}") from None

    def variant(self, key: Mapping[str, Any]) -> str:
        """Canonical text: rms_norm(x_dtype=f32,...,dim=576)."""
        return f"{self.name}({','.join(f'{name}={value}' for name, value in self.check_key(key).items())})"

    def grid_size(
        self, key: Mapping[str, Any], args: Mapping[str, Any], tiles: Mapping[str, int]
    ) -> int:
        ints = {name: int(args[name]) for name in self.int_args}
        return expr.parse(self.grid).evaluate({**key, **ints, **tiles})

    def workspace_size(
        self, key: Mapping[str, Any], args: Mapping[str, Any], tiles: Mapping[str, int]
    ) -> int:
        """Bytes behind the flags; 0: the launch takes no workspace."""
        if self.workspace is None:
            return 0
        ints = {name: int(args[name]) for name in self.int_args}
        return expr.parse(self.workspace).evaluate({**key, **ints, **tiles})

    # -- validation

    def _validate(self) -> None:
        _check_name(self.name, "the name")
        if not self.doc.strip():
            raise SpecError("doc is empty; say what it computes, with shapes")
        for what, callable_ in (("reference", self.reference), ("cases", self.cases)):
            if not callable(callable_):
                raise SpecError(f"{what} is missing (got {callable_!r})")
        names = self.key_names + self.arg_names
        for name in names:
            _check_name(name, "a key field or argument")
            if names.count(name) > 1:
                raise SpecError(f"{name} is declared twice")
        for arg in self.args:
            self._validate_arg(arg)
        self.tiles, self.tile_defaults = self._match_function()
        if self.select is not None and self.select not in self.int_args:
            raise SpecError(
                f"select={self.select!r} is not an integer argument ({', '.join(self.int_args)})"
            )
        known = {*self.key_names, *self.int_args, *self.tiles}
        expr.parse(self.grid).require(known, "grid")
        expr.parse(self.same_bits).require(self.key_names, "same_bits")
        self._validate_workspace()
        for condition, fn in self.alternatives:
            expr.parse(condition).require(set(self.tiles), "alternatives")
            if fn.arg_names != self.fn.arg_names:
                raise SpecError(f"{fn.__name__} has other parameters than {self.fn.__name__}")
        if self.cost is not None:
            self._validate_cost(self.cost)
        self.check_choices(self.default_tiles, "default_tiles")

    def _validate_workspace(self) -> None:
        given = next((arg for arg in self.pointers if arg.name == "workspace"), None)
        if (given is None) != (self.workspace is None):
            raise SpecError("workspace (its bytes) and the argument `workspace` come together")
        if given is None:
            return
        if given.access != "scratch" or not given.optional:
            raise SpecError("the argument workspace is scratch and optional")
        if self.select is None:
            raise SpecError("workspace needs a select argument, which bounds it")
        # Known before a launch: what a choice may ask for at most.
        known = {*self.key_names, self.select, *self.tiles}
        expr.parse(self.workspace).require(known, "workspace")

    def _validate_cost(self, cost: Cost) -> None:
        known = {*self.key_names, *self.int_args, *STEP_NAMES}
        expr.parse(cost.bytes).require(known, "cost.bytes")
        expr.parse(cost.operations).require(known, "cost.operations")
        fields = [field_.name for field_ in self.key if isinstance(field_, DType)]
        if cost.products not in DTYPES and cost.products not in fields:
            raise SpecError(
                f"cost.products is {cost.products!r}, expected a dtype or one of {', '.join(fields)}"
            )

    def _validate_arg(self, arg: Ptr | Scalar) -> None:
        if isinstance(arg, Scalar):
            if arg.type not in ("i32", "i64", "u32", "u64", "f32"):
                raise SpecError(
                    f"argument {arg.name}: type {arg.type!r} is not i32, i64, u32, u64 or f32"
                )
            if arg.divisible not in (0, 16):
                raise SpecError(
                    f"argument {arg.name}: divisible={arg.divisible}, only 16 has an effect"
                )
            return
        key_dtypes = {field_.name for field_ in self.key if isinstance(field_, DType)}
        if arg.dtype not in DTYPES and arg.dtype not in key_dtypes:
            raise SpecError(
                f"argument {arg.name}: {arg.dtype!r} is neither a dtype nor a DType key field"
            )
        if arg.access not in ("read", "write", "readwrite", "scratch"):
            raise SpecError(
                f"argument {arg.name}: access {arg.access!r} is not read, write, readwrite or scratch"
            )
        if not arg.shape.strip():
            raise SpecError(f"argument {arg.name}: shape is missing")

    def _match_function(self) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Compares the function's parameters with the declaration; returns the tile constants'
        names, and the defaults of those that have one."""
        python_fn = getattr(self.fn, "fn", None)
        if python_fn is None:
            raise SpecError(f"fn is {self.fn!r}, expected a @triton.jit function")
        parameters = inspect.signature(python_fn).parameters
        runtime = [name for name, p in parameters.items() if not _is_constexpr(p.annotation)]
        if runtime != self.arg_names:
            raise SpecError(
                f"the run-time parameters of {python_fn.__name__} are ({', '.join(runtime)}), "
                f"declared arguments are ({', '.join(self.arg_names)})"
            )
        constants = [name for name in parameters if name not in runtime]
        pointer_types = {arg.dtype for arg in self.pointers}
        for field_ in self.key:
            optional = isinstance(field_, DType) and field_.name in pointer_types
            if field_.name not in constants and not optional:
                raise SpecError(
                    f"{python_fn.__name__} has no tl.constexpr parameter {field_.name} (a key field)"
                )
        tiles = tuple(name for name in constants if name not in self.key_names)
        for name in tiles:
            if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
                raise SpecError(
                    f"{python_fn.__name__}: constexpr {name} is no key field; tile constants are UPPER_CASE"
                )
        defaults = {
            name: parameters[name].default
            for name in tiles
            if parameters[name].default is not inspect.Parameter.empty
        }
        return tiles, defaults

    def check_choices(self, choices: Sequence[Mapping[str, Any]], what: str) -> None:
        """Form of a list of tile choices (targets.py resolves them for a key)."""
        if not choices:
            raise SpecError(f"{what} is empty")
        for index, choice in enumerate(choices):
            where = f"{what}[{index}]"
            known = {"max", "when", *COMPILE_OPTIONS, *self.tiles}
            if unknown := sorted(set(choice) - known):
                raise SpecError(
                    f"{where}: unknown {', '.join(unknown)} (tile constants: {', '.join(self.tiles)})"
                )
            given = {*choice, *self.tile_defaults}
            if missing := [name for name in self.tiles if name not in given]:
                raise SpecError(f"{where}: no value for {', '.join(missing)}")
            if "max" in choice and self.select is None:
                raise SpecError(f"{where}: max is given but the kernel declares no select argument")
            for name, value in choice.items():
                if name != "max":
                    expr.parse(value).require(self.key_names, f"{where}.{name}")
                elif not isinstance(value, int):
                    raise SpecError(f"{where}: max is {value!r}, expected an integer")


def _check_name(name: str, what: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SpecError(f"{what} is {name!r}, expected snake_case")


def _is_constexpr(annotation: Any) -> bool:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return text.split(".")[-1] == "constexpr"
