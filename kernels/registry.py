"""The table of all kernels. Nothing registers itself: a new kernel is a line in its family's
KERNELS and, for a new family, one here."""

from __future__ import annotations

from kernels.spec import Kernel, SpecError

from kernels import (
    activation,
    activation_codes,
    attention,
    attention_tiles,
    embedding,
    embedding_quant,
    fill,
    float8,
    limits,
    linear,
    linear_f8,
    linear_f8_panels,
    linear_rows,
    norm,
    pair_rows,
    quant,
    random_fill,
    rope,
    sampling,
    scale_pairs,
)

FAMILIES = (
    activation,
    activation_codes,
    attention,
    attention_tiles,
    embedding,
    embedding_quant,
    fill,
    float8,
    limits,
    linear,
    linear_f8,
    linear_f8_panels,
    linear_rows,
    norm,
    pair_rows,
    quant,
    random_fill,
    rope,
    sampling,
    scale_pairs,
)


def _collect() -> dict[str, Kernel]:
    table: dict[str, Kernel] = {}
    for family in FAMILIES:
        for kernel in family.KERNELS:
            if kernel.name in table:
                raise SpecError(
                    f"kernel {kernel.name!r} is declared twice (again in {family.__name__})"
                )
            table[kernel.name] = kernel
    return table


KERNELS = _collect()


def find(name: str) -> Kernel:
    if name not in KERNELS:
        raise SpecError(f"unknown kernel {name!r} (there are {', '.join(sorted(KERNELS))})")
    return KERNELS[name]
