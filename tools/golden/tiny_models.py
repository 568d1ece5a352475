"""Tiny seeded models of every supported architecture, for tests of loading and of the whole forward pass.

    python tools/golden/tiny_models.py tests/models/data

writes `<name>/` (safetensors directories) and `<name>.gguf` files, each with `<name>.golden.json`: logits and
log-probabilities that `transformers` computes in F32 from the stored weights. Needs torch, transformers,
gguf, tokenizers.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tiny_gguf import GGUF_VARIANTS, write_gguf

VOCAB = 320
SPECIAL_TOKENS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "the quick brown fox jumps over the lazy dog and the small cat sleeps in the warm sun",
    "def main():\n    return 0\n\nfor index in range(10):\n    print(index)\n",
    "one two three four five six seven eight nine ten eleven twelve",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SEQUENCE_LENGTHS = (1, 17, 70)
GREEDY_TOKENS = 16

COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 1000.0,
    "factor": 4.0,
    "beta_fast": 8.0,
    "beta_slow": 1.0,
    "original_max_position_embeddings": 64,
}


@dataclass(frozen=True)
class TinyModel:
    model: type[PreTrainedModel]
    config: type
    dtype: torch.dtype
    shards: int = 1
    options: dict[str, Any] = field(default_factory=dict)


DIRECTORIES: dict[str, TinyModel] = {
    "tiny_llama": TinyModel(
        LlamaForCausalLM, LlamaConfig, torch.bfloat16, options={"rope_parameters": LLAMA3_ROPE}
    ),
    "tiny_llama_yarn": TinyModel(
        LlamaForCausalLM,
        LlamaConfig,
        torch.float32,
        options={
            "rope_parameters": YARN_ROPE,
            "intermediate_size": 64,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
        },
    ),
    "tiny_mistral": TinyModel(
        MistralForCausalLM,
        MistralConfig,
        torch.float16,
        shards=2,
        options={"sliding_window": 8, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    ),
    "tiny_qwen2": TinyModel(
        Qwen2ForCausalLM,
        Qwen2Config,
        torch.bfloat16,
        options={
            "tie_word_embeddings": True,
            "use_sliding_window": True,
            "sliding_window": 12,
            "max_window_layers": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        },
    ),
    "tiny_qwen3": TinyModel(
        Qwen3ForCausalLM,
        Qwen3Config,
        torch.bfloat16,
        options={
            "head_dim": 24,
            "num_attention_heads": 6,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6},
        },
    ),
}


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


@torch.no_grad()
def randomise(model: PreTrainedModel, seed: int) -> None:
    """Weights large enough that positions and layers matter for the result."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            parameter.copy_(1.0 + 0.2 * noise)
        elif name.endswith("bias"):
            parameter.copy_(0.3 * noise)
        elif "embed_tokens" in name:
            parameter.copy_(0.5 * noise)
        else:
            parameter.copy_(1.4 * noise / parameter.shape[-1] ** 0.5)


@torch.no_grad()
def golden(model: PreTrainedModel, source: str) -> dict[str, Any]:
    """Sequences with log-probabilities of their tokens, full logits at a few positions, and what follows."""
    model = model.float().eval()
    generator = torch.Generator().manual_seed(7)
    cases = []
    for length in SEQUENCE_LENGTHS:
        ids = torch.randint(len(SPECIAL_TOKENS), VOCAB, (length,), generator=generator).tolist()
        logits = model(torch.tensor([ids])).logits[0]
        logprobs = logits.log_softmax(-1)
        positions = sorted({0, length // 2, length - 1})
        continued = list(ids)
        for _ in range(GREEDY_TOKENS):
            continued.append(int(model(torch.tensor([continued])).logits[0, -1].argmax()))
        cases.append(
            {
                "token_ids": ids,
                "logprobs": [None]
                + [round(float(logprobs[at - 1, ids[at]]), 5) for at in range(1, length)],
                "positions": positions,
                "logits": [[round(float(v), 5) for v in logits[at]] for at in positions],
                "greedy": continued[length:],
            }
        )
    packages = ["torch", "transformers", "tokenizers", "gguf"]
    versions = {package: importlib.metadata.version(package) for package in packages}
    return {"made_from": source, "versions": versions, "dtype": "float32", "cases": cases}


def write_golden(path: Path, content: dict[str, Any]) -> None:
    head = {key: value for key, value in content.items() if key != "cases"}
    body = ",\n".join(json.dumps(case) for case in content["cases"])
    text = json.dumps(head)[:-1] + f', "cases": [\n{body}\n]}}\n'
    json.loads(text)
    path.write_text(text, encoding="utf-8")


def write_directory(out: Path, name: str, tiny: TinyModel, seed: int, tokenizer: Tokenizer) -> PreTrainedModel:
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    model = tiny.model(tiny.config(**{**COMMON, **tiny.options}))
    randomise(model, seed)
    size = sum(p.numel() for p in model.parameters()) * tiny.dtype.itemsize
    shard = size if tiny.shards == 1 else size // tiny.shards + 4096
    model.to(tiny.dtype).save_pretrained(folder, max_shard_size=shard + 1024)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
    stored = tiny.model.from_pretrained(folder, dtype=torch.float32)
    write_golden(out / f"{name}.golden.json", golden(stored, name))
    return stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    models_made: dict[str, PreTrainedModel] = {}
    for seed, (name, tiny) in enumerate(DIRECTORIES.items()):
        models_made[name] = write_directory(options.output, name, tiny, seed + 1, tokenizer)
        print(name)
    wide = LlamaForCausalLM(
        LlamaConfig(
            **{
                **COMMON,
                "hidden_size": 256,
                "intermediate_size": 64,
                "head_dim": 16,
                "tie_word_embeddings": True,
                "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            }
        )
    )
    randomise(wide, 99)
    models_made["wide_llama"] = wide
    for name, variant in GGUF_VARIANTS.items():
        path = options.output / f"{name}.gguf"
        model = write_gguf(path, models_made[variant.source], variant, tokenizer, CHAT_TEMPLATE)
        write_golden(options.output / f"{name}.golden.json", golden(model, f"{name}.gguf"))
        print(name, path.stat().st_size)


if __name__ == "__main__":
    main()
