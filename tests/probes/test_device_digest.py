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
from probes.device_digest import BLOCK, digests_numpy, weights

TYPES = ["f2", "f4", "f8", "c8", "c16", "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]
WORD = (1 << 64) - 1


def defined(dtype: str, shape: tuple[int, ...], data: bytes) -> bytes:
    """The digest as the file's docstring defines it."""
    data += bytes(-len(data) % 4)
    words = struct.unpack(f"<{len(data) // 4}i", data)
    sums = b""
    for begin in range(0, len(words), BLOCK):
        state, total = 0, 0
        for word in words[begin : begin + BLOCK]:
            state = (state + 0x9E3779B97F4A7C15) & WORD
            mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & WORD
            total += ((mixed ^ (mixed >> 31)) | 1) * word
        sums += struct.pack("<Q", total & WORD)
    return hashlib.blake2b(f"{dtype}{list(shape)}:".encode() + sums, digest_size=8).digest()


def digest(array: Any) -> bytes:
    return digests_numpy([numpy.asarray(array)])[0]


def bits(*words: int) -> Any:
    return numpy.array(words, "u4").view("f4")


def test_the_weights_are_splitmix64s_first_numbers_made_odd() -> None:
    first = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4 | 1, 0x06C45D188009454F]
    assert [weight & WORD for weight in weights()[:3]] == first
    assert all(weight & 1 for weight in weights())
    assert len(set(weights())) == BLOCK


def test_digests_stay_what_they_are() -> None:
    """Reports hold them."""
    assert digest(numpy.float32(1.5)).hex() == "523004634e61572e"
    assert digest(numpy.arange(10000, dtype="f8")).hex() == "0b2abec9d1cc8abd"
    assert digest(numpy.zeros((0, 3), "i8")).hex() == "41ad5cc97ade232d"


EDGES = st.sampled_from([0, 1, 2, 3, 4, 7, 255, 4 * BLOCK - 4, 4 * BLOCK - 1, 4 * BLOCK, 4 * BLOCK + 1, 8 * BLOCK + 5])


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


def test_more_words_than_numpy_multiplies_at_once_and_than_one_thread_takes() -> None:
    count = 2 * device_digest._SHARE + BLOCK + 1
    data = (numpy.arange(count, dtype="u4") * numpy.uint32(0x9E3779B1)).tobytes()
    words = numpy.frombuffer(data, "i4")
    assert digest(words) == defined("i4", (count,), data)
    alone = device_digest._sums(numpy, words)
    assert [device_digest._sums(numpy, words, threads) for threads in (2, 3)] == [alone, alone]


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


def test_zeros_of_another_length_and_zeros_of_another_sign() -> None:
    lengths = [*range(70), BLOCK, 2 * BLOCK]
    assert len({digest(numpy.zeros(length, "f4")) for length in lengths}) == len(lengths)
    zeros = numpy.zeros(64, "f4")
    seen = {digest(zeros)}
    for first in range(64):
        for second in range(first, 64):  # two flipped signs, which words of 64 bits would often take for none
            other = zeros.copy()
            other[[first, second]] = -0.0
            seen.add(digest(other))
    assert len(seen) == 1 + 64 * 65 // 2
    for kind in ("f2", "f4", "f8"):
        assert digest(numpy.zeros(4096, kind)) != digest(-numpy.zeros(4096, kind))


@pytest.mark.parametrize("values", [["text"], [object()], numpy.zeros(2, "M8[s]"), numpy.zeros(2, "i4,f4")])
def test_what_has_no_bits_is_refused(values: Any) -> None:
    with pytest.raises(TypeError, match="has no bits to compare"):
        digest(values)


@pytest.mark.torch
def test_torch_gives_what_numpy_gives() -> None:
    """All in one child, as the import of torch takes seconds; what it asserts stands in the file that it runs."""
    child = Path(__file__).parent / "device_digest_child.py"
    subprocess.run([frameworks(), "-W", "error", str(child)], check=True, timeout=300)
