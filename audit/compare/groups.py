"""Which sides agree with each other: groups by equal bits, the largest first. Never by means."""

from __future__ import annotations

from audit.compare.side import Measured


def groups(sides: list[Measured]) -> list[list[Measured]]:
    """Sides grouped by their bits; largest first, ties by first side; members in the order given.

    The fullest reports open the groups, and each other side joins the first group whose opener has the same bits in all
    that both measured and repeat. A side without results is in no group, unless none has any: then all are in one.
    """
    measured = [side for side in sides if side.runs]
    if not measured:
        return [list(sides)]
    found: list[list[Measured]] = []
    for side in sorted(measured, key=lambda side: -len(_settled(side))):
        group = next((group for group in found if _agree(group[0], side)), None)
        if group is None:
            found.append([side])
        else:
            group.append(side)
    place = {id(side): position for position, side in enumerate(sides)}
    in_order = [sorted(group, key=lambda side: place[id(side)]) for group in found]
    return sorted(in_order, key=lambda group: (-len(group), place[id(group[0])]))


def fullest(group: list[Measured]) -> Measured:
    """The side of a group that measured most; the first of equals."""
    return max(group, key=lambda side: len(_settled(side)))


def _settled(side: Measured) -> dict[str, str]:
    """The digest of everything that a side measured and repeats, by what it is of."""
    found = {
        f"operator {name} {operator.version}": operator.result.digest
        for name, operator in side.operators.items()
        if operator.result and not operator.repeats and not operator.hazard
    }
    for name, job in side.jobs.items():
        if job.trace and all(repeat.digest == job.trace.digest for repeat in job.repeats):
            found[f"job {name} {job.version} {job.configuration}"] = job.trace.digest
    return found


def _agree(a: Measured, b: Measured) -> bool:
    mine, its = _settled(a), _settled(b)
    common = mine.keys() & its.keys()
    return bool(common) and all(mine[name] == its[name] for name in common)
