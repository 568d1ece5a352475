"""The program as a file and as a process: what it links, its size, its memory, its trace."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from conftest import Nereid

MIB = 1 << 20


def test_links_neither_llvm_nor_python(nereid: Nereid) -> None:
    dynamic = subprocess.run(
        ["readelf", "-d", nereid.binary], capture_output=True, text=True, check=True
    ).stdout
    needed = [line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line]
    assert needed, dynamic
    for library in needed:
        assert not any(word in library.lower() for word in ("llvm", "mlir", "python", "torch", "blas"))


def test_stripped_size(nereid: Nereid, tmp_path: Path) -> None:
    stripped = tmp_path / "nereid"
    subprocess.run(["strip", "-o", stripped, nereid.binary], check=True)
    assert stripped.stat().st_size < 20 * MIB
    done = subprocess.run([stripped, "--version"], capture_output=True, check=False)
    assert done.returncode == 0


def peak_memory(nereid: Nereid, *args: str | Path) -> int:
    """Bytes resident at most (VmHWM) in one run that has to succeed."""
    process = nereid.popen(*args, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_maxrss * 1024


def test_peak_memory_of_run(nereid: Nereid, default_model: Path, device) -> None:
    """At most the weights, the KV cache and 150 MB."""
    config = nereid("inspect", default_model, "--json").json()["config"]
    context = 4096
    kv_values = 2 * config["num_layers"] * config["num_kv_heads"] * config["head_dim"] * context
    run = ["run", "Hello", "-n", "32", "--max-model-len", str(context), "-m", default_model, *device]
    nereid(*run)  # the pack is there afterwards
    for dtype, size in (("bf16", 2), ("f32", 4)):
        nereid(*run, "--dtype", dtype)
        peak = peak_memory(nereid, *run, "--dtype", dtype)
        limit = default_model.stat().st_size + kv_values * size + 150 * 1000 * 1000
        assert peak <= limit, f"{dtype}: {peak / MIB:.0f} MiB, limit {limit / MIB:.0f} MiB"


def test_trace(nereid: Nereid, tiny_model: Path, tmp_path: Path, device) -> None:
    """Every launch is in the trace: each generated token adds launches, all of kernels of the pack."""

    def launches(tokens: int) -> list[str]:
        path = tmp_path / f"trace{tokens}.json"
        flags = ["--raw", "-n", str(tokens), "--ignore-eos", "--trace", path, "-m", tiny_model, *device]
        done = nereid("run", "hello", *flags)
        assert done.code == 0, done.err
        trace = json.loads(path.read_text())
        events = trace["traceEvents"] if isinstance(trace, dict) else trace
        return [event["name"] for event in events if event.get("ph") == "X"]

    short, long = launches(2), launches(6)
    assert len(long) > len(short) > 10
    assert any("rms_norm" in name for name in long)
    assert any("attention" in name for name in long)


def test_trace_to_a_bad_place(nereid: Nereid, tiny_model, device) -> None:
    flags = ["--raw", "-n", "1", "--trace", "/no/such/folder/t.json", "-m", tiny_model, *device]
    assert "/no/such/folder/t.json" in nereid("run", "hello", *flags).error()


def test_trace_that_does_not_fit(nereid: Nereid, tiny_model, tmp_path: Path, device) -> None:
    """The reply is there; that its trace is not is an error, and nothing is left of the file."""
    run = ["run", "hello", "--raw", "-n", "30", "--ignore-eos", "-m", tiny_model, *device]
    reply = nereid(*run)  # the pack is there afterwards
    assert reply.code == 0, reply.err

    limit = 192 << 10  # less than the trace, more than any kernel, which are files in memory

    def almost_full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # as a shell starts programs
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    path = tmp_path / "trace.json"
    done = nereid(*run, "--trace", path, preexec_fn=almost_full)
    assert (done.code, done.out) == (1, reply.out)
    reason = "larger than the limit on the size of files (ulimit -f)"
    assert done.err == f"nereid: error: --trace: {path}: cannot write: {reason}\n"
    assert not list(tmp_path.iterdir())
    assert nereid(*run, "--trace", path).code == 0
    assert path.stat().st_size > limit


def test_trace_into_a_device_a_pipe_and_a_link(
    nereid: Nereid, tiny_model, tmp_path: Path, device
) -> None:
    """What is no regular file is written to and stays what it is. Nodes of our own, never /dev."""
    run = ["run", "hello", "--raw", "-n", "2", "--ignore-eos", "-m", tiny_model, *device, "--trace"]
    pipe, link, full = tmp_path / "pipe", tmp_path / "link.json", tmp_path / "full"
    os.mkfifo(pipe)
    with open(tmp_path / "read", "wb") as out, subprocess.Popen(["cat", pipe], stdout=out):
        assert nereid(*run, pipe).code == 0
    assert json.loads((tmp_path / "read").read_text())["traceEvents"]
    assert pipe.is_fifo()
    link.symlink_to("trace.json")
    for _ in range(2):
        assert nereid(*run, link).code == 0
        assert link.is_symlink()
        assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert nereid(*run, tmp_path).error() == f"--trace: {tmp_path}: is a directory, expected a file"
    if os.geteuid() != 0:
        pytest.skip("device nodes need root")
    os.mknod(full, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
    done = nereid(*run, full)
    assert done.code == 1
    assert done.err == f"nereid: error: --trace: {full}: cannot write: No space left on device\n"
    assert full.is_char_device()


def test_runs_from_any_folder(nereid: Nereid, default_model, tmp_path: Path) -> None:
    """A copy of the program elsewhere works, with a pack from the cache."""
    copy = tmp_path / "nereid"
    shutil.copy(nereid.binary, copy)
    nereid("run", "Hi", "-n", "2", "-m", default_model)
    elsewhere = Nereid(copy, nereid.environment)
    done = elsewhere("run", "Hi", "-n", "2", "-m", default_model, cwd=tmp_path)
    assert done.code == 0, done.err
