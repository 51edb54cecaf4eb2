"""How much was compared, what was not and why; and where results agree: what could have changed them and did not."""

from __future__ import annotations

from collections.abc import Sequence

from ...comparison import Comparison, FactDifference
from ...programs import called, is_program
from . import program, sides
from .facts import MOST_KNOWN, known
from .page import Block, Code, Row, Section, section, sentence
from .words import below, count, listed, plain

REFERENCE_JOBS = {"python", "numpy", "torch", "torch-cuda", "jax"}

_NEVER = (("performance", "speed"), ("identity", "identity"), ("volatile", "time and load"))


def compared(comparison: Comparison, all: bool) -> Section:
    """How much was compared, and what was not."""
    results = comparison.results
    done = [job for job in results.jobs if job.verdict not in ("not-comparable", "not-measured")]
    items = program.compared(done)
    jobs = [job for job in done if not is_program(job.name)]
    if jobs:
        steps = {job.steps for job in jobs}
        each = f", {jobs[0].steps:,} steps each" if len(steps) == 1 and len(jobs) > 1 else ""
        items.append(f"{count(len(jobs), 'job')} ({listed(job.name for job in jobs)}){each}")
    if results.operators.compared:
        items.append(count(results.operators.compared, "operator"))
    items.append(count(comparison.environment.same + len(comparison.environment.differences), "fact"))
    runs = {side.runs for side in comparison.reports if side.runs}
    if runs:
        each = str(max(runs)) if len(runs) == 1 else f"{min(runs)} to {max(runs)}"
        items.append(f"{each} run{'' if runs == {1} else 's'} per machine")
    once = len(runs) > 0 and min(runs) == 1
    return section(
        sentence("Compared", "; ".join(items)),
        _not_compared(comparison, bool(done), "" if all else " (--all)"),
        sentence("Noise", "not measured: one run is no evidence that a machine repeats itself") if once else None,
        *program.seen(comparison, all),
        *(sentence("Note", note, weight=4, optional=True) for note in comparison.notes),
    )


def _not_compared(comparison: Comparison, measured: bool, more: str) -> Block | None:
    by_reason: dict[str, list[str]] = {}
    for missing in comparison.environment.not_compared:
        by_reason.setdefault(missing.reason, []).append(missing.fact)
    texts = [f"{listed(facts, 3)} ({reason})" for reason, facts in by_reason.items()]
    if measured and all(job.name in REFERENCE_JOBS for job in comparison.results.jobs):
        texts.insert(0, "your own program")
    if len(texts) > 4:
        texts = [*texts[:3], f"{len(texts) - 3} more{more}"]
    return sentence("Not", "; ".join(texts), weight=2) if texts else None


def missing(comparison: Comparison) -> Section:
    """What a side could not measure, where results differ all the same."""
    texts = [f"{name}: {what}" for name, side in sides.named(comparison) for what in side.incomplete]
    return section(sentence("Missing", "; ".join(texts[:3]), weight=3, optional=True) if texts else None)


def why_not_comparable(comparison: Comparison) -> str:
    """Why nothing could be compared, for the first line."""
    reasons = [f"{called(job.name).capitalize()}: {job.reason}" for job in comparison.results.jobs if job.reason]
    reasons += comparison.notes
    reasons += [f"{missing.fact}: {missing.reason}" for missing in comparison.environment.not_compared]
    return f"{reasons[0].rstrip('.')}." if reasons else "The reports have nothing in common to compare."


def why_incomplete(comparison: Comparison) -> str:
    """What was seen and what is missing, for the first line."""
    missing = [f"{name}, {side.incomplete[0]}" for name, side in sides.named(comparison) if side.incomplete]
    missing += [f"{called(job.name)}: {job.reason}" for job in comparison.results.jobs if job.reason]
    missing += [f"{item.fact}: {item.reason}" for item in comparison.environment.not_compared]
    seen = {
        "identical": "What could be compared agrees bit for bit",
        "within-tolerance": "What could be compared agrees within tolerance",
        "diverged": "What could be compared differs",
        "nondeterministic": "What could be compared is not repeatable",
        "not-measured": "Only facts were compared",
    }.get(comparison.results.verdict, "Nothing could be compared")
    if comparison.attendance and not comparison.attendance.whole:
        return f"{seen}."  # who did not report is said before it
    return f"{seen}. Missing: {missing[0].rstrip('.')}." if missing else f"{seen}, but not all of it."


def could_change(comparison: Comparison) -> Section:
    """Differing facts that can change results, with why they did not here."""
    numeric = [item for item in comparison.environment.differences if item.kind == "numeric"]
    measured = comparison.results.verdict in ("identical", "within-tolerance")
    title = "Could change results, did not here" if measured else "Can change results"
    return section(fact_table(numeric, comparison, why=measured), title=title)


def fact_table(
    items: Sequence[FactDifference], comparison: Comparison, *, why: bool, most: int = sides.VALUE
) -> Block | None:
    """Differing facts and their values. why: say why each had no effect, else what it can change."""
    rows = []
    owners = sides.names(comparison)
    for n, item in enumerate(items):
        reason = item.why if why else listed(map(plain, item.components)) or item.meaning
        text = "; ".join(part for part in (listed(item.changes, 4), reason) if part)
        cells = sides.cells(owners, item.values, most, item.lacking)
        rows.append(Row((Code(item.fact), *cells, text), more=known(item.fact) if n < MOST_KNOWN else ()))
    last = "why it had no effect" if why else "what it decides" if items and items[0].components else "what it is"
    header = ("fact", *sides.columns(owners), last)
    return Block("", tuple(rows), header, least=3, weight=3) if rows else None


def rest(comparison: Comparison, all: bool) -> Section:
    """What cannot change results, hazards, and a sentence to quote."""
    kinds = [(word, sum(d.kind == kind for d in comparison.environment.differences)) for kind, word in _NEVER]
    total = sum(n for _, n in kinds)
    split = ", ".join(f"{word} {n}" for word, n in kinds if n)
    other = f"{count(total, 'fact')} that cannot change results"
    return section(
        sentence("Other", f"{other} ({split}){below(all)}", weight=2) if total else None,
        hazards(comparison, least=1),
        _quote(comparison),
    )


def hazards(comparison: Comparison, least: int) -> Block | None:
    """What varies by design, and what does not fit. least: how many stay on a page that is too long."""
    rows = tuple(Row((hazard.plain or hazard.name,)) for hazard in comparison.hazards)
    misfits = sum(hazard.name == "CUDA" for hazard in comparison.hazards[:2])  # they stand first, and are errors
    return Block("Hazard", rows, least=max(least, misfits), weight=1) if rows else None


def _quote(comparison: Comparison) -> Block | None:
    """A sentence for a paper or an issue, with nothing in it that was not measured."""
    results = comparison.results
    if results.verdict != "identical" or comparison.verdict not in ("same", "differs"):
        return None
    jobs = [job for job in results.jobs if job.verdict == "identical"]
    named = [job.name for job in jobs if not is_program(job.name)]
    what = [f"Reference training ({listed(named)})"] if named else []
    what += program.quoted(jobs)
    if results.operators.compared:
        what.append(count(results.operators.compared, "numerical operator"))
    if not what:
        return None
    prints = ", ".join(f"{job.name} {job.fingerprints[0]}" for job in jobs if any(job.fingerprints[:1]))
    machines = "both machines" if len(comparison.reports) == 2 else f"all {len(comparison.reports)} machines"
    text = f"{' and '.join(what)} gave the same bits on {machines}"
    numeric = [item.fact for item in comparison.environment.differences if item.kind == "numeric"]
    but = f", though {listed(numeric, 4)} {'differs' if len(numeric) == 1 else 'differ'}" if numeric else ""
    return sentence("To quote", f'"{text}{f" (results {prints})" if prints else ""}{but}."', weight=1, optional=True)
