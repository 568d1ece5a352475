"""The program against evaluations of the same weights by another implementation in F32.

tests/models/data holds them, tools/golden made them (versions inside). Three bars:
  - tiny models of every architecture and storage format, --dtype f32: log-probabilities;
  - SmolLM2 Q4_1, --dtype f32: every greedy token, and log-probabilities;
  - SmolLM2 Q4_1 in the default numerics: log-probabilities of the reference's tokens.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA, DEFAULT_MODEL, Nereid

TINY = sorted(path.name.removesuffix(".golden.json") for path in DATA.glob("*.golden.json"))
SMOLLM2 = json.loads((DATA / "smollm2_f32.json").read_text())["cases"]
TOP = 20
# Means of |difference of log-probabilities| of the reference's token.
F32_LIMIT = 0.005
DEFAULT_LIMIT = 0.03


def tiny_path(name: str) -> Path:
    file = DATA / f"{name}.gguf"
    return file if file.is_file() else DATA / name


def evaluate(nereid: Nereid, model: Path, sequences: list[list[int]], *flags: str) -> list[Any]:
    lines = "".join(json.dumps({"token_ids": ids}) + "\n" for ids in sequences)
    outcome = nereid("eval", "-m", model, "--input", "-", "--top-logprobs", str(TOP), *flags, stdin=lines)
    return outcome.json_lines()


def log_softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    log_sum = largest + math.log(sum(math.exp(value - largest) for value in logits))
    return [value - log_sum for value in logits]


def test_there_are_goldens() -> None:
    assert len(TINY) >= 15
    assert sum("prompt" in case for case in SMOLLM2) >= 20
    assert sum("messages" in case for case in SMOLLM2) >= 5


@pytest.mark.parametrize("name", TINY)
def test_tiny_model(nereid: Nereid, name: str, device) -> None:
    golden = json.loads((DATA / f"{name}.golden.json").read_text())["cases"]
    results = evaluate(nereid, tiny_path(name), [case["token_ids"] for case in golden], "--dtype", "f32", *device)
    for case, result in zip(golden, results, strict=True):
        assert result["logprobs"][0] is None
        for ours, theirs in zip(result["logprobs"][1:], case["logprobs"][1:], strict=True):
            assert ours == pytest.approx(theirs, abs=2e-3)
        for position, logits in zip(case["positions"], case["logits"], strict=True):
            expected = log_softmax(logits)
            best = sorted(expected, reverse=True)
            for rank, (token, logprob) in enumerate(result["top_logprobs"][position]):
                assert logprob == pytest.approx(expected[token], abs=2e-3)
                assert logprob == pytest.approx(best[rank], abs=2e-3)


def reply_logprobs(result: dict[str, Any], case: dict[str, Any]) -> list[float]:
    return result["logprobs"][len(case["prompt_token_ids"]) :]


def all_tokens(case: dict[str, Any]) -> list[int]:
    return case["prompt_token_ids"] + case["token_ids"]


def mean_difference(results: list[Any], cases: list[Any] = SMOLLM2) -> float:
    differences = [
        abs(ours - theirs)
        for result, case in zip(results, cases, strict=True)
        for ours, theirs in zip(reply_logprobs(result, case), case["logprobs"], strict=True)
    ]
    return sum(differences) / len(differences)


def test_smollm2_f32_log_probabilities(nereid: Nereid, device) -> None:
    results = evaluate(nereid, DEFAULT_MODEL, [all_tokens(case) for case in SMOLLM2], "--dtype", "f32", *device)
    assert mean_difference(results) < F32_LIMIT
    for result, case in zip(results, SMOLLM2, strict=True):
        best = [top[0][0] for top in result["top_logprobs"]]
        assert best[len(case["prompt_token_ids"]) - 1 : -1] == case["token_ids"]


def test_smollm2_default_log_probabilities(nereid: Nereid, device) -> None:
    results = evaluate(nereid, DEFAULT_MODEL, [all_tokens(case) for case in SMOLLM2], *device)
    assert mean_difference(results) <= DEFAULT_LIMIT


# AVX2 alone; AVX-512 alone, where the host has it.
@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
def test_smollm2_default_log_probabilities_on_older_processors(nereid: Nereid, target: str) -> None:
    listed = {entry["device"]: entry for entry in nereid("devices", "--json").json()}
    if f"cpu:{target}" not in listed["cpu"]["targets"]:
        pytest.skip(f"this processor cannot run {target}")
    sequences = [all_tokens(case) for case in SMOLLM2[::4]]
    results = evaluate(nereid, DEFAULT_MODEL, sequences, "--device", f"cpu:{target}")
    assert mean_difference(results, SMOLLM2[::4]) <= DEFAULT_LIMIT


def test_smollm2_prompts_are_tokenised_alike(nereid: Nereid) -> None:
    lines = ""
    for case in SMOLLM2:
        if "messages" in case:
            lines += json.dumps({"messages": case["messages"], "add_generation_prompt": True}) + "\n"
        else:
            lines += json.dumps({"prompt": case["prompt"]}) + "\n"
    results = nereid("eval", "-m", DEFAULT_MODEL, "--input", "-", stdin=lines).json_lines()
    for result, case in zip(results, SMOLLM2, strict=True):
        assert result["token_ids"] == case["prompt_token_ids"]


@pytest.mark.parametrize("index", range(len(SMOLLM2)))
def test_smollm2_f32_greedy_reply(nereid: Nereid, index: int, tmp_path: Path, device) -> None:
    case = SMOLLM2[index]
    if "messages" in case:
        file = tmp_path / "messages.json"
        file.write_text(json.dumps(case["messages"]))
        prompt = ["--messages", str(file)]
    else:
        prompt = ["--raw", "--", case["prompt"]]
    count = str(len(case["token_ids"]))
    reply = nereid(
        "run", "-m", DEFAULT_MODEL, "--json", "--dtype", "f32", "--temperature", "0", "--ignore-eos",
        "-n", count, *device, *prompt,
    ).json()  # fmt: skip
    assert reply["prompt_token_ids"] == case["prompt_token_ids"]
    assert reply["token_ids"] == case["token_ids"]


# The mean of |difference of log-probabilities| that a KV cache in this type may cost.
KV_LIMITS = {"f32": 1e-4, "f16": 2e-3, "bf16": 2e-2, "fp8": 0.15}


@pytest.mark.parametrize("kind", KV_LIMITS)
def test_kv_cache_dtype(nereid: Nereid, kind: str, device) -> None:
    golden = json.loads((DATA / "tiny_llama.golden.json").read_text())["cases"]
    ids = [case["token_ids"] for case in golden]
    results = evaluate(nereid, DATA / "tiny_llama", ids, "--dtype", "f32", "--kv-cache-dtype", kind, *device)
    differences = [
        abs(ours - theirs)
        for result, case in zip(results, golden, strict=True)
        for ours, theirs in zip(result["logprobs"][1:], case["logprobs"][1:], strict=True)
    ]
    mean = sum(differences) / len(differences)
    assert mean <= KV_LIMITS[kind]
    # The flag does something: each type rounds more than the one before.
    assert kind == "f32" or mean > KV_LIMITS["f32"] / 10


def test_fp8_kv_cache_decodes(nereid: Nereid, device) -> None:
    flags = ["run", "-m", DATA / "tiny_llama_fp8_block", "--json", "--raw", "-n", "8", "--ignore-eos", *device]
    first, again = (nereid(*flags, "--kv-cache-dtype", "fp8", "--", "the quick brown").json() for _ in range(2))
    assert len(first["token_ids"]) == 8
    assert first["token_ids"] == again["token_ids"]
