"""The typed model of a screening: what `audit screen` saw of the cores of one machine, for every output format.

Or of its GPUs (`unit`): what is said of cores then holds of those of one product.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

FORMAT = "audit-screening"
VERSION = 1

Mask = Annotated[str, Meta(pattern=r"^(0x[0-9a-f]{1,64})?\Z")]

Verdict = Literal["agrees", "wrong", "disagree", "incomplete"]

Unit = Literal["core", "gpu"]

Kind = Literal["wrong", "intermittent", "suspected", "disagree", "died"]


class Differing(Struct, frozen=True):
    """An operator, or a job, in which a core gave other bits.

    mask: hexadecimal, the bits that differ in any element (of more than 256, in the first 256 that differ); differing,
    elements: how many do, of how many; None, and an empty mask, where no values were kept. where: of a job, the first
    row that differs. unlike: in how many of the core's runs it did.
    """

    operator: str
    component: str
    mask: Mask = ""
    differing: int | None = None
    elements: int | None = None
    where: str = ""
    unlike: int = 0


class Finding(Struct, frozen=True):
    """What is wrong with a core, or with one of several.

    kind: "wrong": it gave other bits than the rest, or than is right, and again when it was re-tested; "intermittent":
    not again; "suspected": it was not re-tested; "died": its process did; "disagree": cores gave different bits and
    nothing tells which are right, so `groups` has those that agree with each other, the largest first.

    unlike, runs: in how many of its runs of all operators, re-tests included, it differed; again, retests: of how many
    re-tests. components: the fewest that explain all operators that differ; operators: theirs first, and those first
    that differ in the fewest bits. evidence: what tells that it is this core. reason, at: why its process died, and
    what it did then.
    """

    kind: Kind
    cores: list[int]
    operators: list[Differing] = []
    components: list[str] = []
    unlike: int = 0
    runs: int = 0
    again: int = 0
    retests: int = 0
    evidence: Literal["", "majority", "known answers", "it changed", "the report", "other results", "itself"] = ""
    groups: list[list[int]] = []
    reason: str = ""
    at: str = ""


class Silent(Struct, frozen=True):
    """A core that gave no answer before the time limit, and what it did last."""

    core: int
    at: str


class Screening(Struct, frozen=True):
    """verdict: "agrees": all cores gave the same bits in every whole round. rounds: those that all cores ended;
    operators: in each of them, the job besides. unit: what `cores` are the numbers of; products: of GPUs, which are
    alike; one that is alone of its product was compared with itself only. not_covered: what this says nothing about.
    reason: why it ended before its end, "" if it did not."""

    format: str
    version: int
    verdict: Verdict
    cores: list[int]
    rounds: int
    operators: int
    job: str
    findings: list[Finding]
    seconds: float
    limit: float
    at_once: int = 0
    unit: Unit = "core"
    products: dict[str, list[int]] = {}
    silent: list[Silent] = []
    not_covered: list[str] = []
    reason: str = ""
    exit: int = 0
    next: str = ""
