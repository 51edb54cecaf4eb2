"""`audit vary`: which settings change bits on this machine, where first, at what cost, and what pins them.

Every setting is run alone, then those together that stand for another machine, each in fresh processes beside the
machine as it is (`bench`). What it does not repeat is blamed on no setting, and a value that is refused or crashes is
said: it is no setting that changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from audit.causes import settings
from audit.causes.bench import ROUNDS, TOGETHER, Bench, Run
from audit.causes.effect import effect, libraries
from audit.causes.laboratory import OPERATORS, Laboratory
from audit.causes.machines import Candidate, Possible, possible
from audit.causes.pins import Pins, pin
from audit.causes.settings import BY_NAME, Values
from audit.compare import engine
from audit.errors import DIFFERS, INCOMPLETE, SAME
from reports.comparison import FirstDivergence
from reports.variation import FORMAT, VERSION, Spread, Variation, Varied, VariedJob

NO_PINS = "not searched, for that runs your program many more times: --pins FILE does"


def vary(
    laboratory: Laboratory,
    jobs: tuple[str, ...] | None,
    battery: bool = True,
    pinning: bool = True,
    announce: Callable[[int, float], None] = lambda runs, seconds: None,
) -> Variation:
    """Everything that the machine can be made to be. jobs: None for all that this interpreter can run.

    A person's own program takes long: it is run once under each setting, so that nothing is said of its speed. pinning:
    search pins, too. announce: is told how many more runs that takes without the pins, and how long one takes.
    Raises NothingToVary, and TargetError if the machine cannot be measured as it is.
    """
    bench = Bench(laboratory, rounds=1 if laboratory.program else ROUNDS)
    bench.begin(jobs, battery)  # an interruption before its end leaves nothing to tell
    every, pins, interrupted = possible(bench.here), Pins(), False
    distinct = len(_distinct([*every.alone, *every.levels]))
    announce((distinct + -(-distinct // TOGETHER)) * bench.rounds + len(every.crossed), bench.least)
    try:
        _run(bench, [*every.alone, *every.levels])
        for done, one in enumerate(
            every.crossed, 1
        ):  # what both change is known; only that it is so of the jobs is not
            bench.run(one.values, f"with 1 CPU, {done} of {len(every.crossed)}", battery=not bench.jobs)
        if pinning:
            pin(bench, every, pins)
        else:
            pins.reason = NO_PINS
    except KeyboardInterrupt:
        interrupted = True
    return _variation(bench, every, pins, interrupted)


def _run(bench: Bench, candidates: list[Candidate]) -> None:
    """All of them in rounds, so that what the machine does meanwhile falls upon all; the battery in the first."""
    distinct = _distinct(candidates)
    for number in range(bench.rounds):
        done = 0
        for some in _some(distinct):
            bench.run({}, f"as it is, round {number + 1} of {bench.rounds}")
            for one in some:
                done += 1
                if not bench.failed(one.values):
                    words = f"setting {done} of {len(distinct)}, round {number + 1} of {bench.rounds}"
                    bench.run(one.values, words, battery=number == 0, timed=True)
    bench.timed()


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    """Those that can be run, of equal ones the last."""
    return [*{frozenset(one.values.items()): one for one in candidates if not one.impossible}.values()]


def _some(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    left = iter(candidates)
    while some := list(islice(left, TOGETHER)):
        yield some


def _variation(bench: Bench, every: Possible, pins: Pins, interrupted: bool) -> Variation:
    """All that was found, whenever it ended."""
    rows = [_varied(bench, one) for one in every.every if one.impossible or bench.of(one.values)]
    compared = engine.compare([bench.here, bench.here])
    return Variation(
        format=FORMAT,
        version=VERSION,
        settings=rows,
        pins=pins.values,
        pins_slowdown=pins.slowdown,
        here=compared.reports[0],
        jobs=[VariedJob(name, job.version, job.configuration) for name, job in bench.here.jobs.items()],
        works=bench.works,
        spread=dict(_spreads(bench, rows)),
        runs=bench.laboratory.runs,
        seconds=round(bench.laboratory.seconds, 1),
        pins_verified=pins.verified,
        pins_reason=pins.reason,
        kept=every.kept,
        nondeterministic=bench.nondeterministic,
        skipped=bench.skipped,
        noise=bench.noise,
        validity=libraries(bench.here),
        interrupted=interrupted,
        exit=_exit(rows, bench, interrupted),
    )


def _exit(rows: list[Varied], bench: Bench, interrupted: bool) -> int:
    """Other bits are a finding; that there are none can be said only of what was tried."""
    if bench.nondeterministic or any(one.changes_bits for one in rows):
        return DIFFERS
    crashed = any(bench.failed(one.settings) for one in rows)
    tried = any(one.changes_bits is False for one in rows)
    return INCOMPLETE if interrupted or bench.skipped or crashed or not tried else SAME


def _varied(bench: Bench, candidate: Candidate) -> Varied:
    """What one of them came to."""
    values = candidate.values
    runs = [one for one in bench.of(values) if one.side]
    reason = candidate.impossible or bench.failed(values) or bench.refused(values)
    changed, unsteady = _changed(bench, runs), _unsteady(bench, runs)
    differs = bool(changed or unsteady)
    return Varied(
        name=candidate.name or next(iter(values)),
        value=settings.shell(values).removeprefix("env ") if candidate.name else next(iter(values.values())),
        component=", ".join(dict.fromkeys(BY_NAME[name].component for name in values)),
        changes_bits=None if reason else differs,
        first_divergence=_first(bench, runs, changed) if changed and not reason else None,
        slowdown=None if reason else bench.slowdown(values),
        settings=values,
        stands_for=candidate.name or "".join(BY_NAME[name].stands_for(value) for name, value in values.items()),
        machine=bool(candidate.name),
        changed=[] if reason else changed,
        operators=[] if reason else _operators(bench, runs),
        loss_last={} if reason else _losses(runs),
        effect=effect(values, runs[0].side if runs else None),
        reason=reason,
        unsteady=[] if reason else unsteady,
    )


def _changed(bench: Bench, runs: list[Run]) -> list[str]:
    """The works that gave other bits than they give as it is."""
    names = {name for one in runs for name in one.child.changed if name in bench.wanted}
    jobs = [f"job {name}" for name in bench.jobs if f"job {name}" in names]
    return jobs + [OPERATORS] * any(not name.startswith("job ") for name in names)


def _unsteady(bench: Bench, runs: list[Run]) -> list[str]:
    """The works that gave one result in one run and another in the next."""
    found = []
    for work in [OPERATORS, *(f"job {name}" for name in bench.jobs if f"job {name}" in bench.wanted)]:
        if len({one.child.digests[work] for one in runs if work in one.child.digests}) > 1:
            found.append(work)
    return found


def _operators(bench: Bench, runs: list[Run]) -> list[int]:
    ran = [one for one in runs if OPERATORS in one.child.works]
    if not ran:
        return []
    moved = [name for name in ran[0].child.changed if name in bench.wanted and not name.startswith("job ")]
    return [len(moved), sum(not name.startswith("job ") for name in bench.wanted)]


def _first(bench: Bench, runs: list[Run], changed: list[str]) -> FirstDivergence | None:
    """Where it first parts from the machine as it is."""
    sides = [one.side for one in runs if one.side and any(name in bench.wanted for name in one.child.changed)]
    return engine.compare([bench.here, sides[0]]).results.first_divergence if changed and sides else None


def _losses(runs: list[Run]) -> dict[str, float]:
    side = runs[0].side if runs else None
    found = {name: job.outcome.loss_last for name, job in side.jobs.items() if job.outcome} if side else {}
    return {name: loss for name, loss in found.items() if loss is not None and math.isfinite(loss)}


def _spreads(bench: Bench, rows: list[Varied]) -> Iterator[tuple[str, Spread]]:
    """What the final losses came to, as it is and under everything that was in effect."""
    usual = _losses(bench.of({}))
    for name, loss in usual.items():
        losses = [loss, *(one.loss_last[name] for one in rows if name in one.loss_last)]
        learned = [_learned(bench, name, one.settings) for one in rows if name in one.loss_last]
        width = max(losses) - min(losses)
        yield (
            name,
            Spread(
                least=min(losses),
                most=max(losses),
                usual=loss,
                relative=width / abs(loss) if loss else None,
                settings=len(losses) - 1,
                learned=sum(learned),
            ),
        )


def _learned(bench: Bench, name: str, values: Values) -> bool:
    side = bench.of(values)[0].side
    outcome = side.jobs[name].outcome if side else None
    return bool(outcome and outcome.learned)
