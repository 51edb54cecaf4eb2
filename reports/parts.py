"""Reports in parts. The large ones, operators and traces, are the same bytes on machines that compute the same bits: of
many files each is decoded, checked and kept once. What is left of a report is small."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct

from .misfits import of_operators, of_trace
from .report import Battery, Job, Operator, Report, Target, Trace

T = TypeVar("T")

SMALLEST = 1000
"""Bytes of the smallest part that is kept: with smaller ones nothing is saved."""

MOST = 16 << 20
"""Bytes of all that are kept; those of one machine have 2 MB. In memory they take several times that."""

MOST_LOOKS = 100
"""Places in one file that are looked at; a report has three a target."""

MOST_MET = 10_000
"""Parts of which it is known that they were met."""

_KEY = re.compile(rb'\n"(?:operators|trace)":')
_NUMBERED = b"[[[%d]]]"
"""Stands where a part was cut out; no report has such a value."""


class Kind(NamedTuple):
    """A kind of part: its type, and what is wrong with one of that type."""

    type: Any
    misfits: Callable[[Any], Iterator[str]]


_OPERATORS = Kind(list[Operator], lambda operators: of_operators("", operators))
_TRACE = Kind(Trace | None, lambda trace: of_trace("", trace) if trace else iter(()))


class Part(NamedTuple):
    """A part. text: as it stands in a file; covered: what a digest covers of that; value: what it says."""

    kind: Kind
    text: bytes
    covered: bytes
    value: Any


class Parts:
    """The parts that were met last. Files of which many may be alike are read with the same one of these."""

    def __init__(self) -> None:
        self._known: list[Part] = []  # the latest first
        self._sums: set[int] = set()  # of what was met

    def cut(self, data: bytes) -> Cut:
        """The bytes of a report, cut into known parts and what is around them."""
        around, parts, begin, at = [], [], 0, 0
        for _ in range(MOST_LOOKS):
            found = _KEY.search(data, at)
            if not found:
                break
            at = found.end()
            part = self._met(partial(_stands_at, data, at))
            if part:
                around.append(data[begin:at])
                parts.append(part)
                begin = at = at + len(part.text)
        return Cut([*around, data[begin:]], parts, self)

    def value(self, kind: Kind, raw: Raw) -> Any:
        """What a part says, which is kept. Raises ValueError if it is none, or does not hold together."""
        size = memoryview(raw).nbytes
        part = self._met(lambda one: one.kind is kind and len(one.text) == size and one.text.startswith(raw))
        if part:
            return part.value
        value = msgspec.json.decode(raw, type=kind.type)
        if any(kind.misfits(value)):
            raise ValueError
        if SMALLEST <= size <= MOST and self._was_met(raw):
            text = bytes(raw)
            self._known.insert(0, Part(kind, text, text.replace(b"\n", b""), value))
            while sum(len(one.text) for one in self._known) > MOST:
                self._known.pop()
        return value

    def _was_met(self, raw: Raw) -> bool:
        """Whether it was met before: to keep what comes only once costs more than it saves. Mostly right is enough."""
        met = zlib.adler32(raw)
        if met in self._sums:
            return True
        if len(self._sums) == MOST_MET:
            self._sums.clear()
        self._sums.add(met)
        return False

    def _met(self, is_it: Callable[[Part], bool]) -> Part | None:
        for position, part in enumerate(self._known):
            if is_it(part):
                self._known.insert(0, self._known.pop(position))
                return part
        return None


def _stands_at(data: bytes, at: int, part: Part) -> bool:
    return data.startswith(part.text, at)


@dataclass(frozen=True)
class Cut:
    """A report's bytes: pieces, with a known part between each two."""

    around: list[bytes]
    parts: list[Part]
    known: Parts

    @cached_property
    def rest(self) -> bytes:
        """What is around the parts, with a number for each."""
        first, *more = self.around
        return first if not more else first + b"".join(_NUMBERED % n + piece for n, piece in enumerate(more))

    def covered(self) -> Iterator[bytes]:
        """All without line feeds, piece by piece."""
        yield self.around[0].replace(b"\n", b"")
        for part, piece in zip(self.parts, self.around[1:], strict=True):
            yield part.covered
            yield piece.replace(b"\n", b"")

    def report(self) -> Report:
        """The report with its parts, which hold together. Raises ValueError or RecursionError if it is none.

        It is what decoding all bytes at once would give. A part is one whole value of JSON, and a key with a line feed
        before it is in no text: where the rest is JSON with a number for a value, the bytes are JSON with that part
        for it. A number stands in the rest only for its part, because the file has none itself.
        """
        if self.rest.count(b"[[[") > len(self.parts):
            raise ValueError
        numbers = {_NUMBERED % number: part for number, part in enumerate(self.parts)}

        def value(kind: Kind, raw: Raw) -> Any:
            part = numbers.get(bytes(memoryview(raw)[:20]))
            if part is None:
                return self.known.value(kind, raw)
            if part.kind is not kind:
                raise ValueError
            return part.value

        light = msgspec.json.decode(self.rest, type=_Report)
        targets = []
        for target in light.targets:
            battery = target.battery and _whole(
                Battery, target.battery, operators=value(_OPERATORS, target.battery.operators)
            )
            jobs = [_whole(Job, job, trace=value(_TRACE, job.trace)) for job in target.jobs]
            targets.append(_whole(Target, target, battery=battery, jobs=jobs))
        return _whole(Report, light, targets=targets)


# A report whose parts are bytes still


class _Job(Job, frozen=True, omit_defaults=True):
    trace: Raw = Raw(b"null")  # type: ignore[assignment]


class _Battery(Battery, frozen=True, omit_defaults=True):
    operators: Raw = Raw(b"[]")  # type: ignore[assignment]


class _Target(Target, frozen=True, omit_defaults=True):
    battery: _Battery | None = None
    jobs: list[_Job] = msgspec.field(default_factory=list)  # type: ignore[assignment]


class _Report(Report, frozen=True, omit_defaults=True):
    targets: list[_Target]  # type: ignore[assignment]


def _whole(kind: type[T], light: Struct, **parts: Any) -> T:
    return kind(**{**msgspec.structs.asdict(light), **parts})
