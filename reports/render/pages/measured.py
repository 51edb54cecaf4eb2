"""What one report measured, in words: does the machine repeat itself, its jobs, fingerprints, what is missing."""

from __future__ import annotations

from collections.abc import Iterable

from ... import cuda, fingerprint
from ...catalogue import catalogue
from ...programs import called, is_program
from ...report import Fact, Facts, Job, Missing, Repeat, Report, Target
from . import recorded
from .page import Tone
from .words import count, listed, seconds

MISSING: dict[Missing, str] = {
    "absent": "not there",
    "denied": "not allowed",
    "failed": "failed",
    "timeout": "no answer in time",
}
"""The four reasons why a fact has no value, in words."""


def verdict(report: Report) -> tuple[Tone, str, str]:
    """Tone, verdict and answer of the first line: does this machine repeat itself, and what was recorded?"""
    own = recorded.summary(report)
    shaky = [place for target in report.targets for place in unrepeated(target)]
    if shaky:
        more = f" ({count(len(shaky) - 1, 'more place')}, see below)" if len(shaky) > 1 else ""
        return "bad", "NOT REPEATABLE.", f"{report.label} does not repeat itself: {shaky[0]}{more}."
    missing = [what for target in report.targets for what in incomplete(target)]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        kept = f" Recorded until then: {own}." if own else ""
        return "unsure", "INCOMPLETE.", f"{report.label}: {missing[0]}{more}.{kept}"
    runs = [target_runs(target) for target in report.targets]
    if not any(runs):
        facts = sum(len(every(target)) for target in report.targets)
        return "unsure", "FACTS ONLY.", f"{count(facts, 'fact')} of {report.label}; no results were measured."
    fewest = min(n for n in runs if n)
    if fewest == 1 and own:
        return "good", "RECORDED.", f"{report.label}: {own}."
    if fewest == 1:
        return (
            "unsure",
            "MEASURED ONCE.",
            f"{report.label} ran once, so whether it repeats itself is not known.",
        )
    where = "" if len(report.targets) == 1 else f" on each of {len(report.targets)} targets"
    return (
        "good",
        "REPEATABLE.",
        f"{report.label} gave the same bits in {fewest} of {fewest} fresh runs{where}" + (f": {own}." if own else "."),
    )


def unrepeated(target: Target) -> list[str]:
    """Every place that was not repeated bit for bit: first rows of jobs, then operators. Hazards are none."""
    places = [_place(job, repeat) for job in target.jobs for repeat in job.repeats if _other(job, repeat)]
    operators = target.battery.operators if target.battery else []
    places += [f"operator {one.name}" for one in operators if one.repeats and not one.hazard]
    return list(dict.fromkeys(places))


def _other(job: Job, repeat: Repeat) -> bool:
    return repeat.step is not None or bool(job.trace and repeat.digest and repeat.digest != job.trace.digest)


def _place(job: Job, repeat: Repeat) -> str:
    """ "job numpy, step 3, backward, grad w1, matmul f32"."""
    parts = [called(job.name)]
    if repeat.step is not None:
        parts.append(f"step {repeat.step:,}")
    if job.trace and repeat.step is not None and repeat.row is not None:
        order = job.trace.sequence.get(str(repeat.step)) or range(len(job.trace.rows))
        if 0 <= repeat.row < len(order) and 0 <= order[repeat.row] < len(job.trace.rows):
            row = job.trace.rows[order[repeat.row]]
            parts += recorded.place(row) if is_program(job.name) else [row.phase, row.tensor, row.operator]
    return ", ".join(parts)


def incomplete(target: Target) -> list[str]:
    """What was asked for and did not come to its end."""
    told = list(target.incomplete)
    failed = [
        (job.reason if is_program(job.name) else "") or f"{called(job.name)}: {job.reason or job.status}"
        for job in target.jobs
        if job.status
    ]
    return told + [text for text in failed if text not in told]


def target_runs(target: Target) -> int:
    """Fresh runs of what was repeated least; 0 if nothing was measured."""
    counts = [job.runs for job in target.jobs if job.trace]
    if target.battery and target.battery.operators:
        counts.append(target.battery.runs)
    return min(counts, default=0)


def every(target: Target) -> Facts:
    """All facts of a target by name; where work differs, as it was with the battery, else with the last job."""
    merged = dict(target.facts)
    for job in target.jobs:
        merged.update(job.facts)
    if target.battery:
        merged.update(target.battery.facts)
    return merged


def jobs(target: Target) -> list[str]:
    """One text a job: "numpy: learned in 100 steps, final loss 0.0021 (2 runs, 1.2 s each)"."""
    texts = [_job(job) for job in target.jobs]
    battery = target.battery
    if battery and battery.operators:
        done = sum(one.result is not None for one in battery.operators)
        some = "" if done == len(battery.operators) else f" of {len(battery.operators)}"
        texts.append(
            f"{done:,}{some} operators{' gave a result' if some else ''} ({_timing(battery.runs, battery.seconds)})"
        )
        texts += [f"no {name} operators: {reason}" for name, reason in battery.absent.items()]
    return texts


def _job(job: Job) -> str:
    if is_program(job.name):
        done = f"{recorded.course(job)} ({_timing(job.runs, job.seconds)})" if job.trace else "nothing recorded"
        return f"{called(job.name)}: {done}"
    if job.status or job.trace is None:
        return f"{job.name}: {MISSING.get(job.status or 'failed', 'failed')} ({job.reason or 'no reason given'})"
    text = f"{job.name}: {count(job.trace.steps, 'step')}"
    if job.outcome:
        text += ", learned" if job.outcome.learned else ", DID NOT LEARN"
        if job.outcome.loss_last is not None:
            text += f", final loss {job.outcome.loss_last:.4g}"
    return f"{text} ({_timing(job.runs, job.seconds)})"


def _timing(runs: int, taken: list[float]) -> str:
    each = f", {seconds(min(taken))} each" if taken and runs > 1 else f", {seconds(taken[0])}" if taken else ""
    return f"{count(runs, 'run')}{each}"


def results(target: Target) -> dict[str, str]:
    """The short fingerprint of every job that was run to its end."""
    return {job.name: fingerprint.short(job.trace.digest) for job in target.jobs if job.trace}


def environment(target: Target) -> str:
    """The short fingerprint of every fact that can change bits."""
    return fingerprint.environment(target, catalogue())


def fingerprints(target: Target) -> str:
    """ "results numpy 7f3a-91c2, python c811-04be; environment b0d4-5e18"."""
    prints = ", ".join(f"{job} {shown}" for job, shown in results(target).items())
    return "; ".join(
        f"{what} {shown}" for what, shown in (("results", prints), ("environment", environment(target))) if shown
    )


def not_seen(facts: Facts) -> list[str]:
    """Facts without a value, grouped by reason: "cpu.microcode (not allowed: /proc/cpuinfo)". Most telling first."""
    by_reason: dict[tuple[Missing, str], list[str]] = {}
    order = ("denied", "failed", "timeout", "absent")
    for name, fact in facts.items():
        if fact.status:
            by_reason.setdefault((fact.status, fact.reason), []).append(name)
    groups = sorted(by_reason.items(), key=lambda item: order.index(item[0][0]))
    return [f"{listed(names, 3)} ({_reason(status, reason)})" for (status, reason), names in groups]


def _reason(status: Missing, reason: str) -> str:
    return reason if status == "absent" and reason else ": ".join(filter(None, (MISSING[status], reason)))


def rebuilt(facts: Facts) -> str:
    """What two builds of one recipe came to: layers, then packages, then results; "" where nothing was built."""
    repeat = facts.get("recipe.layers_repeat", Fact()).value
    if repeat is None:
        return ""
    if repeat:
        return "a second build gave the same layers"
    changed = [one.partition(" of ") for one in _texts(facts, "recipe.layers_changed")]
    what = "another layer" if len(changed) == 1 else "other layers"
    numbers = f" {listed([one for one, _, _ in changed], 6)} of {changed[0][2]}" if changed else ""
    texts = [f"a second build gave {what}{numbers}"]
    packages = facts.get("recipe.packages_changed", Fact())
    moved = listed(_texts(facts, "recipe.packages_changed"))
    texts.append(packages.reason or (f"other packages: {moved}" if moved else "the same packages"))
    results = facts.get("recipe.results_repeat", Fact())
    if results.status is None:
        texts.append("the same results" if results.value else "OTHER RESULTS")
    elif results.reason != packages.reason:
        texts.append(f"results: {results.reason}")
    return "; ".join(texts)


def unpinned(facts: Facts) -> str:
    """What a recipe leaves open, what one installer leaves open together: "pip install torch and scipy: no version"."""
    by_tool: dict[tuple[str, str], list[str]] = {}
    for text in dict.fromkeys([*_texts(facts, "recipe.unpinned"), *_texts(facts, "image.unpinned")]):
        what, _, why = text.rpartition(": ")
        tool, _, package = what.rpartition(" ")
        by_tool.setdefault((tool, why), []).append(package)
    texts = [f"{tool} {listed(packages)}: {why}" for (tool, why), packages in by_tool.items()]
    return "; ".join([*texts[:3], *([f"{len(texts) - 3} more (--all)"] if len(texts) > 3 else [])])


def _texts(facts: Facts, name: str) -> list[str]:
    """The texts of a fact that is a list; none where it is absent."""
    found = facts.get(name, Fact()).value
    return [str(one) for one in found] if isinstance(found, list) else []


def misfits(facts: Facts) -> list[str]:
    """What of CUDA does not fit the driver."""
    known = {name: fact.value for name, fact in facts.items() if fact.value is not None}
    return cuda.mismatches(known, known)


def hazards(facts: Facts) -> list[str]:
    """What may bite later, though nothing is wrong now."""
    found = []
    if _is(facts, "python.hash_seed", ("random",)):
        found.append("PYTHONHASHSEED is unset: the order of sets changes between runs")
    if _is(facts, "fpu.flush_to_zero", (True,)) or _is(facts, "fpu.denormals_are_zero", (True,)):
        found.append("tiny numbers become zero here (flush to zero): some library switched that on")
    return found


def _is(facts: Facts, name: str, values: Iterable[object]) -> bool:
    return facts.get(name, Fact()).value in tuple(values)
