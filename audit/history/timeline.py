"""What the order of a node's reports tells, and many nodes' together: one change a day and set of nodes.

Each report is held against what was known of its node before. What a report lacks (it measured less, a fact was denied)
is taken from before, so a gap hides no change. Nodes that changed alike on one day are one change.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from typing import Literal

import msgspec

from audit.commands.history import DATABASE
from audit.compare import environment
from audit.compare.side import MACHINE, Block, Ran, block
from audit.compare.unpaired import FailOn
from audit.errors import DIFFERS, INCOMPLETE, SAME, AuditError
from audit.history.likely import ranked
from audit.history.store import Entry, Store
from reports.catalogue import catalogue
from reports.history import FORMAT, VERSION, Change, FactChange, FirstMove, History, Moved
from reports.render.pages.groups import who

Verdict = Literal["moved", "changed", "same", "nothing-to-compare"]

_Facts = dict[str, dict[str, bytes]]
_Key = tuple[str, ...]
"""What makes two nodes' changes one: what changed, from what and to what."""


@dataclass(frozen=True)
class _Side:
    """Facts as `environment.compare` takes them."""

    label: str
    facts: _Facts


@dataclass
class _Known:
    """What is known of a node so far; entry: its last report."""

    entry: Entry
    facts: _Facts
    operators: dict[str, str]
    jobs: dict[str, Ran]
    unrepeated: set[str]


@dataclass
class _Day:
    """What changed on one day: by what it is, on which nodes. last: of each node that moved, the last day before."""

    found: dict[_Key, Moved | FactChange] = field(default_factory=dict)
    labels: dict[_Key, dict[str, None]] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)

    def add(self, label: str, key: _Key, what: Moved | FactChange) -> None:
        if isinstance(what, Moved) and isinstance(known := self.found.get(key), Moved):
            what = max(what, known, key=lambda one: one.operators)
        self.found[key] = what
        self.labels.setdefault(key, {})[label] = None


@dataclass
class _Walk:
    """What all nodes' reports came to, in the period that is asked for."""

    days: dict[str, _Day] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    compared: int = 0
    measured: int = 0
    reports: int = 0
    seen: list[int] = field(default_factory=list)


def day(at: int) -> str:
    """The day (UTC) of a moment, as "2026-11-03"."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def label(entry: Entry) -> str:
    """A node as it is called: its label, and its target where that is not the machine itself."""
    return entry.node if entry.target == "host" else f"{entry.node}#{entry.target}"


def history(store: Store, nodes: Sequence[str] = (), since: str | None = None, fail_on: FailOn = "results") -> History:
    """All that changed, or of these nodes, or from a day on ("2026-11-03").

    Raises AuditError for a node of which there is no report.
    """
    entries = chosen(store.entries(), nodes)
    walk = _Walk()
    for _, those in groupby(entries, key=lambda one: (one.node, one.target)):
        _follow(store, list(those), since or "", walk)
    changes = [change for name in sorted(walk.days, reverse=True) for change in _folded(name, walk.days[name])]
    firsts = _first_moves(walk.days)
    verdict, status = _verdict(changes, walk, fail_on)
    return History(
        format=FORMAT,
        version=VERSION,
        verdict=verdict,
        nodes=len(walk.labels),
        reports=walk.reports,
        measured=walk.measured,
        first=day(min(walk.seen, default=0)),
        last=day(max(walk.seen, default=0)),
        since=since,
        move=_move(walk.days),
        first_moves=firsts,
        changes=changes,
        labels=list(nodes),
        fail_on=fail_on,
        exit=status,
        next=_next(store.path, changes, firsts, nodes),
    )


def _next(path: str, changes: Sequence[Change], firsts: Sequence[FirstMove], nodes: Sequence[str]) -> str:
    """The command that shows more of what was found: one node that moved, or the fact that changed with it."""
    database = "" if path == DATABASE else f" --db {shlex.quote(path)}"
    if firsts and not nodes:
        return f"audit history {shlex.quote(firsts[0].labels[0])} --since {firsts[0].day} --all{database}"
    facts = [fact.fact for one in firsts for fact in one.facts] or [fact.fact for one in changes for fact in one.facts]
    if facts:
        return f"audit history --fact {shlex.quote(facts[0])}{database}"
    return f"audit history add DIR/{database}    # after the next round"


def chosen(entries: list[Entry], nodes: Sequence[str]) -> list[Entry]:
    """The reports of these nodes (none: of all). Raises AuditError for one that has none."""
    wanted = set(nodes)
    found = [one for one in entries if not wanted or wanted & {one.node, label(one)}]
    missing = wanted - {name for one in found for name in (one.node, label(one))}
    if missing:
        there = who(list(dict.fromkeys(label(one) for one in entries))) if entries else "none"
        raise AuditError(f"no report of {who(sorted(missing))} in the history; it has: {there}")
    return found


def _follow(store: Store, entries: list[Entry], since: str, walk: _Walk) -> None:
    """One node, from its first report on."""
    name = label(entries[0])
    walk.labels.append(name)
    walk.reports += len(entries)
    walk.seen += [entries[0].at, entries[-1].at]
    known = _begun(store, entries[0])
    compared = measured = False
    for entry in entries[1:]:
        now = _begun(store, entry)
        if day(entry.at) >= since:
            compared = True
            measured = measured or _shares_results(known, now)
            for key, what in _changes(store, known, now):
                of = walk.days.setdefault(day(entry.at), _Day())
                of.add(name, key, what)
                of.last[name] = day(known.entry.at)
        known = _carried(known, now)
    walk.compared += compared
    walk.measured += measured


def _begun(store: Store, entry: Entry) -> _Known:
    found = store.results(entry.results)
    return _Known(
        entry,
        store.facts(entry.facts),
        store.digests(found.operators),
        {name: ran for name, ran in found.jobs.items() if ran.steady},
        set(found.unrepeated),
    )


def _shares_results(before: _Known, now: _Known) -> bool:
    return bool(before.operators.keys() & now.operators.keys() or before.jobs.keys() & now.jobs.keys())


def _carried(before: _Known, now: _Known) -> _Known:
    """What is known after a report: what it lacks, from before."""
    if (now.entry.facts, now.entry.results) == (before.entry.facts, before.entry.results):
        return replace(before, entry=now.entry)
    facts = {
        work: {
            facet: _filled(before.facts.get(work, {}).get(facet, b""), now.facts.get(work, {}).get(facet, b""))
            for facet in {**before.facts.get(work, {}), **now.facts.get(work, {})}
        }
        for work in {**before.facts, **now.facts}
    }
    measured = now.operators or now.jobs or now.unrepeated
    return _Known(
        now.entry,
        facts,
        {**before.operators, **now.operators},
        {**before.jobs, **now.jobs},
        now.unrepeated if measured else before.unrepeated,
    )


@lru_cache(maxsize=4096)
def _filled(before: bytes, now: bytes) -> bytes:
    """The newer block, with the older one's values for facts that could not be had this time."""
    if not (before and now) or before == now:
        return now or before
    old, new = block(before), block(now)
    kept = {
        name: old.facts[name]
        for name, fact in new.facts.items()
        if fact.status is not None and name in old.facts and old.facts[name].status is None
    }
    return msgspec.msgpack.encode(Block({**new.facts, **kept}, new.unsteady)) if kept else now


def _changes(store: Store, before: _Known, now: _Known) -> Iterator[tuple[_Key, Moved | FactChange]]:
    """What is other in a report than what was known, each with its key."""
    if before.entry.results != now.entry.results:
        yield from _moves(store, before, now)
    if before.entry.facts != now.entry.facts:
        for one in _fact_changes(before.facts, now.facts):
            yield ("fact", one.fact, repr(one.before), repr(one.after)), one


def _moves(store: Store, before: _Known, now: _Known) -> Iterator[tuple[_Key, Moved]]:
    for name in sorted(before.jobs.keys() & now.jobs.keys()):
        if _parted(before.jobs[name], now.jobs[name]):
            yield ("moved", f"job {name}"), Moved(f"job {name}")
    components = store.digests(store.results(now.entry.results).components)
    counts: dict[str, int] = {}
    for name, digest in now.operators.items():
        if before.operators.get(name, digest) != digest:
            counts[components.get(name, "?")] = counts.get(components.get(name, "?"), 0) + 1
    for component, count in sorted(counts.items()):
        yield ("moved", component), Moved(component, count)
    for name in sorted(now.unrepeated - before.unrepeated):
        yield ("unrepeated", name), Moved(name, repeats=False)


def _parted(before: Ran, now: Ran) -> bool:
    """Whether one job gave other bits; of a recorded program, as far as both recordings go."""
    if (before.version, before.configuration) != (now.version, now.configuration):
        return False  # another job
    steps = min(before.steps, now.steps)
    return before.first(steps) != now.first(steps) if steps else before.key != now.key


def _fact_changes(before: _Facts, now: _Facts) -> Iterator[FactChange]:
    """Facts of what both have, as `audit diff` compares them; one that changed alike after several works, once."""
    works = [(work, facet) for work, facets in now.items() for facet in facets if facet in before.get(work, {})]
    other = [(work, facet) for work, facet in works if before[work][facet] != now[work][facet]]
    for work, facet in sorted(other, key=lambda one: (one[0] != MACHINE, one)):
        yield from _facet_changes(work, facet, before[work][facet], now[work][facet])


@lru_cache(maxsize=4096)
def _facet_changes(work: str, facet: str, before: bytes, now: bytes) -> list[FactChange]:
    sides = [_Side("before", {work: {facet: before}}), _Side("now", {work: {facet: now}})]
    return [
        FactChange(one.fact, one.kind, one.components, one.values[0], one.values[1], one.changes)
        for one in environment.compare(sides, catalogue()).differences
    ]


def _folded(name: str, of: _Day) -> list[Change]:
    """The changes of a day: what came about on the same nodes is one. Moved results first, then the most nodes."""
    together: dict[tuple[str, ...], list[_Key]] = {}
    for key, those in of.labels.items():
        together.setdefault(tuple(sorted(those)), []).append(key)
    found = []
    for labels, keys in together.items():
        whats = [of.found[key] for key in keys]
        moved = [one for one in whats if isinstance(one, Moved)]
        facts = ranked((one for one in whats if isinstance(one, FactChange)), _components(one.what for one in moved))
        found.append(Change(name, list(labels), moved, facts))
    return sorted(found, key=lambda one: (not one.results, -len(one.labels), one.labels))


def _move(days: dict[str, _Day]) -> FirstMove | None:
    """What moved on the first day on which anything did, on all nodes together."""
    for name in sorted(days):
        of = days[name]
        keys = [key for key, what in of.found.items() if isinstance(what, Moved)]
        if keys:
            return _first_move(name, of, keys)
    return None


def _first_moves(days: dict[str, _Day]) -> list[FirstMove]:
    """The first day of each job and component that moved, in the order of time."""
    found: dict[str, FirstMove] = {}
    for name in sorted(days):
        for key, what in days[name].found.items():
            if isinstance(what, Moved) and what.what not in found:
                found[what.what] = _first_move(name, days[name], [key])
    return list(found.values())


def _first_move(name: str, of: _Day, keys: list[_Key]) -> FirstMove:
    moved = sorted({one for key in keys for one in of.labels[key]})
    whats = [_what(of.found[key]) for key in keys]
    facts, others = _together(of, set(moved), whats)
    last = max(of.last[one] for one in moved)
    return FirstMove(name, last, moved, whats, facts, others)


def _what(one: Moved | FactChange) -> str:
    if isinstance(one, FactChange):
        return one.fact
    return one.what if one.repeats else f"{one.what} (no longer repeats itself)"


def _together(of: _Day, moved: set[str], whats: Sequence[str]) -> tuple[list[FactChange], int]:
    """The facts that changed on all nodes that moved, on the same day; and on how many others the first of them did."""
    nodes: dict[str, set[str]] = {}
    changes: dict[str, FactChange] = {}
    for key, what in of.found.items():
        if isinstance(what, FactChange):
            nodes.setdefault(what.fact, set()).update(of.labels[key])
            if moved & of.labels[key].keys():
                changes.setdefault(what.fact, what)
    all_of = [changes[fact] for fact, those in nodes.items() if moved <= those]
    likely = ranked(all_of, _components(whats), {fact: len(those) for fact, those in nodes.items()})
    return likely, len(nodes[likely[0].fact] - moved) if likely else 0


def _verdict(changes: Iterable[Change], walk: _Walk, fail_on: FailOn) -> tuple[Verdict, int]:
    kinds = {fact.kind for change in changes for fact in change.facts}
    counted = {"results": set(), "numeric": {"numeric"}, "any": {"numeric", "performance"}}[fail_on]
    moved = any(change.results for change in changes)
    verdict: Verdict = "moved" if moved else "changed" if kinds else "same" if walk.compared else "nothing-to-compare"
    if moved or kinds & counted:
        return verdict, DIFFERS
    if not walk.compared or (fail_on == "results" and not walk.measured):
        return verdict, INCOMPLETE  # comparing nothing is never a pass
    return verdict, SAME


def _components(whats: Iterable[str]) -> list[str]:
    """Those of what moved that are components; none where a job is among them, through which all can have come."""
    names = list(whats)
    return names if all(one in catalogue().components for one in names) else []
