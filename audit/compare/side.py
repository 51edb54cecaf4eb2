"""One compared target: whole, as its report has it, and in outline, which is all that is kept of thousands."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Protocol

import msgspec
from msgspec import Struct

from audit.compare.scores import Own, own
from probes.digest import DIGEST_BYTES
from reports import fingerprint
from reports.catalogue import catalogue
from reports.comparison import Side as ComparedSide
from reports.programs import is_program
from reports.report import Fact, Facts, Job, Operator, Report, Target, Trace, Value

MACHINE = ""
"""The work after which machine facts were read: none, they stand once."""

_Digests = dict[str, str]


class Block(Struct, frozen=True, omit_defaults=True):
    """The facts of one facet ("cpu", "packages"), without their sources, which are never compared.

    unsteady: those that the target's own runs did not agree on.
    """

    facts: Facts
    unsteady: list[str] = []


class Ran(Struct, frozen=True, omit_defaults=True):
    """A job that was run to its end. steady: every further run gave the same digest.

    tree: of a recorded program, the digests of its steps (hexadecimal), one behind the other; lengths: after how many
    of them the recording of some side ends, where these are not all the same; scores: what it said of itself.
    """

    version: int
    configuration: str
    digest: str
    steady: bool
    loss_last: float | None = None
    learned: bool | None = None
    tree: str = ""
    lengths: list[int] = []
    scores: dict[str, Own] = {}

    @property
    def key(self) -> str:
        """Equal for equal results of one job; different jobs are never equal."""
        return f"{self.version} {self.configuration} {self.digest}"

    @property
    def steps(self) -> int:
        return len(self.tree) // DIGITS

    def first(self, steps: int) -> str:
        """As `key`, of so many first steps."""
        return f"{self.version} {self.configuration} {self.tree[: steps * DIGITS]}"

    def settled(self, name: str) -> _Digests:
        """What two sides that ran it must both have in order to agree, by what it is of."""
        if not self.lengths:
            return {f"job {name}": self.key}
        return {f"job {name}, {steps} steps": self.first(steps) for steps in self.lengths}


class Outline(Struct, frozen=True):
    """A target without the values of its tensors.

    operators: the digests of what it repeats, encoded (`digests`), and components, whose these are, likewise; facts:
    blocks by work and facet, encoded (`block`).
    Encoded they are compared and shared as they stand: a thousand equal machines have one copy of what is equal.
    captured: how many facts have a value; failed: operators without a result, unfinished: jobs not run to their end,
    each with its reason; listings: what the orders of directories came to. Other fields as in
    `reports.comparison.Side` and `reports.report.Target`.
    """

    label: str
    file: str
    digest: str
    target: str
    via: str | None
    chosen: str
    runs: int
    summary: str
    environment: str
    nondeterministic: list[str]
    incomplete: list[str]
    operators: bytes
    components: bytes
    failed: dict[str, str]
    listings: dict[str, str]
    jobs: dict[str, Ran]
    unfinished: dict[str, str]
    captured: int
    facts: dict[str, dict[str, bytes]]

    def fact(self, name: str) -> object:
        """A fact's value wherever it stands (machine facts first), or None."""
        facet = name.split(".", 1)[0]
        for facets in self.facts.values():
            fact = block(facets[facet]).facts.get(name) if facet in facets else None
            if fact is not None and fact.status is None:
                return fact.value
        return None

    def values(self, facets: Iterable[str]) -> dict[str, Value]:
        """Every value of some facets, machine facts first; of several works that of the first."""
        found: dict[str, Value] = {}
        for blocks in self.facts.values():
            for facet in facets:
                for name, fact in block(blocks[facet]).facts.items() if facet in blocks else ():
                    if fact.value is not None:
                        found.setdefault(name, fact.value)
        return found

    @property
    def settled(self) -> _Digests:
        """The digest of everything that it measured and repeats, by what it is of."""
        found = dict(digests(self.operators))
        for name, ran in self.jobs.items():
            found.update(ran.settled(name) if ran.steady else {})
        return found


class Side(Protocol):
    """What the diff engine needs of a target: its outline now, and all of it if it stands for its group."""

    @property
    def outline(self) -> Outline: ...

    def whole(self) -> Measured: ...


def told(outline: Outline) -> ComparedSide:
    """What a comparison or a check says of one of its sides."""
    return ComparedSide(
        label=outline.label,
        target=outline.target,
        digest=outline.digest,
        file=outline.file,
        results={name: fingerprint.short(ran.digest) for name, ran in outline.jobs.items()},
        environment=outline.environment,
        runs=outline.runs,
        summary=outline.summary,
        nondeterministic=outline.nondeterministic,
        incomplete=outline.incomplete,
    )


@lru_cache(maxsize=1024)
def block(encoded: bytes) -> Block:
    """The block that `Outline.facts` holds encoded."""
    return msgspec.msgpack.decode(encoded, type=Block)


@lru_cache(maxsize=64)
def digests(encoded: bytes) -> _Digests:
    """The digests that `Outline.operators` holds encoded."""
    found = msgspec.msgpack.decode(encoded, type=_Digests)
    return {sys.intern(name): sys.intern(digest) for name, digest in found.items()}  # thousands of sides share them


@dataclass(frozen=True)
class Measured:
    """A target with everything in its report. label: unique in this comparison; file: where it was read."""

    label: str
    file: str
    report: Report
    target: Target

    def whole(self) -> Measured:
        return self

    @cached_property
    def jobs(self) -> dict[str, Job]:
        """Jobs that were run to their end, by name."""
        return {job.name: job for job in self.target.jobs if job.trace is not None}

    @cached_property
    def operators(self) -> dict[str, Operator]:
        battery = self.target.battery
        return {operator.name: operator for operator in battery.operators} if battery else {}

    def works(self) -> dict[str, Facts]:
        """Facts in effect by the work after which they were read: "operators", "job numpy"."""
        found = {f"job {job.name}": job.facts for job in self.target.jobs if job.facts}
        if self.target.battery and self.target.battery.facts:
            found["operators"] = self.target.battery.facts
        return found

    def fact(self, name: str) -> object:
        """A fact's value wherever it stands (machine facts first), or None."""
        for facts in (self.target.facts, *self.works().values()):
            if name in facts and facts[name].status is None:
                return facts[name].value
        return None

    @property
    def runs(self) -> int:
        """Fresh runs of what was repeated least; 0 if nothing was measured."""
        counts = [job.runs for job in self.jobs.values()]
        if self.operators and self.target.battery:
            counts.append(self.target.battery.runs)
        return min(counts, default=0)

    @cached_property
    def outline(self) -> Outline:
        operators = self.operators.values()
        same = _Same(self.target.battery.operators if self.target.battery else [])
        return Outline(
            label=self.label,
            file=self.file,
            digest=self.report.digest,
            target=self.target.name,
            via=self.target.via,
            chosen=self.target.chosen,
            runs=self.runs,
            summary=", ".join(_summary(self)),
            environment=fingerprint.environment(self.target, catalogue()),
            nondeterministic=list(_nondeterministic(self)),
            incomplete=list(self.target.incomplete),
            operators=_encoded_digests(same),
            components=_encoded_components(same),
            failed={one.name: f"{one.status} ({one.reason})" for one in operators if one.result is None},
            listings={
                one.name: one.result.digest for one in operators if one.hazard and "listing" in one.name and one.result
            },
            jobs={name: _ran(job) for name, job in self.jobs.items()},
            unfinished={job.name: job.reason for job in self.target.jobs if job.trace is None},
            captured=sum(
                fact.status is None for facts in (self.target.facts, *self.works().values()) for fact in facts.values()
            ),
            facts={
                work: _encoded_facts(facts, self.target.unsteady if work else [])
                for work, facts in {MACHINE: self.target.facts, **self.works()}.items()
            },
        )


def _ran(job: Job) -> Ran:
    assert job.trace
    return Ran(
        version=job.version,
        configuration=job.configuration,
        digest=job.trace.digest,
        steady=all(repeat.digest == job.trace.digest for repeat in job.repeats),
        loss_last=job.outcome.loss_last if job.outcome else None,
        learned=job.outcome.learned if job.outcome and not is_program(job.name) else None,
        tree=of_steps(job.trace) if is_program(job.name) else "",
        scores=own(job),
    )


DIGITS = 2 * DIGEST_BYTES
"""Hexadecimal digits of one step's digest."""


def of_steps(trace: Trace) -> str:
    """A digest of every step, one behind the other. In the tree a step's depends on the phases of all steps."""
    return "".join(blake2b(rows.encode(), digest_size=DIGEST_BYTES).hexdigest() for rows in trace.digests)


def _nondeterministic(side: Measured) -> Iterator[str]:
    """What a side does not repeat, in words."""
    yield from (f"job {name}" for name, job in side.jobs.items() if any(one.step is not None for one in job.repeats))
    yield from (f"operator {one.name}" for one in side.operators.values() if one.repeats)


def _summary(side: Measured) -> Iterator[str]:
    named = (
        ("python.version", "Python"),
        ("packages.numpy.version", "numpy"),
        ("libc.version", side.fact("libc.name")),
    )
    yield from (f"{what} {side.fact(fact)}" for fact, what in named if side.fact(fact))


class _Same:
    """Operators as a key that equals only itself: what many reports share is encoded once."""

    def __init__(self, operators: list[Operator]) -> None:
        self.operators = operators

    def __hash__(self) -> int:
        return id(self.operators)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.operators is self.operators


@lru_cache(maxsize=8)
def _encoded_digests(same: _Same) -> bytes:
    """Of what is repeated; the version stands in the name, because another version is another computation."""
    found = {
        f"operator {one.name} {one.version}": one.result.digest
        for one in same.operators
        if one.result and not one.repeats and not one.hazard
    }
    return msgspec.msgpack.encode(dict(sorted(found.items())))


@lru_cache(maxsize=8)
def _encoded_components(same: _Same) -> bytes:
    """The component of everything in `_encoded_digests`, by the same names."""
    found = {
        f"operator {one.name} {one.version}": one.component
        for one in same.operators
        if one.result and not one.repeats and not one.hazard
    }
    return msgspec.msgpack.encode(dict(sorted(found.items())))


def _encoded_facts(facts: Facts, unsteady: list[str]) -> dict[str, bytes]:
    facets: dict[str, Facts] = {}
    for name in sorted(facts):
        fact = facts[name]
        facets.setdefault(name.split(".", 1)[0], {})[name] = Fact(fact.value, "", fact.status, fact.reason)
    return {
        facet: msgspec.msgpack.encode(Block(found, sorted(found.keys() & unsteady))) for facet, found in facets.items()
    }
