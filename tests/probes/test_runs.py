"""What a report says of several runs of one work."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from probes import runs


def run(*steps: str, seconds: float = 1.0) -> runs.JobRun:
    """A run whose steps have one row each; a letter stands for its result."""
    digests = [base64.b64encode(step.encode() * 8).decode() for step in steps]
    trace = {"steps": len(steps), "digests": digests, "digest": "".join(steps)}
    one = runs.JobRun({"name": "program", "trace": trace})
    one.seconds = seconds
    return one


@pytest.mark.parametrize(
    ("further", "repeat"),
    [
        ("abc", {"digest": "abc"}),
        ("abx", {"digest": "abx", "step": 2, "row": 0}),
        ("axc", {"digest": "axc", "step": 1, "row": 0}),
        ("ab", {"digest": "ab", "step": 2, "row": 0}),  # it ended before the other's last step
    ],
)
def test_where_a_further_run_left_the_first(further: str, repeat: dict[str, Any]) -> None:
    assert runs.job_part([run(*"abc"), run(*further)])["repeats"] == [repeat]


def test_a_longest_run_is_the_first() -> None:
    part = runs.job_part([run(*"ab", seconds=2.0), run(*"abc", seconds=3.0), run(*"abd", seconds=4.0)])
    assert (part["trace"]["digest"], part["seconds"]) == ("abc", [3.0, 4.0, 2.0])
    assert part["repeats"] == [{"digest": "abd", "step": 2, "row": 0}, {"digest": "ab", "step": 2, "row": 0}]
