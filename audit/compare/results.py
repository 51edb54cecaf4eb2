"""Where results part: operators by digest, jobs by the first row with equal inputs and unequal outputs."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field

from audit.compare.side import Measured
from audit.compare.size import measure
from reports.comparison import FirstDivergence, JobResult, NotCompared, OperatorDifference, Operators, Size
from reports.fingerprint import short
from reports.report import Job, Operator, Row, Trace

_WIDTH = 8  # bytes of one row's digest

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
    """What one job of two sides came to. rows: every row whose inputs are equal and whose output is not."""

    result: JobResult
    rows: list[Row] = field(default_factory=list)
    unstable: str = ""


def job(name: str, a: Measured, b: Measured) -> Parting:
    """One job that both sides ran to its end."""
    one, two = a.jobs[name], b.jobs[name]
    if (one.version, one.configuration) != (two.version, two.configuration):
        reason = (
            f"not the same job: version {one.version} ({one.configuration}) and {two.version} ({two.configuration})"
        )
        return Parting(JobResult(name, "not-comparable", reason=reason))
    assert one.trace
    assert two.trace
    shaky, words = _first_unstable(one, two, a, b)
    partings = _partings(one.trace, two.trace)
    parting = partings[0] if partings else None
    if parting is None and one.trace.digest == two.trace.digest:
        return Parting(_result(name, "nondeterministic" if shaky else "identical", one, two, None), unstable=words)
    if parting is None and shaky is None:
        reason = f"the two runs are not the same sequence of calls ({one.trace.steps} and {two.trace.steps} steps)"
        return Parting(JobResult(name, "not-comparable", reason=reason))
    if parting is None or (shaky is not None and shaky <= parting):
        # What a machine does not repeat masks what follows it, not what came before.
        return Parting(_result(name, "nondeterministic", one, two, None), unstable=words)
    step, row = parting
    rows = [_row(one.trace, *position) for position in partings if shaky is None or position < shaky]
    where = _divergence(name, one.trace, two.trace, step, row)
    return Parting(_result(name, "diverged", one, two, where), rows, words)


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
                row = _row(ran.trace, repeat.step, repeat.row)
                words = f"job {ran.name} on {side.label}: step {repeat.step}, {row.phase}, {row.tensor}"
                found.append(((repeat.step, repeat.row), words))
    return min(found, default=(None, ""))


def _sequence(trace: Trace, step: int) -> list[int]:
    return trace.sequence.get(str(step), list(range(len(trace.rows))))


def _row(trace: Trace, step: int, position: int) -> Row:
    return trace.rows[_sequence(trace, step)[position]]


def _calls(trace: Trace, step: int) -> list[tuple[Row, bytes]]:
    """The rows of a step, in the order of work, with the digests of their results."""
    data = base64.b64decode(trace.digests[step])
    digests = [data[i : i + _WIDTH] for i in range(0, len(data), _WIDTH)]
    return [(trace.rows[row], digest) for row, digest in zip(_sequence(trace, step), digests, strict=False)]


def _partings(one: Trace, two: Trace) -> list[Position]:
    """The positions whose inputs are equal and whose outputs are not, of the first step that has any.

    The tree is compared first: a step whose digest is equal is not opened. What an earlier step gave is equal then, so
    only inputs of the same step count. Where the two are no longer the same calls the comparison ends.
    """
    for step in range(min(one.steps, two.steps)):
        if one.tree[step] == two.tree[step]:
            continue
        unequal: set[int] = set()
        found: list[Position] = []
        calls, other_calls = _calls(one, step), _calls(two, step)
        for position, ((row, mine), (other, its)) in enumerate(zip(calls, other_calls, strict=False)):
            if row.tensor != other.tensor:
                return found
            if mine != its:
                if unequal.isdisjoint(row.inputs):
                    found.append((step, position))
                unequal.add(position)
        if found or len(calls) != len(other_calls):
            return found
    return []


def _divergence(name: str, one: Trace, two: Trace, step: int, position: int) -> FirstDivergence:
    row = _row(one, step, position)
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
    )


def _size(name: str, one: Trace, two: Trace, step: int, position: int, row: Row) -> Size:
    kept = [
        next((value for value in trace.values if (value.step, value.row) == (step, position)), None)
        for trace in (one, two)
    ]
    if kept[0] is None or kept[1] is None:
        return Size(
            elements=math.prod(row.shape),
            reason=f"not in the files; to see it, on both: audit run --job {name} --whole-step {step} -o whole.json",
        )
    return measure(kept[0], kept[1], list(row.shape), row.dtype)
