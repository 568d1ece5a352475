"""Nereid beside llama.cpp and OpenVINO GenAI on the CPU, in turn: the tables of docs/benchmarks.md, made again.

Needs a Python that has the peers; how to install them: docs/benchmarks.md, "The peers".

    python bench/beside_peers.py one MODEL.gguf [--rounds 5] [--openvino-model F16.gguf] [--peers llama.cpp,openvino]
    python bench/beside_peers.py many MODEL.gguf

one: a prompt of 512 tokens and 64 tokens after it. many: 8 and 32 sequences of 128 tokens, 64 tokens out. Every program
takes its turn in every round; a figure is the best of a round's tries. Then for each work the best and the median of each
program's rounds, tokens per second, and the median of Nereid's ratio to the peer.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
from pathlib import Path

from peers import MANY_PROMPT, MANY_REPLY, MODULES, PROMPT, REPLY, SEQUENCES, TRIES
from program import NEREID, answer


def nereid(program: Path, work: str, model: str, threads: int) -> dict[str, float]:
    command = [str(program), "bench", "-m", model, "--threads", str(threads), "--no-limits", "--json"]
    if work == "one":
        command += ["--prefill", PROMPT, "--decode", REPLY, "--context", PROMPT, "--repeat", TRIES]
    else:
        batch = ",".join(map(str, SEQUENCES))
        command += ["--batch", batch, "--prefill", MANY_PROMPT, "--decode", MANY_REPLY, "--context", MANY_PROMPT, "--repeat", 2]
    rows = json.loads(answer([str(part) for part in command]))["results"]
    if work == "one":
        return {"prefill": rows[0]["prefill_tokens_per_second"], "decode": rows[0]["decode_tokens_per_second"]}
    return {
        str(row["batch"]): MANY_REPLY
        / (MANY_PROMPT / row["prefill_tokens_per_second"] + MANY_REPLY / row["decode_tokens_per_second"])
        for row in rows
    }


def peer(name: str, work: str, model: str, threads: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).with_name("peers.py")), name, work, model, str(threads)]
    return json.loads(answer(command).splitlines()[-1])


def summary(rounds: list[dict[str, dict[str, float]]], names: list[str]) -> None:
    for work in rounds[0]["nereid"]:
        print(f"{work}: tokens per second, best and median of {len(rounds)} rounds")
        for name in names:
            values = [row[name][work] for row in rounds]
            line = f"  {name:<10} {max(values):8.1f} {statistics.median(values):8.1f}"
            if name != "nereid":
                ratios = [row["nereid"][work] / row[name][work] for row in rounds]
                each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
                line += f"   ratio {statistics.median(ratios):.2f} ({each})"
            print(line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=("one", "many"))
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peers", default="llama.cpp,openvino", help="those to measure, by commas")
    parser.add_argument("--openvino-model", help="another file for OpenVINO, which cannot read BF16")
    parser.add_argument("--program", type=Path, default=NEREID)
    flags = parser.parse_args()
    peers = [name for name in flags.peers.split(",") if name]
    if flags.rounds < 1:
        parser.error(f"--rounds: found {flags.rounds}, expected 1 or more")
    for name in peers:
        if name not in MODULES:
            parser.error(f"--peers: found {name}, expected {' or '.join(MODULES)}")
        if importlib.util.find_spec(MODULES[name]) is None:
            parser.error(f"--peers: {name} needs the Python package {MODULES[name]}: docs/benchmarks.md, \"The peers\"")
    models = {"openvino": flags.openvino_model or flags.model}
    rounds = []
    for _ in range(flags.rounds):
        row = {"nereid": nereid(flags.program, flags.work, flags.model, flags.threads)}
        for name in peers:
            row[name] = peer(name, flags.work, models.get(name, flags.model), flags.threads)
        rounds.append(row)
        print(json.dumps({name: {k: round(v, 1) for k, v in made.items()} for name, made in row.items()}), flush=True)
    summary(rounds, ["nereid", *peers])
    return 0


if __name__ == "__main__":
    sys.exit(main())
