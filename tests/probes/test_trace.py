"""The trace: structure, lineage, digests, and what it keeps."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy
import pytest

from probes.digest import tensor
from probes.trace import Trace

NUMPY = ("numpy",)


def small_job(trace: Trace, steps: int = 3) -> Trace:
    weights = numpy.arange(300, dtype="f4")
    batch = numpy.ones(300, dtype="f4")
    for _ in range(steps):
        trace.begin_step()
        trace.phase("data")
        trace.constant("batch", batch)
        trace.constant("weights", weights)
        trace.phase("forward")
        product = trace.call("product", "multiply f32", NUMPY, numpy.multiply, weights.reshape(3, 100)[1], batch[:100])
        copied = trace.moved(numpy.concatenate([product, product]), product)
        trace.phase("update")
        total = trace.call("total", "sum f32", NUMPY, numpy.sum, copied)
        weights = trace.call("weights", "add f32", NUMPY, numpy.add, weights, total)
    return trace


def digests(record: dict[str, Any], step: int) -> list[bytes]:
    data = base64.b64decode(record["digests"][step])
    return [data[at : at + 8] for at in range(0, len(data), 8)]


def test_rows_stand_once_and_say_where_inputs_came_from() -> None:
    record = small_job(Trace()).record()
    rows = record["rows"]
    assert record["steps"] == 3
    assert record["phases"] == ["data", "forward", "update"]
    assert [row["tensor"] for row in rows] == ["batch", "weights", "product", "total", "weights", "batch", "weights"]
    # The usual step: batch and weights are the rows 0 and 4 of the step before; views and copies lead to their source.
    assert [row["inputs"] for row in rows] == [[-1], [-5], [1, 0], [2], [1, 3], [], []]
    assert record["sequence"] == {"0": [5, 6, 2, 3, 4]}
    assert rows[2] == {
        "phase": "forward",
        "tensor": "product",
        "operator": "multiply f32",
        "components": ["numpy"],
        "inputs": [1, 0],
        "dtype": "f4",
        "shape": [100],
    }


def test_digests_are_those_of_the_tensors() -> None:
    record = small_job(Trace()).record()
    assert [len(digests(record, step)) for step in range(3)] == [5, 5, 5]
    assert digests(record, 0)[1] == tensor(numpy.arange(300, dtype="f4")).digest()
    assert digests(record, 1)[1] == digests(record, 0)[4]  # the weights that step 0 gave


def test_the_tree_shows_step_and_phase_that_differ() -> None:
    class Other(Trace):
        def call(self, name: str, operator: str, components: Any, function: Any, *arguments: Any) -> Any:
            if name == "total" and len(self._steps) == 2:
                return super().call(name, operator, components, lambda xs: numpy.sum(xs) + 1, *arguments)
            return super().call(name, operator, components, function, *arguments)

    one, two = small_job(Trace()).record(), small_job(Other()).record()
    assert one["digest"] != two["digest"]
    differing = [
        [mine[at : at + 16] != its[at : at + 16] for at in range(0, len(mine), 16)]
        for mine, its in zip(one["tree"], two["tree"], strict=True)
    ]  # the step, then data, forward, update
    assert differing == [[False] * 4, [True, False, False, True], [True, True, True, True]]


def test_a_step_of_another_structure() -> None:
    trace = small_job(Trace())
    trace.begin_step()
    trace.phase("extra")
    trace.call("only", "zeros f32", NUMPY, numpy.zeros, 3)
    record = trace.record()
    assert record["sequence"]["3"] == [7]
    assert len(record["tree"][0]) == 16 * 5


def test_values_kept() -> None:
    record = small_job(Trace(whole_step=5), steps=6).record()
    kept: dict[int, list[int]] = {}
    for value in record["values"]:
        kept.setdefault(value["step"], []).append(value["row"])
    assert kept == {0: [0, 1, 2, 3, 4], 1: [2, 4], 2: [2, 4], 4: [2, 4], 5: [0, 1, 2, 3, 4]}
    sketched = [value["step"] for value in record["values"] if "sketch" in value]
    assert 5 not in sketched
    assert 0 in sketched
    whole = next(value for value in record["values"] if value["step"] == 5 and value["row"] == 4)
    assert len(base64.b64decode(whole["values"])) == 1200


def test_values_stand_for_the_digests() -> None:
    record = small_job(Trace(), steps=3).record()
    for value in record["values"]:
        assert bytes.fromhex(value["digest"]) == digests(record, value["step"])[value["row"]]


def test_plain_lists_and_json() -> None:
    trace = Trace()
    trace.begin_step()
    trace.phase("forward")
    first = trace.call("first", "list", ("python",), list, (1.0, 2.0))
    trace.call("second", "sum", ("python",), sum, first)
    record = trace.record()
    assert json.loads(json.dumps(record)) == record
    assert record["rows"][1]["inputs"] == [0]
    assert record["rows"][1]["shape"] == []


def test_nothing_recorded() -> None:
    assert Trace().record()["steps"] == 0


def test_what_has_no_bits_is_refused() -> None:
    trace = Trace()
    trace.begin_step()
    with pytest.raises(TypeError, match="no bits"):
        trace.call("dict", "dict", ("python",), dict)


def test_a_result_that_is_a_view_leads_to_its_row() -> None:
    trace = Trace()
    trace.begin_step()
    trace.phase("forward")
    view = trace.call("view", "arange f32", NUMPY, lambda: numpy.arange(6.0).reshape(2, 3))
    trace.call("sum", "sum f32", NUMPY, numpy.sum, view[0])
    assert trace.record()["rows"][1]["inputs"] == [0]
