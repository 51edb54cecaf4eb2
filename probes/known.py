"""Computations whose right answers are known: with exact integers, or with decimal digits far beyond the format.

They decide which of two cores that disagree is the wrong one, which no majority can. Each gives, for every result, its
bits XOR the right ones: 0 where it is right. What IEEE 754 rounds (+, -, *, /, the square root) has one right answer;
of a function of the C library, anything within one unit in the last place is right.
"""

import decimal
import math
import struct
import sys
from fractions import Fraction
from functools import partial
from typing import Any, Callable, Dict, List, Sequence

from . import inputs
from .digest import tensor
from .operators import Operator

PREFIX = "known."
"""Of the names of these operators."""

COUNT = 64
SHAPE = (24, 200, 24)
"""Of a product of matrices of whole numbers so small that every sum is exact, in whichever order it is made."""

_DIGITS = decimal.Context(prec=40)
_BINARY = {"f32": ("<f", "<I", 24), "f64": ("<d", "<Q", 53)}


def operators() -> List[Operator]:
    """Arithmetic, the C library's functions, and with numpy the same by vectors and products of matrices."""
    found = [
        _operator("add", "fpu", lambda: _exact(*_sums())),
        _operator("multiply", "fpu", lambda: _exact(*_products())),
        _operator("divide", "fpu", lambda: _exact(*_quotients())),
        _operator("sqrt", "fpu", lambda: _exact(list(map(math.sqrt, _above())), list(map(_root, _above())), "f64")),
        _operator(
            "fsum",
            "python",
            lambda: _exact([math.fsum(_numbers("x"))], [sum(map(Fraction, _numbers("x")), Fraction())], "f64"),
        ),
        _operator("power_modulo", "python", _fermat),
        _operator("exp", "libm", lambda: _near(math.exp, _DIGITS.exp, _numbers("x"))),
        _operator("log", "libm", lambda: _near(math.log, _DIGITS.ln, _above())),
        _operator("sin", "libm", lambda: _near(math.sin, _sine, _numbers("x"))),
    ]
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        for dtype in _BINARY:
            found += [
                _operator("numpy.{}.{}".format(name, dtype), "numpy", partial(_vectors, numpy, name, dtype))
                for name in ("add", "multiply", "divide", "sqrt")
            ]
            found.append(_operator("matmul.{}".format(dtype), "blas", partial(_matmul, numpy, dtype)))
    return found


def is_right(seen: Dict[str, Any]) -> bool:
    """Whether what an operator of this file gave is right throughout. seen: what `sketch.observe` kept of it."""
    return bool(seen.get("digest") == tensor([0] * seen["shape"][0]).digest().hex()) if "shape" in seen else False


def _operator(name: str, component: str, function: Callable[[], Any]) -> Operator:
    return Operator(PREFIX + name, component, function)


def _numbers(name: str, bits: int = 53) -> List[float]:
    """In [-1, 1), with 0.5 added to what is nearly zero: far from subnormal numbers."""
    return [x if abs(x) > 0.01 else x + 0.5 for x in inputs.uniform("known." + name, COUNT, bits)]


def _above(bits: int = 53) -> List[float]:
    return list(map(abs, _numbers("x", bits)))


def _pairs(bits: int = 53) -> Sequence[Any]:
    return list(zip(_numbers("x", bits), _numbers("y", bits)))


def _sums() -> Any:
    return [x + y for x, y in _pairs()], [Fraction(x) + Fraction(y) for x, y in _pairs()]


def _products() -> Any:
    return [x * y for x, y in _pairs()], [Fraction(x) * Fraction(y) for x, y in _pairs()]


def _quotients() -> Any:
    return [x / y for x, y in _pairs()], [Fraction(x) / Fraction(y) for x, y in _pairs()]


def _root(x: float) -> Fraction:
    """The square root to 200 binary places, and then a one if that is not all of it: it rounds as the root does."""
    exact = Fraction(x)
    scaled = (exact.numerator << 400) // exact.denominator
    root = math.isqrt(scaled)
    return Fraction(2 * root + (root * root != scaled), 1 << 201)


def _exact(given: Sequence[float], right: Sequence[Fraction], dtype: str = "f64") -> List[int]:
    """A quotient of integers is rounded once by CPython's own integers; to single precision rounding twice is the same
    (Figueroa, "When is double rounding innocuous?", SIGNUM 1995)."""
    return [_bits(one, dtype) ^ _bits(float(other), dtype) for one, other in zip(given, right)]


def _bits(value: float, dtype: str) -> int:
    floating, whole, _ = _BINARY[dtype]
    return int(struct.unpack(whole, struct.pack(floating, value))[0])


def _near(function: Callable[[float], float], digits: Callable[[decimal.Decimal], Any], xs: List[float]) -> List[int]:
    found = []
    for x in xs:
        given, right = function(x), digits(decimal.Decimal(x))
        unit = decimal.Decimal(math.ldexp(1.0, math.frexp(given)[1] - 53))
        near = _DIGITS.abs(_DIGITS.subtract(decimal.Decimal(given), right)) <= unit
        found.append(0 if near else _bits(given, "f64") ^ _bits(float(right), "f64"))
    return found


def _sine(x: decimal.Decimal) -> decimal.Decimal:
    """Its series, for numbers in [-1.5, 1.5]."""
    term = total = x
    for n in range(1, 20):
        term = _DIGITS.divide(_DIGITS.multiply(term, -x * x), decimal.Decimal(2 * n * (2 * n + 1)))
        total = _DIGITS.add(total, term)
    return total


def _fermat() -> List[int]:
    """By Fermat's little theorem the power of what is no multiple of a prime is 1."""
    prime = (1 << 61) - 1
    return [pow(n % (prime - 1) + 1, prime - 1, prime) ^ 1 for n in inputs.integers("known.whole", COUNT)]


def _vectors(np: Any, name: str, dtype: str) -> List[int]:
    bits = _BINARY[dtype][2]
    if name == "sqrt":
        xs = _above(bits)
        return _exact(np.sqrt(_array(np, xs, dtype)).tolist(), list(map(_root, xs)), dtype)
    right = {"add": Fraction.__add__, "multiply": Fraction.__mul__, "divide": Fraction.__truediv__}[name]
    first, second = zip(*_pairs(bits))
    given = getattr(np, name)(_array(np, first, dtype), _array(np, second, dtype))
    return _exact(given.tolist(), [right(Fraction(x), Fraction(y)) for x, y in zip(first, second)], dtype)


def _array(np: Any, numbers: Sequence[float], dtype: str) -> Any:
    return np.array(numbers, {"f32": "float32", "f64": "float64"}[dtype])


def _matmul(np: Any, dtype: str) -> List[int]:
    """Against numpy's product of integers, which is a loop of its own."""
    rows, inner, columns = SHAPE
    a = np.array(inputs.integers("known.a", rows * inner), "uint64").reshape(rows, inner) % 17
    b = np.array(inputs.integers("known.b", inner * columns), "uint64").reshape(inner, columns) % 17
    a, b = a.astype("int64") - 8, b.astype("int64") - 8
    given = _array(np, a, dtype) @ _array(np, b, dtype)
    right = _array(np, a @ b, dtype)
    words = given.view("u{}".format(given.itemsize)) ^ right.view("u{}".format(given.itemsize))
    return list(map(int, words.ravel()))
