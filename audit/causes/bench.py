"""Runs of one machine under one setting after another, measured against the machine as it is.

Two things must not be taken for the effect of a setting: what the machine does not repeat, and what else it was doing
meanwhile. So it is run as it is first, twice; what differs there is not looked at again. And a run that is timed has a
run as it is directly before it: both then had the same noise, and as many chances of a quiet moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from audit.causes.effect import shown
from audit.causes.laboratory import OPERATORS, Given, Laboratory, Under, results
from audit.causes.settings import BY_NAME
from audit.compare.side import Measured
from audit.errors import INCOMPLETE, AuditError
from reports.reproduction import Child

ROUNDS = 2
"""Timed runs of every setting; the best counts."""

TOGETHER = 4
"""So many settings are timed against one run as it is, which comes before them."""

_ALIASES = {"Katmai": "Prescott"}
"""Names by which a library tells what it was asked for by another one (OpenBLAS, driver/others/dynamic.c: a core of
which no code was built is another one's name, and the first that fits is told)."""

Values = Mapping[str, str]
_Key = frozenset[tuple[str, str]]


class NothingToVary(AuditError):
    """Nothing could be measured as it is, or nothing of it repeats."""

    status = INCOMPLETE


@dataclass(frozen=True)
class Run:
    """What one run under settings gave. before: the run as it is to which its time is compared."""

    child: Child
    side: Measured | None
    before: Run | None = None


@dataclass
class Bench:
    """Everything that was run on one machine, by settings. wanted: what it repeats as it is, by name; works: what all
    this is about, jobs, or the battery where there are none; rounds: how often every setting is run."""

    laboratory: Laboratory
    rounds: int = ROUNDS
    runs: dict[_Key, list[Run]] = field(default_factory=dict)
    wanted: dict[str, str] = field(default_factory=dict)
    nondeterministic: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()
    battery: bool = True
    before: Run | None = None
    noise: float | None = None

    def begin(self, jobs: tuple[str, ...] | None, battery: bool) -> None:
        """Run as it is, twice. Raises NothingToVary, and TargetError if it cannot be measured at all."""
        given = self.laboratory.measure(Under(), jobs, battery, repeat=2, words="as it is")
        assert given.side
        self.here = given.side
        self.wanted = results(given.side)
        self.jobs = tuple(given.side.jobs)
        self.battery = battery and bool(given.side.operators)
        self.nondeterministic = list(given.side.outline.nondeterministic)
        for name in self.nondeterministic:
            self.wanted.pop(name.removeprefix("operator "), None)
        self.skipped = {f"job {one.name}": one.reason or "no result" for one in given.side.target.jobs if not one.trace}
        if jobs and not self.jobs:
            raise NothingToVary(f"nothing to vary: {'; '.join(': '.join(one) for one in self.skipped.items())}")
        if not self.wanted and not self.nondeterministic:
            raise NothingToVary("nothing to vary: as it is this interpreter gives no result")
        self._keep(Under(), given)

    @property
    def least(self) -> float:
        """Seconds that the works took at least, as it is."""
        return self._seconds(self.of({})[0])

    @property
    def works(self) -> list[str]:
        """What can be compared at all, and pinned."""
        return [f"job {name}" for name in self.jobs if f"job {name}" in self.wanted] if self.jobs else [OPERATORS]

    def run(self, values: Values, words: str, battery: bool = False, timed: bool = False) -> Run:
        """One more run of the jobs. battery: of the battery, too (where there are no jobs, always); timed: the last run
        as it is was so short ago that the times can be compared."""
        under = Under(dict(values))
        given = self.laboratory.measure(under, self.jobs, self.battery and (battery or not self.jobs), words=words)
        one = self._keep(under, given, self.before if timed else None)
        if not values:
            self.before = one
            self._unsteady(one)
        return one

    def _keep(self, under: Under, given: Given, before: Run | None = None) -> Run:
        one = Run(given.child(self.wanted), given.side, before)
        self.runs.setdefault(_key(under.settings), []).append(one)
        return one

    def _unsteady(self, one: Run) -> None:
        """Drop what is now seen not to be repeated: what was taken for the effect of a setting may be that."""
        for name in one.child.changed:
            del self.wanted[name]
            self.nondeterministic.append(name if name.startswith("job ") else f"operator {name}")

    def of(self, values: Values) -> list[Run]:
        return self.runs.get(_key(values), [])

    def bits(self, values: Values) -> set[tuple[str, ...]]:
        """The different results of the works in all runs under some settings; a run that failed gives none."""
        return {
            tuple(one.child.digests[work] for work in self.works)
            for one in self.of(values)
            if not _lacks(one.child) and all(work in one.child.digests for work in self.works)
        }

    def failed(self, values: Values) -> str:
        """Why there is a run under some settings that gave nothing, or not all; "" if there is none."""
        return next((why for one in self.of(values) if (why := _lacks(one.child))), "")

    def refused(self, values: Values) -> str:
        """Which of the settings the library did not take, as the facts in effect say: such a run is no evidence."""
        side = next((one.side for one in self.of(values) if one.side), None)
        for name, value in values.items() if side else ():
            fact = BY_NAME[name].fact
            before, after = self.here.fact(fact), side.fact(fact) if side else None
            if after == before:
                return f"refused: {fact} stays {shown(before)}"
            # Masks take away at least what they name; what goes with it is the library's affair.
            asked = BY_NAME[name].derive(_ALIASES.get(str(after), after), before, self.here)
            if not isinstance(after, list) and (asked or "").lower() != value.lower():
                return f"refused: {fact} became {shown(after)}"
        return ""

    def slowdown(self, values: Values) -> float | None:
        """How many times longer the works took than as it is, best of ROUNDS or more runs each; None where it was not
        run so often."""
        timed = [(one, one.before) for one in self.of(values) if one.before and self._seconds(one)]
        pairs = [(self._seconds(one), self._seconds(before)) for one, before in timed if before]
        if len(pairs) < ROUNDS or not all(usual for _, usual in pairs):
            return None
        return round(min(took for took, _ in pairs) / min(usual for _, usual in pairs), 2)

    def timed(self) -> None:
        """All rounds were run: work out how far its timings as it is lie apart, the best of each block."""
        usual = [self._seconds(one) for one in self.of({})[1:]]
        blocks = len(usual) // self.rounds
        best = [min(usual[block::blocks]) for block in range(blocks)] if blocks > 1 else usual
        self.noise = round(max(best) / min(best), 2) if all(best) and len(best) > 1 else None

    def _seconds(self, one: Run) -> float:
        return sum(one.child.seconds.get(work, 0.0) for work in ([f"job {name}" for name in self.jobs] or [OPERATORS]))


def _lacks(child: Child) -> str:
    """Why a child gave nothing, or not all that it was run for: its jobs; without jobs, its operators."""
    jobs = any(work != OPERATORS for work in child.works)
    failed = {name: why for name, why in child.failed.items() if name.startswith("job ") or not jobs}
    return child.died or next((f"{name}: {why}" for name, why in failed.items()), "")


def _key(values: Values) -> _Key:
    return frozenset(values.items())
