"""Plots of one line of text: eight heights of a block, for terminals and Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH = 48
"""The most characters of a plot."""

_HEIGHTS = "▁▂▃▄▅▆▇█"
SAME = "_"
MISSING = "."
"""What stands for zero on a logarithmic scale, and for what was not measured."""


def line(values: Sequence[float | None], least: float, most: float, log: bool = False) -> str:
    """The values as heights between `least` and `most`; of more than WIDTH, so many at equal distances."""
    return "".join(_height(value, least, most, log) for value in thinned(values))


def thinned(values: Sequence[float | None]) -> list[float | None]:
    """At most WIDTH of the values, the first and the last among them."""
    if len(values) <= WIDTH:
        return list(values)
    return [values[n * (len(values) - 1) // (WIDTH - 1)] for n in range(WIDTH)]


def bar(share: float, width: int = 16) -> str:
    """A share from 0 to 1 as a bar; what is not nothing shows."""
    filled = max(round(share * width), int(share > 0))
    return "█" * filled + "." * (width - filled)


def _height(value: float | None, least: float, most: float, log: bool) -> str:
    if value is None:
        return MISSING
    if log:
        if value <= 0:
            return SAME
        value, least, most = (math.log10(max(one, 1e-300)) for one in (value, least, most))
    span = most / 2 - least / 2  # halves: the largest numbers lie further apart than a number can be
    part = (value / 2 - least / 2) / span if span > 0 else 0.0
    return _HEIGHTS[min(7, max(0, int(part * 8)))]
