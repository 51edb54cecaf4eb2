"""What the catalogue knows of a fact, for a page that can be unfolded."""

from __future__ import annotations

from ...catalogue import catalogue
from .explain import KINDS
from .page import Code
from .words import component, joined

MOST_KNOWN = 2000
"""So many rows of a table are explained: a hostile file may have a hundred thousand."""


def known(fact: str) -> tuple[tuple[str, str], ...]:
    """What a fact is, of which kind, what it touches, and what decides it; nothing of one that this auditor has not."""
    rows = catalogue()
    row = rows.row(fact)
    if row is None:
        return ()
    unit = f" ({row.unit})" if row.unit else ""
    found = [
        ("What it is", f"{row.meaning}{unit}"),
        ("Kind", KINDS[row.kind]),
        ("Touches", joined(map(component, row.components))),
        ("Decided by", Code(", ".join(edge.fact for edge in rows.deciders(fact)))),
    ]
    return tuple((label, text) for label, text in found if text)
