"""A cause in plain words, from the catalogue's phrases and the values that differ."""

from __future__ import annotations

from collections.abc import Sequence

from audit.causes import layer
from audit.causes.attribute import Explanation
from audit.compare.side import Measured
from reports.catalogue import Catalogue, Component
from reports.comparison import Evidence, FactDifference
from reports.render.pages.words import joined
from reports.report import Value

_SHORT = 28
"""The most characters of a value that stands between other words."""


def value(one: Value, longest: int = 48) -> str:
    """A fact's value in a sentence; what is not there is said so, a long one is cut, a long list counted."""
    if one is None:
        return "not set"
    if isinstance(one, bool):
        return "on" if one else "off"
    if isinstance(one, list):
        text = " ".join(map(str, one)) or "none"
        return text if len(text) <= longest else f"{len(one)} items"
    text = ", ".join(f"{key} {item}" for key, item in one.items()) if isinstance(one, dict) else str(one)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def title(explanation: Explanation, differences: dict[str, FactDifference], catalogue: Catalogue) -> str:
    """What the first line says: "the CPU (AuthenticAMD 25-17 / GenuineIntel 6-60)"."""
    if explanation.root is None:
        return "none of the captured facts"
    difference = differences[explanation.root]
    if _is_drawn(difference):
        return "the program sets no seed, so each run draws its own"
    values = " / ".join(dict.fromkeys(value(one, _SHORT) for one in difference.values))
    return f"{_name(explanation.root, catalogue)} ({values})"


def _name(fact: str, catalogue: Catalogue) -> str:
    found = catalogue.find(fact)
    if fact.startswith("variables."):
        return "the variable " + fact.split(".", 1)[1]
    if found and found[1] and fact.startswith("packages."):
        return "the package " + found[1].removesuffix(".version")
    if fact.startswith("system_packages."):
        return "the system package " + fact.split(".", 1)[1].rpartition(".")[0]
    return (found[0].plain if found else "") or fact


def plain(
    explanation: Explanation, differences: dict[str, FactDifference], catalogue: Catalogue, labels: list[str]
) -> str:
    """One sentence: which fact in effect is not the same, and what that does to numbers."""
    effects = [_component(catalogue, name).effect for name in explanation.components]
    if explanation.root is None:
        moved = joined([_component(catalogue, name).plain for name in explanation.components])
        return f"Results of {moved} differ between {joined(labels)}, and no captured fact explains it."
    told = _told(explanation, differences)
    subject, row = _name(told.fact, catalogue), catalogue.row(told.fact)
    effects = [row.effect] if row and row.effect else effects
    there = joined([f"{value(one, _SHORT)} on {label}" for one, label in zip(told.values, labels, strict=True)])
    if told.fact.startswith("program."):
        drawn = " So long a number is drawn where none is set: torch.manual_seed(0) sets one." * _is_drawn(told)
        return f"{_sentence(subject)} is not the same: {there}.{drawn}"
    if isinstance(told.values[0], list) or (row and row.unit == "digest"):
        there = f"not the same on {joined(labels)}"
    elif all(isinstance(one, bool) for one in told.values):
        sides = dict(zip(told.values, labels, strict=True))
        return f"{_sentence(subject)} happens on {sides[True]} and not on {sides[False]}, so {joined(effects)}."
    return f"{_sentence(subject)} is {there}, so {joined(effects)}."


def _is_drawn(difference: FactDifference) -> bool:
    """Whether the seeds of a program were set nowhere in it: PyTorch then draws one of 64 bits."""
    seeds = [one.values() if isinstance(one, dict) else () for one in difference.values]
    return difference.fact == "program.seeds" and all(
        any(isinstance(one, int) and one >> 32 for one in side) for side in seeds
    )


def _told(explanation: Explanation, differences: dict[str, FactDifference]) -> FactDifference:
    """The fact that the sentence is about: what is in effect for one component; for several, the root they share."""
    below = [differences[name] for name in explanation.facts if differences[name].works]
    readable = [one for one in below if isinstance(one.values[0], (str, int))]
    if len(explanation.components) == 1 and readable:
        return readable[0]
    return differences[explanation.root or ""]


def _component(catalogue: Catalogue, name: str) -> Component:
    """The component's words; a newer report's component goes by its name."""
    return catalogue.components.get(name) or Component(name, name, name, f"{name} gives other bits")


def _sentence(subject: str) -> str:
    return subject[0].upper() + subject[1:]


def evidence(
    explanation: Explanation,
    differences: dict[str, FactDifference],
    counts: dict[str, list[int]],
    sides: Sequence[Measured],
) -> list[Evidence]:
    """The lines under a cause: the root first, then the facts in effect below it; with what speaks for each, and the
    layers of images that brought it."""
    lines: list[Evidence] = []
    for fact in explanation.facts:
        difference = differences[fact]
        notes = [
            f"{counts[name][1] - counts[name][0]} of {counts[name][1]} {name} operators differ"
            for name in difference.components
            if name in explanation.components and name in counts
        ]
        notes += _layers(fact, sides)
        # What speaks for a cause is said once, not beside every fact of the same component.
        note = "; ".join(note for note in notes if not any(note in line.note for line in lines))
        lines.append(Evidence(fact, difference.values, note, fact == explanation.root))
    return lines


def _layers(fact: str, sides: Sequence[Measured]) -> list[str]:
    """For each image among the sides, its layer that brought what the fact is about."""
    found = []
    for side in sides:
        key = layer.key(fact, side.fact)
        brought = side.fact(f"image.{key}.layer") if key else None
        if brought:
            found.append(f"{side.label}: layer {brought}")
    return found
