"""The command to type next: the last line of every rendering."""

from __future__ import annotations

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
        components = [name for cause in causes for name in cause.components]
        here, values = settings.either(pair[0], pair[1], components)
        if values:
            assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
            return f"on {here.label}:  env {assignments} audit run -o trial.json"
        return f"audit diff {files} --all"
    if found.verdict == "nondeterministic":
        return "on the machine that does not repeat itself:  audit run --repeat 5 -o again.json"
    if found.verdict in ("not-measured", "not-comparable"):
        return "on each machine:  audit run -o FILE"
    return f"audit diff {files} --all"
