"""Which facts are not the same on all sides, and which could not be compared, with the reason.

Facts are compared by block, a facet's facts of one work. Most machines share most blocks, so each fact is read once a
distinct block and not once a machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from audit.compare.side import MACHINE, Block, block
from reports.catalogue import Catalogue, Row
from reports.comparison import Environment, FactDifference, NotCompared
from reports.report import Value


class Facts(Protocol):
    """What is compared of a side: blocks by work and facet, as `Outline` has them."""

    @property
    def label(self) -> str: ...

    @property
    def facts(self) -> dict[str, dict[str, bytes]]: ...


def compare(sides: Sequence[Facts], catalogue: Catalogue) -> Environment:
    """Facts of all sides: machine facts once, facts in effect work by work (a job's with the same job's).

    What some sides cannot be asked is compared among the others, if there are two.
    """
    found = _Found(len(sides))
    for work in dict.fromkeys(work for side in sides for work in side.facts):
        having = [position for position, side in enumerate(sides) if work in side.facts]
        if len(having) > 1:
            for facet in dict.fromkeys(facet for position in having for facet in sides[position].facts[work]):
                holders: dict[bytes, list[int]] = {}
                for position in having:
                    holders.setdefault(sides[position].facts[work].get(facet, _NOTHING), []).append(position)
                _compare_blocks(work, [_Holders(block(one), those) for one, those in holders.items()], catalogue, found)
    same = len(found.same - found.differences.keys())
    differences = [one for variants in found.differences.values() for one in variants]
    return Environment(
        [_merged(one) for one in sorted(differences, key=_loudest_first)], found.not_compared(sides), same
    )


_NOTHING = b"\x81\xa5facts\x80"
"""The encoded block of a side that has nothing of a facet."""


@dataclass
class _Holders:
    """A block, and the positions of the sides that have it."""

    block: Block
    positions: list[int]


@dataclass
class _Difference:
    fact: str
    row: Row
    values: list[Value]
    lacking: list[int]
    works: list[str]


@dataclass
class _Found:
    """What has been found so far. reasons: by fact, the sides that could not be compared, each with its reason."""

    sides: int
    differences: dict[str, list[_Difference]] = field(default_factory=dict)
    reasons: dict[str, dict[int, str]] = field(default_factory=dict)
    same: set[str] = field(default_factory=set)

    def not_compared(self, sides: Sequence[Facts]) -> list[NotCompared]:
        """One line a fact: the first side's reason, and how many more sides there are."""
        lines = []
        for name, reasons in self.reasons.items():
            first = min(reasons)
            more = f" (and {len(reasons) - 1} more)" if 1 < len(reasons) < len(sides) else ""
            lines.append(NotCompared(name, reasons[first].replace(_LABEL, sides[first].label) + more))
        return lines


_LABEL = "\0"
"""Stands for the side's label in a reason, which sides with one block share."""


def _compare_blocks(work: str, holders: list[_Holders], catalogue: Catalogue, found: _Found) -> None:
    """One facet after one work: every fact that some side has."""
    for name in sorted(set().union(*(one.block.facts for one in holders))):
        row = catalogue.row(name)
        if row is None:
            found.reasons.setdefault(name, {})[0] = "a fact that this auditor does not know; upgrade it"
        elif all(name in one.block.facts and one.block.facts[name].status is not None for one in holders):
            found.same.add(name)  # equal absences are equal
        else:
            _compare_fact(name, row, work, holders, found)


def _compare_fact(name: str, row: Row, work: str, holders: list[_Holders], found: _Found) -> None:
    able: list[tuple[Value, list[int]]] = []
    lacking: dict[int, str] = {}
    for one in holders:
        value, reason = _value(name, row, one.block)
        if reason:
            lacking.update(dict.fromkeys(one.positions, reason))
        else:
            able.append((value, one.positions))
    if row.only != "engine":  # a host has no engine around it: nothing is missing there
        for position, reason in lacking.items():
            found.reasons.setdefault(name, {}).setdefault(position, reason)
    if sum(len(positions) for _, positions in able) < 2:
        return
    if all(_same(value, able[0][0]) for value, _ in able):
        found.same.add(name)
        return
    values: list[Value] = [None] * found.sides
    known = set()
    for value, positions in able:
        for position in positions:
            values[position] = value
        known.update(positions)
    variants = found.differences.setdefault(name, [])
    again = next((one for one in variants if all(map(_same, one.values, values))), None)
    if again is None:
        again = _Difference(name, row, values, [n for n in range(found.sides) if n not in known], [])
        variants.append(again)
    if work != MACHINE:
        again.works.append(work)


def _value(name: str, row: Row, facts: Block) -> tuple[Value, str]:
    """A fact's value in a block, or why it cannot be compared. A member that a complete family does not have is None, a
    value like any other."""
    fact = facts.facts.get(name)
    if name in facts.unsteady and row.kind != "volatile":
        return None, f"not the same in {_LABEL}'s own runs"
    if fact is None:
        return None, "" if row.complete and _knows_all(facts, row) else f"{_LABEL} did not capture it"
    return fact.value, f"{_LABEL}: {fact.status} ({fact.reason})" if fact.status is not None else ""


def _same(a: Value, b: Value) -> bool:
    """Equal and of one type: False is not 0."""
    return a == b and type(a) is type(b)


def _knows_all(facts: Block, row: Row) -> bool:
    """Whether these facts list the whole family: what is not in a list that could be read is not there."""
    family = row.fact.split(".")[0]
    count = facts.facts.get(family + ".count")
    if count is not None:
        return count.status is None
    return any(name.startswith(family + ".") for name in facts.facts)


def _loudest_first(difference: _Difference) -> tuple[int, str]:
    order = ["numeric", "performance", "identity", "volatile"]
    return order.index(difference.row.kind), difference.fact


def _merged(one: _Difference) -> FactDifference:
    row = one.row
    return FactDifference(
        fact=one.fact,
        kind=row.kind,
        components=list(row.components),
        values=one.values,
        works=one.works,
        changes=_changes([value for position, value in enumerate(one.values) if position not in one.lacking]),
        meaning=row.meaning,
        lacking=one.lacking,
    )


def _changes(values: list[Value]) -> list[str]:
    """What changed inside a list or a mapping, from the first side to the first that has another one."""
    first = values[0]
    last = next((value for value in values if not _same(value, first)), first)
    if isinstance(first, list) and isinstance(last, list):
        gone, new = set(first) - set(last), set(last) - set(first)
        return [f"-{item}" for item in first if item in gone] + [f"+{item}" for item in last if item in new]
    if isinstance(first, dict) and isinstance(last, dict):
        from deepdiff import DeepDiff  # 0.2 s to import: only where a structured fact differs

        # threshold 0: else one large change hides all the small ones (FIELD section 4).
        changed = DeepDiff(first, last, threshold_to_diff_deeper=0, verbose_level=2)
        lines: list[str] = changed.pretty().splitlines()
        return lines
    return []
