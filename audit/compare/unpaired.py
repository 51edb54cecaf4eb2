"""The comparison of fewer than two sides, where others were expected: who is missing, and that nothing was compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from audit.causes import next_step
from audit.compare.side import Side, told
from audit.errors import INCOMPLETE
from reports.comparison import (
    FORMAT,
    VERSION,
    Attendance,
    Comparison,
    Environment,
    Group,
    NotCompared,
    Operators,
    Results,
)

FailOn = Literal["results", "numeric", "any"]


def unpaired(
    sides: Sequence[Side],
    fail_on: FailOn,
    notes: Sequence[str],
    left_out: Sequence[NotCompared],
    typed: Sequence[str],
    attendance: Attendance,
) -> Comparison:
    """What is to be said where nobody reported, or only one did: who is missing, and that nothing was compared."""
    why = f"Only {sides[0].outline.label} reported" if sides else "Nobody reported"
    return Comparison(
        format=FORMAT,
        version=VERSION,
        verdict="not-comparable",
        reports=[told(side.outline) for side in sides],
        results=Results("not-comparable", None, Operators(0, [])),
        environment=Environment([], [*left_out]),
        causes=[],
        ruled_out=[],
        groups=[Group([side.outline.label for side in sides], None)] if sides else [],
        notes=[f"{why}: there is nothing to compare", *notes],
        exit=INCOMPLETE,
        fail_on=fail_on,
        next=next_step.after_gathering(attendance, typed),
        attendance=attendance,
    )
