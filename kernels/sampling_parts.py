"""Parts of the sampling kernels: largest value, log-sum-exp, thresholds without sorting, the draw.

Top-k and top-p are the largest threshold that keeps enough tokens (probability mass), found by
bisection between two values that occur in the row; it ends when both are the same value, so the
result is exact. Equal values are kept or dropped together. The largest value of every PART of the
row is kept in `peaks`, so that parts which a threshold rules out are not read again.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels import sampling_reference

# A token count holds the number of times a token was generated; this bit says that the prompt has
# it too.
IN_PROMPT = tl.constexpr(sampling_reference.IN_PROMPT)
MIN_TEMPERATURE = tl.constexpr(sampling_reference.MIN_TEMPERATURE)
ZERO_DISTANCE = tl.constexpr(104.0)  # exp(-104) rounds to 0 in f32
# Nearly all of the probability is in tokens with e >= NEAR: the search begins there.
NEAR_DISTANCE = tl.constexpr(16.0)
NEAR = tl.constexpr(1.2e-7)  # a little more than exp(-16)


@triton.jit
def row_argmax(values, vocab: tl.constexpr, BLOCK: tl.constexpr):
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
def log_sum_exp(values, largest, vocab: tl.constexpr, BLOCK: tl.constexpr):
    """log(sum(exp(values - largest)))."""
    total = tl.full([], 0.0, tl.float32)
    for start in range(0, vocab, BLOCK):
        column = start + tl.arange(0, BLOCK)
        v = tl.load(values + column, mask=column < vocab, other=float("-inf"))
        total += tl.sum(tl.exp(v - largest), axis=0)
    return tl.log(total)


@triton.jit
def split_at(
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
def search_threshold(
    y, e, peaks, low, high, wanted,
    by_mass: tl.constexpr, has_peaks: tl.constexpr, size: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """The largest value t of the row, t <= high, such that the values >= t have at least `wanted`
    in number (or mass); low if there is none above it. high occurs in the row."""
    while low < high:
        middle = low + (high - low) * 0.5
        middle = tl.where(middle > low, middle, high)
        amount, smallest_above, largest_below = split_at(
            y, e, peaks, low, middle, by_mass, has_peaks, size, PART
        )
        if amount >= wanted:
            low = smallest_above
        else:
            high = largest_below
    return low


@triton.jit
def process_logits(
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
def exponentials(
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
def kept_weights(
    y, e, threshold, min_p, start, vocab: tl.constexpr, PART: tl.constexpr
):  # fmt: skip
    column = start + tl.arange(0, PART)
    inside = column < vocab
    v = tl.load(y + column, mask=inside, other=float("-inf"))
    w = tl.load(e + column, mask=inside, other=0.0)
    return column, tl.where((v >= threshold) & (w >= min_p), w, 0.0)


@triton.jit
def find_threshold(
    y, e, peaks, best, temperature, top_k, top_p, vocab: tl.constexpr, PART: tl.constexpr,
    BARRIER: tl.constexpr,
):  # fmt: skip
    """Fills e and peaks; the tokens that top-k and top-p keep are those with y >= the result."""
    parts: tl.constexpr = (vocab + PART - 1) // PART
    mass, near_mass = exponentials(y, e, peaks, best, temperature, vocab, PART)
    if BARRIER:
        tl.debug_barrier()
    threshold = best - temperature * ZERO_DISTANCE  # below it e is 0
    if (top_k > 0) & (top_k < vocab):
        wanted = top_k.to(tl.float32)
        if top_k <= parts:
            # As many peaks, so at least as many values, are no smaller than this.
            threshold = search_threshold(
                peaks, e, peaks, threshold, best, wanted, False, False, parts, PART
            )
        threshold = search_threshold(y, e, peaks, threshold, best, wanted, False, True, vocab, PART)
        mass, _, _ = split_at(y, e, peaks, threshold, threshold, True, True, vocab, PART)
    if top_p < 1.0:
        wanted = tl.maximum(top_p, 1e-10) * mass
        near = best - temperature * NEAR_DISTANCE
        if (near > threshold) & (near_mass >= wanted):
            threshold = near  # saves the first halvings
        threshold = search_threshold(y, e, peaks, threshold, best, wanted, True, True, vocab, PART)
    return threshold


@triton.jit
def draw_token(
    y, e, peaks, threshold, min_p, best_id, seed, position, vocab: tl.constexpr, PART: tl.constexpr
):  # fmt: skip
    """A token with y >= threshold and e >= min_p, with a probability proportional to its e."""
    total = tl.full([], 0.0, tl.float32)
    for start in range(0, vocab, PART):
        if tl.load(peaks + start // PART) >= threshold:
            _, w = kept_weights(y, e, threshold, min_p, start, vocab, PART)
            total += tl.sum(w, axis=0)
    target = tl.rand(seed, position) * total
    chosen = best_id
    reached = tl.full([], 0.0, tl.float32)
    start = tl.full([], 0, tl.int32)
    while start < vocab:
        next_start = start + PART
        if tl.load(peaks + start // PART) >= threshold:
            column, w = kept_weights(y, e, threshold, min_p, start, vocab, PART)
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
