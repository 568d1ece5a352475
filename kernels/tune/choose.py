"""From times to entries of a target file: per group of shapes and range of the select argument the best candidate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Iterable

from kernels.tune.measure import Measured, tiles_of
from kernels.tune.plan import Plan, workspace_bytes

# A candidate takes the place of what runs today when it is faster by this much: two runs of one kernel differ, too.
WORTH = 0.02


@dataclass(frozen=True)
class Entry:
    """One line of a target file."""

    when: str
    max: int | None
    tiles: dict[str, Any]
    comment: str


def choose(plan: Plan, measured: list[Measured]) -> list[Entry]:
    """In the order of the file. Where several shapes share a `when`, the candidate with the least geometric mean of
    its time over each shape's best."""
    entries: list[Entry] = []
    for when in dict.fromkeys(one.shape.when for one in measured):
        group = [one for one in measured if one.shape.when == when]
        values = sorted({one.select for one in group})
        picks = [(value, *_pick([one for one in group if one.select == value])) for value in values]
        for at, (value, choice, comment) in enumerate(picks):
            if at + 1 < len(picks) and picks[at + 1][1] == choice:
                continue  # the next one says it
            comments = [c for _, other, c in picks[: at + 1] if other == choice]
            tiles = tiles_of(choice)
            # What takes a workspace needs a bound.
            bounded = at + 1 < len(picks) or workspace_bytes(plan, group[0].shape.key, value, tiles) > 0
            bound = value if bounded and plan.kernel.select else None
            entries.append(Entry(when, bound, tiles, "; ".join(comments)))
    return entries


def _times(one: Measured) -> dict[str, float]:
    return {c: us for c, us in zip(one.choices, one.microseconds) if us is not None}


def _pick(group: list[Measured]) -> tuple[str, str]:
    times = [_times(one) for one in group]
    for one, found in zip(group, times):
        if not found:
            raise ValueError(f"{one.shape.name} at {one.select}: no candidate ran: {'; '.join(one.problems)}")
    common = [choice for choice in times[0] if all(choice in found for found in times)]
    if not common:
        names = ", ".join(one.shape.name for one in group)
        raise ValueError(f"no candidate ran for all of {names}")
    best = min(common, key=lambda choice: _mean(found[choice] / min(found.values()) for found in times))
    before = group[0].before
    if before in common and all(one.before == before for one in group):
        if _mean(found[best] / found[before] for found in times) > 1 - WORTH:
            best = before
    return best, "; ".join(_comment(one, found, best) for one, found in zip(group, times))


def _mean(ratios: Iterable[float]) -> float:
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs))


def _comment(one: Measured, times: dict[str, float], choice: str) -> str:
    text = f"{one.shape.name} at {one.select}: {times[choice]:.4g} us"
    if one.before != choice and one.before in times:
        text += f", before {times[one.before]:.4g}"
    return text


def table(measured: list[Measured]) -> str:
    """For people: the best three of every job, and what was refused."""
    lines = []
    for one in measured:
        times = sorted(_times(one).items(), key=lambda item: item[1])
        lines.append(f"{one.shape.name} at {one.select}: {len(times)} ran")
        for choice, us in times[:3]:
            mark = "  (today)" if choice == one.before else ""
            lines.append(f"  {us:10.2f} us  {text_of(choice)}{mark}")
        for choice, problem in zip(one.choices, one.problems):
            if problem:
                lines.append(f"  refused: {text_of(choice)}: {problem}")
    return "\n".join(lines)


def text_of(choice: str) -> str:
    return ", ".join(f"{name} = {value}" for name, value in tiles_of(choice).items())
