"""What the python job computes with: functions on flat lists of floats, in plain Python.

A matrix is a flat list, row after row; `width` is the length of a row. Every function of the first part is one row of a
trace; the copies and selections of the second are none. Sums are loops from left to right, so that all Python versions
agree: the builtin `sum` is compensated since 3.12, and `mean` alone calls it.
"""

import math
from operator import add as plus
from typing import List

Floats = List[float]


def exp(xs: Floats) -> Floats:
    """e**x of each."""
    return [math.exp(x) for x in xs]


def log(xs: Floats) -> Floats:
    """The natural logarithm of each."""
    return [math.log(x) for x in xs]


def sqrt(xs: Floats) -> Floats:
    """The square root of each."""
    return [math.sqrt(x) for x in xs]


def add(xs: Floats, ys: Floats) -> Floats:
    """x + y of each pair."""
    return list(map(plus, xs, ys))


def negative(xs: Floats) -> Floats:
    """-x of each."""
    return [-x for x in xs]


def matmul(a: Floats, b: Floats, inner: int) -> Floats:
    """The product of a [*, inner] and b [inner, *]."""
    by_column = columns(b, len(b) // inner)
    out = []
    for start in range(0, len(a), inner):
        row = a[start : start + inner]
        for column in by_column:
            total = 0.0
            for x, y in zip(row, column):
                total += x * y
            out.append(total)
    return out


def affine(a: Floats, b: Floats, bias: Floats) -> Floats:
    """a b + bias, the bias added to every row last."""
    return add(matmul(a, b, len(b) // len(bias)), bias * (len(a) * len(bias) // len(b)))


def column_sums(xs: Floats, width: int) -> Floats:
    """The sum of the rows of xs [*, width]."""
    totals = [0.0] * width
    for row in rows(xs, width):
        totals = add(totals, row)
    return totals


def dots(xs: Floats, ys: Floats, width: int) -> Floats:
    """The dot product of every pair of rows."""
    out = []
    for row, other in zip(rows(xs, width), rows(ys, width)):
        total = 0.0
        for x, y in zip(row, other):
            total += x * y
        out.append(total)
    return out


def mean_squares(xs: Floats, width: int, epsilon: float) -> Floats:
    """mean(x*x) + epsilon of every row."""
    return [total / width + epsilon for total in dots(xs, xs, width)]


def divide_rows(xs: Floats, divisors: Floats) -> Floats:
    """Every row divided by its own divisor."""
    width = len(xs) // len(divisors)
    return [x / divisor for row, divisor in zip(rows(xs, width), divisors) for x in row]


def multiply_rows(xs: Floats, factors: Floats) -> Floats:
    """Every row times its own factor."""
    width = len(xs) // len(factors)
    return [x * factor for row, factor in zip(rows(xs, width), factors) for x in row]


def multiply_columns(xs: Floats, factors: Floats) -> Floats:
    """Every column times its own factor."""
    return [x * factor for row in rows(xs, len(factors)) for x, factor in zip(row, factors)]


def column_dots(xs: Floats, ys: Floats, width: int) -> Floats:
    """The dot product of every pair of columns."""
    return column_sums([x * y for x, y in zip(xs, ys)], width)


def norm_gradient(back: Floats, unit: Floats, roots: Floats, gain: Floats) -> Floats:
    """The gradient of x in x / root(x) * gain: (b - unit * mean(b * unit)) / root with b = back * gain."""
    width = len(gain)
    out = []
    for row, direction, root in zip(rows(back, width), rows(unit, width), roots):
        scaled = [x * factor for x, factor in zip(row, gain)]
        radial = dots(scaled, direction, width)[0] / width
        out += [(x - along * radial) / root for x, along in zip(scaled, direction)]
    return out


def scale_shift(xs: Floats, factor: float, width: int) -> Floats:
    """x * factor, less the row's largest."""
    out = []
    for row in rows(xs, width):
        scaled = [x * factor for x in row]
        most = max(scaled)
        out += [x - most for x in scaled]
    return out


def row_sums(xs: Floats, width: int) -> Floats:
    """The sum of every row."""
    return dots(xs, [1.0] * len(xs), width)


def softmax_gradient(back: Floats, shares: Floats, factor: float, width: int) -> Floats:
    """The gradient of x in softmax(x * factor) = shares: shares * (back - sum(back * shares)) * factor."""
    out = []
    for row, share in zip(rows(back, width), rows(shares, width)):
        total = dots(row, share, width)[0]
        out += [part * (x - total) * factor for x, part in zip(row, share)]
    return out


def silu(hidden: Floats, exponentials: Floats) -> Floats:
    """h / (1 + exp(-h)), the exponentials given."""
    return [h / (1.0 + e) for h, e in zip(hidden, exponentials)]


def silu_gradient(back: Floats, hidden: Floats, exponentials: Floats) -> Floats:
    """back * gate * (1 + h * (1 - gate)) with gate = 1 / (1 + exp(-h))."""
    out = []
    for x, h, e in zip(back, hidden, exponentials):
        gate = 1.0 / (1.0 + e)
        out.append(x * (gate * (1.0 + h * (1.0 - gate))))
    return out


def surprise(logs: Floats, shifted: Floats) -> Floats:
    """log(sum(exp(s))) - s of the asked s."""
    return [total - s for total, s in zip(logs, shifted)]


def mean(xs: Floats) -> float:
    """The mean by the builtin `sum`."""
    return sum(xs) / len(xs)


def error(exponentials: Floats, totals: Floats, answers: Floats) -> Floats:
    """(softmax - answers) / N."""
    count = len(totals)
    return [(chance - answer) / count for chance, answer in zip(divide_rows(exponentials, totals), answers)]


def first_moment(old: Floats, gradient: Floats, beta: float) -> Floats:
    """Adam's mean of gradients."""
    return [beta * m + (1.0 - beta) * g for m, g in zip(old, gradient)]


def second_moment(old: Floats, gradient: Floats, beta: float) -> Floats:
    """Adam's mean of squared gradients."""
    return [beta * v + (1.0 - beta) * (g * g) for v, g in zip(old, gradient)]


def divide_all(xs: Floats, divisor: float) -> Floats:
    """x / divisor of each."""
    return [x / divisor for x in xs]


def adam(weights: Floats, first: Floats, roots: Floats, rate: float, epsilon: float) -> Floats:
    """Adam's new weights."""
    return [w - rate * m / (root + epsilon) for w, m, root in zip(weights, first, roots)]


# Second part: copies and selections.


def rows(xs: Floats, width: int) -> List[Floats]:
    """xs cut into rows."""
    return [xs[start : start + width] for start in range(0, len(xs), width)]


def columns(xs: Floats, width: int) -> List[Floats]:
    """xs [*, width] cut into columns."""
    return [xs[start::width] for start in range(width)]


def transposed(xs: Floats, width: int) -> Floats:
    """The transpose of xs [*, width]."""
    return [x for column in columns(xs, width) for x in column]


def part_of(xs: Floats, width: int, start: int, stop: int) -> Floats:
    """Columns `start` to `stop` of xs [*, width]."""
    return [x for row in rows(xs, width) for x in row[start:stop]]


def repeated(xs: Floats, width: int, times: int) -> Floats:
    """Every row of xs [*, width], `times` times."""
    return [x for row in rows(xs, width) for x in row * times]


def last_of(xs: Floats, width: int, positions: int) -> Floats:
    """The last of every `positions` rows."""
    return [x for row in rows(xs, width)[positions - 1 :: positions] for x in row]


def at_last(xs: Floats, width: int, positions: int) -> Floats:
    """The reverse of `last_of`, with rows of zeros before."""
    before = [0.0] * ((positions - 1) * width)
    return [x for row in rows(xs, width) for x in before + row]


def swapped(xs: Floats, outer: int, inner: int, chunk: int) -> Floats:
    """[*, outer, inner, chunk] as [*, inner, outer, chunk]."""
    out: Floats = []
    for block in rows(xs, outer * inner * chunk):
        for first in range(0, inner * chunk, chunk):
            for start in range(first, len(block), inner * chunk):
                out += block[start : start + chunk]
    return out
