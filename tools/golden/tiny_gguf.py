"""Writes a Hugging Face model as a GGUF file in a given format, and gives back the model whose weights are
exactly what the file holds (dequantised by the `gguf` package)."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from tokenizers import Tokenizer
from transformers import PreTrainedModel

SUPER_BLOCK = 256


@dataclass(frozen=True)
class Variant:
    source: str
    format: Type
    architecture: str = "llama"


GGUF_VARIANTS: dict[str, Variant] = {
    **{
        f"tiny_llama_{kind.name.lower()}": Variant("tiny_llama", kind)
        for kind in (Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1)
    },
    **{
        f"wide_llama_{kind.name.lower()}": Variant("wide_llama", kind)
        for kind in (Type.Q4_K, Type.Q5_K, Type.Q6_K)
    },
    "tiny_llama_yarn_f32": Variant("tiny_llama_yarn", Type.F32),
    "tiny_qwen3_f16": Variant("tiny_qwen3", Type.F16, "qwen3"),
}

_LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
_TOP_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def gguf_name(name: str) -> str:
    if name in _TOP_NAMES:
        return _TOP_NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_LAYER_NAMES[rest]}"


def random_k_blocks(rng: np.random.Generator, rows: int, columns: int, kind: Type) -> np.ndarray:
    """Valid super-blocks with random codes and scales, values spread like a weight's: u8 [rows, bytes]."""
    blocks = rows * columns // SUPER_BLOCK
    spread = 1.4 / columns**0.5

    def half(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (blocks, 1)).astype(np.float16).view(np.uint8)

    def codes(count: int) -> np.ndarray:
        return rng.integers(0, 256, (blocks, count), dtype=np.uint8)

    if kind == Type.Q6_K:
        scales = rng.integers(-63, 64, (blocks, 16), dtype=np.int8).view(np.uint8)
        d = half(0.7 * spread / (18.5 * 36), 1.3 * spread / (18.5 * 36))
        raw = np.concatenate([codes(128), codes(64), scales, d], axis=1)
    else:
        bits = 4 if kind == Type.Q4_K else 5
        middle = (2**bits - 1) / 2
        scale = rng.integers(20, 64, (blocks, 8), dtype=np.uint8)
        minimum = np.clip(scale + rng.integers(-4, 5, (blocks, 8)), 0, 63).astype(np.uint8)
        packed = np.concatenate(
            [
                (scale[:, :4] & 63) | ((scale[:, 4:] >> 4) << 6),
                (minimum[:, :4] & 63) | ((minimum[:, 4:] >> 4) << 6),
                (scale[:, 4:] & 15) | ((minimum[:, 4:] & 15) << 4),
            ],
            axis=1,
        )
        unit = spread / (middle * 0.6 * 42)
        d = half(0.8 * unit, 1.2 * unit)
        dmin = (d.view(np.float16).astype(np.float32) * middle).astype(np.float16).view(np.uint8)
        high = [codes(32)] if kind == Type.Q5_K else []
        raw = np.concatenate([d, dmin, packed, *high, codes(128)], axis=1)
    return raw.reshape(rows, -1)


def stored_form(weight: np.ndarray, kind: Type, rng: np.random.Generator) -> tuple[np.ndarray, Type]:
    """The array to write and its type: matrices in `kind` where their rows allow it, vectors in F32."""
    if weight.ndim == 1:
        return weight, Type.F32
    if kind in (Type.Q4_K, Type.Q5_K, Type.Q6_K):
        if weight.shape[1] % SUPER_BLOCK == 0:
            return random_k_blocks(rng, *weight.shape, kind), kind
        kind = Type.Q8_0
    return gguf.quants.quantize(weight, kind), kind


def permuted(weight: torch.Tensor, heads: int, *, back: bool) -> torch.Tensor:
    """Rows of q or k between half-rotation order and the pair order that llama GGUF files use."""
    head_dim = weight.shape[0] // heads
    inner = (head_dim // 2, 2) if back else (2, head_dim // 2)
    return weight.reshape(heads, *inner, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def heads_of(name: str, model: PreTrainedModel) -> int:
    """How many heads the rows of a q or k projection belong to; 0 for other tensors."""
    if "q_proj" in name:
        return model.config.num_attention_heads
    return model.config.num_key_value_heads if "k_proj" in name else 0


def add_metadata(writer: gguf.GGUFWriter, model: PreTrainedModel) -> None:
    config = model.config
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    elif rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, template: str) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    control = {"<s>", "</s>", "<|im_start|>", "<|im_end|>"}
    kinds = [gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)


def rope_divisors(model: PreTrainedModel) -> np.ndarray:
    """Llama 3 scaling as a divisor per frequency, f32 [head_dim / 2]."""
    config = model.config
    exponent = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    plain = 1.0 / config.rope_parameters["rope_theta"] ** exponent
    return (plain / model.model.rotary_emb.inv_freq.float()).numpy()


def write_gguf(
    path: Path, model: PreTrainedModel, variant: Variant, tokenizer: Tokenizer, template: str
) -> PreTrainedModel:
    rng = np.random.default_rng(2024)
    writer = gguf.GGUFWriter(path, variant.architecture)
    add_metadata(writer, model)
    add_tokenizer(writer, tokenizer, template)
    if model.config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_divisors(model))
    exact = copy.deepcopy(model).float()
    state = exact.state_dict()
    for name, tensor in state.items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        heads = heads_of(name, model) if variant.architecture == "llama" else 0
        weight = permuted(tensor, heads, back=False) if heads else tensor
        raw, kind = stored_form(weight.contiguous().numpy(), variant.format, rng)
        writer.add_tensor(gguf_name(name), raw, raw_dtype=kind)
        value = torch.from_numpy(np.array(gguf.quants.dequantize(raw, kind), np.float32))
        state[name] = permuted(value, heads, back=True) if heads else value
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if model.config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    exact.load_state_dict(state)
    return exact
