"""Compiling candidates into a pack with the list of launches to time, and reading the times.

A folder holds candidates.pack, jobs.json and, once bench/kernel_times ran there or elsewhere, times.json.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

from kernels import objects, pack_file, registry, ttir
from kernels.objects import CompileError, Toolchain
from kernels.spec import Kernel
from kernels.targets import Choice
from kernels.tune import plan as plans
from kernels.tune.plan import Plan, Shape


@dataclass(frozen=True)
class Measured:
    """A shape at one value of the select argument."""

    shape: Shape
    select: int
    before: str  # what ran there when the candidates were made; tiles as text, see tiles_of
    choices: tuple[str, ...]
    microseconds: tuple[float | None, ...]  # None: not taken, for the reason in `problems`
    problems: tuple[str, ...]


def device_info(timer: Path, device: str) -> dict[str, Any]:
    """What the device is, or an error that says why there is none."""
    try:
        done = subprocess.run(
            [str(timer), "--device", device, "--info"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise CompileError(f"{timer}: {error.strerror} (./dev build release kernel_times makes it)") from None
    if done.returncode != 0:
        raise CompileError(done.stderr.strip().removeprefix("kernel_times: error: "))
    return json.loads(done.stdout)


def _compile(job: tuple[str, dict[str, Any], Choice, Toolchain]) -> Any:
    name, key, choice, tools = job
    try:
        return objects.compile_choice(registry.find(name), key, choice, tools)
    except (ttir.DoesNotFit, CompileError, plans.SpecError):
        return None  # a tile that the target cannot hold, or that the kernel refuses


@dataclass(frozen=True)
class Wanted:
    """What of a plan is measured."""

    shapes: str = ""  # only shapes whose name contains this
    today: bool = False  # only what runs today
    select: int | None = None  # only this value of the select argument


def prepare(
    plan: Plan, wish: Wanted, tools: Toolchain, jobs: int, folder: Path, progress: Callable[[int, int], None]
) -> int:  # fmt: skip
    """Writes the pack and the jobs; returns how many candidates did not compile."""
    kernel = plan.kernel
    wanted: list[tuple[Shape, int, list[Tiles]]] = []
    for shape in plan.shapes:
        for select in shape.select if wish.shapes in shape.name else ():
            if wish.select not in (None, select):
                continue
            before = plans.today(kernel, shape.key, select, tools.target)
            others = [] if wish.today else plans.candidates(plan, shape, select)
            wanted.append((shape, select, [before, *(tiles for tiles in others if tiles != before)]))
    if not wanted:
        raise CompileError(f"no shape of {kernel.name} is asked for ('{wish.shapes}' in its name)")
    keys = {kernel.variant(shape.key): dict(shape.key) for shape, _, _ in wanted}
    choices = dict.fromkeys(
        (kernel.variant(shape.key), _choice(kernel, shape, tiles))
        for shape, _, listed in wanted
        for tiles in listed
    )
    work = [(kernel.name, keys[variant], choice, tools) for variant, choice in choices]
    compiled = {}
    with multiprocessing.get_context("fork").Pool(max(1, min(jobs, len(work)))) as pool:
        for place, made in zip(choices, pool.imap(_compile, work)):
            compiled[place] = made
            progress(len(compiled), len(work))
    _write(plan, tools, keys, wanted, compiled, folder)
    return sum(made is None for made in compiled.values())


Tiles = dict[str, Any]  # as an entry of a target file, without max and when


class _Frozen(dict):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def _choice(kernel: Kernel, shape: Shape, tiles: Tiles) -> Choice:
    choice = plans.resolve(kernel, shape.key, tiles)
    return replace(choice, tiles=_Frozen(choice.tiles))


def tiles_text(tiles: Tiles) -> str:
    return json.dumps(tiles)


def tiles_of(text: str) -> Tiles:
    return json.loads(text)


def _write(plan: Plan, tools: Toolchain, keys, wanted, compiled, folder: Path) -> None:
    kernel, results, index = plan.kernel, [], {}
    for variant, key in sorted(keys.items()):
        made = [(c, obj) for (v, c), obj in compiled.items() if v == variant and obj is not None]
        index |= {(variant, choice): at for at, (choice, _) in enumerate(made)}
        # A pack's choices have ascending bounds; here they number the candidates.
        numbered = [
            (replace(choice, max=at if at + 1 < len(made) else None), obj)
            for at, (choice, obj) in enumerate(made)
        ]
        if numbered:
            results.append((kernel.name, key, numbered))
    jobs = []
    for shape, select, listed in wanted:
        places = [(kernel.variant(shape.key), _choice(kernel, shape, tiles)) for tiles in listed]
        good = [at for at, place in enumerate(places) if place in index]
        jobs.append(
            {
                "label": f"{shape.name}, {kernel.select or 'one size'} {select}",
                "shape": shape.name,
                "select": select,
                "kernel": kernel.name,
                "key": shape.key,
                "choices": [index[places[at]] for at in good],
                "tiles": [tiles_text(listed[at]) for at in good],
                "before": tiles_text(listed[0]),
                "args": plans.job_args(plan, shape, select),
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    manifest, blobs = pack_file.build(tools.target, results)
    pack_file.write_atomically(folder / "candidates.pack", manifest, blobs)
    text = {"target": tools.target, "triton": ttir.triton.__version__, "jobs": [j for j in jobs if j["choices"]]}
    (folder / "jobs.json").write_text(json.dumps(text, indent=1))


def run(timer: Path, device: str, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Times everything in the folder on the device."""
    command = [
        str(timer), "--device", device, "--pack", str(folder / "candidates.pack"),
        "--jobs", str(folder / "jobs.json"), "--out", str(folder / "times.json"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        for line in child.stdout:  # "3 of 40 LABEL"
            done, _, total, *_ = line.split()
            progress(int(done), int(total))
        problem = child.stderr.read()
    if child.returncode != 0:
        raise CompileError(problem.strip().removeprefix("kernel_times: error: "))


def read(plan: Plan, folder: Path) -> tuple[dict[str, Any], list[Measured]]:
    """The device that was measured on, and the times."""
    try:
        jobs = json.loads((folder / "jobs.json").read_text())
        times = json.loads((folder / "times.json").read_text())
    except (OSError, ValueError) as error:
        raise CompileError(f"{folder}: no times to read: {error}") from None
    if [job["label"] for job in jobs["jobs"]] != [job["label"] for job in times["jobs"]]:
        raise CompileError(f"{folder}: times.json is not of these jobs")
    shapes = {shape.name: shape for shape in plan.shapes}
    measured = []
    for job, timed in zip(jobs["jobs"], times["jobs"]):
        if job["shape"] not in shapes:
            raise CompileError(f"{folder}: shape {job['shape']!r} is not in the plan any more")
        measured.append(
            Measured(
                shapes[job["shape"]],
                job["select"],
                job["before"],
                tuple(job["tiles"]),
                tuple(time.get("us") for time in timed["times"]),
                tuple(time.get("problem", "") for time in timed["times"]),
            )
        )
    facts = {name: times[name] for name in ("driver", "name", "target", "workers")}
    return facts | {"compiled_for": jobs["target"], "triton": jobs["triton"]}, measured
