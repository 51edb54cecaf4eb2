"""The exit status that one report stands for, in `audit run` as in `audit show`."""

from __future__ import annotations

from audit.errors import DIFFERS, INCOMPLETE, SAME
from reports.report import Report


def status(report: Report) -> int:
    """Nondeterminism is a finding; a part that could not be measured makes the report incomplete."""
    for target in report.targets:
        unstable = any(repeat.step is not None for job in target.jobs for repeat in job.repeats)
        if unstable or (target.battery and any(one.repeats and not one.hazard for one in target.battery.operators)):
            return DIFFERS
        if target.incomplete:
            return INCOMPLETE
    return SAME
