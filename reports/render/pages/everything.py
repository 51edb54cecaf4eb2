"""What `audit diff --all` adds: every side, every operator that differs, every differing fact, all not compared."""

from __future__ import annotations

from msgspec.structs import replace

from ...comparison import Comparison, OperatorDifference
from . import sides, words
from .compared import fact_table
from .page import Block, Code, Row, Section, section, sentence
from .words import count, listed

WIDE = 200
"""The most characters of a value here: enough for what people compare by eye, not for a list of 400 flags."""

_KINDS = (
    ("numeric", "Differing facts that can change results"),
    ("performance", "Differing facts: speed only"),
    ("identity", "Differing facts: which machine it is"),
    ("volatile", "Differing facts: time and load"),
)


def everything(comparison: Comparison) -> list[Section]:
    """All that the short page leaves out."""
    parts = [_sides(comparison), _operators(comparison)]
    for kind, title in _KINDS:
        items = [item for item in comparison.environment.differences if item.kind == kind]
        parts.append(section(fact_table(items, comparison, why=False, most=WIDE), title=title))
    missing = tuple(Row((Code(item.fact), item.reason)) for item in comparison.environment.not_compared)
    parts.append(section(Block("", missing, ("what", "why")) if missing else None, title="Not compared"))
    parts.append(section(sentence("Same", f"{count(comparison.environment.same, 'fact')}")))
    return [replace(part, folded=True) for part in parts]


def _sides(comparison: Comparison) -> Section:
    rows = []
    for name, side in sides.named(comparison):
        prints = ", ".join(f"{job} {shown}" for job, shown in side.results.items()) or "none"
        rows.append(Row((name, side.summary, prints, side.environment, side.digest[:16])))
    header = ("name", "what", "results", "environment", "report")
    incomplete = [
        sentence("", f"incomplete, {name}: {what}")
        for name, side in sides.named(comparison)
        for what in side.incomplete
    ]
    return section(Block("", tuple(rows), header), *incomplete, title="Reports")


def _operators(comparison: Comparison) -> Section:
    rows = tuple(_operator(item) for item in comparison.results.operators.differing)
    table = Block("", rows, ("operator", "component", "size")) if rows else None
    return section(table, title="Operators that differ")


def _operator(item: OperatorDifference) -> Row:
    own = item.components[0] if item.components else "unknown"
    through = f" through {listed(item.components[1:])}" if len(item.components) > 1 else ""
    return Row((Code(item.operator), own + through, words.size(item.size)))
