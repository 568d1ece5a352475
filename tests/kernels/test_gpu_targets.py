"""Every kernel compiles for GPUs, on a machine without one.

For cuda:90 and hip:gfx942 one variant of each combination of dtypes in the cases; with --all-targets
every variant of every case, for all targets.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

from kernels import objects, registry, targets, ttir
from kernels.spec import DType

TARGETS = ("cuda:90", "hip:gfx942")
ELF_MACHINES = {"cuda": 190, "hip": 224}


@lru_cache(maxsize=None)
def _variants(name: str, all_of_them: bool) -> list[dict[str, Any]]:
    kernel = registry.find(name)
    dtypes = [field.name for field in kernel.key if isinstance(field, DType)]
    chosen: dict[Any, dict[str, Any]] = {}
    for case in kernel.cases():
        key = kernel.check_key(case.key)
        group = kernel.variant(key) if all_of_them else tuple(key[name] for name in dtypes)
        chosen.setdefault(group, key)
    return list(chosen.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "variant" not in metafunc.fixturenames:
        return
    everything = metafunc.config.getoption("--all-targets")
    places = [
        (target, name, index)
        for target in (ttir.GPU_SHARED_BYTES if everything else TARGETS)
        for name in sorted(registry.KERNELS)
        for index in range(len(_variants(name, everything)))
    ]
    metafunc.parametrize(
        ("target", "kernel_name", "variant"), places, ids=[f"{t}-{n}-{v}" for t, n, v in places]
    )


def test_compiles(
    target: str, kernel_name: str, variant: int, object_cache, request: pytest.FixtureRequest
) -> None:
    kernel = registry.find(kernel_name)
    key = _variants(kernel_name, request.config.getoption("--all-targets"))[variant]
    tools = objects.toolchain(target, None, object_cache)
    for choice in targets.choices(kernel, key, target):
        _, made = objects.compile_fitting(kernel, key, choice, tools)
        assert made.blob[:4] == b"\x7fELF"
        assert int.from_bytes(made.blob[18:20], "little") == ELF_MACHINES[target.split(":")[0]]
        assert made.entry.encode() in made.blob
        assert made.num_args == len(kernel.args)
        assert made.shared_bytes <= ttir.GPU_SHARED_BYTES[target]


PREFILL = {
    "q_dtype": "bf16", "cache_dtype": "bf16", "out_dtype": "bf16", "num_heads": 32, "num_kv_heads": 8, "head_dim": 128,
    "page_size": 32, "q_stride": 4096, "tile_tokens": 32, "num_splits": 1, "split_pages": 1, "has_window": 0,
    "has_softcap": 0, "has_alibi": 0,
}  # fmt: skip


def test_prefill_attention_of_hopper(object_cache) -> None:
    """One group of warps loads, two compute; what it does not cover is left to the code for all GPUs."""
    kernel = registry.find("attention_tiles")
    tools = objects.toolchain("cuda:90", None, object_cache)
    (choice,) = targets.choices(kernel, PREFILL, "cuda:90")
    taken, made = objects.compile_fitting(kernel, PREFILL, choice, tools)
    assert taken == choice and kernel.function(taken.tiles).is_gluon()
    assert (made.num_warps, made.scratch_bytes > 0) == (12, True)
    assert not any(kernel.function(other.tiles).is_gluon() for other in choice.fallbacks)
    elsewhere = [
        ("cuda:80", {}), ("cuda:100", {}), ("hip:gfx942", {}), ("cuda:90", {"has_window": 1}), ("cuda:90", {"tile_tokens": 1}),
        ("cuda:90", {"head_dim": 96}), ("cuda:90", {"cache_dtype": "f16"}), ("cuda:90", {"num_splits": 2}),
    ]  # fmt: skip
    for target, change in elsewhere:
        for choice in targets.choices(kernel, PREFILL | change, target):
            assert not kernel.function(choice.tiles).is_gluon(), (target, change)


NORM = {"x_dtype": "f32", "weight_dtype": "f32", "out_dtype": "f32", "dim": 1024, "terms": 1, "paired": 0, "out_stride": 1024, "has_index": 0}


def _listed(monkeypatch: pytest.MonkeyPatch, entries: list[dict[str, Any]]) -> list[targets.Choice]:
    monkeypatch.setattr(targets, "candidates", lambda kernel, target: ("a test", entries))
    return targets.choices(registry.find("rms_norm"), NORM, "cuda:90")


def _with_warps(*counts: int) -> list[dict[str, Any]]:
    return [{"ROWS": 1, "BLOCK": 1024, "num_warps": count} for count in counts]


def test_fallbacks_of_a_choice(monkeypatch) -> None:
    entries = [{"max": 4, "ROWS": 1, "BLOCK": 64}, {"max": 4, "ROWS": 2, "BLOCK": 64},
               {"max": 9, "ROWS": 3, "BLOCK": 64}, {"ROWS": 4, "BLOCK": 64}, {"ROWS": 5, "BLOCK": 64}]  # fmt: skip
    choices = _listed(monkeypatch, entries)
    assert [(choice.max, choice.tiles["ROWS"]) for choice in choices] == [(4, 1), (9, 3), (None, 4)]
    fallbacks = [[(f.max, f.tiles["ROWS"]) for f in choice.fallbacks] for choice in choices]
    assert fallbacks == [[(4, 2), (4, 3), (4, 4), (4, 5)], [(9, 4), (9, 5)], [(None, 5)]]


@pytest.mark.parametrize("target", TARGETS)
def test_what_does_not_fit_gives_way_to_the_next(target: str, monkeypatch) -> None:
    kernel = registry.find("rms_norm")
    tools = objects.toolchain(target, None, None)
    # Four warps exchange their sums through shared memory, one needs none.
    monkeypatch.setitem(ttir.GPU_SHARED_BYTES, target, 7)
    choices = _listed(monkeypatch, _with_warps(4, 1))
    taken, made = objects.compile_fitting(kernel, NORM, choices[0], tools)
    assert (taken.num_warps, made.num_warps, made.shared_bytes) == (1, 1, 0)
    choices = _listed(monkeypatch, _with_warps(4))
    with pytest.raises(objects.CompileError, match=f"{target}: rms_norm.* bytes of shared memory, {target} has 7"):
        objects.compile_fitting(kernel, NORM, choices[0], tools)


def test_unknown_targets() -> None:
    for target in ("cuda:75", "hip:gfx906", "metal:3"):
        with pytest.raises(ValueError, match=r"is not known \(expected one of cpu:NAME, cuda:80, "):
            objects.toolchain(target, None, None)


def test_objects_are_cached(tmp_path, monkeypatch) -> None:
    kernel = registry.find("rms_norm")
    tools = objects.toolchain("cuda:90", None, tmp_path)
    choice = targets.choices(kernel, NORM, "cuda:90")[0]
    first = objects.compile_choice(kernel, NORM, choice, tools)
    monkeypatch.setattr(ttir, "compile_gpu", lambda *_: pytest.fail("compiled again"))
    assert objects.compile_choice(kernel, NORM, choice, tools) == first
