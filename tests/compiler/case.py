"""A corpus case as data, and how it is checked."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Callable, Mapping

import numpy as np

from buffers import Buffer, Scalar, to_argument

Args = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One kernel with inputs and the expected outputs.

    `args(rng)` gives the run-time arguments by name. `expect` gets them as a namespace of decoded
    NumPy arrays and numbers and gives the expected contents of every buffer that may change; all
    other buffers must stay as they were.
    """

    name: str
    kernel: Any  # @triton.jit function
    args: Callable[[np.random.Generator], Args]
    expect: Callable[[SimpleNamespace], Mapping[str, np.ndarray]]
    grid: tuple[int, ...] = (1,)
    constexprs: Mapping[str, Any] = field(default_factory=dict)
    rtol: float = 0.0  # 0 and 0: bit-exact up to NaN payloads and the sign of zero
    atol: float = 0.0
    aligned: bool = False  # pointers are 16-byte aligned and the kernel knows
    threads: int = 1
    compare: Callable[[Mapping[str, np.ndarray], SimpleNamespace], None] | None = None
    max_compile_s: float = 4.0  # CPU seconds
    unsupported: str = ""  # part of the diagnostic of an op that is refused on purpose

    @property
    def full_grid(self) -> tuple[int, int, int]:
        return (*self.grid, *(1,) * (3 - len(self.grid)))  # type: ignore[return-value]

    def make_args(self) -> dict[str, Buffer | Scalar]:
        seed = int.from_bytes(self.name.encode()[-8:], "little")
        given = {k: to_argument(v) for k, v in self.args(np.random.default_rng(seed)).items()}
        runtime = [name for name in self.kernel.arg_names if name not in self.constexprs]
        if sorted(runtime) != sorted(given):
            raise TypeError(f"case {self.name}: arguments {sorted(given)}, expected {runtime}")
        return {name: given[name] for name in runtime}

    def signature(self, args: Mapping[str, Buffer | Scalar]) -> dict[str, str]:
        return {n: ("*" if isinstance(a, Buffer) else "") + a.dtype for n, a in args.items()}


def namespace(args: Mapping[str, Buffer | Scalar], constexprs: Mapping[str, Any]) -> SimpleNamespace:
    values = {n: a.values if isinstance(a, Buffer) else a.value for n, a in args.items()}
    return SimpleNamespace(**values, **{k: v for k, v in constexprs.items() if k not in values})


def check_outputs(case: Case, args: Mapping[str, Buffer | Scalar]) -> None:
    """Raises AssertionError when a buffer differs from what is expected."""
    before = namespace(args, case.constexprs)
    with np.errstate(all="ignore"):
        expected = dict(case.expect(before))
    for name, argument in args.items():
        if not isinstance(argument, Buffer):
            continue
        if name in expected:
            want = np.asarray(expected[name])
            _check_close(case, name, argument, want)
        elif not np.array_equal(argument.after_raw.view(np.uint8), argument.raw.view(np.uint8)):
            raise AssertionError(f"{case.name}: '{name}' was changed but is not an output")
    unknown = set(expected) - set(args)
    if unknown:
        raise TypeError(f"case {case.name}: expects unknown buffers {sorted(unknown)}")


def _check_close(case: Case, name: str, argument: Buffer, want: np.ndarray) -> None:
    got = argument.after
    if got.shape != want.shape:
        raise TypeError(f"case {case.name}: '{name}' has shape {got.shape}, expected {want.shape}")
    if case.rtol == 0 and case.atol == 0:
        bad = ~((got == want) | (_is_nan(got) & _is_nan(want)))
    else:
        with np.errstate(all="ignore"):
            got64, want64 = got.astype(np.float64), want.astype(np.float64)
            close = np.abs(got64 - want64) <= case.atol + case.rtol * np.abs(want64)
        bad = ~(close | (got64 == want64) | (_is_nan(got64) & _is_nan(want64)))
    if not bad.any():
        return
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    raise AssertionError(
        f"{case.name}: '{name}' differs in {int(bad.sum())} of {bad.size} elements; first at {first}: "
        f"found {got[first]!r}, expected {want[first]!r}"
    )


def _is_nan(values: np.ndarray) -> np.ndarray:
    if not np.issubdtype(values.dtype, np.floating):
        return np.zeros(values.shape, bool)
    return np.isnan(values)


def source_line(case: Case) -> str:
    return f"{inspect.getsourcefile(case.kernel.fn)}:{case.kernel.fn.__code__.co_firstlineno}"
