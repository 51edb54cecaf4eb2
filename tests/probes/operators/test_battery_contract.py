"""What holds for every operator file: names, labels, order, no traces left, and the standard library alone."""

from __future__ import annotations

import importlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from probes.digest import tensor
from probes.facts import Absent
from probes.operators import COMPONENTS, FRAMEWORKS, Operator

WITHOUT_NUMPY = ("python", "ordering", "libm", "fpu", "random")
BASIC = [component for component in COMPONENTS if component not in FRAMEWORKS]
"""Those of frameworks have their own tests, in an environment with these."""


def operators(component: str) -> list[Operator]:
    return list(importlib.import_module("probes.operators." + component).operators())


@pytest.fixture(scope="module")
def everything() -> list[Operator]:
    return [operator for component in BASIC for operator in operators(component)]


def test_names_are_unique_and_start_with_the_component(everything: list[Operator]) -> None:
    assert not [name for name, times in Counter(operator.name for operator in everything).items() if times > 1]
    assert all(operator.name.startswith(operator.component + ".") for operator in everything)


def test_labels_are_components(everything: list[Operator]) -> None:
    assert {operator.component for operator in everything} == set(BASIC)
    for operator in everything:
        assert set(operator.through) <= set(COMPONENTS) - {operator.component}
        assert not (operator.control and (operator.hazard or operator.threaded or operator.wide))
        assert not operator.wide or operator.component == "fpu"


def test_every_component_has_enough_of_them(everything: list[Operator]) -> None:
    counts = Counter(operator.component for operator in everything)
    assert sum(counts.values()) >= 150
    assert min(counts.values()) >= 10


def test_a_second_run_in_the_process_gives_the_same_bits(everything: list[Operator]) -> None:
    """So no operator changes an input that another shares, or a global generator."""
    calm = [operator for operator in everything if not operator.hazard]
    first = [tensor(operator.function()).digest() for operator in calm]
    again = [tensor(operator.function()).digest() for operator in reversed(calm)]
    assert first == again[::-1]


def test_global_state_is_left_alone(everything: list[Operator]) -> None:
    import numpy

    python, legacy = random.getstate(), numpy.random.get_state()[1].tolist()
    folder, files = os.getcwd(), set(Path(tempfile.gettempdir()).glob("audit-*"))
    for operator in everything:
        operator.function()
    assert random.getstate() == python
    assert numpy.random.get_state()[1].tolist() == legacy
    assert os.getcwd() == folder
    assert set(Path(tempfile.gettempdir()).glob("audit-*")) <= files


def test_operators_raise_absent_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    for component in BASIC:
        if component in WITHOUT_NUMPY:
            found = operators(component)
            assert len(found) >= 10
            for operator in found:
                tensor(operator.function())
        else:
            with pytest.raises(Absent, match="numpy is not installed"):
                operators(component)


def test_nothing_subnormal_comes_out_of_other_components(everything: list[Operator]) -> None:
    """Else flush-to-zero would move them: see fpu.py."""
    import numpy

    for operator in everything:
        if operator.component == "fpu":
            continue
        result = numpy.asarray(operator.function())
        if result.dtype.kind == "c":
            result = numpy.stack([result.real, result.imag])
        if result.dtype.kind == "f":
            small = numpy.abs(result)
            assert not ((small > 0) & (small < numpy.finfo(result.dtype).tiny)).any(), operator.name


def test_the_battery_is_quick(everything: list[Operator]) -> None:
    """A guard against an accident, far above the product's limit: benchmarks/ measures that one."""
    start = time.perf_counter()
    for operator in everything:
        operator.function()
    assert time.perf_counter() - start < 3
