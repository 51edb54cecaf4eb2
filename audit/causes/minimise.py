"""The smallest part of what works that still works: delta debugging."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

FEW = 4


def minimise(items: Sequence[T], works: Callable[[list[T]], bool]) -> list[T]:
    """A part of `items` that still works and of which nothing can be left out (1-minimal), in their order.

    All of `items` must work together; whether nothing at all works is not asked. Nothing is tried twice.
    Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002, figure 2 (ddmin).
    """
    known: dict[tuple[int, ...], bool] = {}

    def test(positions: tuple[int, ...]) -> bool:
        if positions not in known:
            known[positions] = works([items[n] for n in positions])
        return known[positions]

    kept = tuple(range(len(items)))
    # Halves find a few among many; of a few, each is tried by itself.
    parts = 2 if len(items) > FEW else len(items)
    while len(kept) > 1:
        chunks = _split(kept, parts)
        without = [tuple(n for n in kept if n not in chunk) for chunk in chunks]
        tries = (*chunks, *without) if len(items) > FEW else without
        smaller = next((one for one in tries if one != kept and test(one)), None)
        if smaller is not None:
            parts = 2 if smaller in chunks and len(items) > FEW else max(parts - 1, 2)
            kept = smaller
        elif parts < len(kept):
            parts = min(2 * parts, len(kept))
        else:
            break
    return [items[n] for n in kept]


def _split(kept: tuple[int, ...], parts: int) -> list[tuple[int, ...]]:
    bounds = [len(kept) * n // parts for n in range(parts + 1)]
    return [kept[a:b] for a, b in pairwise(bounds) if a < b]
