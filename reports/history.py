"""The typed model of a history: what changed on which node when, and the first day on which results moved."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .report import Value

FORMAT = "audit-history"
ADDED = "audit-history-added"
VERSION = 1


class Moved(Struct, frozen=True):
    """Results that are not what they were. what: "job numpy", or the component whose operators these are.

    operators: how many of it gave other bits (0: a job); repeats: False where it no longer repeats itself, which is no
    other result but none.
    """

    what: str
    operators: int = 0
    repeats: bool = True


class FactChange(Struct, frozen=True):
    """A fact that is not what it was. changes: of lists and mappings, what changed in words."""

    fact: str
    kind: Literal["numeric", "performance", "identity", "volatile"]
    components: list[str]
    before: Value
    after: Value
    changes: list[str] = []


class Change(Struct, frozen=True):
    """What came about on all these nodes on one day (UTC) alike."""

    day: str
    labels: list[str]
    results: list[Moved] = []
    facts: list[FactChange] = []


class FirstMove(Struct, frozen=True):
    """The first day on which results of something moved. facts: those that changed on all these nodes with it, the
    likeliest first; others: how many nodes have these facts changed on that day, too, and their results did not move;
    last: the last day with the results of before."""

    day: str
    last: str
    labels: list[str]
    what: list[str]
    facts: list[FactChange] = []
    others: int = 0


class Held(Struct, frozen=True):
    """A value of one fact: since when some node has had it, the last day it was seen, and who has it now."""

    value: Value
    since: str
    last: str
    labels: list[str]


class History(Struct, frozen=True):
    """What a database of reports tells. verdict: results moved; only facts changed; nothing did; nothing could be
    compared. nodes, reports: how many; measured: of how many nodes results could be compared; first, last: days.

    first_moves: of each job and component that moved, in the order of time; the first is where `move` stands, what
    moved on the first day of all. changes: newest first. fact, held: the fact asked for and its values, newest first.
    """

    format: str
    version: int
    verdict: Literal["moved", "changed", "same", "nothing-to-compare"]
    nodes: int
    reports: int
    measured: int
    first: str
    last: str
    since: str | None
    move: FirstMove | None
    first_moves: list[FirstMove]
    changes: list[Change]
    fact: str | None = None
    held: list[Held] = []
    labels: list[str] = []
    fail_on: Literal["results", "numeric", "any"] = "results"
    exit: int = 0
    next: str = ""


class Added(Struct, frozen=True):
    """What `audit history add` did. new, known: reports stored, and those that were there before; unusable: files of a
    folder, with the reason; ahead: labels whose clock is in the future, so that the day is that of adding; older:
    labels of which a newer report was known."""

    format: str
    version: int
    database: str
    new: int
    known: int
    unusable: dict[str, str] = {}
    ahead: list[str] = []
    older: list[str] = []
    bytes: int = 0
    exit: int = 0
    next: str = ""
