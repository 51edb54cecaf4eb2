"""The command to type next: the last line of every rendering."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from audit.causes import settings
from audit.compare.side import Measured, Outline
from reports.comparison import Cause, Results

_FEW = 8
"""More files than this are not spelled out in a command to copy."""


def after_diff(
    sides: list[Outline],
    found: Results,
    causes: list[Cause],
    pair: tuple[Measured, Measured] | None,
    typed: Sequence[str],
) -> str:
    """Where to run it, and the command: an experiment that tries the suspected cause, or the way to more evidence.

    pair: the two sides that the first cause is about. typed: the reports as they were named.
    """
    share = _to_share(typed or [side.file for side in sides])
    if found.verdict == "diverged" and causes and pair:
        first = [cause for cause in causes if cause.labels == causes[0].labels]
        return _experiment(*pair, first, _unused(sides)) or share
    if found.verdict == "nondeterministic":
        return "on the machine that does not repeat itself:  audit run --repeat 5 -o again.json"
    if found.verdict in ("not-measured", "not-comparable"):
        unmeasured = [side.label for side in sides if not side.runs]
        return f"on {unmeasured[0] if unmeasured else 'each machine'}:  audit run -o FILE"
    return share


def _experiment(a: Measured, b: Measured, causes: list[Cause], file: str) -> str:
    """A run that should agree with the other side if the causes are right; "" where no setting expresses it."""
    here, values = settings.either(a, b, [name for cause in causes for name in cause.components])
    variables = _set_on_one_side(a, b, causes)
    if variables and len(variables[1]) >= len(values) and _is_host(variables[0]):
        side, names = variables
        return _run(side, "env " + " ".join(f"-u {name}" for name in names), file)
    if causes[0].root == "packages.numpy.version":
        return _other_numpy(a, b, file) if _is_host(b) else _other_numpy(b, a, file) if _is_host(a) else ""
    if values and _is_host(here):
        return _run(here, "env " + " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items()), file)
    return ""


def _is_host(side: Measured) -> bool:
    """Whether a person can run something there by the command alone: what is in an image is changed by its recipe."""
    return side.target.name == "host"


def _run(side: Measured, prefix: str, file: str) -> str:
    """`audit run` on that side; what chose its interpreter is not in a report, so it is only pointed at."""
    chosen = "--python" if side.target.chosen == "as --python says" else ""
    again = " and ".join(part for part in (chosen, "--via" if side.target.via else "") if part)
    return f"on {side.label}:  {prefix} audit run -o {file}" + (f"    # {again} as before" if again else "")


def _set_on_one_side(a: Measured, b: Measured, causes: list[Cause]) -> tuple[Measured, list[str]] | None:
    """The simplest experiment: variables that only one side sets and that alone explain every cause; run there without
    them. The names are those of the catalogue's rows, never a report's own: a difference has a row."""
    names = []
    for cause in causes:
        own = [fact.split(".", 1)[1] for fact in cause.facts[:2] if fact.startswith("variables.")]
        if not own:
            return None
        names += own
    for side, other in ((b, a), (a, b)):
        if side.target.via != "env" and all(
            side.fact(f"variables.{name}") is not None and other.fact(f"variables.{name}") is None for name in names
        ):
            return side, list(dict.fromkeys(names))
    return None


def _other_numpy(a: Measured, b: Measured, file: str) -> str:
    """An environment with the reference's numpy. Only this package: a report must not choose what a person installs."""
    wanted = a.fact("packages.numpy.version")
    if not re.fullmatch(r"\d+(\.\d+){1,3}", str(wanted)):
        return ""
    make = f"python3 -m venv trial && trial/bin/pip install numpy=={wanted}"
    return f"on {b.label}:  {make} && audit run --python trial/bin/python -o {file}"


def _unused(sides: list[Outline]) -> str:
    """A file name for the experiment that none of the compared reports has."""
    taken = {Path(side.file).name for side in sides}
    names = ["trial.json", *(f"trial{number}.json" for number in range(2, len(sides) + 3))]
    return next(name for name in names if name not in taken)


def _to_share(names: Sequence[str]) -> str:
    if len(names) > _FEW:
        return "the same command with --format markdown    # to paste"
    return f"audit diff {shlex.join(names)} --format markdown    # to paste"
