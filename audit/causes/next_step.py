"""The command to type next: the last line of every rendering."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

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
    """Where to run it, and the command: the proof of a suspected cause, or the way to more evidence.

    pair: the two sides that the first cause is about. typed: the reports as they were named.
    """
    share = _to_share(typed or [side.file for side in sides])
    if found.verdict == "diverged" and causes and pair:
        first = [cause for cause in causes if cause.labels == causes[0].labels]
        return _proof(*pair, first) or share
    if found.verdict == "nondeterministic":
        return "on the machine that does not repeat itself:  audit run --repeat 5 -o again.json"
    if found.verdict in ("not-measured", "not-comparable"):
        unmeasured = [side.label for side in sides if not side.runs]
        return f"on {unmeasured[0] if unmeasured else 'each machine'}:  audit run -o FILE"
    return share


def _proof(a: Measured, b: Measured, causes: list[Cause]) -> str:
    """The reproduction on the side that can imitate the other; "" where nothing that could be set is suspected."""
    names = [name for cause in causes for name in cause.components]
    here = _sets_alone(a, b, causes)
    if here is None:
        able = (one for one, other in ((b, a), (a, b)) if settings.derive(one, other, names) and _is_host(one))
        here = next(able, None)
    package = any((cause.root or "").startswith("packages.") for cause in causes)
    if here is None and package:
        here = next(filter(_is_host, (b, a)), None)
    if here is None:
        return ""
    there = a if here is b else b
    report = there.file if len(there.report.targets) == 1 else f"{there.file}#{there.target.name}"
    more = " --packages" if package else ""
    return _run(here, f"audit reproduce {shlex.quote(report)}{more}")


def _is_host(side: Measured) -> bool:
    """Whether a person can run something there by the command alone: what is in an image is changed by its recipe."""
    return side.target.name == "host"


def _run(side: Measured, command: str) -> str:
    """A command on that side; what chose its interpreter is not in a report, so it is only pointed at."""
    chosen = "--python" if side.target.chosen == "as --python says" else ""
    again = " and ".join(part for part in (chosen, "--via" if side.target.via else "") if part)
    return f"on {side.label}:  {command}" + (f"    # {again} as before" if again else "")


def _sets_alone(a: Measured, b: Measured, causes: list[Cause]) -> Measured | None:
    """The side that alone sets the variables which explain every cause: taking them out is the simplest remedy."""
    names = []
    for cause in causes:
        own = [fact for fact in cause.facts[:2] if fact.startswith("variables.")]
        if not own:
            return None
        names += own
    for side, other in ((b, a), (a, b)):
        if side.target.via == "env" or not _is_host(side):
            continue  # the command line set them, and will again
        if all(side.fact(name) is not None and other.fact(name) is None for name in names):
            return side
    return None


def _to_share(names: Sequence[str]) -> str:
    if len(names) > _FEW:
        return "the same command with --format markdown    # to paste"
    return f"audit diff {shlex.join(names)} --format markdown    # to paste"
