"""Measures tile choices on a device and writes the best to targets/<target>.toml.

    ./dev tune linear_rows --device cuda
    ./dev tune rms_norm --device cpu --dry-run

What is tried is in kernels/tune/<kernel>.toml. To compile here and measure on another machine:

    python -m kernels.tune linear_rows --target cuda:90 --prepare DIR
    kernel_times --device cuda --pack DIR/candidates.pack --jobs DIR/jobs.json --out DIR/times.json
    python -m kernels.tune linear_rows --finish DIR
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parents[2]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kernels", nargs="*", help="names (default: all that have a plan)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, hip, ... (default: auto)")
    parser.add_argument("--target", help="what to compile for (default: the device's best)")
    parser.add_argument("--shapes", default="", help="only shapes whose name contains this")
    parser.add_argument("--select", type=int, help="only this value of the select argument")
    parser.add_argument("--today", action="store_true", help="measure only what runs today")
    parser.add_argument("--plan", type=Path, help="instead of kernels/tune/<kernel>.toml; for one kernel")
    parser.add_argument("--file", type=Path, help="instead of kernels/targets/<target>.toml")
    parser.add_argument("--dry-run", action="store_true", help="measure, show, write nothing")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--prepare", type=Path, metavar="DIR", help="compile only; needs --target, no device")
    what.add_argument("--finish", type=Path, metavar="DIR", help="use the times in DIR; no device")
    parser.add_argument("--driver-version", help="of the machine that DIR was measured on, for the comment")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compiler processes")
    parser.add_argument("--cc", type=Path, help="nereid-cc (default: $NEREID_CC, build/release)")
    parser.add_argument("--timer", type=Path, default=ROOT / "build" / "release" / "kernel_times")
    options = parser.parse_args(arguments)
    if options.prepare and not options.target:
        parser.error("--prepare needs --target")
    return options


def _bar(what: str) -> tuple[Callable[[int, int], None], Callable[[], None]]:
    """A progress bar where there is a terminal."""
    if not sys.stderr.isatty():
        return lambda done, total: None, lambda: None
    from tqdm import tqdm

    bar = tqdm(desc=what, total=0)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show, bar.close


def _driver_version() -> str:
    for place in ("/proc/driver/nvidia/version", "/sys/module/amdgpu/version"):
        try:
            words = Path(place).read_text().split()
        except OSError:
            continue
        return next((word for word in words if word[0].isdigit() and "." in word), "")
    return ""


def _facts(facts: dict[str, Any], options: argparse.Namespace) -> str:
    version = options.driver_version or ("" if options.finish else _driver_version())
    driver = f", driver {version}" if version and facts["driver"] != "cpu" else ""
    day = datetime.date.today().isoformat()
    return f"on {facts['name']} ({facts['workers']} workers){driver}, Triton {facts['triton']}, {day}"


def tune(name: str, options: argparse.Namespace, folder: Path) -> None:
    from kernels import objects, pack, registry, targets
    from kernels.tune import choose, measure, plan, target_file

    kernel = registry.find(name)
    read = plan.read(kernel, options.plan or plan.default_path(kernel))
    if not options.finish:
        info = {} if options.prepare else measure.device_info(options.timer, options.device)
        tools = objects.toolchain(
            options.target or info["target"], options.cc or pack.default_cc(), objects.default_cache()
        )
        show, close = _bar(f"compiling {name}")
        try:
            wish = measure.Wanted(options.shapes, options.today, options.select)
            lost = measure.prepare(read, wish, tools, options.jobs, folder, show)
        finally:
            close()
        if lost:
            print(f"{name}: {lost} candidates do not compile for {tools.target} and are left out")
        if options.prepare:
            print(f"{folder}: candidates of {name} for {tools.target}")
            return
        show, close = _bar(f"measuring {name}")
        try:
            measure.run(options.timer, options.device, folder, show)
        finally:
            close()
    facts, measured = measure.read(read, folder)
    print(choose.table(measured))
    if options.dry_run:
        return
    target = facts["compiled_for"]
    path = options.file or targets.DIRECTORY / f"{target.replace(':', '-')}.toml"
    _, inherited = targets.candidates(kernel, target)
    entries = choose.choose(read, measured)
    target_file.write(path, kernel, entries, _facts(facts, options), inherited)
    print(f"{path}: {len(entries)} entries of {name}")


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    from kernels.expr import ExprError
    from kernels.objects import CompileError
    from kernels.pack_file import PackError
    from kernels.spec import SpecError
    from kernels.tune import plan

    names = options.kernels or plan.tunable()
    try:
        if len(names) > 1 and (options.plan or options.prepare or options.finish):
            raise SpecError("--plan, --prepare and --finish are for one kernel")
        for name in names:
            with tempfile.TemporaryDirectory(prefix="nereid-tune-") as folder:
                tune(name, options, options.prepare or options.finish or Path(folder))
        return 0
    except (SpecError, ExprError, CompileError, PackError, ValueError, OSError) as error:
        print(f"dev tune: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
