"""The command to type next: the last line of every rendering."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from audit.causes import settings
from audit.causes.settings import Values
from audit.compare.programs import dispatches, recorded, window
from audit.compare.side import Measured, Outline
from reports.comparison import Attendance, Cause, Results
from reports.programs import explaining, is_operator, is_program, kind
from reports.render.pages.groups import who

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
    if any(is_program(job.name) for job in found.jobs) and pair:
        return _of_program(found, causes, pair) or share
    if found.verdict == "diverged" and causes and pair:
        first = [cause for cause in causes if cause.labels == causes[0].labels]
        return _proof(*pair, first) or share
    if found.verdict == "nondeterministic":
        return "on the machine that does not repeat itself:  audit run --repeat 5 -o again.json"
    if found.verdict in ("not-measured", "not-comparable"):
        unmeasured = [side.label for side in sides if not side.runs]
        return f"on {unmeasured[0] if unmeasured else 'each machine'}:  audit run -o FILE"
    return share


def after_gathering(attendance: Attendance | None, typed: Sequence[str]) -> str:
    """Where and how to measure again, if somebody did not report as expected; "" if everybody did."""
    labels = [label for one in attendance.findings if one.counts for label in one.labels] if attendance else []
    if not labels:
        return ""
    folder = shlex.quote(typed[0].rstrip("/") + "/") if len(typed) == 1 else "DIR/"
    name = shlex.quote(labels[0]) if len(set(labels)) == 1 else "NAME"
    return f"on {who(labels)}:  audit run --label {name} -o {folder}"


COMMAND = "-- YOUR COMMAND"
"""A program's command line is in no report."""


def _of_program(found: Results, causes: list[Cause], pair: tuple[Measured, Measured]) -> str:
    """What brings a person nearer to why the program parts: another recording of it, or the proof."""
    first = found.first_divergence
    job = next(job for job in found.jobs if is_program(job.name))
    if found.verdict == "not-comparable":
        return _as_the_other(job.name, *pair)
    if found.verdict == "nondeterministic":
        unset = any(side.fact("python.hash_seed") == "random" for side in pair)  # ends what sets alone do
        again = "PYTHONHASHSEED=0 " * unset + _record(job.steps, "--repeat 3")
        return f"on the machine that does not repeat itself:  {again}"
    if found.verdict != "diverged" or first is None or first.step is None or not is_program(first.job):
        return ""
    of_pair = [cause for cause in causes if cause.labels == first.labels]
    mine = explaining(of_pair, first)
    steps = first.step + 1
    if of_pair and not of_pair[0].components:
        return f"on both, with one and the same program:  {_record(steps)}"
    if any(cause.root == "python.hash_seed" for cause in mine) and not _proof(*pair, mine):
        return f"on both:  PYTHONHASHSEED=0 {_record(steps)}"
    if any(cause.root == "program.seeds" for cause in mine):
        return f"on both, with one seed:  {_record(steps)}"
    if any((cause.root or "").startswith("program.") for cause in mine):
        return f"on both, run alike:  {_record(steps)}"
    begin, end = window(pair[0].jobs[first.job])
    narrows = dispatches(pair[0], first.job) and not is_operator(first.operator) and not begin <= first.step < end
    if kind(first) in ("data", "random") and not (narrows and first.untold and not _roots(mine)):
        able = _roots(mine) or (mine if first.untold else [])  # what may have made them can be tried
        return _proved(pair, able) or f"on both, seeded and sorted:  {_record(steps)}"
    if narrows:
        return f"on both:  {_record(steps, f'--trace operators --window {first.step}:{steps}')}"
    if not _roots(mine) and all(side.jobs[first.job].runs == 1 for side in pair):
        return f"on {pair[0].label}, whether it repeats itself:  {_record(steps, '--repeat 3')}"
    return _proved(pair, _roots(mine))


def _record(steps: int, how: str = "") -> str:
    return f"audit run --steps {steps} {how}{' ' if how else ''}-o NAME.json {COMMAND}"


def _proved(pair: tuple[Measured, Measured], causes: list[Cause]) -> str:
    proof = _proof(*pair, causes, settings.variables) if causes else ""
    command, remark, again = proof.partition("    # ")
    return f"{command} {COMMAND}{remark}{again}" if "audit reproduce" in command else proof


def _roots(causes: list[Cause]) -> list[Cause]:
    return [cause for cause in causes if cause.root is not None]


def _as_the_other(name: str, a: Measured, b: Measured) -> str:
    """How the second side is recorded as the first one was."""
    if name not in a.jobs or name not in b.jobs:
        return ""
    if recorded(a.jobs[name]) == recorded(b.jobs[name]):
        return f"on both, with one and the same program:  audit run {recorded(a.jobs[name])} -o NAME.json {COMMAND}"
    return f"on {b.label}:  audit run {recorded(a.jobs[name])} -o NAME.json {COMMAND}"


def _proof(
    a: Measured, b: Measured, causes: list[Cause], of: Callable[[Values], Values] = lambda values: values
) -> str:
    """The reproduction on the side that can imitate the other; "" where nothing that could be set is suspected. of:
    the settings that can be had there; in a program nobody makes calls."""
    names = [name for cause in causes for name in cause.components]
    here = _sets_alone(a, b, causes)
    if here is None:
        able = (one for one, other in ((b, a), (a, b)) if of(settings.derive(one, other, names)) and _is_host(one))
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
