"""What the tests of all jobs need: a trace that perturbs one row, and where two traces diverged."""

from __future__ import annotations

import base64
import math
from typing import Any

from probes.jobs import Job
from probes.trace import Trace

Record = dict[str, Any]


class Perturbed(Trace):
    """Changes the result of one row by 1 ULP in one element."""

    def __init__(self, step: int, phase: str, name: str) -> None:
        super().__init__()
        self.target = (step, phase, name)

    def call(self, name: str, operator: str, components: Any, function: Any, *arguments: Any, **options: Any) -> Any:
        if (len(self._steps) - 1, self._phase, name) != self.target:
            return super().call(name, operator, components, function, *arguments, **options)

        def perturbed(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            if isinstance(result, list):
                return [*result[:-1], math.nextafter(result[-1], 9.0)]
            bits = result.copy().view("i4")
            bits.ravel()[-1] += 1
            return bits.view("f4")

        return super().call(name, operator, components, perturbed, *arguments, **options)


def run(job: Job, trace: Trace | None = None) -> tuple[Record, Record]:
    """Record and outcome."""
    trace = trace or Trace()
    outcome = job.run(trace, lambda done, steps: None)
    return trace.record(), outcome


def rows(record: Record, step: int) -> list[tuple[Record, bytes]]:
    """Definition and digest of every row of a step."""
    data = base64.b64decode(record["digests"][step])
    numbers = record["sequence"].get(str(step), range(len(data) // 8))
    return [(record["rows"][number], data[8 * at : 8 * at + 8]) for at, number in enumerate(numbers)]


def origins(one: Record, two: Record) -> list[tuple[int, str, str]]:
    """Step, phase and tensor of all rows with equal inputs and unequal outputs, in the first step that differs."""
    before: set[int] = set()
    for step in range(one["steps"]):
        pairs = list(zip(rows(one, step), rows(two, step), strict=True))
        differing = {at for at, ((_, mine), (_, its)) in enumerate(pairs) if mine != its}
        if differing:
            bad = differing | {-(at + 1) for at in before}
            return [
                (step, row["phase"], row["tensor"])
                for at, ((row, _), _) in enumerate(pairs)
                if at in differing and not bad & set(row["inputs"])
            ]
        before = differing
    return []
