"""What the types of a report allow and no probe writes; read, it would lead past an end, take for ever, or mislead."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterator, Sequence

from .report import Battery, Job, Operator, Repeat, Report, Target, Trace

MOST_FACTS = 100_000
"""Of one target; a machine with 10,000 packages has 40,000."""

MOST_DIMENSIONS = 64
MOST_ELEMENTS = 1 << 53
"""Of one tensor: numpy has no more dimensions, and a float counts no further."""

DIGEST_BYTES = 8
"""Bytes of one row's digest in a trace."""

_BASE64 = (string.ascii_letters + string.digits + "+/").encode("ascii")


def misfits(report: Report, parts: bool = True) -> Iterator[str]:
    """Everything that does not hold together, each with its place. parts: look at operators and traces, too."""
    yield from _twice("$.targets", [target.name for target in report.targets])
    for n, target in enumerate(report.targets):
        place = f"$.targets[{n}]"
        if len(target.facts) + sum(len(work.facts) for work in _works(target)) > MOST_FACTS:
            yield f"{place}: more than {MOST_FACTS:,} facts"
        yield from _twice(f"{place}.jobs", [job.name for job in target.jobs])
        for j, job in enumerate(target.jobs):
            if job.trace:
                if parts:
                    yield from of_trace(f"{place}.jobs[{j}].trace", job.trace)
                yield from _of_repeats(f"{place}.jobs[{j}].trace", job.trace, job.repeats)
        if target.battery and parts:
            yield from of_operators(f"{place}.battery.operators", target.battery.operators)


def _works(target: Target) -> list[Job | Battery]:
    return [*target.jobs, *([target.battery] if target.battery else [])]


def _twice(place: str, names: list[str]) -> Iterator[str]:
    if len(set(names)) < len(names):
        ((name, _),) = Counter(names).most_common(1)
        yield f"{place}: more than one with the name {name[:60]!r}"


def of_operators(place: str, operators: Sequence[Operator]) -> Iterator[str]:
    """What does not hold together in the operators of a battery."""
    yield from _twice(place, [operator.name for operator in operators])
    for n, operator in enumerate(operators):
        if operator.result and not _is_shape(operator.result.shape):
            yield f"{place}[{n}].result.shape: no shape of a tensor"


def of_trace(place: str, trace: Trace) -> Iterator[str]:
    """What does not hold together in a trace."""
    counts = trace.steps, len(trace.digests), len(trace.tree)
    if len(set(counts)) > 1:
        yield f"{place}: " + "{:,} steps, but {:,} rows of digests and {:,} of the tree".format(*counts)
        return
    for kind, shapes in (
        ("rows", [row.shape for row in trace.rows]),
        ("values", [kept.shape for kept in trace.values]),
    ):
        if not all(map(_is_shape, shapes)):
            yield f"{place}.{kind}[...].shape: no shape of a tensor"
    for step, text in enumerate(trace.digests):
        length, odd = divmod(_base64_bytes(text), DIGEST_BYTES)
        sequence = trace.sequence.get(str(step))
        if sequence is None:
            fits = length <= len(trace.rows)
        else:
            fits = length == len(sequence) and all(_within(row, len(trace.rows)) for row in sequence)
        if odd or not fits:
            yield f"{place}.digests[{step}]: not base64, or not of the rows of that step"


def _of_repeats(place: str, trace: Trace, repeats: Sequence[Repeat]) -> Iterator[str]:
    for repeat in repeats:
        at, row = repeat.step, repeat.row
        if (at, row) == (None, None):
            continue
        if not (_within(at, len(trace.digests)) and _within(row, _rows(trace.digests[at or 0]))):
            yield f"{place}: a repeat differs at a step or row that is not there"


def _rows(digests: str) -> int:
    return _base64_bytes(digests) // DIGEST_BYTES


def _within(position: int | None, length: int) -> bool:
    return position is not None and 0 <= position < length


def _is_shape(shape: list[int]) -> bool:
    return not shape or (len(shape) <= MOST_DIMENSIONS and min(shape) >= 0 and math.prod(shape) <= MOST_ELEMENTS)


def _base64_bytes(text: str) -> int:
    """How many bytes a base64 text decodes to, without decoding it; -1 (odd to every count) if it is none."""
    padding = text.encode("utf-8").translate(None, _BASE64)
    if len(text) % 4 or padding not in (b"", b"=", b"==") or not text.endswith(padding.decode("ascii")):
        return -1
    return len(text) // 4 * 3 - len(padding)
