"""Tiny models with 8-bit float weights, as the folders of Hugging Face hold them, with expected results.

    python tools/golden/tiny_fp8.py tests/models/data

Rounding to e4m3, files and the forward pass (float64) are NumPy's alone: nothing of them is shared with the program
or its kernels. The tokenizer is that of tiny_llama, which has to be there.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

VOCAB, SPECIAL_TOKENS = 320, 4  # of tiny_llama's tokenizer
SEQUENCE_LENGTHS = (1, 17, 70)
GREEDY_TOKENS = 16
BLOCK = 128
LARGEST = 448.0


@dataclass(frozen=True)
class TinyFp8:
    scheme: str  # tensor, channel, block
    hidden: int
    intermediate: int
    head_dim: int
    tied: bool
    scale_dtype: str
    quantization: dict[str, Any]


def compressed(strategy: str) -> dict[str, Any]:
    weights = {"num_bits": 8, "type": "float", "strategy": strategy, "symmetric": True, "dynamic": False}
    inputs = {"num_bits": 8, "type": "float", "strategy": "token", "symmetric": True, "dynamic": True}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None}
    return {
        "quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {"group_0": group},
        "ignore": ["lm_head"], "kv_cache_scheme": None, "quantization_status": "compressed",
    }  # fmt: skip


MODELS = {
    "tiny_llama_fp8_block": TinyFp8("block", 144, 136, 32, True, "F32", {
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK],
    }),
    "tiny_llama_fp8_channel": TinyFp8("channel", 64, 96, 16, False, "BF16", compressed("channel")),
    "tiny_llama_fp8_tensor": TinyFp8("tensor", 64, 96, 16, False, "F32", {
        "quant_method": "fp8", "activation_scheme": "static", "ignored_layers": ["lm_head"],
    }),
}  # fmt: skip
HEADS, KV_HEADS, LAYERS, EPS, THETA = 4, 2, 2, 1e-5, 10000.0


def e4m3_values() -> np.ndarray:
    """Of codes 0 to 126, ascending."""
    small = [mantissa * 2.0**-9 for mantissa in range(8)]
    return np.array(small + [(8 + m) * 2.0 ** (e - 10) for e in range(1, 16) for m in range(8)][:119])


def to_e4m3(values: np.ndarray) -> np.ndarray:
    numbers = e4m3_values()
    distance = np.abs(np.abs(values)[..., None] - numbers)
    code = distance.argmin(axis=-1)  # values are random: no ties
    return (code | np.where(values < 0, 128, 0)).astype(np.uint8)


def from_e4m3(codes: np.ndarray) -> np.ndarray:
    return np.where(codes >= 128, -1.0, 1.0) * e4m3_values()[codes & 127]


def bf16_bits(values: np.ndarray) -> np.ndarray:
    """Cut, not rounded: what is stored is what is used."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def bf16_values(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


class Folder:
    """Tensors of a safetensors file, and their values."""

    def __init__(self, model: TinyFp8, seed: int) -> None:
        self.model = model
        self.rng = np.random.default_rng(seed)
        self.stored: dict[str, tuple[str, list[int], bytes]] = {}
        self.values: dict[str, np.ndarray] = {}

    def dense(self, name: str, values: np.ndarray) -> None:
        bits = bf16_bits(values)
        self.stored[name] = ("BF16", list(values.shape), bits.tobytes())
        self.values[name] = bf16_values(bits)

    def scales_of(self, weight: np.ndarray) -> np.ndarray:
        n, k = weight.shape
        if self.model.scheme == "tensor":
            return np.abs(weight).max().reshape(()) / LARGEST
        if self.model.scheme == "channel":
            return np.abs(weight).max(axis=1, keepdims=True) / LARGEST
        parts = [[np.abs(weight[r : r + BLOCK, c : c + BLOCK]).max() for c in range(0, k, BLOCK)] for r in range(0, n, BLOCK)]
        return np.array(parts) / LARGEST

    def linear(self, name: str, n: int, k: int) -> None:
        weight = 1.4 * self.rng.standard_normal((n, k)) / k**0.5
        # Rows and blocks of different sizes: a scale in the wrong place shows.
        weight *= np.repeat(np.exp(0.5 * self.rng.standard_normal(-(-n // 16))), 16)[:n, None]
        scales = self.scales_of(weight)
        if self.model.scale_dtype == "BF16":
            stored = bf16_bits(scales)
            scales = bf16_values(stored)
        else:
            stored = scales.astype(np.float32)
            scales = stored.astype(np.float64)
        wide = scales
        if self.model.scheme == "block":
            wide = np.repeat(np.repeat(scales, BLOCK, 0), BLOCK, 1)[:n, :k]
        codes = to_e4m3(np.clip(weight / wide, -LARGEST, LARGEST))
        suffix = "weight_scale_inv" if self.model.scheme == "block" else "weight_scale"
        self.stored[f"{name}.weight"] = ("F8_E4M3", [n, k], codes.tobytes())
        self.stored[f"{name}.{suffix}"] = (self.model.scale_dtype, list(scales.shape), stored.tobytes())
        if self.model.quantization.get("activation_scheme") == "static":
            self.stored[f"{name}.input_scale"] = ("F32", [], np.float32(0.02).tobytes())
        self.values[f"{name}.weight"] = from_e4m3(codes) * wide

    def fill(self) -> None:
        m = self.model
        noise = self.rng.standard_normal
        self.dense("model.embed_tokens.weight", 0.5 * noise((VOCAB, m.hidden)))
        for layer in range(LAYERS):
            at = f"model.layers.{layer}."
            self.dense(at + "input_layernorm.weight", 1 + 0.2 * noise(m.hidden))
            self.dense(at + "post_attention_layernorm.weight", 1 + 0.2 * noise(m.hidden))
            for part, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
                self.linear(f"{at}self_attn.{part}_proj", heads * m.head_dim, m.hidden)
            self.linear(at + "self_attn.o_proj", m.hidden, HEADS * m.head_dim)
            self.linear(at + "mlp.gate_proj", m.intermediate, m.hidden)
            self.linear(at + "mlp.up_proj", m.intermediate, m.hidden)
            self.linear(at + "mlp.down_proj", m.hidden, m.intermediate)
        self.dense("model.norm.weight", 1 + 0.2 * noise(m.hidden))
        if not m.tied:
            self.dense("lm_head.weight", 1.4 * noise((VOCAB, m.hidden)) / m.hidden**0.5)

    def write(self, path: Path) -> None:
        header: dict[str, Any] = {}
        end = 0
        for name, (dtype, shape, data) in sorted(self.stored.items()):
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
            end += len(data)
        text = json.dumps(header).encode()
        data = b"".join(data for _, (_, _, data) in sorted(self.stored.items()))
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPS) * weight


def rotate(x: np.ndarray) -> np.ndarray:
    """[positions, heads, head_dim]; pairs (i, i + head_dim / 2)."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None] * THETA ** (-np.arange(half) / half)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)


def attention(w: dict[str, np.ndarray], at: str, x: np.ndarray, head_dim: int) -> np.ndarray:
    split = lambda name: (x @ w[f"{at}self_attn.{name}_proj.weight"].T).reshape(len(x), -1, head_dim)
    q, k, v = rotate(split("q")), rotate(split("k")), split("v")
    k, v = (np.repeat(part, HEADS // KV_HEADS, axis=1) for part in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / head_dim**0.5
    scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
    weight = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weight /= weight.sum(axis=-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", weight, v).reshape(len(x), -1) @ w[f"{at}self_attn.o_proj.weight"].T


def logits_of(w: dict[str, np.ndarray], model: TinyFp8, ids: list[int]) -> np.ndarray:
    x = w["model.embed_tokens.weight"][ids]
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        x = x + attention(w, at, norm(x, w[at + "input_layernorm.weight"]), model.head_dim)
        y = norm(x, w[at + "post_attention_layernorm.weight"])
        gate = y @ w[at + "mlp.gate_proj.weight"].T
        y = gate / (1 + np.exp(-gate)) * (y @ w[at + "mlp.up_proj.weight"].T)
        x = x + y @ w[at + "mlp.down_proj.weight"].T
    head = w["model.embed_tokens.weight"] if model.tied else w["lm_head.weight"]
    return norm(x, w["model.norm.weight"]) @ head.T


def golden(folder: Folder, name: str) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    run = lambda ids: logits_of(folder.values, folder.model, ids)
    cases = []
    for length in SEQUENCE_LENGTHS:
        ids = rng.integers(SPECIAL_TOKENS, VOCAB, length).tolist()
        logits = run(ids)
        top = logits.max(axis=-1, keepdims=True)
        logprobs = logits - top - np.log(np.exp(logits - top).sum(axis=-1, keepdims=True))
        positions = sorted({0, length // 2, length - 1})
        continued = list(ids)
        for _ in range(GREEDY_TOKENS):
            continued.append(int(run(continued)[-1].argmax()))
        cases.append({
            "token_ids": ids,
            "logprobs": [None] + [round(float(logprobs[at - 1, ids[at]]), 5) for at in range(1, length)],
            "positions": positions,
            "logits": [[round(float(v), 5) for v in logits[at]] for at in positions],
            "greedy": continued[length:],
        })  # fmt: skip
    return {"made_from": name, "versions": {"numpy": np.__version__}, "dtype": "float64", "cases": cases}


def write_golden(path: Path, content: dict[str, Any]) -> None:
    head = {key: value for key, value in content.items() if key != "cases"}
    body = ",\n".join(json.dumps(case) for case in content["cases"])
    path.write_text(json.dumps(head)[:-1] + f', "cases": [\n{body}\n]}}\n', encoding="utf-8")


def config_of(model: TinyFp8) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB,
        "hidden_size": model.hidden, "intermediate_size": model.intermediate, "head_dim": model.head_dim,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 256, "rms_norm_eps": EPS, "rope_theta": THETA, "hidden_act": "silu",
        "bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": model.tied, "torch_dtype": "bfloat16",
        "quantization_config": model.quantization,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    for seed, (name, model) in enumerate(MODELS.items()):
        folder = Folder(model, 200 + seed)
        folder.fill()
        place = output / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        folder.write(place / "model.safetensors")
        (place / "config.json").write_text(json.dumps(config_of(model), indent=2) + "\n")
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(output / "tiny_llama" / file, place / file)
        write_golden(output / f"{name}.golden.json", golden(folder, name))
        print(name)


if __name__ == "__main__":
    main()
