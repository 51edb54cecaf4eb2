"""How large a divergence is, from what both reports kept of one tensor: samples, sketch, or text.

Nothing is invented: what was not measured is None, with a reason.
"""

from __future__ import annotations

import base64
import binascii
import math

from audit.compare import sketch, ulp
from reports.comparison import Example, Size, Ulp
from reports.report import Observation

_MOST = 1 << 24
"""Elements beyond which a sketch is not decoded: every element's cell has to be looked at."""


def measure(a: Observation, b: Observation, shape: list[int] | None = None, dtype: str = "") -> Size:
    """The size of the difference of two observations of one tensor. `shape` and `dtype`, where the observations do not
    say them themselves (a trace says them once a row)."""
    shape_a, shape_b = (list(one.shape or shape or []) for one in (a, b))
    type_a, type_b = (one.dtype or dtype for one in (a, b))
    if shape_a != shape_b or type_a != type_b:
        return Size(reason=f"different kinds of result: {type_a}{shape_a} and {type_b}{shape_b}")
    count = math.prod(shape_a)
    if a.text is not None and b.text is not None:
        return _text(a.text, b.text, count)
    if a.values is None or b.values is None:
        return Size(elements=count, reason="no values were kept")
    if not ulp.is_numeric(type_a):
        return Size(elements=count, reason=f"no ULP for type {type_a}")
    try:
        return _numbers(a, b, type_a, shape_a, count)
    except (ValueError, binascii.Error) as error:
        return Size(elements=count, reason=f"the kept values cannot be read: {error}")


def _text(a: list[str], b: list[str], count: int) -> Size:
    if len(a) != len(b):
        return Size(elements=count, reason=f"text: {len(a)} and {len(b)} items")
    unequal = [i for i, (one, two) in enumerate(zip(a, b, strict=True)) if one != two]
    if not unequal:
        return Size(elements=count, seen=len(a), reason="it differs outside the items that were kept")
    example = Example([unequal[0]], [], [a[unequal[0]], b[unequal[0]]])
    whole = len(a) >= count
    return Size(
        elements=count,
        differing=len(unequal) if whole else None,
        fraction=len(unequal) / len(a),
        seen=len(a),
        example=example,
        reason="text has no ULP",
    )


def _numbers(a: Observation, b: Observation, dtype: str, shape: list[int], count: int) -> Size:
    _, parts = ulp.real_type(dtype)
    one = ulp.elements(dtype, base64.b64decode(a.values or "", validate=True))
    two = ulp.elements(dtype, base64.b64decode(b.values or "", validate=True))
    if len(one) != len(two) or not one:
        raise ValueError("different numbers of samples")
    seen = len(one) // parts
    pairs = list(zip(one, two, strict=True))
    unequal = [i for i, (x, y) in enumerate(pairs) if x.bits != y.bits]
    # NaN, infinities and signed zeros have no distance; they are counted apart.
    distances = sorted(abs((x.place or 0) - (y.place or 0)) for x, y in pairs if x.bits != y.bits and _measurable(x, y))
    exact = seen >= count
    differing: int | None = len({i // parts for i in unequal}) if exact else None
    norm, reason = None, ""
    if not exact:
        recovered, norm = _from_sketch(a, b, count * parts)
        if recovered is not None:
            differing = len({index // parts for index, _ in recovered})
            if all(_measurable(*pairs[i]) for i in unequal):
                distances = sorted(abs(distance) for _, distance in recovered)
        else:
            reason = f"estimated from {seen} of {count:,} elements; too many differ to recover them all"
    return Size(
        elements=count,
        differing=differing,
        fraction=differing / count if differing is not None else (len({i // parts for i in unequal}) / seen or None),
        seen=seen,
        ulp=_summary(distances, pairs),
        ulp_norm=norm,
        nan=sum(1 for x, y in pairs if x.bits != y.bits and (x.place is None or y.place is None)),
        infinite=sum(1 for x, y in pairs if x.bits != y.bits and (_infinite(x) or _infinite(y))),
        signed_zero=sum(1 for x, y in pairs if x.bits != y.bits and x.place == 0 == y.place),
        smallest_rtol=_rtol(pairs),
        example=_example(pairs, unequal, shape, seen, count, parts),
        reason=reason,
    )


def _from_sketch(a: Observation, b: Observation, count: int) -> tuple[list[tuple[int, int]] | None, float | None]:
    if a.sketch is None or b.sketch is None or count > _MOST:
        return None, None
    found = sketch.difference(
        base64.b64decode(a.sketch, validate=True), base64.b64decode(b.sketch, validate=True), count
    )
    return found.recovered, found.norm


def _summary(distances: list[int], pairs: list[tuple[ulp.Element, ulp.Element]]) -> Ulp:
    if not distances:
        return Ulp()
    finite = [(x, y) for x, y in pairs if x.place is not None and y.place is not None and not _infinite(x)]
    largest = max(finite, key=lambda pair: abs(pair[0].value), default=None)
    at_largest = abs(largest[0].place - largest[1].place) if largest else None  # type: ignore[operator]
    return Ulp(ulp.percentile(distances, 50), ulp.percentile(distances, 99), distances[-1], at_largest)


def _rtol(pairs: list[tuple[ulp.Element, ulp.Element]]) -> float | None:
    """The smallest relative tolerance under which all seen elements agree; None where one is zero or not finite."""
    worst = 0.0
    for x, y in pairs:
        if x.bits == y.bits or x.value == y.value:
            continue
        if not (math.isfinite(x.value) and math.isfinite(y.value)) or x.value == 0:
            return None
        worst = max(worst, abs(x.value - y.value) / abs(x.value))
    return worst or None


def _measurable(x: ulp.Element, y: ulp.Element) -> bool:
    nan = x.place is None or y.place is None
    return not (nan or _infinite(x) or _infinite(y) or x.place == 0 == y.place)


def _infinite(element: ulp.Element) -> bool:
    return isinstance(element.value, float) and math.isinf(element.value)


def _example(
    pairs: list[tuple[ulp.Element, ulp.Element]],
    unequal: list[int],
    shape: list[int],
    seen: int,
    count: int,
    parts: int,
) -> Example | None:
    if not unequal:
        return None
    x, y = pairs[unequal[0]]
    sample = unequal[0] // parts
    flat = sample if seen >= count else sample * count // seen
    return Example(_unravel(flat, shape), [x.bits, y.bits], [repr(x.value), repr(y.value)])


def _unravel(flat: int, shape: list[int]) -> list[int]:
    index = []
    for length in reversed(shape):
        flat, position = divmod(flat, length)
        index.append(position)
    return index[::-1]
