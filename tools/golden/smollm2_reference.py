"""Writes the reference evaluation of SmolLM2-135M-Instruct Q4_1 in F32.

The GGUF file is dequantised by `transformers`, so the figures are those of an exact F32 evaluation of
the quantised weights. Needs: torch, transformers, gguf. Usage:

    python tools/golden/smollm2_reference.py MODEL.gguf tests/models/data/smollm2_f32.json
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
from pathlib import Path

import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer

from prompts import CHATS, PROMPTS

NEW_TOKENS = 48


def chat_template(path: Path) -> str:
    return GGUFReader(path).get_field("tokenizer.chat_template").contents()


@torch.no_grad()
def evaluate(model: torch.nn.Module, prompt_ids: list[int]) -> dict[str, object]:
    """Greedy continuation of NEW_TOKENS tokens, end-of-sequence tokens included."""
    output = model(torch.tensor([prompt_ids]), use_cache=True)
    prompt_logprobs = output.logits[0].log_softmax(-1)
    targets = torch.tensor(prompt_ids[1:], dtype=torch.long)
    scored = prompt_logprobs[:-1].gather(1, targets[:, None])[:, 0]
    token_ids: list[int] = []
    logprobs: list[float] = []
    runner_up: list[float] = []
    for _ in range(NEW_TOKENS):
        best = output.logits[0, -1].log_softmax(-1).topk(2)
        token_ids.append(int(best.indices[0]))
        logprobs.append(round(float(best.values[0]), 6))
        runner_up.append(round(float(best.values[1]), 6))
        output = model(
            torch.tensor([[token_ids[-1]]]), past_key_values=output.past_key_values, use_cache=True
        )
    return {
        "prompt_token_ids": prompt_ids,
        "prompt_logprobs": [None] + [round(float(value), 5) for value in scored],
        "token_ids": token_ids,
        "logprobs": logprobs,
        "runner_up_logprobs": runner_up,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(2)
    folder, name = str(options.model.parent), options.model.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    model.eval()
    template = chat_template(options.model)

    cases: list[dict[str, object]] = []
    for text in PROMPTS:
        ids = tokenizer(text)["input_ids"]
        cases.append({"prompt": text, **evaluate(model, ids)})
        print(len(cases), len(ids), flush=True)
    for messages in CHATS:
        text = tokenizer.apply_chat_template(
            messages, chat_template=template, add_generation_prompt=True, tokenize=False
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        cases.append({"messages": messages, "text": text, **evaluate(model, ids)})
        print(len(cases), len(ids), flush=True)

    packages = ["torch", "transformers", "tokenizers", "gguf"]
    head = {
        "model": name,
        "model_sha256": hashlib.sha256(options.model.read_bytes()).hexdigest(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "dtype": "float32",
        "greedy": True,
        "ignore_eos": True,
    }
    body = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    text = json.dumps(head, ensure_ascii=False)[:-1] + f', "cases": [\n{body}\n]}}\n'
    json.loads(text)
    options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
