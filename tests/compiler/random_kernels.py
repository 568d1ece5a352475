"""Random kernels on i32 tiles, written together with the NumPy values that they must store.

Integers wrap the same way everywhere, so results are compared exactly. What is mixed: elementwise ops,
loads with strides and masks, transposes, reshapes, broadcasts, reductions, scans, joins, gathers, carried
tiles in loops, branches on scalars, and values used several times.
"""

from __future__ import annotations

import importlib.util
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SHAPES = [(16,), (64,), (8, 16), (16, 8), (1, 32), (32, 1), (4, 8, 4), (2, 2, 16), (128,), (32, 32)]
HEADER = "import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef random_kernel(x, out, s0, s1):\n"


@dataclass
class Value:
    name: str
    data: np.ndarray  # int32, any rank; rank 0 for scalars


class Generator:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.x = np.random.default_rng(seed).integers(-100, 100, 4096).astype(np.int32)
        self.scalars = {"s0": self.rng.randint(-5, 9), "s1": self.rng.randint(0, 7)}
        self.lines: list[str] = []
        self.values: list[Value] = [Value(n, np.int32(v)) for n, v in self.scalars.items()]
        self.outputs: list[np.ndarray] = []
        self.indent = 1
        self.count = 0

    def emit(self, expression: str, data: np.ndarray) -> Value:
        self.count += 1
        value = Value(f"v{self.count}", np.asarray(data, np.int32))
        self.lines.append("    " * self.indent + f"{value.name} = {expression}")
        self.values.append(value)
        return value

    def tiles(self, shape: tuple[int, ...] | None = None) -> list[Value]:
        return [v for v in self.values if v.data.ndim and (shape is None or v.data.shape == shape)]

    def pick(self) -> Value:
        found = self.tiles()
        return self.rng.choice(found[-8:]) if found else self.load()

    def partner(self, value: Value) -> Value:
        """A value that broadcasts with `value` by plain elementwise rules."""
        same = [v for v in self.tiles(value.data.shape) if v is not value]
        scalars = [v for v in self.values if v.data.ndim == 0]
        if same and self.rng.random() < 0.7:
            return self.rng.choice(same)
        return self.rng.choice(scalars)

    def index_expression(self, shape: tuple[int, ...]) -> tuple[str, np.ndarray]:
        """Affine in the coordinates, within x."""
        terms, offsets = [], np.zeros(shape, np.int64)
        order = self.rng.sample(range(len(shape)), len(shape))
        stride = self.rng.choice([1, 1, 1, 2, 3])
        for dim in order:
            view = ", ".join(":" if d == dim else "None" for d in range(len(shape)))
            along = f"tl.arange(0, {shape[dim]})" + (f"[{view}]" if len(shape) > 1 else "")
            terms.append(f"{along} * {stride}" if stride != 1 else along)
            offsets = offsets + (np.arange(shape[dim]) * stride).reshape(
                [-1 if d == dim else 1 for d in range(len(shape))])
            stride *= shape[dim] if self.rng.random() < 0.9 else 1
        start = self.rng.randint(0, 50)
        return " + ".join(terms) + f" + {start}", offsets + start

    def load(self) -> Value:
        shape = self.rng.choice(SHAPES)
        text, offsets = self.index_expression(shape)
        limit = int(offsets.max()) + 1 if self.rng.random() < 0.5 else self.rng.randint(0, int(offsets.max()) + 1)
        if offsets.max() >= self.x.size or limit <= offsets.max():
            limit = min(limit, self.x.size)
            data = np.where(offsets < limit, self.x[np.minimum(offsets, self.x.size - 1)], -3)
            return self.emit(f"tl.load(x + ({text}), ({text}) < {limit}, other=-3)", data)
        return self.emit(f"tl.load(x + ({text}))", self.x[offsets])

    def elementwise(self) -> Value:
        a = self.pick()
        b = self.partner(a)
        kind = self.rng.choice(["+", "-", "*", "&", "|", "^", "max", "min", "where", "shift", "mod"])
        with np.errstate(all="ignore"):
            if kind in "+-*&|^":
                function = {"+": np.add, "-": np.subtract, "*": np.multiply, "&": np.bitwise_and,
                            "|": np.bitwise_or, "^": np.bitwise_xor}[kind]
                return self.emit(f"{a.name} {kind} {b.name}", function(a.data, b.data))
            if kind == "max":
                return self.emit(f"tl.maximum({a.name}, {b.name})", np.maximum(a.data, b.data))
            if kind == "min":
                return self.emit(f"tl.minimum({a.name}, {b.name})", np.minimum(a.data, b.data))
            if kind == "where":
                return self.emit(f"tl.where({a.name} > {b.name}, {a.name} - 7, {b.name})",
                                 np.where(a.data > b.data, a.data - 7, b.data))
            if kind == "shift":
                bits = self.rng.randint(0, 5)
                return self.emit(f"({a.name} >> {bits}) + ({a.name} << 1)", (a.data >> bits) + (a.data << 1))
            divisor = self.rng.choice([2, 3, 7, 16])
            c_mod = a.data - np.trunc(a.data / divisor).astype(np.int32) * divisor
            return self.emit(f"{a.name} % {divisor}", c_mod)

    def reduction(self) -> Value:
        a = self.pick()
        axis = self.rng.randrange(a.data.ndim)
        kind = self.rng.choice(["sum", "max", "min"])
        data = {"sum": np.sum, "max": np.max, "min": np.min}[kind](a.data, axis)
        keep = self.rng.random() < 0.5
        if keep and a.data.ndim > 1:
            wide = np.broadcast_to(np.expand_dims(data, axis), a.data.shape)
            return self.emit(f"{a.name} - tl.{kind}({a.name}, {axis}, keep_dims=True)",
                             a.data - wide.astype(np.int32))
        return self.emit(f"tl.{kind}({a.name}, {axis})", data)

    def scan(self) -> Value:
        a = self.pick()
        axis, reverse = self.rng.randrange(a.data.ndim), self.rng.random() < 0.5
        source = np.flip(a.data, axis) if reverse else a.data
        data = np.cumsum(source, axis, dtype=np.int32)
        return self.emit(f"tl.cumsum({a.name}, {axis}, reverse={reverse})",
                         np.flip(data, axis) if reverse else data)

    def reshape(self) -> Value:
        a = self.pick()
        shapes = [s for s in SHAPES if np.prod(s) == a.data.size and s != a.data.shape]
        if a.data.ndim > 1 and (not shapes or self.rng.random() < 0.5):
            order = self.rng.sample(range(a.data.ndim), a.data.ndim)
            return self.emit(f"tl.permute({a.name}, {tuple(order)})", a.data.transpose(order))
        if not shapes:
            return self.elementwise()
        shape = self.rng.choice(shapes)
        return self.emit(f"tl.reshape({a.name}, {shape})", a.data.reshape(shape))

    def join_or_gather(self) -> Value:
        a = self.pick()
        if self.rng.random() < 0.5 and a.data.size <= 256:
            b = self.partner(a)
            if b.data.shape == a.data.shape:
                self.count += 1
                joined = self.emit(f"tl.join({a.name}, {b.name})", np.stack([a.data, b.data], -1))
                if self.rng.random() < 0.5:
                    swapped = joined.data.reshape(-1, 2)
                    left, right = f"l{self.count}", f"r{self.count}"
                    self.lines.append("    " * self.indent + f"{left}, {right} = tl.split({joined.name})")
                    del swapped
                    return self.emit(f"{left} * 3 - {right}", a.data * 3 - b.data)
                return joined
        axis = self.rng.randrange(a.data.ndim)
        size = a.data.shape[axis]
        index = np.abs(a.data) % size if (a.data != -(2**31)).all() else np.zeros_like(a.data)
        if (a.data == -(2**31)).any():
            return self.elementwise()
        return self.emit(f"tl.gather({a.name}, tl.abs({a.name}) % {size}, {axis})",
                         np.take_along_axis(a.data, index.astype(np.int64), axis))

    def broadcast(self) -> Value:
        vectors = [v for v in self.tiles() if v.data.ndim == 1]
        if len(vectors) < 2:
            return self.load()
        a, b = self.rng.choice(vectors), self.rng.choice(vectors)
        if a.data.size * b.data.size > 4096:
            return self.reduction()
        return self.emit(f"{a.name}[:, None] * 2 + {b.name}[None, :]", a.data[:, None] * 2 + b.data[None, :])

    def loop(self) -> Value:
        a = self.pick()
        b = self.partner(a)
        trips = self.rng.choice(["s1", "3", "1", "0"])
        count = self.scalars["s1"] if trips == "s1" else int(trips)
        self.count += 1
        acc, other, i = f"acc{self.count}", f"oth{self.count}", f"i{self.count}"
        pad = "    " * self.indent
        self.lines += [f"{pad}{acc} = {a.name}", f"{pad}{other} = {a.name} * 0 + {b.name}",
                       f"{pad}for {i} in range({trips}):",
                       f"{pad}    if {i} % 2 == 0:",
                       f"{pad}        {acc} = {acc} * 3 + {other} - {i}",
                       f"{pad}    else:",
                       f"{pad}        {other} = {other} ^ {acc}"]
        acc_data, other_data = a.data, (a.data * 0 + b.data).astype(np.int32)
        for step in range(count):
            if step % 2 == 0:
                acc_data = (acc_data * np.int32(3) + other_data - np.int32(step)).astype(np.int32)
            else:
                other_data = other_data ^ acc_data
        return self.emit(f"{acc} + {other}", acc_data + other_data)

    def branch(self) -> Value:
        a = self.pick()
        bound = self.rng.randint(-5, 9)
        self.count += 1
        name = f"br{self.count}"
        pad = "    " * self.indent
        self.lines += [f"{pad}{name} = {a.name}", f"{pad}if s0 > {bound}:",
                       f"{pad}    {name} = {name} + tl.sum(tl.reshape({name}, ({a.data.size},)), 0)"]
        data = a.data
        if self.scalars["s0"] > bound:
            data = data + data.sum(dtype=np.int32)
        return self.emit(f"{name} + 1", data + np.int32(1))

    def store(self, value: Value) -> None:
        at = sum(o.size for o in self.outputs)
        flat = value.data.reshape(-1)
        text = value.name if value.data.ndim == 1 else f"tl.reshape({value.name}, ({flat.size},))"
        self.lines.append("    " * self.indent + f"tl.store(out + {at} + tl.arange(0, {flat.size}), {text})")
        self.outputs.append(flat)

    def build(self, steps: int) -> str:
        makers = [self.load, self.elementwise, self.elementwise, self.elementwise, self.reduction, self.scan,
                  self.reshape, self.reshape, self.join_or_gather, self.broadcast, self.loop, self.branch]
        with np.errstate(all="ignore"):
            self.load()
            for _ in range(steps):
                value = self.rng.choice(makers)()
                if value.data.ndim and self.rng.random() < 0.25:
                    self.store(value)
            self.store(self.pick())
        return HEADER + "\n".join(self.lines) + "\n"


def load_kernel(source: str, folder: Path, name: str) -> Any:
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.random_kernel
