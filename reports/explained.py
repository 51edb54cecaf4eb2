"""The typed model of an explanation: what `audit explain` says of a fact, a rule or a component, for every format."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

FORMAT = "audit-explanation"
VERSION = 1


class Named(Struct, frozen=True):
    """A fact, or a component, and what it means. depth: how many steps up from what is explained, from 0; when: under
    which condition only, in words; root: nothing above it explains it."""

    name: str
    meaning: str
    depth: int = 0
    when: str = ""
    root: bool = False


class Pin(Struct, frozen=True):
    """A setting that pins it. how: a variable in the environment, or a call in the process."""

    name: str
    how: Literal["variable", "call"]
    fact: str
    source: str
    code: str = ""


class Explanation(Struct, frozen=True):
    """name: as it was asked for; family: the name in the catalogue, where that stands for many facts. what: kind of a
    fact ("numeric"), "rule" or "component". operators: how they are called; how_many: of them, None where not known.
    choices: how to keep, accept or postpone, by name."""

    format: str
    version: int
    name: str
    what: Literal["numeric", "performance", "identity", "volatile", "rule", "component"]
    meaning: str
    why: str = ""
    family: str = ""
    unit: str = ""
    root: bool = False
    components: list[Named] = []
    operators: list[str] = []
    how_many: int | None = None
    decided_by: list[Named] = []
    decides: list[str] = []
    settings: list[Pin] = []
    choices: dict[str, str] = {}
    next: str = ""
