"""What became of a divergence, step by step: how far tensors lie apart, which differ, and the losses.

Each section says it in plots of one line, and has a picture for formats that can draw.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby

from msgspec.structs import replace

from ...comparison import Comparison, Course, FirstDivergence, Followed, JobResult, Kept, Ulp
from ...programs import called
from . import sparks, words
from .page import Block, Row, Section, section
from .picture import Band, Curves, Grid, Key, Point, Series
from .words import count, number

MOST = 256
"""The most rows, columns and points of a picture, whatever a file holds."""

MOST_SERIES = 8
"""The most lines in one plot."""

SAME, OTHER = "=x"
"""The characters of `Followed.cells` that say something."""

_KEYS = (Key(SAME, "the same bits", 0), Key(OTHER, "other bits", 1, calm=True), Key(".", "not in this step", -1))

_ULP = "p99, in ULP (last-digit steps)"


def courses(comparison: Comparison) -> list[Section]:
    """The sections of every job that parted; those of the job where results part first are not folded."""
    first = comparison.results.first_divergence
    ranked = sorted(comparison.results.jobs, key=lambda job: first is None or job.name != first.job)
    found = [(job, job.course) for job in ranked if job.course]
    return [replace(part, folded=n > 0) for n, (job, course) in enumerate(found) for part in _course(job, course)]


def _course(job: JobResult, found: Course) -> list[Section]:
    first = job.first_divergence or FirstDivergence("", None, None, None, "", [], None, None, Ulp())
    name = called(job.name)
    return [
        _over_steps(name, first, found.kept[: 2 * MOST]),
        _along(name, first, found.along[:MOST]),
        _tensors(name, first, found.tensors[:MOST], max(1, found.every)),
        *_losses(name, job.loss_step, found),
    ]


def _over_steps(name: str, first: FirstDivergence, kept: list[Kept]) -> Section:
    """How far the tensors that were kept at several steps lie apart."""
    named = {(one.phase, one.tensor): "" for one in kept}
    rows, series = [], []
    for phase, tensor in list(named)[:MOST_SERIES]:
        those = sorted((one for one in kept if (one.phase, one.tensor) == (phase, tensor)), key=lambda one: one.step)
        shown = f"{tensor} ({phase})" if tensor != phase else tensor
        rows.append(_row(shown, those, kept))
        points = tuple(Point(one.step, _p99(one), f"step {one.step:,}: {_how_far(one)}") for one in those)
        series.append(Series(shown, points))
    if not any(map(_p99, kept)):
        return section()
    return section(
        Block(
            "",
            tuple(rows),
            ("tensor", "the steps of which values were kept", "p99, in ULP"),
            picture=Curves(
                f"How far tensors of {name} lie apart at the steps of which values were kept: p99 of what differs",
                x="step",
                y=_ULP,
                series=tuple(series),
                log_x=True,
                zero="same bits",
                mark=None if first.step is None else (first.step, f"first: step {first.step:,}, {first.operator}"),
            ),
        ),
        title=f"How far apart, step by step ({name})",
    )


def _along(name: str, first: FirstDivergence, kept: list[Kept]) -> Section:
    """How far every tensor of the step of the first divergence lies apart, in the order of work."""
    if not any(map(_p99, kept)):
        return section()
    rows, series = [], []
    for phase in list(dict.fromkeys(one.phase for one in kept))[:MOST_SERIES]:
        placed = [(position, one) for position, one in enumerate(kept) if one.phase == phase]
        rows.append(_row(phase, [one for _, one in placed], kept))
        points = (Point(at, _p99(one), f"{one.tensor}, {one.operator}: {_how_far(one)}") for at, one in placed)
        series.append(Series(phase, tuple(points)))
    where = [(one.phase, one.tensor) for one in kept]
    here = (first.phase or "", first.tensor or "")
    return section(
        Block(
            "",
            tuple(rows),
            ("phase", "its calls in the order of work", "p99, in ULP"),
            picture=Curves(
                f"How far every tensor of step {kept[0].step:,} of {name} lies apart, in the order of work",
                x="library calls in the order of work",
                y=_ULP,
                series=tuple(series),
                zero="same bits",
                bars=True,
                mark=(where.index(here), f"first: {first.operator}") if here in where else None,
            ),
        ),
        title=f"Through step {kept[0].step:,}, call by call ({name})",
    )


def _row(name: str, those: list[Kept], every: list[Kept]) -> Row:
    """A plot of one line on the scale of them all, and its first and last number."""
    numbers = [_p99(one) for one in those]
    known = [value for value in numbers if value is not None]
    ends = " -> ".join(number(value) for value in (known[0], known[-1])) if known else "not measured"
    return Row((name, sparks.line(numbers, 1, max(_p99(one) or 1 for one in every), log=True), ends))


def _p99(one: Kept) -> int | None:
    return 0 if one.fraction == 0 else one.ulp.p99


def _how_far(one: Kept) -> str:
    if one.fraction == 0:
        return "the same bits"
    share = "" if one.fraction is None else f"{words.percent(one.fraction)} of the elements differ; "
    return share + (words.ulp(one.ulp) or "ULP not measured")


def _tensors(name: str, first: FirstDivergence, tensors: list[Followed], every: int) -> Section:
    """Which tensors differ in which steps."""
    columns = min(MOST, max((len(one.cells) for one in tensors), default=0))
    phases = list(dict.fromkeys(one.phase for one in tensors))
    ordered = sorted(tensors, key=lambda one: phases.index(one.phase))
    rows, bands = [], []
    for phase, group in groupby(ordered, lambda one: one.phase):
        those = list(group)
        shares = [_share([one.cells[step : step + 1] for one in those]) for step in range(columns)]
        differ = sum(one.count for one in those if OTHER in one.cells)
        told = f"{differ:,} of {count(sum(one.count for one in those), 'tensor')}"
        rows.append(Row((phase, sparks.line(shares, 0, 1), told)))
        bands.append(Band(phase, tuple((_several(one), one.cells[:MOST]) for one in those)))
    if not any(OTHER in one.cells for one in tensors):
        return section()
    where = [(one.phase, one.tensor) for one in ordered]
    here = (first.phase or "", first.tensor or "")
    apart = "" if every == 1 else f", every {every}th"
    return section(
        Block(
            "",
            tuple(rows),
            ("phase", f"share that differs, step by step{apart}", "differ at some step"),
            picture=Grid(
                f"Every tensor of {name}, in the order of work downwards, in every step that was compared",
                x="step",
                bands=tuple(bands),
                keys=_KEYS,
                every=every,
                mark=(where.index(here), first.step // every, f"first: {first.operator}")
                if here in where and first.step is not None
                else None,
            ),
        ),
        title=f"Which tensors differ in which step ({name})",
    )


def _share(cells: Sequence[str]) -> float | None:
    """Of the tensors that are in a step, the share that differs."""
    there = [cell for cell in cells if cell in (SAME, OTHER)]
    return sum(cell == OTHER for cell in there) / len(there) if there else None


def _several(one: Followed) -> str:
    more = f" and {count(one.count - 1, 'more tensor')}" if one.count > 1 else ""
    return f"{one.tensor}, {one.operator}{more}"


def _losses(name: str, loss_step: int | None, found: Course) -> list[Section]:
    """How far the losses of both sides are apart, and the losses."""
    sides = [(label, those[:MOST]) for label, those in zip(found.labels, found.losses, strict=False)][:2]
    if len(sides) < 2 or not all(those for _, those in sides):
        return []
    every = max(1, found.losses_every)
    pairs = zip(*(those for _, those in sides), strict=False)
    gaps = [min(abs(x - y), sys.float_info.max) for x, y in pairs]
    return [_gaps(name, gaps, every, loss_step), losses(name, sides, every)]


def _gaps(name: str, gaps: list[float], every: int, loss_step: int | None) -> Section:
    parted = [gap for gap in gaps if gap]
    if not parted:
        return section()
    points = (
        Point(n * every, gap, f"step {n * every:,}: {f'{gap:.3g} apart' if gap else 'equal losses'}")
        for n, gap in enumerate(gaps)
    )
    shown = Row(("difference", sparks.line(gaps, min(parted), max(parted), log=True), f"at most {max(parted):.3g}"))
    return section(
        Block(
            "",
            (shown,),
            ("", "step by step", ""),
            picture=Curves(
                f"How far the losses of {name} are apart, step by step",
                x="step",
                y="difference of loss",
                series=(Series("difference of loss", tuple(points)),),
                zero="equal",
                mark=None if loss_step is None else (loss_step, f"first other loss: step {loss_step:,}"),
            ),
        ),
        title=f"Difference of loss ({name})",
    )


def losses(name: str, curves: Sequence[tuple[str, list[float]]], every: int = 1) -> Section:
    """The losses of a job on some sides. every: so many steps lie between two of them."""
    whole = [loss for _, those in curves for loss in those]
    log = min(whole) > 0
    rows, series = [], []
    for label, those in curves:
        ends = " -> ".join(words.told_apart([those[0], those[-1]], 4))
        rows.append(Row((label, sparks.line(those, min(whole), max(whole), log=log), ends)))
        points = (Point(n * every, loss, f"step {n * every:,}: loss {loss:.9g}") for n, loss in enumerate(those))
        series.append(Series(label, tuple(points)))
    return section(
        Block(
            "",
            tuple(rows),
            ("", "step by step", "first to last"),
            picture=Curves(f"The loss of {name}, step by step", x="step", y="loss", series=tuple(series), log=log),
        ),
        title=f"Loss ({name})",
    )
