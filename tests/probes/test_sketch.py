"""The sketch: what two of them say is compared with the elements themselves."""

from __future__ import annotations

import random
import struct
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.compare.sketch import LIMIT, difference
from probes import sketch
from probes.digest import Tensor, tensor

TYPES = ["f2", "f4", "f8", "c8", "c16", "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


def changed(values: Any, changes: dict[int, int]) -> Any:
    """A copy of an i4 or i8 array with these amounts added, modulo the word."""
    other = values.copy()
    bits = other.view(other.dtype.str.replace("i", "u"))
    for index, amount in changes.items():
        bits[index] = (int(bits[index]) + amount) % (1 << (8 * other.itemsize))
    return other


def decoded(one: Any, two: Any) -> Any:
    return difference(sketch.sketch(tensor(two)), sketch.sketch(tensor(one)), one.size)


@st.composite
def sparse(draw: st.DrawFn, least: int, most: int, bits: int) -> tuple[int, dict[int, int]]:
    """The size of an array, and differences of some of its elements: signed integers of so many bits, none zero."""
    count = draw(st.integers(max(least, 257), 3000))
    indices = draw(st.sets(st.integers(0, count - 1), min_size=least, max_size=most))
    amount = st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1).filter(bool)
    return count, {index: draw(amount) for index in indices}


@settings(deadline=None, max_examples=100)
@given(sparse(0, 12, 31))
def test_few_differences_are_exact(case: tuple[int, dict[int, int]]) -> None:
    count, changes = case
    seen = decoded(numpy.zeros(count, "i8"), changed(numpy.zeros(count, "i8"), changes))
    assert seen.recovered == sorted(changes.items())
    assert seen.norm == pytest.approx(sum(amount**2 for amount in changes.values()) ** 0.5)


@settings(deadline=None, max_examples=100)
@given(sparse(1, 64, 64), st.randoms(use_true_random=False))
def test_what_is_recovered_is_right(case: tuple[int, dict[int, int]], source: random.Random) -> None:
    """Whatever differs, and by however much: exact or not recovered."""
    count, changes = case
    one = numpy.array([source.getrandbits(64) for _ in range(count)], "u8").view("i8")
    seen = decoded(one, changed(one, changes))
    assert seen.recovered in (None, sorted(changes.items()))
    assert seen.recovered is None or len(changes) <= LIMIT


@pytest.mark.parametrize("ulps", [(1,), (1, -1, 2, 3, 4, 1 << 20), tuple(range(1, 1 << 12, 7))])
def test_twenty_random_differences_are_practically_always_recovered(ulps: tuple[int, ...]) -> None:
    source = random.Random(1)
    failures = 0
    for _ in range(400):
        count = source.choice([257, 1000, 20000])
        changes = {index: source.choice(ulps) for index in source.sample(range(count), 20)}
        seen = decoded(numpy.zeros(count, "i4"), changed(numpy.zeros(count, "i4"), changes))
        assert seen.recovered in (None, sorted(changes.items()))
        failures += seen.recovered is None
    assert failures <= 1  # 1 in 10,000 each


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 13, 32, 56, 64])
def test_patterns_of_indices_are_recovered(stride: int) -> None:
    for start in range(0, 40, 3):
        changes = {start + stride * k: 1 for k in range(20)}
        seen = decoded(numpy.zeros(2000, "i4"), changed(numpy.zeros(2000, "i4"), changes))
        assert seen.recovered == sorted(changes.items())


@pytest.mark.parametrize("exponent", range(64))
def test_one_difference_of_any_size(exponent: int) -> None:
    """A multiple of a high power of two hides most of the index's code."""
    for index in (0, 7, 2999):
        seen = decoded(numpy.zeros(3000, "i8"), changed(numpy.zeros(3000, "i8"), {index: 1 << exponent}))
        assert seen.recovered == [(index, 1 << exponent if exponent < 63 else -(1 << 63))]


@pytest.mark.parametrize("many", [21, 300, 5000])
def test_more_than_the_limit_is_not_recovered_but_estimated(many: int) -> None:
    source = random.Random(many)
    changes = {index: source.choice([1, 2, 3]) for index in source.sample(range(5000), many)}
    seen = decoded(numpy.zeros(5000, "i4"), changed(numpy.zeros(5000, "i4"), changes))
    assert seen.recovered is None
    assert seen.norm == pytest.approx(sum(amount**2 for amount in changes.values()) ** 0.5, rel=0.6)


def test_sums_that_wrapped_give_no_estimate() -> None:
    source = random.Random(1)
    changes = {index: source.getrandbits(63) for index in range(500)}
    seen = decoded(numpy.zeros(500, "i8"), changed(numpy.zeros(500, "i8"), changes))
    assert seen == (None, None)


@given(st.sampled_from(TYPES), st.integers(0, 400), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_numpy_and_plain_python_give_the_same_bytes(dtype: str, count: int, source: random.Random) -> None:
    size = int(dtype[1:])
    data = source.randbytes(count * size) if dtype != "b1" else bytes(source.choices((0, 1), k=count))
    seen = Tensor(dtype, (count,), data)
    assert sketch._fast(seen, numpy) == sketch._plain(seen)
    assert len(sketch.sketch(seen)) == sketch.BYTES


def test_the_order_of_floats() -> None:
    floats = [-float("inf"), -1.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, 1.0 + 2**-52, float("inf")]
    places = sketch.ordered(Tensor("f8", (9,), struct.pack("<9d", *floats)))
    assert places == sorted(places)
    assert places[2:6] == [-2, -1, 0, 1]
    assert places[7] - places[6] == 1


def test_a_wrong_size_is_no_sketch() -> None:
    with pytest.raises(ValueError, match="896 bytes, these have 896 and 3"):
        difference(bytes(sketch.BYTES), b"abc", 300)


@pytest.mark.parametrize("count", [0, 1, 256, 257, 5000])
def test_observation_keeps_all_or_samples_and_sketch(count: int) -> None:
    import base64

    values = numpy.arange(count, dtype="f4")
    seen = sketch.observe(tensor(values))
    kept = numpy.frombuffer(base64.b64decode(seen["values"]), "<f4")
    expected = values if count <= 256 else values[[k * count // 256 for k in range(256)]]
    assert kept.tolist() == expected.tolist()
    assert ("sketch" in seen) == (count > 256)
    assert "sketch" not in sketch.observe(tensor(values), whole=True)
    assert seen["digest"] == tensor(values).digest().hex()


def test_observation_of_text() -> None:
    seen = sketch.observe(tensor(["a" * 500, "b"] * 200))
    assert seen["dtype"] == "text"
    assert seen["text"] == ["a" * 200, "b"] * 128
    assert "values" not in seen
