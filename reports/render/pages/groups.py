"""Who agrees with whom: with more than two reports, the groups, why each parts, and what only its members have."""

from __future__ import annotations

from collections.abc import Sequence

from ...comparison import Cause, Comparison, FirstDivergence, Group
from ...programs import explaining, is_program
from . import program
from .page import Block, Row, Section, section
from .ranges import folded
from .words import count, listed, value

MOST = 8
"""So many groups are shown without --all."""

RUNS = 3
"""So many runs of numbers are shown in one range of labels."""

_VALUE = 28


def several(comparison: Comparison) -> bool:
    """Whether there are groups to speak of, and not only one side and the other."""
    return len(comparison.reports) > 2


def who(labels: Sequence[str], all: bool = False) -> str:
    """Labels folded into ranges: "gpu[001-117,119] and login1". all: none of them left out."""
    return listed(folded(labels), len(labels)) if all else listed(folded(labels, RUNS), 3)


def shown(comparison: Comparison, all: bool) -> list[Cause]:
    """The causes in detail: all of them, or of several groups those of the largest that has any, and of a program those
    of where it parts."""
    found = comparison.causes
    if all or not found:
        return found
    if several(comparison):
        found = [cause for cause in found if cause.labels == found[0].labels]
    first = program.parted(comparison)
    return (explaining(found, first) if first else []) or found


def noun(comparison: Comparison) -> str:
    """What is compared: reports of machines, or targets of one report."""
    return "target" if len({side.file for side in comparison.reports}) == 1 else "report"


def who_agrees(comparison: Comparison) -> str:
    """ "990 of 1,000 reports agree; the other 10 give 3 other results." """
    total = sum(len(group.labels) for group in comparison.groups)
    largest = max((len(group.labels) for group in comparison.groups), default=0)
    if largest < 2:
        return f"No two of {total:,} {noun(comparison)}s agree."
    others = len(comparison.groups) - 1
    rest = total - largest
    if rest == 1 and comparison.groups[-1].labels:
        return f"{largest:,} of {total:,} {noun(comparison)}s agree; {comparison.groups[-1].labels[0]} does not."
    result = "another result" if others == 1 else f"{others:,} other results"
    return f"{largest:,} of {total:,} {noun(comparison)}s agree; the other {rest:,} give {result}."


def blamed_groups(comparison: Comparison) -> str:
    """ "Likely causes: the CPU (8 reports), the package numpy (2 reports)." """
    reports: dict[str, int] = {}
    for group in comparison.groups[1:]:
        for cause in _of(comparison, group):
            name = _name(cause)
            reports[name] = reports.get(name, 0) + len(group.labels)
    if not reports:
        return "Cause unknown: no differing fact explains it."
    ranked = sorted(reports, key=lambda name: (name == _UNKNOWN, -reports[name]))
    texts = [f"{name} ({count(reports[name], noun(comparison))})" for name in ranked]
    return f"Likely cause{'s' if len(texts) > 1 else ''}: {listed(texts, 3)}."


_UNKNOWN = "unknown"


def _name(cause: Cause) -> str:
    """A cause without its values, which are not the same for all groups: "the CPU"."""
    if cause.root is None:
        return _UNKNOWN
    return cause.title.split(" (")[0] or cause.root


def _of(comparison: Comparison, group: Group) -> list[Cause]:
    members = set(group.labels)
    return [cause for cause in comparison.causes if cause.labels[-1:] and cause.labels[-1] in members]


def grouped(comparison: Comparison, all: bool, folds: bool) -> Section:
    """The groups: who, why they part from the reference and where, and what only they have. folds: see `diff_page`."""
    if not several(comparison):
        return section()
    groups = comparison.groups if all else comparison.groups[:MOST]
    rows = []
    for number, group in enumerate(groups):
        first, *others = _group(comparison, group, number, all and not folds)
        if folds:
            whole, *rest = _group(comparison, group, number, True)
            rows.append(Row((first,), more=(("All of them", whole),) if whole != first else ()))
            pairs = zip(others, rest, strict=True)
            rows += [
                Row((text,), more=(("All of it", long),) if long != text else (), below=True) for text, long in pairs
            ]
        else:
            rows += [Row((first,)), *(Row((text,), below=True) for text in others)]
    left_out = len(comparison.groups) - len(groups)
    if left_out:
        rows.append(Row((f"... {left_out:,} more groups (--all)",)))
    return section(Block("Groups", tuple(rows), least=2 * MOST, weight=8))


def _group(comparison: Comparison, group: Group, number: int, all: bool) -> list[str]:
    """How many, why and who; then where they part from the reference, and what is only there."""
    labels = who(group.labels, all)
    size = len(group.labels)
    if number == 0:
        return [f"{size:,} agree (the reference): {labels}" if size > 1 else f"{labels} (the reference)"]
    causes = _of(comparison, group)
    known = [f"{_name(cause)} ({', '.join(cause.components)})" for cause in causes if cause.root is not None]
    unknown = ", ".join(name for cause in causes if cause.root is None for name in cause.components)
    where = f"first at {place(group.first_divergence)}" if group.first_divergence else ""
    if not causes:
        why = "cause unknown" if where else _unsteady(comparison, group)
    else:
        why = "; ".join([*known, *([f"cause unknown ({unknown})"] if unknown else [])])
    only = f"only here: {_only(group, 50 if all else 3)}" if group.only else ""
    if unknown and not group.only:
        only = "nothing is only here: if it comes again, suspect the hardware"
    more = "; ".join(part for part in (where, only) if part)
    return [f"{size:,} by {why}: {labels}" if known else f"{size:,}, {why}: {labels}", *([more] if more else [])]


def _unsteady(comparison: Comparison, group: Group) -> str:
    members = set(group.labels)
    for side in comparison.reports:
        if side.label in members and side.nondeterministic:
            return f"does not repeat itself: {listed(side.nondeterministic, 2)}"
    return "where was not found"


def _only(group: Group, most: int) -> str:
    return listed([f"{name} {_short(value(one))}" for name, one in group.only.items()], most)


def _short(text: str) -> str:
    return text if len(text) <= _VALUE else text[: _VALUE - 3] + "..."


def place(first: FirstDivergence) -> str:
    """ "job numpy, step 0, forward, block 0 attention, matmul f32"."""
    if first.job == "operators":
        return f"operator {first.operator}"
    if is_program(first.job):
        return program.place(first)
    step = None if first.step is None else f"step {first.step:,}"
    return ", ".join(part for part in (f"job {first.job}", step, first.phase, first.tensor, first.operator) if part)
