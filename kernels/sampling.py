"""Choosing tokens from logits: penalties, bias, allow-mask, temperature, top-k, top-p, min-p,
seeded draw, log-probabilities.

One program handles one row, so no result depends on the rest of the batch. Nothing is sorted: top-k
and top-p are the largest threshold that keeps enough tokens (probability mass), found by bisection
between two values that occur in the row; it ends when both are the same value, so the result is
exact. Equal values are kept or dropped together."""

from __future__ import annotations

import triton
import triton.language as tl

from kernels import sampling_cases, sampling_reference
from kernels.spec import I32, DType, Flag, Int, Kernel, Ptr  # noqa: F401

# A token count holds the number of times a token was generated; this bit says that the prompt has
# it too.
IN_PROMPT = tl.constexpr(sampling_reference.IN_PROMPT)
MIN_TEMPERATURE = tl.constexpr(sampling_reference.MIN_TEMPERATURE)


@triton.jit
def _argmax(values, vocab: tl.constexpr, BLOCK: tl.constexpr):
    """(largest value, its lowest index); (-inf, -1) if nothing is greater than -inf. NaN is never
    chosen."""
    best = tl.full([], float("-inf"), tl.float32)
    best_id = tl.full([], -1, tl.int32)
    for start in range(0, vocab, BLOCK):
        column = start + tl.arange(0, BLOCK)
        v = tl.load(values + column, mask=column < vocab, other=float("-inf"))
        block_best = tl.max(v, axis=0)
        if block_best > best:
            best = block_best
            best_id = tl.min(tl.where(v == block_best, column, vocab), axis=0)
    return best, best_id


@triton.jit
def _log_sum_exp(values, largest, vocab: tl.constexpr, BLOCK: tl.constexpr):
    """log(sum(exp(values - largest)))."""
    total = tl.full([], 0.0, tl.float32)
    for start in range(0, vocab, BLOCK):
        column = start + tl.arange(0, BLOCK)
        v = tl.load(values + column, mask=column < vocab, other=float("-inf"))
        total += tl.sum(tl.exp(v - largest), axis=0)
    return tl.log(total)


@triton.jit
def _split_at(y, e, middle, by_mass: tl.constexpr, vocab: tl.constexpr, BLOCK: tl.constexpr):
    """Of the values >= middle: their number (or the sum of their e) and the smallest; of the values
    below middle: the largest."""
    amount = tl.full([], 0.0, tl.float32)
    smallest_above = tl.full([], float("inf"), tl.float32)
    largest_below = tl.full([], float("-inf"), tl.float32)
    for start in range(0, vocab, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < vocab
        v = tl.load(y + column, mask=inside, other=float("-inf"))
        above = v >= middle
        if by_mass:
            amount += tl.sum(
                tl.where(above, tl.load(e + column, mask=inside, other=0.0), 0.0), axis=0
            )
        else:
            amount += tl.sum(above.to(tl.int32), axis=0).to(tl.float32)
        smallest_above = tl.minimum(
            smallest_above, tl.min(tl.where(above, v, float("inf")), axis=0)
        )
        largest_below = tl.maximum(
            largest_below, tl.max(tl.where(v < middle, v, float("-inf")), axis=0)
        )
    return amount, smallest_above, largest_below


@triton.jit
def _threshold(
    y, e, low, high, wanted, by_mass: tl.constexpr, vocab: tl.constexpr, BLOCK: tl.constexpr
):
    """The largest value t of the row, low <= t <= high, such that the values >= t have at least
    `wanted` in number (or mass). low and high occur in the row and low satisfies it."""
    while low < high:
        middle = low + (high - low) * 0.5
        middle = tl.where(middle > low, middle, high)
        amount, smallest_above, largest_below = _split_at(y, e, middle, by_mass, vocab, BLOCK)
        if amount >= wanted:
            low = smallest_above
        else:
            high = largest_below
    return low


@triton.jit
def _process(
    raw, y, counts, mask, repetition, presence, frequency,
    vocab: tl.constexpr, has_penalties: tl.constexpr, has_mask: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y = raw after penalties and allow-mask, all (vocab)."""
    for start in range(0, vocab, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < vocab
        v = tl.load(raw + column, mask=inside, other=float("-inf"))
        if has_penalties:
            count = tl.load(counts + column, mask=inside, other=0)
            generated = count & (IN_PROMPT - 1)
            v = tl.where(count != 0, tl.where(v > 0, v / repetition, v * repetition), v)
            v -= frequency * generated.to(tl.float32)
            v -= tl.where(generated > 0, presence, 0.0)
        if has_mask:
            word = tl.load(mask + column // 32, mask=inside, other=0)
            v = tl.where(((word >> (column % 32)) & 1) != 0, v, float("-inf"))
        tl.store(y + column, v, mask=inside)


@triton.jit
def _exponentials(y, e, best, temperature, vocab: tl.constexpr, BLOCK: tl.constexpr):
    """e = exp((y - best) / temperature). Returns of the elements with e > 0: number, sum, smallest
    y."""
    scale = 1.0 / temperature
    number = tl.full([], 0, tl.int32)
    mass = tl.full([], 0.0, tl.float32)
    smallest = tl.full([], float("inf"), tl.float32)
    for start in range(0, vocab, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < vocab
        v = tl.load(y + column, mask=inside, other=float("-inf"))
        # An infinite best would make NaN of inf - inf.
        distance = tl.where(v == best, 0.0, (v - best) * scale)
        w = tl.where(v > float("-inf"), tl.exp(distance), 0.0)
        tl.store(e + column, w, mask=inside)
        number += tl.sum((w > 0).to(tl.int32), axis=0)
        mass += tl.sum(w, axis=0)
        smallest = tl.minimum(smallest, tl.min(tl.where(w > 0, v, float("inf")), axis=0))
    return number, mass, smallest


@triton.jit
def _kept_weights(y, e, threshold, min_p, start, vocab: tl.constexpr, BLOCK: tl.constexpr):
    column = start + tl.arange(0, BLOCK)
    inside = column < vocab
    v = tl.load(y + column, mask=inside, other=float("-inf"))
    w = tl.load(e + column, mask=inside, other=0.0)
    return column, tl.where((v >= threshold) & (w >= min_p), w, 0.0)


@triton.jit
def _draw(
    y, e, best, best_id, temperature, top_k, top_p, min_p, seed, position,
    vocab: tl.constexpr, BLOCK: tl.constexpr, BARRIER: tl.constexpr,
):  # fmt: skip
    number, mass, threshold = _exponentials(y, e, best, temperature, vocab, BLOCK)
    if BARRIER:
        tl.debug_barrier()
    if (top_k > 0) & (top_k < number):
        threshold = _threshold(y, e, threshold, best, top_k.to(tl.float32), False, vocab, BLOCK)
        mass, _, _ = _split_at(y, e, threshold, True, vocab, BLOCK)
    if top_p < 1.0:
        threshold = _threshold(
            y, e, threshold, best, tl.maximum(top_p, 1e-10) * mass, True, vocab, BLOCK
        )
    total = tl.full([], 0.0, tl.float32)
    for start in range(0, vocab, BLOCK):
        _, w = _kept_weights(y, e, threshold, min_p, start, vocab, BLOCK)
        total += tl.sum(w, axis=0)
    target = tl.rand(seed, position) * total
    chosen = best_id
    reached = tl.full([], 0.0, tl.float32)
    start = tl.full([], 0, tl.int32)
    while start < vocab:
        column, w = _kept_weights(y, e, threshold, min_p, start, vocab, BLOCK)
        block = tl.sum(w, axis=0)
        start += BLOCK
        if reached + block > target:
            below = reached + tl.cumsum(w, axis=0)
            hit = tl.min(tl.where((below > target) & (w > 0), column, vocab), axis=0)
            # The prefix sum may round to a little less than the sum of the block.
            last = tl.max(tl.where(w > 0, column, -1), axis=0)
            chosen = tl.where(hit < vocab, hit, last)
            start = vocab
        reached += block
    return chosen


@triton.jit
def sample_kernel(
    logits, work, temperatures, top_ks, top_ps, min_ps, seeds, positions,
    counts, slots, repetitions, presences, frequencies, bias_ids, bias_values, bias_counts, mask,
    ids, logprobs, rows, bias_stride,
    vocab: tl.constexpr, greedy: tl.constexpr, has_penalties: tl.constexpr, has_bias: tl.constexpr,
    has_mask: tl.constexpr, has_logprob: tl.constexpr, BLOCK: tl.constexpr, BARRIER: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    raw = logits + row * vocab
    y = raw
    if has_penalties:
        row_counts = counts + tl.load(slots + row).to(tl.int64) * vocab
    else:
        row_counts = counts
    if has_penalties or has_bias or has_mask:
        y = work + row * (2 * vocab)
        repetition, presence, frequency = 1.0, 0.0, 0.0
        if has_penalties:
            repetition = tl.load(repetitions + row)
            presence = tl.load(presences + row)
            frequency = tl.load(frequencies + row)
        row_mask = mask + row * ((vocab + 31) // 32)
        _process(
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
    best, chosen = _argmax(y, vocab, BLOCK)
    if not greedy:
        temperature = tl.load(temperatures + row)
        if (temperature >= MIN_TEMPERATURE) & (chosen >= 0):
            chosen = _draw(
                y, work + row * (2 * vocab) + vocab, best, chosen, temperature,
                tl.load(top_ks + row), tl.load(top_ps + row), tl.load(min_ps + row),
                tl.load(seeds + row), tl.load(positions + row), vocab, BLOCK, BARRIER,
            )  # fmt: skip
    tl.store(ids + row, chosen)
    if has_logprob:
        if has_penalties or has_bias or has_mask:
            largest, _ = _argmax(raw, vocab, BLOCK)
        else:
            largest = best
        logprob = (
            tl.load(raw + tl.maximum(chosen, 0))
            - largest
            - _log_sum_exp(raw, largest, vocab, BLOCK)
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
    largest, _ = _argmax(raw, vocab, BLOCK)
    norm = _log_sum_exp(raw, largest, vocab, BLOCK)
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
        Ptr("work", "f32", "scratch", shape="rows, 2, vocab", optional="not greedy, or penalties, bias or mask"),
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
    reference=sampling_reference.sample,
    cases=sampling_cases.sample_cases,
    uneven=True,
    default_tiles=[{"BLOCK": 4096, "BARRIER": 1, "num_warps": 8}],
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
    reference=sampling_reference.count_tokens,
    cases=sampling_cases.count_tokens_cases,
    default_tiles=[{"BLOCK": 128, "num_warps": 4}],
)

KERNELS = [SAMPLE, TOP_LOGPROBS, COUNT_TOKENS]
