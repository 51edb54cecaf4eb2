"""What holds for every reference job."""

from __future__ import annotations

import json

import numpy
import pytest
from job_traces import TARGETS, Record, rows

from probes import jobs
from probes.facts import Absent


def test_it_learns(looked: Record) -> None:
    outcome = looked["outcome"]
    assert outcome["loss_last"] < 0.05
    assert outcome["correct"] == outcome["examples"]
    assert outcome["learned"] is True
    assert outcome["loss_first"] > 1
    assert len(outcome["losses"]) == looked["record"]["steps"]
    assert all(type(loss) is float for loss in outcome["losses"])


def test_it_repeats(looked: Record) -> None:
    assert looked["repeats"]


def test_its_rows_say_enough(looked: Record) -> None:
    record = looked["record"]
    assert record["phases"] == ["data", "forward", "loss", "backward", "update"]
    names = [(row["phase"], row["tensor"]) for row, _ in rows(record, 1)]
    assert len(set(names)) == len(names)
    for row in record["rows"]:
        if row["phase"] == "data":
            assert row["components"] == []
        else:
            assert row["components"]
            assert row["inputs"], row["tensor"]
    assert list(record["sequence"]) == ["0"]


def test_every_result_is_used(looked: Record) -> None:
    """A row whose output goes nowhere would hide a lost input: only loss, logits and state end a step."""
    steps = [rows(looked["record"], 1), rows(looked["record"], 2)]
    used = {row for definition, _ in steps[0] for row in definition["inputs"] if row >= 0}
    used |= {-row - 1 for definition, _ in steps[1] for row in definition["inputs"] if row < 0}
    unused = {definition["tensor"] for at, (definition, _) in enumerate(steps[0]) if at not in used}
    assert unused == {"loss"}


def test_no_value_is_denormal_or_infinite(looked: Record) -> None:
    """Flush-to-zero must not change a job: the fpu is a component of its own."""
    types = {row["tensor"]: row["dtype"] for row in looked["record"]["rows"]}
    assert looked["sizes"]
    for name, (smallest, largest) in looked["sizes"].items():
        assert largest < numpy.inf, name
        assert smallest > 1e4 * numpy.finfo(types[name]).tiny, name


def test_one_perturbed_call_is_found(name: str, looked: Record) -> None:
    assert looked["origins"] == [[list(target)] for target in TARGETS[name]]


def test_size(name: str, looked: Record) -> None:
    size = len(json.dumps(looked["record"], separators=(",", ":")))
    assert size < {"numpy": 560_000, "python": 330_000, "torch": 300_000, "jax": 300_000}[name]


def test_progress_ends_at_the_last_step(looked: Record) -> None:
    seen = [done for done, steps in looked["progress"] if done and steps == looked["record"]["steps"]]
    assert seen[-1] == looked["record"]["steps"]
    assert 5 <= len(seen) <= 20


def test_operators_are_the_calls(name: str, looked: Record) -> None:
    operators = {operator["name"]: operator for operator in looked["operators"]}
    assert len(operators) == len(looked["operators"])
    calls = {f"{name}_job.{row['phase']}.{row['tensor']}": row for row, _ in rows(looked["record"], 0)}
    for called, operator in operators.items():
        assert operator["components"] == calls[called]["components"]
        assert (operator["dtype"], operator["shape"]) == (calls[called]["dtype"], calls[called]["shape"])
    kinds = {(row["operator"], tuple(row["shape"])) for row in calls.values() if row["components"]}
    assert kinds == {(calls[called]["operator"], tuple(calls[called]["shape"])) for called in operators}


def test_operators_do_not_depend_on_each_other(looked: Record) -> None:
    assert {operator["name"]: operator["digest"] for operator in looked["operators"]} == looked["again"]


def test_operators_stay_among_ordinary_numbers(looked: Record) -> None:
    for operator in looked["operators"]:
        smallest, largest = operator["sizes"]
        assert smallest > 1e-20, operator["name"]
        assert largest < 1e6, operator["name"]


def test_configuration_has_a_digest() -> None:
    digests = {jobs.configuration_digest(jobs.load(name)) for name in ("python", "numpy")}
    assert len(digests) == 2
    job = jobs.load("python")
    other = job._replace(configuration={**job.configuration, "rate": 0.03})
    assert jobs.configuration_digest(other) != jobs.configuration_digest(job)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("keras", "no job keras"),
        ("torch-tpu", "no job torch-tpu"),
        ("torch", "torch is not installed"),
        ("torch-cuda", "torch is not installed"),
        ("jax", "jax is not installed"),
    ],
)
def test_a_job_that_is_not_here_is_absent(name: str, reason: str) -> None:
    with pytest.raises(Absent, match=reason):
        jobs.load(name)
