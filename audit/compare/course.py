"""What became of a divergence, step by step, for pictures of it: which tensors differ in which steps, and how far.

It is bounded whatever the reports hold: steps are looked at so many apart, and tensors are taken together.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from audit.compare.side import Measured
from audit.compare.size import measure
from audit.compare.traces import calls, sequence
from reports.comparison import Course, Followed, JobResult, Kept, Results
from reports.report import Job, Row, StepValue, Trace

MOST_STEPS = 256
MOST_TENSORS = 256
"""So many steps are looked at, and so many rows of tensors are told apart."""

MOST_CALLS = 200_000
"""So many calls are looked at in all: a microsecond each."""

MOST_FOLLOWED = 8
"""So many tensors are measured over the steps."""

MOST_KEPT = 256
"""So many kept values are measured: a millisecond each."""

_Place = tuple[int, str, str, str]
"""Step, phase, tensor and operator of a row."""


def followed(results: Results, pairs: Sequence[tuple[Measured, Measured]]) -> Results:
    """The results with the course of every job that parted. pairs: what was compared in depth."""
    return replace(results, jobs=[_with_course(job, results, pairs) for job in results.jobs])


def _with_course(job: JobResult, results: Results, pairs: Sequence[tuple[Measured, Measured]]) -> JobResult:
    parted, first = job.first_divergence, results.first_divergence
    pair = next((pair for pair in pairs if parted and parted.labels == [side.label for side in pair]), None)
    if parted is None or first is None or pair is None:
        return job
    along = parted.step if first.job == job.name else None
    ran = [side.jobs[job.name] for side in pair]
    return replace(job, course=course(ran[0], ran[1], parted.labels, along))


def course(one: Job, two: Job, labels: list[str], along: int | None) -> Course | None:
    """The course of one job on two sides; None where one of them was not run to its end.

    along: the step of which every kept tensor is measured, in the order of work.
    """
    if one.trace is None or two.trace is None:
        return None
    steps = min(one.trace.steps, two.trace.steps)
    every = max(_apart(steps, MOST_STEPS), _apart(steps * len(one.trace.rows), MOST_CALLS))
    losses = [job.outcome.losses if job.outcome else [] for job in (one, two)]
    losses_every = _apart(max(map(len, losses)), MOST_STEPS)
    both = _kept_by_both(one.trace, two.trace)
    return Course(
        labels=labels,
        steps=steps,
        every=every,
        tensors=_taken_together(_tensors(one.trace, two.trace, range(0, steps, every))),
        along=_measured({place: pair for place, pair in both.items() if place[0] == along}),
        kept=_measured(_over_steps(both)),
        losses=[those[::losses_every] for those in losses],
        losses_every=losses_every,
    )


def _apart(count: int, most: int) -> int:
    """How far apart those are that are looked at, at most so many."""
    return -(-count // most) or 1


def _tensors(one: Trace, two: Trace, steps: range) -> list[Followed]:
    """Every tensor in the order of work. Where the two are no longer the same calls the comparison ends."""
    names = {(row.phase, row.tensor, row.operator): "" for row in one.rows}
    for done, step in enumerate(steps):
        ours, theirs = calls(one, step), calls(two, step)
        for (row, mine), (other, its) in zip(ours, theirs, strict=False):
            name = (row.phase, row.tensor, row.operator)
            if row.tensor != other.tensor:
                return _found(names)
            before = names[name].ljust(done, ".")
            names[name] = before[:done] + ("x" if mine != its or before[done:] == "x" else "=")
        if len(ours) != len(theirs):
            break
    return _found(names)


def _found(names: dict[tuple[str, str, str], str]) -> list[Followed]:
    length = max(map(len, names.values()), default=0)
    return [Followed(*name, cells.ljust(length, ".")) for name, cells in names.items() if cells]


def _taken_together(tensors: list[Followed]) -> list[Followed]:
    """At most MOST_TENSORS rows: neighbours in the order of work share one."""
    size = _apart(len(tensors), MOST_TENSORS)
    if size == 1:
        return tensors
    found = []
    for start in range(0, len(tensors), size):
        those = tensors[start : start + size]
        cells = "".join(_worst(column) for column in zip(*(one.cells for one in those), strict=True))
        found.append(replace(those[0], cells=cells, count=len(those)))
    return found


def _worst(cells: Sequence[str]) -> str:
    return next((cell for cell in "x=" if cell in cells), ".")


_Pair = tuple[StepValue, StepValue, Row]


def _kept_by_both(one: Trace, two: Trace) -> dict[_Place, _Pair]:
    """What both sides kept of the same call, in the order of work."""
    theirs = {(value.step, value.row): value for value in two.values}
    found: dict[_Place, _Pair] = {}
    for value in sorted(one.values, key=lambda value: (value.step, value.row)):
        row, other = _row(one, value), theirs.get((value.step, value.row))
        its = _row(two, other) if other else None
        if row and other and its and row.tensor == its.tensor:
            found[value.step, row.phase, row.tensor, row.operator] = (value, other, row)
    return found


def _row(trace: Trace, value: StepValue) -> Row | None:
    order = sequence(trace, value.step)
    return trace.rows[order[value.row]] if 0 <= value.row < len(order) else None


def _over_steps(both: dict[_Place, _Pair]) -> dict[_Place, _Pair]:
    """Those tensors that were kept at most steps, of what was kept at more than one."""
    steps: dict[tuple[str, ...], int] = {}
    for _, *name in both:
        steps[tuple(name)] = steps.get(tuple(name), 0) + 1
    chosen = sorted((name for name in steps if steps[name] > 1), key=lambda name: -steps[name])[:MOST_FOLLOWED]
    return {place: pair for place, pair in both.items() if place[1:] in chosen}


def _measured(pairs: dict[_Place, _Pair]) -> list[Kept]:
    return [_kept(place, *pair) for place, pair in list(pairs.items())[:MOST_KEPT]]


def _kept(place: _Place, mine: StepValue, its: StepValue, row: Row) -> Kept:
    if mine.digest == its.digest:
        return Kept(*place, fraction=0.0)
    size = measure(mine, its, list(row.shape), row.dtype)
    return Kept(*place, fraction=size.fraction, ulp=size.ulp)
