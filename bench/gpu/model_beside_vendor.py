"""A whole model beside the vendor's library: the table "A whole model" of docs/devices.md, made again.

Needs PyTorch with a GPU and `nereid bench`. In turn, several rounds: the program's prefill of a prompt with made-up
weights, and the same layers' matrix products and attention alone in PyTorch, as one graph over weights of their own:
no norms, RoPE, activations, residuals or cache. What the program leaves out in its last layer (rows nobody reads) is
left out there too. Then decode, whose bytes of weights and KV cache a second are set beside a copy.

    python bench/gpu/model_beside_vendor.py bench/models/llama-3.1-8b [--pack FILE] [--program build/release/nereid]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from linear_beside_vendor import copy_rate, graph_of
from torch.nn.attention import SDPBackend, sdpa_kernel


@dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int
    intermediate: int
    vocab: int
    heads: int
    kv_heads: int
    head_dim: int

    @classmethod
    def read(cls, folder: Path) -> Shape:
        config = json.loads((folder / "config.json").read_text())
        heads = config["num_attention_heads"]
        return cls(
            config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"], config["vocab_size"],
            heads, config.get("num_key_value_heads", heads),
            config.get("head_dim") or config["hidden_size"] // heads,
        )  # fmt: skip

    @property
    def weight_bytes(self) -> int:
        """Of bf16 weights that a decode step reads: all but the embedding."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        layer = (q + 2 * kv + q + 3 * self.intermediate) * self.hidden
        return 2 * (self.layers * layer + self.vocab * self.hidden)

    def cache_bytes(self, tokens: int) -> int:
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim * tokens


def random(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.bfloat16, device="cuda").uniform_(-0.05, 0.05)


def milliseconds(graph: torch.cuda.CUDAGraph, replays: int) -> float:
    """Median of `replays`, after one that does not count."""
    times = []
    for _ in range(replays + 1):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[1:])


class Vendor:
    """Products and attention of a prompt of `tokens`."""

    def __init__(self, shape: Shape, tokens: int) -> None:
        self.shape, self.tokens = shape, tokens
        q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.sizes = [(q + 2 * kv, shape.hidden), (shape.hidden, q), (shape.intermediate, shape.hidden),
                      (shape.intermediate, shape.hidden), (shape.hidden, shape.intermediate)]  # fmt: skip
        self.weights = [[random(n, k) for n, k in self.sizes] for _ in range(shape.layers)]
        self.inputs = {k: random(tokens, k) for _, k in self.sizes}
        self.outputs = {n: random(tokens, n) for n, _ in self.sizes}
        self.q = random(1, shape.heads, tokens, shape.head_dim)
        self.k, self.v = (random(1, shape.kv_heads, tokens, shape.head_dim) for _ in range(2))
        self.attend, self.attention_name = self.fastest_attention()

    def fastest_attention(self) -> tuple[Callable[[], torch.Tensor], str]:
        best: tuple[float, Callable[[], torch.Tensor], str] | None = None
        for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):

            def attend(backend: SDPBackend = backend) -> torch.Tensor:
                with sdpa_kernel(backend):
                    return F.scaled_dot_product_attention(self.q, self.k, self.v, is_causal=True, enable_gqa=True)

            try:
                time = milliseconds(graph_of(attend), 5)
            except RuntimeError as error:
                print(f"{backend.name}: not here ({str(error).splitlines()[0]})")
                continue
            if best is None or time < best[0]:
                best = (time, attend, backend.name)
        assert best is not None
        return best[1], best[2]

    def products(self, layer: int) -> None:
        wanted = self.sizes if layer + 1 < self.shape.layers else self.sizes[:1]
        for weight, (n, k) in zip(self.weights[layer], wanted):
            torch.mm(self.inputs[k], weight.T, out=self.outputs[n])

    def graphs(self) -> tuple[torch.cuda.CUDAGraph, torch.cuda.CUDAGraph, torch.cuda.CUDAGraph]:
        """All of it, the products, the attention."""
        layers = range(self.shape.layers)

        def all_of_it() -> None:
            for layer in layers:
                self.products(layer)
                self.attend()

        def products() -> None:
            for layer in layers:
                self.products(layer)

        def attention() -> None:
            for _ in layers:
                self.attend()

        return graph_of(all_of_it), graph_of(products), graph_of(attention)


def bench(options: argparse.Namespace, *flags: str) -> dict[str, float]:
    command = [options.program, "bench", "-m", options.model, "--load-format", "dummy", "--device", "cuda", "--json",
               "--no-limits"]  # fmt: skip
    if options.pack:
        command += ["--pack", options.pack]
    done = subprocess.run([*map(str, command), *flags], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)["results"][0]


def prefill_rounds(options: argparse.Namespace, shape: Shape) -> None:
    vendor = Vendor(shape, options.prefill)
    whole, products, attention = vendor.graphs()
    ratios = []
    for _ in range(options.rounds):
        flags = ["--prefill", str(options.prefill), "--decode", "0", "--repeat", "3", *options.bench_flag]
        ours = options.prefill / bench(options, *flags)["prefill_tokens_per_second"] * 1e3
        theirs = [milliseconds(graph, 3) for graph in (whole, products, attention)]
        ratios.append(theirs[0] / ours)
        print(
            f"prefill of {options.prefill}: ours {ours:.1f} ms; theirs {theirs[0]:.1f} ms (products alone "
            f"{theirs[1]:.1f}, attention alone {theirs[2]:.1f}, {vendor.attention_name}); theirs / ours {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"theirs / ours, median of {options.rounds}: {statistics.median(ratios):.3f}")


def decode(options: argparse.Namespace, shape: Shape) -> None:
    copy = copy_rate()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, a copy runs at {copy / 1e12:.2f} TB/s")
    for batch in options.batch:
        flags = ["--prefill", "0", "--decode", str(options.decode), "--context", str(options.context)]
        speed = bench(options, *flags, "--batch", str(batch))["decode_tokens_per_second"]
        tokens = options.context + (options.decode - 1) / 2
        rate = speed / batch * (shape.weight_bytes + batch * shape.cache_bytes(1) * tokens)
        print(
            f"decode, {batch} sequences at {options.context}: {speed:.1f} tokens/s, {rate / 1e12:.2f} TB/s, "
            f"{rate / copy:.3f} of the copy",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder with config.json")
    parser.add_argument("--program", type=Path, default=Path("build/release/nereid"))
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--prefill", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--bench-flag", action="append", default=[], help="for prefill, such as --max-step-tokens=8192")
    options = parser.parse_args()
    shape = Shape.read(options.model)
    decode(options, shape)
    if options.rounds:
        prefill_rounds(options, shape)


if __name__ == "__main__":
    main()
