"""Recorded programs, `audit run -- COMMAND`, before they are compared: two recordings are compared as far as both go.

The first steps of a recording are what `audit run --steps` would have recorded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from audit.compare.side import Measured, Outline
from audit.compare.traces import calls, row_at, sequence
from probes.session import Program
from probes.trace import Definition, Step, assembled
from reports.comparison import JobResult
from reports.programs import is_operator, is_program
from reports.report import Job, Trace


def first_steps(one: Job, two: Job) -> tuple[Job, Job]:
    """Two recordings of one program, each without the steps that the other does not have."""
    steps = min(job.trace.steps if job.trace else 0 for job in (one, two))
    return _shortened(one, steps), _shortened(two, steps)


def cut(side: Measured, steps: int) -> Measured:
    """A side without the later steps of its program."""
    jobs = [_shortened(job, steps) if is_program(job.name) else job for job in side.target.jobs]
    return Measured(side.label, side.file, side.report, replace(side.target, jobs=jobs))


def _shortened(job: Job, steps: int) -> Job:
    if job.trace is None or job.trace.steps <= steps:
        return job
    first = _first(job.trace, steps)
    losses = job.outcome.losses[:steps] if job.outcome else []
    outcome = replace(job.outcome, losses=losses, loss_last=losses[-1] if losses else None) if job.outcome else None
    repeats = [
        replace(one, digest=first.digest, step=None, row=None) if one.step is not None and one.step >= steps else one
        for one in job.repeats
    ]
    return replace(job, trace=first, outcome=outcome, repeats=repeats)


def _first(whole: Trace, steps: int) -> Trace:
    """The first steps of a trace, put together as they would have been at their end."""
    definitions = [Definition(**msgspec.structs.asdict(row)) for row in whole.rows]
    taken = [Step(sequence(whole, step), [digest for _, digest in calls(whole, step)]) for step in range(steps)]
    phases = dict.fromkeys(definitions[number].phase for step in taken for number in step.definitions)
    values = [msgspec.to_builtins(value) for value in whole.values if value.step < steps]
    return msgspec.convert(assembled(definitions, list(phases), taken, values), Trace)


def backwards(trace: Trace, partings: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Partings of one step in the order of work: a backward pass begins with the last layers, and a program's gradients
    are read when it has ended, parameter by parameter."""
    if not partings or not row_at(trace, *partings[0]).tensor.startswith(_GRADIENT):
        return partings
    step = partings[0][0]
    names = [row.tensor for row, _ in calls(trace, step)]
    updated = [name for name in names if name.startswith(_WEIGHT)]
    order = {_GRADIENT + name.removeprefix(_WEIGHT): place for place, name in enumerate(updated)}
    return sorted(partings, key=lambda one: -order.get(names[one[1]], -1))


_GRADIENT, _WEIGHT = "grad:", "weight:"


def beside(result: JobResult, one: Job, two: Job) -> JobResult:
    """The result of a program with what only programs have."""
    notes = dict.fromkeys(note for job in (one, two) for note in job.notes)
    first = result.first_divergence
    if first and first.operator.startswith(_COLLECTIVE):
        name = first.operator.split()[0]
        words = "puts together what all ranks gave, and what others gave is not among its inputs: compare all ranks"
        notes[f"{name} {words}"] = None
    windows = [range(*window(job)) for job in (one, two)]
    seen = all(first.step in steps if first else bool(steps) for steps in windows)
    return replace(result, operators=seen, notes=list(notes))


_COLLECTIVE = ("c10d::", "_c10d_functional::")


def aligned(outlines: Sequence[Outline]) -> list[Outline]:
    """The outlines, each of which knows after how many steps another side's recording of the program ends: sides agree
    where they have the same bits as far as both go."""
    lengths: dict[str, set[int]] = {}
    for side in outlines:
        for name, ran in side.jobs.items():
            if is_program(name):
                lengths.setdefault(name, set()).add(ran.steps)
    uneven = {name: sorted(found) for name, found in lengths.items() if len(found) > 1}
    if not uneven:
        return list(outlines)
    return [
        replace(
            side,
            jobs={
                name: replace(ran, lengths=[n for n in uneven.get(name, []) if n <= ran.steps])
                for name, ran in side.jobs.items()
            },
        )
        for side in outlines
    ]


def otherwise(name: str, a: Measured, b: Measured) -> str:
    """Why two recordings of different configurations are not compared, and the way out."""
    ways = [recorded(side.jobs[name]) for side in (a, b)]
    if ways[0] == ways[1]:
        return f"{a.label} and {b.label} were recorded by auditors that record otherwise; record both with one"
    return f"{a.label} was recorded with {ways[0]} and {b.label} with {ways[1]}; record one of them again as the other"


def recorded(job: Job) -> str:
    """How a program was recorded, as the options of `audit run`."""
    first, last = window(job)
    return f"--trace operators --window {first}:{last}" if last else "--trace steps"


def as_recorded(side: Measured, command: Sequence[str], steps: int | None) -> Program:
    """The command, to be recorded as the program of a side was. steps: no more than so many."""
    jobs = [job for name, job in side.jobs.items() if is_program(name)]
    done = max(job.trace.steps for job in jobs if job.trace)
    first, last = window(jobs[0])
    trace, between = ("operators", (first, last)) if last else ("steps", None)
    return Program(tuple(command), min(done, steps or done), trace, between)


def dispatches(side: Measured, job: str) -> bool:
    """Whether the framework of a recorded program lets each operator be seen, as PyTorch does; where its facts could
    not be read, it may."""
    facts = side.works().get(f"job {job}", {})
    return not facts or any(name.startswith("aten.") for name in facts)


_TRACE = re.compile(r"operators (\d{1,9}):(\d{1,9})")


def window(job: Job) -> tuple[int, int]:
    """The steps whose operators were recorded, the first of them and the first behind them; (0, 0) where none were."""
    asked = _TRACE.fullmatch(str(job.facts["program.trace"].value)) if "program.trace" in job.facts else None
    if asked:
        return int(asked[1]), int(asked[2])
    if job.trace is None:
        return 0, 0
    operators = {
        number for number, row in enumerate(job.trace.rows) if is_operator(row.operator) and row.phase != "setup"
    }
    usual = set(range(len(job.trace.rows)))
    steps = [n for n in range(job.trace.steps) if operators & {*job.trace.sequence.get(str(n), usual)}]
    return (steps[0], steps[-1] + 1) if steps else (0, 0)


def nothing(name: str, a: Measured, b: Measured) -> str:
    """Why there is nothing to compare: a recording without a step."""
    empty = [side.label for side in (a, b) if not side.outline.jobs[name].steps]
    return f"no step of it was recorded on {' and '.join(empty)}"
