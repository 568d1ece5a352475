"""Cases of sampling.py."""

from __future__ import annotations

from typing import Any, Iterator

import numpy as np

from kernels.sampling_reference import IN_PROMPT
from kernels.spec import Case, Tolerance

_LOGPROB = Tolerance(1e-5, 2e-6)


def _logits(rng: np.random.Generator, rows: int, vocab: int, kind: str) -> np.ndarray:
    x = rng.standard_normal((rows, vocab), dtype=np.float32) * 3
    if kind == "peaked":
        x[:, rng.integers(0, vocab)] += 15
    elif kind == "ties":
        x = np.round(x)
    elif kind == "constant":
        x[:] = 0.5
    elif kind == "huge":
        x *= 1e30
    elif kind == "bf16":  # few distinct values, as after a bf16 projection
        x = np.round(x * 8) / 8
    elif kind == "masked":
        x[:, ::3] = -np.inf
    elif kind == "shifted":
        x += 4000
    return x


def _sample_case(
    name: str, rows: int, vocab: int, kind: str = "normal", *, seed: int = 0, greedy: int = 0, penalties: int = 0,
    bias: int = 0, mask: int = 0, logprob: int = 1, **sampling: Any,
) -> Case:  # fmt: skip
    """`sampling`: temperature, top_k, top_p, min_p for all rows; a list gives one per row."""
    rng = np.random.default_rng(61 + seed)
    per_row = lambda value, dtype: np.resize(np.asarray(value, dtype), rows)  # noqa: E731
    slots = rng.permutation(rows + 2)[:rows].astype(np.int32)
    counts = np.where(
        rng.random((rows + 2, vocab)) < 0.3, rng.integers(0, 4, (rows + 2, vocab)), 0
    ).astype(np.int32)
    counts |= np.where(rng.random((rows + 2, vocab)) < 0.2, IN_PROMPT, 0).astype(np.int32)
    words = rng.integers(-(2**31), 2**31, (rows, -(-vocab // 32))).astype(np.int32)
    random = not greedy
    args = {
        "logits": _logits(rng, rows, vocab, kind),
        "work": (
            np.full((rows, 2 * vocab + -(-vocab // 32)), np.nan, np.float32)
            if random or penalties or bias or mask
            else None
        ),
        "temperatures": per_row(sampling.get("temperature", 0.8), np.float32) if random else None,
        "top_ks": per_row(sampling.get("top_k", 0), np.int32) if random else None,
        "top_ps": per_row(sampling.get("top_p", 1.0), np.float32) if random else None,
        "min_ps": per_row(sampling.get("min_p", 0.0), np.float32) if random else None,
        "seeds": rng.integers(-(2**62), 2**62, rows) if random else None,
        "positions": rng.integers(0, 100000, rows).astype(np.int32) if random else None,
        "counts": counts if penalties else None,
        "slots": slots if penalties else None,
        "repetitions": per_row([1.3, 1.0, 0.7], np.float32) if penalties else None,
        "presences": per_row([0.0, 1.5, -0.5], np.float32) if penalties else None,
        "frequencies": per_row([0.25, 0.0, 0.5], np.float32) if penalties else None,
        "bias_ids": rng.integers(0, vocab, (rows, 5)).astype(np.int32) if bias else None,
        "bias_values": (rng.standard_normal((rows, 5)) * 20).astype(np.float32) if bias else None,
        "bias_counts": (np.arange(rows) % 6).astype(np.int32) if bias else None,
        "mask": words if mask else None,
        "ids": np.full(rows + 1, -7, np.int32),
        "logprobs": np.full(rows + 1, -7, np.float32) if logprob else None,
        "rows": rows,
        "bias_stride": 5,
    }
    key = {
        "vocab": vocab, "greedy": greedy, "has_penalties": penalties, "has_bias": bias, "has_mask": mask,
        "has_logprob": logprob,
    }  # fmt: skip
    return Case(name, key, args, {"logprobs": _LOGPROB})


def sample_cases() -> Iterator[Case]:
    yield _sample_case("greedy", 3, 49152, greedy=1, logprob=0)
    yield _sample_case("greedy_logprob", 2, 49152, greedy=1)
    yield _sample_case("greedy_ties", 4, 1003, "ties", greedy=1)
    yield _sample_case("greedy_constant", 1, 5000, "constant", greedy=1)
    yield _sample_case("greedy_one_token", 2, 1, greedy=1)
    yield _sample_case("greedy_huge", 2, 777, "huge", greedy=1, logprob=0)
    yield _sample_case("greedy_penalties", 3, 5001, greedy=1, penalties=1)
    yield _sample_case("greedy_bias_mask", 7, 3001, greedy=1, bias=1, mask=1)
    yield _greedy_with_nan()
    yield _nothing_allowed()
    yield _sample_case("plain", 8, 2048)
    yield _sample_case("plain_odd", 5, 2049, logprob=0)
    yield _sample_case("zero_temperature_row", 4, 1000, temperature=[0.0, 1.0, 1e-6, 0.5])
    yield _sample_case("hot", 6, 3000, temperature=50.0)
    yield _sample_case("cold", 6, 3000, temperature=0.01)
    yield _sample_case("top_k", 9, 4099, top_k=[1, 2, 3, 40, 500, 4098, 4099, 100000, 0], seed=1)
    yield _sample_case("top_k_ties", 6, 2000, "ties", top_k=[1, 5, 50], seed=2)
    yield _sample_case("top_p", 9, 4099, top_p=[0.95, 0.5, 0.1, 0.0, 0.999, 1.0], seed=3)
    yield _sample_case("top_p_ties", 6, 2000, "bf16", top_p=[0.9, 0.3], seed=4)
    yield _sample_case("min_p", 6, 4099, min_p=[0.05, 0.5, 1.0], seed=5)
    yield _sample_case(
        "combined", 8, 4099, top_k=[50, 200], top_p=[0.9, 0.7, 0.99], min_p=[0.02, 0.0], seed=6
    )
    yield _sample_case("combined_peaked", 5, 49152, "peaked", top_k=50, top_p=0.95, seed=7)
    yield _sample_case("constant", 3, 1500, "constant", top_k=[7, 0], top_p=[0.5, 1.0], seed=8)
    yield _sample_case("masked_input", 4, 1500, "masked", top_k=20, top_p=0.9, seed=9)
    yield _sample_case("shifted", 4, 1500, "shifted", top_k=20, top_p=0.9, seed=10)
    yield _sample_case(
        "everything", 6, 3001, penalties=1, bias=1, mask=1, top_k=30, top_p=0.9, min_p=0.01, seed=11
    )
    yield _sample_case("penalties", 6, 3001, penalties=1, logprob=0, seed=12)
    yield _sample_case("one_token", 2, 1, top_k=1, top_p=0.5, seed=13)
    yield _sample_case("large_vocabulary", 1, 262144, top_k=64, top_p=0.95, seed=14)


def _greedy_with_nan() -> Case:
    case = _sample_case("greedy_nan_and_infinity", 3, 600, greedy=1, logprob=0)
    case.args["logits"][0, 5] = np.nan
    case.args["logits"][1, 7] = np.inf
    case.args["logits"][2] = np.nan  # no token can be chosen
    return case


def _nothing_allowed() -> Case:
    case = _sample_case("nothing_allowed", 2, 600, mask=1, top_k=5)
    case.args["mask"][0] = 0
    return case


def top_logprobs_cases() -> Iterator[Case]:
    rng = np.random.default_rng(71)
    for name, rows, vocab, n, kind in (
        ("one_row", 1, 49152, 20, "normal"),
        ("rows", 5, 3001, 5, "normal"),
        ("target_only", 3, 1000, 0, "normal"),
        ("ties", 3, 2000, 32, "ties"),
        ("constant", 2, 300, 8, "constant"),
        ("more_than_vocabulary", 2, 3, 8, "normal"),
        ("masked", 2, 12, 20, "masked"),
        ("shifted", 2, 1500, 4, "shifted"),
    ):
        targets = rng.integers(0, vocab, rows).astype(np.int32)
        targets[-1] = -1 if rows > 2 else targets[-1]
        logits = _logits(rng, rows, vocab, kind)
        yield Case(
            name=name,
            key={"vocab": vocab, "n": n},
            args={
                "logits": logits,
                "targets": targets,
                "ids": np.full((rows + 1, n), -7, np.int32) if n else None,
                "logprobs": np.full((rows + 1, n), -7, np.float32) if n else None,
                "target_logprobs": np.full(rows + 1, -7, np.float32),
                "rows": rows,
            },
            tolerance={"logprobs": _LOGPROB, "target_logprobs": _LOGPROB},
        )


def count_tokens_cases() -> Iterator[Case]:
    rng = np.random.default_rng(81)
    for name, count, in_prompt in (("prompt", 300, 1), ("generated", 300, 0), ("one", 1, 0)):
        ids = rng.integers(0, 40, count).astype(np.int32)  # with repetitions
        yield Case(
            name=name,
            key={"vocab": 64},
            args={
                "counts": rng.integers(0, 3, (3, 64)).astype(np.int32),
                "ids": ids,
                "slots": rng.integers(0, 3, count).astype(np.int32),
                "count": count,
                "in_prompt": in_prompt,
            },
        )
