"""The size of a divergence: exact where all values are there, estimated and said so where not, never invented."""

from __future__ import annotations

import base64
import math
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import msgspec
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.compare import ulp
from audit.compare.size import measure
from probes.digest import Tensor
from probes.sketch import observe
from reports.comparison import Example, Size, Ulp
from reports.report import Observation


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


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
    assert measure(Observation("0", "f8", [1]), observed([1.0])) == Size(1, reason="no values were kept")
    for text in ("!!", "!" + (observed([2.0]).values or ""), "é"):
        damaged = measure(Observation("0", "f8", [1], values=text), observed([1.0]))
        assert damaged.reason.startswith("the kept values cannot be read: ")
        assert damaged == Size(1, reason=damaged.reason)
    short = Observation("0", "f8", [1], values=base64.b64encode(b"abc").decode())
    assert "cannot be read" in measure(short, short).reason


def given_bytes(dtype: str, data: bytes, shape: list[int]) -> Observation:
    return Observation(**observe(Tensor(dtype, tuple(shape), data)))


@st.composite
def tensors(draw: st.DrawFn, least: int, most: int) -> tuple[str, list[int], bytes, bytes]:
    """Two tensors of one type and shape: `b` is `a` with some elements set to neighbours, specials or anything."""
    dtype = draw(st.sampled_from([*CODES]))
    shape = draw(st.lists(st.integers(1, 7), max_size=2))
    count = math.prod(shape)
    shape.append(draw(st.integers(-(-least // count), max(1, most // count))))
    count *= shape[-1]
    source = draw(st.randoms(use_true_random=False))
    width = int(dtype[1:])
    a = bytearray(source.randbytes(count * width)) if draw(st.booleans()) else bytearray(count * width)
    b = bytearray(a)
    real = width // ulp.real_type(dtype)[1]
    for at in draw(st.lists(st.integers(0, len(a) // real - 1), max_size=draw(st.sampled_from([0, 1, 5, 40])))):
        old = bytes(b[at * real : (at + 1) * real])
        moved = (int.from_bytes(old, "little") + source.choice((1, -1, 2, 1000))) % (1 << (8 * real))
        new = [moved.to_bytes(real, "little"), source.randbytes(real), bytes(real), bytes(real - 1) + b"\x80"]
        (a, b)[source.randrange(2)][at * real : (at + 1) * real] = source.choice(new)
    return dtype, shape, bytes(a), bytes(b)


CODES = {"f2": "e", "f4": "f", "f8": "d", "c8": "f", "c16": "d", "b1": "B", "i1": "b", "i4": "i", "i8": "q", "u8": "Q"}


class Brute:
    """The definitions, over every element, by numpy where it has them."""

    def __init__(self, dtype: str, shape: list[int], a: bytes, b: bytes) -> None:
        self.dtype, self.shape, self.width = dtype, shape, int(dtype[1:])
        self.parts = 2 if dtype[0] == "c" else 1
        real = self.width // self.parts
        self.raw = [[side[i : i + real] for i in range(0, len(side), real)] for side in (a, b)]
        code = "<" + CODES[dtype]
        self.numbers = [[struct.unpack(code, part)[0] for part in side] for side in self.raw]
        self.unequal = [i for i, (x, y) in enumerate(zip(*self.raw, strict=True)) if x != y]

    def elements(self, parts: list[int]) -> int:
        return len({i // self.parts for i in parts})

    def where(self, parts: list[int], holds: Callable[[float, float], bool]) -> list[int]:
        return [i for i in parts if holds(self.numbers[0][i], self.numbers[1][i])]

    def place(self, number: float) -> int:
        """How many numbers of the type lie between it and zero, its sign kept."""
        if self.dtype[0] not in "fc":
            return int(number)
        real = {2: ("e", "H"), 4: ("f", "I"), 8: ("d", "Q")}[self.width // self.parts]
        return int(math.copysign(1, number)) * int(
            struct.unpack("<" + real[1], struct.pack("<" + real[0], abs(number)))[0]
        )

    def distance(self, part: int) -> int:
        return abs(self.place(self.numbers[0][part]) - self.place(self.numbers[1][part]))

    def measurable(self, parts: list[int]) -> list[int]:
        return self.where(parts, lambda x, y: math.isfinite(x) and math.isfinite(y) and not x == y == 0)


def is_nan(x: float, y: float) -> bool:
    return math.isnan(x) or math.isnan(y)


def is_infinite(x: float, y: float) -> bool:
    return math.isinf(x) or math.isinf(y)


def is_signed_zero(x: float, y: float) -> bool:
    return x == y == 0


def nearest_rank(distances: list[int], percent: int) -> int:
    return next(d for d in distances if sum(one <= d for one in distances) * 100 >= percent * len(distances))


@settings(deadline=None, max_examples=200)
@given(tensors(1, 250))
def test_whole_tensors_against_brute_force(case: tuple[str, list[int], bytes, bytes]) -> None:
    dtype, shape, a, b = case
    size, brute = measure(given_bytes(dtype, a, shape), given_bytes(dtype, b, shape)), Brute(dtype, shape, a, b)
    count = math.prod(shape)
    assert (size.elements, size.seen, size.reason, size.ulp_norm) == (count, count, "", None)
    assert size.differing == brute.elements(brute.unequal)
    assert size.fraction == size.differing / count
    assert size.nan == brute.elements(brute.where(brute.unequal, is_nan))
    assert size.infinite == brute.elements(brute.where(brute.unequal, is_infinite))
    assert size.signed_zero == brute.elements(brute.where(brute.unequal, is_signed_zero))
    distances = sorted(map(brute.distance, brute.measurable(brute.unequal)))
    if distances:
        assert (size.ulp.p50, size.ulp.p99) == (nearest_rank(distances, 50), nearest_rank(distances, 99))
        assert size.ulp.max == distances[-1]
        finite = brute.where(list(range(count * brute.parts)), lambda x, y: math.isfinite(x) and math.isfinite(y))
        sizes = {i: max(abs(side[i]) for side in brute.numbers) for i in finite}
        assert size.ulp.at_largest == max(brute.distance(i) for i in finite if sizes[i] == max(sizes.values()))
    else:
        assert size.ulp == Ulp()
    if brute.unequal:
        assert size.example
        first = brute.unequal[0]
        index = [int(i) for i in numpy.unravel_index(first // brute.parts, shape)]
        assert size.example.index == index
        assert size.example.bits == ["0x" + side[first][::-1].hex() for side in brute.raw]
        assert size.example.values == [repr(side[first]) for side in brute.numbers]
    else:
        assert size.example is None


@settings(deadline=None, max_examples=200)
@given(tensors(1, 250))
def test_the_smallest_tolerance_suffices_and_no_smaller_one_does(case: tuple[str, list[int], bytes, bytes]) -> None:
    dtype, shape, a, b = case
    rtol, brute = measure(given_bytes(dtype, a, shape), given_bytes(dtype, b, shape)).smallest_rtol, Brute(*case)
    pairs = [(brute.numbers[0][i], brute.numbers[1][i]) for i in brute.unequal]
    pairs = [(x, y) for x, y in pairs if x != y]

    def suffices(tolerance: float) -> bool:
        return all(abs(Fraction(x) - Fraction(y)) <= Fraction(tolerance) * abs(Fraction(x)) for x, y in pairs)

    if not pairs or any(not math.isfinite(x) or not math.isfinite(y) or x == 0 for x, y in pairs):
        assert rtol is None
    elif rtol is None:
        assert not suffices(sys.float_info.max)
    else:
        assert suffices(rtol)
        assert not suffices(math.nextafter(rtol, 0))


@pytest.mark.parametrize(
    ("a", "b", "rtol"),
    [
        ([1e308, 1.0], [-1.7e308, 1e300], 1e300),
        ([5e-324], [1e308], None),
        ([1.0, 4.0], [1.0 + 2**-52, 5.0], 0.25),
        ([3.0], [4.0], math.nextafter(1 / 3, 1)),
    ],
)
def test_tolerances_at_the_ends_of_the_range(a: list[float], b: list[float], rtol: float | None) -> None:
    assert measure(observed(a), observed(b)).smallest_rtol == rtol


@settings(deadline=None, max_examples=100)
@given(tensors(257, 3000))
def test_large_tensors_against_brute_force(case: tuple[str, list[int], bytes, bytes]) -> None:
    dtype, shape, a, b = case
    brute = Brute(*case)
    count = math.prod(shape)
    size = measure(given_bytes(dtype, a, shape), given_bytes(dtype, b, shape))
    kept = 256 if count > 256 else count
    sample = {k * count // kept for k in range(kept)}
    seen = [i for i in brute.unequal if i // brute.parts in sample]
    assert (size.elements, size.seen) == (count, kept)
    assert size.nan == brute.elements(brute.where(seen, is_nan))
    assert size.infinite == brute.elements(brute.where(seen, is_infinite))
    assert size.signed_zero == brute.elements(brute.where(seen, is_signed_zero))
    assert size.differing in (None, brute.elements(brute.unequal))
    if size.differing is None:
        assert f"estimated from {kept} of {count:,} elements" in size.reason
        assert size.fraction == (brute.elements(seen) / kept or None)
        distances = sorted(map(brute.distance, brute.measurable(seen)))
        assert size.ulp.max == (distances[-1] if distances else None)
    else:
        assert size.fraction == size.differing / count
    if seen:
        assert size.example
        assert size.example.index == [int(i) for i in numpy.unravel_index(seen[0] // brute.parts, shape)]


@settings(deadline=None, max_examples=100)
@given(st.one_of(tensors(1, 250), tensors(257, 2000)))
def test_the_size_is_the_same_from_both_sides(case: tuple[str, list[int], bytes, bytes]) -> None:
    dtype, shape, a, b = case
    one, two = given_bytes(dtype, a, shape), given_bytes(dtype, b, shape)
    size, back = measure(one, two), measure(two, one)
    assert (back.smallest_rtol is None) or size.smallest_rtol != 0
    turned = msgspec.structs.replace(back, smallest_rtol=size.smallest_rtol, example=size.example)
    assert turned == size
    if size.example and back.example:
        assert size.example.index == back.example.index
        assert size.example.bits == back.example.bits[::-1]
        assert size.example.values == back.example.values[::-1]


def test_elements_that_only_the_sketch_shows_are_measured_with_those_that_were_kept() -> None:
    a = [1.0 + i for i in range(4000)]
    b = list(a)
    kept, unkept = 2000, 2001
    assert kept in {k * 4000 // 256 for k in range(256)}
    assert unkept not in {k * 4000 // 256 for k in range(256)}
    b[kept], b[unkept] = -a[kept], math.nextafter(a[unkept], 9000)
    size = measure(observed(a), observed(b))
    assert (size.differing, size.reason) == (2, "")
    # Across zero a sketch counts -0.0 too, one step more; the kept elements' own distance is used.
    assert (size.ulp.p50, size.ulp.max) == (1, 2 * ulp.elements("f8", struct.pack("<d", a[kept]))[0].place)  # type: ignore[operator]
    assert size.smallest_rtol == 2.0


@pytest.mark.parametrize(("dtype", "least"), [("f4", 1 << 29), ("f8", 1 << 61), ("c8", 1 << 29)])
@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_a_nan_that_was_not_kept_has_no_invented_distance(dtype: str, least: int, special: float) -> None:
    a = [1.0] * 4000
    b = [*a[:3003], special, *a[3004:]]
    size = measure(observed(a, dtype), observed(b, dtype))
    assert (size.differing, size.nan, size.infinite, size.ulp, size.ulp_norm) == (1, 0, 0, Ulp(), None)
    assert size.reason == "among the elements that were not kept some may be NaN or infinite"
    code = {"f4": "fI", "f8": "dQ", "c8": "fI"}[dtype]
    near = struct.unpack("<" + code[0], struct.pack("<" + code[1], least - 1))[0]
    zeros = [0.0] * 4000
    for amount, known in ((near, True), (math.nextafter(near, 1) if dtype == "f8" else near * (1 + 2**-23), False)):
        size = measure(observed(zeros, dtype), observed([*zeros[:3003], amount, *zeros[3004:]], dtype))
        assert (size.ulp.max == least - 1) == known
        assert (size.reason == "") == known


@pytest.mark.parametrize("special", [math.nan, math.inf])
def test_a_norm_that_counts_bits_of_nan_as_numbers_is_none(special: float) -> None:
    a = [1.0 + i for i in range(4000)]
    b = [value + 1 if i < 100 else value for i, value in enumerate(a)]
    assert measure(observed(a, "f4"), observed(b, "f4")).ulp_norm
    assert measure(observed(a, "f4"), observed([special, *b[1:]], "f4")).ulp_norm is None


def test_another_number_of_samples_is_no_pair() -> None:
    one, two = (replaced(observed([1.0] * many), shape=[9]) for many in (2, 3))
    for a, b in ((one, two), (two, one)):
        assert measure(a, b).reason.endswith(
            "2 and 3 numbers of 9 elements" if a is one else "3 and 2 numbers of 9 elements"
        )
    half, whole = (Observation("0", "c8", [2], values=encoded(bytes(4 * many))) for many in (1, 3))
    assert measure(half, half).reason.endswith("1 and 1 numbers of 2 elements")
    assert measure(whole, whole).reason.endswith("3 and 3 numbers of 2 elements")


def test_where_nothing_that_was_kept_is_finite_nothing_is_the_largest() -> None:
    a = [math.inf] * 4000
    a[3003] = 1.0
    size = measure(observed(a), observed(moved(a, [3003])))
    assert (size.differing, size.ulp) == (1, Ulp(1, 1, 1, None))
    zeros = measure(observed([0.0] * 4000), observed(moved([0.0] * 4000, [3003])))
    assert zeros.ulp == Ulp(1, 1, 1, 0)


def test_the_largest_is_a_finite_one() -> None:
    a, b = [2.0, math.inf, 9.0, math.nan, 1e300], [2.0, math.inf, 9.0, math.nan, math.inf]
    assert measure(observed([*a, 3.0]), observed([*b, math.nextafter(3.0, 4)])).ulp == Ulp(1, 1, 1, 0)


def test_the_99th_percentile_is_not_the_maximum() -> None:
    a = [1.0] * 250
    b = [math.nextafter(1.0, 2)] * 249 + [2.0]
    assert measure(observed(a), observed(b)).ulp == Ulp(1, 1, 1 << 52, 1 << 52)


def test_parts_of_a_complex_number_are_found_by_their_place() -> None:
    """Of 400 elements 256 are kept; the sketch shows both parts of one more and one part of one that was kept."""
    a = [1.0 + i for i in range(800)]
    kept, unkept = 3, 2
    assert [k * 400 // 256 for k in range(4)] == [0, 1, 3, 4]
    for parts in (
        [2 * kept],
        [2 * kept + 1],
        [2 * unkept],
        [2 * unkept + 1],
        [2 * kept + 1, 2 * unkept, 2 * unkept + 1],
    ):
        size = measure(observed(a, "c16"), observed(moved(a, parts), "c16"))
        assert (size.differing, size.ulp.max, size.reason) == (len({part // 2 for part in parts}), 1, "")


def test_a_signed_zero_or_an_equal_nan_leaves_the_tolerance() -> None:
    assert measure(observed([0.0, 4.0, math.nan]), observed([-0.0, 5.0, math.nan])).smallest_rtol == 0.25


def test_integers_have_no_nan_among_what_was_not_kept() -> None:
    data = [struct.pack("<4000q", *(amount if i == 3003 else 0 for i in range(4000))) for amount in (0, 1 << 62)]
    size = measure(*(given_bytes("i8", side, [4000]) for side in data))
    assert (size.differing, size.ulp.max, size.reason) == (1, 1 << 62, "")


def replaced(seen: Observation, **fields: Any) -> Observation:
    return msgspec.structs.replace(seen, **fields)


def test_a_sketch_that_contradicts_the_kept_elements_is_not_believed() -> None:
    a = observed([1.0 + i for i in range(4000)])
    b = observed(moved([1.0 + i for i in range(4000)], [0, 5]))
    other = observed(moved([1.0 + i for i in range(4000)], [5]))
    size = measure(a, replaced(b, sketch=other.sketch))
    assert (size.differing, size.ulp_norm, size.ulp.max, size.seen) == (None, None, 1, 256)
    assert size.reason == "estimated from 256 of 4,000 elements; the sketch contradicts them"
    hidden = observed(moved([1.0 + i for i in range(4000)], [5]))
    size = measure(a, replaced(hidden, sketch=a.sketch))
    assert (size.differing, size.fraction, size.ulp_norm) == (None, None, None)
    assert "the sketch shows none of the others" in size.reason
    assert measure(a, a).differing == 0


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (None, "no sketch was kept"),
        ("!", "the sketch cannot be read"),
        ("AAAA", "a sketch has 896 bytes"),
        (encoded(bytes(896)) + "!", "the sketch cannot be read"),
    ],
)
def test_without_a_sketch_the_kept_elements_still_count(kept: str | None, reason: str) -> None:
    a = observed([1.0 + i for i in range(4000)])
    b = observed(moved([1.0 + i for i in range(4000)], [0]))
    for size in (measure(a, replaced(b, sketch=kept)), measure(replaced(a, sketch=kept), b)):
        assert (size.differing, size.fraction, size.ulp.max) == (None, 1 / 256, 1)
        assert reason in size.reason
        assert "estimated from 256 of 4,000 elements; " in size.reason


def text(items: list[str], shape: list[int]) -> Observation:
    return Observation(**observe(Tensor("text", tuple(shape), "".join(item + "\n" for item in items).encode())))


def test_text() -> None:
    size = measure(text(["a", "b", "c", "d"], [2, 2]), text(["a", "x", "c", "y"], [2, 2]))
    assert (size.elements, size.differing, size.fraction, size.seen) == (4, 2, 0.5, 4)
    assert size.example == Example([0, 1], [], ["b", "x"])
    assert (size.ulp, size.reason) == (Ulp(), "text has no ULP")


def test_text_that_was_cut_is_not_counted_as_equal() -> None:
    long = "7" * 200
    size = measure(text([long + "1", "a"], [2]), text([long + "2", "b"], [2]))
    assert (size.differing, size.fraction) == (None, 0.5)
    size = measure(text([long[1:], "a"], [2]), text([long[1:], "b"], [2]))
    assert size.differing == 1
    size = measure(text([long + "1"], []), text([long + "2"], []))
    assert (size.differing, size.fraction, size.seen, size.example) == (None, None, 1, None)
    assert size.reason == "it differs outside the text that was kept"
    many = [str(i) for i in range(300)]
    size = measure(text(many, [300]), text([*many[:7], "x", *many[8:]], [300]))
    assert (size.differing, size.fraction, size.seen, size.elements) == (None, 1 / 256, 256, 300)


def test_text_of_other_lengths_is_not_compared() -> None:
    a, b, two = (Observation("0", "text", [1], text=items) for items in (["a"], ["a", "b"], ["c", "d"]))
    for one, other in ((a, b), (b, two)):
        size = measure(one, other)
        assert (size.elements, size.differing, size.seen) == (1, None, 0)
        assert f"{len(one.text or [])} and 2 items of 1" in size.reason


HOSTILE = st.fixed_dictionaries(
    {
        "digest": st.sampled_from(["", "00"]),
        "dtype": st.sampled_from(["f4", "f8", "c8", "i8", "b1", "text", "f16", "", "\0", "f4 "]),
        "shape": st.lists(st.integers(-2, 40) | st.sampled_from([0, 1 << 31, 1 << 63, 10**39, -(10**30)]), max_size=3),
        "values": st.none() | st.text(max_size=5) | st.binary(max_size=40).map(encoded),
        "sketch": st.none() | st.text(max_size=5) | st.binary(min_size=890, max_size=900).map(encoded),
        "text": st.none() | st.lists(st.text(max_size=3), max_size=3),
    }
)


@settings(deadline=None, max_examples=400)
@given(HOSTILE, HOSTILE, st.sampled_from(["a", "b", "neither"]))
def test_nothing_that_a_report_can_hold_raises(one: dict[str, Any], two: dict[str, Any], alike: str) -> None:
    if alike != "neither":
        two = {**two, "shape": one["shape"], "dtype": one["dtype"]}
    size = measure(Observation(**one), Observation(**two))
    assert size.elements >= 0
    assert size.seen <= size.elements
    assert size.reason or size.differing is not None
    assert size.fraction is None or 0 <= size.fraction <= 1


def test_shapes_that_no_tensor_has() -> None:
    for shape in ([-1], [1 << 32], [1 << 20, 1 << 12], [-2, -2]):
        one = replaced(observed([1.0]), shape=shape)
        assert measure(one, one) == Size(reason="no tensor has such a shape")
        assert measure(observed([1.0]), one) == Size(reason="no tensor has such a shape")
    many = replaced(observed([1.0, 2.0]), shape=[1 << 16, (1 << 16) - 1])
    assert measure(many, many).elements == (1 << 32) - (1 << 16)
    empty = replaced(observed([]), shape=[3, 0])
    assert measure(empty, empty).reason.startswith("the kept values cannot be read: 0 and 0 numbers of 0 elements")
    assert measure(replaced(observed([1.0]), shape=[0]), replaced(observed([2.0]), shape=[0])).differing is None


def test_a_trace_says_shape_and_type_once() -> None:
    kept = [replaced(observed([1.0, 2.0, 3.0, value]), dtype="", shape=[]) for value in (4.0, 5.0)]
    size = measure(kept[0], kept[1], [2, 2], "f8")
    assert (size.elements, size.differing) == (4, 1)
    assert size.example
    assert size.example.index == [1, 1]
    assert measure(kept[0], kept[1], [4], "f16") == Size(4, reason="no ULP for type f16")
    assert measure(kept[0], kept[1], [4]).reason == "no ULP for type "
    assert measure(replaced(kept[0], dtype="f8"), kept[1], [4], "f4").reason == (
        "different kinds of result: f8[4] and f4[4]"
    )
