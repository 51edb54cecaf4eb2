"""Recorded programs, `audit run -- COMMAND`: which jobs of a report they are, and what a person calls them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from .comparison import Cause, FirstDivergence

NAME = "program"


def is_program(job: str) -> bool:
    """Whether a job of this name is a recorded program, or one process of it ("program.rank1")."""
    return job == NAME or job.startswith(f"{NAME}.")


def called(job: str) -> str:
    """ "your program", "your program (rank1)", "job numpy"."""
    if not is_program(job):
        return f"job {job}"
    process = job.removeprefix(NAME).removeprefix(".")
    return "your program" + (f" ({process})" if process else "")


def is_operator(operator: str) -> bool:
    """Whether a row is one operator that a framework dispatched ("aten::addmm"), and no part of the training."""
    return "::" in operator


def is_given(operator: str, phase: str | None, components: Collection[str]) -> bool:
    """Whether an operator that gives other bits for equal inputs was given other values by the program itself:
    torch.tensor([1, 2]), or a copy of what was never seen. components: of the row; none where nothing is computed."""
    if operator.startswith("aten::lift_fresh"):
        return True
    return operator.startswith("aten::") and phase in BEFORE_WORK and not {*components} - {"ordering", "random"}


def is_state(tensor: str) -> bool:
    """Whether a row is the state of a generator of random numbers when a step begins."""
    return tensor.startswith("generator.")


BEFORE_WORK = ("setup", "data", "evaluation")
"""The phases of what a step starts from; evaluations come before the step that follows them."""


_MADE = ("output", "loss", "evaluation.output")
"""How rows of these phases begin that are results all the same: those of an evaluation."""


def is_start(phase: str | None, operator: str, tensor: str) -> bool:
    """Whether a row is what a step starts from, and no operator's work nor an evaluation's."""
    return phase in BEFORE_WORK and not is_operator(operator) and not tensor.startswith(_MADE)


def kind(first: FirstDivergence) -> Literal["random", "data", "weights", "arithmetic"]:
    """What it is that differs first in a program: the state of a generator, what the program gives, or what is made
    before any work."""
    name = first.tensor or ""
    if is_state(name):
        return "random"
    if is_given(first.operator, first.phase, first.components):
        return "data"
    if not is_start(first.phase, first.operator, name):
        return "arithmetic"
    return "weights" if name.startswith("weight:") else "data"


def explaining(causes: Sequence[Cause], first: FirstDivergence) -> list[Cause]:
    """The causes of just where a program parts; others are of what only the battery shows."""
    return [cause for cause in causes if not cause.components or set(cause.components) & set(first.components)]
