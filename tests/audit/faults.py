"""A fault: what a hostile interpreter, machine or program does, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One row. words: in the only line on standard error, "" for none at all. incomplete: in what the report says that
    it lacks. python: the version that `$OLD` must be. needs: a command that must succeed here."""

    name: str
    what_happens: str
    how: str
    status: int
    words: str = ""
    incomplete: str = ""
    python: str = ""
    needs: str = ""


NAMESPACE = "unshare -m true"
