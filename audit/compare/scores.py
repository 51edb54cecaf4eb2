"""Scores that a program gave of itself: do machines lie further apart than each does by itself?

How far a machine lies apart by itself is known from its own further runs, or from the standard error that the program
gave beside a score. Two runs of one machine can be equal by chance, so this answers "is it noise?", never "is it one?".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from reports.comparison import ScoreResult
from reports.report import Job, Score

_TWICE = 2.0
"""Standard errors: 95 of 100 measurements of one true value lie within so many of it (the normal distribution)."""


class Own(Struct, frozen=True):
    """A score on one machine, and how far it lies apart by itself; None where nothing says so."""

    value: float
    spread: float | None


def own(job: Job) -> dict[str, Own]:
    """The scores of a job by name; one that was given again and again is its last."""
    runs: dict[str, list[Score]] = {}
    for given in [job.scores, *(repeat.scores for repeat in job.repeats)]:
        for name, score in {one.name: one for one in given}.items():
            runs.setdefault(name, []).append(score)
    return {name: Own(scores[0].value, _spread(scores)) for name, scores in runs.items()}


def _spread(runs: list[Score]) -> float | None:
    """What its runs show, or twice its standard error; the larger of both."""
    values = [one.value for one in runs]
    found = [max(values) - min(values)] if len(values) > 1 else []
    found += [_TWICE * one.stderr for one in runs if one.stderr is not None]
    return max(found, default=None)


def compare(sides: Sequence[Mapping[str, Own]]) -> list[ScoreResult]:
    """Every score that two sides or more have."""
    names = dict.fromkeys(name for side in sides for name in side)
    return [
        _score(name, [side.get(name) for side in sides]) for name in names if sum(name in side for side in sides) > 1
    ]


def _score(name: str, sides: list[Own | None]) -> ScoreResult:
    values = [one.value for one in sides if one]
    spreads = sorted(one.spread for one in sides if one and one.spread is not None)
    gap = max(values) - min(values)
    # Two independent spreads add up by their squares; of many sides the two that lie furthest apart.
    within = bool(spreads) and gap <= math.hypot(*spreads[-2:])
    return ScoreResult(
        name,
        "same" if gap == 0 else "within" if within else "beyond" if spreads else "unknown",
        [one.value if one else None for one in sides],
        [one.spread if one else None for one in sides],
    )
