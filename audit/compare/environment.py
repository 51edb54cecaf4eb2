"""Which facts are not the same on all sides, and which could not be compared, with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from audit.compare.side import Measured
from reports.catalogue import Catalogue, Row
from reports.comparison import Environment, FactDifference, NotCompared
from reports.report import Facts, Value


def compare(sides: list[Measured], catalogue: Catalogue) -> Environment:
    """Facts of all sides: machine facts once, facts in effect work by work (a job's with the same job's)."""
    found = _Found()
    _compare_facts([side.target.facts for side in sides], "", sides, catalogue, found)
    works = [side.works() for side in sides]
    for work in works[0]:
        if all(work in one for one in works):
            _compare_facts([one[work] for one in works], work, sides, catalogue, found)
    same = len(found.same - {name for name, _ in found.differences})
    differences = sorted(found.differences.values(), key=_loudest_first)
    return Environment([_merged(one) for one in differences], list(found.not_compared.values()), same)


@dataclass
class _Difference:
    fact: str
    row: Row
    values: list[Value]
    works: list[str]


@dataclass
class _Found:
    differences: dict[tuple[str, str], _Difference] = field(default_factory=dict)
    not_compared: dict[str, NotCompared] = field(default_factory=dict)
    same: set[str] = field(default_factory=set)


def _compare_facts(facts: list[Facts], work: str, sides: list[Measured], catalogue: Catalogue, found: _Found) -> None:
    """work: after which the facts were read; "" for machine facts."""
    for name in sorted(set().union(*facts)):
        row = catalogue.row(name)
        if row is None:
            found.not_compared[name] = NotCompared(name, "a fact that this auditor does not know; upgrade it")
            continue
        values, reason = _values(name, facts, row, sides)
        unsteady = [side.label for side in sides if work and name in side.target.unsteady]
        if unsteady and row.kind != "volatile":
            reason = f"not the same in {unsteady[0]}'s own runs"
        if reason:
            found.not_compared[name] = NotCompared(name, reason)
        elif all(_same(value, values[0]) for value in values):
            found.same.add(name)
        else:
            known = found.differences.setdefault((name, repr(values)), _Difference(name, row, values, []))
            if work:
                known.works.append(work)


def _values(name: str, all_facts: list[Facts], row: Row, sides: list[Measured]) -> tuple[list[Value], str]:
    """One value a side, or why they cannot be compared. Equal absences are equal; a member that a complete family does
    not have is None, a value like any other."""
    facts = [one.get(name) for one in all_facts]
    if all(fact is not None and fact.status is not None for fact in facts):
        return [None for _ in facts], ""
    values: list[Value] = []
    for fact, side, others in zip(facts, sides, all_facts, strict=True):
        if fact is None and not (row.complete and _knows_all(others, row)):
            return [], f"{side.label} did not capture it"
        if fact is not None and fact.status is not None:
            return [], f"{side.label}: {fact.status} ({fact.reason})"
        values.append(fact.value if fact else None)
    return values, ""


def _same(a: Value, b: Value) -> bool:
    """Equal and of one type: False is not 0."""
    return a == b and type(a) is type(b)


def _knows_all(facts: Facts, row: Row) -> bool:
    """Whether these facts list the whole family: what is not in a list that could be read is not there."""
    family = row.fact.split(".")[0]
    count = facts.get(family + ".count")
    if count is not None:
        return count.status is None
    return any(name.startswith(family + ".") for name in facts)


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
        changes=_changes(one.values),
        meaning=row.meaning,
    )


def _changes(values: list[Value]) -> list[str]:
    """What changed inside a list or a mapping, from the first side to the last."""
    first, last = values[0], values[-1]
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
