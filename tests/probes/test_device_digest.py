"""The digest that devices compute: numpy's against the definition, and torch's against numpy's, for the same bits."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.environments import frameworks
from probes import device_digest
from probes.device_digest import COLUMNS, ROW_BYTES, digests_numpy

TYPES = ["f2", "f4", "f8", "c8", "c16", "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
WORD = (1 << 64) - 1
ROWS = device_digest._TILE


def defined(dtype: str, shape: tuple[int, ...], data: bytes) -> bytes:
    """The digest as the file's docstring defines it."""
    count = len(data) // (8 * COLUMNS)
    data += bytes(-len(data) % 8)
    words = struct.unpack(f"<{len(data) // 8}Q", data)
    rows = [words[COLUMNS * row : COLUMNS * (row + 1)] for row in range(count)]
    sums = [sum(row) for row in rows] + [sum(column) for column in zip(*rows, strict=True)]
    told = [number & WORD for number in sums] + list(words[COLUMNS * count :])
    return hashlib.blake2b(
        f"{dtype}{list(shape)}:".encode() + struct.pack(f"<{len(told)}Q", *told), digest_size=8
    ).digest()


def digest(array: Any) -> bytes:
    return digests_numpy([numpy.asarray(array)])[0]


def bits(*words: int) -> Any:
    return numpy.array(words, "u4").view("f4")


def test_digests_stay_what_they_are() -> None:
    """Reports hold them."""
    assert digest(numpy.float32(1.5)).hex() == "9731446ec5e93fe7"
    assert digest(numpy.arange(10000, dtype="f8")).hex() == "708a00a4b85a6084"
    assert digest(numpy.zeros((0, 3), "i8")).hex() == "41ad5cc97ade232d"


TILE_BYTES = ROWS * ROW_BYTES
EDGES = st.sampled_from([0, 1, 3, 4, 7, 8, 9, *(ROW_BYTES + more for more in (-8, -1, 0, 4, 8)), 3 * ROW_BYTES + 16])


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(TYPES), EDGES | st.integers(0, 3000), st.randoms(use_true_random=False))
def test_numpy_follows_the_definition(dtype: str, octets: int, source: Any) -> None:
    size = int(dtype[1:])
    data = source.randbytes(octets // size * size)
    array = numpy.frombuffer(data, "<" + dtype)
    expected = defined(dtype, array.shape, data)
    assert digests_numpy([array, array.astype(">" + dtype)]) == [expected, expected]
    if len(array) % 6 == 0:
        shaped = array.reshape(2, -1, 3)
        fortran = numpy.asfortranarray(shaped)
        apart = numpy.repeat(shaped, 2, axis=1)[:, ::2]
        assert digests_numpy([shaped, fortran, apart]) == [defined(dtype, shaped.shape, data)] * 3


@pytest.mark.parametrize("octets", [TILE_BYTES - 8, TILE_BYTES, TILE_BYTES + 8, 2 * TILE_BYTES + 5 * ROW_BYTES + 12])
def test_tiles(octets: int) -> None:
    data = numpy.random.default_rng(octets).bytes(octets)
    assert digest(numpy.frombuffer(data, "i4")) == defined("i4", (octets // 4,), data)
    space = numpy.zeros(octets + 8, "u1")
    for shift in range(1, 8):  # memory that no word is aligned in
        space[shift : octets + shift] = numpy.frombuffer(data, "u1")
        assert digest(space[shift : octets + shift].view("i4")) == defined("i4", (octets // 4,), data)


def test_type_shape_position_and_every_bit_matter() -> None:
    one = bits(*range(1, 25))
    same_bytes = [one, one.view("i4"), one.view("u4"), one.reshape(4, 6), one.reshape(6, 4), one.view("f8")]
    moved = [numpy.roll(one, shift) for shift in range(1, 24)]
    swapped = [one[[1, 0, *range(2, 24)]]]
    flipped = [
        (one.view("u4") ^ (numpy.arange(24) == at) * numpy.uint32(1 << bit)).view("f4")
        for at in (0, 23)
        for bit in range(32)
    ]
    everything = [*same_bytes, *moved, *swapped, *flipped]
    assert len(set(digests_numpy(everything))) == len(everything)


def test_zeros_of_another_length() -> None:
    lengths = [*range(70), COLUMNS, 2 * COLUMNS, ROWS * COLUMNS, 2 * ROWS * COLUMNS]
    assert len({digest(numpy.zeros(length, "f8")) for length in lengths}) == len(lengths)


ALL = 2 * ROWS * COLUMNS
PLACES = st.integers(0, ALL - 1)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["f4", "f8"]), st.lists(PLACES, min_size=1, max_size=3, unique=True), st.data())
def test_up_to_three_words_never_differ_unseen(kind: str, places: list[int], data: Any) -> None:
    """Whatever the differences are: two signs in one row or one column, say, whose bits cancel there."""
    lanes = 8 // int(kind[1:])
    words = numpy.zeros(ALL * lanes, kind).view("u8")
    seen = digest(words.view(kind))
    flips = st.sampled_from([1 << 63, 1 << 31, 1 << 63 | 1 << 31, 1, 1 << 55, (1 << 64) - 1])
    for place in places:
        words[place] ^= numpy.uint64(data.draw(flips | st.integers(1, WORD)))
    assert digest(words.view(kind)) != seen


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(64, 3, 32, 32), (1024, 64), (508, 510), (127, 1016), (96, 1000)])
def test_what_is_regular_in_a_tensor_does_not_cancel(kind: str, shape: tuple[int, ...]) -> None:
    """The signs of zeros in a region, rows and images in another order, another class of one-hot labels."""
    plain = numpy.zeros(shape, kind)
    seen = {digest(plain)}
    count = 1
    for rows in (slice(None), slice(0, 2), slice(8, 40), slice(0, None, 2)):
        for columns in (slice(None), slice(1, 3), slice(4, 20), slice(1, None, 2)):
            other = plain.copy()
            other[rows, ..., columns] = -0.0
            seen.add(digest(other))
            count += 1
    assert len(seen) == count
    hot = plain.reshape(shape[0], -1).copy()
    hot[numpy.arange(len(hot)), numpy.arange(len(hot)) % hot.shape[1]] = 1
    random = numpy.random.default_rng(0)
    orders = [hot, hot[::-1], *(hot[random.permutation(len(hot))] for _ in range(20))]
    orders += [hot[[1, 0, *range(2, len(hot))]], hot[[*range(8, 16), *range(8), *range(16, len(hot))]]]
    assert len(set(digests_numpy(orders))) == len(orders)


def test_what_cancels_at_the_corners_of_a_rectangle_is_not_seen() -> None:
    """That is the price; only there."""
    words = numpy.zeros((2 * ROWS, COLUMNS), "u8")
    seen = digest(words)
    words[3, 5], words[3, 9], words[180, 5] = 7, -7 & WORD, -7 & WORD
    assert digest(words) != seen
    words[180, 9] = 7
    assert digest(words) == seen
    words[180, 9], words[180, 10] = 0, 7
    assert digest(words) != seen


@pytest.mark.parametrize("step", [1, 7, COLUMNS, ROWS])
def test_rounding_differences_do_not_cancel(step: int) -> None:
    """Of 1 ULP up and down, wherever they are: 300 sets of them, each another digest."""
    values = numpy.random.default_rng(step).standard_normal(3 * ROWS * COLUMNS).astype("f4")
    random = numpy.random.default_rng(7)
    seen = {digest(values)}
    for _ in range(300):
        places = random.integers(0, values.size // step, random.integers(2, 2000)) * step
        other = values.view("i4").copy()
        numpy.add.at(other, places, random.choice([-1, 1], places.size).astype("i4"))
        seen.add(digest(other.view("f4")))
    assert len(seen) == 301


@pytest.mark.parametrize("values", [["text"], [object()], numpy.zeros(2, "M8[s]"), numpy.zeros(2, "i4,f4")])
def test_what_has_no_bits_is_refused(values: Any) -> None:
    with pytest.raises(TypeError, match="has no bits to compare"):
        digest(values)


@pytest.mark.torch
def test_torch_gives_what_numpy_gives() -> None:
    """All in one child, as the import of torch takes seconds; what it asserts stands in the file that it runs."""
    child = Path(__file__).parent / "device_digest_child.py"
    subprocess.run([frameworks(), "-W", "error", str(child)], check=True, timeout=300)
