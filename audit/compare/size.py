"""How large a divergence is, from what both reports kept of one tensor: samples, sketch, or text.

Nothing is invented: what was not measured is None, with a reason. NaN, infinities, signed zeros, the ULP at the largest
element and the relative tolerance are those of the elements that were kept; the other numbers are of all where the
sketch gives all.
"""

from __future__ import annotations

import base64
import math
from fractions import Fraction
from typing import NamedTuple

from audit.compare import sketch, ulp
from probes.digest import Tensor
from probes.sketch import TEXT_CHARACTERS, WORD, ordered
from reports.comparison import Example, Size, Ulp
from reports.report import Observation

_MOST = 1 << 32
"""Elements beyond which a sketch does not tell them apart; a shape of more is no tensor's."""

_Pair = tuple[ulp.Element, ulp.Element]


def measure(a: Observation, b: Observation, shape: list[int] | None = None, dtype: str = "") -> Size:
    """The size of the difference of two observations of one tensor. `shape` and `dtype`, where the observations do not
    say them themselves (a trace says them once a row)."""
    shape_a, shape_b = (list(one.shape or shape or []) for one in (a, b))
    type_a, type_b = (one.dtype or dtype for one in (a, b))
    if any(min(one, default=0) < 0 or math.prod(one) >= _MOST for one in (shape_a, shape_b)):
        return Size(reason="no tensor has such a shape")
    if shape_a != shape_b or type_a != type_b:
        return Size(reason=f"different kinds of result: {type_a}{shape_a} and {type_b}{shape_b}")
    count = math.prod(shape_a)
    if a.text is not None and b.text is not None:
        return _text(a.text, b.text, shape_a, count)
    if a.values is None or b.values is None:
        return Size(elements=count, reason="no values were kept")
    if not ulp.is_numeric(type_a):
        return Size(elements=count, reason=f"no ULP for type {type_a}")
    try:
        kept = _kept(a.values, b.values, type_a, shape_a)
    except ValueError as error:
        return Size(elements=count, reason=f"the kept values cannot be read: {error}")
    return _numbers(a, b, kept)


def _text(a: list[str], b: list[str], shape: list[int], count: int) -> Size:
    if not len(a) == len(b) <= count:
        return Size(elements=count, reason=f"text: {len(a)} and {len(b)} items of {count:,}")
    unequal = [i for i, (one, two) in enumerate(zip(a, b, strict=True)) if one != two]
    if not unequal:
        return Size(elements=count, seen=len(a), reason="it differs outside the text that was kept")
    first = unequal[0]
    cut = any(one == two and len(one) >= TEXT_CHARACTERS for one, two in zip(a, b, strict=True))
    return Size(
        elements=count,
        differing=len(unequal) if len(a) == count and not cut else None,
        fraction=len(unequal) / len(a),
        seen=len(a),
        example=Example(_unravel(first, shape), [], [a[first], b[first]]),
        reason="text has no ULP",
    )


class _Kept(NamedTuple):
    """The elements that both sides kept, a complex number as two parts. steps: a minus b in the sketch's order."""

    pairs: list[_Pair]
    steps: list[int]
    shape: list[int]
    parts: int
    bits: int  # of one part of a floating-point type, else 0

    @property
    def total(self) -> int:
        return math.prod(self.shape)

    @property
    def seen(self) -> int:
        return len(self.pairs) // self.parts

    def element(self, part: int) -> int:
        """The number in the whole tensor of the element that a kept part belongs to."""
        return part // self.parts * self.total // self.seen

    def elements(self, parts: list[int]) -> int:
        """Of how many elements these are the parts."""
        return len({part // self.parts for part in parts})


def _kept(a: str, b: str, dtype: str, shape: list[int]) -> _Kept:
    """Raises ValueError for what no probe writes."""
    real, parts = ulp.real_type(dtype)
    data = [base64.b64decode(values, validate=True) for values in (a, b)]
    one, two = (ulp.elements(dtype, side) for side in data)
    if len(one) != len(two) or len(one) % parts or not 0 < len(one) // parts <= math.prod(shape):
        raise ValueError(f"{len(one)} and {len(two)} numbers of {math.prod(shape):,} elements")
    mine, its = (ordered(Tensor(dtype, (), side)) for side in data)
    steps = [x - y for x, y in zip(mine, its, strict=True)]
    return _Kept(list(zip(one, two, strict=True)), steps, shape, parts, 8 * int(real[1:]) if real[0] == "f" else 0)


def _numbers(a: Observation, b: Observation, kept: _Kept) -> Size:
    pairs = kept.pairs
    unequal = [i for i, (x, y) in enumerate(pairs) if x.bits != y.bits]
    nan = [i for i in unequal if _nan(*pairs[i])]
    infinite = [i for i in unequal if _infinite(*pairs[i])]
    zero = [i for i in unequal if pairs[i][0].place == 0 == pairs[i][1].place]
    apart = {*nan, *infinite, *zero}  # these have no distance
    distances = [_distance(*pairs[i]) for i in unequal if i not in apart]
    unseen, norm, reason = _unseen(a, b, kept)
    differing = None if unseen is None else kept.elements(unequal) + len({part // kept.parts for part in unseen})
    if nan or infinite:
        norm = None  # a sketch takes their bits for numbers
    further = [abs(step) for step in (unseen or {}).values()]
    distances += further
    if kept.bits and max(further, default=0) >= 1 << (kept.bits - 3):  # as from 1.0, or 2.0**60, to infinity
        distances, norm, reason = [], None, "among the elements that were not kept some may be NaN or infinite"
    return Size(
        elements=kept.total,
        differing=differing,
        fraction=kept.elements(unequal) / kept.seen or None if differing is None else differing / kept.total,
        seen=kept.seen,
        ulp=_summary(sorted(distances), pairs),
        ulp_norm=norm,
        nan=kept.elements(nan),
        infinite=kept.elements(infinite),
        signed_zero=kept.elements(zero),
        smallest_rtol=_rtol(pairs),
        example=_example(kept, unequal[0]) if unequal else None,
        reason=reason,
    )


def _unseen(a: Observation, b: Observation, kept: _Kept) -> tuple[dict[int, int] | None, float | None, str]:
    """The parts that differ and were not kept, by number with their steps, None where the sketches do not tell them;
    the norm that sketches give; and why they do not tell."""
    if kept.seen == kept.total:
        return {}, None, ""
    estimated = f"estimated from {kept.seen} of {kept.total:,} elements"
    if a.sketch is None or b.sketch is None:
        return None, None, f"{estimated}; no sketch was kept"
    try:
        sketches = [base64.b64decode(side, validate=True) for side in (a.sketch, b.sketch)]
        found = sketch.difference(sketches[0], sketches[1], kept.total * kept.parts)
    except ValueError as error:
        return None, None, f"{estimated}; the sketch cannot be read: {error}"
    if found.recovered is None:
        return None, found.norm, f"{estimated}; too many differ, or too far, to recover them all"
    unseen = dict(found.recovered)
    for part, step in enumerate(kept.steps):
        if (unseen.pop(kept.element(part) * kept.parts + part % kept.parts, 0) - step) & WORD:
            return None, None, f"{estimated}; the sketch contradicts them"
    if not found.recovered and a.digest != b.digest:
        return None, None, f"{estimated}; the sketch shows none of the others"
    return unseen, found.norm, ""


def _summary(distances: list[int], pairs: list[_Pair]) -> Ulp:
    if not distances:
        return Ulp()
    finite = [pair for pair in pairs if not _nan(*pair) and not _infinite(*pair)]
    largest = max(((max(abs(x.value), abs(y.value)), _distance(x, y)) for x, y in finite), default=(0, None))
    return Ulp(ulp.percentile(distances, 50), ulp.percentile(distances, 99), distances[-1], largest[1])


def _rtol(pairs: list[_Pair]) -> float | None:
    """The smallest relative tolerance, of the first side's numbers, under which all kept elements agree; None where
    all do, or where one that does not is zero or not finite."""
    unequal = {(x.value, y.value) for x, y in pairs if x.bits != y.bits and x.value != y.value}
    if any(not (math.isfinite(x) and math.isfinite(y)) or x == 0 for x, y in unequal):
        return None
    rounded = {(x, y): abs(x - y) / abs(x) for x, y in unequal}
    # These are some units of 2**-53 off; only the largest few (all, after an overflow) are divided exactly: it is slow.
    least = max(rounded.values(), default=0.0) * (1 - 2**-48)
    near = [pair for pair, quotient in rounded.items() if quotient >= least or least == math.inf]
    exact = max((abs(1 - Fraction(y) / Fraction(x)) for x, y in near), default=Fraction(0))
    try:
        nearest = float(exact)
    except OverflowError:
        return None
    return (nearest if nearest >= exact else math.nextafter(nearest, math.inf)) or None


def _distance(x: ulp.Element, y: ulp.Element) -> int:
    return abs((x.place or 0) - (y.place or 0))


def _nan(x: ulp.Element, y: ulp.Element) -> bool:
    return x.place is None or y.place is None


def _infinite(x: ulp.Element, y: ulp.Element) -> bool:
    return any(isinstance(one.value, float) and math.isinf(one.value) for one in (x, y))


def _example(kept: _Kept, part: int) -> Example:
    x, y = kept.pairs[part]
    return Example(_unravel(kept.element(part), kept.shape), [x.bits, y.bits], [repr(x.value), repr(y.value)])


def _unravel(flat: int, shape: list[int]) -> list[int]:
    index = []
    for length in reversed(shape):
        flat, position = divmod(flat, length)
        index.append(position)
    return index[::-1]
