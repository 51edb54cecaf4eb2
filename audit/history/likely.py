"""Of facts that changed together, the likeliest reason first: what decides most of the others, by the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from reports.catalogue import catalogue
from reports.history import FactChange

_KINDS = ("numeric", "performance", "identity", "volatile")


def ranked(
    changed: Iterable[FactChange], components: Collection[str] = (), nodes: Mapping[str, int] | None = None
) -> list[FactChange]:
    """The changes, likeliest first. components: those that moved, whose facts are to be explained (none: all facts);
    nodes: on how many nodes each fact changed: what changed elsewhere, too, without effect, is less likely."""
    found = list(changed)
    names = frozenset(one.fact for one in found)
    wanted = [one.fact for one in found if not components or not set(components).isdisjoint(one.components)]
    below = Counter(above for fact in wanted for above in _above(fact) & names)
    elsewhere = nodes or {}
    return sorted(
        found, key=lambda one: (_KINDS.index(one.kind), elsewhere.get(one.fact, 0), -below[one.fact], one.fact)
    )


@lru_cache(maxsize=4096)
def _above(fact: str) -> frozenset[str]:
    """All facts that decide this one, themselves or through others; what decides it only on some machines, not."""
    found: set[str] = set()
    queue = [fact]
    while queue:
        above = {edge.fact for edge in catalogue().deciders(queue.pop()) if edge.when is None} - found
        found |= above
        queue += above
    return frozenset(found - {fact})
