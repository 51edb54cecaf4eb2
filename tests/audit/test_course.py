"""What pictures are made of: which tensors differ in which step and how far, and who has which result. All bounded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from audit.compare import agreement, course
from audit.compare.engine import compare
from audit.compare.side import Measured
from probes import trace as recorder
from reports.comparison import Kept, Results, Ulp
from reports.report import Auditor, Battery, Job, Observation, Operator, Outcome, Repeat, Report, Target, Trace

NEXT = 1.0000000000000002
"""One ULP above 1."""


def trace(steps: list[dict[str, float]]) -> Trace:
    """One call a tensor and step, in two phases; by the real recorder."""
    recording = recorder.Trace()
    for values in steps:
        recording.begin_step()
        for name, value in values.items():
            recording.phase("loss" if name == "loss" else "forward")
            recording.call(name, "add f64", ("numpy",), lambda value=value: [value, 2.0])
    return msgspec.convert(recording.record(), Trace)


def job(steps: list[dict[str, float]], losses: list[float] | None = None, **more: Any) -> Job:
    outcome = Outcome(losses=losses or [], loss_last=(losses or [0.0])[-1])
    return Job("numpy", trace=trace(steps), outcome=outcome, runs=2, **more)


def side(label: str, job: Job | None = None, operators: list[Operator] | None = None) -> Measured:
    battery = Battery(runs=2, operators=operators) if operators is not None else None
    target = Target("host", jobs=[job] if job else [], battery=battery)
    return Measured(label, f"{label}.json", Report("audit-report", 1, label, label, "", Auditor(), [target]), target)


EQUAL = [{"x": 1.0, "y": 2.0, "loss": 3.0}] * 3
PARTED = [{"x": 1.0, "y": 2.0, "loss": 3.0}, {"x": NEXT, "y": 2.0, "loss": 3.0}, {"x": NEXT, "y": 5.0, "loss": 3.0}]


def test_every_tensor_is_followed_through_every_step() -> None:
    found = course.course(job(EQUAL, [3.0, 2.0, 1.0]), job(PARTED, [3.0, 2.0, 1.5]), ["a", "b"], 1)
    assert found
    assert (found.labels, found.steps, found.every) == (["a", "b"], 3, 1)
    assert [(one.phase, one.tensor, one.operator, one.cells) for one in found.tensors] == [
        ("forward", "x", "add f64", "=xx"),
        ("forward", "y", "add f64", "==x"),
        ("loss", "loss", "add f64", "==="),
    ]
    assert found.losses == [[3.0, 2.0, 1.0], [3.0, 2.0, 1.5]]


def test_what_was_kept_is_measured_over_the_steps_and_along_the_first_that_differs() -> None:
    found = course.course(job(EQUAL), job(PARTED), ["a", "b"], 0)
    assert found
    # Step 0 is kept whole, later ones with the last row of each phase (y, loss), at steps 1 and 2.
    assert [(one.step, one.tensor) for one in found.along] == [(0, "x"), (0, "y"), (0, "loss")]
    assert {one.fraction for one in found.along} == {0.0}
    assert [(one.step, one.tensor) for one in found.kept] == [(n, name) for n in range(3) for name in ("y", "loss")]
    far = 0x4014_0000_0000_0000 - 0x4000_0000_0000_0000  # the bits of 5.0 and of 2.0
    assert found.kept[-2] == Kept(2, "forward", "y", "add f64", 0.5, Ulp(far, far, far, far))
    assert found.kept[-1] == Kept(2, "loss", "loss", "add f64", 0.0)


def test_where_the_calls_are_no_longer_the_same_the_comparison_ends() -> None:
    other = [{"x": 1.0, "y": 2.0}, {"x": 1.0, "q": 2.0}, {"x": 1.0, "y": 2.0}]
    found = course.course(job([{"x": 1.0, "y": 2.0}] * 3), job(other), ["a", "b"], None)
    assert found
    assert [(one.tensor, one.cells) for one in found.tensors] == [("x", "=="), ("y", "=.")]


def test_a_tensor_that_is_not_in_a_step_leaves_it_empty() -> None:
    steps = [{"x": 1.0, "first": 1.0}, {"x": 1.0}, {"x": 1.0}]
    found = course.course(job(steps), job(steps), ["a", "b"], None)
    assert found
    assert {one.tensor: one.cells for one in found.tensors} == {"x": "===", "first": "=.."}


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in {"MOST_STEPS": 4, "MOST_TENSORS": 2, "MOST_KEPT": 3, "MOST_FOLLOWED": 1}.items():
        monkeypatch.setattr(course, name, most)
    equal = [dict.fromkeys("abcde", 1.0)] * 9
    parted = [dict(one) for one in equal]
    parted[6]["b"] = NEXT
    found = course.course(job(equal, [1.0] * 9), job(parted, [1.0] * 9), ["a", "b"], 0)
    assert found
    assert (found.steps, found.every, found.losses_every) == (9, 3, 3)
    assert [(one.tensor, one.count, one.cells) for one in found.tensors] == [("a", 3, "==x"), ("d", 2, "===")]
    assert [len(losses) for losses in found.losses] == [3, 3]
    assert len(found.along) == 3
    assert {one.tensor for one in found.kept} == {"e"}
    monkeypatch.setattr(course, "MOST_CALLS", 5)
    fewer = course.course(job(equal), job(parted), ["a", "b"], None)
    assert fewer
    assert fewer.every == 9


def operator(name: str, digest: str, **more: Any) -> Operator:
    return Operator(name, name.split(".")[0], result=Observation(digest, "f8", [1]), **more)


def test_equal_letters_are_equal_bits() -> None:
    sides = [
        side("a", job(EQUAL), [operator("libm.exp", "00"), operator("libm.log", "00"), operator("blas.dot", "00")]),
        side("b", job(PARTED), [operator("libm.exp", "11"), operator("libm.log", "00", version=2)]),
        side("c", job(PARTED), [operator("libm.exp", "11"), operator("libm.log", "00", repeats=["22"])]),
        side("d", None, [operator("libm.exp", "22"), operator("blas.dot", "00")]),
    ]
    found = agreement.told(Results("diverged", None, compare(sides[:2]).results.operators), sides)
    assert found.by_group == {
        "libm": {"libm.exp": "0112", "libm.log": "0---"},
        "blas": {"blas.dot": "0--0"},
        "job": {"numpy": "011-"},
    }


def test_a_job_that_is_not_repeated_agrees_with_nothing() -> None:
    shaky = job(EQUAL, repeats=[Repeat("other", 0, 0)])
    a, b = side("a", job(EQUAL)), side("b", shaky)
    found = agreement.told(compare([a, b]).results, [a, b])
    assert found.by_group["job"] == {"numpy": "0-"}


def test_more_groups_than_letters_are_left_out() -> None:
    sides = [side(f"n{n}", None, [operator("libm.exp", f"{n:02}")]) for n in range(agreement.MOST + 4)]
    found = agreement.told(compare(sides[:2]).results, sides)
    (letters,) = found.by_group["libm"].values()
    assert len(letters) == len(set(letters)) == agreement.MOST


def test_the_engine_gives_both() -> None:
    found = compare([side("a", job(EQUAL), []), side("b", job(PARTED), []), side("c", job(EQUAL), [])])
    (result,) = found.results.jobs
    assert result.course
    assert result.course.labels == ["a", "b"]
    assert found.results.by_group == {"job": {"numpy": "01"}}
    same = compare([side("a", job(EQUAL)), side("b", job(EQUAL))])
    assert same.results.jobs[0].course is None
    assert same.results.by_group == {"job": {"numpy": "0"}}
