"""What the interpreter itself computes: its sums, its numbers as text, exact arithmetic, own mathematical functions.

Versions of Python differ here: `sum` of floats has been a compensated sum since 3.12. A row that says `libm` computes
with the C library's functions inside.
"""

import decimal
import fractions
import json
import math
import operator
import statistics
import struct
from functools import reduce
from typing import Any, Callable, List, Sequence, Tuple

from .. import inputs
from . import Operator

COUNT = 997

LIBM = ("libm",)


def operators() -> List[Operator]:
    """Sums, text, arithmetic, library modules."""
    return [Operator("python." + name, "python", function, through) for name, function, through in ROWS]


@inputs.cached
def _numbers(low: float = -1.0, high: float = 1.0) -> Sequence[float]:
    half = (high - low) / 2
    return [(value + 1.0) * half + low for value in inputs.uniform("python", COUNT, 53)]


@inputs.cached
def _whole() -> Sequence[int]:
    return inputs.integers("python.whole", 301)


def _spread() -> List[float]:
    """Numbers from 2**-600 to 2**600, all of them normal; by ldexp, because a power would pass through libm."""
    return [math.ldexp(value, place * 7 % 1200 - 600) for place, value in enumerate(_numbers(1.0, 2.0))]


def _complex() -> List[complex]:
    return list(map(complex, _numbers(1.0, 3.0), reversed(_numbers(-2.0, 2.0))))


def _parts(values: Sequence[complex]) -> List[float]:
    return [value.real for value in values] + [value.imag for value in values]


def _sum_tenths() -> List[float]:
    return [sum([0.1] * count) for count in range(1, 60)]


def _sum_complex() -> List[float]:
    return _parts([sum(_complex())])


def _format() -> List[str]:
    numbers = _spread()
    return ["{:.3e} {:.6g} {:.17g} %.10f".format(value, value, value) % value for value in numbers[150:250]]


def _parse() -> List[float]:
    """Digits of many lengths, then two that lie half-way or next to it."""
    texts = [
        "{}.{}e{}".format(digits[:1], digits[1 : 2 + place % 18], place % 300 - 150)
        for place, digits in enumerate(map(str, _whole()))
    ]
    texts += ["9007199254740993", "1.00000000000000011102230246251565404236316680908203125"]
    return list(map(float, texts))


def _round() -> List[float]:
    rounded = [round(value, digits) for digits in (0, 1, 2, 5, -1) for value in _numbers(-50.0, 50.0)[:199]]
    return [*rounded, round(2.675, 2), float(round(0.5)), float(round(1.5))]


def _power_integer() -> List[float]:
    return [value**exponent for value in _numbers(0.5, 2.0)[:199] for exponent in (2, 3, 7, -2)]


def _power_modulo() -> List[int]:
    return [pow(value, 65537, (1 << 61) - 1) for value in _whole()]


def _divmod() -> List[float]:
    pairs = [divmod(value, 0.7) for value in _numbers(-50.0, 50.0)]
    return [part for pair in pairs for part in pair]


def _integers() -> List[str]:
    big = reduce(operator.mul, _whole()[:40])
    return [
        str(big),
        hex(big),
        str(big // 12345678901),
        str(big % 998244353),
        str(big >> 77),
        str(math.isqrt(big)),
    ]


def _true_divide() -> List[float]:
    return [first / second for first, second in zip(_whole(), _whole()[1:])]


def _integer_to_float() -> List[float]:
    return [float(value * value) for value in _whole()]


def _complex_arithmetic() -> List[float]:
    values = _complex()
    return _parts([a * b for a, b in zip(values, values[1:])] + [a / b for a, b in zip(values, values[1:])])


def _complex_power() -> List[float]:
    return _parts([value ** (0.5 + 0.25j) for value in _complex()])


def _mean() -> List[float]:
    numbers = _numbers()[:99]
    return [
        statistics.mean(numbers),
        statistics.fmean(numbers),
        statistics.median(numbers),
        statistics.pvariance(numbers),
    ]


def _deviation() -> List[float]:
    numbers = _numbers()[:99]
    return [statistics.stdev(numbers), statistics.pstdev(numbers), statistics.variance(numbers)]


def _normal_distribution() -> List[float]:
    normal = statistics.NormalDist(0.5, 2.0)
    return [f(value) for f in (normal.cdf, normal.pdf) for value in _numbers(-3.0, 3.0)[:99]] + [
        normal.inv_cdf(value) for value in _numbers(0.01, 0.99)[:99]
    ]


def _geometric_mean() -> float:
    return statistics.geometric_mean(_numbers(0.5, 3.0)[:99])


def _decimal() -> List[str]:
    context = decimal.Context(prec=40)
    numbers = [decimal.Decimal(value) for value in (2, 3, "0.1", "7.25")]
    return (
        [str(f(value)) for f in (context.sqrt, context.exp, context.ln, context.log10) for value in numbers]
        + [str(context.divide(a, b)) for a in numbers for b in numbers]
        + [str(context.power(numbers[3], numbers[2]))]
    )


def _fractions() -> List[str]:
    exact = [fractions.Fraction(value) for value in _numbers()[:40]]
    total = sum(exact, fractions.Fraction(0))
    return [str(total), str(total.limit_denominator(10**6)), repr(float(total / 3))]


def _hash_numbers() -> List[int]:
    return [hash(value) for value in (*_numbers()[:99], *_whole()[:99], *_complex()[:20], fractions.Fraction(22, 7))]


def _hash_tuples() -> List[int]:
    return [hash((value, -value, 3)) for value in _whole()[:99]]


def _json() -> str:
    text = json.dumps({"numbers": list(_numbers()[:99]), "whole": list(_whole()[:9])}, sort_keys=True)
    return json.dumps(json.loads(text))


def _struct_single() -> List[int]:
    return list(struct.unpack("<{}i".format(COUNT), struct.pack("<{}f".format(COUNT), *_numbers())))


def _struct_half() -> List[int]:
    return list(struct.unpack("<{}h".format(COUNT), struct.pack("<{}e".format(COUNT), *_numbers(1.0, 2.0))))


def _sorted() -> List[int]:
    """Indices in a stable order, with many equal keys."""
    return sorted(range(COUNT), key=lambda place: int(_numbers()[place] * 10.0))


def _modf() -> List[float]:
    return [part for value in _numbers(-50.0, 50.0) for part in (*math.modf(value), *map(float, math.frexp(value)))]


def _ratio() -> List[str]:
    return ["{}/{}".format(*value.as_integer_ratio()) for value in _numbers()[:99]]


_Row = Tuple[str, Callable[[], Any], Tuple[str, ...]]

ROWS: Tuple[_Row, ...] = (
    ("sum.f64", lambda: sum(_numbers()), ()),
    ("sum.tenths", _sum_tenths, ()),
    ("sum.complex", _sum_complex, ()),
    ("fsum", lambda: math.fsum(_numbers()), ()),
    ("fsum.spread", lambda: math.fsum(_spread()), ()),
    ("reduce.add", lambda: reduce(operator.add, _numbers()), ()),
    ("prod", lambda: math.prod(_numbers(0.9, 1.1)), ()),
    ("float.repr", lambda: [repr(value) for value in _spread()[:300]], ()),
    ("float.format", _format, ()),
    ("float.parse", _parse, ()),
    ("float.hex", lambda: [value.hex() for value in _spread()[:99]], ()),
    ("float.ratio", _ratio, ()),
    ("float.round", _round, ()),
    ("float.divmod", _divmod, ()),
    ("float.modf", _modf, ()),
    ("float.power_integer", _power_integer, LIBM),
    ("int.power_modulo", _power_modulo, ()),
    ("int.long", _integers, ()),
    ("int.true_divide", _true_divide, ()),
    ("int.to_float", _integer_to_float, ()),
    ("complex.arithmetic", _complex_arithmetic, ()),
    ("complex.power", _complex_power, LIBM),
    ("math.gamma", lambda: [math.gamma(value) for value in _numbers(0.5, 20.0)], LIBM),
    ("math.lgamma", lambda: [math.lgamma(value) for value in _numbers(0.5, 20.0)], LIBM),
    ("math.hypot", lambda: [math.hypot(a, b, 0.5) for a, b in zip(_numbers(), _numbers(1.0, 5.0))], ()),
    ("math.dist", lambda: [math.dist((a, b), (b, 1.0)) for a, b in zip(_numbers(), _numbers(1.0, 5.0))], ()),
    ("math.comb", lambda: [math.comb(60, k) for k in range(61)], ()),
    ("statistics.mean", _mean, ()),
    ("statistics.deviation", _deviation, ()),
    ("statistics.normal", _normal_distribution, LIBM),
    ("statistics.geometric_mean", _geometric_mean, LIBM),
    ("decimal", _decimal, ()),
    ("fractions", _fractions, ()),
    ("hash.numbers", _hash_numbers, ()),
    ("hash.tuples", _hash_tuples, ()),
    ("json", _json, ()),
    ("struct.f32", _struct_single, ()),
    ("struct.f16", _struct_half, ()),
    ("sorted", _sorted, ()),
)
