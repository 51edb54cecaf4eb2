"""The database of a history: a row for each report, and everything that reports have in common once.

The facts of a facet, the digests of a battery and the results of jobs stand under the digest of their content, so a
node that does not change costs one row a report. Reports are data here: every value is a parameter of its statement.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from audit.compare.side import Ran, block
from audit.errors import AuditError
from probes import interrupts

_APPLICATION = 1096107080  # "AUDH"
_VERSION = 1
_MARKS = ("PRAGMA application_id = 1096107080", "PRAGMA user_version = 1")
_SCHEMA = (
    "CREATE TABLE content (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, data BLOB NOT NULL)",
    "CREATE TABLE report (node TEXT NOT NULL, target TEXT NOT NULL, digest BLOB NOT NULL, at INTEGER NOT NULL, "
    "created INTEGER, facts INTEGER NOT NULL REFERENCES content, results INTEGER NOT NULL REFERENCES content, "
    "PRIMARY KEY (node, target, digest)) WITHOUT ROWID",
)

_BUSY = 10.0
"""Seconds to wait for another process that adds reports; it holds the database only while it writes."""

_DAMAGED = "the history is damaged; go back to a copy of it, or add the reports to a new one"

T = TypeVar("T")


class Results(Struct, frozen=True):
    """What a report measured. operators, components: contents, encoded as `audit.compare.side.Outline` has them;
    unrepeated: what it does not repeat ("job numpy", "operator libm.exp")."""

    operators: int
    components: int
    jobs: dict[str, Ran]
    unrepeated: list[str] = []


class Record(Struct, frozen=True):
    """A report on its way into the database. at: seconds since the epoch; created: what the report says, None if that
    is no time; facts: blocks by work and facet."""

    node: str
    target: str
    digest: str
    at: int
    created: int | None
    facts: dict[str, dict[str, bytes]]
    operators: bytes
    components: bytes
    jobs: dict[str, Ran]
    unrepeated: list[str]


class Entry(Struct, frozen=True, array_like=True):
    """A row: facts, results: contents."""

    node: str
    target: str
    at: Annotated[int, Meta(ge=-62_135_596_800, le=253_402_300_799)]  # the years 1 to 9999
    facts: int
    results: int


class Store:
    """An open history. Raises AuditError for what is not in it as it must be."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._decoded: dict[tuple[int, object], Any] = {}

    def entries(self) -> list[Entry]:
        """All reports, node by node, each node's in the order of time, and of one second by their digests."""
        rows = self._connection.execute(
            "SELECT node, target, at, facts, results FROM report ORDER BY node, target, at, created, digest"
        )
        try:
            return msgspec.convert(rows.fetchall(), list[Entry])
        except msgspec.ValidationError:
            raise self._damaged() from None

    def newest(self) -> dict[tuple[str, str], int]:
        """When each node's newest report was made."""
        rows = self._connection.execute("SELECT node, target, max(at) FROM report GROUP BY node, target")
        return {(node, target): at for node, target, at in rows}

    def results(self, content: int) -> Results:
        return self._get(content, Results)

    def digests(self, content: int) -> dict[str, str]:
        """What `Results.operators` or `.components` stands for."""
        return self._get(content, dict[str, str])

    def facts(self, content: int) -> dict[str, dict[str, bytes]]:
        """The encoded blocks of a report, by work and facet."""
        known: dict[str, dict[str, bytes]] | None = self._decoded.get((content, "facts"))
        if known is None:
            found = self._get(content, dict[str, dict[str, int]])
            known = {work: {facet: self._block(one) for facet, one in those.items()} for work, those in found.items()}
            self._decoded[content, "facts"] = known
        return known

    def add(self, record: Record) -> bool:
        """Store a report; False if it is there already. Within `writing`."""
        facts = {
            work: {facet: self._put(one) for facet, one in facets.items()} for work, facets in record.facts.items()
        }
        results = Results(self._put(record.operators), self._put(record.components), record.jobs, record.unrepeated)
        named = _digest(record.digest.encode("utf-8", "replace"))
        row = (record.node, record.target, named, record.at, record.created)
        done = self._connection.execute(
            "INSERT OR IGNORE INTO report (node, target, digest, at, created, facts, results) VALUES (?,?,?,?,?,?,?)",
            (*row, self._encoded(facts), self._encoded(results)),
        )
        return done.rowcount == 1

    def _encoded(self, value: object) -> int:
        return self._put(msgspec.msgpack.encode(value, order="sorted"))

    def _put(self, data: bytes) -> int:
        """The number of a content, stored if it is new."""
        known: int | None = self._decoded.get((0, data))
        if known is None:
            digest = _digest(data)
            self._connection.execute("INSERT OR IGNORE INTO content (digest, data) VALUES (?, ?)", (digest, data))
            (known,) = self._connection.execute("SELECT id FROM content WHERE digest = ?", (digest,)).fetchone()
            self._decoded[0, data] = known
        return known

    def _get(self, content: int, kind: type[T]) -> T:
        known: T | None = self._decoded.get((content, kind))
        if known is None:
            try:
                known = msgspec.msgpack.decode(self._data(content), type=kind)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                raise self._damaged() from None
            self._decoded[content, kind] = known
        return known

    def _block(self, content: int) -> bytes:
        data = self._data(content)
        try:
            block(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._damaged() from None
        return data

    def _data(self, content: int) -> bytes:
        known: bytes | None = self._decoded.get((content, bytes))
        if known is None:
            row = self._connection.execute("SELECT data, digest FROM content WHERE id = ?", (content,)).fetchone()
            if row is None or not isinstance(row[0], bytes) or _digest(row[0]) != row[1]:
                raise self._damaged()
            known = self._decoded[content, bytes] = row[0]
        return known

    def _damaged(self) -> AuditError:
        return AuditError(f"{self.path}: {_DAMAGED}")


@contextlib.contextmanager
def reading(path: str) -> Iterator[Store]:
    """A history that is only read. Raises AuditError, in one line, for what is none."""
    if not os.path.exists(path):
        raise AuditError(f"{path}: no history here; begin one: audit history add REPORT... (or name one with --db)")
    with _connected(path, "rw") as connection:  # read-only, SQLite could not undo what a crash left half done
        connection.execute("PRAGMA query_only = ON")
        if not _is_empty(connection):
            _refuse_others(path, connection)
            yield Store(path, connection)
        else:
            raise AuditError(f"{path}: an empty file; begin a history: audit history add REPORT...")


@contextlib.contextmanager
def writing(path: str) -> Iterator[Store]:
    """A history in one transaction: all that is added in it is stored, or nothing is. Raises AuditError."""
    existed = os.path.exists(path)
    try:
        with interrupts.held(), _connected(path, "rwc") as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if _is_empty(connection):
                    for statement in (*_SCHEMA, *_MARKS):
                        connection.execute(statement)
                else:
                    _refuse_others(path, connection)
                yield Store(path, connection)
                connection.execute("COMMIT")
                interrupts.forget()  # nobody may be told that nothing was written
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
    except BaseException:
        if not existed and os.path.exists(path) and not os.path.getsize(path):
            os.unlink(path)
        raise


@contextlib.contextmanager
def _connected(path: str, mode: str) -> Iterator[sqlite3.Connection]:
    if os.path.exists(path) and not os.path.isfile(path):
        raise AuditError(f"{path}: {'a folder' if os.path.isdir(path) else 'no file'}; name a history with --db FILE")
    address = f"file:{urllib.parse.quote(os.path.abspath(path))}?mode={mode}"
    try:
        connection = sqlite3.connect(address, timeout=_BUSY, isolation_level=None, uri=True)
        with contextlib.closing(connection):
            connection.execute("PRAGMA trusted_schema = OFF")
            yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:  # also of a message that quotes what is damaged
        raise AuditError(f"{path}: {_said(error)}") from None


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _said(error: Exception) -> str:
    text = str(error)
    if "not a database" in text:
        return "no history of audit; name another file with --db"
    if "unable to open" in text:
        return "it cannot be opened; is its folder there, and may you write in it?"
    if "locked" in text:
        return "another process is adding reports to it; try again"
    if "malformed" in text or "decode" in text:
        return _DAMAGED
    return f"the history cannot be used: {text}"


def _is_empty(connection: sqlite3.Connection) -> bool:
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    return bool(count == 0 and application == 0)


def _refuse_others(path: str, connection: sqlite3.Connection) -> None:
    """Raise AuditError for a database that is not ours, is of a later version, or has more in it than we put there."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise AuditError(f"{path}: no history of audit; name another file with --db")
    if version > _VERSION:
        raise AuditError(f"{path}: a history of version {version}; this audit reads up to {_VERSION}: upgrade it")
    made = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if sorted(made) != sorted((one,) for one in _SCHEMA):
        raise AuditError(f"{path}: a history with other tables than audit makes; name another file with --db")


def add(path: str, records: Iterable[Record]) -> tuple[list[Record], list[Record], list[Record]]:
    """Store reports, all or none: those that were new; those that were there; of the new ones, those made before the
    newest that was known of their node. Raises AuditError."""
    with writing(path) as store:
        newest = store.newest()
        new: list[Record] = []
        known: list[Record] = []
        for record in records:
            (new if store.add(record) else known).append(record)
        older = [one for one in new if one.at < newest.get((one.node, one.target), one.at)]
    return new, known, older
