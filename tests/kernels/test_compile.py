"""TTIR of variants: what the signature promises; what generate.py and export_cases.py write."""

from __future__ import annotations

import re

from kernels import generate, registry, targets, ttir
from kernels.export_cases import export

NORM = {"x_dtype": "f32", "weight_dtype": "bf16", "out_dtype": "f16", "dim": 576, "terms": 1, "paired": 0, "out_stride": 576, "has_index": 1}


def _ttir(name: str, key: dict, locations: bool = True) -> str:
    kernel = registry.find(name)
    return ttir.to_ttir(kernel, key, targets.choices(kernel, key, "cpu:znver4")[-1], locations)


def test_signature() -> None:
    text = _ttir("rms_norm", NORM)
    head = text[text.index("tt.func public") :].splitlines()[0]
    assert head.startswith("tt.func public @rms_norm(")
    for name, kind in (("x", "f32"), ("weight", "bf16"), ("index", "i32"), ("out", "f16")):
        assert re.search(rf"%{name}: !tt\.ptr<{kind}> {{tt\.divisibility = 16 : i32}}", head)
    assert re.search(r"%rows: i32 loc", head) and re.search(r"%eps: f32 loc", head)
    assert re.search(r'norm\.py":\d+:\d+', text)
    assert "loc(" not in _ttir("rms_norm", NORM, locations=False)


def test_dtype_of_the_key_changes_the_code() -> None:
    assert "truncf" in _ttir("rms_norm", NORM)
    assert "truncf" not in _ttir("rms_norm", NORM | {"out_dtype": "f32"})


def test_generated_sources_are_stable_and_rewritten_only_on_change(tmp_path) -> None:
    header, source = generate.generate(registry.KERNELS)
    assert (header, source) == generate.generate(dict(reversed(registry.KERNELS.items())))
    path = tmp_path / "kernels.h"
    generate.write_if_changed(path, header)
    before = path.stat().st_mtime_ns
    generate.write_if_changed(path, header)
    assert path.stat().st_mtime_ns == before
    for kernel in registry.KERNELS.values():
        assert (
            f"struct {generate.struct_name(kernel)} {{" in header
            and f'.name = "{kernel.name}"' in source
        )


def test_export(tmp_path) -> None:
    import json

    import numpy as np

    kernel = registry.find("rms_norm")
    assert export([kernel], tmp_path) == len(list(kernel.cases()))
    index = json.loads((tmp_path / "cases.json").read_text())
    data = (tmp_path / "cases.bin").read_bytes()
    case = index["cases"][0]
    arguments = {entry["name"]: entry for entry in case["args"]}
    assert list(arguments) == kernel.arg_names and arguments["index"]["null"]
    out = arguments["out"]
    assert out["input"]["offset"] % 64 == 0 and out["expected"]["size"] == 2 * np.prod(out["shape"])
    assert out["expected"]["offset"] + out["expected"]["size"] <= len(data)
    assert "expected" not in arguments["x"]
