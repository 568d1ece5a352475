"""How near nereid-cc's code comes to what this machine can do: matrix products, softmax, RMSNorm, attention, and
products of one row with quantised weights, on all cores that this process may use.

    .venv/bin/python bench/compiler.py [--cc PATH] [--cpu NAME] [-k PART_OF_A_NAME]

Every core runs its share of the programs again and again, without waiting for the others, so that this is the
speed of the code and has no launches in it; `nereid bench --operators` has those. Limits are measured in the
same way in the same run. Results are checked elsewhere (tests/compiler, tests/kernels).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "compiler")]

import numpy as np  # noqa: E402
import triton  # noqa: E402
import triton.language as tl  # noqa: E402
from cases.tutorials import attention_kernel, persistent_softmax_kernel  # noqa: E402
from emit_ttir import emit_ttir  # noqa: E402
from program import NEREID, answer  # noqa: E402
from run import KernelInfo, compile_ttir  # noqa: E402

from kernels import expr, objects, registry, targets, tile_registers, ttir  # noqa: E402
from kernels.activation_codes import pair_words  # noqa: E402
from kernels.dtypes import DTYPES, narrow  # noqa: E402
from kernels.spec import Ptr  # noqa: E402

SECONDS = 0.15  # of one measurement at least; the best of TRIES counts
TRIES = 3


@triton.jit
def matmul_kernel(
    a, b, c, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr
):
    """c [M, N] f32 = a [M, K] b [K, N], all multiples of the tiles; GROUP tiles of rows share columns of b."""
    tiles_n = N // BN
    pid = tl.program_id(0)
    group = pid // (GROUP * tiles_n)
    m = (group * GROUP + pid % GROUP) * BM + tl.arange(0, BM)
    n = pid % (GROUP * tiles_n) // GROUP * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k0 in range(0, K, BK):
        va = tl.load(a + m[:, None] * K + (k0 + k)[None, :])
        vb = tl.load(b + (k0 + k)[:, None] * N + n[None, :])
        acc = tl.dot(va, vb, acc)
    tl.store(c + m[:, None] * N + n[None, :], acc)


@dataclass
class Work:
    """Something to measure: TTIR, its arguments, and what it asks for. `products` of the type that binds it."""

    name: str
    text: str
    entry: str
    slots: list[int]
    keep: list[np.ndarray]  # what the slots point to
    grid: tuple[int, int]
    bytes: int
    operations: int
    products: str


def array(dtype: str, *shape: int) -> np.ndarray:
    """Numbers of the short dtype, at an address that is a multiple of 64."""
    count = int(np.prod(shape))
    space = np.zeros(count * DTYPES[dtype].size + 64, np.uint8)
    start = -space.ctypes.data % 64
    values = space[start : start + count * DTYPES[dtype].size].view(DTYPES[dtype].storage)
    rng = np.random.default_rng(5)
    if DTYPES[dtype].is_float:
        values[:] = narrow(rng.standard_normal(count, dtype=np.float32), dtype)
    else:
        values.view(np.uint8)[:] = rng.integers(0, 100, values.nbytes, np.uint8)
    return values.reshape(shape)


def slot(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.ctypes.data
    if isinstance(value, float):
        return int(np.float32(value).view(np.uint32))
    return 0 if value is None else int(value)


TRITON = {"f32": "fp32", "bf16": "bf16"}
# The target with tile registers, and those that add up products of bytes in one instruction: src/device/target.cc.
TILED = "cpu:sapphirerapids"
PAIRED = ("cpu:znver4", "cpu:sapphirerapids", "cpu:cooperlake", "cpu:cascadelake")


def from_function(
    name: str, fn, dtypes: Mapping[str, str], args: Mapping[str, Any], constants: Mapping[str, Any],
    grid: tuple[int, int], bytes_: int, operations: int, products: str,
) -> Work:  # fmt: skip
    """A kernel without a declaration; `dtypes` of its pointers."""
    signature = {
        arg: "*" + TRITON[dtypes[arg]] if arg in dtypes else "fp32" if isinstance(value, float) else "i32"
        for arg, value in args.items()
    }
    divisible = {arg: 16 for arg, value in args.items() if arg in dtypes or value == value // 1 and value % 16 == 0}
    text = emit_ttir(fn, signature, constants, divisibility=divisible, optimize=True)
    keep = [value for value in args.values() if isinstance(value, np.ndarray)]
    slots = [slot(args[arg]) for arg in fn.arg_names if arg in args]
    return Work(name, text, fn.__name__, slots, keep, grid, bytes_, operations, products)


def from_declaration(
    name: str, kernel_name: str, key: Mapping[str, Any], args: Mapping[str, Any], target: str, step: Mapping[str, int]
) -> Work:
    """One of Nereid's own kernels, with the tiles that it would have and the cost that it declares."""
    kernel = registry.find(kernel_name)
    key = kernel.check_key(key)
    select = args[kernel.select] if kernel.select else 0
    choice = next(c for c in targets.choices(kernel, key, target) if c.max is None or select <= c.max)
    names = {**key, **step, **{arg: int(args[arg]) for arg in kernel.int_args}}
    count = lambda text: expr.parse(text).evaluate(names)  # noqa: E731
    products = key.get(kernel.cost.products, kernel.cost.products)
    values = [args.get(arg.name) for arg in kernel.args]
    for arg, value in zip(kernel.args, values):
        if isinstance(arg, Ptr) and value is not None:
            assert value.dtype == DTYPES[kernel.arg_dtype(arg.name, key)].storage, (name, arg.name)
    return Work(
        name, ttir.to_ttir(kernel, key, choice), ttir.entry_name(kernel), [slot(value) for value in values],
        [value for value in values if isinstance(value, np.ndarray)],
        (kernel.grid_size(key, args, choice.tiles), 1),
        count(kernel.cost.bytes), count(kernel.cost.operations), products,
    )  # fmt: skip


def limits(target: str, cores: int) -> Iterator[Work]:
    """What every core can compute and all of them can read."""
    for name, dtype, mask in (("f32", "f32", 0), ("bf16", "bf16", 0), ("i8", "i8", 127), ("i8 by 4 bits", "i8", 15)):
        size = DTYPES[dtype].size
        m, n, k, rounds, programs = 8, 32, 512 // size, 2000, 2 * cores
        if target == TILED and dtype != "f32":
            m = 32
        out_dtype = "i32" if dtype == "i8" else "f32"
        key = {"dtype": dtype, "out_dtype": out_dtype, "m": m, "n": n, "k": k, "mask": mask}
        args = {
            "x": array(dtype, m, k), "w": array(dtype, k * size // 4, n, 4 // size),
            "out": array(out_dtype, programs, m, n), "programs": programs, "rounds": rounds,
        }  # fmt: skip
        yield from_declaration(f"limit {name}", "repeated_dot", key, args, target, {})
    words = array("i32", 64 << 20)
    args = {"words": words, "sums": array("i32", words.size // 16384), "count": words.size}
    yield from_declaration("limit read", "read_words", {}, args, target, {})


def products(dtype: str, m: int, n: int, k: int) -> Work:
    bm, bn, bk = min(m, 64), min(n, 128), min(k, 128)
    group = min(m // bm, 8)
    a, b, c = array(dtype, m, k), array(dtype, k, n), array("f32", m, n)
    return from_function(
        f"matmul {dtype} {m} x {n} x {k}", matmul_kernel, {"a": dtype, "b": dtype, "c": "f32"},
        {"a": a, "b": b, "c": c, "N": n, "K": k}, {"BM": bm, "BN": bn, "BK": bk, "GROUP": group},
        ((m // bm) * (n // bn), 1), a.nbytes + b.nbytes + c.nbytes, 2 * m * n * k, dtype,
    )  # fmt: skip


def softmax(rows: int, columns: int) -> Work:
    x, out = array("f32", rows, columns), array("f32", rows, columns)
    return from_function(
        f"softmax f32 {rows} x {columns}", persistent_softmax_kernel, {"out": "f32", "x": "f32"},
        {"out": out, "x": x, "x_stride": columns, "out_stride": columns, "rows": rows, "cols": columns},
        {"BLOCK": 1 << (columns - 1).bit_length()}, (64, 1), x.nbytes + out.nbytes, 5 * rows * columns, "f32",
    )  # fmt: skip


def norm(rows: int, dim: int, target: str) -> Work:
    return from_declaration(
        f"rms_norm f32 {rows} x {dim}", "rms_norm",
        {"x_dtype": "f32", "weight_dtype": "f32", "out_dtype": "f32", "dim": dim, "terms": 1, "paired": 0, "out_stride": dim,
         "has_index": 0},
        {"x": array("f32", rows, dim), "weight": array("f32", dim), "out": array("f32", rows, dim), "rows": rows,
         "eps": 1e-5}, target, {},
    )  # fmt: skip


def prefill_attention(dtype: str, heads: int, tokens: int, dim: int) -> Work:
    q, k, v, out = (array(dtype, heads, tokens, dim) for _ in range(4))
    pairs = expr.pairs_seen(tokens, tokens, tokens)
    return from_function(
        f"attention prefill {dtype} {heads} x {tokens} x {dim}", attention_kernel,
        {"q": dtype, "k": dtype, "v": dtype, "out": dtype, "lse": "f32"},
        {"q": q, "k": k, "v": v, "out": out, "lse": array("f32", heads, tokens), "scale": dim**-0.5, "seq": tokens,
         "heads": heads}, {"BM": 64, "BN": 64, "D": dim, "CAUSAL": True}, (tokens // 64, heads),
        4 * q.nbytes, 4 * heads * pairs * dim, dtype,
    )  # fmt: skip


def decode_attention(dtype: str, sequences: int, context: int, target: str) -> Work:
    heads, kv_heads, dim, page = 32, 8, 64, 32
    pages = context // page
    count = lambda *values: np.array(values, np.int32)  # noqa: E731
    ids = np.arange(sequences, dtype=np.int32)
    cache = [array(dtype, kv_heads, sequences * pages, page, dim) for _ in range(2)]
    key = {
        "q_dtype": dtype, "cache_dtype": dtype, "out_dtype": dtype, "num_heads": heads, "num_kv_heads": kv_heads,
        "head_dim": dim, "page_size": page, "kv_pack": 1 if dtype == "f32" else 2, "q_stride": heads * dim,
        "tile_tokens": 1, "num_splits": 1, "split_pages": 1, "has_window": 0, "has_softcap": 0, "has_alibi": 0,
    }  # fmt: skip
    args = {
        "q": array(dtype, sequences, heads * dim), "k_cache": cache[0], "v_cache": cache[1], "tile_seq": ids,
        "tile_first": 0 * ids, "seq_start": ids.copy(), "seq_queries": 0 * ids + 1, "seq_context": 0 * ids + context,
        "page_table": np.random.default_rng(3).permutation(count(*range(sequences * pages))),
        "out": array(dtype, sequences, heads, dim), "tiles": sequences, "max_pages": pages, "num_pages": sequences * pages,
        "scale": dim**-0.5,
        "window": 0, "softcap": 0.0,
    }  # fmt: skip
    return from_declaration(
        f"attention decode {dtype} {sequences} at {context}", "attention", key, args, target,
        {"sequences": sequences, "queries": 1, "context": context},
    )  # fmt: skip


def quantised_row(bits: int, n: int, k: int, target: str) -> Work:
    """One row of codes through weights as Q4_1 (4 bits) and Q8_0 (8 bits) have them on this target: with scales in pairs
    where it has instructions for them, else 8 bits with signs and scales in f16."""
    paired = target in PAIRED
    has_min = int(bits == 4)
    key = {
        "x_dtype": "i8", "out_dtype": "f32", "paired_out": 0, "terms": 1, "second_from": 0, "octaves": 1, "bits": bits,
        "code_dtype": "u8" if has_min or paired else "i8", "zero": 128 if bits == 8 and paired else 0, "group": 32,
        "scale_dtype": "i32" if paired else "f16", "has_min": has_min, "n": n, "k": k, "x_stride": k,
        "out_stride": n, "has_bias": 0, "residual": 0, "gate": 0,
    }  # fmt: skip
    panels, groups = n // 32, k // 32
    scales = ("i32", panels, groups // 2 + 1, 32) if paired else ("f16", panels, groups, 32)
    mins = ("i32", panels, groups // 2, 32) if paired else scales
    args = {
        "x": array("i8", 1, 1, k), "x_scales": array("f32", 1, groups), "x_sums": array("f32", 1, groups * 2),
        "x_pairs": array("i32", 1, pair_words(groups, 1)) if paired else None,
        "codes": array("i32", panels, k * bits // 32, 32), "scales": array(*scales), "mins": array(*mins) if has_min else None,
        "out": array("f32", 1, n), "rows": 1,
    }  # fmt: skip
    return from_declaration(f"int{bits} row {n} x {k}", "linear", key, args, target, {})


def all_work(target: str) -> Iterator[Callable[[], Work]]:
    for dtype in ("f32", "bf16"):
        for m, n, k in ((512,) * 3, (1024,) * 3, (2048,) * 3, (16, 2048, 2048), (64, 2048, 512), (2048, 64, 2048)):
            yield lambda dtype=dtype, shape=(m, n, k): products(dtype, *shape)
    yield lambda: softmax(64, 1024)
    yield lambda: softmax(16384, 2048)
    yield lambda: norm(64, 1024, target)
    yield lambda: norm(16384, 2048, target)
    for dtype in ("f32", "bf16"):
        yield lambda dtype=dtype: prefill_attention(dtype, 8, 1024, 64)
        yield lambda dtype=dtype: decode_attention(dtype, 32, 2048, target)
    for bits in (4, 8):
        yield lambda bits=bits: quantised_row(bits, 131072, 4096, target)  # far more than caches hold


class Runner:
    """Threads, each on a core of its own, that run parts of a work's programs."""

    def __init__(self, compiler: Path, cpu: str, folder: Path) -> None:
        self.compiler, self.cpu, self.folder = compiler, cpu, folder
        tile_registers.allow()
        self.cores = sorted(os.sched_getaffinity(0))

    def load(self, work: Work):
        path = self.folder / f"{abs(hash(work.name))}.so"
        compile_ttir(self.compiler, work.text, path, self.cpu)
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            sys.exit(f"code for --cpu {self.cpu} does not load here: {error}")
        entry = getattr(library, work.entry)
        entry.restype = None
        return entry, KernelInfo.in_dll(library, work.entry + "_info")

    def seconds(self, work: Work) -> float:
        """Of one run of all programs."""
        entry, info = self.load(work)
        programs = work.grid[0] * work.grid[1]
        slots = (ctypes.c_uint64 * len(work.slots))(*work.slots)
        grid = (ctypes.c_uint32 * 3)(*work.grid, 1)
        ends = [programs * at // len(self.cores) for at in range(len(self.cores) + 1)]

        def run(at: int, times: int, spent: list[float], barrier: threading.Barrier) -> None:
            os.sched_setaffinity(0, {self.cores[at]})  # of this thread
            scratch = np.zeros(info.scratch_bytes + 64, np.uint8)
            place = ctypes.c_void_p(-(-scratch.ctypes.data // 64) * 64)
            begin, end = ctypes.c_uint32(ends[at]), ctypes.c_uint32(ends[at + 1])
            barrier.wait()
            start = time.perf_counter()
            for _ in range(times):
                entry(slots, begin, end, grid, place)
            spent[at] = (time.perf_counter() - start) / times

        def measure(times: int) -> float:
            spent = [0.0] * len(self.cores)
            barrier = threading.Barrier(len(self.cores))
            threads = [
                threading.Thread(target=run, args=(at, times, spent, barrier)) for at in range(len(self.cores))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return max(spent)

        measure(1)
        times = max(1, int(SECONDS / measure(1)))
        return min(measure(times) for _ in range(TRIES))


def cpu_of_program() -> str:
    """The first target that `nereid devices` has for this CPU."""
    targets = re.search(r"^cpu .*targets: cpu:(\S+)", answer([str(NEREID), "devices"]), re.MULTILINE)
    return targets[1] if targets else sys.exit(f"{NEREID} devices: no target of the cpu device")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cc", type=Path, default=ROOT / "build" / "release" / "nereid-cc", help="the compiler")
    parser.add_argument("--cpu", help="compile for this CPU, which must be able to run it (default: what the program takes here)")
    parser.add_argument("-k", default="", help="only what has this in its name")
    flags = parser.parse_args()
    flags.cpu = flags.cpu or cpu_of_program()
    with tempfile.TemporaryDirectory(prefix="nereid-bench-") as folder:
        runner = Runner(flags.cc, flags.cpu, Path(folder))
        target = objects.toolchain(f"cpu:{flags.cpu}", flags.cc, None).target
        limit: dict[str, float] = {}
        for work in limits(target, len(runner.cores)):
            seconds = runner.seconds(work)
            limit[work.name.removeprefix("limit ")] = (work.operations or work.bytes) / seconds
        # Without instructions for it, bf16 is made of f32.
        limit["bf16"] = max(limit["bf16"], limit["f32"])
        what = ", ".join(f"{name} {value / 1e9:.0f} GOP/s" for name, value in limit.items() if name != "read")
        print(f"{len(runner.cores)} cores, limits: {what}, read {limit['read'] / 1e9:.1f} GB/s")
        print(f"{'':<36} {'us':>10} {'GOP/s':>8} {'GB/s':>8} {'share':>6} of")
        for make in all_work(target):
            work = make()
            if flags.k not in work.name:
                continue
            seconds = runner.seconds(work)
            least = {
                work.products: work.operations / limit[work.products],
                "read": work.bytes / limit["read"],
            }
            binding = max(least, key=least.__getitem__)
            print(
                f"{work.name:<36} {1e6 * seconds:>10.1f} {work.operations / seconds / 1e9:>8.1f} "
                f"{work.bytes / seconds / 1e9:>8.1f} {100 * least[binding] / seconds:>5.1f}% {binding}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except objects.CompileError as error:
        sys.exit(str(error))
