"""The cheapest settings under which results are the same on every machine that this one can imitate.

A setting takes a machine down, never up: on every machine it must be possible. So a pinned component is held at the
lowest machine's value everywhere, and all machines can only agree on the lowest one's bits. What must be pinned for
that is found by measuring: every machine is imitated under the pins, each component at the lower of the machine's own
value and the pin. A mask (features that a library shall not use) may stay above the lowest one where bits allow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from audit.causes.bench import ROUNDS, Bench
from audit.causes.machines import AS_IS, Possible
from audit.causes.minimise import minimise
from audit.causes.settings import BY_NAME, Values
from reports.variation import Verified

RUNS = 2
"""Runs of every machine under the pins, before they are said to hold."""


@dataclass
class Pins:
    """values: the pins; empty with a reason. It grows while it is searched, so an interruption leaves what was found:
    until they are verified there are none."""

    values: Values = field(default_factory=dict)
    slowdown: float | None = None
    verified: list[Verified] = field(default_factory=list)
    reason: str = "interrupted before they were searched"


def pin(bench: Bench, possible: Possible, found: Pins) -> None:
    """Search, verify and time the pins, into `found`."""
    if not any(name in bench.wanted or name == "operators" for name in bench.works):
        found.reason = "the machine does not repeat it as it is"
        return
    _Search(bench, possible, found).search()


@dataclass(frozen=True)
class _Machine:
    """level: how far down it is, 0 as it is; threads: whether it has one CPU."""

    name: str
    level: int
    threads: bool


class _Search:
    def __init__(self, bench: Bench, possible: Possible, found: Pins) -> None:
        self.bench = bench
        self.found = found
        levels = [one for one in possible.levels if not one.impossible and _was_that(bench, one.values)]
        steps = [{}, *(one.values for one in levels)]
        # By variable: its value on each level, "" where that level does not need it.
        self.ladder = {name: [step.get(name, "") for step in steps] for name in steps[-1]}
        self.machines = [_Machine(name, n, False) for n, name in enumerate([AS_IS, *(one.name for one in levels)])]
        self.target: set[tuple[str, ...]] = set()  # the lowest machine's bits, the only ones on which all can agree
        self.threads = possible.threads if _was_that(bench, possible.threads) else {}
        if self.threads:
            self.machines += [_Machine(f"{one.name}, 1 CPU", one.level, True) for one in self.machines]

    def search(self) -> None:
        everything = {**{name: values[-1] for name, values in self.ladder.items()}, **self.threads}
        if len(self.machines) == 1:
            self.found.reason = "no other machine can be imitated here"
            return
        usual = self._bits({})
        if usual and all(self._bits(self._under(one, {})) == usual for one in self.machines):
            self.found.reason = "not needed: the bits are the same on every machine that was imitated"
            return
        self.found.reason = "interrupted before they were verified"
        self.target = self._repeated(everything, "pins")
        if not self.target:
            why = self.bench.failed(everything) or "it does not repeat itself there"
            self.found.reason = f"the lowest machine gives no result to agree on: {why}"
            return
        best = self._cheapest(self._candidates(everything))
        self.found.verified = [self._verify(machine, best) for machine in self.machines]
        if all(one.same for one in self.found.verified):
            self.found.values = {name: best[name] for name in BY_NAME if name in best}
            self.found.reason = ""
            self.found.slowdown = self.bench.slowdown(best)
        else:
            self.found.reason = "what seemed to hold did not when it was run again"

    def _under(self, machine: _Machine, pins: Values) -> Values:
        """A machine under pins: every component at the lower of both."""
        values = {}
        for name, ladder in self.ladder.items():
            own = ladder[machine.level]
            pinned = pins.get(name, "")
            values[name] = max(own, pinned, key=lambda value: ladder.index(value) if value else -1)
        if machine.threads or pins.keys() & self.threads.keys():
            values.update(self.threads)
        return {name: value for name, value in values.items() if value}

    def _bits(self, values: Values) -> set[tuple[str, ...]]:
        """One result, or none where it fails or does not repeat itself."""
        if not self.bench.of(values):
            self.bench.run(values, "pins")
        bits = self.bench.bits(values)
        return bits if len(bits) == 1 and not self.bench.failed(values) else set()

    def _repeated(self, values: Values, words: str) -> set[tuple[str, ...]]:
        while len(self.bench.of(values)) < RUNS:
            self.bench.run(values, words)
        return self._bits(values)

    def _holds(self, pins: Values) -> bool:
        """Whether all machines give the same bits under these; the first that does not ends it."""
        return all(self._bits(self._under(machine, pins)) == self.target for machine in self.machines)

    def _candidates(self, everything: Values) -> list[Values]:
        """Sets of which nothing can be left out. Which one is found depends on what is tried first to be left out: what
        costs most alone, and then what costs least."""
        order = self._dearest_first(everything)
        found: list[Values] = []
        for items in (order, order[::-1]):
            kept = dict(minimise(items, lambda some: self._holds(dict(some))))
            found += [one for one in (kept, *self._raised(kept)) if one not in found]
        return found

    def _dearest_first(self, values: Values) -> list[tuple[str, str]]:
        """What costs most alone is tried first to be left out."""
        cost = {name: self.bench.slowdown({name: value}) or 1.0 for name, value in values.items()}
        return sorted(values.items(), key=lambda item: -cost[item[0]])

    def _raised(self, kept: Values) -> Iterator[Values]:
        """The same with one mask as far up as bits allow. A kernel cannot: a lower CPU has not its instructions."""
        for name in self.ladder:
            if name not in kept or not isinstance(self.bench.here.fact(BY_NAME[name].fact), list):
                continue
            higher = [value for value in dict.fromkeys(self.ladder[name]) if value and value != kept[name]]
            raised = next(({**kept, name: value} for value in higher if self._holds({**kept, name: value})), None)
            if raised:
                yield raised

    def _cheapest(self, candidates: list[Values]) -> Values:
        """The one with the least measured slow-down; the first unless another is clearly better."""
        for number in range(ROUNDS):
            self.bench.run({}, f"timing, round {number + 1} of {ROUNDS}")
            for values in candidates:
                self.bench.run(values, f"timing, round {number + 1} of {ROUNDS}", timed=True)
        best = candidates[0]
        clearly = self.bench.noise or 1.0
        for values in candidates[1:]:
            now, before = self.bench.slowdown(values), self.bench.slowdown(best)
            if now and before and now * clearly < before:
                best = values
        return best

    def _verify(self, machine: _Machine, pins: Values) -> Verified:
        values = self._under(machine, pins)
        same = self._repeated(values, f"verifying, {machine.name}") == self.target
        return Verified(machine.name, values, len(self.bench.of(values)), same)


def _was_that(bench: Bench, values: Values) -> bool:
    """Whether a machine was really imitated: it ran, and its libraries took what was asked."""
    return bool(bench.bits(values)) and not bench.failed(values) and not bench.refused(values)
