"""The whole program on a GPU driver: on the stand-in for libcuda and libamdhip64, whose "GPU" runs kernels
compiled for this processor, and what libraries a process that serves on a device has mapped."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, Nereid

DRIVERS = {"cuda": ("cuda:90", "NEREID_CUDA_LIBRARY"), "hip": ("hip:gfx942", "NEREID_HIP_LIBRARY")}
# Makers of GPUs and processors, and what their libraries are called.
VENDOR_LIBRARY = re.compile(
    r"^lib(cuda|cublas|cudnn|cufft|cusparse|cusolver|curand|cupti|nv|nccl|amd|hip|hsa|roc|rccl|miopen"
    r"|mkl|dnnl|onednn|openblas|blis|tbb|iomp)"
)
# Those of a driver package: what libcuda itself is, and what it brings.
DRIVER_LIBRARY = re.compile(r"^(libcuda\.so|libnvidia-(ptxjitcompiler|nvvm|gpucomp)|libamdhip64|libhsa-runtime64)")
WITHOUT_PENALTY = ["-n", "12", "--raw", "--dtype", "f32", "--ignore-eos"]


@pytest.fixture(scope="session", params=DRIVERS)
def fake_gpu(
    request: pytest.FixtureRequest, nereid: Nereid, tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], dict[str, str]]:
    """Flags and environment with which the program runs the tiny model on a stand-in GPU."""
    target, variable = DRIVERS[request.param]
    library = ROOT / "build" / "release" / "tests" / "device" / "libnereid_fake_gpu.so"
    assert library.is_file(), f"{library} is missing: ./dev build release nereid_fake_gpu"
    folder = tmp_path_factory.mktemp(request.param)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/device/fake_gpu_pack.py "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    pack = folder / "fake.pack"
    environment = {"NEREID_PYTHON": str(python), variable: str(library)}
    made = nereid("compile", tiny_gguf, "--target", target, "--dtype", "f32", "-o", pack, env=environment)
    assert made.code == 0, made.err
    return ["--device", request.param, "--pack", str(pack)], environment


def test_tokens_are_those_of_the_processor(nereid: Nereid, tiny_gguf: Path, fake_gpu) -> None:
    flags, environment = fake_gpu
    for prompt in ("Hello", "a b c d e f g h " * 10):
        ask = ["run", prompt, "-m", tiny_gguf, *WITHOUT_PENALTY]
        there = nereid(*ask, *flags, env=environment)
        assert there.code == 0, there.err
        assert there.out == nereid(*ask, "--device", "cpu").out


def test_devices_names_it(nereid: Nereid, fake_gpu) -> None:
    flags, environment = fake_gpu
    listed = {entry["device"]: entry for entry in nereid("devices", "--json", env=environment).json()}
    entry = listed[flags[1]]
    assert entry["name"] == "Fake GPU" and entry["free_bytes"] == entry["memory_bytes"] == 4 << 30
    assert f"{flags[1]}:1" in listed
    other = "hip" if flags[1] == "cuda" else "cuda"
    assert other not in environment and ("error" in listed[other] or listed[other]["name"])


@contextmanager
def serving(nereid: Nereid, model: Path, flags: list[str], environment: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Process id and address of a server that has answered a request."""
    process = subprocess.Popen(
        nereid.command("serve", model, "--port", "0", "--max-sequences", "4", "--dtype", "f32", *flags),
        env=nereid.environment | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline().decode()
        assert line.startswith("listening on "), process.stderr.read().decode()
        address = line.removeprefix("listening on ").strip()
        body = {"model": model.stem, "prompt": "hello", "max_tokens": 16, "ignore_eos": True}
        ask = urllib.request.Request(
            f"{address}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(ask, timeout=60) as answer:
            assert json.load(answer)["usage"]["completion_tokens"] == 16
        yield process.pid, address
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def mapped_libraries(pid: int) -> set[str]:
    """File names of the shared objects in the process; the kernels of the cpu driver have none."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return {Path(path).name for path in paths if path.startswith("/") and ".so" in Path(path).name}


def test_no_vendor_library_but_the_stand_in(nereid: Nereid, tiny_gguf: Path, fake_gpu) -> None:
    flags, environment = fake_gpu
    with serving(nereid, tiny_gguf, flags, environment) as (pid, address):
        libraries = mapped_libraries(pid)
        assert "libnereid_fake_gpu.so" in libraries  # it is what serves
        assert not [name for name in libraries if VENDOR_LIBRARY.search(name)]
        with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
            metrics = answer.read().decode()
    # The cache takes 0.9 of the 4 GiB, less what little the model needs.
    pages, page_tokens = (
        int(re.search(rf'cache_config_info{{.*{label}="(\d+)"', metrics)[1])  # type: ignore[index]
        for label in ("num_gpu_blocks", "block_size")
    )
    assert pages * page_tokens > 1_000_000


def test_no_vendor_library_but_the_drivers(nereid: Nereid, tiny_gguf: Path, device: list[str]) -> None:
    """On the device under test: a processor in CI, a real GPU with `./dev test --device cuda`."""
    with serving(nereid, tiny_gguf, device, {}) as (pid, _):
        libraries = mapped_libraries(pid)
    assert libraries, "a process without any library"
    vendors = {name for name in libraries if VENDOR_LIBRARY.search(name)}
    gpu = os.environ.get("NEREID_TEST_DEVICE", "").split(":")[0]
    allowed = {name for name in vendors if DRIVER_LIBRARY.search(name)} if gpu in DRIVERS else set()
    assert vendors == allowed
    if gpu == "cuda":
        assert any(name.startswith("libcuda.so") for name in vendors)
