"""Linear layers beside the vendor's library: the table of docs/devices.md, made again.

Needs PyTorch with a GPU, and the folder that `python -m kernels.tune linear_rows --target cuda:90 --today --prepare DIR`
and kernel_times left (docs/kernels.md). PyTorch's products run here, over the same shapes, as graphs of 20 products (6
from 2048 rows on) that go through more weights than the L2 holds, on random values; medians of 7 samples of at least
3 ms or one graph.

    python bench/gpu/linear_beside_vendor.py DIR [--out FILE]

Prints microseconds of ours, and in brackets the vendor's over ours: 1 and more is at least as fast.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch

COLD_BYTES = 192 << 20
SAMPLE_MILLISECONDS = 3


def graph_of(body) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        body()  # handles and workspaces are made here
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    return graph


def microseconds(body, launches: int) -> float:
    """Of one of the `launches` that `body` makes."""
    graph = graph_of(body)
    replays, times = 1, []
    for sample in range(9):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(replays):
            graph.replay()
        end.record()
        end.synchronize()
        milliseconds = begin.elapsed_time(end)
        if sample == 0:  # warms up, and tells how many replays a sample has
            replays = min(50, max(1, int(SAMPLE_MILLISECONDS / milliseconds)))
        elif sample > 1:
            times.append(milliseconds * 1e3 / launches / replays)
    return statistics.median(times)


def vendor(rows: int, n: int, k: int, products: int) -> float:
    """x [rows, k] times `products` weights [n, k], bf16."""
    copies = max(1, min(20, COLD_BYTES // (n * k * 2 * products) + 1))
    launches = 6 if rows >= 2048 else 20
    x = torch.empty(rows, k, dtype=torch.bfloat16, device="cuda").uniform_(-1, 1)
    weights = [
        torch.empty(n, k, dtype=torch.bfloat16, device="cuda").uniform_(-1, 1)
        for _ in range(copies * products)
    ]
    out = torch.empty(rows, n, dtype=torch.bfloat16, device="cuda")

    def body() -> None:
        for launch in range(launches):
            for product in range(products):
                weight = weights[(launch * products + product) % len(weights)]
                torch.mm(x, weight.T, out=out)

    return microseconds(body, launches)


def copy_rate() -> float:
    """Bytes read and written a second by the simplest kernel that does both."""
    source = torch.empty(1 << 28, dtype=torch.float32, device="cuda").uniform_()
    target = torch.empty_like(source)

    def body() -> None:
        for _ in range(4):
            torch.mul(source, 1.5, out=target)

    return 8 * source.numel() / microseconds(body, 4) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="the figures, as JSON")
    options = parser.parse_args()
    jobs = json.loads((options.folder / "jobs.json").read_text())["jobs"]
    times = json.loads((options.folder / "times.json").read_text())
    print(f"{times['name']}, PyTorch {torch.__version__}, a copy runs at {copy_rate() / 1e12:.2f} TB/s")
    figures: dict[str, dict[int, tuple[float, float]]] = {}
    for job, timed in zip(jobs, times["jobs"]):
        ours = [time["us"] for time in timed["times"] if "us" in time]
        key = job["key"]
        if not ours or "weight_dtype" not in key:
            continue
        theirs = vendor(job["select"], key["n"], key["k"], 2 if key["gate"] else 1)
        figures.setdefault(job["shape"], {})[job["select"]] = (min(ours), theirs)
    columns = sorted({rows for row in figures.values() for rows in row})
    print("| weights | " + " | ".join(map(str, columns)) + " |")
    print("| --- |" + " --- |" * len(columns))
    for shape, row in figures.items():
        cells = [f"{row[c][0]:.4g} ({row[c][1] / row[c][0]:.2f})" if c in row else "" for c in columns]
        print(f"| {shape} | " + " | ".join(cells) + " |")
    if options.out:
        options.out.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
