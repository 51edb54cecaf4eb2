"""The size of a divergence: exact where all values are there, estimated and said so where not, never invented."""

from __future__ import annotations

import base64
import math
import struct

import pytest

from audit.compare import ulp
from audit.compare.size import measure
from probes.digest import Tensor
from probes.sketch import observe
from reports.report import Observation


def observed(values: list[float], dtype: str = "f8", shape: list[int] | None = None) -> Observation:
    code = {"f8": "d", "f4": "f", "c8": "f", "c16": "d"}[dtype]
    data = struct.pack(f"<{len(values)}{code}", *values)
    parts = 2 if dtype.startswith("c") else 1
    seen = observe(Tensor(dtype, tuple(shape or [len(values) // parts]), data))
    return Observation(**seen)


def moved(values: list[float], places: list[int]) -> list[float]:
    return [math.nextafter(value, 9) if i in places else value for i, value in enumerate(values)]


def test_small_tensors_are_measured_whole() -> None:
    a = [1.0, 2.0, 4.0]
    size = measure(observed(a), observed([1.0, 2.0000000000000004, 8.0]))
    assert (size.elements, size.differing, size.seen) == (3, 2, 3)
    assert (size.ulp.p50, size.ulp.max, size.ulp.at_largest) == (1, 1 << 52, 1 << 52)
    assert size.example
    assert size.example.index == [1]
    assert size.example.bits == ["0x4000000000000000", "0x4000000000000001"]
    assert size.smallest_rtol == 1.0


def test_few_differences_of_a_large_tensor_are_recovered_exactly() -> None:
    a = [1.0 + i for i in range(4000)]
    size = measure(observed(a, shape=[40, 100]), observed(moved(a, [3, 17, 3999]), shape=[40, 100]))
    assert (size.differing, size.ulp.max, size.reason) == (3, 1, "")
    assert size.fraction == 3 / 4000


def test_many_differences_are_estimated_and_said_to_be() -> None:
    a = [1.0 + i for i in range(4000)]
    size = measure(observed(a), observed(moved(a, list(range(2000)))))
    assert size.differing is None
    assert size.fraction == pytest.approx(0.5, abs=0.01)
    assert "estimated from 256 of 4,000 elements" in size.reason
    assert size.ulp_norm == pytest.approx(math.sqrt(2000), rel=0.5)


def test_a_complex_element_is_one_element() -> None:
    a = [float(i) for i in range(1, 8001)]
    size = measure(observed(a, "c16"), observed(moved(a, list(range(0, 8000, 2))), "c16"))
    assert (size.elements, size.fraction) == (4000, 1.0)


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        (math.nan, 1.0, (1, 0, 0)),
        (math.inf, 1.0, (0, 1, 0)),
        (0.0, -0.0, (0, 0, 1)),
    ],
)
def test_what_has_no_distance_is_counted_apart(a: float, b: float, apart: tuple[int, int, int]) -> None:
    size = measure(observed([5.0, a]), observed([5.0, b]))
    assert (size.nan, size.infinite, size.signed_zero) == apart
    assert size.ulp.max is None
    assert size.differing == 1


def test_other_shapes_types_and_damaged_values_have_no_size_and_a_reason() -> None:
    assert "different kinds of result" in measure(observed([1.0]), observed([1.0, 2.0])).reason
    assert "no values" in measure(Observation("0", "f8", [1]), observed([1.0])).reason
    damaged = Observation("0", "f8", [1], values="!!")
    assert "cannot be read" in measure(damaged, observed([1.0])).reason
    short = Observation("0", "f8", [1], values=base64.b64encode(b"abc").decode())
    assert "cannot be read" in measure(short, short).reason


def test_places_count_the_floats_between() -> None:
    def place(value: float) -> int | None:
        return ulp.elements("f8", struct.pack("<d", value))[0].place

    assert place(0.0) == place(-0.0) == 0
    assert place(5e-324) == 1
    assert place(-5e-324) == -1
    assert place(math.nan) is None
    assert ulp.elements("f4", struct.pack("<f", 1.0))[0].bits == "0x3f800000"
    assert [ulp.percentile([1, 2, 3, 4], percent) for percent in (50, 99)] == [2, 4]
