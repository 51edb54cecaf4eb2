"""The command to type next: the last line of every rendering."""

from __future__ import annotations

import re
import shlex

from audit.causes import settings
from audit.compare.side import Measured
from reports.comparison import Cause, Results


def after_diff(sides: list[Measured], found: Results, causes: list[Cause]) -> str:
    """Where to run it, and the command: an experiment that tries the suspected cause, or the way to more evidence."""
    files = shlex.join([side.file for side in sides])
    if found.verdict == "diverged" and causes:
        labels = causes[0].labels
        pair = [next(side for side in sides if side.label == label) for label in labels]
        unset = _without(pair, causes)
        if unset:
            return unset
        components = [name for cause in causes for name in cause.components]
        here, values = settings.either(pair[0], pair[1], components)
        package = _other_version(pair, causes)
        if package:
            return package
        if values:
            assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
            return f"on {here.label}:  env {assignments} audit run -o trial.json"
        return f"audit diff {files} --all"
    if found.verdict == "nondeterministic":
        return "on the machine that does not repeat itself:  audit run --repeat 5 -o again.json"
    if found.verdict in ("not-measured", "not-comparable"):
        return "on each machine:  audit run -o FILE"
    return f"audit diff {files} --all"


def _without(pair: list[Measured], causes: list[Cause]) -> str:
    """The simplest experiment where every root is a variable that only one side sets: run there without it. The names
    are those of the catalogue's rows, never a report's own: a difference has a row."""
    names = [cause.root.split(".", 1)[1] for cause in causes if cause.root and cause.root.startswith("variables.")]
    if not names or len(names) < len(causes):
        return ""
    for side, other in ((pair[1], pair[0]), (pair[0], pair[1])):
        if all(side.fact(f"variables.{name}") is not None for name in names) and all(
            other.fact(f"variables.{name}") is None for name in names
        ):
            return f"on {side.label}:  env {' '.join('-u ' + name for name in names)} audit run -o trial.json"
    return ""


def _other_version(pair: list[Measured], causes: list[Cause]) -> str:
    """An environment with the reference's numpy, where that package is the root. Only this package: a report must not
    choose what a person installs."""
    wanted = pair[0].fact("packages.numpy.version")
    if causes[0].root != "packages.numpy.version" or not re.fullmatch(r"\d+(\.\d+){1,3}", str(wanted)):
        return ""
    make = f"python3 -m venv trial && trial/bin/pip install numpy=={wanted}"
    return f"on {pair[1].label}:  {make} && audit run --python trial/bin/python -o trial.json"
