"""One fact over time: which values it has had, since when, and who has them now."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from audit.compare.side import block
from audit.errors import DIFFERS, INCOMPLETE, SAME, AuditError
from audit.history import timeline
from audit.history.store import Entry, Store
from reports.history import Held, History
from reports.report import Value


@dataclass
class _Value:
    value: Value
    days: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def drift(store: Store, fact: str, nodes: Sequence[str] = (), since: str | None = None) -> History:
    """The history of one fact. Raises AuditError for a fact that no report has."""
    held: dict[str, _Value] = {}
    now: dict[str, str] = {}
    for entry in timeline.chosen(store.entries(), nodes):
        found = _value(store, entry, fact)
        if found is not None:
            one = held.setdefault(repr(found[0]), _Value(found[0]))
            one.days.append(timeline.day(entry.at))
            now[timeline.label(entry)] = repr(found[0])
    if not held:
        raise AuditError(f"no report in the history has a fact {fact}; audit show REPORT --all lists its facts")
    for label, key in now.items():
        held[key].labels.append(label)
    whole = timeline.history(store, nodes, since)
    changes = [
        replace(one, results=[], facts=these)
        for one in whole.changes
        if (these := [each for each in one.facts if each.fact == fact])
    ]
    values = [Held(one.value, min(one.days), max(one.days), one.labels) for one in held.values()]
    return replace(
        whole,
        verdict="changed" if changes else "nothing-to-compare" if whole.verdict == "nothing-to-compare" else "same",
        move=None,
        first_moves=[],
        changes=changes,
        fact=fact,
        next=f"audit explain {shlex.quote(fact)}",
        held=sorted(values, key=lambda one: (one.last, one.since, len(one.labels)), reverse=True),
        exit=DIFFERS if changes else INCOMPLETE if whole.verdict == "nothing-to-compare" else SAME,
    )


def _value(store: Store, entry: Entry, name: str) -> tuple[Value] | None:
    """A fact's value in a report wherever it stands, machine facts first; None where it has none."""
    facet = name.split(".", 1)[0]
    for _, facets in sorted(store.facts(entry.facts).items()):  # "", the machine's, comes first
        fact = block(facets[facet]).facts.get(name) if facet in facets else None
        if fact is not None and fact.status is None:
            return (fact.value,)
    return None
