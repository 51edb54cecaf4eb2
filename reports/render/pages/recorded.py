"""What one report says of a recorded program, `audit run -- COMMAND`."""

from __future__ import annotations

from ...programs import is_program
from ...report import Job, Report, Row, Target
from .words import count, listed, number

_DIGEST_BYTES = 8


def programs(target: Target) -> list[Job]:
    """The processes of a program that were recorded."""
    return [job for job in target.jobs if is_program(job.name) and job.trace]


def summary(report: Report) -> str:
    """ "20 steps of your program, 1,204 rows, final loss 2.31"; "" where none was recorded."""
    found = [programs(target) for target in report.targets]
    first = next(filter(None, found), [])
    if not first:
        return ""
    done, *rest = course(first[0]).split(", ")
    steps = sorted({job.trace.steps for job in first if job.trace})
    where = f" in each of {len(first)} processes" if len(first) > 1 else ""
    if len(steps) > 1:
        done, rest, where = f"{steps[0]:,} to {steps[-1]:,} steps", [], f" in {len(first)} processes"
    targets = f" on {listed(target.name for target in report.targets if programs(target))}" if len(found) > 1 else ""
    return ", ".join([f"{done} of your program{where}{targets}", *rest])


def course(job: Job) -> str:
    """How far a recording goes: "20 steps, 1,204 rows, final loss 2.31"."""
    assert job.trace
    rows = sum(len(text) * 3 // 4 // _DIGEST_BYTES for text in job.trace.digests)
    last = job.outcome.loss_last if job.outcome else None
    return f"{count(job.trace.steps, 'step')}, {count(rows, 'row')}" + (
        f", final loss {number(last)}" if last is not None else ""
    )


def place(row: Row) -> list[str]:
    """Where in a step: "backward", "grad:layers.3.weight (train.py:41)"."""
    names = list(dict.fromkeys([row.phase, row.tensor]))
    return [*names[:-1], names[-1] + (f" ({row.source})" if row.source else "")]


def notes(target: Target) -> list[str]:
    """What could not be seen of it."""
    return list(dict.fromkeys(note for job in target.jobs for note in job.notes))


def scores(target: Target) -> list[str]:
    """What it said of itself: "accuracy 0.91 +- 0.004"."""
    return [
        f"{score.name} {number(score.value)}" + (f" +- {number(score.stderr)}" if score.stderr is not None else "")
        for job in target.jobs
        for score in job.scores
    ]


def once(report: Report) -> bool:
    """Whether a program was recorded, and no more than once anywhere."""
    runs = [job.runs for target in report.targets for job in programs(target)]
    return bool(runs) and max(runs) < 2
