"""`audit reproduce`: find the settings under which this machine gives a report's bits, and prove them.

Attribution names the suspects; their settings follow from the other's facts in effect. Each is tried in fresh processes
on the battery, then all together on the whole jobs; what is not needed is dropped (`minimise`), and what is left is
proven: with it the same bits, without any part of it not, each at least twice. The proof is in the digests of the
children (`reports.proof`).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import msgspec

from audit.causes import packages, settings
from audit.causes.effect import effect
from audit.causes.laboratory import OPERATORS, Laboratory, Under
from audit.causes.minimise import minimise
from audit.causes.outcome import Found, reproduction
from audit.causes.trials import Standing, Trials
from audit.compare.side import Measured
from reports import proof
from reports.comparison import FirstDivergence
from reports.reproduction import Reproduction, Tried

MOST = 24
"""Values of one component that are tried before it is given up."""


def reproduce(there: Measured, laboratory: Laboratory) -> Reproduction:
    """Make this machine give the bits of `there`.

    Raises NotComparable, and TargetError if this machine cannot be measured at all.
    """
    trials = Trials(there, laboratory)
    trials.begin()  # an interruption before its end leaves nothing to tell
    found = Found(left=trials.start)
    search = _Search(trials, found)
    try:
        search.try_components()
        search.decide()
        search.verify(said=True)
        search.minimise()
        search.prove()
    except KeyboardInterrupt:
        found.interrupted = True
    return reproduction(trials, found)


class _Search:
    """Fills `found` by `trials`."""

    def __init__(self, trials: Trials, found: Found) -> None:
        self.trials = trials
        self.found = found
        self.here = trials.here
        self.there = trials.there
        self.suspects = trials.suspects

    # -- trying -----------------------------------------------------------------------------------------------------

    def try_components(self) -> None:
        """Component by component on the battery: what follows from the other's facts, then what else is possible."""
        own = self.trials.programs
        if not (self.trials.start.away & {*own} if own else self.trials.start.away):
            return
        other = Under(packages=self._other_packages())
        if other:
            self._try(other, self.suspects, [], basis=True)
            self._verify_jobs()
            last = len(self.trials.children) - 1
            self.found.notes += packages.rebuilt(self.trials.sides.get(last, self.here), self.there)
        freed = self._own_variables()
        if freed:
            self._try(Under(freed), self.suspects, [])
            self._verify_jobs()
        if own and all(self._open(component) <= {*own} for component in self.suspects):
            # No operator tells one component's settings from another's, so they are tried together; `minimise` parts.
            derived = settings.derive(self._now(), self.there, self.suspects)
            self._try(Under(settings.variables(derived)), self.suspects, [])  # nobody makes calls in a program
            return
        for position, component in enumerate(self.suspects):
            if not self._open(component):
                continue
            # What passes through another suspect too is its turn's.
            later = set(self.suspects[position + 1 :])
            now, kept = self._now(), self.found.kept.settings
            derived = settings.derive(now, self.there, [component])
            derived = {name: value for name, value in derived.items() if kept.get(name) != value}
            # What only a program shows is not searched for by running it again and again.
            able = settings.downwards(now, self.there) and not self._open(component) <= {*own}
            others = settings.others(now, component)[:MOST] if able else []
            self._try(Under(derived), [component], others, later)
        if other and not self.found.kept.packages and self._away():
            self._try(other, self.suspects, [])

    def _verify_jobs(self) -> None:
        """Where no operator differs any more, jobs may have the wanted bits by now, too. Without operators they ran."""
        away = self._away()
        if away and self.trials.has_operators and not any(name in self.there.operators for name in away):
            self.verify()

    def _other_packages(self) -> dict[str, str]:
        """Versions of packages that the other has and that can be had here, where they may be tried at all."""
        environments = self.trials.laboratory.environments
        if environments is None:
            return {}
        differing = packages.differing(self.here, self.there)
        versions = environments.available(differing.versions)
        self.found.unavailable = {**environments.unavailable, **differing.refused}
        self.found.notes += differing.notes
        return versions

    def _own_variables(self) -> dict[str, str]:
        """Variables that are set here and not there, or to something else: taken out, before others are put in."""
        found = {}
        for one in settings.SETTINGS:
            mine, its = (side.fact(f"variables.{one.name}") for side in (self.here, self.there))
            if one.how == "variable" and one.decides(self.suspects) and mine is not None and mine != its:
                found[one.name] = ""
        return found

    def _now(self) -> Measured:
        """This machine under what is kept."""
        return self.trials.side(self.found.kept)

    def _away(self) -> frozenset[str]:
        return self.found.left.away

    def _open(self, component: str) -> frozenset[str]:
        """What of a component still differs under what is kept."""
        return self.trials.passing(self._away(), component)

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
        trials = self.trials
        aims = frozenset[str]().union(*map(self._open, components))
        aims = frozenset(name for name in aims if not trials.through(name) & later) or aims
        measured = [name for name in trials.wanted if set(components) & trials.through(name)]
        candidates = [first] * bool(first) + [Under(one) for one in others if one != first.settings]
        # Only jobs show what no operator does.
        jobs = trials.jobs if not any(name in self.there.operators for name in aims) else ()
        best: tuple[Under, Standing] | None = None
        for candidate in candidates:
            standing, position = trials.run(self.found.kept | candidate, jobs, words=f"trying {_words(candidate)}")
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
            self.found.kept |= best[0]
            left_over = frozenset() if jobs else frozenset(n for n in self._away() if n.startswith("job "))
            self.found.left = Standing(best[1].changed | left_over, best[1].failed)

    def _say(
        self, candidate: Under, components: list[str], before: int, after: int, total: int, helped: bool, position: int
    ) -> None:
        died, moved = self.trials.children[position].died, self._moved(position)
        outcome = died or ("kept" if helped else "no effect" if before == after and not moved else "not enough")
        told = effect(candidate.settings, self.trials.sides.get(position))
        words = ", ".join(components)
        self.found.tried.append(
            Tried(candidate.settings, words, before, after, total, outcome, told, candidate.packages, moved)
        )

    def _moved(self, position: int) -> FirstDivergence | None:
        """Where a child's jobs part, if they ran in it and parted elsewhere without its settings."""
        side = self.trials.sides.get(position)
        if side is None or not any(work.startswith("job ") for work in self.trials.children[position].works):
            return None
        before, after = self.trials.parting(self.here), self.trials.parting(side)
        return after if before and after and _place(before) != _place(after) else None

    def decide(self) -> None:
        """A person's own program is what is to be reproduced: what operators needed beside it is dropped."""
        if self.trials.programs:
            self.trials.decided_by(self.trials.programs)
            self.found.left = self.trials.start

    # -- proving ----------------------------------------------------------------------------------------------------

    def verify(self, said: bool = False) -> None:
        """The whole jobs under all that was kept. said: if it is not enough for a person's own program, that is told as
        a try."""
        if not self.found.kept:
            return
        self.found.left, position = self.trials.run(self.found.kept, self.trials.jobs, words="verifying")
        if said and self.trials.programs and self._away():
            total = len(self.trials.wanted)
            before, after = (total - len(one.away) for one in (self.trials.start, self.found.left))
            self._say(self.found.kept, self.suspects, before, after, total, False, position)

    def minimise(self) -> None:
        """Drop what is not needed for as good a result."""
        kept = self.found.kept
        if not kept or self._away() >= self.trials.start.away:
            self.found.kept, self.found.left = Under(), self.trials.start
            return
        least = Under.of(minimise(kept.items, lambda items: self._as_good(Under.of(items))))
        needed = {name for _, name, _ in least.items}
        self.found.tried = [
            msgspec.structs.replace(one, outcome="not needed")
            if one.outcome == "kept" and not needed & {*one.settings, *one.packages}
            else one
            for one in self.found.tried
        ]
        self.found.kept = least

    def _as_good(self, under: Under) -> bool:
        """Whether it leaves no more than is left now; jobs run only if the battery does not tell."""
        trials = self.trials
        if trials.has_operators:
            standing, _ = trials.run(under, (), words=f"without {_words(_less(self.found.kept, under))}")
            if not standing.away <= self._away():
                return False
        return not trials.jobs or trials.run(under, trials.jobs, False, words="jobs again")[0].away <= self._away()

    def prove(self) -> None:
        """As many runs with it, and without each part of it, as a proof needs."""
        trials, kept = self.trials, self.found.kept
        if not kept:
            return
        for work in [OPERATORS] * trials.has_operators + [f"job {name}" for name in trials.jobs]:
            while trials.ran(kept, work) < proof.TIMES:
                jobs = tuple(name for name in trials.jobs if trials.ran(kept, f"job {name}") < proof.TIMES)
                trials.run(kept, jobs, trials.ran(kept, OPERATORS) < proof.TIMES, words="with it, again")
        for item in kept.items:
            rest = Under.of(one for one in kept.items if one != item)
            for _ in range(proof.TIMES - sum(bool(trials.children[n].changed) for n in trials.of(rest))):
                jobs = self._where(rest)
                trials.run(rest, jobs, battery=not jobs, words=f"without {item[1]}, again")

    def _where(self, under: Under) -> tuple[str, ...]:
        """The jobs by which it is seen that something is needed: none where operators, which are quick, show it."""
        seen = [name for n in self.trials.of(under) for name in self.trials.children[n].changed]
        return () if any(not name.startswith("job ") for name in seen) else self.trials.jobs


def _less(whole: Under, part: Under) -> Under:
    return Under.of(item for item in whole.items if item not in part.items)


def _place(one: FirstDivergence) -> tuple[object, ...]:
    return one.job, one.step, one.phase, one.tensor


def _words(under: Under) -> str:
    return ", ".join([*under.settings, *(f"{name} {version}" for name, version in under.packages.items())])
