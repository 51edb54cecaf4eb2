"""Whether a difference matters: the gap between final losses, beside what settings alone do on one machine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from audit.compare.side import Outline
from audit.errors import ReportError
from reports import codec
from reports.comparison import Comparison, Gap, JobResult
from reports.variation import Variation, VariedJob


def read(path: str) -> Variation:
    """A saved variation. Raises ReportError if it is none, or has no spread to compare with."""
    try:
        found, _ = codec.read_any(path)
    except codec.CodecError as error:
        raise ReportError(str(error)) from None
    if not isinstance(found, Variation):
        raise ReportError(f"{path}: no variation; one is made by: audit vary --format json -o FILE")
    if not any(spread.settings for spread in found.spread.values()):
        raise ReportError(f"{path}: no job ran under any setting there, so there is no spread to compare with")
    return found


def beside(comparison: Comparison, variation: Variation, sides: Sequence[Outline], path: str) -> Comparison:
    """The comparison with the gap of every job that parted, where the variation is of the same job; and why not."""
    gaps, notes = [], list(comparison.notes)
    for job in comparison.results.jobs:
        if job.verdict not in ("diverged", "within-tolerance"):
            continue
        varied = next((one for one in variation.jobs if one.name == job.name), None)
        spread = variation.spread.get(job.name)
        if varied is None or spread is None or not spread.settings:
            notes.append(f"{path}: job {job.name} was not varied there")
        elif not _same(varied, sides):
            notes.append(f"{path}: its job {job.name} is another version; vary it again with this audit")
        else:
            gap = _gap(job)
            width = spread.most - spread.least
            gaps += [] if gap is None else [Gap(job.name, gap, width, gap / width if width else None)]
    return msgspec.structs.replace(comparison, gaps=gaps, notes=notes)


def _same(varied: VariedJob, sides: Sequence[Outline]) -> bool:
    ran = [side.jobs[varied.name] for side in sides if varied.name in side.jobs]
    return all((one.version, one.configuration) == (varied.version, varied.configuration) for one in ran)


def _gap(job: JobResult) -> float | None:
    known = [loss for loss in job.loss_last if loss is not None]
    return max(known) - min(known) if len(known) > 1 else None
