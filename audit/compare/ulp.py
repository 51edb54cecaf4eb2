"""Distances between floating-point numbers in units in the last place, over the bits and not over the values.

A float's bits, read as sign and magnitude, map to integers that have the floats' order; the difference of two such
integers counts the floats between them. NaN has no place in that order: it is counted apart, as are infinities.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

_FLOATS = {"f2": ("e", "H", 15), "bf2": ("", "H", 15), "f4": ("f", "I", 31), "f8": ("d", "Q", 63)}
"""By type: the code of its value (none of bfloat16's), of its bits, and which of them is the sign."""

_INTEGERS = {"b1": "B", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}


@dataclass(frozen=True)
class Element:
    """One element: its number, its bits in hex, and its place in the order of its type (None for NaN)."""

    value: float | int
    bits: str
    place: int | None


def real_type(dtype: str) -> tuple[str, int]:
    """The real type that a type is made of and how many of it one element has: c8 is two f4."""
    if dtype == "c8":
        return "f4", 2
    if dtype == "c16":
        return "f8", 2
    return dtype, 1


def is_numeric(dtype: str) -> bool:
    """Whether elements of this type can be decoded here (not: text, or a platform's long double)."""
    real, _ = real_type(dtype)
    return real in _FLOATS or real in _INTEGERS


def elements(dtype: str, data: bytes) -> list[Element]:
    """The elements of little-endian `data`, a complex number as two. Raises ValueError for a type that has no order
    here, or for data that is no whole number of elements."""
    real, _ = real_type(dtype)
    if real in _FLOATS:
        code, raw, sign = _FLOATS[real]
        width = struct.calcsize(raw)
        count = _count(len(data), width)
        patterns = struct.unpack(f"<{count}{raw}", data)
        values = struct.unpack(f"<{count}{code}", data) if code else [_bfloat16(bits) for bits in patterns]
        return [
            Element(value, f"0x{bits:0{2 * width}x}", None if math.isnan(value) else _place(bits, sign))
            for value, bits in zip(values, patterns, strict=True)
        ]
    if real in _INTEGERS:
        code = _INTEGERS[real]
        width = struct.calcsize("<" + code)
        count = _count(len(data), width)
        numbers = struct.unpack(f"<{count}{code}", data)
        return [Element(item, f"0x{item & ((1 << (8 * width)) - 1):0{2 * width}x}", item) for item in numbers]
    raise ValueError(f"no order for elements of type {dtype}")


def _bfloat16(bits: int) -> float:
    """The value of a bfloat16: the upper half of a float32."""
    value: float = struct.unpack("<f", struct.pack("<I", bits << 16))[0]
    return value


def _count(size: int, width: int) -> int:
    if size % width:
        raise ValueError(f"{size} bytes are no whole number of {width}-byte elements")
    return size // width


def _place(bits: int, sign: int) -> int:
    """-0.0 and 0.0 share place 0: they are equal as numbers, and counted apart as signed zeros."""
    magnitude = bits & ((1 << sign) - 1)
    return -magnitude if bits >> sign else magnitude


def percentile(ordered: list[int], percent: int) -> int:
    """Nearest-rank percentile of a sorted, non-empty list: the least of it that so many percent do not exceed."""
    return ordered[max(1, -(-len(ordered) * percent // 100)) - 1]
