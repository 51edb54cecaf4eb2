"""A trace by step and position: which rows a step has, and their digests."""

from __future__ import annotations

import base64

from probes.digest import DIGEST_BYTES
from reports.report import Row, Trace


def sequence(trace: Trace, step: int) -> list[int]:
    """The rows of a step by position."""
    return trace.sequence.get(str(step), list(range(len(trace.rows))))


def row_at(trace: Trace, step: int, position: int) -> Row:
    return trace.rows[sequence(trace, step)[position]]


def calls(trace: Trace, step: int) -> list[tuple[Row, bytes]]:
    """The rows of a step, in the order of work, with the digests of their results."""
    data = base64.b64decode(trace.digests[step])
    digests = [data[i : i + DIGEST_BYTES] for i in range(0, len(data), DIGEST_BYTES)]
    return [(trace.rows[row], digest) for row, digest in zip(sequence(trace, step), digests, strict=False)]
