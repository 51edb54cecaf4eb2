"""The pages of `audit history`: when results moved first and with what, what changed on which nodes, one fact over
time; and of `audit history add`: what was kept."""

from __future__ import annotations

from collections.abc import Sequence

from ...catalogue import catalogue
from ...history import Added, Change, FactChange, FirstMove, History, Moved
from ...report import Value
from ..escape import cut
from .groups import who
from .page import Block, Code, Page, Row, Section, Tone, page, section, sentence
from .words import component, count, joined, listed, size_bytes, value

ANSWER = 300
"""The most characters of the first line."""

_VALUE = 32
"""The most characters of a value in a sentence."""

_FACTS = 2
"""So many facts of a change are named without --all."""

_ROWS = 12
"""So many changes are shown without --all."""


def history_page(found: History | Added, all: bool = False) -> Page:
    """The page of what was kept, or of what the history tells. all: every change with all its facts."""
    if isinstance(found, Added):
        return _added(found)
    tone, verdict, answer = _first(found)
    return page(
        (tone, cut(verdict, ANSWER), cut(answer, ANSWER)),
        [_seen(found), _held(found), _first_moves(found), _changes(found, all)],
        _closing(found),
        found.next and f"Next:  {found.next}",
        "History",
    )


def _added(found: Added) -> Page:
    reports = count(found.new, "report")
    tone: Tone = "unsure" if found.unusable else "good"
    size = f"{found.database} ({size_bytes(found.bytes)})"
    there = f"; {found.known:,} {'was' if found.known == 1 else 'were'} there already" if found.known else ""
    lost = f"; {count(len(found.unusable), 'file')} cannot be used" if found.unusable else ""
    verdict = "ADDED." if found.new else "NOTHING NEW."
    reasons: dict[str, list[str]] = {}
    for file, reason in found.unusable.items():
        reasons.setdefault(reason, []).append(file)
    rows = tuple(Row((f"{listed(files, 3)}: {reason}",)) for reason, files in reasons.items())
    ahead = f"{who(found.ahead)}: dated in the future or not at all, so the day is that of adding"
    older = f"{who(found.older)}: a newer report of it was there; this one stands before it, at its own day"
    return page(
        (tone, verdict, f"{reports} into {size}{there}{lost}."),
        [
            section(
                Block("Unusable", rows, least=3),
                sentence("Clock", ahead) if found.ahead else None,
                sentence("Older", older) if found.older else None,
            )
        ],
        "Exit 3 (incomplete)" if found.exit else "",
        f"Next:  {found.next}",
    )


# The first line


def _first(found: History) -> tuple[Tone, str, str]:
    """Tone, verdict and the rest of the first line."""
    if found.verdict == "nothing-to-compare":
        why = f"{_nodes(found)} reported once; the second report of a node tells what changed."
        if found.since:
            why = f"No node has a report since {found.since} and one before it."
        return "unsure", "NOTHING TO COMPARE.", why
    if found.fact is not None:
        return _of_fact(found)
    if found.move:
        verdict = f"RESULTS MOVED on {found.move.day} on {who(found.move.labels)}:"
        return "bad", verdict, f"{_what(found.move)}, {_with(found.move)}."
    facts = {fact.fact for change in found.changes for fact in change.facts}
    changed = f"{count(len(facts), 'fact')} changed" if facts else "No fact changed"
    if not found.measured:
        return "unsure", "FACTS ONLY, no results.", f"{changed} on {_nodes(found)}."
    same = f"{count(found.measured, 'node')} kept {'its' if found.measured == 1 else 'their'} bits"
    return "good", "NO RESULTS MOVED.", f"{same}{_period(found)}. {changed}{'; none moved a result' if facts else ''}."


def _of_fact(found: History) -> tuple[Tone, str, str]:
    name = found.fact or ""
    newest = found.held[0]
    if not found.changes:
        held = f"{_short(newest.value)} on {_nodes(found)}" if len(found.held) == 1 else _spread(found)
        return "good", "UNCHANGED.", f"{name}: {held}{_period(found)}."
    last = found.changes[0]
    what = f"{_fact(last.facts[0])} on {who(last.labels)}"
    return "bad", f"CHANGED, last on {last.day}:", f"{what}; now {_spread(found)}."


def _spread(found: History) -> str:
    return listed([f"{_short(one.value)} on {count(len(one.labels), 'node')}" for one in found.held if one.labels], 3)


def _nodes(found: History) -> str:
    return count(found.nodes, "node")


def _period(found: History) -> str:
    return f" since {max(found.first, found.since or '')}"


def _what(move: FirstMove) -> str:
    return joined([_name(one) for one in move.what[:4]] + ["more"] * (len(move.what) > 4))


def _name(what: str) -> str:
    """ "job numpy", or a component's plain name."""
    return component(what) if what in catalogue().components else what


def _with(move: FirstMove) -> str:
    """What changed on the same nodes at the same time."""
    if not move.facts:
        return "and no fact changed with it: suspect the hardware, or what no report holds"
    more = f" (and {count(len(move.facts) - 1, 'more fact')})" if len(move.facts) > 1 else ""
    others = f", which changed on {count(move.others, 'other node')} too" if move.others else ""
    return f"with {_fact(move.facts[0])}{others}{more}"


# The sections


def _seen(found: History) -> Section:
    period = found.first if found.first == found.last else f"{found.first} to {found.last}"
    since = f"; changes since {found.since}" if found.since else ""
    return section(sentence("Seen", f"{_nodes(found)}, {count(found.reports, 'report')}, {period}{since}"))


def _held(found: History) -> Section:
    """The values of the fact that was asked for."""
    rows = [
        Row((Code(_short(one.value)), one.since, one.last, f"{len(one.labels):,}", who(one.labels)))
        for one in found.held
    ]
    header = ("value", "since", "last seen", "nodes", "which have it now")
    return section(Block("", tuple(rows), header, least=4), title=found.fact or "") if rows else section()


def _first_moves(found: History) -> Section:
    rows = [Row((_name(move.what[0]), move.day, move.last, who(move.labels))) for move in found.first_moves]
    header = ("what", "moved first on", "same until", "nodes")
    return section(Block("", tuple(rows), header, least=3, weight=7), title="Results that moved") if rows else section()


def _changes(found: History, all: bool) -> Section:
    """What came about, newest first."""
    rows: list[Row] = []
    for change in found.changes if all else found.changes[:_ROWS]:
        first, *more = _said(change, all)
        rows += [Row((change.day, who(change.labels, all), first)), *(Row(("", "", text), below=True) for text in more)]
    left_out = len(found.changes) - _ROWS
    if left_out > 0 and not all:
        rows.append(Row((f"... {left_out:,} more", "", "(--all)")))
    title = "Changes, newest first"
    return (
        section(Block("", tuple(rows), ("day", "nodes", "what changed"), least=3), title=title) if rows else section()
    )


def _said(change: Change, all: bool) -> list[str]:
    """One line for a page that is short, else one for the results and one a fact."""
    results = [f"RESULTS: {joined(map(_moved, change.results))}"] if change.results else []
    if all:
        return [*results, *(_fact(one) for one in change.facts)]
    shown = [_fact(one) for one in change.facts[:_FACTS]]
    rest = len(change.facts) - len(shown)
    return ["; ".join([*results, *shown, *([f"{count(rest, 'more fact')} (--all)"] if rest else [])])]


def _moved(one: Moved) -> str:
    if not one.repeats:
        return f"{one.what} no longer repeats itself"
    return f"{one.what} ({count(one.operators, 'operator')})" if one.operators else one.what


def _fact(one: FactChange) -> str:
    """ "packages.numpy.version 2.3.5 -> 2.4.6", or what changed in a list."""
    if one.changes:
        return f"{one.fact} {cut(_listed(one.changes), 2 * _VALUE)}"
    return f"{one.fact} {_short(one.before)} -> {_short(one.after)}"


def _listed(changes: Sequence[str]) -> str:
    return listed(changes, 4)


def _short(shown: Value) -> str:
    return cut(value(shown), _VALUE)


def _closing(found: History) -> str:
    if found.exit == 0:
        return "Exit 0 (no results moved)" if found.fact is None else "Exit 0 (it did not change)"
    if found.exit == 3:
        return "Exit 3 (nothing could be compared)" if found.verdict == "nothing-to-compare" else "Exit 3 (no results)"
    return f"Exit 1 ({'results moved' if found.move else 'facts changed'})"
