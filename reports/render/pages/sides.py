"""The compared sides in a table: their shortest names, and the values that each of them has."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from itertools import pairwise

from ...comparison import Comparison, Side
from ...report import Value
from ..escape import cut
from .ranges import folded
from .words import listed, value

VALUE = 22
"""The most characters of a fact's value in a table of two or three sides."""

MOST_COLUMNS = 3
"""More sides than this share one column, with their names behind each value."""


def names(comparison: Comparison) -> list[str]:
    """The shortest names that tell the sides apart: labels, else targets, else both, else files."""
    sides = comparison.reports
    labels, targets = [side.label for side in sides], [side.target for side in sides]
    both = [f"{side.label}#{side.target}" for side in sides]
    files = [side.file or side.digest[:8] for side in sides]
    for candidates in (labels, targets if len(set(labels)) == 1 else both, both, files):
        if len(set(candidates)) == len(sides):
            return [cut(name, VALUE) for name in candidates]
    return [f"{cut(label, VALUE - 4)} ({n})" for n, label in enumerate(labels, 1)]


def named(comparison: Comparison) -> list[tuple[str, Side]]:
    """Every side with its name."""
    return list(zip(names(comparison), comparison.reports, strict=False))


def columns(owners: Sequence[str]) -> list[str]:
    """The headers over the values of `owners`: one column a side, or one for all."""
    return list(owners) if len(owners) <= MOST_COLUMNS else ["values"]


def cells(owners: Sequence[str], values: Sequence[Value], most: int = VALUE, lacking: Sequence[int] = ()) -> list[str]:
    """One cell for each of `columns(owners)`. most: characters of a value; lacking: positions that have none."""
    if len(values) != len(owners):
        return [""] * len(columns(owners))
    texts = side_by_side(values, most)
    if len(owners) > MOST_COLUMNS:
        return [owned(texts, owners, frozenset(lacking))]
    return ["(not compared)" if position in lacking else text for position, text in enumerate(texts)]


MOST_VALUES = 4
"""So many different values of one fact are shown in one cell, the most common first."""


def owned(texts: Sequence[str], owners: Sequence[str], lacking: Collection[int] = ()) -> str:
    """Each text once, with who has it: "Zen (gpu[01-17]); SkylakeX (gpu18)". lacking: positions without a value."""
    having: dict[str, list[str]] = {}
    for position, (text, owner) in enumerate(zip(texts, owners, strict=False)):
        if position not in lacking:
            having.setdefault(text, []).append(owner)
    ranked = sorted(having, key=lambda text: -len(having[text]))
    few = ranked if len(ranked) <= MOST_VALUES else ranked[: MOST_VALUES - 1]
    shown = [f"{text} ({listed(folded(having[text], 3), 3)})" for text in few]
    if len(few) < len(ranked):
        shown.append(f"{len(ranked) - len(few)} other values")
    return "; ".join(shown)


def side_by_side(values: Sequence[Value], most: int = VALUE) -> list[str]:
    """The values of one fact, each short enough for a table column and different where the values are.

    Long texts that begin alike are shown from where they part.
    """
    texts = [value(item) for item in values]
    exact = [json.dumps(item, sort_keys=True) for item in values]
    if len(set(texts)) < len(set(exact)):
        texts = exact  # 1 and "1", or yes and "yes"
    short = [cut(text, most) for text in texts]
    if len(set(short)) == len(set(texts)):
        return short
    start = max(0, _common_prefix(sorted(set(texts))) - 8)
    return [cut("..." + text[start:], most) for text in texts]


def _common_prefix(texts: Sequence[str]) -> int:
    """Characters after which the two texts that part last (neighbours in sorted order) differ."""
    # It compares character by character, which is what is wanted here.
    return max(len(os.path.commonprefix(pair)) for pair in pairwise(texts))  # noqa: RUF071
