"""Which sides agree with each other: groups by equal bits, the largest first. Never by means."""

from __future__ import annotations

from audit.compare.side import Measured


def groups(sides: list[Measured]) -> list[list[Measured]]:
    """Sides grouped by the bits of all that every side measured and repeats; largest first, ties by first side.

    Where nothing common was measured, there is one group: nothing speaks for a difference.
    """
    operators = [name for name in sides[0].operators if all(_settled_operator(side, name) for side in sides)]
    jobs = [name for name in sides[0].jobs if all(_settled_job(side, name, sides[0]) for side in sides)]
    found: dict[tuple[str, ...], list[Measured]] = {}
    for side in sides:
        key = [side.jobs[name].trace.digest for name in jobs]  # type: ignore[union-attr]
        key += [side.operators[name].result.digest for name in operators]  # type: ignore[union-attr]
        found.setdefault(tuple(key), []).append(side)
    return sorted(found.values(), key=lambda group: -len(group))


def _settled_operator(side: Measured, name: str) -> bool:
    operator = side.operators.get(name)
    return operator is not None and operator.result is not None and not operator.repeats and not operator.hazard


def _settled_job(side: Measured, name: str, first: Measured) -> bool:
    job, other = side.jobs.get(name), first.jobs[name]
    if job is None or job.trace is None or (job.version, job.configuration) != (other.version, other.configuration):
        return False
    return all(repeat.digest == job.trace.digest for repeat in job.repeats)
