"""One comparison from all sides: groups, then the reference against each other group, then causes and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from audit.causes import attribute, next_step, settings, words
from audit.compare import environment, results
from audit.compare.groups import fullest, groups
from audit.compare.side import Measured
from audit.errors import DIFFERS, INCOMPLETE, SAME
from reports import fingerprint
from reports.catalogue import Catalogue, catalogue
from reports.comparison import (
    FORMAT,
    VERSION,
    Cause,
    Comparison,
    Environment,
    FactDifference,
    FirstDivergence,
    Group,
    Hazard,
    JobResult,
    NotCompared,
    Results,
    ResultsVerdict,
    RuledOut,
    Side,
)

FailOn = Literal["results", "numeric", "any"]
Verdict = Literal["same", "differs", "not-comparable", "incomplete"]


@dataclass
class _Pair:
    """The reference against one other side."""

    a: Measured
    b: Measured
    battery: results.Battery
    partings: list[results.Parting]
    environment: Environment
    symptoms: list[attribute.Symptom]
    components: list[str]

    @property
    def labels(self) -> list[str]:
        return [self.a.label, self.b.label]

    def first(self) -> FirstDivergence | None:
        """The first divergent row of the first job that diverged; where no job did, the first differing operator of a
        component that is a cause."""
        for one in self.partings:
            if one.result.first_divergence:
                return msgspec.structs.replace(one.result.first_divergence, labels=self.labels)
        if not self.battery.differing:
            return None
        of_cause = [one for operator, one in self.battery.differing if operator.component in self.components]
        difference = (of_cause or [one for _, one in self.battery.differing])[0]
        return FirstDivergence(
            job="operators",
            step=None,
            phase=None,
            tensor=None,
            operator=difference.operator,
            components=difference.components,
            elements=difference.size.elements or None,
            differing=difference.size.differing,
            ulp=difference.size.ulp,
            size=difference.size,
            labels=self.labels,
        )


def compare(sides: list[Measured], fail_on: FailOn = "numeric", notes: list[str] | None = None) -> Comparison:
    """Compare two or more sides. The reference is the first side of the largest group (of two: the first side)."""
    rows = catalogue()
    grouped = groups(sides)
    reference = fullest(grouped[0])
    # Where all agree, the comparison in depth is with another member; what has no results is compared by its facts.
    rest = [side for side in [*grouped[0], *sides] if side is not reference]
    others = [fullest(group) for group in grouped[1:]] or rest[:1]
    pairs = [_pair(reference, other, rows) for other in others]
    found = _results(pairs, sides)
    causes = [cause for pair in pairs for cause in _causes(pair, found, rows)]
    blamed = {name for cause in causes for name in cause.components}
    whole = _with_reasons(environment.compare(sides, rows), found, blamed, sides, rows)
    verdict, status = _verdict(found, whole, sides, fail_on)
    firsts = {id(pair.b): pair.first() for pair in pairs}
    return Comparison(
        format=FORMAT,
        version=VERSION,
        verdict=verdict,
        reports=[_side(side, rows) for side in sides],
        results=found,
        environment=Environment(whole.differences, [*_not_compared(pairs, sides), *whole.not_compared], whole.same),
        causes=causes,
        ruled_out=_ruled_out(found, whole, blamed, rows),
        groups=[
            Group([side.label for side in group], None if reference in group else firsts.get(id(fullest(group))))
            for group in grouped
        ],
        hazards=_hazards(sides),
        notes=notes or [],
        exit=status,
        fail_on=fail_on,
        next=next_step.after_diff(sides, found, causes),
    )


def _pair(a: Measured, b: Measured, rows: Catalogue) -> _Pair:
    jobs = [name for name in a.jobs if name in b.jobs]
    # numpy before python: the job that goes through most components is the better place to point at.
    partings = [results.job(name, a, b) for name in sorted(jobs, key=lambda name: (name == "python", name))]
    battery = results.battery(a, b)
    symptoms = attribute.symptoms(battery, [row for one in partings for row in one.rows])
    changed = environment.compare([a, b], rows)
    rounding = any("fpu" in one.components and one.kind == "numeric" for one in changed.differences)
    chosen = attribute.components(symptoms, battery.agreeing, rounding)
    return _Pair(a, b, battery, partings, changed, symptoms, chosen)


_WORST = ("diverged", "nondeterministic", "not-comparable", "not-measured", "within-tolerance", "identical")


def _results(pairs: list[_Pair], sides: list[Measured]) -> Results:
    """The results of all pairs: an operator agrees if it agrees in every pair, and a job is as good as its worst."""
    unstable = dict.fromkeys(
        [one.unstable for pair in pairs for one in pair.partings if one.unstable]
        + [f"operator {name}" for pair in pairs for name in pair.battery.unstable]
    )
    first = next(filter(None, (pair.first() for pair in pairs)), None)
    jobs: dict[str, JobResult] = {}
    for one in sorted(
        (one.result for pair in pairs for one in pair.partings), key=lambda one: _WORST.index(one.verdict)
    ):
        jobs.setdefault(one.name, _fingerprints(one, sides))
    operators = _merged([pair.battery for pair in pairs]).summary()
    return Results(_results_verdict(pairs, sides), first, operators, list(jobs.values()), list(unstable))


def _merged(batteries: list[results.Battery]) -> results.Battery:
    differing = {
        operator.name: (operator, difference) for one in batteries[::-1] for operator, difference in one.differing
    }
    agreeing = {
        operator.name: operator for one in batteries for operator in one.agreeing if operator.name not in differing
    }
    return results.Battery(list(agreeing.values()), list(differing.values()))


def _fingerprints(result: JobResult, sides: list[Measured]) -> JobResult:
    """A job's result with one entry a side, not only for the pair that was compared in depth."""
    ran = [side.jobs.get(result.name) for side in sides]
    outcomes = [job.outcome if job else None for job in ran]
    return msgspec.structs.replace(
        result,
        fingerprints=[fingerprint.short(job.trace.digest) if job and job.trace else None for job in ran],
        loss_last=[outcome.loss_last if outcome else None for outcome in outcomes],
        learned=[outcome.learned if outcome else None for outcome in outcomes],
    )


def _results_verdict(pairs: list[_Pair], sides: list[Measured]) -> ResultsVerdict:
    verdicts = [one.result.verdict for pair in pairs for one in pair.partings]
    if "diverged" in verdicts or any(pair.battery.differing for pair in pairs):
        return "diverged"
    if "nondeterministic" in verdicts or any(pair.battery.unstable for pair in pairs):
        return "nondeterministic"
    if "identical" in verdicts or any(pair.battery.agreeing for pair in pairs):
        return "identical"
    measured = [bool(side.runs) for side in sides]
    return "not-comparable" if any(measured) else "not-measured"


def _causes(pair: _Pair, found: Results, rows: Catalogue) -> list[Cause]:
    changed = pair.environment.differences
    explanations = attribute.explain(pair.symptoms, pair.components, changed, [pair.a, pair.b], rows)
    differences = {one.fact: one for one in changed}
    counts = pair.battery.summary().by_component
    causes = []
    for one in explanations:
        title = words.title(one, differences, rows)
        here, values = settings.either(pair.a, pair.b, one.components)
        causes.append(
            Cause(
                root=one.root,
                components=one.components,
                status="unknown" if one.root is None else "suspected",
                facts=one.facts,
                operators=one.operators,
                settings=values,
                plain=words.plain(one, differences, rows, pair.labels),
                title=title,
                evidence=words.evidence(one, differences, counts),
                alternatives=one.alternatives,
                labels=pair.labels,
                settings_on=here.label if values else "",
            )
        )
    return causes


def _with_reasons(
    whole: Environment, found: Results, blamed: set[str], sides: list[Measured], rows: Catalogue
) -> Environment:
    """Each difference that can change bits with the reason why it had no effect, where results speak for that."""
    counts = found.operators.by_component
    changed = {one.fact for one in whole.differences}
    in_effect = {name for work in sides[0].works().values() for name in work}
    differences = [
        one
        if one.components
        else _by_what_it_decides(one, [name for name in rows.decided(one.fact) if name in in_effect], changed)
        for one in whole.differences
    ]
    return Environment([_with_reason(one, counts, blamed) for one in differences], whole.not_compared, whole.same)


def _by_what_it_decides(one: FactDifference, below: list[str], changed: set[str]) -> FactDifference:
    """A fact of no component works through what it decides: where all of that is the same, it had no effect."""
    if one.kind != "numeric" or not below or changed.intersection(below):
        return one
    return msgspec.structs.replace(one, why=f"{words.joined(below[:2])} came out the same")


def _with_reason(one: FactDifference, counts: dict[str, list[int]], blamed: set[str]) -> FactDifference:
    spoken = [name for name in one.components if name in counts]
    if one.kind != "numeric" or not spoken or blamed & set(one.components):
        return one
    why = ", ".join(f"{counts[name][0]} of {counts[name][1]} {name} operators agree" for name in spoken)
    return msgspec.structs.replace(one, why=why)


def _ruled_out(found: Results, whole: Environment, blamed: set[str], rows: Catalogue) -> list[RuledOut]:
    lines = []
    for name, (agreeing, compared) in found.operators.by_component.items():
        if name in blamed or agreeing < compared:
            continue
        facts = [one.fact for one in whole.differences if one.kind == "numeric" and name in one.components]
        lines.append(RuledOut(name, compared, facts, rows.components[name].plain if name in rows.components else name))
    return lines


def _verdict(found: Results, whole: Environment, sides: list[Measured], fail_on: FailOn) -> tuple[Verdict, int]:
    kinds = {one.kind for one in whole.differences}
    counted = {"results": set(), "numeric": {"numeric"}, "any": {"numeric", "performance"}}[fail_on]
    if found.verdict in ("diverged", "nondeterministic"):
        return "differs", DIFFERS
    wanted = fail_on == "results" or not (whole.same or whole.differences)
    nothing = found.verdict == "not-measured" and wanted  # comparing nothing is never a pass
    if found.verdict == "not-comparable" or nothing:
        return "not-comparable", INCOMPLETE
    if kinds & counted:
        return "differs", DIFFERS
    ran = {name for side in sides for name in side.jobs}
    unequal = any(name not in side.jobs for name in ran for side in sides)
    if unequal or any(side.incomplete for side in sides) or any(job.verdict == "not-comparable" for job in found.jobs):
        return "incomplete", INCOMPLETE
    return "same", SAME


def _not_compared(pairs: list[_Pair], sides: list[Measured]) -> list[NotCompared]:
    """Operators and jobs that were not compared; a whole component that one side lacks is one line."""
    found: dict[str, NotCompared] = {}
    unmeasured = [side.label for side in sides if not side.runs]
    if unmeasured and len(unmeasured) < len(sides):
        found["results"] = NotCompared("results", f"{unmeasured[0]} has none; measure it again without --job none")
    for pair in pairs:
        for one in pair.battery.not_compared:
            if pair.a.operators and pair.b.operators:
                found.setdefault(one.fact, one)
        for parting in pair.partings:
            if parting.result.reason:
                found[f"job {parting.result.name}"] = NotCompared(f"job {parting.result.name}", parting.result.reason)
    names = dict.fromkeys(job.name for side in sides for job in side.target.jobs)
    for name in names:
        for side in sides:
            if name not in side.jobs:
                failed = next((job for job in side.target.jobs if job.name == name), None)
                reason = f"{side.label}: {failed.reason}" if failed else f"{side.label} did not run it"
                found.setdefault(f"job {name}", NotCompared(f"job {name}", reason))
    return list(found.values())


def _hazards(sides: list[Measured]) -> list[Hazard]:
    """What varies by design: said, never counted."""
    found = []
    unset = [side.label for side in sides if side.fact("python.hash_seed") == "random"]
    if unset:
        where = "" if len(unset) == len(sides) else f" on {words.joined(unset)}"
        plain = f"PYTHONHASHSEED is unset{where}: the order of sets changes between runs"
        found.append(Hazard("set order", plain))
    listings = [name for name, operator in sides[0].operators.items() if operator.hazard and "listing" in name]
    for name in listings:
        digests = {one.result.digest for side in sides if (one := side.operators.get(name)) and one.result}
        if len(digests) > 1:
            found.append(Hazard("listing order", "directory order differs: sort what you list"))
            break
    return found


def _side(side: Measured, rows: Catalogue) -> Side:
    unstable = [f"job {job.name}" for job in side.jobs.values() if any(one.step is not None for one in job.repeats)]
    unstable += [f"operator {operator.name}" for operator in side.operators.values() if operator.repeats]
    return Side(
        label=side.label,
        target=side.target.name,
        digest=side.report.digest,
        file=side.file,
        results={name: fingerprint.short(job.trace.digest) for name, job in side.jobs.items() if job.trace},
        environment=fingerprint.environment(side.target, rows),
        runs=side.runs,
        summary=", ".join(_summary(side)),
        nondeterministic=unstable,
        incomplete=side.incomplete,
    )


def _summary(side: Measured) -> list[str]:
    named = [
        ("python.version", "Python"),
        ("packages.numpy.version", "numpy"),
        ("libc.version", str(side.fact("libc.name"))),
    ]
    return [f"{words_} {side.fact(fact)}" for fact, words_ in named if side.fact(fact)]
