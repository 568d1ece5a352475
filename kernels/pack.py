"""Builds, lists and verifies packs: every kernel a model needs for one target, in one file.

    python -m kernels.pack --request REQ.json --target cpu:znver4 --out FILE
    python -m kernels.pack --list FILE
    python -m kernels.pack --verify FILE

REQ.json: {"variants": [{"kernel": "rms_norm", "key": {"dim": 576, ...}}, ...]}. The format is in
docs/pack-format.md.
"""

from __future__ import annotations

import argparse
import errno
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

from kernels.pack_file import PackError, build, list_pack, read_manifest, write_atomically

# --- request --------------------------------------------------------------------------------------


def read_request(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(kernel, key) pairs, duplicates removed, keys checked and in declaration order."""
    from kernels.registry import find

    try:
        request = json.loads(path.read_text())
        listed = [(entry["kernel"], entry["key"]) for entry in request["variants"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PackError(f"{path}: not a pack request: {error!r}") from None
    unique: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, key in listed:
        if not isinstance(name, str) or not isinstance(key, dict):
            raise PackError(f"{path}: a variant is not of the form {{kernel: text, key: object}}")
        kernel = find(name)
        unique.setdefault(kernel.variant(key), (name, kernel.check_key(key)))
    return [unique[text] for text in sorted(unique)]


# --- compiling ------------------------------------------------------------------------------------


def _compile_variant(job: tuple[str, dict[str, Any], Any]) -> tuple[str, dict[str, Any], list[Any]]:
    """Runs in a worker: all tile choices of one variant. An error comes back as text, with its
    kind."""
    from kernels import objects, targets
    from kernels.registry import find
    from kernels.spec import SpecError

    name, key, tools = job
    kernel = find(name)
    try:
        choices = targets.choices(kernel, key, tools.target)
        compiled = [objects.compile_fitting(kernel, key, choice, tools) for choice in choices]
        return name, key, compiled
    except (SpecError, objects.CompileError) as error:
        return name, key, [str(error)]


def compile_all(
    variants: list[tuple[str, dict[str, Any]]], tools: Any, jobs: int, done: Callable[[str], None]
) -> list[tuple[str, dict[str, Any], list[Any]]]:
    """Compiles every variant; reports all failures at once."""
    from kernels import objects, ttir  # noqa: F401  (imported once, before the workers are forked)
    from kernels.registry import find

    results, failures = [], []
    work = [(name, key, tools) for name, key in variants]
    for name, key, compiled in _map_in_workers(_compile_variant, work, jobs):
        if isinstance(compiled[0], str):
            failures.append(compiled[0])
        else:
            results.append((name, key, compiled))
        done(find(name).variant(key))
    if failures:
        raise PackError("\n".join(failures))
    return sorted(results, key=lambda result: find(result[0]).variant(result[1]))


def _map_in_workers(function: Callable, work: list, jobs: int) -> Iterator:
    if jobs <= 1 or len(work) <= 1:
        yield from map(function, work)
        return
    with multiprocessing.get_context("fork").Pool(min(jobs, len(work))) as pool:
        yield from pool.imap_unordered(function, work)


# --- command --------------------------------------------------------------------------------------


class _Progress:
    """Where progress goes: JSON lines to a descriptor, a bar on a terminal, or nowhere."""

    def __init__(self, total: int, descriptor: int | None, quiet: bool) -> None:
        self.total, self.count, self._what = total, 0, ""
        self._stream, self._bar = None, None
        if descriptor is not None:
            self._stream = os.fdopen(descriptor, "w", buffering=1)
        elif not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc="kernels", unit="variant")

    def step(self, what: str) -> None:
        """The last one shows with `finish`, when the pack is written: a build that fails is never
        seen to be done."""
        self.count, self._what = self.count + 1, what
        if self.count < self.total:
            self._show()

    def finish(self) -> None:
        self._show()

    def _show(self) -> None:
        if self._stream:
            self._stream.write(
                json.dumps({"done": self.count, "total": self.total, "what": self._what}) + "\n"
            )
        if self._bar is not None:
            self._bar.update(self.count - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def make(options: argparse.Namespace) -> None:
    from kernels import objects
    from kernels.generate import kernel_sources_sha256

    if options.expect_sources not in (None, kernel_sources_sha256()):
        raise PackError(
            f"the kernels in {Path(__file__).parent} are not those that the program was built from; build it again"
        )
    variants = read_request(options.request)
    if not variants:
        raise PackError(f"{options.request}: no variants")
    cache = None if options.no_cache else (options.cache or objects.default_cache())
    tools = objects.toolchain(options.target, options.cc, cache)
    progress = _Progress(len(variants), options.progress_fd, options.quiet)
    try:
        results = compile_all(variants, tools, options.jobs, progress.step)
        manifest, blobs = build(tools.target, results)
        write_atomically(options.out, manifest, blobs)
        progress.finish()
    finally:
        progress.close()


def default_cc() -> Path | None:
    if explicit := os.environ.get("NEREID_CC"):
        return Path(explicit)
    return Path(__file__).resolve().parent.parent / "build" / "release" / "nereid-cc"


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m kernels.pack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--request", type=Path, help="JSON file with the variants to compile")
    what.add_argument("--list", type=Path, metavar="FILE", help="print what a pack holds")
    what.add_argument(
        "--verify", type=Path, metavar="FILE", help="check a pack; exit code 1 if it is damaged"
    )
    parser.add_argument("--target", help="cpu:znver4, cpu:native, cuda:90, hip:gfx942, ...")
    parser.add_argument("--out", type=Path, help="the pack to write")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default: cores)"
    )
    parser.add_argument(
        "--cc",
        type=Path,
        default=default_cc(),
        help="nereid-cc (default: $NEREID_CC, build/release)",
    )
    parser.add_argument(
        "--cache", type=Path, help="object cache (default: the user's cache folder)"
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="neither read nor write the object cache"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument(
        "--progress-fd",
        type=int,
        help="write one JSON line per finished variant to this descriptor",
    )
    parser.add_argument(
        "--expect-sources", metavar="SHA256", help="fail at once if the kernel sources are others"
    )
    options = parser.parse_args(arguments)
    if options.request and not (options.target and options.out):
        parser.error("--request needs --target and --out")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        if options.list:
            list_pack(options.list)
        elif options.verify:
            manifest = read_manifest(options.verify)
            print(
                f"{options.verify}: good, {len(manifest['kernels'])} variants for {manifest['target']}"
            )
        else:
            make(options)
        return 0
    except OSError as error:
        where = error.filename or options.out or ""
        reason = {
            errno.ENOSPC: "no space left on the disk",
            errno.EDQUOT: "no space left within the disk quota",
            errno.EFBIG: "larger than the limit on the size of files (ulimit -f)",
        }.get(error.errno, error.strerror)
        print(f"kernels.pack: error: {where}: {reason}", file=sys.stderr)
    except Exception as error:  # each kind below carries a complete message
        from kernels.expr import ExprError
        from kernels.objects import CompileError
        from kernels.spec import SpecError

        if not isinstance(error, (PackError, SpecError, CompileError, ExprError)):
            raise
        print(f"kernels.pack: error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
