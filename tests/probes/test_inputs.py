"""Inputs are the same bits with numpy and without, and those that were recorded."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy  # noqa: F401 - the fast way is taken where numpy is loaded
import pytest

from probes import inputs

PLAIN = """
import json, sys
from probes import inputs
assert "numpy" not in sys.modules
print(json.dumps([inputs.integers("a", 300), inputs.uniform("b", 300), inputs.uniform("c", 300, 53)]))
"""


def test_the_plain_and_the_fast_way_give_the_same_bits() -> None:
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        inputs.integers("a", 300),
        inputs.uniform("b", 300),
        inputs.uniform("c", 300, 53),
    ]


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 24), ("float64", 53)])
def test_arrays_hold_the_same_numbers(dtype: str, bits: int) -> None:
    made = inputs.array("d", (10, 30), dtype)
    assert made.dtype == dtype
    assert made.ravel().tolist() == inputs.uniform("d", 300, bits)


def test_the_stream_is_the_recorded_one() -> None:
    # SplitMix64 of the state seed_of("x"), by the published recurrence.
    assert inputs.seed_of("") == 0xCBF29CE484222325
    assert inputs.integers("x", 2) == [0x338262D8F096398F, 0xCEFB9C22CF519144]
    assert all(-1 <= value < 1 for value in inputs.uniform("x", 1000))
    assert abs(sum(inputs.uniform("x", 10_000))) < 200
