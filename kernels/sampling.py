"""Choosing tokens from logits: penalties, bias, allow-mask, temperature, top-k, top-p, min-p, seeded
draw, log-probabilities. One program handles one row, so no result depends on the rest of the batch.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels import sampling_cases, sampling_reference
from kernels.sampling_parts import (
    IN_PROMPT,
    MIN_TEMPERATURE,
    draw_token,
    find_threshold,
    log_sum_exp,
    process_logits,
    row_argmax,
)
from kernels.spec import I32, Cost, Flag, Int, Kernel, Ptr


@triton.jit
def sample_kernel(
    logits, work, temperatures, top_ks, top_ps, min_ps, seeds, positions,
    counts, slots, repetitions, presences, frequencies, bias_ids, bias_values, bias_counts, mask,
    ids, logprobs, rows, bias_stride,
    vocab: tl.constexpr, greedy: tl.constexpr, has_penalties: tl.constexpr, has_bias: tl.constexpr,
    has_mask: tl.constexpr, has_logprob: tl.constexpr,
    BLOCK: tl.constexpr, PART: tl.constexpr, BARRIER: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    raw = logits + row * vocab
    y = raw
    tl.static_assert(PART >= 32)  # the room for peaks
    row_work = work + row * (2 * vocab + (vocab + 31) // 32)
    if has_penalties:
        row_counts = counts + tl.load(slots + row).to(tl.int64) * vocab
    else:
        row_counts = counts
    if has_penalties or has_bias or has_mask:
        y = row_work
        repetition, presence, frequency = 1.0, 0.0, 0.0
        if has_penalties:
            repetition = tl.load(repetitions + row)
            presence = tl.load(presences + row)
            frequency = tl.load(frequencies + row)
        row_mask = mask + row * ((vocab + 31) // 32)
        process_logits(
            raw,
            y,
            row_counts,
            row_mask,
            repetition,
            presence,
            frequency,
            vocab,
            has_penalties,
            has_mask,
            BLOCK,
        )
        if BARRIER:
            tl.debug_barrier()
        if has_bias:
            for entry in range(0, tl.load(bias_counts + row)):
                place = y + tl.load(bias_ids + row * bias_stride + entry)
                tl.store(place, tl.load(place) + tl.load(bias_values + row * bias_stride + entry))
                if BARRIER:
                    tl.debug_barrier()
    best, chosen = row_argmax(y, vocab, BLOCK)
    if not greedy:
        temperature = tl.load(temperatures + row)
        if (temperature >= MIN_TEMPERATURE) & (chosen >= 0):
            e = row_work + vocab
            peaks = e + vocab
            threshold = find_threshold(
                y, e, peaks, best, temperature, tl.load(top_ks + row), tl.load(top_ps + row),
                vocab, PART, BARRIER,
            )  # fmt: skip
            chosen = draw_token(
                y, e, peaks, threshold, tl.load(min_ps + row), chosen,
                tl.load(seeds + row), tl.load(positions + row), vocab, PART,
            )  # fmt: skip
    tl.store(ids + row, chosen)
    if has_logprob:
        if has_penalties or has_bias or has_mask:
            largest, _ = row_argmax(raw, vocab, BLOCK)
        else:
            largest = best
        logprob = (
            tl.load(raw + tl.maximum(chosen, 0)) - largest - log_sum_exp(raw, largest, vocab, BLOCK)
        )
        tl.store(logprobs + row, tl.where(chosen >= 0, logprob, float("-inf")))
    if has_penalties:
        if chosen >= 0:
            tl.store(row_counts + chosen, tl.load(row_counts + chosen) + 1)


@triton.jit
def top_logprobs_kernel(
    logits,
    targets,
    ids,
    logprobs,
    target_logprobs,
    rows,
    vocab: tl.constexpr,
    n: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    raw = logits + row * vocab
    largest, _ = row_argmax(raw, vocab, BLOCK)
    norm = log_sum_exp(raw, largest, vocab, BLOCK)
    target = tl.load(targets + row)
    target_logit = tl.load(raw + tl.maximum(target, 0))
    tl.store(target_logprobs + row, tl.where(target >= 0, target_logit - largest - norm, 0.0))
    last = tl.full([], float("inf"), tl.float32)
    last_id = tl.full([], -1, tl.int32)
    for rank in range(0, n):
        best = tl.full([], float("-inf"), tl.float32)
        best_id = tl.full([], -1, tl.int32)
        for start in range(0, vocab, BLOCK):
            column = start + tl.arange(0, BLOCK)
            v = tl.load(raw + column, mask=column < vocab, other=float("-inf"))
            v = tl.where((v < last) | ((v == last) & (column > last_id)), v, float("-inf"))
            block_best = tl.max(v, axis=0)
            if block_best > best:
                best = block_best
                best_id = tl.min(tl.where(v == block_best, column, vocab), axis=0)
        tl.store(ids + row * n + rank, best_id)
        tl.store(logprobs + row * n + rank, best - largest - norm)
        last = best
        last_id = best_id


@triton.jit
def count_tokens_kernel(
    counts, ids, slots, count, in_prompt, vocab: tl.constexpr, BLOCK: tl.constexpr
):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < count
    slot = tl.load(slots + index, mask=inside, other=0).to(tl.int64)
    place = counts + slot * vocab + tl.load(ids + index, mask=inside, other=0)
    if in_prompt != 0:
        tl.atomic_or(place, tl.full([BLOCK], IN_PROMPT, tl.int32), mask=inside)
    else:
        tl.atomic_add(place, tl.full([BLOCK], 1, tl.int32), mask=inside)


_SAMPLED = "not greedy"
SAMPLE = Kernel(
    name="sample",
    doc="ids[r] = a token drawn from logits[r, :]. Order: penalties, bias, allow-mask, temperature, top-k, top-p "
    "(of what top-k keeps), min-p; then inverse transform sampling with philox(seed, position). A temperature "
    "below 1e-5 takes the largest (lowest id on ties), and so does greedy. No token above -inf: id -1. "
    "logprobs[r] is the log-softmax of the unprocessed logits at ids[r]. With penalties the count of the chosen "
    "token goes up by one.",
    fn=sample_kernel,
    key=[
        Int("vocab", min=1, max=2**28),
        Flag("greedy", doc="every row takes its largest; no random part is compiled"),
        Flag("has_penalties"), Flag("has_bias"), Flag("has_mask"), Flag("has_logprob"),
    ],
    args=[
        Ptr("logits", "f32", "read", shape="rows, vocab"),
        Ptr("work", "f32", "scratch", shape="rows, 2 * vocab + ceil(vocab / 32)", optional="not greedy, or penalties, bias or mask"),
        Ptr("temperatures", "f32", "read", shape="rows", optional=_SAMPLED),
        Ptr("top_ks", "i32", "read", shape="rows", optional=_SAMPLED, doc="0: off"),
        Ptr("top_ps", "f32", "read", shape="rows", optional=_SAMPLED, doc="1: off"),
        Ptr("min_ps", "f32", "read", shape="rows", optional=_SAMPLED, doc="0: off"),
        Ptr("seeds", "i64", "read", shape="rows", optional=_SAMPLED),
        Ptr("positions", "i32", "read", shape="rows", optional=_SAMPLED, doc="of the token to be drawn"),
        Ptr("counts", "i32", "readwrite", shape="slots, vocab", optional="has_penalties", doc="see count_tokens"),
        Ptr("slots", "i32", "read", shape="rows", optional="has_penalties", doc="row of counts, no two the same"),
        Ptr("repetitions", "f32", "read", shape="rows", optional="has_penalties", doc="1: off"),
        Ptr("presences", "f32", "read", shape="rows", optional="has_penalties", doc="0: off"),
        Ptr("frequencies", "f32", "read", shape="rows", optional="has_penalties", doc="0: off"),
        Ptr("bias_ids", "i32", "read", shape="rows, bias_stride", optional="has_bias"),
        Ptr("bias_values", "f32", "read", shape="rows, bias_stride", optional="has_bias"),
        Ptr("bias_counts", "i32", "read", shape="rows", optional="has_bias"),
        Ptr("mask", "i32", "read", shape="rows, ceil(vocab / 32)", optional="has_mask", doc="bit i of word w: 32 w + i"),
        Ptr("ids", "i32", "write", shape="rows"),
        Ptr("logprobs", "f32", "write", shape="rows", optional="has_logprob"),
        I32("rows"), I32("bias_stride"),
    ],
    grid="rows",
    cost=Cost(bytes="rows * vocab * 4"),
    reference=sampling_reference.sample,
    cases=sampling_cases.sample_cases,
    uneven=True,
    default_tiles=[{"BLOCK": 4096, "PART": 1024, "BARRIER": 1, "num_warps": 8}],
)  # fmt: skip

TOP_LOGPROBS = Kernel(
    name="top_logprobs",
    doc="The n largest log-probabilities of each row, best first (lowest id on ties; id -1 where no token is left "
    "above -inf), and that of one given token",
    fn=top_logprobs_kernel,
    key=[Int("vocab", min=1, max=2**28), Int("n", min=0, max=32)],
    args=[
        Ptr("logits", "f32", "read", shape="rows, vocab"),
        Ptr(
            "targets",
            "i32",
            "read",
            shape="rows",
            doc="token, or -1: its log-probability is written as 0",
        ),
        Ptr("ids", "i32", "write", shape="rows, n", optional="n > 0"),
        Ptr("logprobs", "f32", "write", shape="rows, n", optional="n > 0"),
        Ptr("target_logprobs", "f32", "write", shape="rows"),
        I32("rows"),
    ],
    grid="rows",
    cost=Cost(bytes="rows * vocab * 4"),
    reference=sampling_reference.top_logprobs,
    cases=sampling_cases.top_logprobs_cases,
    default_tiles=[{"BLOCK": 4096, "num_warps": 8}],
)

COUNT_TOKENS = Kernel(
    name="count_tokens",
    doc="counts[slots[i], ids[i]] += 1 for generated tokens; for tokens of a prompt bit 30 is set instead. A slot "
    "is cleared with `fill`.",
    fn=count_tokens_kernel,
    key=[Int("vocab", min=1, max=2**28)],
    args=[
        Ptr("counts", "i32", "readwrite", shape="slots, vocab"),
        Ptr("ids", "i32", "read", shape="count"),
        Ptr("slots", "i32", "read", shape="count"),
        I32("count"),
        I32("in_prompt", doc="1: the tokens are of a prompt, 0: they were generated"),
    ],
    grid="ceil_div(count, BLOCK)",
    cost=Cost(bytes="count * 16"),
    reference=sampling_reference.count_tokens,
    cases=sampling_cases.count_tokens_cases,
    default_tiles=[{"BLOCK": 128, "num_warps": 4}],
)

KERNELS = [SAMPLE, TOP_LOGPROBS, COUNT_TOKENS]
