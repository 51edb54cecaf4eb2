"""Inside one class: what most nodes came to is the reference; who gives other bits is an outlier, with the likeliest
cause and the facts that only it has. Who does not repeat itself is named, and compared with nobody."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from audit import reading
from audit.compare.engine import compare
from audit.compare.groups import groups
from audit.compare.programs import aligned
from audit.compare.side import Outline, Side
from audit.fleet import retest
from audit.fleet.classes import Class, KnownBy, differing
from reports.comparison import Comparison, Group
from reports.fleet import Near, NodeClass, Outlier, Part

_MARKS = re.compile(r"\((?:R|TM|r|tm)\)|\b(?:CPU|Processor|\d+-Core)\b|@.*")
"""What of a processor's brand text says nothing."""


def judged(
    one: Class,
    nodes: Sequence[Outline],
    sides: Sequence[Side],
    rounds: retest.Rounds,
    notify: reading.Notify = lambda *_: None,
) -> tuple[NodeClass, str]:
    """A class, and the command that would prove the first cause in it ("" if there is none).

    nodes, sides: of the whole fleet, by the positions of the class. Of each group one report is read whole.
    """
    measured = [n for n in one.all if nodes[n].runs]
    common = _common([nodes[n] for n in measured])
    unsteady = {n: own for n in measured if (own := retest.not_repeated(nodes[n], common))}
    steady = [n for n in measured if n not in unsteady]
    outlines = aligned([nodes[n] for n in steady])
    grouped = groups(outlines) if steady else []
    decided = bool(grouped) and len(grouped[0]) > 1 and 2 * len(grouped[0]) > len(steady)
    comparison = compare([sides[n] for n in steady], notify=notify) if decided and len(grouped) > 1 else None
    reference = {outlines[n].label: outlines[n] for n in grouped[0]} if decided else {}
    found = _not_repeating(one, nodes, unsteady)
    for number, group in enumerate(grouped if decided else []):
        judgements = {steady[n]: retest.judge(outlines[n], reference, rounds, common) for n in group}
        found += [
            _outlier(one, nodes, alike, judgement, comparison, number)
            for judgement, alike in _alike(judgements).items()
            if judgement
        ]
    whole = NodeClass(
        name=_name(one.known_by, [nodes[n] for n in one.members]),
        known_by=one.known_by,
        labels=_labels(nodes, one.all),
        reference=list(reference),
        groups=[[outlines[n].label for n in group] for group in grouped],
        near=[Near(few.known_by, _labels(nodes, few.members), _apart(one, few)) for few in one.near],
        outliers=found,
        ruled_out=[ruled.plain or ruled.component for ruled in comparison.ruled_out] if comparison else [],
    )
    return whole, comparison.next if comparison else ""


def _labels(nodes: Sequence[Outline], positions: Sequence[int]) -> list[str]:
    return [nodes[n].label for n in positions]


def _common(nodes: Sequence[Outline]) -> set[str]:
    """What most nodes do not repeat: it is no fault of one of them."""
    counts = Counter(what for node in nodes for what in node.nondeterministic)
    return {what for what, count in counts.items() if count > 1 and 2 * count > len(nodes)}


def _not_repeating(one: Class, nodes: Sequence[Outline], unsteady: Mapping[int, list[str]]) -> list[Outlier]:
    """Nodes that do not repeat within their own reports, those with the same things together."""
    alike = _alike({n: tuple(what) for n, what in unsteady.items()})
    return [
        Outlier(_labels(nodes, those), "nondeterministic", unsteady=list(what), differs=_differs(one, those))
        for what, those in alike.items()
    ]


Key = TypeVar("Key")


def _alike(by_position: Mapping[int, Key]) -> dict[Key, list[int]]:
    found: dict[Key, list[int]] = {}
    for position, key in by_position.items():
        found.setdefault(key, []).append(position)
    return found


def _outlier(
    one: Class,
    nodes: Sequence[Outline],
    alike: list[int],
    judgement: retest.Judgement,
    comparison: Comparison | None,
    number: int,
) -> Outlier:
    """comparison: of the class, where these nodes are of its group `number` and not of the reference."""
    group = comparison.groups[number] if comparison and number else Group([], None)
    members = set(group.labels)
    return Outlier(
        labels=_labels(nodes, alike),
        verdict=judgement.verdict,
        rounds=judgement.rounds,
        half=list(judgement.half),
        unsteady=list(judgement.unsteady),
        differs=_differs(one, alike),
        first_divergence=group.first_divergence,
        root=group.root,
        components=group.components,
        causes=[one for one in comparison.causes if members.intersection(one.labels[1:])] if comparison else [],
        only=group.only,
    )


def _differs(one: Class, alike: list[int]) -> list[Part]:
    """In what all of these nodes are not of the class."""
    of = {n: _apart(one, few) for few in one.near for n in few.members}
    first, *others = (of.get(n, []) for n in alike)
    return [part for part in first if all(part in other for other in others)]


def _apart(one: Class, few: Class) -> list[Part]:
    return differing(one.known_by, few.known_by)


def _name(known: KnownBy, nodes: Sequence[Outline]) -> str:
    """A class in words: "AMD EPYC 9454, NVIDIA H100 PCIe, driver 560.35, debian 12"."""
    brands = Counter(" ".join(_MARKS.sub(" ", str(node.fact("cpu.name") or "")).split()) for node in nodes)
    brand = min(brands, key=lambda text: (-brands[text], text)) or known.get("cpu", "") or "unknown CPU"
    driver = f"driver {known['driver']}" if "driver" in known else ""
    return ", ".join(part for part in (brand, known.get("gpu", ""), driver, known.get("image", "")) if part)
