"""Reports into a history: what of them is kept, and of which day they are.

The day is the report's own. One that says it was made in the future, or does not say when, is of the day on which it
was added; so a wrong clock can put a report in a wrong place among its node's, and that is said.
"""

from __future__ import annotations

import shlex
import time
from functools import lru_cache
from pathlib import Path

import msgspec

from audit import inputs, reading
from audit.commands.history import DATABASE
from audit.compare.side import Block, Outline, block
from audit.errors import INCOMPLETE, SAME, AuditError
from audit.history import store
from probes import interrupts
from reports.catalogue import catalogue
from reports.history import ADDED, VERSION, Added

_AHEAD = 86400
"""Seconds; a report from further in the future has a wrong clock."""


def add(names: list[str], path: str, allow_edited: bool, notify: reading.Notify, now: float | None = None) -> Added:
    """Add reports, or folders of them. now: seconds since the epoch (None: now).

    All reports are read before anything is written. Raises AuditError for a file that was named and cannot be used, and
    where none can be.
    """
    adding = int(time.time() if now is None else now)
    with interrupts.allowed():
        loaded, left_out = inputs.every(names, allow_edited, notify)
        found = [_record(side.outline, file, adding) for file, sides in loaded for side in sides]
    if not found:  # nothing is begun, and no file is left behind
        raise AuditError(f"{names[0]}: {inputs.none_usable(left_out)}")
    new, known, older = store.add(path, found)
    following = "audit history" if path == DATABASE else f"audit history --db {shlex.quote(path)}"
    return Added(
        ADDED,
        VERSION,
        path,
        len(new),
        len(known),
        {one.fact.removeprefix("report "): one.reason for one in left_out},
        [one.node for one in new if one.at != one.created],
        [one.node for one in older],
        Path(path).stat().st_size,
        INCOMPLETE if left_out else SAME,
        following,
    )


def _record(outline: Outline, file: reading.File, now: int) -> store.Record:
    created = reading.moment(file.created)
    return store.Record(
        node=file.label,
        target=outline.target,
        digest=outline.digest,
        at=now if created is None or created > now + _AHEAD else created,
        created=created,
        facts=_kept(outline.facts),
        operators=outline.operators,
        components=outline.components,
        jobs=outline.jobs,
        unrepeated=sorted(outline.nondeterministic),
    )


def _kept(facts: dict[str, dict[str, bytes]]) -> dict[str, dict[str, bytes]]:
    """The facts without those that are of a moment, such as the load: every day would differ."""
    found = {work: {facet: _settled(one) for facet, one in facets.items()} for work, facets in facts.items()}
    return {work: {facet: one for facet, one in facets.items() if one} for work, facets in found.items()}


@lru_cache(maxsize=4096)
def _settled(encoded: bytes) -> bytes:
    """A block without volatile facts; nothing where no others are in it."""
    whole = block(encoded)
    rows = {name: catalogue().row(name) for name in whole.facts}
    facts = {name: fact for name, fact in whole.facts.items() if not (row := rows[name]) or row.kind != "volatile"}
    return msgspec.msgpack.encode(Block(facts, whole.unsteady)) if facts else b""
