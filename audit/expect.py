"""Who should have reported (`--expect FILE`), and who of them did.

A file holds one label or one range a line, as Slurm writes node lists: `gpu[001-117,119]`, `rack[1-2]n[1-4]`; commas
may stand between several, `#` begins a comment. Whether a report is of this round is judged by the time of its file in
the folder, never by its own: there is one clock for all files, and a node whose clock is wrong loses nothing.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from audit.errors import AuditError
from audit.reading import moment
from probes import assemble
from reports.comparison import Attendance, NodeFinding
from reports.render.pages.words import duration

MOST = 100_000
"""So many nodes may be expected: a range is short, and what it stands for is not."""

WITHIN = 3600.0
"""Seconds; enough for a round whose nodes start together and measure for minutes."""

_BYTES = 16 << 20
_LINE = 1 << 16
_LONGEST = 255
"""The most bytes of a file, characters of a line, and characters of a label (gethostname(2) gives no more)."""

_COMMENT = re.compile(r"(?:^|\s)#.*")
_TOKEN = re.compile(r"(?P<text>[^\[\],\s]+)|\[(?P<numbers>[^\[\]]*)\]|(?P<comma>,)|(?P<space>\s)|.")
_RUN = re.compile(r"(\d{1,15})(?:-(\d{1,15}))?", re.ASCII)

_Kind = Literal["missing", "unusable", "incomplete", "late", "stale", "unexpected", "clock"]
_KINDS: tuple[_Kind, ...] = ("missing", "unusable", "incomplete", "late", "stale", "unexpected", "clock")


@dataclass(frozen=True)
class Arrived:
    """A report's file. modified: seconds since the epoch; created: as the report says; incomplete: what it lacks;
    unusable: why it cannot be read."""

    path: str
    modified: float
    label: str = ""
    created: str = ""
    incomplete: str = ""
    unusable: str = ""


def read(path: str) -> list[str]:
    """The labels in a file ("-": standard input), ranges expanded, each once, in their order.

    Raises AuditError, which names the line, for what is no label, for more than MOST, and where there is none.
    """
    where = "standard input" if path == "-" else path
    found: list[str] = []
    for number, line in enumerate(_text(path, where).split("\n"), 1):
        try:
            for label in expanded(line):
                found.append(label)
                if len(found) > MOST:
                    raise ValueError(f"more than {MOST:,} names")
        except ValueError as error:
            raise AuditError(f"{where}:{number}: {error}; write one label or range a line: gpu[001-117,119]") from None
    if not found:
        raise AuditError(f"{where}: it names no node; write one label or range a line: gpu[001-117,119]")
    return list(dict.fromkeys(found))


def expanded(line: str) -> Iterator[str]:
    """The labels of one line. Raises ValueError, which says what is wrong with it."""
    if len(line) > _LINE:
        raise ValueError(f"more than {_LINE:,} characters")
    text = _COMMENT.sub("", line).strip()
    if not text.isprintable():
        raise ValueError("a control character")
    for fields in _names(text) if text else ():
        yield from map("".join, itertools.product(*fields))


def _names(text: str) -> Iterator[list[list[str]]]:
    """Each name between commas, as the texts that may stand in each of its places."""
    fields: list[list[str]] = []
    spaced = False
    for token in _TOKEN.finditer(text):
        if token["comma"]:
            if not fields:
                raise ValueError("no name before a comma")
            yield fields
            fields, spaced = [], False
        elif token["space"]:
            spaced = bool(fields)
        elif spaced:
            raise ValueError("a space within a name")
        elif token["text"]:
            fields.append([token["text"]])
        elif token["numbers"] is not None:
            fields.append(_numbers(token["numbers"]))
        else:
            raise ValueError("a bracket without its other one")
        if sum(len(field[-1]) for field in fields) > _LONGEST:  # the last number of a range is about its longest
            raise ValueError(f"a name of more than {_LONGEST} characters")
        if math.prod(map(len, fields)) > MOST:
            raise ValueError(f"a range of more than {MOST:,} names")
    if not fields:
        raise ValueError("no name behind a comma")
    yield fields


def _numbers(text: str) -> list[str]:
    """ "001-003,5" as what it stands for; numbers with zeros in front keep their width."""
    found: list[str] = []
    for part in text.split(","):
        run = _RUN.fullmatch(part)
        if not run:
            raise ValueError(f"[{text[:40]}] is no range of numbers")
        first, last = run[1], run[2] or run[1]
        padded = len(first) if first.startswith("0") else 0
        if int(last) < int(first) or len(last) < len(first):
            raise ValueError(f"{part} is no range: its end is smaller, or has fewer digits")
        if int(last) - int(first) + len(found) >= MOST:
            raise ValueError(f"a range of more than {MOST:,} names")
        found += [f"{number:0{padded}}" for number in range(int(first), int(last) + 1)]
    return found


def _text(path: str, where: str) -> str:
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            data = file.read(_BYTES + 1)
    except OSError as error:
        raise AuditError(f"{where}: {error.strerror or error}") from None
    if len(data) > _BYTES:
        raise AuditError(f"{where}: more than {_BYTES >> 20} MB; it should list one label or range a line")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AuditError(f"{where}: not text in UTF-8; it should list one label or range a line") from None


def judge(expected: Sequence[str], arrived: Sequence[Arrived], within: float = WITHIN) -> Attendance:
    """What is to be said of the nodes that were expected, and of reports that were not.

    A report is that of the label it holds, or where nobody expects that, of the label that its file is called after; of
    several the newest counts. It is of this round if its file was written within so many seconds of the median.
    """
    wanted = dict.fromkeys(expected)
    found: dict[tuple[_Kind, str], list[str]] = {}

    def add(kind: _Kind, label: str, reason: str = "") -> None:
        found.setdefault((kind, reason), []).append(label)

    files = {assemble.file_name(label): label for label in wanted}
    of: dict[str, Arrived] = {}
    for one in sorted(arrived, key=lambda one: (not one.unusable, one.modified)):
        name = os.path.basename(one.path).removesuffix(".gz")
        label = one.label if one.label in wanted else files.get(name, "")
        if label:
            of[label] = one
        elif not one.unusable:  # one that is, is said where all of those are
            add("unexpected", one.label)
    middle = statistics.median_low([one.modified for one in arrived]) if arrived else 0.0
    made = {label: moment(one.created) for label, one in of.items()}
    lags = {label: of[label].modified - at for label, at in made.items() if at is not None}
    usual = statistics.median_low(lags.values()) if lags else 0.0  # files that were copied all lag by about as much
    for label in wanted:
        if label not in of:
            add("missing", label)
        elif of[label].unusable:
            add("unusable", label, of[label].unusable)
        else:
            if of[label].incomplete:
                add("incomplete", label, of[label].incomplete)
            away = of[label].modified - middle
            if away > within:
                add("late", label, f"{duration(away)} after most")
            elif away < -within:
                add("stale", label, f"{duration(-away)} before most")
            wrong = abs(lags.get(label, usual) - usual)
            if wrong > within >= abs(away):
                add("clock", label, f"its clock is wrong by {duration(wrong)}, or that is an older report")
    findings = [NodeFinding(kind, labels, reason) for (kind, reason), labels in found.items()]
    findings.sort(key=lambda one: _KINDS.index(one.kind))
    return Attendance(len(wanted), sum(not one.unusable for one in of.values()), within, findings)
