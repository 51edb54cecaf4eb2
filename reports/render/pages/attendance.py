"""Who of those that should have reported did: the sentence of the first line, and who and why."""

from __future__ import annotations

from ...comparison import Comparison, NodeFinding
from .groups import who
from .page import Block, Row, Section, section, sentence
from .words import count

_SAID = {
    "missing": "did not report",
    "unusable": "gave no usable report",
    "incomplete": "reported incompletely",
    "late": "reported late",
    "stale": "reported only before this round",
}
"""What is said of nodes in the first line, by the kind of finding."""

_LABELS = {**{kind: kind.capitalize() for kind in _SAID}, "unexpected": "Unexpected", "clock": "Clock"}

_REASONS = 3
"""So many reasons of one kind are shown without --all."""


def absent(comparison: Comparison) -> str:
    """ "3 of 500 nodes did not report: gpu[017,201-202]; 1 reported late: gpu119." or "" if all is as expected."""
    attendance = comparison.attendance
    if attendance is None or attendance.whole:
        return ""
    parts: list[str] = []
    for kind, said in _SAID.items():
        labels = _labels(attendance.findings, kind)
        if labels:
            of = "" if parts else f" of {count(attendance.expected, 'node')}"
            parts.append(f"{len(labels):,}{of} {said}: {who(labels)}")
    return "; ".join(parts) + "."


def attended(comparison: Comparison, all: bool) -> Section:
    """Who reported, and of each kind of finding who and why."""
    attendance = comparison.attendance
    if attendance is None:
        return section()
    blocks = [sentence("Reported", f"{attendance.reported:,} of {count(attendance.expected, 'node')}", weight=8)]
    for kind, label in _LABELS.items():
        found = [one for one in attendance.findings if one.kind == kind]
        rows = [Row((_said(one, all),)) for one in (found if all else found[:_REASONS])]
        if len(found) > len(rows):
            rest = [name for one in found[_REASONS:] for name in one.labels]
            rows.append(Row((f"{count(len(rest), 'more node')}: {who(rest)}",)))
        blocks.append(Block(label, tuple(rows), weight=7))
    return section(*blocks)


def _said(one: NodeFinding, all: bool) -> str:
    return f"{who(one.labels, all)}: {one.reason}" if one.reason else who(one.labels, all)


def _labels(findings: list[NodeFinding], kind: str) -> list[str]:
    return [label for one in findings if one.kind == kind for label in one.labels]
