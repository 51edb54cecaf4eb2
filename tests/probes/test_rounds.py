"""Rounds with other inputs, answers that are known, and the process that asks a worker on each core."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest

from audit.targets.prefix import PrefixTarget
from probes import battery, digest, inputs, known, screen, sketch, units
from probes.environment.limits import ranges
from probes.operators import libm, python
from probes.session import Record

CORES = sorted(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def _first_round() -> Any:
    yield
    inputs.begin_round(0)


def seen(operator: Any) -> Record:
    return sketch.observe(digest.tensor(operator.function()))


def asked(**changes: Any) -> list[Record]:
    """The records of a real child."""
    request = {
        "work": "screen",
        "device": "cpu",
        "cores": None,
        "rounds": 1,
        "first": 0,
        "job": "operators",
        "seconds": 30.0,
    }
    return list(PrefixTarget([], sys.executable).launch({**request, "at_once": None, **changes}))


def of(kind: str, records: list[Record]) -> list[Any]:
    return [record[kind] for record in records if kind in record]


# Rounds


def test_another_round_has_other_inputs_and_round_0_those_of_a_report() -> None:
    first = inputs.integers("x", 2)
    assert first == [0x338262D8F096398F, 0xCEFB9C22CF519144]
    inputs.begin_round(7)
    assert not set(inputs.integers("x", 20)) & set(first)
    assert inputs.array("x", 2, "float64").tolist() == inputs.uniform("x", 2, 53)
    inputs.begin_round(0)
    assert inputs.integers("x", 2) == first


def test_what_is_kept_of_inputs_is_forgotten_with_the_round() -> None:
    chosen = [
        next(one for one in operators if one.name == name)
        for operators, name in ((libm.operators(), "libm.exp"), (python.operators(), "python.sum.f64"))
    ]
    load = [one for one, _ in battery.load({}, lambda name: False) if one.name.startswith(("numpy.exp", "numpy_job"))]
    assert len(load) > 20
    before = [seen(one)["digest"] for one in (*chosen, *load)]
    inputs.begin_round(1)
    other = [seen(one)["digest"] for one in (*chosen, *load)]
    inputs.begin_round(0)
    assert [seen(one)["digest"] for one in (*chosen, *load)] == before
    assert sum(map(str.__ne__, before, other)) > 0.9 * len(before)


# Known answers


@pytest.mark.parametrize("number", [0, 1, 12345])
def test_this_machine_is_right_where_that_is_known(number: int) -> None:
    inputs.begin_round(number)
    for operator in known.operators():
        assert known.is_right(seen(operator)), operator.name


@pytest.mark.parametrize("bit", [0, 3, 51, 63])
@pytest.mark.parametrize("name", ["exp", "log", "sin", "sqrt"])
def test_a_flipped_bit_is_not_right(name: str, bit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the last bit: in some results, as anything within one unit in the last place is right."""
    right = getattr(math, name)

    def flipped(x: float) -> float:
        return float((numpy.float64(right(x)).view("uint64") ^ numpy.uint64(1 << bit)).view("float64"))

    functions = {one: getattr(math, one) for one in dir(math) if not one.startswith("_")}
    monkeypatch.setattr(known, "math", SimpleNamespace(**{**functions, name: flipped}))
    given = {operator.name: known.is_right(seen(operator)) for operator in known.operators()}
    assert [one for one, right in given.items() if not right] == [f"known.{name}"]


# The process that asks


def test_every_core_gives_the_same_and_is_asked_in_every_round() -> None:
    records = asked(rounds=2, first=5)
    (about,) = of("screen", records)
    assert about["cores"] == CORES
    rounds = of("round", records)
    assert [(one["number"], one["again"], one["cores"]) for one in rounds] == [(5, 0, CORES), (6, 0, CORES)]
    for one in rounds:
        assert one["operators"] > 400
        assert not any(one[part] for part in ("digests", "values", "wrong", "died", "silent"))


def test_cores_are_taken_in_turn_where_not_all_fit() -> None:
    records = asked(at_once=1, job="python", cores=CORES[:2])
    (about,) = of("screen", records)
    assert (about["at_once"], about["job"]) == (1, "python")
    assert [one["cores"] for one in of("round", records)] == [CORES[:2]]


def test_a_job_that_is_not_there_is_said_by_every_core() -> None:
    (one,) = of("round", asked(job="jax", seconds=8.0, cores=CORES[:1]))[:1] or [None]
    if not one or one["cores"]:
        pytest.skip("this Python has jax")
    assert one["died"][str(CORES[0])][1] == "its imports"


def test_cores_that_are_not_allowed_are_refused() -> None:
    records = asked(cores=[*CORES, 4000])
    assert of("refused", records) == [f"core 4000 may not be used here; allowed: {ranges(CORES)}"]
    assert not of("round", records)


def test_a_system_that_cannot_pin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS and Windows are."""
    monkeypatch.delattr(os, "sched_setaffinity")
    records: list[Record] = []
    screen.run({"device": "cpu", "cores": None, "seconds": 1.0}, records.append, lambda name, emit: True)
    assert of("refused", records) == ["this system cannot pin a process to a core; audit screen needs Linux"]


def test_cores_of_several_kinds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a telephone: the small ones would be called wrong."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr(units, "text", lambda path: "small" if "cpu3" in path else "large")
    records: list[Record] = []
    screen.run({"device": "cpu", "cores": None, "seconds": 1.0}, records.append, lambda name, emit: True)
    (words,) = of("refused", records)
    assert words.startswith("cores 0-2 and 3 are of different kinds, ")
    assert words.endswith("name one with --cores")


def test_an_operator_that_kills_every_process_is_left_out(tmp_path: Path) -> None:
    """Of a broken library, or under an emulator: no core's fault."""
    (tmp_path / "sitecustomize.py").write_text("import math, os\nmath.gamma = lambda x: os.abort()\n")
    request = {
        "work": "screen",
        "device": "cpu",
        "cores": None,
        "rounds": 1,
        "first": 0,
        "job": "operators",
        "seconds": 30.0,
    }
    target = PrefixTarget(["env", f"PYTHONPATH={tmp_path}"], sys.executable)
    records = list(target.launch({**request, "at_once": None}))
    (about,) = of("screen", records)
    assert about["absent"]["python.math.gamma"] == "SIGABRT on every core"
    (one,) = of("round", records)
    assert (one["cores"], one["died"]) == (CORES, {})
