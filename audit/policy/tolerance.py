"""Whether results, or facts that are numbers, are near enough for a policy. Without values nothing is near enough."""

from __future__ import annotations

import base64
import math

from audit.policy.policy import Tolerance
from reports.comparison import Size
from reports.report import Observation, Value

BITS = Tolerance()
"""Nothing but the same bits."""


def within(size: Size, a: Observation, b: Observation, limit: Tolerance) -> bool:
    """Whether two observations agree within every limit that is set: of ULP, and of atol + rtol * |a|. What was not
    kept is judged by what the sketches give of it."""
    if not of_size(size, Tolerance(ulp=limit.ulp), measured=True) or limit == BITS:
        return False
    if limit.rtol is None and limit.atol is None:
        return True
    if a.values is None or b.values is None:
        return False
    from audit.compare import ulp

    one, two = (ulp.elements(side.dtype, base64.b64decode(side.values or "")) for side in (a, b))
    pairs = [(float(x.value), float(y.value)) for x, y in zip(one, two, strict=False) if x.bits != y.bits]
    return all(abs(x - y) <= (limit.atol or 0.0) + (limit.rtol or 0.0) * abs(x) for x, y in pairs)


def of_size(size: Size, limit: Tolerance, measured: bool = False) -> bool:
    """The same of what is known of a divergence: only ULP and relative limits. measured: other limits are checked on
    the values themselves."""
    if not size.seen or size.nan or size.infinite:
        return False
    if limit == BITS:
        return measured
    if limit.ulp is not None and size.ulp.max is None and size.signed_zero == 0:
        return False
    fits = limit.ulp is None or (size.ulp.max or 0) <= limit.ulp
    if limit.rtol is not None:
        fits = fits and size.smallest_rtol is not None and size.smallest_rtol <= limit.rtol
    return fits and (limit.ulp is not None or limit.rtol is not None)


def of_fact(before: Value, now: Value, limit: Tolerance | None) -> bool:
    """Whether two values of a fact are numbers that are near enough."""
    numbers = [one for one in (before, now) if isinstance(one, (int, float)) and not isinstance(one, bool)]
    if limit is None or len(numbers) < 2 or not all(map(math.isfinite, numbers)):
        return False
    return abs(numbers[0] - numbers[1]) <= (limit.atol or 0.0) + (limit.rtol or 0.0) * abs(numbers[0])
