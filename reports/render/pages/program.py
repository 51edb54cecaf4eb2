"""What a comparison says of a recorded program: where it parts, in a person's words, and what that is called first."""

from __future__ import annotations

from collections.abc import Sequence

from ...comparison import Cause, Comparison, FirstDivergence, JobResult, ScoreResult
from ...programs import called, explaining, is_given, is_operator, is_program, is_state, kind
from . import sides
from .page import Block, Row, sentence
from .words import count, listed, plain, told_apart

_GENERATORS = {"torch": "torch's generator", "python": "Python's random", "numpy": "numpy.random"}


def place(first: FirstDivergence) -> str:
    """ "your program, step 41, backward, gradient of layers.3.weight (train.py:41)"."""
    at = f" ({first.source})" if first.source else ""
    inside = f" in {first.module}" if first.module else ""
    return f"{called(first.job)}, step {first.step or 0:,}, {first.phase}, {tensor(first)}{inside}{at}"


def tensor(first: FirstDivergence) -> str:
    """The name of a tensor in words; an operator's is its own."""
    name = first.tensor or ""
    what, _, of = name.partition(":")
    if is_operator(first.operator) or not of:
        generator = name.removeprefix("generator.").partition("#")[0]
        return f"the state of {_GENERATORS.get(generator, generator)}" if is_state(name) else name
    if what == "grad":
        return f"gradient of {of}"
    return f"initial {of}" if kind(first) == "weights" else of


def parted(comparison: Comparison) -> FirstDivergence | None:
    """The first divergence, if it is a recorded program's."""
    first = comparison.results.first_divergence
    return first if first is not None and is_program(first.job) else None


def blamed(comparison: Comparison, first: FirstDivergence) -> str:
    """What the first line says of a program that parts: what differs first, and the likely cause of just that."""
    causes = [cause for cause in comparison.causes if cause.labels in ([], first.labels)]
    if causes and not causes[0].components and causes[0].title:
        return f"{causes[0].title[0].upper()}{causes[0].title[1:]}."
    mine = [cause for cause in explaining(causes, first) if cause.root is not None]
    start = _lead(first, bool(mine))
    if not mine:
        return f"{start}{_unknown(comparison, first)}"
    word = "Proven" if mine[0].status == "proven" else "Likely"
    return f"{start}{word} cause: {mine[0].title}{_certainty(comparison, mine[0])}."


_WHAT = {"random": "random numbers", "data": "data", "weights": "initial weights"}


def _lead(first: FirstDivergence, explained: bool) -> str:
    """What it is that differs first, where that is not what the model computes."""
    what = _WHAT.get(kind(first), "")
    if not what:
        return ""
    if first.rounding:
        return f"The {what} differ in their last digits. "
    untold = what == _WHAT["weights"] or (first.untold and not explained)
    return f"The {what} differ{'' if untold else ', not the arithmetic'}. "


def _unknown(comparison: Comparison, first: FirstDivergence) -> str:
    if kind(first) == "arithmetic" and "--trace operators" in comparison.next:
        step = f"step {first.step or 0:,}, {first.phase}"
        return f"Your program parts in {step}; which operator does it is found by the last line."
    if "--trace operators" in comparison.next:
        return "Which operator makes them, if one does, is found by the last line."
    return "Cause unknown: no differing fact explains it."


def _certainty(comparison: Comparison, cause: Cause) -> str:
    if cause.status != "suspected":
        return "; no setting undoes it" if cause.status == "irreducible" else ""
    once = [side.label for side in comparison.reports if side.runs == 1]
    if not once:
        return ", not yet proven"
    return f", suspected: {'each machine' if len(once) == len(comparison.reports) else listed(once)} ran it once"


def elsewhere(comparison: Comparison, told: Sequence[Cause]) -> Block | None:
    """What else differs, but not where the program parts."""
    others = [
        cause for cause in comparison.causes if cause not in told and cause.labels in ([], told[:1] and told[0].labels)
    ]
    if not others:
        return None
    texts = [f"{listed(map(plain, cause.components))} ({cause.title.split(' (')[0] or 'unknown'})" for cause in others]
    first = parted(comparison)
    where = "" if first and first.untold else ", and not where your program parts"
    return sentence("Elsewhere", f"{listed(texts, 3)}: operators differ{where}", weight=3)


def in_words(first: FirstDivergence) -> str:
    """What it means that this differs first, where that is not arithmetic."""
    if kind(first) == "weights":
        return "The training starts from other weights, so everything after them is another training."
    if kind(first) in ("random", "data") and not first.rounding:
        if is_given(first.operator, first.phase, first.components):
            at = f"at {first.source}, " if first.source else ""
            return f"In step {first.step or 0:,}, {at}the program itself puts other values into a tensor."
        return f"Before the model computes anything, {tensor(first)} of step {first.step or 0:,} is not the same."
    return ""


def compared(jobs: Sequence[JobResult]) -> list[str]:
    """How much of programs was compared."""
    found = [job for job in jobs if is_program(job.name)]
    if not found:
        return []
    processes = f" in {len(found)} processes" if len(found) > 1 else ""
    return [f"your program{processes} ({count(min(job.steps for job in found), 'step')})"]


def quoted(jobs: Sequence[JobResult]) -> list[str]:
    """The same for a sentence to quote."""
    steps = [job.steps for job in jobs if is_program(job.name)]
    return [f"The first {count(min(steps), 'step')} of our program"] if steps else []


def seen(comparison: Comparison, all: bool) -> list[Block]:
    """How much of a program was compared where that is not all of it, what could not be seen, and its scores."""
    blocks: list[Block] = []
    told: set[str] = set()
    for job in (one for one in comparison.results.jobs if is_program(one.name)):
        uneven = _uneven(comparison, job)
        if uneven:
            blocks.append(sentence("Steps", uneven, weight=3, optional=True))
        if job.scores:
            blocks.append(Block("Scores", tuple(Row((_score(comparison, one),)) for one in job.scores), weight=6))
        notes = [note for note in job.notes if note not in told]  # ranks have most of them in common
        told.update(notes)
        if notes:
            few = notes if all else notes[:_FEW]
            more = f"; {len(notes) - len(few)} more (--all)" if len(few) < len(notes) else ""
            blocks.append(sentence("Not seen", f"{'; '.join(few)}{more}", weight=2, optional=True))
    return blocks


_FEW = 2
"""So many notes stand on a page without --all."""


def _uneven(comparison: Comparison, job: JobResult) -> str:
    if len({steps for steps in job.recorded if steps is not None}) < 2:
        return ""
    texts = ["not recorded" if steps is None else count(steps, "step") for steps in job.recorded]
    return f"{called(job.name)}: {sides.owned(texts, sides.names(comparison))}; the first {job.steps:,} were compared"


def _score(comparison: Comparison, score: ScoreResult) -> str:
    """ "accuracy: 0.912 (a); 0.905 (b): beyond the machines' own spread (0.003)"."""
    shown = sides.owned(told_apart(score.values, 4), sides.names(comparison))
    spread = max((one for one in score.spreads if one is not None), default=None)
    own = f"the machines' own spread ({spread:.2g})" if spread is not None else ""
    verdict = {
        "same": "the same",
        "within": f"within {own}",
        "beyond": f"beyond {own}",
        "unknown": "spread unknown: audit run --repeat 3 --steps N tells it",
    }[score.verdict]
    return f"{score.name}: {shown}: {verdict}"
