"""Places of floats: the order of their type, compared with walks by the standard library and with all there are."""

from __future__ import annotations

import itertools
import math
import struct
from fractions import Fraction

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.compare import ulp

FLOATS = {"f2": ("e", "H"), "f4": ("f", "I"), "f8": ("d", "Q")}
INTEGERS = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}


def one(dtype: str, pattern: int) -> ulp.Element:
    (element,) = ulp.elements(dtype, struct.pack("<" + FLOATS[dtype][1], pattern))
    return element


def place(dtype: str, value: float) -> int:
    (element,) = ulp.elements(dtype, struct.pack("<" + FLOATS[dtype][0], value))
    assert element.place is not None
    return element.place


@st.composite
def floats(draw: st.DrawFn, dtype: str) -> float:
    """Any bit pattern of the type but NaN, as a Python float: exact for all three types."""
    value, raw = FLOATS[dtype]
    bits = st.integers(0, (1 << (8 * struct.calcsize(raw))) - 1)
    numbers = bits.map(lambda pattern: struct.unpack("<" + value, struct.pack("<" + raw, pattern))[0])
    found: float = draw(numbers.filter(lambda number: not math.isnan(number)))
    return found


def test_all_halves_in_their_order() -> None:
    """All 65,536: sorted by value, each next one is one place up; both zeros are place 0, and NaN has none."""
    patterns = range(1 << 16)
    elements = ulp.elements("f2", struct.pack("<65536H", *patterns))
    assert [element.bits for element in elements] == [f"0x{pattern:04x}" for pattern in patterns]
    nan = [element for element in elements if element.place is None]
    assert len(nan) == 2 * 1023
    assert all(math.isnan(element.value) for element in nan)
    numbers = sorted({element.value for element in elements if element.place is not None})
    places = {element.value: element.place for element in elements if element.place is not None}
    zero = numbers.index(0.0)
    assert [places[number] for number in numbers] == [at - zero for at in range(len(numbers))]
    assert (one("f2", 0x8000).place, one("f2", 0x8000).bits) == (0, "0x8000")


def test_all_bfloat16_in_their_order() -> None:
    """All 65,536 are the float32 with the same upper half, and have the order of these."""
    patterns = range(1 << 16)
    elements = ulp.elements("bf2", struct.pack("<65536H", *patterns))
    upper = ulp.elements("f4", struct.pack("<65536I", *(pattern << 16 for pattern in patterns)))
    assert [element.bits for element in elements] == [f"0x{pattern:04x}" for pattern in patterns]
    assert [str(element.value) for element in elements] == [str(element.value) for element in upper]
    assert [None if one.place is None else one.place << 16 for one in elements] == [one.place for one in upper]
    assert sum(element.place is None for element in elements) == 2 * 127
    assert (elements[0x3F80].value, elements[0x3F81].place) == (1.0, 0x3F81)


@pytest.mark.parametrize("dtype", FLOATS)
@given(st.data())
def test_places_have_the_order_of_the_numbers(dtype: str, data: st.DataObject) -> None:
    x, y = data.draw(floats(dtype)), data.draw(floats(dtype))
    assert (place(dtype, x) < place(dtype, y)) == (x < y)
    assert (place(dtype, x) == place(dtype, y)) == (x == y)
    assert place(dtype, -x) == -place(dtype, x)


@settings(max_examples=50)
@given(floats("f8"), st.integers(0, 200))
def test_a_walk_of_doubles(start: float, steps: int) -> None:
    end = start
    for _ in range(steps):
        end = math.nextafter(end, math.inf)
    expected = min(steps, place("f8", math.inf) - place("f8", start))
    assert place("f8", end) - place("f8", start) == expected


@settings(max_examples=50)
@given(floats("f4"), st.integers(0, 50))
def test_a_walk_of_singles(start: float, steps: int) -> None:
    end = numpy.float32(start)
    for _ in range(steps):
        end = numpy.nextafter(end, numpy.float32("inf"))
    expected = min(steps, place("f4", math.inf) - place("f4", start))
    assert place("f4", float(end)) - place("f4", start) == expected


LARGEST = {"f2": 65504.0, "f4": float(numpy.finfo("f4").max), "f8": math.nextafter(math.inf, 0)}


@pytest.mark.parametrize(("dtype", "largest"), LARGEST.items())
def test_infinity_is_the_neighbour_of_the_largest(dtype: str, largest: float) -> None:
    assert place(dtype, math.inf) - place(dtype, largest) == 1
    assert place(dtype, -largest) - place(dtype, -math.inf) == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_of_any_payload_and_sign_has_no_place(dtype: str) -> None:
    width = 8 * struct.calcsize(FLOATS[dtype][1])
    infinity = place(dtype, math.inf)
    for payload in (1, 2, (1 << (width - 1)) - 1 - infinity):
        for sign in (0, 1 << (width - 1)):
            assert one(dtype, sign + infinity + payload).place is None


@pytest.mark.parametrize(("dtype", "real"), [("c8", "f4"), ("c16", "f8")])
def test_a_complex_number_is_two(dtype: str, real: str) -> None:
    assert ulp.real_type(dtype) == (real, 2)
    assert ulp.real_type(real) == (real, 1)
    data = struct.pack("<4" + FLOATS[real][0], 1.0, -2.0, 0.5, math.inf)
    assert ulp.elements(dtype, data) == ulp.elements(real, data)
    assert [element.value for element in ulp.elements(dtype, data)] == [1.0, -2.0, 0.5, math.inf]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_an_integer_is_its_own_place(dtype: str) -> None:
    bits = 8 * int(dtype[1:])
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dtype[0] == "i" else (0, (1 << bits) - 1)
    for number in (low, high, 0, 1, high // 3):
        (element,) = ulp.elements(dtype, struct.pack("<" + INTEGERS[dtype], number))
        assert (element.value, element.place) == (number, number)
        assert element.bits == f"0x{number % (1 << bits):0{bits // 4}x}"


def test_a_bool_is_0_or_1_and_other_bytes_are_told_apart() -> None:
    assert [element.place for element in ulp.elements("b1", b"\0\1\2")] == [0, 1, 2]
    assert ulp.elements("b1", b"\2")[0].bits == "0x02"


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "b1", "c8", "c16", "bf2"])
def test_bytes_that_are_no_whole_number_of_elements_are_refused(dtype: str) -> None:
    assert ulp.is_numeric(dtype)
    assert ulp.elements(dtype, b"") == []
    width = int(ulp.real_type(dtype)[0].lstrip("bfiu"))
    for size in range(1, width):
        with pytest.raises(ValueError, match=f"{size + width} bytes are no whole number of {width}-byte elements"):
            ulp.elements(dtype, bytes(size + width))


@pytest.mark.parametrize("dtype", ["text", "f16", "c32", "V8", "", "m8"])
def test_other_types_have_no_order(dtype: str) -> None:
    assert not ulp.is_numeric(dtype)
    with pytest.raises(ValueError, match=f"no order for elements of type {dtype}"):
        ulp.elements(dtype, b"12345678")


@given(st.lists(st.integers(-5, 1 << 70), min_size=1, max_size=300).map(sorted), st.integers(0, 100))
def test_percentile_is_the_nearest_rank(ordered: list[int], percent: int) -> None:
    """Naively: the first of the list such that at least so many percent of it are at or before it."""
    ranks = (rank for rank in itertools.count(1) if Fraction(rank, len(ordered)) >= Fraction(percent, 100))
    assert ulp.percentile(ordered, percent) == ordered[next(ranks) - 1]


@pytest.mark.parametrize("percent", [1, 50, 99, 100])
def test_percentile_of_the_numbers_to_1000(percent: int) -> None:
    assert ulp.percentile([*range(1, 1001)], percent) == 10 * percent
