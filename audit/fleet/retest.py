"""Which nodes are measured again before they are named, and what came of it.

Re-tests lie in `DIR/retests/K/LABEL.json`, those of round K measured in one way: the whole machine in odd rounds, in
even ones a half of its CPUs. So a node is held against a control of the same round, and against itself in odd rounds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from audit import inputs
from audit.compare.programs import aligned
from audit.compare.side import Outline
from audit.errors import AuditError
from reports.fleet import Fleet, NodeClass, Verdict

FOLDER = "retests"

MOST = 50
"""So many nodes are measured again in one round, without their controls."""

_SHARE = 10
"""One in so many of a class is measured again: what more of them have is no fault of a single node."""

Rounds = Mapping[int, Mapping[str, Outline]]
"""By round, the nodes that were measured again by label."""


class Judgement(NamedTuple):
    """As the fields of `reports.fleet.Outlier`."""

    verdict: Verdict
    rounds: int = 0
    half: tuple[int, ...] = ()
    unsteady: tuple[str, ...] = ()


def wanted(fleet: Fleet) -> list[str]:
    """The labels to measure again: outliers, at most one in ten of a class (but one) and 50 in all, and of each class
    that has any one control, a member of its reference. Every kind of outlier is there before a second of one kind."""
    nodes: list[str] = []
    controls = []
    for one in fleet.classes:
        odd = [label for outlier in one.outliers for label in outlier.labels]
        steady = [label for label in one.reference if label not in odd]
        if one.outliers and steady:
            nodes += _alternating(one)[: max(1, len(one.labels) // _SHARE)]
            controls.append(steady[0])
    return [*nodes[:MOST], *controls]


def _alternating(one: NodeClass) -> list[str]:
    """The first node of each outlier, then the second of each."""
    ranked = [(place, n, label) for n, odd in enumerate(one.outliers) for place, label in enumerate(odd.labels)]
    return [label for _, _, label in sorted(ranked)]


def read(folder: str, allow_edited: bool) -> tuple[Rounds, list[str]]:
    """All rounds of a folder, and what must be said of files that cannot be used."""
    rounds: dict[int, dict[str, Outline]] = {}
    notes = []
    for number, path in _folders(os.path.join(folder, FOLDER)):
        try:
            found = inputs.sides([path], allow_edited, expecting=True)
        except AuditError as error:
            notes.append(str(error))
            continue
        rounds[number] = {side.outline.label: side.outline for side in found.sides}
        notes += [f"re-test {number}, {one.fact}: {one.reason}" for one in found.left_out]
    return rounds, notes


def _folders(path: str) -> Iterator[tuple[int, str]]:
    names = os.listdir(path) if os.path.isdir(path) else []
    for name in sorted((name for name in names if name.isascii() and name.isdigit()), key=int):
        yield int(name), os.path.join(path, name)


def judge(node: Outline, reference: Mapping[str, Outline], rounds: Rounds, common: set[str]) -> Judgement | None:
    """What the re-tests say of a node that repeats itself within its report; None of one of the reference that does so
    from round to round as well.

    common: what nobody of its class repeats. Not confirmed: a node gave other bits than its class and never again.
    Confirmed: on the whole machine it differs from the control every time, and in the same way. It need not on half of
    the CPUs: fewer threads add in another order, and a faulty core may be in the other half.
    """
    whole: dict[int, bool] = {}
    half: dict[int, bool] = {}
    unsteady: dict[str, None] = {}
    for number, again in rounds.items():
        mine, control = again.get(node.label), _control(again, reference, number)
        if mine is not None and _is_whole(number):
            unsteady.update(dict.fromkeys([*parted(node, mine), *not_repeated(mine, common)]))
        if mine is not None and control is not None:
            (whole if _is_whole(number) else half)[number] = bool(parted(mine, control))
    count = len(whole) + len(half)
    if node.label in reference:
        return Judgement("nondeterministic", count, (), tuple(unsteady)) if unsteady else None
    if not whole:
        return Judgement("not re-tested")
    if not any([*whole.values(), *half.values()]):
        return Judgement("not confirmed", count)
    agreed = tuple(number for number, differs in half.items() if not differs)
    verdict: Verdict = "nondeterministic" if unsteady else "confirmed"
    return Judgement(verdict, count, agreed, tuple(unsteady))


def _is_whole(number: int) -> bool:
    return number % 2 == 1


def _control(again: Mapping[str, Outline], reference: Mapping[str, Outline], number: int) -> Outline | None:
    """A node of the reference that was measured in a round, and repeats itself where that can be seen."""
    for label, outline in again.items():
        if label in reference and not (_is_whole(number) and parted(reference[label], outline)):
            return outline
    return None


def not_repeated(node: Outline, common: set[str]) -> list[str]:
    """What a node does not repeat within its report, without what nobody of its class does (`common`)."""
    return [what for what in node.nondeterministic if what not in common]


def parted(one: Outline, other: Outline) -> list[str]:
    """What both measured and repeat, and came out otherwise: "operator libm.exp", "job numpy"."""
    mine, its = (outline.settled for outline in aligned([one, other]))
    found = [name for name, digest in mine.items() if its.get(name, digest) != digest]
    return [name.rpartition(" ")[0] if name.startswith("operator ") else name for name in found]
