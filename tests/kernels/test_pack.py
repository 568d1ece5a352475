"""Packs: form, determinism, atomicity, damage, cache, progress. The compiler is a stand-in
(fake_cc.py)."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import objects, pack_file
from kernels.generate import kernel_sources_sha256

ROOT = Path(__file__).resolve().parents[2]
NORM = {"x_dtype": "f32", "weight_dtype": "f32", "out_dtype": "bf16", "dim": 64, "terms": 1, "paired": 0, "out_stride": 64, "has_index": 0}
VARIANTS = [
    {"kernel": "rms_norm", "key": NORM},
    {"kernel": "rms_norm", "key": NORM | {"dim": 96}},
    {"kernel": "rms_norm", "key": NORM},  # again: compiled once
    {"kernel": "convert", "key": {"x_dtype": "f32", "out_dtype": "bf16"}},
]


@pytest.fixture
def cc(tmp_path: Path) -> Path:
    path = tmp_path / "nereid-cc"
    path.write_text(
        f"#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / 'fake_cc.py'} \"$@\"\n"
    )
    path.chmod(0o755)
    return path


def request_file(folder: Path, variants=VARIANTS) -> Path:
    path = folder / "request.json"
    path.write_text(json.dumps({"variants": variants}))
    return path


def build(
    tmp_path: Path,
    cc: Path,
    *more: str,
    out: str = "m.pack",
    target: str = "cpu:znver4",
    variants=VARIANTS,
    **run,
):
    command = [
        sys.executable, "-m", "kernels.pack", "--request", str(request_file(tmp_path, variants)), "--target", target,
        "--out", str(tmp_path / out), "--cc", str(cc), "--cache", str(tmp_path / "cache"), "--jobs", "2", *more,
    ]  # fmt: skip
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **run)


def test_contents(tmp_path: Path, cc: Path) -> None:
    done = build(tmp_path, cc)
    assert done.returncode == 0, done.stderr
    content = (tmp_path / "m.pack").read_bytes()
    manifest = pack_file.read_manifest(tmp_path / "m.pack")
    assert (
        manifest["target"] == "cpu:znver4"
        and manifest["triton"] == "3.9.0"
        and manifest["kernel_abi"] == 1
    )
    assert [entry["kernel"] for entry in manifest["kernels"]] == ["convert", "rms_norm", "rms_norm"]
    norm = manifest["kernels"][1]
    assert norm["key"] == NORM and list(norm["key"]) == list(NORM)
    assert [choice["max"] for choice in norm["choices"]] == sorted(
        c["max"] for c in norm["choices"][:-1]
    ) + [None]
    for choice in norm["choices"]:
        assert (choice["entry"], choice["num_args"], choice["scratch_bytes"]) == (
            "rms_norm",
            9,
            4096,
        )
        begin = choice["blob"]["offset"]
        assert begin % 4096 == 0 and content[begin : begin + 4] == b"\x7fELF"


def test_same_request_same_bytes(tmp_path: Path, cc: Path) -> None:
    assert build(tmp_path, cc).returncode == 0
    assert (
        build(
            tmp_path, cc, "--no-cache", "--jobs", "1", out="again.pack", variants=VARIANTS[::-1]
        ).returncode
        == 0
    )
    assert (tmp_path / "m.pack").read_bytes() == (tmp_path / "again.pack").read_bytes()


def test_objects_are_cached(tmp_path: Path, cc: Path) -> None:
    assert build(tmp_path, cc).returncode == 0
    cached = sorted((tmp_path / "cache" / "objects").iterdir())
    assert cached
    before = [path.stat().st_mtime_ns for path in cached]
    assert build(tmp_path, cc, out="again.pack").returncode == 0
    assert [
        path.stat().st_mtime_ns for path in sorted((tmp_path / "cache" / "objects").iterdir())
    ] == before
    cc.write_text(cc.read_text() + "# another compiler\n")
    assert build(tmp_path, cc, out="third.pack").returncode == 0
    assert len(list((tmp_path / "cache" / "objects").iterdir())) == 2 * len(cached)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    ],
    ids=["empty", "cut_by_one", "half", "bit_in_object", "bit_in_digest"],
)
def test_damaged_cached_objects_are_recompiled(tmp_path: Path, cc: Path, damage) -> None:
    assert build(tmp_path, cc).returncode == 0
    good = {path: path.read_bytes() for path in (tmp_path / "cache" / "objects").iterdir()}
    assert good
    for path, content in good.items():
        path.write_bytes(damage(content))
    done = build(tmp_path, cc, out="again.pack")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.pack").read_bytes() == (tmp_path / "m.pack").read_bytes()
    # Put right, and nothing beside them.
    after = {path: path.read_bytes() for path in (tmp_path / "cache" / "objects").iterdir()}
    assert after == good


def test_failed_write_to_the_cache_leaves_no_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "objects" / "name.so"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        objects._store(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(path.parent.iterdir()) == []

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        objects._store(path, b"x")
    assert list(path.parent.iterdir()) == []
    objects._store(path, b"x")
    assert objects._load(path) == b"x" and list(path.parent.iterdir()) == [path]


def test_native_is_resolved(tmp_path: Path, cc: Path) -> None:
    assert build(tmp_path, cc, target="cpu:native").returncode == 0
    assert pack_file.read_manifest(tmp_path / "m.pack")["target"] == "cpu:testcpu"


def test_progress(tmp_path: Path, cc: Path) -> None:
    reader, writer = os.pipe()
    done = build(tmp_path, cc, "--progress-fd", str(writer), pass_fds=[writer])
    os.close(writer)
    lines = [json.loads(line) for line in os.fdopen(reader)]
    assert done.returncode == 0 and done.stderr == ""
    assert [line["done"] for line in lines] == [1, 2, 3] and {line["total"] for line in lines} == {
        3
    }
    assert any(line["what"].startswith("convert(x_dtype=f32") for line in lines)


def test_progress_of_a_failed_build_is_never_complete(tmp_path: Path, cc: Path) -> None:
    for place, flags in (("m.pack", {"target": "cpu:broken"}), ("no/folder/m.pack", {})):
        reader, writer = os.pipe()
        done = build(
            tmp_path, cc, "--progress-fd", str(writer), pass_fds=[writer], out=place, **flags
        )
        os.close(writer)
        assert done.returncode == 1
        assert [json.loads(line)["done"] for line in os.fdopen(reader)] == [1, 2]


def test_unknown_target_is_refused_before_anything_is_compiled(tmp_path: Path, cc: Path) -> None:
    done = build(tmp_path, cc, target="cpu:abacus")
    assert done.returncode == 1
    assert done.stderr == (
        "kernels.pack: error: target 'cpu:abacus' is not known: found 'abacus', expected 'testcpu'\n"
    )
    assert not (tmp_path / "cache").exists()


def test_output_through_links_and_into_a_pipe(tmp_path: Path, cc: Path) -> None:
    assert build(tmp_path, cc).returncode == 0
    pack = (tmp_path / "m.pack").read_bytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.pack").symlink_to("folder/target.pack")
    for _ in range(2):  # a link that leads nowhere, then one to a file
        assert build(tmp_path, cc, out="link.pack").returncode == 0
        assert (tmp_path / "link.pack").is_symlink()
        assert (tmp_path / "folder" / "target.pack").read_bytes() == pack
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        assert build(tmp_path, cc, out="pipe").returncode == 0
        assert reader.communicate()[0] == pack
    assert pipe.is_fifo()
    done = build(tmp_path, cc, out="folder")
    assert done.returncode == 1 and "Is a directory" in done.stderr


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ([{"kernel": "no_such", "key": {}}], "unknown kernel 'no_such'"),
        ([{"kernel": "rms_norm", "key": NORM | {"dim": 0}}], "'rms_norm': key field dim is 0"),
        ([{"kernel": "rms_norm", "key": {}}], "missing key field x_dtype"),
        ([{"kernel": "rms_norm"}], "not a pack request"),
        ([{"kernel": 7, "key": {}}], "not of the form"),
        ([], "no variants"),
    ],
)
def test_bad_request(tmp_path: Path, cc: Path, variants, message: str) -> None:
    done = build(tmp_path, cc, variants=variants)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not (tmp_path / "m.pack").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("cpu:broken", "rms_norm(x_dtype=f32"),
        ("cpu:broken", "'tt.load' is not supported here"),
        ("tpu:4", "target 'tpu:4' is not known"),
    ],
)
def test_compile_failure(tmp_path: Path, cc: Path, target: str, message: str) -> None:
    done = build(tmp_path, cc, target=target)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir() if "m.pack" in path.name] == []


def test_missing_compiler(tmp_path: Path) -> None:
    done = build(tmp_path, tmp_path / "nowhere")
    assert done.returncode == 1 and "needs the compiler nereid-cc" in done.stderr


def test_disk_full(tmp_path: Path, cc: Path) -> None:
    assert build(tmp_path, cc).returncode == 0  # the cache is warm now
    size = (tmp_path / "m.pack").stat().st_size
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))  # noqa: E731
    done = build(tmp_path, cc, out="full.pack", preexec_fn=limit)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "larger than the limit on the size of files (ulimit -f)" in done.stderr
    assert not [path for path in tmp_path.iterdir() if "full.pack" in path.name]


def test_other_sources(tmp_path: Path, cc: Path) -> None:
    done = build(tmp_path, cc, "--expect-sources", "0" * 64)
    assert done.returncode == 1 and "not those that the program was built from" in done.stderr
    assert not (tmp_path / "m.pack").exists()
    assert build(tmp_path, cc, "--expect-sources", kernel_sources_sha256()).returncode == 0


def test_unwritable_folder(tmp_path: Path, cc: Path) -> None:
    (tmp_path / "file").write_text("")
    done = build(tmp_path, cc, out="file/m.pack")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "file" in done.stderr


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "kernels.pack", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_list_and_verify(tmp_path: Path, cc: Path) -> None:
    build(tmp_path, cc)
    path = tmp_path / "m.pack"
    assert "rms_norm(x_dtype=f32" in command("--list", str(path)).stdout
    assert "good, 3 variants for cpu:znver4" in command("--verify", str(path)).stdout
    content = bytearray(path.read_bytes())
    manifest = pack_file.read_manifest(path)
    blob = manifest["kernels"][0]["choices"][0]["blob"]["offset"]
    for place, value, message in (
        (0, 0x58, "not a pack"),
        (14, 1, "manifest length"),
        (17, 0x21, "malformed manifest"),
        (blob + 8, 0xFF, "is damaged"),
    ):
        damaged = content.copy()
        damaged[place] = value
        (tmp_path / "damaged").write_bytes(damaged)
        done = command("--verify", str(tmp_path / "damaged"))
        assert done.returncode == 1 and message in done.stderr, (place, done.stderr)
    for length in (0, 4, 15, 16, 300, blob + 1):
        (tmp_path / "short").write_bytes(content[:length])
        assert command("--verify", str(tmp_path / "short")).returncode == 1
    assert command("--verify", str(tmp_path / "absent")).returncode == 1
