"""Where results part: the first divergence, its size, what became of the jobs, and what was not repeated."""

from __future__ import annotations

from ...comparison import Comparison, Gap, JobResult
from ...programs import called, is_given, is_program, kind
from . import program, sides, words
from .groups import place, several, shown, who
from .page import Block, Code, Row, Section, section, sentence
from .words import count, listed


def in_words(comparison: Comparison, all: bool) -> Section:
    """Each cause in one sentence, and whether to worry."""
    texts = [cause.plain for cause in shown(comparison, all) if cause.plain]
    if len(texts) > 1:
        texts = [f"{n}. {text}" for n, text in enumerate(texts, 1)]
    if comparison.results.verdict == "nondeterministic":
        texts.append("What a machine does not repeat says nothing about the other one, from there on.")
    first = program.parted(comparison)
    texts = [*filter(None, [program.in_words(first) if first else ""]), *texts]
    rows = tuple(Row((text,)) for text in texts)
    calm = "Neither is more right. Harmless in itself; training can make it grow."
    return section(
        Block("In words", rows, weight=6) if rows else None,
        sentence("" if rows else "In words", calm, weight=3, optional=True) if _ordinary(comparison) else None,
    )


def _ordinary(comparison: Comparison) -> bool:
    """Whether the first difference is rounding of the usual size, where both sides computed correctly."""
    first = comparison.results.first_divergence
    if first is None or set(first.components) & {"random", "ordering"}:
        return False
    return first.rounding and (not is_program(first.job) or kind(first) == "arithmetic")


MOST_PLACES = 12
"""So many places that were not repeated are shown without --all."""


def unsteady(comparison: Comparison, all: bool) -> Section:
    """Which machine did not repeat what, and which did repeat everything."""
    texts = comparison.results.nondeterministic
    texts = texts or [f"{what} on {name}" for name, side in sides.named(comparison) for what in side.nondeterministic]
    if not texts:
        return section()
    if len(texts) > MOST_PLACES and not all:
        texts = [*texts[: MOST_PLACES - 1], f"... {len(texts) - MOST_PLACES + 1} more (--all)"]
    steady = [side.label for side in comparison.reports if not side.nondeterministic and side.runs > 1]
    repeated = sentence("Repeated", f"{who(steady)} gave the same bits in every run") if steady else None
    return section(Block("Unsteady", tuple(Row((text,)) for text in texts), weight=3), repeated)


def where(comparison: Comparison, all: bool) -> Section:
    """The first divergence, its size, and what became of the jobs."""
    first = comparison.results.first_divergence
    outcome = Block("Outcome", tuple(Row((text,)) for text in _outcomes(comparison)), weight=4)
    matter = Block("Matter?", tuple(Row((_gap(gap),)) for gap in comparison.gaps), weight=7)
    if first is None:
        return section(outcome, matter, *program.seen(comparison, all))
    inputs = "inputs are equal" if first.inputs_equal else "inputs already differ: it happened before this call"
    if is_program(first.job) and kind(first) != "arithmetic":
        given = is_given(first.operator, first.phase, first.components)
        inputs = "the program's own values" if given else "nothing was computed before it"
    between = f"; {' against '.join(first.labels)}" if first.labels and several(comparison) else ""
    shown = words.example(first.size.example) if first.size.example else ""
    other = is_program(first.job) and kind(first) != "arithmetic" and not first.rounding
    detail = "; ".join(part for part in (shown, "" if other else words.tolerance(first.size)) if part)
    # Of other data, how far its numbers lie apart says nothing.
    text = words.elements(first.size) if other and first.size.seen else words.size(first.size)
    rows = (Row((text,)), *([Row((Code(detail),))] if detail else []))
    return section(
        sentence("First", f"{place(first)} ({inputs}{between})"),
        Block("Size", rows, weight=6),
        outcome,
        matter,
        *program.seen(comparison, all),
    )


def _outcomes(comparison: Comparison) -> list[str]:
    """One line for every job that parted; one for all that did not."""
    jobs = comparison.results.jobs
    texts = [_outcome(comparison, job) for job in jobs if job.verdict in ("diverged", "within-tolerance")]
    equal = [job.name for job in jobs if job.verdict == "identical"]
    texts += [f"{called(name)}: same bits in all steps" for name in equal if is_program(name)]
    same = [name for name in equal if not is_program(name)]
    if same:
        every = "every job" if not texts and len(same) > 1 else f"job{'s' if len(same) > 1 else ''} {listed(same)}"
        texts.append(f"{every}: same bits in all steps")
    return texts


def _outcome(comparison: Comparison, job: JobResult) -> str:
    has_losses = any(loss is not None for loss in job.loss_last)
    apart = "every loss equal" if has_losses else "it has no losses"
    if job.loss_step is not None:
        apart = f"loss first differs at step {job.loss_step:,}"
    names = sides.names(comparison)
    failed = [side.label for side, learned in zip(comparison.reports, job.learned, strict=False) if learned is False]
    final = f"; final loss {_losses(job, names)}" if has_losses else ""
    return f"{called(job.name)}: {apart}{final}" + (f"; did not learn: {who(failed)}" if failed else "")


def _gap(gap: Gap) -> str:
    """ "job numpy: the gap (3.2e-07) is within what settings alone do on one machine (2.3e-06)"."""
    if not gap.gap:
        return f"job {gap.job}: no gap in the final losses; settings alone make one of up to {gap.spread:.2g}"
    apart = f"job {gap.job}: the gap ({gap.gap:.2g}) is"
    if gap.times is None:
        return f"{apart} more than settings alone do on one machine: they change no final loss"
    if gap.times <= 1:
        return f"{apart} within what settings alone do on one machine ({gap.spread:.2g})"
    times = f"{gap.times:,.0f}" if gap.times >= 10 else f"{gap.times:.2g}"
    return f"{apart} {times} times what settings alone do on one machine ({gap.spread:.2g})"


def _losses(job: JobResult, names: list[str]) -> str:
    """The last losses of all sides: "0.0021 on both", "0.0021 (a); 0.0034 (b)"; of many, from the least to the most."""
    known = sorted({loss for loss in job.loss_last if loss is not None})
    if len(job.loss_last) > sides.MOST_COLUMNS and len(known) > 1:
        return " to ".join(words.told_apart([known[0], known[-1]], 4))
    texts = words.told_apart(job.loss_last, 4)
    if len(set(texts)) == 1:
        return f"{texts[0]} on {'both' if len(texts) == 2 else 'all'}"
    return sides.owned(texts, names)


def unsteady_first(comparison: Comparison) -> str:
    """Which machine does not repeat what, for the first line."""
    shaky = [(name, side.nondeterministic) for name, side in sides.named(comparison) if side.nondeterministic]
    if not shaky:
        return f"Not the same bits in every run: {listed(comparison.results.nondeterministic, 2)}."
    name, found = shaky[0]
    what = [called(one.removeprefix("job ")) if one.startswith("job ") else one for one in found]
    more = f" ({count(len(what) - 1, 'more place')})" if len(what) > 1 else ""
    if len(shaky) == 1:
        return f"{name} does not repeat itself: {what[0]}{more}."
    return f"{listed([name for name, _ in shaky])} do not repeat themselves; {name}: {what[0]}{more}."
