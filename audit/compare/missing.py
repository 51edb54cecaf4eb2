"""Jobs and operators that were not compared, each with the reason; of many sides the first, and how many more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from audit.compare.side import Outline
from reports.comparison import JobResult, NotCompared


def not_compared(
    operators: Iterable[NotCompared], jobs: Iterable[JobResult], sides: Sequence[Outline]
) -> list[NotCompared]:
    """Results, operators and jobs. operators, jobs: what the comparisons in depth found."""
    found: dict[str, NotCompared] = {}
    unmeasured = [side.label for side in sides if not side.runs]
    if unmeasured and len(unmeasured) < len(sides):
        what = f"{and_more(unmeasured)} {'has' if len(unmeasured) == 1 else 'have'} none"
        found["results"] = NotCompared("results", f"{what}; measure again without --job none")
    for one in operators:
        found.setdefault(one.fact, one)
    for job in jobs:
        if job.reason:
            found[f"job {job.name}"] = NotCompared(f"job {job.name}", job.reason)
    for name, reasons in _failed(sides).items():
        found.setdefault(f"operator {name}", NotCompared(f"operator {name}", and_more(reasons)))
    for name in dict.fromkeys(name for side in sides for name in (*side.jobs, *side.unfinished)):
        reasons = [
            f"{side.label}: {side.unfinished[name]}" if name in side.unfinished else f"{side.label} did not run it"
            for side in sides
            if name not in side.jobs
        ]
        if reasons:
            found.setdefault(f"job {name}", NotCompared(f"job {name}", and_more(reasons)))
    return list(found.values())


def _failed(sides: Sequence[Outline]) -> dict[str, list[str]]:
    """By operator, the sides that have no result of it though others do, each with its reason."""
    found: dict[str, list[str]] = {}
    for side in sides:
        for name, reason in side.failed.items():
            found.setdefault(name, []).append(f"{side.label}: {reason}")
    return {name: reasons for name, reasons in found.items() if len(reasons) < len(sides)}


def and_more(items: Sequence[str]) -> str:
    """ "gpu03: denied (and 4 more)"."""
    return items[0] + (f" (and {len(items) - 1} more)" if len(items) > 1 else "")
