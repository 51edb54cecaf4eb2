"""What a person looks for first among all facts of a report: the losses, the settings in effect, the libraries."""

from __future__ import annotations

from ...programs import called
from ...report import Fact, Facts, Target
from ..escape import cut
from . import measured
from .course import MOST, losses
from .page import Block, Code, Row, Section, section, sentence
from .words import count, value

LONGEST = 200
"""The most characters of a setting's value."""


def loss_curves(target: Target) -> list[Section]:
    """The loss of every job, step by step."""
    found = []
    for job in target.jobs:
        whole = job.outcome.losses if job.outcome else []
        every = -(-len(whole) // MOST) or 1
        if len(whole) > 1:
            found.append(losses(called(job.name), [(target.name, whole[::every])], every))
    return found


def overview(target: Target) -> list[Section]:
    """The settings in effect, and which libraries these are."""
    facts = measured.every(target)
    return [_settings(facts), _libraries(facts)]


def _settings(facts: Facts) -> Section:
    """The variables that are set, of those that can change numbers."""
    asked = [name for name in facts if name.startswith("variables.")]
    rows = [
        Row((Code(name.removeprefix("variables.")), Code(cut(value(facts[name].value), LONGEST))))
        for name in sorted(asked)
        if facts[name].value is not None
    ]
    if rows:
        shown: Block | None = Block("", tuple(rows), ("variable", "value"))
    else:
        shown = (
            sentence("", f"none of the {count(len(asked), 'variable')} that can change numbers is set")
            if asked
            else None
        )
    return section(shown, title="Settings in effect")


def _libraries(facts: Facts) -> Section:
    """The libraries that are mapped, with their versions and what owns them."""
    names = sorted({name.split(".", 1)[1].rpartition(".")[0] for name in facts if name.startswith("libraries.")})
    rows = [
        Row((Code(name), _text(facts, f"libraries.{name}.version"), _text(facts, f"libraries.{name}.owner")))
        for name in names
        if name
    ]
    return section(Block("", tuple(rows), ("library", "version", "belongs to")) if rows else None, title="Libraries")


def _text(facts: Facts, name: str) -> str:
    found = facts.get(name, Fact()).value
    return "" if found is None else cut(value(found), LONGEST)
