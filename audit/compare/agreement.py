"""Which result each group gave in each operator and job, for the maps of who agrees with whom."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from audit.compare.side import Measured
from reports.comparison import Results
from reports.report import Job

MOST = 36
"""So many groups are told apart: as many as there are letters for their results."""

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def told(results: Results, members: Sequence[Measured]) -> Results:
    """The results with `by_group`, of what the reference computed. members: one of each group, the reference first."""
    members = members[:MOST]
    settled = [one.outline.settled for one in members]
    found: dict[str, dict[str, str]] = {}
    for operator in members[0].operators.values():
        if not operator.hazard:
            key = f"operator {operator.name} {operator.version}"
            found.setdefault(operator.component, {})[operator.name] = _letters([those.get(key) for those in settled])
    for job in members[0].jobs.values():
        found.setdefault("job", {})[job.name] = _letters(_repeated(members, job))
    return replace(results, by_group=found)


def _repeated(members: Sequence[Measured], job: Job) -> list[str | None]:
    """What each came to in the same job, of a recorded program as far as all of them go; None for one that did not run
    it, or does not repeat it."""
    there = [one.outline.jobs.get(job.name) for one in members]
    same = [
        ran if ran and ran.steady and (ran.version, ran.configuration) == (job.version, job.configuration) else None
        for ran in there
    ]
    steps = min((ran.steps for ran in same if ran), default=0)
    return [(ran.first(steps) if ran.tree else ran.key) if ran else None for ran in same]


def _letters(results: Sequence[str | None]) -> str:
    """One character a group: equal results have equal ones, "-" stands for none."""
    letters: dict[str, str] = {}
    for one in results:
        if one is not None:
            letters.setdefault(one, _LETTERS[len(letters)])
    return "".join("-" if one is None else letters[one] for one in results)
