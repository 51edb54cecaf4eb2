"""A linear sketch of a tensor: the difference of two machines' sketches is the sketch of their difference.

So two files give the exact ULP differences of 1 to 20 differing elements, wherever these sit in the tensor, without
either file holding the tensor (decoding: `audit/compare/sketch.py`). Layout: ROWS x CELLS cells of two unsigned 64-bit
words, little-endian, in which element i with ordered integer v (see `ordered`) adds, in one cell of every row,

    s*v  and  s*v*code(i)    mod 2**64        s = +1 or -1

`code` is a fixed integer hash of the index; its high half also chooses cell and sign, and its low half is a bijection
of 32 bits, so a cell with one element gives its index back by division. (With the plain index as factor, two elements
that are 1 ULP off would look like one, between them.) Peeling such cells is an invertible Bloom lookup table (Goodrich
and Mitzenmacher, "Invertible Bloom Lookup Tables", Allerton 2011); the first word alone is a count sketch (Charikar,
Chen, Farach-Colton, ICALP 2002), whose row norms estimate the L2 norm of any number of differences.

Why 7 rows of 8 cells: of 20 random elements, 1 set in 10,000 cannot be peeled (4 rows of 16 cells: 32 in 10,000, mostly
because two elements share all four cells).
"""

import base64
import string
import struct
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .digest import Tensor

ROWS = 7
CELLS = 8
BYTES = ROWS * CELLS * 16
WORD = (1 << 64) - 1
HALF = (1 << 32) - 1

SAMPLES = 256
TEXT_CHARACTERS = 200

_FORMATS = {"bf2": "H", "f2": "H", "f4": "I", "f8": "Q", "c8": "I", "c16": "Q", "b1": "B"}
_FORMATS.update({"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"})


def observe(tensor: Tensor, whole: bool = False, samples: int = SAMPLES, sketched: bool = True) -> Dict[str, Any]:
    """What a report keeps of a result: digest, dtype, shape and

    values: base64 of the little-endian bytes of up to 256 elements: all, if there are no more (or `whole`), else
            element k*n//samples for k = 0 to samples-1;
    sketch: base64, only where `values` is not all of them and the type is numeric (and only if `sketched`);
    text:   in place of these for dtype "text": at most 256 items of at most 200 characters.
    """
    seen: Dict[str, Any] = {
        "digest": tensor.digest().hex(),
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
    }
    if tensor.dtype == "text":
        items = tensor.data.decode("utf-8", "replace").split("\n")[:-1]
        seen["text"] = [item[:TEXT_CHARACTERS] for item in items[:SAMPLES]]
        return seen
    size = int(tensor.dtype.lstrip(string.ascii_letters))
    count = len(tensor.data) // size
    if whole or count <= SAMPLES:
        seen["values"] = _base64(tensor.data)
        return seen
    places = [size * (k * count // samples) for k in range(samples)]
    seen["values"] = _base64(b"".join([tensor.data[at : at + size] for at in places]))
    if sketched and elements(tensor) is not None:
        seen["sketch"] = _base64(sketch(tensor))
    return seen


def is_floating(dtype: str) -> bool:
    """Whether elements have a sign and a magnitude: floats, bfloat16 ("bf2", where "b1" is bool), complex numbers."""
    return dtype.startswith(("f", "c", "bf"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def mix(half: int) -> int:
    """A bijection of 32 bits: MurmurHash3's finaliser (Appleby, public domain)."""
    half = ((half ^ (half >> 16)) * 0x85EBCA6B) & HALF
    half = ((half ^ (half >> 13)) * 0xC2B2AE35) & HALF
    return half ^ (half >> 16)


def code(index: int) -> int:
    """The 64-bit factor of element `index` (below 2**32): `mix(index)` below, another hash of the index above."""
    low = mix(index)
    return mix(low ^ 0x9E3779B9) << 32 | low


def place(factor: int, row: int) -> Tuple[int, int]:
    """Cell (0 to CELLS-1) and sign (1 or -1) that the element with `code` factor has in `row`."""
    bits = factor >> (32 + 4 * row)
    return bits & 7, -1 if bits & 8 else 1


def elements(tensor: Tensor) -> Optional[int]:
    """The number of elements to sketch (a complex number is two), or None where this type has no sketch."""
    letter = _FORMATS.get(tensor.dtype)
    return None if letter is None else len(tensor.data) // struct.calcsize("<" + letter)


def ordered(tensor: Tensor) -> List[int]:
    """The elements as integers in the order of their values: 1 ULP is a step of 1, and equal integers are equal bits.

    Sign and magnitude become two's complement: +0 is 0, and -0, just below it, is -1. Integers and bools are
    themselves.
    """
    letter = _FORMATS[tensor.dtype]
    size = struct.calcsize("<" + letter)
    values = list(struct.unpack("<{}{}".format(len(tensor.data) // size, letter), tensor.data))
    if is_floating(tensor.dtype):
        top = 1 << (8 * size - 1)
        values = [value if value < top else top - 1 - value for value in values]
    return values


def sketch(tensor: Tensor) -> bytes:
    """The sketch of a numeric tensor of fewer than 2**32 elements: BYTES bytes, the same with numpy and without."""
    numpy = sys.modules.get("numpy")  # where nothing has imported it, it stays out: its import costs 0.1 s
    return _plain(tensor) if numpy is None else _fast(tensor, numpy)


def _plain(tensor: Tensor) -> bytes:
    words = [0] * (2 * ROWS * CELLS)
    for index, value in enumerate(ordered(tensor)):
        factor = code(index)
        for row in range(ROWS):
            cell, sign = place(factor, row)
            at = 2 * (CELLS * row + cell)
            words[at] += sign * value
            words[at + 1] += sign * value * factor
    return struct.pack("<{}Q".format(len(words)), *[word & WORD for word in words])


class _Plan(NamedTuple):
    """For one element count: the elements of every cell, cell after cell, with the factors of its two sums."""

    order: Any  # index of the element
    sign: Any
    factor: Any  # sign * code
    cells: Any  # the cells that have elements
    starts: Any  # where each of these begins in `order`


_plans: Dict[int, _Plan] = {}


def _fast(tensor: Tensor, numpy: Any) -> bytes:
    letter = _FORMATS[tensor.dtype]
    values = numpy.frombuffer(tensor.data, dtype="<i" + str(struct.calcsize("<" + letter)))
    if is_floating(tensor.dtype):  # the order of `ordered`, in two's complement
        values = numpy.where(values < 0, values ^ numpy.iinfo(values.dtype).max, values)
    elif tensor.dtype[0] in "ub":
        values = values.view(values.dtype.str.replace("i", "u"))
    values = values.astype(numpy.int64).view(numpy.uint64)
    if len(values) not in _plans:
        _plans[len(values)] = _plan(len(values), numpy)
    plan = _plans[len(values)]
    spread = values[plan.order]
    words = numpy.zeros((ROWS * CELLS, 2), dtype="<u8")
    if len(values):
        words[plan.cells, 0] = numpy.add.reduceat(spread * plan.sign, plan.starts)
        words[plan.cells, 1] = numpy.add.reduceat(spread * plan.factor, plan.starts)
    return bytes(words.tobytes())


def _plan(count: int, numpy: Any) -> _Plan:
    """The elements 0 to count-1 sorted by cell; numpy's arithmetic is exact mod 2**64."""
    factor, cell, sign = (column[..., :count] for column in columns(max(count, 1 << 14), numpy))
    cell = cell.ravel()
    order = numpy.argsort(cell, kind="stable")
    sizes = numpy.bincount(cell)
    cells = numpy.flatnonzero(sizes)
    starts = (numpy.cumsum(sizes) - sizes)[cells]
    sign = sign.ravel()[order]
    order = order % count
    return _Plan(order, sign, sign * factor[order], cells, starts)


_widest: List[Tuple[Any, Any, Any]] = []


def columns(count: int, numpy: Any) -> Tuple[Any, Any, Any]:
    """`code`, and for every row `place` as cell and sign mod 2**64, of at least the indices 0 to count-1: an element's
    are the same in a tensor of any size, so they are computed once."""
    if _widest and len(_widest[-1][0]) >= count:
        return _widest[-1]

    def mixed(half: Any) -> Any:
        half = ((half ^ (half >> word(16))) * word(0x85EBCA6B)) & word(HALF)
        half = ((half ^ (half >> word(13))) * word(0xC2B2AE35)) & word(HALF)
        return half ^ (half >> word(16))

    word = numpy.uint64
    low = mixed(numpy.arange(count, dtype=word))
    factor = mixed(low ^ word(0x9E3779B9)) << word(32) | low
    rows = numpy.arange(ROWS, dtype=word)[:, None]
    bits = factor >> (word(32) + word(4) * rows)
    cell = ((bits & word(7)) + rows * word(CELLS)).astype(numpy.uint8)
    _widest[:] = [(factor, cell, word(1) - ((bits >> word(2)) & word(2)))]
    return _widest[-1]
