"""The python job: gradients, pinned bits, and what Python versions may change."""

from __future__ import annotations

import math
from typing import Any

import pytest

from probes.digest import tensor
from probes.jobs import lists
from probes.jobs import python as job_python
from probes.trace import Trace


def test_first_weights_are_pinned() -> None:
    weights = job_python.first_weights()
    assert len(weights) == 672
    assert tensor(weights).digest().hex() == "0f7932fdca21a209"


def test_gradients_are_those_of_the_loss() -> None:
    trace = Trace()
    trace.begin_step()
    calls = job_python._Calls(trace)
    tokens, answers = job_python._sentences()
    weights = job_python.first_weights()

    def loss(at: list[float]) -> tuple[float, dict[str, Any]]:
        saved: dict[str, Any] = {}
        logits = job_python._forward(calls, calls.cut(at), tokens, saved)
        return job_python._cross_entropy(calls, logits, answers, saved), saved

    _, saved = loss(weights)
    gradients = job_python._backward(calls, calls.cut(weights), tokens, answers, saved)
    start = 0
    for name, count, _ in job_python.PARAMETERS:
        for at in range(0, count, max(1, count // 5)):
            losses = []
            for change in (1e-6, -1e-6):
                moved = list(weights)
                moved[start + at] += change
                losses.append(loss(moved)[0])
            assert gradients[name][at] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-8), name
        start += count


def test_sums_run_from_left_to_right() -> None:
    """As no compensated sum would: the builtin gives 2.0 here since Python 3.12."""
    xs = [1.0, 1e100, 1.0, -1e100]
    assert lists.row_sums(xs, 4) == [0.0]
    assert lists.matmul(xs, [1.0] * 4, 4) == [0.0]
    assert lists.column_sums(xs, 1) == [0.0]
    assert lists.dots(xs, [1.0] * 4, 4) == [0.0]


def test_copies_copy() -> None:
    xs = [float(x) for x in range(12)]
    assert lists.transposed([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3) == [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
    assert lists.swapped(lists.swapped(xs, 2, 3, 1), 3, 2, 1) == xs
    assert lists.swapped(xs, 2, 3, 2) == [0.0, 1.0, 6.0, 7.0, 2.0, 3.0, 8.0, 9.0, 4.0, 5.0, 10.0, 11.0]
    assert lists.last_of(lists.at_last(xs, 4, 3), 4, 3) == xs
    assert lists.part_of(xs, 4, 1, 3) == [1.0, 2.0, 5.0, 6.0, 9.0, 10.0]
    assert lists.repeated([1.0, 2.0], 1, 2) == [1.0, 1.0, 2.0, 2.0]


def test_libm_rows_are_all_that_calls_libm() -> None:
    """No other function of the first part reads `math`, and none uses the operator `**`, which is libm's pow."""
    import ast
    import inspect

    tree = ast.parse(inspect.getsource(lists))
    for function in [node for node in tree.body if isinstance(node, ast.FunctionDef)]:
        uses = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert ("math" in uses) == (function.name in ("exp", "log", "sqrt"))
        assert ("sum" in uses) == (function.name == "mean")
        assert not [node for node in ast.walk(function) if isinstance(node, ast.Pow)]


def test_scale_is_the_root() -> None:
    assert math.isclose(job_python.SCALE, job_python.CHANNELS**-0.5, rel_tol=0)
