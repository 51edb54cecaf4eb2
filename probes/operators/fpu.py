"""The processor's floating-point state: subnormal numbers, rounding, signed zeros, NaN, contraction, long double.

**Only this file may touch subnormal numbers**: everything else keeps inputs, intermediate values and results away from
them, so that a library which switches on flush-to-zero moves operators of this file and no other. Rows with `wide`
show the rounding mode, which changes everything.
"""

import ctypes
import math
import struct
import sys
from functools import partial
from typing import Any, Callable, List, Tuple

from .. import inputs
from . import Operator

SMALLEST_NORMAL = sys.float_info.min

_Row = Tuple[str, Callable[[], Any], bool]


def operators() -> List[Operator]:
    """Python's floats first; then single precision and long double through numpy, if there is numpy."""
    rows: List[_Row] = [
        ("subnormal.half", _subnormal_half, False),
        ("subnormal.sum", _subnormal_sum, False),
        ("subnormal.difference", _subnormal_difference, False),
        ("subnormal.product", _subnormal_product, False),
        ("subnormal.input", _subnormal_input, False),
        ("subnormal.compare", _subnormal_compare, False),
        ("subnormal.f32", _subnormal_single, False),
        ("rounding.divide", _rounding_divide, True),
        ("rounding.add", _rounding_add, True),
        ("rounding.sqrt", _rounding_sqrt, True),
        ("rounding.ties", _rounding_ties, True),
        ("rounding.f32", _rounding_single, True),
        ("rounding.integer", _rounding_integer, True),
        ("signed_zero", _signed_zero, False),
        ("nan.propagation", _nan_propagation, False),
        ("infinity", _infinity, False),
        ("overflow", _overflow, True),
        ("contraction.complex_product", _contraction, False),
        ("double_rounding", _double_rounding, False),
        ("long_double.size", _long_double_size, False),
    ]
    try:
        import numpy
    except ImportError:
        pass  # the rows above speak for the processor
    else:
        rows += [
            ("numpy.subnormal.f32", partial(_numpy_subnormal, numpy, "float32"), False),
            ("numpy.subnormal.f64", partial(_numpy_subnormal, numpy, "float64"), False),
            ("numpy.subnormal.f16_cast", partial(_numpy_half, numpy), False),
            ("numpy.rounding.f32", partial(_numpy_rounding, numpy, "float32"), True),
            ("numpy.rounding.f64", partial(_numpy_rounding, numpy, "float64"), True),
            ("numpy.contraction.f32", partial(_numpy_contraction, numpy, "float32"), False),
            ("numpy.contraction.f64", partial(_numpy_contraction, numpy, "float64"), False),
            ("numpy.long_double.divide", partial(_long_double, numpy, "divide"), True),
            ("numpy.long_double.sqrt", partial(_long_double, numpy, "sqrt"), True),
            ("numpy.long_double.epsilon", partial(_long_double_epsilon, numpy), False),
        ]
    return [Operator("fpu." + name, "fpu", function, wide=wide) for name, function, wide in rows]


def _numbers(count: int = 61) -> List[float]:
    return [value + 2.0 for value in inputs.uniform("fpu", count, 53)]


def _subnormal_half() -> List[float]:
    return [SMALLEST_NORMAL * 0.5**power for power in range(1, 53)]


def _subnormal_sum() -> List[float]:
    tiny = [SMALLEST_NORMAL / divisor for divisor in (3.0, 5.0, 7.0, 11.0)]
    return [a + b for a in tiny for b in tiny]


def _subnormal_difference() -> List[float]:
    """Neighbours of the smallest normal number: the gradual underflow of a subtraction."""
    return [SMALLEST_NORMAL * (1.0 + place * sys.float_info.epsilon) - SMALLEST_NORMAL for place in range(1, 20)]


def _subnormal_product() -> List[float]:
    return [value * 1e-160 * (value * 1e-150) for value in _numbers()]


def _subnormal_input() -> List[float]:
    """Subnormal operands and a normal result: denormals-are-zero, apart from flush-to-zero. The bits come by struct,
    because arithmetic cannot make them where they are flushed."""
    tiny = [struct.unpack("<d", struct.pack("<q", bits))[0] for bits in (1, 12345, 1 << 40, (1 << 52) - 1)]
    return [value * 2.0**600 for value in tiny]


def _subnormal_compare() -> List[bool]:
    tiny = struct.unpack("<d", struct.pack("<q", 1))[0]
    return [tiny == 0.0, tiny > 0.0, bool(tiny), tiny != -tiny]


def _subnormal_single() -> List[int]:
    """Conversion from double to single below the smallest normal single."""
    return [struct.unpack("<i", struct.pack("<f", value * 2.0**-130))[0] for value in _numbers()]


def _rounding_divide() -> List[float]:
    thirds = [1.0 / value for value in (3.0, 7.0, 11.0, 13.0, 17.0)]
    return thirds + [-value for value in thirds] + [-1.0 / value for value in (3.0, 7.0, 11.0, 13.0, 17.0)]


def _rounding_add() -> List[float]:
    tenth, fifth = (float(numerator) / 10.0 for numerator in (1, 2))
    return [tenth + fifth, -tenth - fifth, 1.0 + tenth, 2.0**53 + 1.0 + tenth]


def _rounding_sqrt() -> List[float]:
    return [math.sqrt(value) for value in (2.0, 3.0, 5.0, 7.0)]


def _rounding_ties() -> List[float]:
    """Exactly half-way: to even, away or towards zero."""
    half = 2.0**-53
    return [sign * (base + half) for sign in (1.0, -1.0) for base in (1.0, 1.0 + 2.0**-52)] + [-1.0 - half]


def _rounding_single() -> List[int]:
    return [struct.unpack("<i", struct.pack("<f", value))[0] for value in _numbers()]


def _rounding_integer() -> List[float]:
    """Integers beyond 2**53 become doubles by the processor's conversion, where the interpreter leaves it to that."""
    return [float((1 << 62) + offset) * 1.0 for offset in (255, 256, 257, 511, 512, 513)] + [_c_nearbyint(3.5)]


def _c_nearbyint(value: float) -> float:
    """The C library's nearbyint, which obeys the rounding mode; NaN where it cannot be called."""
    try:
        function = ctypes.CDLL(None).nearbyint
    except (OSError, AttributeError, TypeError):
        return math.nan
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    return float(function(value))


def _signed_zero() -> List[float]:
    zero = 0.0 * _numbers(1)[0]
    return [
        -zero,
        zero + -zero,
        -zero + -zero,
        zero - zero,
        -zero * 1.0,
        math.atan2(-zero, 1.0),
        math.sqrt(-zero),
    ]


def _nan_propagation() -> List[int]:
    """A NaN's payload through arithmetic and the sign of a new NaN, as bits. Never two NaN at once: which of them
    survives is the choice of a compiler that swaps operands, and emulators get it wrong."""
    quiet = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000005))[0]
    made = math.inf - math.inf
    results = [quiet + 1.0, 2.0 * quiet, quiet - math.inf, -quiet, made, made + 1.0, -made, math.inf * 0.0]
    return [struct.unpack("<q", struct.pack("<d", value))[0] for value in results]


def _infinity() -> List[float]:
    big = math.inf
    return [big + 1.0, -big, big * -2.0, 1.0 / big, -1.0 / big, math.copysign(1.0, -1.0 / big)]


def _overflow() -> List[float]:
    """Infinity when rounding to nearest, the largest number when rounding towards zero."""
    return [sys.float_info.max * 2.0, -sys.float_info.max * 2.0, sys.float_info.max + 2.0**969]


def _contraction() -> List[float]:
    """a*c - b*d of a complex product, in the interpreter's C code: not 0 if a compiler fused one product (aarch64,
    ppc64le, -ffp-contract=fast)."""
    small = [2.0**-27 + value * 2.0**-40 for value in _numbers(9)]
    products = [complex(1.0 + e, 1.0 - e) * complex(1.0 - e, 1.0 + e) for e in small]
    return [value.real for value in products] + [value.imag for value in products]


def _double_rounding() -> List[float]:
    """Sums that x87's 64-bit significands round twice (D. Monniaux, "The pitfalls of verifying floating-point
    computations", 2008)."""
    return [1.0 + (2.0**-53 + 2.0**-64), 1e16 + 2.9999, 1.0 + 2.0**-52 + (2.0**-53 - 2.0**-65)]


def _long_double_size() -> int:
    return ctypes.sizeof(ctypes.c_longdouble)


def _numpy_subnormal(np: Any, dtype: str) -> Any:
    values = np.array(_numbers(67), dtype)
    tiny = values * np.finfo(dtype).tiny * _scalar(np, dtype, 0.125)
    return np.concatenate([tiny, tiny + tiny[::-1], tiny * _scalar(np, dtype, 2.0**20), np.sqrt(tiny)])


def _scalar(np: Any, dtype: str, value: float) -> Any:
    """`value` as a scalar of that dtype, so that no version's promotion rules widen an array."""
    return np.dtype(dtype).type(value)


def _numpy_half(np: Any) -> Any:
    return (np.array(_numbers(67), "float32") * np.float32(2.0**-17)).astype("float16")


def _numpy_rounding(np: Any, dtype: str) -> Any:
    values = np.array(_numbers(67), dtype)
    return np.concatenate([1 / values, -1 / values, np.sqrt(values), values + 1 / values, values * values[::-1]])


def _numpy_contraction(np: Any, dtype: str) -> Any:
    """a * b - c in two ufuncs, which must round twice: not 0 means that loops were merged."""
    half = 2.0 ** -(np.finfo(dtype).nmant // 2 + 2)
    a, b = np.array([1.0 + half] * 67, dtype), np.array([1.0 - half] * 67, dtype)
    return a * b - np.ones(67, dtype)


def _long_double(np: Any, name: str) -> Any:
    """High and low part as doubles: a long double's own bytes have padding of no defined value."""
    values = np.array(_numbers(), np.longdouble)
    result = np.sqrt(values) if name == "sqrt" else 1 / values
    high = result.astype("float64")
    return np.concatenate([high, (result - high).astype("float64")])


def _long_double_epsilon(np: Any) -> List[float]:
    information = np.finfo(np.longdouble)
    return [float(information.eps), float(information.nmant)]
