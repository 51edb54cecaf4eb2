"""The reproducibility auditor: why the same code gives different results on another machine, and the proof.

A program may say more of itself than `audit run -- COMMAND` sees, with the three functions here. They do nothing in any
other run. Contract of this file, which alone also travels to where the package is not installed: it imports nothing but
sys, and runs on Python 3.8.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"


def record(name: str, array: object, step: int | None = None) -> None:
    """Record an array (of numpy, torch or jax; a number; a list of numbers) as the row "record:NAME" of the step that
    the program is in. step: in a program whose steps no framework shows, a new number begins a new step."""
    for recording in _recordings():
        recording.record(name, array, step)


def watch(model: object, optimizer: object = None) -> None:
    """Follow a model that is trained without being called, and an optimizer that is none of torch's: any object whose
    method `step` changes the model's parameters."""
    for recording in _recordings():
        recording.watch(model, optimizer)


def score(name: str, value: float, stderr: float | None = None) -> None:
    """Record a result of the whole program, an accuracy, with its standard error if that is known: two machines'
    scores are compared with it."""
    for recording in _recordings():
        recording.score(name, value, stderr)


def _recordings() -> list[Any]:
    """What records this process (probes/program/api.py); nothing, unless this is `audit run`."""
    return [finder.audit_api() for finder in sys.meta_path if hasattr(finder, "audit_api")]
