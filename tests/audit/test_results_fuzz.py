"""Pairs of random traces and batteries, compared with the definitions followed word by word."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.compare import results
from audit.compare.side import Measured
from probes import trace as recorder
from reports.fingerprint import short
from reports.report import (
    Auditor,
    Battery,
    Job,
    Observation,
    Operator,
    Outcome,
    Repeat,
    Report,
    Row,
    StepValue,
    Target,
    Trace,
)

Calls = list[list[tuple[int, bytes]]]
"""By step and position: the number of the row's definition, and the digest."""


def side(label: str, **target: Any) -> Measured:
    made = Target("host", **target)
    return Measured(label, f"{label}.json", Report("audit-report", 1, label, label, "", Auditor(), [made]), made)


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def trace_of(rows: list[Row], calls: Calls) -> Trace:
    """The layers as probes/trace.py describes them."""
    phases = sorted({row.phase for row in rows})
    tree = []
    for step in calls:
        parts = [digest(b"".join(bits for row, bits in step if rows[row].phase == phase)) for phase in phases]
        tree.append([digest(b"".join(parts)), *parts])
    usual = list(range(len(rows)))
    sequences = {str(number): [row for row, _ in step] for number, step in enumerate(calls)}
    return Trace(
        steps=len(calls),
        phases=phases,
        rows=rows,
        tree=[b"".join(branch).hex() for branch in tree],
        digests=[base64.b64encode(b"".join(bits for _, bits in step)).decode() for step in calls],
        sequence={step: sequence for step, sequence in sequences.items() if sequence != usual},
        digest=digest(b"".join(branch[0] for branch in tree)).hex(),
    )


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Job, Job, Calls, Calls, list[Row]]:
    """Two jobs of one kind: some digests differ, and sometimes the sequence of calls or what a side repeats."""
    names = draw(st.integers(1, 6))
    rows = []
    for number in range(names):
        inputs = draw(st.lists(st.integers(-names, number - 1), max_size=3, unique=True))
        rows.append(Row(draw(st.sampled_from(["data", "forward"])), f"t{number}", "add f64", ["numpy"], inputs))
    calls: Calls = []
    for _ in range(draw(st.integers(1, 4))):
        sequence = [*range(draw(st.integers(0, names)) if draw(st.booleans()) else names)]
        sequence += draw(st.lists(st.integers(0, names - 1), max_size=3)) if len(sequence) == names else []
        calls.append([(row, digest(bytes([row, len(calls)]))) for row in sequence])
    others: Calls = [list(step) for step in calls]
    places = [(step, at) for step, one in enumerate(others) for at in range(len(one))]
    for step, at in draw(st.lists(st.sampled_from(places), max_size=5)) if places else []:
        others[step][at] = (others[step][at][0], digest(b"other"))
    change = draw(st.sampled_from(["none", "none", "none", "steps", "shorter", "renamed"]))
    step = draw(st.integers(0, len(others) - 1))
    if change == "steps":
        others = others[:step]
    elif change == "shorter":
        others[step] = others[step][:-1]
    elif change == "renamed" and others[step]:
        others[step][-1] = (draw(st.integers(0, names - 1)), others[step][-1][1])
    made = []
    for side_calls in (calls, others):
        shaky = [(step, at) for step, one in enumerate(side_calls) for at in range(len(one))]
        repeats = draw(st.lists(st.sampled_from(shaky), max_size=2)) if shaky and draw(st.booleans()) else []
        said = [Repeat("same"), *(Repeat("other", *place) for place in repeats)]
        made.append(Job("numpy", trace=trace_of(rows, side_calls), runs=2, repeats=said))
    return made[0], made[1], calls, others, rows


def partings(calls: Calls, others: Calls, rows: list[Row]) -> list[tuple[int, int]]:
    """Rows with equal inputs and unequal outputs, up to where the two are no longer the same calls. A step that gave
    the same bits in the same phases is the same."""

    def by_phase(step: list[tuple[int, bytes]]) -> list[list[bytes]]:
        return [[bits for row, bits in step if rows[row].phase == phase] for phase in ("data", "forward")]

    def unequal(step: int, at: int) -> bool:
        there = step >= 0 and at < len(calls[step]) and at < len(others[step])
        return there and calls[step][at][1] != others[step][at][1]

    found = []
    for step in range(min(len(calls), len(others))):
        if by_phase(calls[step]) == by_phase(others[step]):
            continue
        for at in range(max(len(calls[step]), len(others[step]))):
            if at >= min(len(calls[step]), len(others[step])) or calls[step][at][0] != others[step][at][0]:
                return found
            inputs = [(step, n) if n >= 0 else (step - 1, -n - 1) for n in rows[calls[step][at][0]].inputs]
            if unequal(step, at) and not any(unequal(*place) for place in inputs):
                found.append((step, at))
    return found


@settings(deadline=None, max_examples=500)
@given(jobs())
def test_jobs_against_the_definition(case: tuple[Job, Job, Calls, Calls, list[Row]]) -> None:
    one, two, calls, others, rows = case
    parting = results.job("numpy", side("a", jobs=[one]), side("b", jobs=[two]))
    expected = partings(calls, others, rows)
    shaky = min(((r.step, r.row) for job in (one, two) for r in job.repeats if r.step is not None), default=None)
    assert one.trace
    assert two.trace
    ahead = [place for place in expected if shaky is None or place < shaky]
    first = parting.result.first_divergence
    assert parting.result.name == "numpy"
    if ahead:
        assert parting.result.verdict == "diverged"
        assert first
        row = rows[calls[ahead[0][0]][ahead[0][1]][0]]
        assert (first.job, first.step, first.phase, first.tensor) == ("numpy", ahead[0][0], row.phase, row.tensor)
        step = [place for place in ahead if place[0] == ahead[0][0]]
        assert parting.rows == [rows[calls[at][position][0]] for at, position in step]
    else:
        assert first is None
        assert parting.rows == []
        same = one.trace.digest == two.trace.digest
        steady = "identical" if same else "not-comparable"
        assert parting.result.verdict == (steady if shaky is None else "nondeterministic")
    if parting.result.verdict == "not-comparable":
        steps = f"({len(calls)} and {len(others)} steps)"
        assert parting.result.reason == f"the two runs are not the same sequence of calls {steps}"
    else:
        assert (parting.result.steps, parting.result.tensors) == (len(calls), len(rows))
        assert parting.result.fingerprints == [short(one.trace.digest), short(two.trace.digest)]
        assert bool(parting.unstable) == (shaky is not None)


@settings(deadline=None, max_examples=200)
@given(jobs())
def test_the_other_way_round_a_job_comes_to_the_same(case: tuple[Job, Job, Calls, Calls, list[Row]]) -> None:
    a, b = side("a", jobs=[case[0]]), side("b", jobs=[case[1]])
    there, back = results.job("numpy", a, b), results.job("numpy", b, a)
    assert there.result.verdict == back.result.verdict
    turned = back.result.first_divergence
    if turned:
        turned = msgspec.structs.replace(turned, labels=turned.labels[::-1])
    assert there.result.first_divergence == turned
    assert (there.rows, there.unstable) == (back.rows, back.unstable)
    assert there.result.fingerprints == back.result.fingerprints[::-1]
    assert results.job("numpy", a, a).result.verdict in ("identical", "nondeterministic")


def test_the_recorder_gives_the_tree_that_the_definition_gives() -> None:
    recording = recorder.Trace()
    for step in range(3):
        recording.begin_step()
        for phase in ("data", "forward"):
            recording.phase(phase)
            for name in "xy":
                recording.call(f"{phase}.{name}", "add f64", ("numpy",), lambda: [float(step)])  # noqa: B023
    made = msgspec.convert(recording.record(), Trace)
    calls: Calls = []
    for text in made.digests:
        data = base64.b64decode(text)
        calls.append([(row, data[8 * row : 8 * row + 8]) for row in range(4)])
    again = trace_of(made.rows, calls)
    assert (again.tree, again.digest) == (made.tree, made.digest)


def test_a_step_with_more_calls_ends_the_comparison() -> None:
    """What follows an extra call is not the same call, though it has the same name and position."""
    rows = [Row("forward", name, "add f64", ["numpy"]) for name in "xy"]
    x, y, other = digest(b"x"), digest(b"y"), digest(b"other")
    longer: Calls = [[(0, x), (1, y)], [(0, x), (1, y)]]
    shorter: Calls = [[(0, x)], [(0, x), (1, other)]]
    for one, two in ((longer, shorter), (shorter, longer)):
        a, b = (Job("numpy", trace=trace_of(rows, calls)) for calls in (one, two))
        assert results.job("numpy", side("a", jobs=[a]), side("b", jobs=[b])).result.verdict == "not-comparable"


def test_a_step_of_the_usual_calls_may_end_early() -> None:
    rows = [Row("forward", name, "add f64", ["numpy"]) for name in "xy"]
    made = []
    for bits in (b"x", b"other"):
        short_step = msgspec.structs.replace(trace_of(rows, [[(0, digest(bits))]]), sequence={})
        made.append(Job("numpy", trace=short_step))
    parting = results.job("numpy", side("a", jobs=[made[0]]), side("b", jobs=[made[1]]))
    assert parting.rows == rows[:1]


def test_nondeterminism_in_words_names_the_earliest_and_the_side() -> None:
    rows = [Row("forward", name, "add f64", ["numpy"]) for name in "xy"]
    calls: Calls = [[(0, digest(b"x")), (1, digest(b"y"))]] * 2
    a = Job("numpy", trace=trace_of(rows, calls), repeats=[Repeat("r", 1, 0), Repeat("s", 0, 1)])
    b = Job("numpy", trace=trace_of(rows, calls), repeats=[Repeat("r", 1, 1)])
    parting = results.job("numpy", side("a", jobs=[a]), side("b", jobs=[b]))
    assert parting.unstable == "job numpy on a: step 0, forward, y"
    assert results.job("numpy", side("a", jobs=[b]), side("b", jobs=[a])).unstable.startswith("job numpy on b: step 0")


@pytest.mark.parametrize(
    ("mine", "its", "step"),
    [([3.0, 2.0, 1.0], [3.0, 2.0, 1.5], 2), ([3.0], [3.0, 2.0], None), ([], [1.0], None), ([1.0, 2.0], [2.0, 2.0], 0)],
)
def test_outcomes_are_both_told(mine: list[float], its: list[float], step: int | None) -> None:
    rows = [Row("loss", "loss", "mean f64", ["numpy"])]
    made = []
    for bits, losses in ((b"x", mine), (b"y", its)):
        outcome = Outcome(loss_last=losses[-1] if losses else None, losses=losses, learned=bool(losses))
        made.append(Job("numpy", trace=trace_of(rows, [[(0, digest(bits))]]), outcome=outcome))
    result = results.job("numpy", side("a", jobs=[made[0]]), side("b", jobs=[made[1]])).result
    assert (result.name, result.loss_step) == ("numpy", step)
    assert result.loss_last == [mine[-1] if mine else None, its[-1]]
    assert result.learned == [bool(mine), True]
    bare = msgspec.structs.replace(made[1], outcome=None)
    result = results.job("numpy", side("a", jobs=[made[0]]), side("b", jobs=[bare])).result
    assert (result.loss_step, result.loss_last[1], result.learned[1]) == (None, None, None)


def test_another_version_or_configuration_is_another_job() -> None:
    trace = trace_of([Row("loss", "loss", "mean f64")], [[(0, digest(b"x"))]])
    one = Job("numpy", version=1, configuration="aa", trace=trace)
    for two in (Job("numpy", 2, "aa", trace=trace), Job("numpy", 1, "bb", trace=trace)):
        result = results.job("numpy", side("a", jobs=[one]), side("b", jobs=[two])).result
        assert (result.name, result.verdict) == ("numpy", "not-comparable")
        words = f"not the same job: version 1 (aa) and {two.version} ({two.configuration})"
        assert (result.reason, result.first_divergence) == (words, None)


def kept(step: int, row: int, *numbers: int) -> StepValue:
    """What a trace keeps; its row says type and shape."""
    return StepValue(step=step, row=row, digest="0", values=base64.b64encode(bytes(numbers)).decode())


def test_the_size_is_of_that_step_and_row_of_both() -> None:
    rows = [Row("forward", name, "add u1", ["numpy", "libm"], dtype="u1", shape=[2, 3]) for name in "xy"]
    calls: Calls = [[(0, digest(b"x")), (1, digest(b"y"))]] * 2
    others: Calls = [calls[0], [(0, digest(b"x")), (1, digest(b"z"))]]
    decoys = [kept(0, 1, 1, 2, 3, 4, 5, 6), kept(1, 0, 1, 2, 3, 4, 5, 6)]
    values = [[*decoys, kept(1, 1, 1, 2, 3, 4, 5, last)] for last in (6, 16)]
    made = [
        Job("numpy", trace=msgspec.structs.replace(trace_of(rows, one), values=of))
        for one, of in zip((calls, others), values, strict=True)
    ]
    first = results.job("numpy", side("a", jobs=[made[0]]), side("b", jobs=[made[1]])).result.first_divergence
    assert first
    assert (first.operator, first.components, first.elements, first.differing) == ("add u1", ["numpy", "libm"], 6, 1)
    assert first.ulp == first.size.ulp
    assert first.ulp.max == 10
    assert first.size.example
    assert first.size.example.index == [1, 2]
    for lacking in (0, 1):
        some = list(made)
        trace = made[lacking].trace
        assert trace
        some[lacking] = msgspec.structs.replace(made[lacking], trace=msgspec.structs.replace(trace, values=decoys))
        first = results.job("numpy", side("a", jobs=[some[0]]), side("b", jobs=[some[1]])).result.first_divergence
        assert first
        assert (first.elements, first.differing, first.ulp.max) == (6, None, None)
        assert first.size.reason == (
            "not in the files; to see it, on both: audit run --job numpy --whole-step 1 -o whole.json"
        )


@st.composite
def operators(draw: st.DrawFn) -> tuple[list[Operator], list[Operator]]:
    """Two batteries with operators in common: same or not, failed, of another version, hazards, not repeated."""
    both: tuple[list[Operator], list[Operator]] = ([], [])
    for number in range(draw(st.integers(0, 8))):
        component = draw(st.sampled_from(["blas", "libm", "random"]))
        through = draw(st.lists(st.sampled_from(["libm", "fpu"]), max_size=1))
        for battery in both:
            state = draw(st.sampled_from(["same"] * 4 + ["other", "failed", "version", "hazard", "shaky", "lacking"]))
            result = Observation("01" if state == "other" else "00", "u1", [1], "AQ==")
            made = Operator(
                f"{component}.{number}",
                component,
                2 if state == "version" else 1,
                through,
                hazard=state == "hazard",
                result=None if state == "failed" else result,
                repeats=["07"] if state == "shaky" else None,
                status="failed" if state == "failed" else None,
                reason="SIGSEGV" if state == "failed" else "",
            )
            if state != "lacking":
                battery.append(made)
    return both


def one_by_one(name: str, a: Measured, b: Measured) -> str:
    """What an operator comes to, by the definition."""
    one, two = a.operators.get(name), b.operators.get(name)
    if one is None or two is None:
        return "not compared"
    if one.hazard or two.hazard:
        return "hazard"
    if one.result is None or two.result is None or one.version != two.version:
        return "not compared"
    if one.repeats or two.repeats:
        return "unstable"
    if one.result.digest == two.result.digest:
        return "agreeing"
    shaken = {o.component for s in (a, b) for o in s.operators.values() if o.repeats and not o.hazard}
    return "unstable" if shaken & {one.component, *one.through} else "differing"


@settings(deadline=None, max_examples=400)
@given(operators())
def test_batteries_against_the_definition(case: tuple[list[Operator], list[Operator]]) -> None:
    a, b = (side(label, battery=Battery(2, operators=found)) for label, found in zip("ab", case, strict=True))
    found = results.battery(a, b)
    names = list(dict.fromkeys([*a.operators, *b.operators]))
    came = {state: [name for name in names if one_by_one(name, a, b) == state] for state in STATES}
    assert [one.name for one in found.agreeing] == came["agreeing"]
    assert [one.name for one, _ in found.differing] == came["differing"]
    assert [difference.operator for _, difference in found.differing] == came["differing"]
    assert [words.split(" on ")[0] for words in found.unstable] == came["unstable"]
    assert [one.fact for one in found.not_compared] == [f"operator {name}" for name in came["not compared"]]
    summary = found.summary()
    compared = came["agreeing"] + came["differing"]
    assert (summary.compared, summary.differing) == (len(compared), [difference for _, difference in found.differing])
    assert summary.by_component == {
        component: [sum(name.startswith(component) for name in some) for some in (came["agreeing"], compared)]
        for component in {name.split(".")[0] for name in compared}
    }


STATES = ("agreeing", "differing", "unstable", "not compared", "hazard")


@settings(deadline=None, max_examples=150)
@given(operators())
def test_the_other_way_round_a_battery_comes_to_the_same(case: tuple[list[Operator], list[Operator]]) -> None:
    a, b = (side(label, battery=Battery(2, operators=found)) for label, found in zip("ab", case, strict=True))
    there, back = results.battery(a, b), results.battery(b, a)
    assert {one.name for one in there.agreeing} == {one.name for one in back.agreeing}
    mirrored = {
        difference.operator: (difference.components, difference.digests[::-1]) for _, difference in back.differing
    }
    assert {one.operator: (one.components, one.digests) for _, one in there.differing} == mirrored
    assert {words.split(" on ")[0] for words in there.unstable} == {words.split(" on ")[0] for words in back.unstable}
    assert {one.fact for one in there.not_compared} == {one.fact for one in back.not_compared}
    alone = results.battery(a, a)
    assert alone.differing == []


def test_an_operator_that_differs_is_told_with_its_size_and_both_digests() -> None:
    made = []
    for digest, number in (("x", 1), ("y", 4)):
        result = Observation(digest, "u1", [1], base64.b64encode(bytes([number])).decode())
        made.append(Operator("libm.exp", "libm", through=["fpu"], result=result))
    a, b = (side(label, battery=Battery(1, operators=[one])) for label, one in zip("ab", made, strict=True))
    ((operator, difference),) = results.battery(a, b).differing
    assert operator == made[0]
    assert (difference.operator, difference.components, difference.digests) == ("libm.exp", ["libm", "fpu"], ["x", "y"])
    assert difference.size.ulp.max == 3


def test_why_an_operator_is_not_compared() -> None:
    result = Observation("00", "u1", [1], "AQ==")
    fine, failed = Operator("x.y", "x", result=result), Operator("x.y", "x", status="failed", reason="SIGSEGV")

    def reasons(one: Battery | None, two: Battery | None) -> list[str]:
        return [found.reason for found in results.battery(side("a", battery=one), side("b", battery=two)).not_compared]

    whole = Battery(1, operators=[fine])
    assert reasons(whole, Battery(1, absent={"x": "no x here", "y": "other"})) == ["b does not have it (no x here)"]
    assert reasons(whole, Battery(1)) == reasons(whole, None) == ["b does not have it"]
    assert reasons(None, whole) == ["a does not have it"]
    assert reasons(whole, Battery(1, operators=[failed])) == ["b: failed (SIGSEGV)"]
    assert reasons(Battery(1, operators=[failed]), whole) == ["a: failed (SIGSEGV)"]
    newer = Battery(1, operators=[Operator("x.y", "x", 3, result=result)])
    assert reasons(whole, newer) == ["versions 1 and 3 of it are different computations"]


def test_which_side_does_not_repeat_an_operator() -> None:
    def battery(digest: str, *repeats: str, dot: tuple[str, ...] = (), hazard: bool = False) -> Battery:
        of = [
            Operator(
                "x.y", "x", through=["blas"], result=Observation(digest, "u1", [1], "AQ=="), repeats=[*repeats] or None
            )
        ]
        of.append(Operator("blas.dot", "blas", result=Observation("00"), repeats=[*dot] or None, hazard=hazard))
        return Battery(2, operators=of)

    def unstable(one: Battery, two: Battery) -> list[str]:
        return results.battery(side("a", battery=one), side("b", battery=two)).unstable

    assert unstable(battery("00"), battery("00", "01")) == ["x.y on b"]
    assert unstable(battery("00", "01"), battery("00", "01")) == ["x.y on a"]
    # What passes through a component that a side does not repeat may differ for that reason; what agrees, agrees.
    assert unstable(battery("00"), battery("01", dot=("1",))) == ["x.y on b", "blas.dot on b"]
    assert unstable(battery("00"), battery("00", dot=("1",))) == ["blas.dot on b"]
    assert unstable(battery("00", "02"), battery("01", dot=("1",))) == ["x.y on a", "blas.dot on b"]
    assert unstable(battery("00"), battery("01", dot=("1",), hazard=True)) == []
