"""The C library's elementary functions: in double precision through Python's math and cmath, in single through ctypes.

glibc chooses variants by CPU features (FMA, AVX2), which differ in few results: 0.09% for exp. Hence 4099 points.
"""

import cmath
import ctypes
import math
import operator
from functools import partial
from typing import Any, Callable, List, NamedTuple, Optional, Sequence

from .. import inputs
from . import Operator

COUNT = 4099
COUNT_F32 = 1021
"""Fewer where every point costs a call through ctypes."""


class Function(NamedTuple):
    """A function of one or two arguments over [low, high), the second over [low2, high2)."""

    name: str
    low: float
    high: float
    low2: Optional[float] = None
    high2: float = 0.0
    control: bool = False  # exact or correctly rounded by definition


FUNCTIONS = (
    Function("exp", -30.0, 30.0),
    Function("exp2", -30.0, 30.0),
    Function("expm1", -4.0, 4.0),
    Function("log", 0.001, 1000.0),
    Function("log2", 0.001, 1000.0),
    Function("log10", 0.001, 1000.0),
    Function("log1p", -0.9, 10.0),
    Function("sin", -30.0, 30.0),
    Function("cos", -30.0, 30.0),
    Function("tan", -30.0, 30.0),
    Function("asin", -1.0, 1.0),
    Function("acos", -1.0, 1.0),
    Function("atan", -20.0, 20.0),
    Function("sinh", -10.0, 10.0),
    Function("cosh", -10.0, 10.0),
    Function("tanh", -5.0, 5.0),
    Function("asinh", -50.0, 50.0),
    Function("acosh", 1.0, 50.0),
    Function("atanh", -0.99, 0.99),
    Function("cbrt", -100.0, 100.0),
    Function("erf", -4.0, 4.0),
    Function("erfc", -4.0, 4.0),
    Function("pow", 0.01, 30.0, -5.0, 5.0),
    Function("atan2", -5.0, 5.0, -5.0, 5.0),
    Function("fmod", -500.0, 500.0, 0.5, 8.0, control=True),
    Function("remainder", -500.0, 500.0, 0.5, 8.0, control=True),
    Function("sqrt", 0.0, 1000.0, control=True),
)
"""Functions of the math module that call the C library's function of that name. Others are CPython's own code (gamma,
lgamma, hypot, dist): see python.py. A Python that lacks one (exp2 and cbrt before 3.11) has no such operator."""

SINGLE = (
    Function("expf", -20.0, 20.0),
    Function("exp2f", -20.0, 20.0),
    Function("logf", 0.001, 1000.0),
    Function("log2f", 0.001, 1000.0),
    Function("sinf", -30.0, 30.0),
    Function("cosf", -30.0, 30.0),
    Function("tanhf", -5.0, 5.0),
    Function("powf", 0.01, 30.0, -3.0, 3.0),
)


def operators() -> List[Operator]:
    """math, the power operator, cmath, long arguments, then single precision where the C library can be called."""
    found = [
        _row(row.name, partial(_apply, getattr(math, row.name), row, COUNT, 53), row.control)
        for row in FUNCTIONS
        if hasattr(math, row.name)
    ]
    found += [
        _row("float_power", _float_power),
        _row("sin.large", partial(_large, math.sin)),
        _row("cos.large", partial(_large, math.cos)),
        _row("complex_abs", _complex_abs),
        _row("cmath.phase", partial(_complex_map, cmath.phase)),
        _row("cmath.exp", partial(_complex_map, cmath.exp)),
        _row("cmath.log", partial(_complex_map, cmath.log)),
        _row("cmath.sin", partial(_complex_map, cmath.sin)),
    ]
    library = _library()
    if library is not None:
        found += [_row(row.name, partial(_apply, _single(library, row), row, COUNT_F32, 24)) for row in SINGLE]
    return found


def _row(name: str, function: Callable[[], Any], control: bool = False) -> Operator:
    return Operator("libm.{}".format(name), "libm", function, control=control)


@inputs.cached
def _unit(name: str, count: int, bits: int) -> Sequence[float]:
    return inputs.uniform("libm." + name, count, bits)


def _grid(name: str, count: int, bits: int, low: float, high: float) -> List[float]:
    half = (high - low) / 2
    return [(value + 1.0) * half + low for value in _unit(name, count, bits)]


def _apply(function: Callable[..., float], row: Function, count: int, bits: int) -> List[float]:
    first = _grid("x", count, bits, row.low, row.high)
    if row.low2 is None:
        return list(map(function, first))
    return list(map(function, first, _grid("y", count, bits, row.low2, row.high2)))


def _float_power() -> List[float]:
    return list(map(operator.pow, _grid("x", COUNT, 53, 0.01, 30.0), _grid("y", COUNT, 53, -3.0, 3.0)))


def _large(function: Callable[[float], float]) -> List[float]:
    """Arguments to 2**60, where the reduction by pi needs many digits."""
    return [function(math.ldexp(value, place % 60)) for place, value in enumerate(_unit("x", COUNT, 53)[:1021])]


def _complex() -> List[complex]:
    return list(map(complex, _grid("x", 1021, 53, -5.0, 5.0), _grid("y", 1021, 53, -5.0, 5.0)))


def _complex_abs() -> List[float]:
    return list(map(abs, _complex()))


def _complex_map(function: Callable[[complex], Any]) -> List[float]:
    results = [complex(function(value)) for value in _complex()]
    return [value.real for value in results] + [value.imag for value in results]


def _library() -> Optional[Any]:
    """The C library's mathematics: by glibc's name, else whatever the process has loaded (musl, macOS). Not by
    ctypes.util.find_library, which starts compilers."""
    for name in ("libm.so.6", None):
        try:
            library = ctypes.CDLL(name)
            library.expf  # noqa: B018 - looks the symbol up
        except (OSError, AttributeError, TypeError):
            continue
        return library
    return None


def _single(library: Any, row: Function) -> Any:
    function = getattr(library, row.name)
    function.restype = ctypes.c_float
    function.argtypes = [ctypes.c_float] * (1 if row.low2 is None else 2)
    return function
