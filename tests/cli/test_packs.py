"""Packs: made whole or not at all, refused when damaged or foreign, never needed again after ready."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Nereid

# Said everywhere: what --dtype auto means depends on the target.
DTYPE = ["--dtype", "f32"]
BENCH = ["bench", "--prefill", "4", "--decode", "2", "--repeat", "1", "--json"]
NO_TOOLCHAIN = {"NEREID_PYTHON": "/nonexistent/python", "NEREID_CC": "/nonexistent/nereid-cc"}


def targets_of_cpu(nereid: Nereid) -> list[str]:
    devices = {entry["device"]: entry for entry in nereid("devices", "--json").json()}
    return devices["cpu"]["targets"]


@pytest.fixture(scope="session")
def pack(nereid: Nereid, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of the tiny model, made by `compile`."""
    path = tmp_path_factory.mktemp("pack") / "tiny.pack"
    done = nereid("compile", tiny_model, *DTYPE, "-o", path)
    assert done.code == 0, done.err
    assert done.out.strip() == str(path)
    return path


@pytest.fixture(scope="session")
def filled_cache(
    nereid: Nereid, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A cache folder that `compile` filled, and the path of the pack in it."""
    folder = tmp_path_factory.mktemp("filled_cache")
    done = nereid("compile", tiny_model, *DTYPE, env={"NEREID_CACHE_DIR": str(folder)})
    assert done.code == 0, done.err
    return folder, Path(done.out.strip())


@pytest.fixture
def cache(filled_cache: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of that folder for one test. Returns the pack's path in it."""
    folder, pack = filled_cache
    copy = tmp_path / "cache"
    shutil.copytree(folder, copy)
    return copy / pack.relative_to(folder)


def run_tiny(nereid: Nereid, model: Path, cached_pack: Path, **env: str):
    folder = cached_pack.parent
    while folder.name == "packs":
        folder = folder.parent
    flags = ["--raw", "-n", "4", "--ignore-eos", "--json", "-m", model, *DTYPE]
    return nereid("run", "hello", *flags, env={"NEREID_CACHE_DIR": str(folder), **env})


def test_inspect_pack(nereid: Nereid, pack: Path) -> None:
    content = nereid("inspect", pack, "--json").json()
    assert content["kind"] == "pack"
    assert content["target"].startswith("cpu:")
    assert any(entry["variant"].startswith("rms_norm(") for entry in content["variants"])
    assert "checksums verified" in nereid("inspect", pack).out


def test_packs_are_reproducible(nereid: Nereid, tiny_model: Path, pack: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.pack"
    assert nereid("compile", tiny_model, *DTYPE, "-o", again).code == 0
    assert again.read_bytes() == pack.read_bytes()


def test_runs_from_the_cache_without_a_toolchain(nereid: Nereid, tiny_model, cache: Path) -> None:
    """After ready nothing is compiled: there is nothing that could compile."""
    assert run_tiny(nereid, tiny_model, cache, **NO_TOOLCHAIN).json()["token_ids"]


def test_without_pack_and_toolchain(nereid: Nereid, tiny_model, tmp_path: Path) -> None:
    env = NO_TOOLCHAIN | {"NEREID_CACHE_DIR": str(tmp_path)}
    message = nereid("run", "x", "--raw", "-m", tiny_model, env=env).error()
    assert "nereid compile" in message and str(tiny_model) in message
    assert "--dtype" not in message
    flags = ["--raw", "--dtype", "bf16", "-m", tiny_model]
    assert " --dtype bf16`" in nereid("run", "x", *flags, env=env).error()
    assert not list(tmp_path.rglob("*.pack"))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_damaged_pack(nereid: Nereid, tiny_model, cache: Path, damage: str) -> None:
    good = cache.read_bytes()
    middle = len(good) - 100
    broken = {
        "truncated": good[:middle],
        "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "empty": b"",
        "text": b"not a pack at all\n" * 100,
    }[damage]
    cache.write_bytes(broken)
    refused = run_tiny(nereid, tiny_model, cache, **NO_TOOLCHAIN)
    assert cache.name in refused.error()
    assert refused.err.count(cache.name) == 1
    assert cache.read_bytes() == broken
    # With the toolchain it is made anew.
    assert run_tiny(nereid, tiny_model, cache).json()["token_ids"]
    assert cache.read_bytes() == good


def pack_for(nereid: Nereid, tiny_model: Path, target: str, folder: Path) -> Path:
    path = folder / "other.pack"
    done = nereid("compile", tiny_model, *DTYPE, "--target", target, "-o", path)
    assert done.code == 0, done.err
    assert nereid("inspect", path, "--json").json()["target"] == target
    return path


def run_with_pack(nereid: Nereid, model: Path, pack: Path, *flags: str):
    """With --pack nothing is looked up, built or written: there is no cache and no toolchain."""
    env = NO_TOOLCHAIN | {"NEREID_CACHE_DIR": "/dev/null/no-cache"}
    flags = ("--raw", "-n", "4", "--ignore-eos", "--json", *flags)
    return nereid("run", "hello", *flags, "-m", model, "--pack", pack, env=env)


def test_given_pack(nereid: Nereid, tiny_model, pack: Path, cache: Path) -> None:
    given = run_with_pack(nereid, tiny_model, pack, *DTYPE).json()
    assert given["token_ids"] == run_tiny(nereid, tiny_model, cache).json()["token_ids"]


def test_foreign_pack(nereid: Nereid, tiny_model, tmp_path: Path) -> None:
    """A pack for another processor is made here, and refused here."""
    runnable = targets_of_cpu(nereid)
    foreign = next(t for t in ("cpu:sapphirerapids", "cpu:znver4") if t not in runnable)
    pack = pack_for(nereid, tiny_model, foreign, tmp_path)
    message = run_with_pack(nereid, tiny_model, pack).error()
    assert str(pack) in message and foreign in message


def test_pack_for_an_older_processor(nereid: Nereid, tiny_model, tmp_path: Path) -> None:
    assert "cpu:x86-64-v3" in targets_of_cpu(nereid)
    pack = pack_for(nereid, tiny_model, "cpu:x86-64-v3", tmp_path)
    assert run_with_pack(nereid, tiny_model, pack, *DTYPE).json()["token_ids"]


def test_an_older_processor_pack_brings_its_numerics(nereid: Nereid, tiny_gguf, tmp_path: Path) -> None:
    """Without --dtype: what it means depends on the target, and here that is the pack's."""
    pack = tmp_path / "v3.pack"
    assert nereid("compile", tiny_gguf, "--target", "cpu:x86-64-v3", "-o", pack).code == 0
    given = run_with_pack(nereid, tiny_gguf, pack).json()["token_ids"]
    flags = ["--raw", "-n", "4", "--ignore-eos", "--json", "-m", tiny_gguf, "--device", "cpu:x86-64-v3"]
    assert nereid("run", "hello", *flags).json()["token_ids"] == given


def test_the_best_pack_of_the_cache_where_nothing_can_be_built(
    nereid: Nereid, tiny_gguf, tmp_path: Path
) -> None:
    env = {"NEREID_CACHE_DIR": str(tmp_path)}
    ordered = targets_of_cpu(nereid)
    assert ordered[-1] == "cpu:x86-64-v3"
    for target in [ordered[-1], *ordered[-2:-1], ordered[0]]:  # each better than what is there
        assert nereid("compile", tiny_gguf, "--target", target, env=env).code == 0
        assert nereid(*BENCH, "-m", tiny_gguf, env=env | NO_TOOLCHAIN).json()["target"] == target


def test_a_processor_taken_for_an_older_one(nereid: Nereid, tiny_gguf, tmp_path: Path) -> None:
    assert nereid(*BENCH, "-m", tiny_gguf, "--device", "cpu:x86-64-v3").json()["target"] == "cpu:x86-64-v3"
    message = nereid(*BENCH, "-m", tiny_gguf, "--device", "cpu:neoverse-n1").error()
    assert message.startswith("cpu: this processor cannot run cpu:neoverse-n1, expected one of cpu:")


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "text"])
def test_given_pack_damaged(nereid: Nereid, tiny_model, pack: Path, tmp_path, damage: str) -> None:
    good = pack.read_bytes()
    middle = len(good) - 100
    path = tmp_path / "given.pack"
    if damage != "missing":
        path.write_bytes(
            {
                "truncated": good[:middle],
                "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
                "text": b"not a pack at all\n" * 100,
            }[damage]
        )
    assert str(path) in run_with_pack(nereid, tiny_model, path).error()


def test_given_pack_of_another_model(nereid: Nereid, tiny_gguf, pack: Path) -> None:
    """The pack lacks this model's kernels: the error names the first one and what makes them."""
    message = run_with_pack(nereid, tiny_gguf, pack).error()
    assert f"not in the pack {pack}" in message
    assert f"`nereid compile {tiny_gguf} --target cpu:" in message


def test_given_pack_of_another_dtype(nereid: Nereid, tiny_model, tmp_path: Path) -> None:
    pack = tmp_path / "f32.pack"
    assert nereid("compile", tiny_model, "--dtype", "f32", "-o", pack).code == 0
    assert run_with_pack(nereid, tiny_model, pack, "--dtype", "f32").json()["token_ids"]
    message = run_with_pack(nereid, tiny_model, pack, "--dtype", "bf16").error()
    assert f"not in the pack {pack}" in message
    assert f" --dtype bf16 --out {pack}`" in message


@pytest.mark.parametrize(
    ("target", "known"),
    [
        ("cpu:abacus", "x86-64-v3, "),
        ("cpu:", "x86-64-v3, "),
        ("quantum:1", "cpu:NAME, "),
        ("cpu", "cpu:NAME, "),
        ("", ""),
    ],
)
def test_unknown_target(nereid: Nereid, tiny_model, tmp_path: Path, target: str, known: str) -> None:
    out = tmp_path / "x.pack"
    done = nereid("compile", tiny_model, "--target", target, "-o", out)
    if target == "":
        assert done.code == 0, done.err  # what this machine runs best
        return
    assert target in done.error()
    assert known in done.error()
    assert "compiling" not in done.err  # refused before
    assert not list(tmp_path.iterdir())


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """64 KiB of room in `folder`; False where mounting is not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def small_files_only() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # as a shell starts programs
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))


def test_full_disk_leaves_nothing(nereid: Nereid, tiny_model, pack: Path, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    assert pack.stat().st_size > 64 << 10
    with small_disk(folder) as mounted:
        limit = {} if mounted else {"preexec_fn": small_files_only}
        message = nereid("compile", tiny_model, "-o", folder / "x.pack", **limit).error()
        assert ("no space left on the disk" if mounted else "limit on the size") in message
        assert not list(folder.iterdir())


def test_unwritable_places(nereid: Nereid, tiny_model, tmp_path: Path) -> None:
    assert "/no/such/folder" in nereid("compile", tiny_model, "-o", "/no/such/folder/x.pack").error()
    assert "/proc" in nereid("compile", tiny_model, "-o", "/proc/x.pack").error()


def test_compile_refuses_a_folder_and_follows_a_link(
    nereid: Nereid, tiny_model, pack: Path, tmp_path: Path
) -> None:
    done = nereid("compile", tiny_model, "-o", tmp_path)
    assert done.error() == f"--out: {tmp_path}: is a directory, expected a file"
    assert "compiling" not in done.err
    link, pipe = tmp_path / "link.pack", tmp_path / "pipe"
    link.symlink_to("target.pack")
    assert nereid("compile", tiny_model, *DTYPE, "-o", link).code == 0
    assert link.is_symlink()
    assert (tmp_path / "target.pack").read_bytes() == pack.read_bytes()
    os.mkfifo(pipe)
    with open(tmp_path / "read", "wb") as out, subprocess.Popen(["cat", pipe], stdout=out):
        assert nereid("compile", tiny_model, *DTYPE, "-o", pipe).code == 0
    assert (tmp_path / "read").read_bytes() == pack.read_bytes()
    assert pipe.is_fifo()


def test_a_limit_on_the_size_of_files(nereid: Nereid, tiny_model, tmp_path: Path) -> None:
    """It is not the disk that is full, and the build is not said to be done."""
    env = {"NEREID_CACHE_DIR": str(tmp_path)}
    done = nereid("compile", tiny_model, *DTYPE, env=env, preexec_fn=small_files_only)
    assert "limit on the size of files (ulimit -f)" in done.error()
    assert ": done in" not in done.err


def interrupted_build(nereid: Nereid, model: Path, cache: Path, delay: float) -> int:
    """Exit code of a build that gets Ctrl-C `delay` seconds after it began to write to the cache."""
    builder = subprocess.Popen(
        nereid.command("compile", model),
        env=nereid.environment | {"NEREID_CACHE_DIR": str(cache)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _ in range(1000):
        if (cache / "packs").is_dir() or builder.poll() is not None:
            break
        time.sleep(0.01)
    time.sleep(delay)
    if builder.poll() is None:
        os.killpg(builder.pid, signal.SIGINT)  # as on a terminal
    return builder.wait(60)


def test_control_c_leaves_no_request(nereid: Nereid, tiny_gguf, tmp_path: Path) -> None:
    """The builder's request lives in memory: there is no file of it to leave behind."""
    for delay in (0.1, 0.03, 0.0, 0.0, 0.0):  # a build may be done before the signal comes
        cache = tmp_path / str(len(list(tmp_path.iterdir())))
        code = interrupted_build(nereid, tiny_gguf, cache, delay)
        assert (cache / "packs").is_dir()
        assert not list((cache / "packs").glob("*request*"))
        if code != 0:
            return
    raise AssertionError("no build was interrupted")


def test_two_builders_at_once(nereid: Nereid, tiny_model, pack: Path, tmp_path: Path) -> None:
    command = nereid.command("compile", tiny_model, *DTYPE)
    env = nereid.environment | {"NEREID_CACHE_DIR": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    builders = [subprocess.Popen(command, env=env, **pipes) for _ in range(2)]
    paths = {builder.communicate(timeout=300)[0] for builder in builders}
    assert [builder.returncode for builder in builders] == [0, 0]
    assert len(paths) == 1
    assert Path(paths.pop().decode().strip()).read_bytes() == pack.read_bytes()
    packs = {path for path in tmp_path.rglob("*") if path.is_file() and "tmp" in path.name}
    assert not packs, f"left behind: {packs}"
