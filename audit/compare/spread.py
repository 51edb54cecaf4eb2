"""How differing facts lie over the groups: which cannot be why two groups differ, and which only one group has."""

from __future__ import annotations

from dataclasses import dataclass

from reports.comparison import Environment, FactDifference
from reports.report import Value


@dataclass
class Spread:
    """How one difference lies over the groups. values: for each group the values that its members have, as text."""

    difference: FactDifference
    values: list[set[str]]


def spread(whole: Environment, grouped: list[list[int]]) -> list[Spread]:
    found = []
    for one in whole.differences:
        texts = {id(value): repr(value) for value in one.values}  # repr: False is not 0, and lists have no hash
        lacking = set(one.lacking)
        values = [{texts[id(one.values[n])] for n in group if n not in lacking} for group in grouped]
        found.append(Spread(one, values))
    return found


def shared(spread: list[Spread], number: int) -> set[str]:
    """Differing facts of which some member of this group has what some member of the reference has: they cannot be why
    the groups differ, because they did not part the reference's own members."""
    apart = {one.difference.fact for one in spread if not one.values[0] & one.values[number]}
    return {one.difference.fact for one in spread} - apart


def only(group: list[int], number: int, spread: list[Spread]) -> dict[str, Value]:
    """The facts of which all members of a group have one value that nobody outside it has."""
    found: dict[str, Value] = {}
    for one in spread:
        mine, others = one.values[number], [values for n, values in enumerate(one.values) if n != number]
        able = others and one.difference.kind in ("numeric", "performance")
        if able and len(mine) == 1 and not any(mine & values for values in others):
            value = next(one.difference.values[n] for n in group if n not in one.difference.lacking)
            found.setdefault(one.difference.fact, value)
    return found
