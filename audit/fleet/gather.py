"""One audit a node, at most so many at once, and each report written as it arrives.

Threads talk to the children; signals, reports and files are the main thread's. What befalls a node costs its own
report only.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from audit.commands.options import write
from audit.compare.groups import groups
from audit.compare.side import Measured, Outline
from audit.errors import TargetError
from audit.fleet.engine import Engine, Node
from audit.progress import Progress
from audit.targets.asked import interpreter
from audit.targets.report import report
from audit.targets.talk import Talk
from probes import assemble, interrupts
from probes.session import Died, Request
from probes.whole import SECONDS_TO_END
from reports.render.escape import visible
from reports.render.pages.groups import who
from reports.render.pages.words import count

INTERRUPTED = "interrupted before it had sent its report"
NOTHING_SENT = "it sent no report"

_WAITING = 4
"""So many parts of reports wait in memory; who measured the next one waits."""

_BETWEEN = 1.0
"""Seconds between two summaries: each groups all reports."""

_MOST_SAID = 10
"""So many nodes without a report are said as it happens."""

_GROUPS = 4


@dataclass
class Gathered:
    """What a round came to. outlines: without facts; failed: why there is no report of a label; interrupted: by a
    person or a scheduler; operators: those of outlines, for `add`."""

    outlines: list[Outline] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    operators: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, outline: Outline) -> None:
        """Keep what groups are made of; what is equal once."""
        same = self.operators.setdefault(outline.operators, outline.operators)
        self.outlines.append(msgspec.structs.replace(outline, operators=same, facts={}))


class _Arrived(NamedTuple):
    """What came of a node: its part of a report, or why there is none; said: the same with its last words."""

    node: Node
    part: dict[str, Any]
    why: str = ""
    said: str = ""


def request(jobs: Sequence[str], repeat: int, limit: float, half: int | None = None) -> Request:
    """What one node is asked, see `probes/whole.py`."""
    return {"work": "report", "jobs": list(jobs), "repeat": repeat, "limit": limit, "half": half}


def patience(limit: float) -> float:
    """How many seconds a node may show no progress, so that it can end a silent process of its own before."""
    return limit + SECONDS_TO_END


def gather(engine: Engine, nodes: Sequence[Node], asked: Request, folder: str, at_once: int, shown: Shown) -> Gathered:
    """Measure the nodes and write `folder/LABEL.json` for each. Signals must be held; one ends the round, and what had
    arrived by then is kept. Raises AuditError if a report cannot be written; nothing runs on afterwards."""
    found = Gathered(failed={node.label: node.lost for node in nodes if node.lost})
    workers = _Workers(engine, [node for node in nodes if not node.lost], asked, at_once)
    for label, why in found.failed.items():
        shown.failure(label, why)
    try:
        while workers.running():
            arrived = _next(workers, found)
            if arrived is not None:
                _take(engine, arrived, folder, found, shown)
            shown.summary(found)
    finally:
        workers.stop()
    shown.summary(found, last=True)
    if found.interrupted:
        arrived_from = {one.label for one in found.outlines}
        for label in (node.label for node in nodes if node.label not in arrived_from):
            found.failed.setdefault(label, INTERRUPTED)
    return found


def _next(workers: _Workers, found: Gathered) -> _Arrived | None:
    """What arrives within a moment. At a signal the nodes are ended, and what had arrived is still taken."""
    try:
        with interrupts.allowed():
            return workers.arrived.get(timeout=_BETWEEN)
    except queue.Empty:
        return None
    except KeyboardInterrupt:
        found.interrupted = True
        workers.end()
        return None


def _take(engine: Engine, arrived: _Arrived, folder: str, found: Gathered, shown: Shown) -> None:
    label = arrived.node.label
    if arrived.why:
        found.failed[label] = INTERRUPTED if found.interrupted else arrived.why
        if not found.interrupted:
            shown.failure(label, arrived.said)
        return
    way = {"name": "host", "via": engine.via, "interpreter": interpreter(engine.python), "chosen": engine.chosen}
    try:
        tree, typed = report(label, [{**arrived.part, **way}], label)
    except TargetError as error:
        found.failed[label] = str(error)
        shown.failure(label, str(error))
        return
    path = os.path.join(folder, assemble.file_name(label))
    write(path, assemble.to_text(tree), "-o")
    found.add(Measured(label, path, typed, typed.targets[0]).outline)


class _Workers:
    """Threads that each measure one node after the other. arrived: what they bring."""

    def __init__(self, engine: Engine, nodes: list[Node], asked: Request, at_once: int) -> None:
        self.engine = engine
        self.asked = asked
        self.arrived: queue.Queue[_Arrived] = queue.Queue(_WAITING)
        self.left = list(reversed(nodes))
        self.talks: set[Talk] = set()
        self.lock = threading.Lock()
        self.ended = False
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(at_once, len(nodes)))]
        for thread in self.threads:
            thread.start()

    def running(self) -> bool:
        return any(thread.is_alive() for thread in self.threads) or not self.arrived.empty()

    def end(self) -> None:
        """Begin no node, and end those that are measured."""
        with self.lock:
            self.ended = True
            self.left = []
            for talk in self.talks:
                talk.stop("interrupted")

    def stop(self) -> None:
        """`end`, and nothing runs on afterwards; what arrives is dropped."""
        self.end()
        while self.running():
            try:
                self.arrived.get(timeout=0.1)
            except queue.Empty:
                continue

    def _work(self) -> None:
        while True:
            with self.lock:
                if not self.left:
                    return
                node = self.left.pop()
            self.arrived.put(self._measured(node))

    def _measured(self, node: Node) -> _Arrived:
        talks: list[Talk] = []
        part: dict[str, Any] = {}

        def opened(talk: Talk) -> None:
            with self.lock:
                talks.append(talk)
                self.talks.add(talk)
                if self.ended:
                    talk.stop("interrupted")

        try:
            for record in self.engine.target(node).beside(self.asked, opened):
                part = record.get("target", part)
        except (Died, TargetError) as error:
            why = self.engine.why(error, talks[0].said if talks else "")
            words = talks[0].last_words() if talks else ""
            return _Arrived(node, {}, why, f"{why}; it said: {words}" if words else why)
        except Exception as error:  # what a node sends, or an engine makes of it, is that node's only
            words = f"unexpected {type(error).__name__}"
            return _Arrived(node, {}, words, f"{words}: {error}")
        finally:
            with self.lock:
                self.talks.difference_update(talks)
        if not (part and isinstance(part, dict)):
            return _Arrived(node, {}, NOTHING_SENT, NOTHING_SENT)
        return _Arrived(node, part)


class Shown:
    """Progress of a round: a line for each of the first failures, and a summary that moves. words: which round."""

    def __init__(self, progress: Progress, total: int, words: str = "") -> None:
        self.progress = progress
        self.total = total
        self.words = words
        self.last = 0.0
        self.failures = 0

    def failure(self, label: str, words: str) -> None:
        self.failures += 1
        if self.failures <= _MOST_SAID:
            self.progress.say(visible(f"{self.words}{label}: {words}"))

    def summary(self, found: Gathered, last: bool = False) -> None:
        now = time.monotonic()
        if last or now - self.last > _BETWEEN:
            self.last = now
            self.progress.notify(self.words + summary(found, self.total), len(found.outlines), self.total)


def summary(found: Gathered, total: int) -> str:
    """ "312 of 500 reports, 2 failed; 3 groups: 309 agree, gpu017, gpu[201-202]" """
    told = f"{len(found.outlines):,} of {count(total, 'report')}"
    told += f", {len(found.failed):,} failed" if found.failed else ""
    alike = groups(found.outlines) if len(found.outlines) > 1 else []
    if len(alike) == 1:
        return f"{told}; all agree"
    if alike and len(alike[0]) == 1:
        return f"{told}; no two agree"
    if alike:
        others = [who([found.outlines[position].label for position in group]) for group in alike[1:_GROUPS]]
        more = [f"{len(alike) - _GROUPS:,} more"] if len(alike) > _GROUPS else []
        told += f"; {len(alike):,} groups: " + ", ".join([f"{len(alike[0]):,} agree", *others, *more])
    return told
