"""What every fact means, what kind it is, which components it touches and what decides it: the causal graph as data.

The diff engine, attribution, explanations and documentation all read it here; none has knowledge of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

Kind = Literal["numeric", "performance", "identity", "volatile"]


class Condition(Struct, frozen=True, rename={"equals": "is"}):
    """Holds where the named fact has this value, or where its text names one of these (`names`)."""

    fact: str
    equals: str | int | bool | None = None
    names: tuple[str, ...] = ()

    def holds(self, value: object) -> bool:
        """Whether a side with this value of the fact fulfils it."""
        if self.names:
            return any(name in str(value).lower() for name in self.names)
        return value == self.equals


class Edge(Struct, frozen=True):
    """`fact` decides the row's fact; with `when`, only where the condition holds on one of the sides."""

    fact: str
    when: Condition | None = None


class Row(Struct, frozen=True):
    """One fact, or a family of facts (`*` stands for the member's name). operators: words in the names of the only
    operators that it can explain, none if it can explain all of its components; effect: what another value changes,
    where that is not all that its component is."""

    fact: str
    meaning: str
    kind: Kind
    unit: str | None = None
    components: list[str] = []
    decided_by: list[str | Edge] = []
    root: bool = False
    complete: bool = False
    explains: Literal["all", "threaded", "not-controls"] = "all"
    operators: list[str] = []
    effect: str = ""
    plain: str = ""
    only: str | None = None

    @property
    def edges(self) -> list[Edge]:
        """`decided_by`, most overriding first, each as an edge."""
        return [Edge(item) if isinstance(item, str) else item for item in self.decided_by]


class Component(Struct, frozen=True):
    """What decides bits. plain: for a sentence; technical: the field's word; effect: what another one changes."""

    name: str
    plain: str
    technical: str
    effect: str


class _File(Struct, frozen=True):
    components: list[Component]
    facts: list[Row]


class Catalogue:
    """All rows, found by a fact's full name. Raises KeyError for a component that is not there."""

    def __init__(self, file: _File) -> None:
        self.rows = file.facts
        self.components = {component.name: component for component in file.components}
        self._exact = {row.fact: row for row in file.facts if "*" not in row.fact}

    @cached_property
    def _families(self) -> dict[tuple[str, str], list[tuple[str, str, Row]]]:
        """The families by the first and the last part of their names, the most particular ones first: what stands
        before and behind the `*`, and the row."""
        found: dict[tuple[str, str], list[tuple[str, str, Row]]] = {}
        for row in sorted((row for row in self.rows if "*" in row.fact), key=lambda row: -len(row.fact)):
            before, _, behind = row.fact.partition("*")
            found.setdefault(_ends(row.fact), []).append((before, behind, row))
        return found

    def find(self, fact: str) -> tuple[Row, str] | None:
        """The row of a fact and the text that its `*` stands for ("" without one); None for an unknown fact."""
        row = self._exact.get(fact)
        if row is not None:
            return row, ""
        for before, behind, family in self._families.get(_ends(fact), ()):
            member = fact[len(before) : len(fact) - len(behind)]
            if member and fact.startswith(before) and fact.endswith(behind):
                return family, member
        return None

    @cached_property
    def _below(self) -> dict[str, list[str]]:
        """The facts (no families) that each fact decides by itself."""
        found: dict[str, list[str]] = {}
        for row in self._exact.values():
            for edge in row.edges:
                found.setdefault(edge.fact, []).append(row.fact)
        return found

    def decided(self, fact: str) -> list[str]:
        """The facts of some component that `fact` decides, itself or through others (no families); digests, which tell
        a person least, come last."""
        found: set[str] = set()
        queue = [fact]
        while queue:
            below = set(self._below.get(queue.pop(), ())) - found
            found |= below
            queue += below
        rows = [self._exact[name] for name in found if self._exact[name].components]
        return [row.fact for row in sorted(rows, key=lambda row: (row.unit == "digest", row.fact))]

    def row(self, fact: str) -> Row | None:
        found = self.find(fact)
        return found[0] if found else None

    def deciders(self, fact: str) -> Iterator[Edge]:
        """What decides `fact`, most overriding first, with `*` bound to this member of the family."""
        found = self.find(fact)
        if found is None:
            return
        row, member = found
        for edge in row.edges:
            when = edge.when and msgspec.structs.replace(edge.when, fact=edge.when.fact.replace("*", member))
            yield Edge(edge.fact.replace("*", member) if member else edge.fact, when)


def _ends(fact: str) -> tuple[str, str]:
    return fact.partition(".")[0], fact.rpartition(".")[2]


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The catalogue that ships with this version. Raises msgspec.ValidationError on a row that does not fit."""
    return Catalogue(msgspec.json.decode(Path(__file__).with_name("catalogue.json").read_bytes(), type=_File))
