"""Where two traces part: made-up jobs with known answers, including those of nondeterministic machines."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from audit.compare import results
from audit.compare.engine import compare
from audit.compare.side import Measured
from probes import trace as recorder
from reports.report import Auditor, Battery, Fact, Job, Observation, Operator, Repeat, Report, Target, Trace


def trace(rows: dict[str, list[float]], inputs: dict[str, list[str]], steps: int = 3) -> Trace:
    """A trace of `steps` equal steps with one row a name; made by the real recorder, so its shape is the real one."""
    recording = recorder.Trace()
    for _ in range(steps):
        recording.begin_step()
        recording.phase("forward")
        made: dict[str, list[float]] = {}
        for name, value in rows.items():
            arguments = [made[source] for source in inputs.get(name, [])]
            made[name] = recording.call(name, "add f64", ("numpy",), lambda *_, value=value: list(value), *arguments)
    return msgspec.convert(recording.record(), Trace)


def side(label: str, job: Job | None = None, operators: list[Operator] | None = None, **facts: Any) -> Measured:
    found = {name.replace("__", "."): Fact(value) for name, value in facts.items()}
    battery = Battery(runs=2, operators=operators or []) if operators is not None else None
    target = Target("host", facts=found, jobs=[job] if job else [], battery=battery)
    return Measured(label, f"{label}.json", Report("audit-report", 1, label, label, "", Auditor(), [target]), target)


ROWS = {"x": [1.0, 2.0], "y": [3.0], "z": [5.0, 6.0]}
INPUTS = {"z": ["x", "y"]}


def job(changed: dict[str, list[float]] | None = None, repeats: list[Repeat] | None = None, **more: Any) -> Job:
    return Job("numpy", trace=trace({**ROWS, **(changed or {})}, INPUTS), runs=2, repeats=repeats or [], **more)


def part(a: Job, b: Job) -> results.Parting:
    return results.job("numpy", side("a", a), side("b", b))


def test_equal_traces_are_identical() -> None:
    assert part(job(), job()).result.verdict == "identical"


def test_the_first_row_with_equal_inputs_is_named_and_its_followers_are_not() -> None:
    parting = part(job(), job({"y": [3.0000000000000004], "z": [5.0, 7.0]}))
    first = parting.result.first_divergence
    assert first
    assert (first.step, first.phase, first.tensor, first.components) == (0, "forward", "y", ["numpy"])
    assert (first.elements, first.differing, first.ulp.max) == (1, 1, 1)
    assert [row.tensor for row in parting.rows] == ["y"]


def test_two_independent_partings_of_one_step_are_both_evidence() -> None:
    parting = part(job(), job({"x": [1.0, 3.0], "y": [4.0]}))
    assert [row.tensor for row in parting.rows] == ["x", "y"]


def test_another_configuration_is_not_the_same_job() -> None:
    parting = part(job(configuration="aa"), job(configuration="bb"))
    assert parting.result.verdict == "not-comparable"
    assert "(aa)" in parting.result.reason


@pytest.mark.parametrize(
    ("step", "row", "verdict"), [(0, 0, "nondeterministic"), (0, 1, "nondeterministic"), (0, 2, "diverged")]
)
def test_nondeterminism_masks_what_follows_and_not_what_came_before(step: int, row: int, verdict: str) -> None:
    shaky = job({"y": [9.0]}, repeats=[Repeat("other", step, row)])
    parting = part(job(), shaky)
    assert parting.result.verdict == verdict
    assert "job numpy on b: step 0" in parting.unstable


def test_a_nondeterministic_machine_is_never_blamed_on_its_environment() -> None:
    shaky = job({"y": [9.0]}, repeats=[Repeat("other", 0, 1)])
    comparison = compare([side("a", job(), cpu__model="A"), side("b", shaky, cpu__model="B")])
    assert comparison.results.verdict == "nondeterministic"
    assert comparison.causes == []
    assert comparison.exit == 1


def operator(name: str, digest: str, **more: Any) -> Operator:
    result = Observation(digest, "f8", [1], base64.b64encode(bytes(8)).decode())
    return Operator(name, name.split(".")[0], result=result, **more)


def test_what_one_side_lacks_is_not_compared_and_said() -> None:
    a = side("a", operators=[operator("libm.exp", "00"), operator("libm.log", "00")])
    failed = Operator("libm.log", "libm", status="failed", reason="SIGSEGV")
    b = side("b", operators=[operator("libm.exp", "00"), failed, operator("libm.sin", "00", version=2)])
    found = results.battery(a, b)
    assert [one.name for one in found.agreeing] == ["libm.exp"]
    assert {one.fact: one.reason for one in found.not_compared} == {
        "operator libm.log": "b: failed (SIGSEGV)",
        "operator libm.sin": "a does not have it",
    }


def test_another_version_of_an_operator_is_another_computation() -> None:
    a = side("a", operators=[operator("libm.exp", "00")])
    b = side("b", operators=[operator("libm.exp", "01", version=2)])
    assert results.battery(a, b).differing == []
    assert "different computations" in results.battery(a, b).not_compared[0].reason


def test_a_hazard_is_neither_a_divergence_nor_nondeterminism() -> None:
    shaky = operator("ordering.listing", "00", hazard=True, repeats=["01"])
    a = side("a", operators=[shaky, operator("libm.exp", "00")])
    b = side("b", operators=[operator("ordering.listing", "02", hazard=True), operator("libm.exp", "00")])
    comparison = compare([a, b])
    assert comparison.results.verdict == "identical"
    assert comparison.exit == 0
    assert [hazard.name for hazard in comparison.hazards] == ["listing order"]


def test_comparing_nothing_is_never_a_pass() -> None:
    comparison = compare([side("a"), side("b")])
    assert (comparison.results.verdict, comparison.verdict, comparison.exit) == ("not-measured", "not-comparable", 3)


def test_one_side_without_results_is_not_comparable() -> None:
    comparison = compare([side("a", job(), os__name="Linux"), side("b", os__name="Linux")])
    assert comparison.results.verdict == "not-comparable"
    assert comparison.exit == 3
    assert [one.fact for one in comparison.environment.not_compared] == ["results", "job numpy"]


def test_facts_alone_can_be_compared() -> None:
    same = compare([side("a", os__name="Linux"), side("b", os__name="Linux")])
    assert (same.results.verdict, same.verdict, same.exit) == ("not-measured", "same", 0)
    other = compare([side("a", cpu__model="A"), side("b", cpu__model="B")])
    assert (other.verdict, other.exit) == ("differs", 1)
    assert compare([side("a", cpu__model="A"), side("b", cpu__model="B")], "results").exit == 3


def test_identity_and_volatile_facts_never_count() -> None:
    a = side("a", time__zone="UTC", time__load=[1.0], os__name="Linux")
    b = side("b", time__zone="JST", time__load=[2.0], os__name="Linux")
    comparison = compare([a, b], "any")
    assert len(comparison.environment.differences) == 2
    assert comparison.exit == 0


def test_a_fact_that_the_other_auditor_did_not_know_is_not_a_difference() -> None:
    comparison = compare([side("a", os__name="Linux", cpu__model="A"), side("b", os__name="Linux", new__fact=1)])
    assert comparison.environment.differences == []
    assert {one.fact for one in comparison.environment.not_compared} == {"cpu.model", "new.fact"}


def test_several_machines_are_grouped_and_the_largest_group_is_the_reference() -> None:
    odd = job({"y": [4.0]})
    comparison = compare([side("odd", odd), side("b", job()), side("c", job())])
    assert [group.labels for group in comparison.groups] == [["b", "c"], ["odd"]]
    assert comparison.groups[0].first_divergence is None
    first = comparison.groups[1].first_divergence
    assert first
    assert first.tensor == "y"
    assert first.labels == ["b", "odd"]


def test_a_report_without_results_hides_no_divergence_of_others() -> None:
    odd = job({"y": [4.0]})
    bare = {"os__name": "Linux"}
    for order in ("abc", "acb", "cab", "bca"):
        made = {"a": side("a", job(), **bare), "b": side("b", odd, **bare), "c": side("c", **bare)}
        comparison = compare([made[name] for name in order])
        assert comparison.results.verdict == "diverged", order
        assert sorted(label for group in comparison.groups for label in group.labels) == ["a", "b"]
        assert comparison.environment.not_compared[0].reason.startswith("c has none")


def test_with_several_groups_a_job_is_as_good_as_its_worst_pair() -> None:
    equal = [operator("libm.exp", "00")]
    moved = [operator("libm.exp", "01")]
    a, b = side("a", job(), equal), side("b", job(), equal)
    c, d = side("c", job(), moved), side("d", job({"y": [4.0]}), equal)
    comparison = compare([a, b, c, d])
    assert [group.labels for group in comparison.groups] == [["a", "b"], ["c"], ["d"]]
    assert [one.verdict for one in comparison.results.jobs] == ["diverged"]
    assert comparison.results.operators.by_component == {"libm": [0, 1]}
    assert comparison.ruled_out == []


def test_what_passes_through_an_unsteady_component_is_masked() -> None:
    shaky = [operator("blas.dot", "00", repeats=["01"]), operator("random.normal", "05", through=["blas"])]
    steady = [operator("blas.dot", "00"), operator("random.normal", "04", through=["blas"])]
    comparison = compare([side("a", operators=steady), side("m", operators=shaky)])
    assert comparison.results.verdict == "nondeterministic"
    assert comparison.causes == []


def test_other_calls_are_not_nondeterminism() -> None:
    shorter = Job("numpy", trace=trace(ROWS, INPUTS, steps=2), runs=2)
    comparison = compare([side("a", job()), side("b", shorter)])
    assert comparison.results.jobs[0].verdict == "not-comparable"
    assert "3 and 2 steps" in comparison.results.jobs[0].reason
    assert comparison.exit == 3


def test_a_list_that_could_not_be_read_is_no_list_of_nothing() -> None:
    numpy = {"packages__numpy__version": "2.4.6"}
    listed = side("a", **numpy, packages__count=1)
    unread = side("b", os__name="Linux")
    assert compare([listed, unread]).environment.differences == []
    gone = side("c", packages__count=0)
    assert [one.fact for one in compare([listed, gone]).environment.differences if "numpy" in one.fact] == [
        "packages.numpy.version"
    ]


def test_a_job_that_one_side_lacks_makes_the_comparison_incomplete() -> None:
    both = [operator("libm.exp", "00")]
    comparison = compare([side("a", job(), both), side("b", None, both)])
    assert (comparison.results.verdict, comparison.verdict, comparison.exit) == ("identical", "incomplete", 3)


def test_an_amplifier_is_not_the_cause() -> None:
    """A last digit that flips a comparison, and with it everything: laid at the digit, not at the flip, however large
    what follows is and in whatever step it shows."""
    inputs = {"chosen": ["score"], "moved": ["chosen"]}

    def run(score: float, flips_at: int) -> Job:
        recording = recorder.Trace()
        for step in range(3):
            recording.begin_step()
            recording.phase("forward")
            chosen = 1.0 if step >= flips_at and score > 0.5 else 0.0
            values = {"score": score, "chosen": chosen, "moved": 1e6 * chosen}
            made: dict[str, list[float]] = {}
            for name, value in values.items():
                arguments = [made[source] for source in inputs.get(name, [])]
                components = ("blas",) if name == "score" else ("numpy",)
                made[name] = recording.call(
                    name, f"{name} f64", components, lambda *_, value=value: [value], *arguments
                )
        return Job("numpy", trace=msgspec.convert(recording.record(), Trace), runs=2)

    for flips_at in (0, 2):
        one = side("a", run(0.5, flips_at), blas__kernel="SkylakeX", numpy__simd_found=["X86_V4"])
        two = side("b", run(0.5000000000000001, flips_at), blas__kernel="Haswell", numpy__simd_found=["X86_V3"])
        comparison = compare([one, two])
        first = comparison.results.first_divergence
        assert first
        assert (first.step, first.tensor, first.components, first.ulp.max) == (0, "score", ["blas"], 1)
        assert {name for cause in comparison.causes for name in cause.components} == {"blas"}
