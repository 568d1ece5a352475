"""What the default numerics cost: mean |difference of log-probability| from the F32 evaluation of the same file.

    .venv/bin/python bench/quality.py MODEL.gguf [--device cpu:x86-64-v3] [--dtype auto]

F32 continues each prompt greedily; the difference is that of the tokens it chose, once computed as a part of the prompt
and once one by one, as generated tokens are. Limits: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from program import NEREID, answer

TOKENS = 100  # after each prompt
PROMPTS = (
    "The capital of France is",
    "Once upon a time, in a small village,",
    "The theory of relativity states that",
    "To bake a good loaf of bread, you",
    "In 1969, the first",
    "Photosynthesis is the process by which",
    "The best way to learn a new language is",
    "def fibonacci(n):",
    "The largest ocean on Earth",
    "A balanced diet includes",
    "Shakespeare wrote many plays, including",
    "The human heart",
    "When the sun sets over the mountains,",
    "Computers represent numbers",
    "Climate change is caused by",
)


def answers(command: list[str], stdin: str = "") -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer(command, stdin).splitlines()]


def request(text: dict[str, Any], generated: bool) -> dict[str, Any]:
    prompt = text["prompt_token_ids"]
    line = {"token_ids": prompt + text["token_ids"]}
    return {**line, "generated_from": len(prompt)} if generated else line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--device", default="auto", help="cpu:TARGET: the processor as if it were an older one")
    parser.add_argument("--dtype", default="auto", help="the numerics to set beside F32")
    parser.add_argument("--program", type=Path, default=NEREID)
    flags = parser.parse_args()
    common = ["-m", flags.model, "--device", flags.device]
    texts = []
    for prompt in PROMPTS:
        run = [str(flags.program), "run", *common, "--dtype", "f32", "--temperature", "0", "--json", "-n", str(TOKENS), "--raw", prompt]
        texts += answers(run)
    score = [str(flags.program), "eval", *common, "--input", "-", "--dtype"]
    lines = {
        name: "".join(json.dumps(request(text, name == "generated")) + "\n" for text in texts) for name in ("prompt", "generated")
    }
    references = answers([*score, "f32"], lines["prompt"])
    for name, of_name in lines.items():
        differences = [
            abs(ours - exact)
            for text, default, reference in zip(texts, answers([*score, flags.dtype], of_name), references)
            for ours, exact in list(zip(default["logprobs"], reference["logprobs"]))[len(text["prompt_token_ids"]) :]
        ]
        mean, largest = sum(differences) / len(differences), max(differences)
        print(f"{flags.model}, as {name}: {len(differences)} tokens, mean |difference| {mean:.4f}, largest {largest:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
