"""Integer expressions of declarations and target files (grids, tile sizes, conditions).

A small subset of Python: integers, names, + - * // %, comparisons, `in`, and/or/not, conditional
expressions, and the functions below. A dtype key field can be compared with a short dtype name. The same
text is evaluated here and translated to C++, for the functions of a grid and of a cost."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Callable, Mapping

from kernels.dtypes import DTYPES


class ExprError(ValueError):
    """An expression that is not in the subset or names something unknown."""


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def next_pow2(value: int) -> int:
    return 1 if value <= 1 else 1 << (value - 1).bit_length()


def size_of(dtype: str) -> int:
    """Bytes of an element."""
    return DTYPES[dtype].size


def pairs_seen(queries: int, context: int, window: int) -> int:
    """(query, key) pairs of causal attention: the last `queries` of `context` positions each see themselves
    and what comes before, at most `window` positions in all."""

    def until(position: int) -> int:
        growing = min(position, window)
        return growing * (growing + 1) // 2 + (position - growing) * window

    return until(context) - until(context - queries)


FUNCTIONS: dict[str, Callable[..., int]] = {
    "ceil_div": ceil_div,
    "next_pow2": next_pow2,
    "size_of": size_of,
    "pairs_seen": pairs_seen,
    "min": min,
    "max": max,
}
_ARITY = {
    "ceil_div": (2, 2),
    "next_pow2": (1, 1),
    "size_of": (1, 1),
    "pairs_seen": (3, 3),
    "min": (2, 9),
    "max": (2, 9),
}
_BINARY = {
    ast.Add: ("+", lambda a, b: a + b),
    ast.Sub: ("-", lambda a, b: a - b),
    ast.Mult: ("*", lambda a, b: a * b),
    ast.FloorDiv: ("//", lambda a, b: a // b),
    ast.Mod: ("%", lambda a, b: a % b),
}
_COMPARE = {
    ast.Eq: ("==", lambda a, b: a == b),
    ast.NotEq: ("!=", lambda a, b: a != b),
    ast.Lt: ("<", lambda a, b: a < b),
    ast.LtE: ("<=", lambda a, b: a <= b),
    ast.Gt: (">", lambda a, b: a > b),
    ast.GtE: (">=", lambda a, b: a >= b),
}


class Expr:
    """One parsed expression; `names` are the names it reads."""

    def __init__(self, text: str | int) -> None:
        self.text = str(text)
        try:
            self._root = ast.parse(self.text.strip(), mode="eval").body
        except SyntaxError as error:
            raise ExprError(f"{self.text!r}: {error.msg}") from None
        self.names: set[str] = set()
        self._check(self._root)

    def __repr__(self) -> str:
        return f"Expr({self.text!r})"

    def _check(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=bool() | int()):
                pass
            case ast.Constant(value=str() as value):
                if value not in DTYPES:
                    raise ExprError(
                        f"{self.text!r}: {value!r} is not a dtype ({', '.join(DTYPES)})"
                    )
            case ast.Name(id=name):
                self.names.add(name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                self._check(left)
                self._check(right)
            case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
                self._check(operand)
            case ast.BoolOp(values=values):
                for value in values:
                    self._check(value)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                self._check(left)
                for op, right in zip(ops, comparators):
                    if isinstance(op, (ast.In, ast.NotIn)) and isinstance(
                        right, (ast.Tuple, ast.List)
                    ):
                        for element in right.elts:
                            self._check(element)
                    elif type(op) in _COMPARE:
                        self._check(right)
                    else:
                        raise ExprError(f"{self.text!r}: this comparison is not supported")
            case ast.IfExp(test=test, body=body, orelse=orelse):
                for part in (test, body, orelse):
                    self._check(part)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                if name not in FUNCTIONS:
                    raise ExprError(
                        f"{self.text!r}: unknown function {name} (there are {', '.join(FUNCTIONS)})"
                    )
                low, high = _ARITY[name]
                if not low <= len(args) <= high:
                    raise ExprError(
                        f"{self.text!r}: {name} takes {low} to {high} arguments, not {len(args)}"
                    )
                for arg in args:
                    self._check(arg)
            case _:
                raise ExprError(
                    f"{self.text!r}: {ast.unparse(node)!r} is not supported in expressions"
                )

    def require(self, known: set[str] | Mapping[str, object], what: str) -> None:
        """Raises if a name is read that is not in `known`."""
        unknown = sorted(self.names - set(known))
        if unknown:
            raise ExprError(
                f"{what} {self.text!r}: unknown name {', '.join(unknown)} (known: {', '.join(sorted(known))})"
            )

    def evaluate(self, env: Mapping[str, int | str]) -> int:
        value = self._evaluate(self._root, env)
        return int(value) if not isinstance(value, str) else value  # type: ignore[return-value]

    def _evaluate(self, node: ast.expr, env: Mapping[str, int | str]):
        run = lambda part: self._evaluate(part, env)  # noqa: E731
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                if name not in env:
                    raise ExprError(f"{self.text!r}: unknown name {name}")
                return env[name]
            case ast.BinOp(left=left, op=op, right=right):
                a, b = run(left), run(right)
                if isinstance(op, (ast.FloorDiv, ast.Mod)) and b == 0:
                    raise ExprError(f"{self.text!r}: division by zero")
                return _BINARY[type(op)][1](a, b)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -run(operand)
            case ast.UnaryOp(operand=operand):
                return not run(operand)
            case ast.BoolOp(op=ast.And(), values=values):
                return all(run(value) for value in values)
            case ast.BoolOp(values=values):
                return any(run(value) for value in values)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                a = run(left)
                for op, right in zip(ops, comparators):
                    if isinstance(op, (ast.In, ast.NotIn)):
                        found = a in [run(element) for element in right.elts]
                        if found != isinstance(op, ast.In):
                            return False
                        continue
                    b = run(right)
                    if not _COMPARE[type(op)][1](a, b):
                        return False
                    a = b
                return True
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return run(body) if run(test) else run(orelse)
            case ast.Call(func=ast.Name(id=name), args=args):
                return FUNCTIONS[name](*(run(arg) for arg in args))
        raise AssertionError(ast.dump(node))

    def to_cpp(self, names: Mapping[str, str]) -> str:
        """C++ text over int64_t; `names` maps each name to its C++ expression."""
        return self._to_cpp(self._root, names)

    def _to_cpp(self, node: ast.expr, names: Mapping[str, str]) -> str:
        run = lambda part: self._to_cpp(part, names)  # noqa: E731
        match node:
            case ast.Constant(value=str() as value):
                return f"static_cast<int64_t>(DType::{DTYPES[value].cpp})"
            case ast.Constant(value=value):
                return f"int64_t{{{int(value)}}}"
            case ast.Name(id=name):
                return names[name]
            case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
                return f"floor_div({run(left)}, {run(right)})"
            case ast.BinOp(left=left, op=ast.Mod(), right=right):
                return f"floor_mod({run(left)}, {run(right)})"
            case ast.BinOp(left=left, op=op, right=right):
                return f"({run(left)} {_BINARY[type(op)][0]} {run(right)})"
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"(-{run(operand)})"
            case ast.UnaryOp(operand=operand):
                return f"int64_t{{!{run(operand)}}}"
            case ast.BoolOp(op=op, values=values):
                # As conditions only: the value is 0 or 1, not the last operand as in Python.
                sign = " && " if isinstance(op, ast.And) else " || "
                return "int64_t{" + sign.join(f"({run(value)} != 0)" for value in values) + "}"
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                terms, a = [], run(left)
                for op, right in zip(ops, comparators):
                    if isinstance(op, (ast.In, ast.NotIn)):
                        found = " || ".join(f"({a} == {run(element)})" for element in right.elts)
                        terms.append(f"({found})" if isinstance(op, ast.In) else f"!({found})")
                        continue
                    b = run(right)
                    terms.append(f"({a} {_COMPARE[type(op)][0]} {b})")
                    a = b
                return "int64_t{" + " && ".join(terms) + "}"
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return f"({run(test)} != 0 ? {run(body)} : {run(orelse)})"
            case ast.Call(func=ast.Name(id=name), args=args):
                parts = [run(arg) for arg in args]
                if name in ("min", "max"):
                    return f"std::{name}({{{', '.join(parts)}}})"
                return f"{name}({', '.join(parts)})"
        raise AssertionError(ast.dump(node))


@lru_cache(maxsize=None)
def parse(text: str | int) -> Expr:
    return Expr(text)
