"""What holds for every reference job."""

from __future__ import annotations

import json
from typing import Any

import numpy
import pytest
from job_traces import Perturbed, Record, origins, rows, run

from probes import jobs
from probes.digest import tensor
from probes.facts import Absent
from probes.sketch import observe
from probes.trace import Trace


def test_it_learns(ran: tuple[Record, Record]) -> None:
    record, outcome = ran
    assert outcome["loss_last"] < 0.05
    assert outcome["correct"] == outcome["examples"]
    assert outcome["learned"] is True
    assert outcome["loss_first"] > 1
    assert len(outcome["losses"]) == record["steps"]
    assert all(type(loss) is float for loss in outcome["losses"])


def test_it_repeats(name: str, ran: tuple[Record, Record]) -> None:
    assert run(jobs.load(name))[0] == ran[0]


def test_its_rows_say_enough(ran: tuple[Record, Record]) -> None:
    record, _ = ran
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


def test_every_result_is_used(ran: tuple[Record, Record]) -> None:
    """A row whose output goes nowhere would hide a lost input: only loss, logits and state end a step."""
    record, _ = ran
    steps = [rows(record, 1), rows(record, 2)]
    used = {row for definition, _ in steps[0] for row in definition["inputs"] if row >= 0}
    used |= {-row - 1 for definition, _ in steps[1] for row in definition["inputs"] if row < 0}
    unused = {definition["tensor"] for at, (definition, _) in enumerate(steps[0]) if at not in used}
    assert unused == {"loss"}


def test_no_value_is_denormal_or_infinite(name: str) -> None:
    """Flush-to-zero must not change a job: the fpu is a component of its own."""

    class Checked(Trace):
        def call(
            self, name: str, operator: str, components: Any, function: Any, *arguments: Any, **options: Any
        ) -> Any:
            result = super().call(name, operator, components, function, *arguments, **options)
            bits = tensor(result)
            sizes = numpy.abs(numpy.frombuffer(bits.data, bits.dtype))
            assert numpy.isfinite(sizes).all(), name
            assert sizes[sizes > 0].min(initial=1) > 1e4 * numpy.finfo(bits.dtype).tiny, name
            return result

    run(jobs.load(name), Checked())


@pytest.mark.parametrize(
    "target",
    [(0, "forward", "embed.sum"), (1, "backward", "block0.ffn.w1"), (3, "loss", "exp"), (7, "update", "weights")],
)
def test_one_perturbed_call_is_found(
    name: str, ran: tuple[Record, Record], target: tuple[int, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"probes.jobs.{name}.STEPS", 10)
    perturbed, _ = run(jobs.load(name), Perturbed(*target))
    assert origins(perturbed, ran[0]) == [target]


def test_size(name: str, ran: tuple[Record, Record]) -> None:
    size = len(json.dumps(ran[0], separators=(",", ":")))
    assert size < {"numpy": 560_000, "python": 330_000}[name]  # both together below 1 MB


def test_progress_ends_at_the_last_step(name: str, ran: tuple[Record, Record]) -> None:
    seen: list[tuple[int, int]] = []
    jobs.load(name).run(Trace(), lambda done, steps: seen.append((done, steps)))
    assert seen[-1] == (ran[0]["steps"], ran[0]["steps"])
    assert 5 <= len(seen) <= 20


def test_operators_are_the_calls(name: str, ran: tuple[Record, Record]) -> None:
    operators = _operators(name)
    names = [operator.name for operator in operators]
    assert len(set(names)) == len(names)
    calls = {f"{name}_job.{row['phase']}.{row['tensor']}": row for row, _ in rows(ran[0], 0)}
    for operator in operators:
        row = calls[operator.name]
        assert [operator.component, *operator.through] == row["components"]
        seen = observe(tensor(operator.function()))
        assert (seen["dtype"], seen["shape"]) == (row["dtype"], row["shape"])
    kinds = {(row["operator"], tuple(row["shape"])) for row, _ in rows(ran[0], 0) if row["components"]}
    assert kinds == {(calls[key]["operator"], tuple(calls[key]["shape"])) for key in names}


def test_operators_do_not_depend_on_each_other(name: str) -> None:
    forward = {operator.name: tensor(operator.function()).digest() for operator in _operators(name)}
    backward = {operator.name: tensor(operator.function()).digest() for operator in reversed(_operators(name))}
    assert forward == backward


def test_operators_stay_among_ordinary_numbers(name: str) -> None:
    for operator in _operators(name):
        bits = tensor(operator.function())
        sizes = numpy.abs(numpy.frombuffer(bits.data, bits.dtype))
        assert numpy.isfinite(sizes).all(), operator.name
        assert sizes[sizes > 0].min() > 1e-20, operator.name
        assert sizes.max() < 1e6, operator.name


def _operators(name: str) -> Any:
    import importlib

    return importlib.import_module(f"probes.jobs.{name}").operators()


def test_configuration_has_a_digest() -> None:
    digests = {jobs.configuration_digest(jobs.load(name)) for name in jobs.NAMES}
    assert len(digests) == len(jobs.NAMES)
    job = jobs.load("python")
    other = job._replace(configuration={**job.configuration, "rate": 0.03})
    assert jobs.configuration_digest(other) != jobs.configuration_digest(job)


def test_an_unknown_job_is_absent() -> None:
    with pytest.raises(Absent, match="no job keras"):
        jobs.load("keras")
