"""One compared target: a report's target with its name in the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from reports.report import Facts, Job, Operator, Report, Target


@dataclass(frozen=True)
class Measured:
    """A target as the diff engine sees it. label: unique in this comparison; file: where it was read."""

    label: str
    file: str
    report: Report
    target: Target

    @cached_property
    def jobs(self) -> dict[str, Job]:
        """Jobs that were run to their end, by name."""
        return {job.name: job for job in self.target.jobs if job.trace is not None}

    @cached_property
    def operators(self) -> dict[str, Operator]:
        battery = self.target.battery
        return {operator.name: operator for operator in battery.operators} if battery else {}

    def works(self) -> dict[str, Facts]:
        """Facts in effect by the work after which they were read: "operators", "job numpy"."""
        found = {f"job {job.name}": job.facts for job in self.target.jobs if job.facts}
        if self.target.battery and self.target.battery.facts:
            found["operators"] = self.target.battery.facts
        return found

    def fact(self, name: str) -> object:
        """A fact's value wherever it stands (machine facts first), or None."""
        for facts in (self.target.facts, *self.works().values()):
            if name in facts and facts[name].status is None:
                return facts[name].value
        return None

    @property
    def runs(self) -> int:
        """Fresh runs of what was repeated least; 0 if nothing was measured."""
        counts = [job.runs for job in self.jobs.values()]
        if self.operators and self.target.battery:
            counts.append(self.target.battery.runs)
        return min(counts, default=0)

    @property
    def incomplete(self) -> list[str]:
        return list(self.target.incomplete)
