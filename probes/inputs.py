"""Inputs that are the same bits on every machine, library and version.

Weights, data and operator inputs come from this counter-based generator and not from a library's random stream, because
random streams are a component of their own, which must not move the others. SplitMix64's output function (Steele, Lea,
Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014) is applied to a counter; only integer arithmetic
and exact conversions to floating point are used, so rounding, SIMD and flush-to-zero cannot change a bit.
"""

import sys
from functools import lru_cache
from typing import Any, Callable, List, TypeVar

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15

_F = TypeVar("_F", bound=Callable[..., Any])


class _Round:
    suffix = ""  # of every stream's name


_kept: List[Callable[[], None]] = []


def begin_round(number: int) -> None:
    """From here on every stream is another one, the same on all machines. Round 0 has the streams of every report."""
    _Round.suffix = "#{}".format(number) if number else ""
    for forget in _kept:
        forget()


def forgotten(forget: Callable[[], None]) -> None:
    """Let `forget` empty what is kept of streams, when another round begins."""
    _kept.append(forget)


def cached(function: _F) -> _F:
    """`function`, called once a round for the same arguments."""
    once: Any = lru_cache(maxsize=None)(function)
    forgotten(once.cache_clear)
    return once  # type: ignore[no-any-return]


def seed_of(name: str) -> int:
    """A 64-bit seed that stands for `name` (FNV-1a over its UTF-8 bytes)."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & _MASK
    return value


def integers(name: str, count: int) -> List[int]:
    """`count` uniform 64-bit integers of the stream called `name`."""
    numpy = sys.modules.get("numpy")  # the same integers, faster; where nothing has imported it, it stays out
    if numpy is not None:
        made: List[int] = _words(name, count, numpy).tolist()
        return made
    state = seed_of(name + _Round.suffix)
    out = []
    for _ in range(count):
        state = (state + _STEP) & _MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        out.append(z ^ (z >> 31))
    return out


def uniform(name: str, count: int, bits: int = 24) -> List[float]:
    """`count` floats in [-1, 1), multiples of 2**(1-bits): exact in float32 with 24 bits, in float64 with 53."""
    scale = 2.0 ** (1 - bits)
    shift = 64 - bits
    numpy = sys.modules.get("numpy")
    if numpy is not None:  # the same exact arithmetic, faster
        made: List[float] = (
            (_words(name, count, numpy) >> numpy.uint64(shift)).astype("float64") * scale - 1.0
        ).tolist()
        return made
    return [(value >> shift) * scale - 1.0 for value in integers(name, count)]


def array(name: str, shape: Any, dtype: str = "float32") -> Any:
    """A numpy array in [-1, 1) of dtype float32 or float64 (24 or 53 significant bits), or complex64/complex128.

    Bit-identical to `uniform` of the same name and bits: the same integers, made by numpy's exact uint64 arithmetic.
    """
    import numpy

    if dtype.startswith("complex"):
        part = "float32" if dtype == "complex64" else "float64"
        pair = array(name, (*_as_tuple(shape), 2), part)
        return pair.view(dtype)[..., 0]
    count = 1
    for length in _as_tuple(shape):
        count *= length
    z = _words(name, count, numpy)
    bits = 24 if dtype == "float32" else 53
    whole = (z >> numpy.uint64(64 - bits)).astype(numpy.int64) - (1 << (bits - 1))
    return (whole.astype(dtype) * numpy.dtype(dtype).type(2.0 ** (1 - bits))).reshape(shape)


def _words(name: str, count: int, numpy: Any) -> Any:
    z = numpy.arange(1, count + 1, dtype=numpy.uint64)
    z *= numpy.uint64(_STEP)
    z += numpy.uint64(seed_of(name + _Round.suffix))
    z ^= z >> numpy.uint64(30)
    z *= numpy.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> numpy.uint64(27)
    z *= numpy.uint64(0x94D049BB133111EB)
    z ^= z >> numpy.uint64(31)
    return z


def _as_tuple(shape: Any) -> Any:
    return (shape,) if isinstance(shape, int) else tuple(shape)
