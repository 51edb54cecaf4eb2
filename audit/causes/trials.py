"""Runs of this machine under settings and packages, held against what another one gave; for `audit reproduce`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from audit.causes import program
from audit.causes.laboratory import Given, Laboratory, Under, results
from audit.causes.next_step import COMMAND
from audit.compare import engine
from audit.compare import results as compared
from audit.compare.programs import recorded
from audit.compare.side import Measured
from audit.compare.traces import calls
from audit.errors import NotComparable
from reports.catalogue import catalogue
from reports.comparison import Cause, Comparison, FirstDivergence
from reports.programs import explaining, is_program
from reports.reproduction import Child


@dataclass(frozen=True)
class Standing:
    """What of the wanted results a child did not give."""

    changed: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()

    @property
    def away(self) -> frozenset[str]:
        return self.changed | self.failed


class Trials:
    """Every child so far. wanted: the other's digests by name, of what both measured and repeat; skipped: what is not
    wanted, with the reason; jobs: those that are wanted; start: how this machine stands as it is."""

    here: Measured
    comparison: Comparison
    wanted: dict[str, str]
    jobs: tuple[str, ...]
    start: Standing

    def __init__(self, there: Measured, laboratory: Laboratory) -> None:
        self.there = there
        self.laboratory = laboratory
        self.children: list[Child] = []
        self.sides: dict[int, Measured] = {}  # of children, by position
        self.skipped: dict[str, str] = {}

    def begin(self) -> None:
        """Run as it is, and compare. Raises NotComparable."""
        mine = tuple(name for name in self.there.jobs if self.laboratory.program or not is_program(name))
        given = self.laboratory.measure(Under(), mine, bool(self.there.operators), repeat=2, words="as it is")
        assert given.side
        self.here = self._steadied(given.side)
        self.comparison = engine.compare([self.there, self.here])
        other = program.another(self.there, self.here) if self.laboratory.program else ""
        if other:
            raise NotComparable(f"{self.there.file}: not the same program: {other}; reproduce it with the report's own")
        self.wanted = dict(self._wanted())
        if not self.wanted:
            why = next(iter(self.skipped.items()), ("report", "it has no results; make one with audit run"))
            raise NotComparable(
                f"{self.there.file}: nothing in it can be compared with this machine ({': '.join(why)})"
            )
        for run in range(2):
            self.sides[self._keep(given, run)] = self.here
        self.jobs = tuple(name for name in mine if f"job {name}" in self.wanted)
        self.start = self._standing(0)

    def _wanted(self) -> Iterator[tuple[str, str]]:
        """What both measured, repeat, and can compare."""
        battery = compared.battery(self.there, self.here)
        for one in battery.not_compared:
            self.skipped[one.fact] = one.reason
        for words in battery.unstable:
            self.skipped[f"operator {words}"] = "not repeated"
        for operator in [*battery.agreeing, *(one for one, _ in battery.differing)]:
            assert operator.result
            yield operator.name, operator.result.digest
        for name, job in self.there.jobs.items():
            if name not in self.here.jobs:
                without = is_program(name) and not self.laboratory.program
                why = "-- COMMAND was not given" if without else "this interpreter cannot run it"
                self.skipped[f"job {name}"] = why
                continue
            result = compared.job(name, self.there, self.here).result
            if result.verdict in ("identical", "diverged") and job.trace and not self._shaky(name):
                yield f"job {name}", job.trace.digest
            else:
                self.skipped[f"job {name}"] = result.reason or "not repeated"

    def _shaky(self, name: str) -> bool:
        return any(one.step is not None for side in (self.there, self.here) for one in side.jobs[name].repeats)

    def _steadied(self, side: Measured) -> Measured:
        """This machine as it is. A program that may waver for no other reason than that every process orders sets anew,
        as none did there, is taken as its first run gave it: a setting ends that."""
        seeds = [one.fact("python.hash_seed") for one in (self.there, side)]
        if not (isinstance(seeds[0], int) and seeds[1] == "random"):
            return side
        jobs = [replace(job, repeats=[]) if is_program(job.name) else job for job in side.target.jobs]
        return Measured(side.label, side.file, side.report, replace(side.target, jobs=jobs))

    @property
    def programs(self) -> list[str]:
        """The names of a program's results among those that are wanted."""
        return [f"job {name}" for name in self.jobs if is_program(name)]

    def decided_by(self, names: Collection[str]) -> None:
        """From here on only these results count. The others have shown what to try."""
        self.wanted = {name: self.wanted[name] for name in names}
        children = [(_of(child, names), self.sides.get(n)) for n, child in enumerate(self.children)]
        kept = [(child, side) for child, side in children if child.works]
        self.children = [child for child, _ in kept]
        self.sides = {n: side for n, (_, side) in enumerate(kept) if side}
        self.start = self._standing(0)

    @property
    def has_operators(self) -> bool:
        return any(not name.startswith("job ") for name in self.wanted)

    def run(self, under: Under, jobs: tuple[str, ...], battery: bool = True, words: str = "") -> tuple[Standing, int]:
        """One more child: how it stands, and its position."""
        given = self.laboratory.measure(under, jobs, battery and self.has_operators, words=words)
        position = self._keep(given)
        return self._standing(position), position

    def _keep(self, given: Given, run: int = 0) -> int:
        self.children.append(given.child(self.wanted, run))
        if given.side:
            self.sides[len(self.children) - 1] = given.side
        return len(self.children) - 1

    def _standing(self, position: int) -> Standing:
        child = self.children[position]
        if child.died:
            return Standing(frozenset(), frozenset(self.wanted))
        return Standing(frozenset(child.changed), frozenset(child.failed))

    @property
    def suspects(self) -> list[str]:
        """The components of which settings are tried, the likeliest first."""
        if self.programs:
            name = self.programs[0].removeprefix("job ")
            return program.suspects(self.comparison, self.there, self.here, name)
        return list(dict.fromkeys(name for cause in self.comparison.causes for name in cause.components))

    @property
    def recorded(self) -> str:
        """How the program was recorded, as the options of `audit run` for both machines; "" where there is none."""
        program = self.laboratory.program
        if program is None or not self.programs:
            return ""
        job = self.there.jobs[self.programs[0].removeprefix("job ")]
        return f"--steps {program.steps} {recorded(job)} {COMMAND}"

    # -- what was seen ----------------------------------------------------------------------------------------------

    def of(self, under: Under) -> list[int]:
        """The positions of the children that ran under exactly this."""
        return [
            n
            for n, child in enumerate(self.children)
            if (child.settings, child.packages) == (under.settings, under.packages)
        ]

    def ran(self, under: Under, work: str) -> int:
        """How many children ran a work under this, or died of it."""
        children = [self.children[n] for n in self.of(under)]
        return sum(work in child.works or bool(child.died) for child in children)

    def side(self, under: Under) -> Measured:
        """This machine under it: its facts are what values follow from. As it is where nothing was measured so."""
        sides = [self.sides[n] for n in self.of(under) if n in self.sides]
        return max(sides, key=lambda side: len(results(side)), default=self.here)

    def through(self, name: str) -> set[str]:
        """The components that a result passes through; a job's are those of the rows where it parts."""
        operator = self.there.operators.get(name)
        if operator:
            return {operator.component, *operator.through}
        job = name.removeprefix("job ")
        if is_program(job):  # a later step may pass through more than the first that parts
            return set(self.suspects)
        rows = compared.job(job, self.there, self.here).rows
        return {component for row in rows for component in row.components}

    def passing(self, names: Iterable[str], component: str) -> frozenset[str]:
        """Those of the results that pass through a component."""
        return frozenset(name for name in names if component in self.through(name))

    def parting(self, side: Measured) -> FirstDivergence | None:
        """Where a side's results first part from those that are wanted."""
        return engine.compare([self.there, side]).results.first_divergence

    def left(self) -> Cause | None:
        """The cause of where a program parts in the run that came furthest; None where operators tell, or nothing
        does."""
        if not self.programs or not self.sides:
            return None
        sides = [self.sides[n] for n in sorted(self.sides)]
        found = [engine.compare([self.there, side]) for side in {id(one): one for one in sides}.values()]
        parted = [(one.results.first_divergence, one) for one in found if one.results.first_divergence]
        if not parted:
            return None
        first, furthest = max(parted, key=lambda one: self._at(one[0]))
        mine = explaining(furthest.causes, first)
        return mine[0] if mine else None

    def _at(self, first: FirstDivergence) -> tuple[int, int]:
        """How far a program came: the step, and the row in it."""
        job = self.there.jobs.get(first.job)
        if not is_program(first.job) or job is None or job.trace is None or first.step is None:
            return -1, -1
        names = [row.tensor for row, _ in calls(job.trace, first.step)]
        return first.step, names.index(first.tensor) if first.tensor in names else -1

    def fixed(self, cause: Cause) -> bool:
        """Whether it is only what a processor gives of itself, whatever is set."""
        rows = [row for name in cause.facts if (row := catalogue().row(name)) and row.components]
        return bool(rows) and all(row.operators for row in rows)


def _of(child: Child, names: Collection[str]) -> Child:
    """A child with nothing but some jobs' results."""
    return replace(
        child,
        works=[work for work in child.works if work in names],
        digests={work: digest for work, digest in child.digests.items() if work in names},
        changed={name: digest for name, digest in child.changed.items() if name in names},
        failed={name: why for name, why in child.failed.items() if name in names},
    )
