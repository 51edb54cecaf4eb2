"""Report files read for a comparison: a few are kept whole, of many only the outlines, read by one process a CPU."""

from __future__ import annotations

import calendar
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

import msgspec
from msgspec import Struct

from audit.compare.side import Measured, Outline, Side
from audit.errors import AuditError, ReportError
from probes import interrupts
from reports import codec, source
from reports.parts import Parts
from reports.report import Report

FEW = 8
"""So many files are kept whole in memory (about 10 MB each); of more, one a group is read a second time."""

_CHUNK = 16
_AHEAD = 4
"""Chunks in the making a process: what is read ahead of the comparison stays small however many files there are."""

_NEXT = 4
"""Files of a chunk that the system fetches from the disk while one is decoded."""

_MET = Parts()
"""Of a reading process: what was read before."""

_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _KEPT = -1, -3, 32 << 20  # malloc.h; the most bytes that glibc takes

Notify = Callable[[str, int, int], None]


def moment(created: str) -> int | None:
    """When a report says that it was made, in seconds since the epoch; None if that is no time."""
    try:
        return calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return None


@dataclass(frozen=True)
class File:
    """A report as the comparison wants it: its targets, and what must be said about it. created: as it says."""

    path: str
    label: str
    created: str
    targets: list[Side]
    notes: list[str]


@dataclass(frozen=True)
class Stored:
    """A target of which only the outline is kept; the rest is read again when it is asked for."""

    outline: Outline
    allow_edited: bool

    def whole(self) -> Measured:
        """Read the file again. Raises ReportError if it is no longer what it was."""
        report = _report(self.outline.file, self.allow_edited)[0]
        found = [target for target in report.targets if target.name == self.outline.target]
        if report.digest != self.outline.digest or not found:
            raise ReportError(f"{self.outline.file}: it was changed while it was being compared; try again")
        return Measured(self.outline.label, self.outline.file, report, found[0])


def read(paths: list[str], allow_edited: bool, notify: Notify) -> Iterator[File | ReportError]:
    """The reports in the order of their paths; for one that cannot be used, why."""
    notify("reading reports", 0, len(paths))
    found = _whole(paths, allow_edited, Parts()) if len(paths) <= FEW else _in_outline(paths, allow_edited)
    for done, one in enumerate(found, 1):
        notify("reading reports", done, len(paths))
        yield one


def _report(path: str, allow_edited: bool, parts: Parts | None = None) -> tuple[Report, list[str]]:
    try:
        report, notes = codec.read(path, allow_edited, parts)
    except codec.CodecError as error:
        raise ReportError(str(error)) from None
    if not report.targets:
        raise ReportError(f"{path}: it has no target; make it again: audit run -o {path}")
    return report, notes


def _whole(paths: list[str], allow_edited: bool, parts: Parts) -> Iterator[File | ReportError]:
    for position, path in enumerate(paths):
        for following in paths[position + 1 if position == 0 else position + _NEXT : position + _NEXT + 1]:
            source.announce(following)
        try:
            report, notes = _report(path, allow_edited, parts)
        except ReportError as error:
            yield error
            continue
        targets: list[Side] = [Measured(report.label, path, report, one) for one in report.targets]
        yield File(path, report.label, report.created, targets, notes)


class _Answer(Struct):
    """What a reading process says of one file; error: why it cannot be used."""

    path: str
    label: str = ""
    created: str = ""
    outlines: list[Outline] = []
    notes: list[str] = []
    error: str = ""


def _in_outline(paths: list[str], allow_edited: bool) -> Iterator[File | ReportError]:
    """Outlines from one process a CPU. Only bytes of our own making cross, and no process outlives this one."""
    processes = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2, 8)
    chunks = iter([paths[at : at + _CHUNK] for at in range(0, len(paths), _CHUNK)])
    shared: dict[bytes, bytes] = {}
    # A fork has all modules already, and does not ask what started this process.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    # A signal in the pool's own work would leave its locks taken: it may come while an answer is waited for.
    reading = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(os.getpid(),))
    with interrupts.held(), reading as pool:
        waiting: list[Future[bytes]] = []
        try:
            while True:
                ready = islice(chunks, processes * _AHEAD - len(waiting))
                waiting += [pool.submit(_outlined, chunk, allow_edited) for chunk in ready]
                if not waiting:
                    return
                with interrupts.allowed():
                    answers = waiting.pop(0).result()
                for answer in msgspec.msgpack.decode(answers, type=list[_Answer]):
                    yield ReportError(answer.error) if answer.error else _file(answer, allow_edited, shared)
        except BrokenProcessPool:
            raise AuditError(
                "a process that read reports ended early, perhaps for want of memory; compare fewer"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int) -> None:
    """A reading process leaves signals to its parent, and does not outlive it, not even if that is killed."""
    interrupts.ignore()
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before it could be known
            os._exit(1)
        if hasattr(library, "mallopt"):  # memory that went back after one file comes page by page for the next
            library.mallopt(_MMAP_THRESHOLD, _KEPT)
            library.mallopt(_TRIM_THRESHOLD, _KEPT)


def _outlined(paths: list[str], allow_edited: bool) -> bytes:
    answers = []
    for path, file in zip(paths, _whole(paths, allow_edited, _MET), strict=True):
        if isinstance(file, ReportError):
            answers.append(_Answer(path, error=str(file)))
        else:
            outlines = [side.outline for side in file.targets]
            answers.append(_Answer(path, file.label, file.created, outlines, file.notes))
    return msgspec.msgpack.encode(answers)


def _file(answer: _Answer, allow_edited: bool, shared: dict[bytes, bytes]) -> File:
    sides: list[Side] = [Stored(_sharing(outline, shared), allow_edited) for outline in answer.outlines]
    return File(answer.path, answer.label, answer.created, sides, answer.notes)


def _sharing(outline: Outline, shared: dict[bytes, bytes]) -> Outline:
    """The outline with one copy of what others have too."""
    facts = {
        work: {facet: shared.setdefault(one, one) for facet, one in facets.items()}
        for work, facets in outline.facts.items()
    }
    operators = shared.setdefault(outline.operators, outline.operators)
    components = shared.setdefault(outline.components, outline.components)
    return msgspec.structs.replace(outline, facts=facts, operators=operators, components=components)
