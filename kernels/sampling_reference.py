"""NumPy references of sampling.py."""

from __future__ import annotations

import numpy as np

IN_PROMPT = 1 << 30
MIN_TEMPERATURE = 1e-5


def philox_uniform(seed: int, offset: int) -> np.float32:
    """What tl.rand(seed, offset) gives for an i64 seed and an i32 offset: Philox 4x32, 10 rounds
    (Salmon et al. 2011), its first word scaled to [0, 1)."""
    word = 0xFFFFFFFF
    c = [offset & word, 0, 0, 0]
    k = [seed & word, (seed >> 32) & word]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & word, (a >> 32) ^ c[3] ^ k[1], a & word]
        k = [(k[0] + 0x9E3779B9) & word, (k[1] + 0xBB67AE85) & word]
    signed = c[0] - (1 << 32) if c[0] >> 31 else c[0]
    return np.float32(-signed - 1 if signed < 0 else signed) * np.float32(4.6566127342e-10)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    x = logits.astype(np.float64)
    x = x - np.nanmax(x)
    return x - np.log(np.sum(np.exp(x)))


def _processed(key, args, row: int) -> np.ndarray:
    y = args["logits"][row].copy()
    if key["has_penalties"]:
        counts = args["counts"][args["slots"][row]]
        generated = (counts & (IN_PROMPT - 1)).astype(np.float32)
        repetition = args["repetitions"][row]
        y = np.where(counts != 0, np.where(y > 0, y / repetition, y * repetition), y)
        y = y - args["frequencies"][row] * generated
        y = y - np.where(generated > 0, args["presences"][row], np.float32(0))
    if key["has_mask"]:
        column = np.arange(y.size)
        word = args["mask"][row][column // 32]
        y = np.where((word >> (column % 32)) & 1, y, np.float32(-np.inf))
    if key["has_bias"]:
        for entry in range(args["bias_counts"][row]):
            y[args["bias_ids"][row, entry]] += args["bias_values"][row, entry]
    return y.astype(np.float32)


def kept_tokens(y: np.ndarray, temperature, top_k, top_p, min_p) -> tuple[np.ndarray, np.ndarray]:
    """(boolean mask of the tokens that may be drawn, exp((y - max) / temperature))."""
    best = y.max()
    scale = np.float32(1) / np.float32(temperature)
    e = np.where(y == best, np.float32(1), np.exp(((y - best) * scale).astype(np.float64))).astype(
        np.float32
    )
    kept = e > 0
    order = np.sort(y[kept])[::-1]
    if 0 < top_k < order.size:
        kept &= y >= order[top_k - 1]
    if top_p < 1:
        mass = e[kept].sum(dtype=np.float64)
        values = np.unique(y[kept])[::-1]
        reached = np.cumsum([e[y == value].sum(dtype=np.float64) for value in values])
        wanted = max(np.float64(top_p), 1e-10) * mass
        kept &= (
            y >= values[min(int(np.searchsorted(reached, wanted * (1 - 1e-12))), values.size - 1)]
        )
    return kept & (e >= min_p), e


def _draw(y: np.ndarray, args, row: int) -> int:
    names = ("temperatures", "top_ks", "top_ps", "min_ps")
    kept, e = kept_tokens(y, *(args[name][row] for name in names))
    weights = np.where(kept, e, 0).astype(np.float64)
    uniform = philox_uniform(int(args["seeds"][row]), int(args["positions"][row]))
    return int(np.argmax(np.cumsum(weights) > float(uniform) * weights.sum()))


def sample(key, args):
    ids = args["ids"].copy()
    out = {"ids": ids}
    if key["has_logprob"]:
        out["logprobs"] = args["logprobs"].copy()
    if key["has_penalties"]:
        out["counts"] = args["counts"].copy()
    for row in range(args["rows"]):
        y = np.nan_to_num(_processed(key, args, row), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        chosen = int(np.argmax(y)) if y.max() > -np.inf else -1
        if not key["greedy"] and chosen >= 0 and args["temperatures"][row] >= MIN_TEMPERATURE:
            chosen = _draw(y, args, row)
        ids[row] = chosen
        if key["has_logprob"]:
            out["logprobs"][row] = (
                _log_softmax(args["logits"][row])[chosen] if chosen >= 0 else -np.inf
            )
        if key["has_penalties"] and chosen >= 0:
            out["counts"][args["slots"][row], chosen] += 1
    return out


def top_logprobs(key, args):
    out = {
        name: args[name].copy()
        for name in ("ids", "logprobs", "target_logprobs")
        if args[name] is not None
    }
    for row in range(args["rows"]):
        logits = args["logits"][row]
        logprobs = _log_softmax(logits)
        order = np.lexsort((np.arange(logits.size), -logits))[: key["n"]]
        for rank, token in enumerate(order):
            usable = logits[token] > -np.inf
            out["ids"][row, rank] = token if usable else -1
            out["logprobs"][row, rank] = logprobs[token] if usable else -np.inf
        for rank in range(len(order), key["n"]):
            out["ids"][row, rank], out["logprobs"][row, rank] = -1, -np.inf
        target = args["targets"][row]
        out["target_logprobs"][row] = logprobs[target] if target >= 0 else 0
    return out


def count_tokens(key, args):
    counts = args["counts"].copy()
    for index in range(args["count"]):
        place = args["slots"][index], args["ids"][index]
        if args["in_prompt"]:
            counts[place] |= IN_PROMPT
        else:
            counts[place] += 1
    return {"counts": counts}
