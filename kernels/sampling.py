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
ZERO_DISTANCE = tl.constexpr(104.0)  # exp(-104) rounds to 0 in f32
# Nearly all of the probability is in tokens with e >= NEAR: the search begins there.
NEAR_DISTANCE = tl.constexpr(16.0)
NEAR = tl.constexpr(1.2e-7)  # a little more than exp(-16)


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
def _split_at(
    y, e, peaks, low, middle,
    by_mass: tl.constexpr, has_peaks: tl.constexpr, size: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Of the values >= middle: their number (or the sum of their e) and the smallest; of the values
    below middle: the largest. Parts without a value >= low may be left out: low <= middle."""
    amount = tl.full([], 0.0, tl.float32)
    smallest_above = tl.full([], float("inf"), tl.float32)
    largest_below = tl.full([], float("-inf"), tl.float32)
    for start in range(0, size, PART):
        needed = True
        if has_peaks:
            needed = tl.load(peaks + start // PART) >= low
        if needed:
            column = start + tl.arange(0, PART)
            inside = column < size
            v = tl.load(y + column, mask=inside, other=float("-inf"))
            above = v >= middle
            if by_mass:
                w = tl.load(e + column, mask=inside, other=0.0)
                amount += tl.sum(tl.where(above, w, 0.0), axis=0)
            else:
                amount += tl.sum(above.to(tl.int32), axis=0).to(tl.float32)
            least = tl.min(tl.where(above, v, float("inf")), axis=0)
            most = tl.max(tl.where(v < middle, v, float("-inf")), axis=0)
            smallest_above = tl.minimum(smallest_above, least)
            largest_below = tl.maximum(largest_below, most)
    return amount, smallest_above, largest_below


@triton.jit
def _threshold(
    y, e, peaks, low, high, wanted,
    by_mass: tl.constexpr, has_peaks: tl.constexpr, size: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """The largest value t of the row, t <= high, such that the values >= t have at least `wanted`
    in number (or mass); low if there is none above it. high occurs in the row."""
    while low < high:
        middle = low + (high - low) * 0.5
        middle = tl.where(middle > low, middle, high)
        amount, smallest_above, largest_below = _split_at(
            y, e, peaks, low, middle, by_mass, has_peaks, size, PART
        )
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
def _exponentials(
    y, e, peaks, best, temperature, vocab: tl.constexpr, PART: tl.constexpr
):  # fmt: skip
    """e = exp((y - best) / temperature); peaks = the largest y of every PART values. Returns the
    sum of e and the sum of those e that are at least NEAR."""
    scale = 1.0 / temperature
    mass = tl.full([], 0.0, tl.float32)
    near_mass = tl.full([], 0.0, tl.float32)
    for start in range(0, vocab, PART):
        column = start + tl.arange(0, PART)
        inside = column < vocab
        v = tl.load(y + column, mask=inside, other=float("-inf"))
        # An infinite best would make NaN of inf - inf.
        distance = tl.where(v == best, 0.0, (v - best) * scale)
        w = tl.where(v > float("-inf"), tl.exp(distance), 0.0)
        tl.store(e + column, w, mask=inside)
        tl.store(peaks + start // PART, tl.max(v, axis=0))
        mass += tl.sum(w, axis=0)
        near_mass += tl.sum(tl.where(w >= NEAR, w, 0.0), axis=0)
    return mass, near_mass


@triton.jit
def _kept_weights(
    y, e, threshold, min_p, start, vocab: tl.constexpr, PART: tl.constexpr
):  # fmt: skip
    column = start + tl.arange(0, PART)
    inside = column < vocab
    v = tl.load(y + column, mask=inside, other=float("-inf"))
    w = tl.load(e + column, mask=inside, other=0.0)
    return column, tl.where((v >= threshold) & (w >= min_p), w, 0.0)


@triton.jit
def _find_threshold(
    y, e, peaks, best, temperature, top_k, top_p, vocab: tl.constexpr, PART: tl.constexpr,
    BARRIER: tl.constexpr,
):  # fmt: skip
    """Fills e and peaks; the tokens that top-k and top-p keep are those with y >= the result."""
    parts: tl.constexpr = (vocab + PART - 1) // PART
    mass, near_mass = _exponentials(y, e, peaks, best, temperature, vocab, PART)
    if BARRIER:
        tl.debug_barrier()
    threshold = best - temperature * ZERO_DISTANCE  # below it e is 0
    if (top_k > 0) & (top_k < vocab):
        wanted = top_k.to(tl.float32)
        if top_k <= parts:
            # As many peaks, so at least as many values, are no smaller than this.
            threshold = _threshold(
                peaks, e, peaks, threshold, best, wanted, False, False, parts, PART
            )
        threshold = _threshold(y, e, peaks, threshold, best, wanted, False, True, vocab, PART)
        mass, _, _ = _split_at(y, e, peaks, threshold, threshold, True, True, vocab, PART)
    if top_p < 1.0:
        wanted = tl.maximum(top_p, 1e-10) * mass
        near = best - temperature * NEAR_DISTANCE
        if (near > threshold) & (near_mass >= wanted):
            threshold = near  # saves the first halvings
        threshold = _threshold(y, e, peaks, threshold, best, wanted, True, True, vocab, PART)
    return threshold


@triton.jit
def _draw(
    y, e, peaks, threshold, min_p, best_id, seed, position, vocab: tl.constexpr, PART: tl.constexpr
):  # fmt: skip
    """A token with y >= threshold and e >= min_p, with a probability proportional to its e."""
    total = tl.full([], 0.0, tl.float32)
    for start in range(0, vocab, PART):
        if tl.load(peaks + start // PART) >= threshold:
            _, w = _kept_weights(y, e, threshold, min_p, start, vocab, PART)
            total += tl.sum(w, axis=0)
    target = tl.rand(seed, position) * total
    chosen = best_id
    reached = tl.full([], 0.0, tl.float32)
    start = tl.full([], 0, tl.int32)
    while start < vocab:
        next_start = start + PART
        if tl.load(peaks + start // PART) >= threshold:
            column, w = _kept_weights(y, e, threshold, min_p, start, vocab, PART)
            block = tl.sum(w, axis=0)
            if reached + block > target:
                below = reached + tl.cumsum(w, axis=0)
                hit = tl.min(tl.where((below > target) & (w > 0), column, vocab), axis=0)
                # The prefix sum may round to a little less than the sum of the part.
                last = tl.max(tl.where(w > 0, column, -1), axis=0)
                chosen = tl.where(hit < vocab, hit, last)
                next_start = vocab
            reached += block
        start = next_start
    return chosen


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
            e = row_work + vocab
            peaks = e + vocab
            threshold = _find_threshold(
                y, e, peaks, best, temperature, tl.load(top_ks + row), tl.load(top_ps + row),
                vocab, PART, BARRIER,
            )  # fmt: skip
            chosen = _draw(
                y, e, peaks, threshold, tl.load(min_ps + row), chosen,
                tl.load(seeds + row), tl.load(positions + row), vocab, PART,
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
