"""`audit reproduce`: find the settings under which this machine gives a report's bits, and prove them.

Attribution names the suspects; their settings follow from the other's facts in effect. Each is tried in fresh processes
on the battery, then all together on the whole jobs; what is not needed is dropped (`minimise`), and what is left is
proven: with it the same bits, without any part of it not, each at least twice. The proof is in the digests of the
children (`reports.proof`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec

from audit.causes import packages, settings
from audit.causes.laboratory import OPERATORS, Given, Laboratory, Under, results
from audit.causes.minimise import minimise
from audit.compare import engine
from audit.compare import results as compared
from audit.compare.side import Measured
from audit.errors import DIFFERS, INCOMPLETE, SAME, AuditError
from reports import proof
from reports.comparison import Cause, Comparison, FirstDivergence
from reports.reproduction import (
    FORMAT,
    VERSION,
    Child,
    Meeting,
    Necessary,
    Reproduction,
    Tried,
    Verdict,
)

MOST = 24
"""Values of one component that are tried before it is given up."""


class NotComparable(AuditError):
    """Nothing of the report can be compared with this machine."""

    status = INCOMPLETE


def reproduce(there: Measured, laboratory: Laboratory) -> Reproduction:
    """Make this machine give the bits of `there`.

    Raises NotComparable, and TargetError if this machine cannot be measured at all.
    """
    search = _Search(there, laboratory)
    try:
        search.begin()
        search.try_components()
        search.verify()
        search.minimise()
        search.prove()
    except KeyboardInterrupt:
        if not search.begun:
            raise
        search.interrupted = True
    return search.outcome()


@dataclass(frozen=True)
class _Standing:
    """What of the wanted results a child did not give."""

    changed: frozenset[str]
    failed: frozenset[str]

    @property
    def away(self) -> frozenset[str]:
        return self.changed | self.failed


class _Search:
    """What is known so far. It only grows, so that an interruption leaves what was found."""

    def __init__(self, there: Measured, laboratory: Laboratory) -> None:
        self.there = there
        self.laboratory = laboratory
        self.begun = False
        self.interrupted = False
        self.children: list[Child] = []
        self.sides: dict[int, Measured] = {}  # of children, by position
        self.tried: list[Tried] = []
        self.kept = Under()
        self.best: _Standing | None = None  # under all that was kept, on everything
        self.skipped: dict[str, str] = {}
        self.unavailable: dict[str, str] = {}
        self.notes: list[str] = []

    # -- as it is ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Run as it is, and compare."""
        mine = tuple(self.there.jobs)
        given = self.laboratory.measure(Under(), mine, bool(self.there.operators), repeat=2, words="as it is")
        assert given.side
        self.here = given.side
        self.comparison: Comparison = engine.compare([self.there, self.here])
        self.wanted = dict(self._wanted())
        if not self.wanted:
            why = next(iter(self.skipped.items()), ("report", "it has no results; make one with audit run"))
            raise NotComparable(
                f"{self.there.file}: nothing in it can be compared with this machine ({': '.join(why)})"
            )
        for _ in range(2):  # it ran twice, and what it did not repeat is not wanted
            self._keep(given)
        self.jobs = tuple(name for name in mine if f"job {name}" in self.wanted)
        self.start = self._standing(self.children[0])
        self.best = self.start
        self.begun = True

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
                self.skipped[f"job {name}"] = "this interpreter cannot run it"
                continue
            result = compared.job(name, self.there, self.here).result
            if result.verdict in ("identical", "diverged") and job.trace and not self._shaky(name):
                yield f"job {name}", job.trace.digest
            else:
                self.skipped[f"job {name}"] = result.reason or "not repeated"

    def _shaky(self, name: str) -> bool:
        return any(one.step is not None for side in (self.there, self.here) for one in side.jobs[name].repeats)

    # -- trying -----------------------------------------------------------------------------------------------------

    @property
    def suspects(self) -> list[str]:
        return list(dict.fromkeys(name for cause in self.comparison.causes for name in cause.components))

    def try_components(self) -> None:
        """Component by component on the battery: what follows from the other's facts, then what else is possible."""
        if not self.start.away:
            return
        other = Under(packages=self._other_packages())
        if other:
            self._try(other, self.suspects, [], basis=True)
            if not any(name in self.there.operators for name in self._away()):
                self.verify()  # jobs may have the wanted bits by now, too
            self.notes += packages.rebuilt(self.sides.get(len(self.children) - 1, self.here), self.there)
        freed = self._own_variables()
        if freed:
            self._try(Under(freed), self.suspects, [])
        for position, component in enumerate(self.suspects):
            if not self._open(component):
                continue
            # What passes through another suspect too is its turn's.
            later = set(self.suspects[position + 1 :])
            derived = settings.derive(self._now(), self.there, [component])
            derived = {name: value for name, value in derived.items() if self.kept.settings.get(name) != value}
            able = settings.downwards(self._now(), self.there)
            others = settings.others(self._now(), component)[:MOST] if able else []
            self._try(Under(derived), [component], others, later)
        if other and not self.kept.packages and self._away():
            self._try(other, self.suspects, [])

    def _other_packages(self) -> dict[str, str]:
        """Versions of packages that the other has and that can be had here, where they may be tried at all."""
        environments = self.laboratory.environments
        if environments is None:
            return {}
        found = packages.differing(self.here, self.there)
        versions = environments.available(found.versions)
        self.unavailable = {**environments.unavailable, **found.refused}
        self.notes += found.notes
        return versions

    def _now(self) -> Measured:
        """This machine under what is kept: its facts are what values follow from."""
        kept = [n for n, child in enumerate(self.children) if n in self.sides and _is(child, self.kept)]
        return max((self.sides[n] for n in kept), key=lambda side: len(results(side)), default=self.here)

    def _own_variables(self) -> dict[str, str]:
        """Variables that are set here and not there, or to something else: taken out, before others are put in."""
        found = {}
        for one in settings.SETTINGS:
            mine, its = (side.fact(f"variables.{one.name}") for side in (self.here, self.there))
            if one.how == "variable" and one.component in self.suspects and mine is not None and mine != its:
                found[one.name] = ""
        return found

    def _open(self, component: str) -> frozenset[str]:
        """What of a component still differs under what is kept."""
        assert self.best
        return frozenset(name for name in self.best.away if component in self._through(name))

    def _through(self, name: str) -> set[str]:
        """The components that a result passes through; a job's are those of the rows where it parts."""
        operator = self.there.operators.get(name)
        if operator:
            return {operator.component, *operator.through}
        job = name.removeprefix("job ")
        rows = compared.job(job, self.there, self.here).rows
        return {component for row in rows for component in row.components}

    def _try(
        self,
        first: Under,
        components: list[str],
        others: list[dict[str, str]],
        later: AbstractSet[str] = frozenset(),
        basis: bool = False,
    ) -> None:
        """Try what follows from facts, and others one at a time until nothing of the components differs.

        The first is kept if it helped, another only if it leaves nothing: what helps by chance is no cause.
        later: components whose turn comes, with all that passes through them. basis: names and values of what is tried
        next follow from the first, so it is kept unless it harms; what it is not needed for, `minimise` finds.
        """
        aims = frozenset[str]().union(*map(self._open, components))
        aims = frozenset(name for name in aims if not self._through(name) & later) or aims
        measured = [name for name in self.wanted if set(components) & self._through(name)]
        candidates = [first] * bool(first) + [Under(one) for one in others if one != first.settings]
        # Only jobs show what no operator does.
        jobs = self.jobs if not any(name in self.there.operators for name in aims) else ()
        best: tuple[Under, _Standing] | None = None
        for candidate in candidates:
            standing, position = self._run(self.kept | candidate, jobs, words=f"trying {_words(candidate)}")
            ran = [name for name in measured if not name.startswith("job ") or jobs]
            before, after = (len([n for n in ran if n not in away]) for away in (self._away(), standing.away))
            left = len(standing.away & aims)
            enough = after >= before and not standing.failed if basis else left < len(aims)
            helped = left == 0 or (candidate is first and enough)
            self._say(candidate, components, before, after, len(ran), helped, position)
            if helped:
                best = candidate, standing
            if left == 0:
                break
        if best:
            self.kept |= best[0]
            left_over = frozenset() if jobs else frozenset(n for n in self._away() if n.startswith("job "))
            self.best = _Standing(best[1].changed | left_over, best[1].failed)

    def _away(self) -> frozenset[str]:
        assert self.best
        return self.best.away

    def _say(
        self, candidate: Under, components: list[str], before: int, after: int, total: int, helped: bool, position: int
    ) -> None:
        died = self.children[position].died
        outcome = died or ("kept" if helped else "no effect" if before == after else "not enough")
        effect = ""
        if position in self.sides:
            names = [settings.BY_NAME[name].fact for name in candidate.settings]
            effect = ", ".join(f"{name} {_shown(self.sides[position].fact(name))}" for name in dict.fromkeys(names))
        self.tried.append(
            Tried(candidate.settings, ", ".join(components), before, after, total, outcome, effect, candidate.packages)
        )

    # -- running ----------------------------------------------------------------------------------------------------

    def _run(self, under: Under, jobs: tuple[str, ...], battery: bool = True, words: str = "") -> tuple[_Standing, int]:
        given = self.laboratory.measure(under, jobs, battery and self._has_operators, words=words)
        position = self._keep(given)
        return self._standing(self.children[position]), position

    @property
    def _has_operators(self) -> bool:
        return any(not name.startswith("job ") for name in self.wanted)

    def _keep(self, given: Given) -> int:
        self.children.append(given.child(self.wanted))
        if given.side:
            self.sides[len(self.children) - 1] = given.side
        return len(self.children) - 1

    def _standing(self, child: Child) -> _Standing:
        if child.died:
            return _Standing(frozenset(), frozenset(self.wanted))
        return _Standing(frozenset(child.changed), frozenset(child.failed))

    # -- proving ----------------------------------------------------------------------------------------------------

    def verify(self) -> None:
        """The whole jobs under all that was kept."""
        if self.kept:
            self.best, _ = self._run(self.kept, self.jobs, words="verifying")

    def minimise(self) -> None:
        """Drop what is not needed for as good a result."""
        if not self.kept or self._away() >= self.start.away:
            self.kept = Under()
            self.best = self.start
            return
        found = Under.of(minimise(self.kept.items, lambda items: self._as_good(Under.of(items))))
        needed = {name for _, name, _ in found.items}
        self.tried = [
            msgspec.structs.replace(one, outcome="not needed")
            if one.outcome == "kept" and not needed & {*one.settings, *one.packages}
            else one
            for one in self.tried
        ]
        self.kept = found

    def _as_good(self, under: Under) -> bool:
        """Whether it leaves no more than is left now; jobs run only if the battery does not tell."""
        if self._has_operators:
            standing, _ = self._run(under, (), words=f"without {_words(_less(self.kept, under))}")
            if not standing.away <= self._away():
                return False
        return not self.jobs or self._run(under, self.jobs, battery=False, words="jobs again")[0].away <= self._away()

    def prove(self) -> None:
        """As many runs with it, and without each part of it, as a proof needs."""
        if not self.kept:
            return
        for work in [OPERATORS] * self._has_operators + [f"job {name}" for name in self.jobs]:
            while len(self._ran(self.kept, work)) < proof.TIMES:
                jobs = tuple(name for name in self.jobs if len(self._ran(self.kept, f"job {name}")) < proof.TIMES)
                again = len(self._ran(self.kept, OPERATORS)) < proof.TIMES
                self._run(self.kept, jobs, again, words="with it, again")
        for item in self.kept.items:
            rest = Under.of(one for one in self.kept.items if one != item)
            for _ in range(proof.TIMES - sum(_is(child, rest) and not child.died for child in self.children)):
                jobs = () if self._shows(rest) == OPERATORS else self.jobs
                self._run(rest, jobs, words=f"without {item[1]}, again")

    def _ran(self, under: Under, work: str) -> list[Child]:
        return [child for child in self.children if _is(child, under) and (work in child.works or child.died)]

    def _shows(self, under: Under) -> str:
        """Where it was seen that something is needed: in the operators, which is quick, or in jobs only."""
        seen = [name for child in self.children if _is(child, under) for name in child.changed]
        return OPERATORS if any(not name.startswith("job ") for name in seen) else "jobs"

    # -- saying -----------------------------------------------------------------------------------------------------

    def outcome(self) -> Reproduction:
        """All that was found, whenever it ended."""
        assert self.best
        away = sorted(self.best.away)
        necessary = {name: self._needed(("settings", name, value)) for name, value in self.kept.settings.items()}
        others = {name: self._needed(("packages", name, value)) for name, value in self.kept.packages.items()}
        found = Reproduction(
            format=FORMAT,
            version=VERSION,
            verdict="same",
            reproduced=False,
            settings=self.kept.settings,
            necessary={name: one for name, one in necessary.items() if one},
            residue=away,
            causes=[],
            children=self.children,
            runs=self.laboratory.runs,
            seconds=round(self.laboratory.seconds, 1),
            there=self.comparison.reports[0],
            here=self.comparison.reports[1],
            wanted=self.wanted,
            skipped=self.skipped,
            tried=self.tried,
            ruled_out=self.comparison.ruled_out,
            first_divergence=self._still() or self.comparison.results.first_divergence,
            packages=self.kept.packages,
            unavailable=self.unavailable,
            notes=[*self.notes, *self._advice()],
            necessary_packages={name: one for name, one in others.items() if one},
            meeting=self._meeting(),
            digits=self._digits(),
            cost=self._cost(),
            validity=self._validity(),
            interrupted=self.interrupted,
            code={
                name: settings.BY_NAME[name].code.format(value=value)
                for name, value in settings.calls(self.kept.settings).items()
            },
        )
        proven = not proof.missing(found)
        causes = [self._cause(cause, proven) for cause in self.comparison.causes]
        verdict = self._verdict(away, proven, causes)
        done = verdict in ("reproduced", "same")
        return msgspec.structs.replace(
            found,
            verdict=verdict,
            reproduced=done,
            causes=causes,
            exit=SAME if done else INCOMPLETE if self.interrupted else DIFFERS,
        )

    def _verdict(self, away: list[str], proven: bool, causes: list[Cause]) -> Verdict:
        if not self.start.away:
            return "same" if self.comparison.results.verdict == "identical" else "nondeterministic"
        if not away and proven:
            return "reproduced"
        if away and len(away) < len(self.start.away):
            return "partly"
        if causes and all(one.status == "unknown" for one in causes):
            return "unknown"
        return "irreducible" if causes and all(one.status == "irreducible" for one in causes) else "not-reproduced"

    def _cause(self, cause: Cause, proven: bool) -> Cause:
        """A cause with what was found out of it: it is proven where everything that it explains has the wanted bits
        under its own settings, irreducible where this machine has nothing to set."""
        own = {
            name: value
            for name, value in self.kept.settings.items()
            if settings.BY_NAME[name].component in cause.components
        }
        left = set().union(*map(self._open, cause.components))
        if (own or self.kept.packages) and not left and proven:
            return msgspec.structs.replace(cause, status="proven", settings=own, settings_on=self.here.label)
        if cause.root is None or own:
            return msgspec.structs.replace(cause, settings=own)
        package = cause.root.startswith("packages.") and not self.kept.packages
        status = "suspected" if package or self.interrupted else "irreducible"
        return msgspec.structs.replace(cause, status=status, settings={}, settings_on="")

    def _needed(self, item: tuple[str, str, str]) -> Necessary | None:
        """Where results part without it."""
        rest = Under.of(one for one in self.kept.items if one != item)
        for position, child in enumerate(self.children):
            if _is(child, rest) and child.changed and position in self.sides:
                first = engine.compare([self.there, self.sides[position]]).results.first_divergence
                return Necessary(first) if first else None
        return None

    def _still(self) -> FirstDivergence | None:
        """Where results part under what is kept."""
        side = self._now()
        return engine.compare([self.there, side]).results.first_divergence if self.kept and self._away() else None

    def _digits(self) -> float | None:
        """Decimal digits to which everything that differs agrees; None where nothing does or it is not numbers."""
        if not self._away():
            return None
        battery = compared.battery(self.there, self._now())
        rtols = [difference.size.smallest_rtol for _, difference in battery.differing]
        known = [one for one in rtols if one]
        return round(-math.log10(max(known)), 1) if known and len(known) == len(rtols) else None

    def _meeting(self) -> Meeting | None:
        """Where both can meet, if this machine cannot go down to the other."""
        if not self._away() or settings.downwards(self.here, self.there):
            return None
        if self.here.fact("cpu.machine") != self.there.fact("cpu.machine"):
            return None
        common = settings.cpu(self.here) & settings.cpu(self.there)
        return Meeting(
            level=_level(common), here=settings.level(self.here, common), there=settings.level(self.there, common)
        )

    def _cost(self) -> dict[str, float]:
        """How many times longer each work took, best of its runs."""
        cost = {}
        for work in [OPERATORS, *(f"job {name}" for name in self.jobs)]:
            best = [
                min((child.seconds[work] for child in self.children if _is(child, under) and work in child.seconds),
                    default=0.0)
                for under in (Under(), self.kept)
            ]  # fmt: skip
            if self.kept and all(best):
                cost[work] = round(best[1] / best[0], 2)
        return cost

    def _advice(self) -> list[str]:
        """What else a person can do where no setting of any machine helps."""
        mine, its = (side.fact("cpu.machine") for side in (self.here, self.there))
        if not self._away() or mine == its:
            return []
        return [f"{mine} against {its}: no setting makes one compute like the other; one image with an emulator does"]

    def _validity(self) -> list[str]:
        """What the settings were proven with."""
        components = [settings.BY_NAME[name].component for name in self.kept.settings]
        components += ["ordering"] if self.kept.packages else []
        side = self._now()
        named = {
            "blas": f"OpenBLAS {side.fact('blas.version')}",
            "numpy": f"numpy {side.fact('numpy.version')}",
            "libm": f"{side.fact('libc.name')} {side.fact('libc.version')}",
            "ordering": f"Python {side.fact('python.version')}",
        }
        return list(dict.fromkeys(named[name] for name in components if name in named))


def _is(child: Child, under: Under) -> bool:
    return (child.settings, child.packages) == (under.settings, under.packages)


def _less(whole: Under, part: Under) -> Under:
    return Under.of(item for item in whole.items if item not in part.items)


def _words(under: Under) -> str:
    return ", ".join([*under.settings, *(f"{name} {version}" for name, version in under.packages.items())])


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _level(common: frozenset[str]) -> str:
    return next((words for words, left in settings.LEVELS.items() if left <= common), "the same CPU")
