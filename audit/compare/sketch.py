"""What two sketches of one tensor say about the difference of the two tensors: which elements, and how many ULPs.

A sketch (`probes/sketch.py`) is linear, so `a - b` is the sketch of the differences. A cell that holds one differing
element gives its index by division; the element is subtracted from its other cells, which leaves more such cells. The
result counts only if nothing at all remains: wrong elements would leave a residue in 112 words of 64 bits.

That holds for differences that nobody chose against the hash, which anyone can invert: made to share all cells, they
are not recovered, and made to cancel in all, they are not seen. (By chance: 1 pair of differences of 2**63 in 2**22.)
"""

import math
import struct
from typing import NamedTuple

from probes.sketch import BYTES, CELLS, HALF, ROWS, WORD, code, columns, place

LIMIT = 20
"""The most differing elements that are given one by one; beyond it only the norm is."""

MOST_HIDDEN = 1 << 16
"""Elements of a tensor beyond which no difference that is a multiple of 2**33 is looked for: it hides bits of its
element's code, so that every element has to be looked at."""

MARGIN = 6
"""Bits of evidence for such an element beyond those that tell it from the others. A wrong choice leaves a residue."""

_INVERSES = (pow(0xC2B2AE35, -1, 1 << 32), pow(0x85EBCA6B, -1, 1 << 32))
"""Of the factors of `probes.sketch.mix`, modulo 2**32."""

_Cells = list[list[int]]


class Difference(NamedTuple):
    """`recovered`: (index, a minus b in ULPs) of every differing element, by index, or None: not recovered.
    `norm`: L2 norm of the ULP differences; exact where `recovered` is given, else an estimate (about 12% off), and None
    where even that has no meaning because sums have passed 2**63."""

    recovered: list[tuple[int, int]] | None
    norm: float | None


def difference(a: bytes, b: bytes, count: int) -> Difference:
    """Decode two sketches of tensors of equal type and `count` elements (a complex number counts as two).

    ULPs are exact modulo 2**64, given in [-2**63, 2**63). Raises ValueError for bytes that are no sketch.
    """
    cells = _subtract(a, b)
    estimate = _norm(cells)
    found = _peel(cells, count)
    if found is None:
        return Difference(None, estimate)
    exact = math.sqrt(sum(ulps * ulps for ulps in found.values()))
    return Difference(sorted(found.items()), exact)


def _subtract(a: bytes, b: bytes) -> _Cells:
    if len(a) != BYTES or len(b) != BYTES:
        raise ValueError(f"a sketch has {BYTES} bytes, these have {len(a)} and {len(b)}")
    words = [(x - y) & WORD for x, y in zip(struct.unpack("<112Q", a), struct.unpack("<112Q", b), strict=True)]
    return [words[at : at + 2] for at in range(0, len(words), 2)]


def _norm(cells: _Cells) -> float | None:
    """Median over the rows of the L2 norm of a row's cells: a count sketch's estimate."""
    rows = [cells[row * CELLS : (row + 1) * CELLS] for row in range(ROWS)]
    squares = sorted(sum(_signed(value) ** 2 for value, _ in row) for row in rows)
    if max(abs(_signed(value)) for value, _ in cells) >= 1 << 60:  # sums of this size may have wrapped round
        return None
    return math.sqrt(squares[ROWS // 2])


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _peel(cells: _Cells, count: int) -> dict[int, int] | None:
    found: dict[int, int] = {}
    progress = True
    while progress:
        progress = False
        for number in range(len(cells)):
            index = _only(cells, number, count)
            if index is None:
                continue
            if index in found or len(found) == LIMIT:
                return None
            row = number // CELLS
            value = place(code(index), row)[1] * cells[number][0]
            found[index] = _signed(value & WORD)
            _remove(cells, index, value)
            progress = True
    return None if any(value or weighted for value, weighted in cells) else found


def _remove(cells: _Cells, index: int, value: int) -> None:
    factor = code(index)
    for row in range(ROWS):
        cell, sign = place(factor, row)
        words = cells[row * CELLS + cell]
        words[0] = (words[0] - sign * value) & WORD
        words[1] = (words[1] - sign * value * factor) & WORD


def _only(cells: _Cells, number: int, count: int) -> int | None:
    """The index of the one element that cell `number` holds; None if it holds none, several, or leaves a choice."""
    value, weighted = cells[number]
    if value == 0:
        return None
    zeros = (value & -value).bit_length() - 1
    if weighted & ((1 << zeros) - 1):
        return None
    # value * code = weighted (mod 2**64) gives code modulo 2**known: the sign cancels
    known = 64 - zeros
    rest = ((weighted >> zeros) * pow(value >> zeros, -1, 1 << known)) & ((1 << known) - 1)
    if known < 32:
        return _hidden(cells, number, rest, known, count)
    index = _unmix(rest & HALF)
    factor = code(index)
    fits = factor & ((1 << known) - 1) == rest and place(factor, number // CELLS)[0] == number % CELLS
    return index if index < count and fits else None


def _hidden(cells: _Cells, number: int, rest: int, known: int, count: int) -> int | None:
    """Which element cell `number` holds, where a multiple of 2**33 shows only `known` bits of its code. Of the elements
    with these bits: the one that most cells hold alone, if no other is alone in as many.

    Each such cell says 3 bits of it, and all that is said must be MARGIN bits more than the number of an element has.
    """
    if count > MOST_HIDDEN:
        return None
    import numpy

    codes, places, signs = columns(count, numpy)
    fits = (codes[:count] & numpy.uint64((1 << known) - 1)) == numpy.uint64(rest)
    some = numpy.flatnonzero(fits & (places[number // CELLS, :count] == number))
    words = numpy.array(cells, dtype=numpy.uint64)
    there, sign = words[places[:, some]], signs[:, some]
    value = sign * sign[number // CELLS] * words[number, :1]
    alone = (there[..., 0] == value) & (there[..., 1] == value * codes[some])
    votes = alone.sum(axis=0)
    enough = 3 * votes + known >= (count - 1).bit_length() + MARGIN
    best = some[enough & (votes == votes.max(initial=0))]
    return int(best[0]) if len(best) == 1 else None


def _unmix(half: int) -> int:
    """The inverse of `probes.sketch.mix`."""
    half ^= half >> 16
    half = (half * _INVERSES[0]) & HALF
    half ^= half >> 13 ^ half >> 26
    half = (half * _INVERSES[1]) & HALF
    return half ^ half >> 16
