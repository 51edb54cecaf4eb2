"""One comparison from all sides: groups, then the reference against each other group, then causes and verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from audit.causes import attribute, next_step, program, settings, words
from audit.compare import agreement, course, environment, images, results, scores
from audit.compare.groups import by_job, fullest, groups
from audit.compare.missing import and_more, not_compared
from audit.compare.programs import aligned
from audit.compare.side import Measured, Outline, Side, block, told
from audit.compare.spread import Spread, only, shared, spread
from audit.compare.unpaired import FailOn, unpaired
from audit.errors import DIFFERS, INCOMPLETE, SAME
from reports import cuda, fingerprint
from reports.catalogue import Catalogue, catalogue
from reports.comparison import (
    FORMAT,
    VERSION,
    Attendance,
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
)
from reports.programs import is_program
from reports.render.pages.words import joined

Notify = Callable[[str, int, int], None]
Verdict = Literal["same", "differs", "not-comparable", "incomplete"]


@dataclass
class _Pair:
    """The reference against one other side, each standing for its group. of_program: by row, the components through
    which a recorded program passes where it parts."""

    a: Measured
    b: Measured
    battery: results.Battery
    partings: list[results.Parting]
    differences: list[FactDifference]
    symptoms: list[attribute.Symptom]
    components: list[str]
    of_program: dict[str, set[str]]

    @property
    def sides(self) -> tuple[Measured, Measured]:
        return self.a, self.b

    @property
    def labels(self) -> list[str]:
        return [self.a.label, self.b.label]

    def at(self, first: FirstDivergence) -> set[str]:
        """The components through which the row passes where the program first parts."""
        return self.of_program.get(first.tensor or "", set())

    def far(self, components: list[str]) -> int:
        """How far a cause of these is from where a program first parts: 0 for just there, 2 for nowhere in it."""
        first = self.first()
        if first and not self.at(first).isdisjoint(components):
            return 0
        return 1 if any(not one.isdisjoint(components) for one in self.of_program.values()) else 2

    def first(self) -> FirstDivergence | None:
        """The first divergent row of the first job that diverged; where no job did, the first differing operator of a
        component that is a cause."""
        for one in self.partings:
            first = one.result.first_divergence
            if first:
                laid = [name for name in self.components if is_program(first.job) and name in self.at(first)]
                return msgspec.structs.replace(
                    first, labels=self.labels, components=[*dict.fromkeys([*laid, *first.components])]
                )
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


def compare(
    sides: Sequence[Side],
    fail_on: FailOn = "numeric",
    notes: Sequence[str] = (),
    left_out: Sequence[NotCompared] = (),
    typed: Sequence[str] = (),
    notify: Notify = lambda words, done, total: None,
    attendance: Attendance | None = None,
) -> Comparison:
    """Compare two or more sides. The reference is the first side of the largest group (of two: the first side).

    left_out: reports that were asked for and could not be read. typed: the reports as the person named them.
    attendance: who of those that were expected reported; then there may be fewer than two sides, which says only that.
    Of each group only one member is read whole.
    """
    if attendance and len(sides) < 2:
        return unpaired(sides, fail_on, notes, left_out, typed, attendance)
    rows = catalogue()
    outlines = aligned([side.outline for side in sides])
    grouped = groups(outlines)
    whole = environment.compare(outlines, rows)
    lies = spread(whole, grouped)
    pairs = _pairs(sides, outlines, grouped, lies, rows, notify)
    found = course.followed(_results(pairs, outlines), [pair.sides for pair in pairs])
    found = agreement.told(found, [pairs[0].a, *(pair.b for pair in pairs)][: len(grouped)])
    explained = [_causes(pair, found, rows) for pair in pairs]
    causes = [cause for one in explained for cause in one]
    blamed = {name for cause in causes for name in cause.components}
    whole = _with_reasons(whole, found, blamed, outlines, rows)
    lacks = bool(left_out) or not (attendance is None or attendance.whole)
    verdict, status = _verdict(found, whole, outlines, fail_on, lacks)
    about = [pair.sides for pair in pairs if causes and pair.labels == causes[0].labels] or [one.sides for one in pairs]
    first = about[0] if about else None
    lacking = not_compared(
        (one for pair in pairs if pair.a.operators and pair.b.operators for one in pair.battery.not_compared),
        (parting.result for pair in pairs for parting in pair.partings),
        outlines,
    )
    return Comparison(
        format=FORMAT,
        version=VERSION,
        verdict=verdict,
        reports=[told(side) for side in outlines],
        results=found,
        environment=Environment(whole.differences, [*left_out, *lacking, *whole.not_compared], whole.same),
        causes=causes,
        ruled_out=_ruled_out(found, whole, blamed, rows),
        groups=_groups(grouped, outlines, pairs, explained, lies),
        hazards=_hazards(outlines),
        notes=[*notes],
        images=images.compare(outlines, whole.differences),
        exit=status,
        fail_on=fail_on,
        next=(next_step.after_gathering(attendance, typed) if status == INCOMPLETE else "")
        or next_step.after_diff(outlines, found, causes, first, typed),
        attendance=attendance,
    )


def _pairs(
    sides: Sequence[Side],
    outlines: list[Outline],
    grouped: list[list[int]],
    lies: list[Spread],
    rows: Catalogue,
    notify: Notify,
) -> list[_Pair]:
    """The reference against one side of each other group; if there is none, against one more side."""
    reference = fullest(outlines, grouped[0])
    rest = [position for position in (*grouped[0], *range(len(sides))) if position != reference]
    others = [fullest(outlines, group) for group in grouped[1:]] or rest[:1]
    a = sides[reference].whole()
    pairs = []
    for done, other in enumerate(others):
        notify("comparing groups", done, len(others))
        pairs.append(_pair(a, sides[other].whole(), shared(lies, done + 1) if len(grouped) > 1 else set(), rows))
    return pairs


def _pair(a: Measured, b: Measured, shared: set[str], rows: Catalogue) -> _Pair:
    jobs = [name for name in a.jobs if name in b.jobs]
    # A person's own program first. Then numpy before python: where most components pass is the better place to show.
    order = sorted(jobs, key=lambda name: (not is_program(name), name == "python", name))
    partings = [results.job(name, a, b) for name in order]
    # Of the ranks of a program the one that parts first, as it hands what it has to the others.
    partings.sort(key=lambda one: (0, *one.at) if is_program(one.result.name) else (1,))
    battery = results.battery(a, b)
    changed = environment.compare([a.outline, b.outline], rows).differences
    changed = [one for one in changed if one.fact not in shared]
    partings = [program.with_other_run(one, changed, [a.label, b.label]) for one in partings]
    symptoms = attribute.symptoms(
        battery, [row for one in partings for row in one.rows if not is_program(one.result.name)]
    )
    own = [symptom for one in partings for symptom in program.symptoms(one, battery, changed, a)]
    symptoms += own
    rounding = any("fpu" in one.components and one.kind == "numeric" for one in changed)
    chosen = attribute.components(symptoms, battery.agreeing, rounding)
    of_program: dict[str, set[str]] = {}
    for one in own:
        of_program.setdefault(one.name, set()).update(name for name in one.through if name in chosen)
    return _Pair(a, b, battery, partings, changed, symptoms, chosen, of_program)


def _groups(
    grouped: list[list[int]],
    outlines: list[Outline],
    pairs: list[_Pair],
    explained: list[list[Cause]],
    lies: list[Spread],
) -> list[Group]:
    alone = [only(group, number, lies) for number, group in enumerate(grouped)]
    found = [Group([outlines[n].label for n in grouped[0]], None, only=alone[0])]
    for group, pair, causes, values in zip(grouped[1:], pairs, explained, alone[1:], strict=False):
        likeliest = causes[0] if causes else None
        found.append(
            Group(
                [outlines[n].label for n in group],
                pair.first(),
                root=likeliest.root if likeliest else None,
                components=likeliest.components if likeliest else [],
                only=values,
            )
        )
    return found


_WORST = ("diverged", "nondeterministic", "not-comparable", "not-measured", "within-tolerance", "identical")


def _results(pairs: list[_Pair], sides: list[Outline]) -> Results:
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


def _fingerprints(result: JobResult, sides: list[Outline]) -> JobResult:
    """A job's result with one entry a side, not only for the pair that was compared in depth."""
    ran = [side.jobs.get(result.name) for side in sides]
    return msgspec.structs.replace(
        result,
        fingerprints=[fingerprint.short(job.digest) if job else None for job in ran],
        loss_last=[job.loss_last if job else None for job in ran],
        learned=[job.learned if job else None for job in ran],
        recorded=[job.steps if job else None for job in ran] if is_program(result.name) else [],
        scores=scores.compare([job.scores if job else {} for job in ran]),
        groups=[[sides[n].label for n in group] for group in by_job(sides, result.name)],
    )


def _results_verdict(pairs: list[_Pair], sides: list[Outline]) -> ResultsVerdict:
    verdicts = [one.result.verdict for pair in pairs for one in pair.partings]
    of_programs = {one.result.verdict for pair in pairs for one in pair.partings if is_program(one.result.name)}
    if of_programs == {"not-comparable"}:
        return "not-comparable"  # that operators agree is no answer to whoever asks about a program
    if "diverged" in verdicts or any(pair.battery.differing for pair in pairs):
        return "diverged"
    if "nondeterministic" in verdicts or any(pair.battery.unstable for pair in pairs):
        return "nondeterministic"
    if "identical" in verdicts or any(pair.battery.agreeing for pair in pairs):
        return "identical"
    measured = [bool(side.runs) for side in sides]
    return "not-comparable" if any(measured) else "not-measured"


def _causes(pair: _Pair, found: Results, rows: Catalogue) -> list[Cause]:
    changed = pair.differences
    explanations = attribute.explain(pair.symptoms, pair.components, changed, [pair.a, pair.b], rows)
    differences = {one.fact: one for one in changed}
    counts = pair.battery.summary().by_component
    parted = any(is_program(one.result.name) and one.rows for one in pair.partings)
    other = program.other_run(changed, pair.labels) if parted else []
    causes = [*other]
    # What explains where the program parts comes before what only the battery shows.
    for one in sorted(explanations, key=lambda one: pair.far(one.components)):
        instead = program.unexplained(one, pair.partings, pair.sides, changed, bool(other))
        if instead is not None:
            causes += instead
            continue
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
                evidence=words.evidence(one, differences, counts, pair.sides),
                alternatives=one.alternatives,
                labels=pair.labels,
                settings_on=here.label if values else "",
            )
        )
    return causes


def _with_reasons(
    whole: Environment, found: Results, blamed: set[str], sides: list[Outline], rows: Catalogue
) -> Environment:
    """Each difference that can change bits with the reason why it had no effect, where results speak for that."""
    counts = found.operators.by_component
    changed = {one.fact for one in whole.differences}
    in_effect = {
        name for work, facets in sides[0].facts.items() if work for one in facets.values() for name in block(one).facts
    }
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
    return msgspec.structs.replace(one, why=f"{joined(below[:2])} came out the same")


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


def _verdict(
    found: Results, whole: Environment, sides: list[Outline], fail_on: FailOn, lacks: bool
) -> tuple[Verdict, int]:
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
    if (
        lacks
        or unequal
        or any(side.incomplete for side in sides)
        or any(job.verdict == "not-comparable" for job in found.jobs)
    ):
        return "incomplete", INCOMPLETE
    return "same", SAME


def _hazards(sides: list[Outline]) -> list[Hazard]:
    """What varies by design, and a CUDA that does not fit its driver: said, never counted."""
    found = _drivers(sides)
    unset = [side.label for side in sides if side.fact("python.hash_seed") == "random"]
    if unset:
        where = "" if len(unset) == len(sides) else f" on {and_more(unset)}"
        plain = f"PYTHONHASHSEED is unset{where}: the order of sets changes between runs"
        found.append(Hazard("set order", plain))
    for name in sides[0].listings:
        if len({side.listings[name] for side in sides if name in side.listings}) > 1:
            found.append(Hazard("listing order", "directory order differs: sort what you list"))
            break
    return found


def _drivers(sides: list[Outline]) -> list[Hazard]:
    """What of CUDA does not fit the driver; a container without a GPU is held against its host's."""
    hosts = {side.file: side.values(["gpu"]) for side in sides if side.target == "host"}
    found: dict[str, list[str]] = {}
    for side in sides:
        driver = side.values(["gpu"]) if side.fact("gpu.cuda_driver") else hosts.get(side.file, {})
        for plain in cuda.mismatches(side.values(cuda.FACETS), driver) if driver else ():
            found.setdefault(plain, []).append(side.label)
    return [Hazard("CUDA", f"{and_more(labels)}: {plain}") for plain, labels in found.items()]
