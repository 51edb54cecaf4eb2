"""Where results part: operators by digest, jobs by the first row with equal inputs and unequal outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from audit.compare import programs
from audit.compare.side import Measured
from audit.compare.size import measure
from audit.compare.traces import calls, row_at
from reports.comparison import FirstDivergence, JobResult, NotCompared, OperatorDifference, Operators, Size
from reports.fingerprint import short
from reports.programs import called, is_program, is_state
from reports.report import Job, Operator, Row, Trace

Position = tuple[int, int]
"""(step, position of a row in it), in the order of work."""


@dataclass
class Battery:
    """The battery of two sides, compared. agreeing, differing: names by what they came to."""

    agreeing: list[Operator] = field(default_factory=list)
    differing: list[tuple[Operator, OperatorDifference]] = field(default_factory=list)
    unstable: list[str] = field(default_factory=list)
    not_compared: list[NotCompared] = field(default_factory=list)

    def summary(self) -> Operators:
        """Counts by component: [agreeing, compared]."""
        counts: dict[str, list[int]] = {}
        for operator in self.agreeing:
            counts.setdefault(operator.component, [0, 0])[0] += 1
        for operator in [*self.agreeing, *(one for one, _ in self.differing)]:
            counts.setdefault(operator.component, [0, 0])[1] += 1
        compared = len(self.agreeing) + len(self.differing)
        return Operators(compared, [difference for _, difference in self.differing], counts)


def battery(a: Measured, b: Measured) -> Battery:
    """Every operator that both sides have. Hazards are not compared, nor what a side did not repeat itself."""
    found = Battery()
    mine, its = a.operators, b.operators
    shaken = {side.label: _shaken(side) for side in (a, b)}
    for name in [*mine, *(name for name in its if name not in mine)]:
        reason = _not_comparable(name, mine.get(name), its.get(name), a, b)
        if reason is not None:
            if reason:
                found.not_compared.append(NotCompared(f"operator {name}", reason))
            continue
        one, two = mine[name], its[name]
        through = {one.component, *one.through}
        shaky = [side.label for side, operator in ((a, one), (b, two)) if operator.repeats]
        if one.result and two.result and one.result.digest != two.result.digest:
            # What passes through a component that a side does not repeat may differ for that reason alone.
            shaky += [side.label for side in (a, b) if through & shaken[side.label] and not shaky]
        assert one.result
        assert two.result
        if shaky:
            found.unstable.append(f"{name} on {shaky[0]}")
        elif one.result.digest == two.result.digest:
            found.agreeing.append(one)
        else:
            difference = OperatorDifference(
                name,
                [one.component, *one.through],
                measure(one.result, two.result),
                [one.result.digest, two.result.digest],
            )
            found.differing.append((one, difference))
    return found


def _shaken(side: Measured) -> set[str]:
    """The components of the operators that a side does not repeat."""
    return {operator.component for operator in side.operators.values() if operator.repeats and not operator.hazard}


def _not_comparable(name: str, one: Operator | None, two: Operator | None, a: Measured, b: Measured) -> str | None:
    """Why an operator cannot be compared; None if it can; "" if there is nothing to say (a hazard)."""
    for operator, side in ((one, a), (two, b)):
        if operator is None:
            missing = side.target.battery.absent.get(name.split(".")[0]) if side.target.battery else None
            return f"{side.label} does not have it" + (f" ({missing})" if missing else "")
    assert one
    assert two
    if one.hazard or two.hazard:
        return ""
    for operator, side in ((one, a), (two, b)):
        if operator.result is None:
            return f"{side.label}: {operator.status} ({operator.reason})"
    if one.version != two.version:
        return f"versions {one.version} and {two.version} of it are different computations"
    return None


@dataclass
class Parting:
    """What one job of two sides came to. rows: every row whose inputs are equal and whose output is not; states: the
    generators of random numbers that are not in one state when that step begins; at: step and position of the first
    divergence."""

    result: JobResult
    rows: list[Row] = field(default_factory=list)
    unstable: str = ""
    states: list[str] = field(default_factory=list)
    at: Position = (0, 0)


def job(name: str, a: Measured, b: Measured) -> Parting:
    """One job that both sides ran to its end."""
    found = _job(name, a, b)
    if not is_program(name):
        return found
    return replace(found, result=programs.beside(found.result, a.jobs[name], b.jobs[name]))


def _job(name: str, a: Measured, b: Measured) -> Parting:
    one, two = a.jobs[name], b.jobs[name]
    if (one.version, one.configuration) != (two.version, two.configuration):
        reason = (
            f"not the same job: version {one.version} ({one.configuration}) and {two.version} ({two.configuration})"
        )
        if is_program(name):
            reason = programs.otherwise(name, a, b)
        return Parting(JobResult(name, "not-comparable", reason=reason))
    if is_program(name):
        one, two = programs.first_steps(one, two)
    assert one.trace
    assert two.trace
    shaky, words = _first_unstable(one, two, a, b)
    partings = _partings(one.trace, two.trace)
    if is_program(name):
        partings = programs.backwards(one.trace, partings)
    parting = partings[0] if partings else None
    if is_program(name) and not one.trace.steps:
        return Parting(JobResult(name, "not-comparable", reason=programs.nothing(name, a, b)))
    if parting is None and (one.trace.digest == two.trace.digest or _only_states(one.trace, two.trace)):
        return Parting(_result(name, "nondeterministic" if shaky else "identical", one, two, None), unstable=words)
    if parting is None and shaky is None:
        reason = f"the two runs are not the same sequence of calls ({one.trace.steps} and {two.trace.steps} steps)"
        if is_program(name):
            reason = _other_calls(one.trace, two.trace, [a.label, b.label])
        return Parting(JobResult(name, "not-comparable", reason=reason))
    if parting is None or (shaky is not None and shaky <= parting):
        # What a machine does not repeat masks what follows it, not what came before.
        return Parting(_result(name, "nondeterministic", one, two, None), unstable=words)
    step, row = parting
    rows = [row_at(one.trace, *position) for position in partings if shaky is None or position < shaky]
    where = _divergence(name, one.trace, two.trace, step, row, [a.label, b.label])
    states = _states(one.trace, two.trace, step)
    return Parting(_result(name, "diverged", one, two, where), rows, words, states, parting)


def _result(name: str, verdict: str, one: Job, two: Job, where: FirstDivergence | None) -> JobResult:
    assert one.trace
    assert two.trace
    outcomes = [one.outcome, two.outcome]
    losses = [outcome.losses if outcome else [] for outcome in outcomes]
    pairs = list(zip(losses[0], losses[1], strict=False))
    return JobResult(
        name,
        verdict,  # type: ignore[arg-type]
        steps=one.trace.steps,
        tensors=len(one.trace.rows),
        fingerprints=[short(trace.digest) for trace in (one.trace, two.trace)],
        loss_step=next((step for step, (x, y) in enumerate(pairs) if x != y), None),
        loss_last=[outcome.loss_last if outcome else None for outcome in outcomes],
        learned=[outcome.learned if outcome else None for outcome in outcomes],
        first_divergence=where,
    )


def _first_unstable(one: Job, two: Job, a: Measured, b: Measured) -> tuple[Position | None, str]:
    """The earliest position that one of the sides did not repeat itself, and that in words."""
    found: list[tuple[Position, str]] = []
    for side, ran in ((a, one), (b, two)):
        for repeat in ran.repeats:
            if repeat.step is not None and repeat.row is not None and ran.trace:
                row = row_at(ran.trace, repeat.step, repeat.row)
                words = f"{called(ran.name)} on {side.label}: step {repeat.step}, {row.phase}, {row.tensor}"
                found.append(((repeat.step, repeat.row), words))
    return min(found, default=(None, ""))


def _partings(one: Trace, two: Trace) -> list[Position]:
    """The positions whose inputs are equal and whose outputs are not, of the first step that has any.

    The tree is compared first: a step whose digest is equal is not opened. What an earlier step gave is equal then, so
    only inputs of the same step count. Where the two are no longer the same calls the comparison ends. The state of a
    generator is no result: it counts only where a row that differs draws from it.
    """
    for step in range(min(one.steps, two.steps)):
        if one.tree[step] == two.tree[step]:
            continue
        unequal: set[int] = set()
        used: set[int] = set()
        found: list[Position] = []
        ours, theirs = calls(one, step), calls(two, step)
        for position, ((row, mine), (other, its)) in enumerate(zip(ours, theirs, strict=False)):
            if row.tensor != other.tensor:
                return found
            if mine != its:
                if unequal.isdisjoint(row.inputs):
                    found.append((step, position))
                used.update(unequal.intersection(row.inputs))
                unequal.add(position)
        found = [one for one in found if one[1] in used or not is_state(ours[one[1]][0].tensor)]
        if found or len(ours) != len(theirs):
            return found
    return []


def _states(one: Trace, two: Trace, step: int) -> list[str]:
    """The generators of random numbers that are not in one state when a step begins."""
    pairs = zip(calls(one, step), calls(two, step), strict=False)
    return [row.tensor for (row, mine), (_, its) in pairs if is_state(row.tensor) and mine != its]


def _only_states(one: Trace, two: Trace) -> bool:
    """Whether two traces that part nowhere have the same rows, so that nothing but states of generators differs."""
    names = [[[row.tensor for row, _ in calls(trace, step)] for step in range(trace.steps)] for trace in (one, two)]
    return names[0] == names[1]


def _other_calls(one: Trace, two: Trace, labels: list[str]) -> str:
    """From where on two recordings of equal bits are no longer the same calls."""
    step = next(step for step in range(one.steps) if one.tree[step] != two.tree[step])
    pairs = zip_longest(calls(one, step), calls(two, step))
    told = [
        f"{call[0].tensor} ({call[0].source or call[0].phase}) on {label}" if call else f"nothing more on {label}"
        for label, call in zip(labels, next(pair for pair in pairs if not _same_call(*pair)), strict=True)
    ]
    return f"all bits are equal until step {step}, where the programs part: {' and '.join(told)}"


def _same_call(one: tuple[Row, bytes] | None, two: tuple[Row, bytes] | None) -> bool:
    return one is not None and two is not None and one[0].tensor == two[0].tensor


def _divergence(name: str, one: Trace, two: Trace, step: int, position: int, labels: list[str]) -> FirstDivergence:
    row = row_at(one, step, position)
    size = _size(name, one, two, step, position, row)
    return FirstDivergence(
        job=name,
        step=step,
        phase=row.phase,
        tensor=row.tensor,
        operator=row.operator,
        components=list(row.components),
        elements=size.elements or None,
        differing=size.differing,
        ulp=size.ulp,
        size=size,
        labels=labels,
        module=row.module,
        source=row.source,
        dtype=row.dtype,
    )


def _size(name: str, one: Trace, two: Trace, step: int, position: int, row: Row) -> Size:
    kept = [
        next((value for value in trace.values if (value.step, value.row) == (step, position)), None)
        for trace in (one, two)
    ]
    if kept[0] is None or kept[1] is None:
        how = f"; to see it, on both: audit run --job {name} --whole-step {step} -o whole.json"
        reason = "its values are not in the files" if is_program(name) else f"not in the files{how}"
        return Size(elements=math.prod(row.shape), reason=reason)
    return measure(kept[0], kept[1], list(row.shape), row.dtype)
