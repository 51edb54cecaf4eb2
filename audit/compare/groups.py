"""Which sides agree with each other: groups by equal bits, the largest first. Never by means.

The order of files changes nothing but which of equally large groups is named first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from audit.compare.side import Outline

Digests = dict[str, str]

_Content = tuple[bytes, tuple[tuple[str, str], ...]]
"""Operators and jobs of a side as its outline has them: equal for equal results of equal measurements."""


def groups(sides: Sequence[Outline]) -> list[list[int]]:
    """Positions of the sides, grouped by their bits; largest first, ties by first side; members in the order given.

    A side joins a group if it has the same bits in all that both measured and repeat. One without results is in no
    group, unless none has any: then all are in one.
    """
    measured = [position for position, side in enumerate(sides) if side.runs]
    if not measured:
        return [list(range(len(sides)))]
    alike: dict[_Content, list[int]] = {}
    alone: list[list[int]] = []
    for position in measured:
        side = sides[position]
        jobs = tuple(sorted((name, ran.key) for name, ran in side.jobs.items() if ran.steady))
        if jobs or side.settled:
            alike.setdefault((side.operators, jobs), []).append(position)
        else:  # what repeats nothing has nothing in which it could agree, not even with its like
            alone.append([position])
    same = [_Alike(sides[members[0]].settled, content, members) for content, members in alike.items()]
    return _largest_first([*_joined(same), *alone])


def by_job(sides: Sequence[Outline], name: str) -> list[list[int]]:
    """Positions of the sides that ran one job, by its result; what a side does not repeat agrees with nothing, and a
    shorter recording with those that begin as it does."""
    alike: dict[str | int, list[int]] = {}
    having = [(position, side.jobs[name]) for position, side in enumerate(sides) if name in side.jobs]
    for position, ran in sorted(having, key=lambda one: -one[1].steps):
        results = list(ran.settled(name).values())
        found = alike.get(results[-1], []) if ran.steady else []
        found.append(position)
        alike.update(dict.fromkeys(results if ran.steady else [position], found))
    return _largest_first({id(group): group for group in alike.values()}.values())


def fullest(sides: Sequence[Outline], group: list[int]) -> int:
    """The member of a group that measured most and knows most of itself; the first of equals."""
    return max(group, key=lambda position: (len(sides[position].settled), sides[position].captured))


def _largest_first(found: Iterable[list[int]]) -> list[list[int]]:
    return sorted((sorted(group) for group in found), key=lambda group: (-len(group), group[0]))


class _Alike(NamedTuple):
    """Sides that measured the same things with the same bits."""

    digests: Digests
    content: _Content
    members: list[int]


@dataclass
class _Group:
    """A group and the digests that its members have together: what joins must agree with all of them."""

    digests: Digests
    members: list[int]


def _joined(alike: list[_Alike]) -> list[list[int]]:
    """Groups of sides that measured different things. The fullest open them, so that what measured less has something
    to agree with; where it could join several, it joins the largest. The order is by content alone."""
    found: list[_Group] = []
    index = _Index()
    for one in sorted(alike, key=lambda one: (-len(one.digests), -len(one.members), one.content)):
        able = [group for group in index.agreeing(one.digests) if _agree(group.digests, one.digests)]
        if able:
            group = max(able, key=lambda group: len(group.members))
            group.members += one.members
            if one.digests.keys() - group.digests.keys():  # it is found by what it measured besides, too
                group.digests.update(one.digests)
                index.add(group)
        else:
            found.append(_Group(dict(one.digests), list(one.members)))
            index.add(found[-1])
    return [group.members for group in found]


def _agree(mine: Digests, its: Digests) -> bool:
    return all(mine.get(name, digest) == digest for name, digest in its.items())


class _Index:
    """Finds the groups that agree with given digests without asking each group: thousands can be all different.

    Few sets of names occur. For each pair of them, groups are found by their digests of what both have.
    """

    def __init__(self) -> None:
        self.opened: dict[frozenset[str], list[_Group]] = {}
        self.found: dict[tuple[frozenset[str], frozenset[str]], dict[tuple[str, ...], list[_Group]]] = {}

    def add(self, group: _Group) -> None:
        names = frozenset(group.digests)
        self.opened.setdefault(names, []).append(group)
        for (opened, common), table in self.found.items():
            if opened == names:
                table.setdefault(_picked(group.digests, common), []).append(group)

    def agreeing(self, digests: Digests) -> Iterable[_Group]:
        names = frozenset(digests)
        for opened, those in self.opened.items():
            common = opened & names
            if not common:
                continue
            if (opened, common) not in self.found:
                table = self.found[opened, common] = {}
                for group in those:
                    table.setdefault(_picked(group.digests, common), []).append(group)
            yield from self.found[opened, common].get(_picked(digests, common), [])


def _picked(digests: Digests, names: frozenset[str]) -> tuple[str, ...]:
    return tuple(digests[name] for name in sorted(names))
