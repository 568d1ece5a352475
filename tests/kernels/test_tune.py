"""`./dev tune`: plans, the choice among times, what is written into target files; and all of it on this CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kernels import registry
from kernels.objects import CompileError
from kernels.spec import SpecError
from kernels.tune import choose, measure, plan, target_file
from kernels.tune.choose import Entry
from kernels.tune.measure import Measured, tiles_text

ROOT = Path(__file__).resolve().parents[2]
TIMER = ROOT / "build" / "release" / "kernel_times"
NORM = registry.find("rms_norm")
PLAN = """
rotate = ["x"]
key = { x_dtype = "f32", weight_dtype = "f32", out_dtype = "bf16", terms = 1, paired = 0, has_index = 0 }
args = { eps = 1e-5 }
arrays = { x = "rows * dim", weight = "dim", out = "(rows + 1) * dim" }
[[shapes]]
name = "small"
when = "dim <= 64"
key = { dim = 48, out_stride = 48 }
select = [4, 1]
[[candidates]]
select = [2, 9]
tiles = { ROWS = [1, 2], BLOCK = "next_pow2(dim)", num_warps = [1, 4] }
[[candidates]]
when = "dim > 64"
tiles = { ROWS = 16, BLOCK = 64 }
"""


def _plan(tmp_path: Path, text: str = PLAN, kernel=NORM) -> plan.Plan:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return plan.read(kernel, path)


def test_every_committed_plan_can_be_read() -> None:
    assert {"linear_rows", "rms_norm"} <= set(plan.tunable())
    for name in plan.tunable():
        kernel = registry.find(name)
        read = plan.read(kernel, plan.default_path(kernel))
        for shape in read.shapes:
            for select in shape.select:
                assert plan.candidates(read, shape, select), f"{shape.name} at {select}: nothing to try"
                assert len(plan.job_args(read, shape, select)) == len(kernel.args)


def test_candidates_of_a_plan(tmp_path) -> None:
    read = _plan(tmp_path)
    (shape,) = read.shapes
    assert shape.select == (1, 4)
    assert plan.candidates(read, shape, 1) == []
    tried = plan.candidates(read, shape, 4)
    assert [(tiles["ROWS"], tiles["num_warps"]) for tiles in tried] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert plan.resolve(NORM, shape.key, tried[0]).tiles == {"ROWS": 1, "BLOCK": 64}
    x, weight, index, out, *_, rows, eps = plan.job_args(read, shape, 4)
    assert x == {"dtype": "f32", "bytes": 4 * 48 * 4, "rotates": True, "written": False, "counts": False}
    assert (weight["bytes"], weight["rotates"]) == (48 * 4, False)
    assert index == {"null": True}
    assert out == {"dtype": "bf16", "bytes": 5 * 48 * 2, "rotates": False, "written": True, "counts": False}
    assert (rows, eps) == ({"slot": 4}, {"slot": 0x3727C5AC})


def test_arrays_of_places_count() -> None:
    kernel = registry.find("rope_kv_write")
    read = plan.read(kernel, plan.default_path(kernel))
    made = plan.job_args(read, read.shapes[0], 64)
    counted = {arg.name for arg, job in zip(kernel.args, made) if job.get("counts")}
    assert counted == {"positions", "slots"}


def test_candidates_with_too_large_a_workspace_are_left_out() -> None:
    kernel = registry.find("linear_rows")
    read = plan.read(kernel, plan.default_path(kernel))
    shape = next(shape for shape in read.shapes if shape.name == "Llama-3.1-8B head")
    for tiles in plan.candidates(read, shape, 256):
        assert plan.workspace_bytes(read, shape.key, 256, tiles) <= 64 << 20


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('rotate = ["x"]', "rotates = 1", "unknown rotates"),
        ("dim = 48", "dims = 48", "unknown key field dims"),
        ("dim = 48", "dim = 480", "its key is none of those of its `when`"),
        ("dim <= 64", "dims <= 64", "unknown name dims"),
        ("weight = ", "weights = ", "weights is no pointer of rms_norm"),
        ("args = { eps = 1e-5 }", "", "no value for eps"),
        ("[[shapes]]", "[[shape]]", "unknown shape"),
        ('name = "small"', "", "name is missing"),
        ("rotate = [", "rotate = [[", "plan.toml: "),
    ],
)
def test_wrong_plans(tmp_path, old: str, new: str, message: str) -> None:
    assert old in PLAN
    with pytest.raises(SpecError, match=message):
        _plan(tmp_path, PLAN.replace(old, new, 1))


def test_a_kernel_without_a_plan() -> None:
    kernel = registry.find("convert")
    with pytest.raises(SpecError, match="kernel convert has no plan for tuning .there is one for .*rms_norm"):
        plan.read(kernel, plan.default_path(kernel))


def test_a_misspelt_tile(tmp_path) -> None:
    read = _plan(tmp_path, PLAN.replace("ROWS = [1, 2]", "ROW = [1, 2]"))
    with pytest.raises(SpecError, match="unknown ROW"):
        plan.candidates(read, read.shapes[0], 4)


# --- choosing -------------------------------------------------------------------------------------

TILES = [tiles_text({"ROWS": rows, "BLOCK": 64}) for rows in (1, 2, 4)]


def _measured(read: plan.Plan, select: int, *times: float | None, before: int = 0, shape: int = 0) -> Measured:
    problems = tuple("" if time else "results differ" for time in times)
    return Measured(read.shapes[shape], select, TILES[before], tuple(TILES[: len(times)]), times, problems)


def test_the_fastest_is_taken_where_it_is_worth_it(tmp_path) -> None:
    read = _plan(tmp_path)
    measured = [_measured(read, 1, 10.0, 9.9, 9.5), _measured(read, 4, 10.0, 9.9)]
    first, last = choose.choose(read, measured)
    assert (first.max, first.tiles["ROWS"], last.max, last.tiles["ROWS"]) == (1, 4, None, 1)
    assert first.comment == "small at 1: 9.5 us, before 10" and last.comment == "small at 4: 10 us"


def test_equal_picks_are_one_entry(tmp_path) -> None:
    read = _plan(tmp_path)
    (entry,) = choose.choose(read, [_measured(read, 1, 10.0, 5.0), _measured(read, 4, 10.0, 5.0)])
    assert (entry.max, entry.tiles["ROWS"]) == (None, 2)
    assert entry.comment == "small at 1: 5 us, before 10; small at 4: 5 us, before 10"


def test_shapes_of_one_condition_share_a_pick(tmp_path) -> None:
    second = PLAN.replace(
        "[[candidates]]", '[[shapes]]\nname = "other"\nwhen = "dim <= 64"\nkey = { dim = 64, out_stride = 64 }\nselect = [4]\n[[candidates]]', 1
    )  # fmt: skip
    read = _plan(tmp_path, second)
    # 2 is the best for the first shape and bad for the second; 4 is good for both.
    (entry,) = choose.choose(read, [_measured(read, 4, 10.0, 5.0, 5.5), _measured(read, 4, 10.0, 20.0, 9.0, shape=1)])
    assert entry.tiles["ROWS"] == 4


def test_refused_candidates_are_never_taken(tmp_path) -> None:
    read = _plan(tmp_path)
    (entry,) = choose.choose(read, [_measured(read, 4, 10.0, None, 9.0)])
    assert entry.tiles["ROWS"] == 4
    assert "refused: ROWS = 2, BLOCK = 64: results differ" in choose.table([_measured(read, 4, 10.0, None)])
    with pytest.raises(ValueError, match="no candidate ran: results differ"):
        choose.choose(read, [_measured(read, 4, None)])


def test_what_takes_a_workspace_gets_a_bound(tmp_path) -> None:
    kernel = registry.find("linear_rows")
    read = plan.read(kernel, plan.default_path(kernel))
    split = tiles_text({"MODE": 3, "BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64, "SPLIT": 4})
    (entry,) = choose.choose(read, [Measured(read.shapes[0], 64, split, (split,), (5.0,), ("",))])
    assert entry.max == 64


# --- target files ---------------------------------------------------------------------------------

FILE = """# A target by hand.
silu_mul = [{ BLOCK = 64 }]  # one line
rms_norm = [
  # slow, but sure
  { max = 1, ROWS = 1, BLOCK = "WIDE" },
  { ROWS = 4, BLOCK = "WIDE" },
]

[names]
WIDE = "next_pow2(dim)"
"""
ENTRIES = [Entry("dim <= 64", 1, {"ROWS": 2, "BLOCK": "next_pow2(dim)"}, "small at 1: 5 us"), Entry("1", 9, {"ROWS": 8, "BLOCK": 64}, "x")]
INHERITED = [{"ROWS": 1, "BLOCK": "next_pow2(dim)"}]


def test_entries_stand_before_those_by_hand(tmp_path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(FILE)
    target_file.write(path, NORM, ENTRIES, "on a test", INHERITED)
    text = path.read_text()
    table = tomllib.loads(text)
    assert table["rms_norm"][0] == {"max": 1, "when": "dim <= 64", "ROWS": 2, "BLOCK": "next_pow2(dim)"}
    assert table["rms_norm"][1:] == [{"max": 9, "ROWS": 8, "BLOCK": 64}] + tomllib.loads(FILE)["rms_norm"]
    kept = [line for line in text.splitlines() if line in FILE.splitlines()]
    assert kept == FILE.splitlines()
    assert "  # tuned: on a test\n  # small at 1: 5 us\n" in text
    # Again: the block is replaced, nothing else.
    target_file.write(path, NORM, ENTRIES[:1], "on another", INHERITED)
    again = path.read_text()
    assert "on a test" not in again and again.count("# tuned") == 1
    assert [line for line in again.splitlines() if line in FILE.splitlines()] == FILE.splitlines()
    assert list(tmp_path.iterdir()) == [path]


def test_a_kernel_that_the_file_does_not_list(tmp_path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(FILE.replace("rms_norm", "add_rms_norm"))
    target_file.write(path, NORM, ENTRIES, "on a test", INHERITED)
    table = tomllib.loads(path.read_text())
    assert list(table) == ["silu_mul", "add_rms_norm", "rms_norm", "names"]
    assert table["rms_norm"][-1] == INHERITED[0]
    new = tmp_path / "new.toml"
    target_file.write(new, NORM, ENTRIES, "on a test", INHERITED)
    assert tomllib.loads(new.read_text())["rms_norm"] == table["rms_norm"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rms_norm = [{ ROWS = 1, BLOCK = 64 }]\n", "begins and ends on one line"),
        ("rms_norm = [\n  # tuned: x\n  { ROWS = 1, BLOCK = 64 },\n]\n", "not the comment that ends it"),
        ("rms_norm = [\n  { ROWS = 1 },\n]\n", "no value for BLOCK"),
        ("rms_norm = [\n  { ROWS = 1, BLOCK = 64 },\n]\nx = \n", "would not be TOML any more"),
    ],
)
def test_files_that_cannot_be_written_to_stay_as_they_are(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        target_file.write(path, NORM, ENTRIES, "on a test", INHERITED)
    assert path.read_text() == text and list(tmp_path.iterdir()) == [path]


# --- the command ----------------------------------------------------------------------------------


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kernels.tune", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_on_this_cpu(tmp_path) -> None:
    path, written = tmp_path / "plan.toml", tmp_path / "cpu.toml"
    path.write_text(PLAN.replace("num_warps = [1, 4]", "num_warps = 1"))
    done = _run("rms_norm", "--device", "cpu", "--plan", str(path), "--file", str(written))
    assert done.returncode == 0, done.stderr
    assert "small at 4: 3 ran" in done.stdout and "refused" not in done.stdout
    entries = tomllib.loads(written.read_text())["rms_norm"]
    assert entries[0]["when"] == "dim <= 64" and entries[0]["ROWS"] in (1, 2, 4)
    assert entries[-1] == {"ROWS": 4, "BLOCK": 256}  # of targets/cpu.toml
    assert " us" in written.read_text()


def test_without_the_device() -> None:
    done = _run("rms_norm", "--device", "metal")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("dev tune: error: ") and "metal" in done.stderr and "Traceback" not in done.stderr


def test_compiled_here_measured_elsewhere(tmp_path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    done = _run("rms_norm", "--target", "cuda:90", "--plan", str(path), "--prepare", str(tmp_path / "there"))
    assert done.returncode == 0, done.stderr
    read = _plan(tmp_path)
    with pytest.raises(CompileError, match="no times to read"):
        measure.read(read, tmp_path / "there")
    jobs = json.loads((tmp_path / "there" / "jobs.json").read_text())["jobs"]
    assert [job["label"] for job in jobs] == ["small, rows 1", "small, rows 4"]
    times = {
        "driver": "cuda", "name": "A GPU", "target": "cuda:90", "workers": 132,
        "jobs": [{"label": job["label"], "times": [{"us": 2.0 + at} for at in range(len(job["tiles"]))][::-1]} for job in jobs],
    }  # fmt: skip
    (tmp_path / "there" / "times.json").write_text(json.dumps(times))
    written = tmp_path / "cuda-90.toml"
    done = _run(
        "rms_norm", "--plan", str(path), "--finish", str(tmp_path / "there"), "--file", str(written), "--driver-version", "580.1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "# tuned: on A GPU (132 workers), driver 580.1, Triton 3." in written.read_text()
    (last,) = [entry for entry in tomllib.loads(written.read_text())["rms_norm"] if entry.get("when") and "max" not in entry]
    assert {**last, "when": ""} == {"when": "", **json.loads(jobs[1]["tiles"][-1])}
