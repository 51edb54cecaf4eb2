"""What `audit run` does: choose the interpreter, capture the target, write the report, say what it came to."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shlex
from typing import Any

from audit import verdict
from audit.commands.options import color, refuse_unwritable, write
from audit.errors import AuditError, TargetError
from audit.own import again
from audit.own import asked as asked_program
from audit.progress import Progress
from audit.targets.asked import INTERRUPTED, Asked, asked
from audit.targets.report import report
from probes import assemble, interrupts, orphans, session, streams
from reports import render
from reports.render.escape import visible

NOT_THERE = "program: COMMAND cannot be started there"
"""Why a target lacks it, for a report: what a person typed is not in it."""


def run(options: argparse.Namespace) -> int:
    """Capture and write one report. Raises AuditError if it cannot be captured or written."""
    interrupts.hold()  # signals are taken up while something is measured or waits for a reader; all else is short
    label, path = assemble.place(options.output, options.label)
    path = path if options.output else _free(path)
    wanted = _wanted(options)
    refuse_unwritable(path, "-o", make=(options.output or "").endswith("/"))
    with orphans.ended(), contextlib.ExitStack() as closed:
        with interrupts.allowed():
            targets = asked(options)
        if wanted.program and all(one.missing for one in targets):
            raise TargetError(f"cannot start {wanted.program.command[0]}: {targets[0].missing}")
        parts = _capture(targets, wanted, options, closed)
        # Written while an engine removes its container, which takes longer.
        tree, found = report(label, parts, ", ".join(one.target.words for one in targets))
        size = write(path, assemble.to_text(tree), "-o")
    if not options.quiet and not _is_standard_output(path):
        from reports.render.pages.run import RunSummary

        warnings = [warning for one in targets for warning in one.warnings]
        interpreter = targets[0].python if len(targets) == 1 else ""
        following = _next(path, parts, wanted.program, options)
        summary = RunSummary(interpreter=interpreter, file=path, bytes=size, warnings=warnings, next=following)
        _show(render.run_summary(found, summary, options.format, color=color()), path)
    return verdict.status(found)


def _wanted(options: argparse.Namespace) -> session.Plan:
    """What to measure. Raises AuditError for options that do not go together."""
    own = asked_program(options, "audit run")
    jobs = options.job or (["operators"] if own else ["auto"])
    repeat = options.repeat or (1 if own else 2)
    return session.plan(
        jobs,
        repeat,
        options.verify,
        options.whole_step,
        options.partial,
        own,
        device=options.device,
        deterministic=options.deterministic,
    )


def _capture(
    targets: list[Asked], wanted: session.Plan, options: argparse.Namespace, closed: contextlib.ExitStack
) -> list[dict[str, Any]]:
    """Measure one target after the other; nothing that was started runs on after `closed`.

    The first must be measurable. What befalls another costs that one: the rest of the report is not lost.
    """
    keeping = wanted.partial or wanted.program is not None
    parts: list[dict[str, Any]] = []
    # What computes for long has the machine to itself.
    facts_only = not wanted.battery and wanted.jobs == () and not wanted.program
    with Progress(options.quiet, patience=0) as progress:
        for one in targets:
            one.target.outlet = progress.pass_on
            closed.callback(one.target.close)
        for one, following in itertools.zip_longest(targets, targets[1:]):
            if following and facts_only:
                following.target.prepare(session.request(wanted, "facts"))
            notify = progress.notify if len(targets) == 1 else progress.of(one.name)
            try:
                parts.append(_measure(one, wanted, notify, first=not parts))
            except KeyboardInterrupt:
                if not (keeping and parts):
                    hint = "before anything was measured" if options.partial else "--partial keeps what was measured"
                    raise AuditError(f"interrupted; nothing was written ({hint})") from None
                parts.append(one.unmeasured(INTERRUPTED))
            if parts[-1].get("incomplete", [""])[0].startswith(INTERRUPTED):
                parts += [other.unmeasured(f"{INTERRUPTED} before it was begun") for other in targets[len(parts) :]]
                break
    return parts


def _measure(one: Asked, wanted: session.Plan, notify: session.Notify, first: bool) -> dict[str, Any]:
    """One target's part. Of what is audited beside the host, one that cannot be measured is said and still a part."""
    keeping = wanted.partial or wanted.program is not None
    if one.missing:
        wanted = wanted._replace(program=None)
    try:
        captured = session.capture(wanted, one.target.launch, notify)
        if one.missing:
            captured.setdefault("incomplete", []).append(NOT_THERE)
        said = "; ".join(captured.get("incomplete", []))
    except (session.Died, TargetError) as error:
        said = str(error)
        if isinstance(error, session.Died):
            said = f"{one.target.words} cannot run the probes: {error}"
        if first:
            raise TargetError(said) from None
        captured = {"interpreter": "", "chosen": "", "facts": _still(one), "incomplete": [_why(error)]}
    if said and not first:
        streams.say(visible(f"audit run: {one.name} is incomplete: {said}"))
    return one.part(captured, notify, keeping)


def _still(one: Asked) -> dict[str, Any]:
    """The facts that can be had without running it, if any can."""
    try:
        with interrupts.allowed():
            return one.still()
    except TargetError:
        return {}


def _why(error: Exception) -> str:
    """Why a target was not measured, for a report: what a person typed is not in it."""
    from audit.targets.container import NoPython
    from audit.targets.still import NO_PYTHON

    if isinstance(error, NoPython):
        return "no such interpreter in the image" if error.named else NO_PYTHON
    return "it could not run the probes" + (f": {error.reason}" if isinstance(error, session.Died) else "")


def _is_standard_output(path: str) -> bool:
    """Whether the report itself went there (-o /dev/stdout): a summary behind it would spoil it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


def _show(summary: str, path: str) -> None:
    try:
        streams.show(summary)
    except OSError as error:
        raise AuditError(f"saved {path}, but cannot print its summary: {error.strerror or error}") from None


def _next(path: str, parts: list[dict[str, Any]], own: session.Program | None, options: argparse.Namespace) -> str:
    file = shlex.quote(path)
    if len(parts) > 1:
        return f"audit diff {file}    # what changes between outside and inside"
    if options.output and path != options.output:
        folder = shlex.quote(options.output)
        return f"on the other machines:  audit run -o {folder}    # then: audit diff {folder}"
    if own:
        same = again(own, options.format == "terminal")
        return f"on the other machine:  audit run -o other.json {same}    # then: audit diff {file} other.json"
    return f"on the other machine:  audit run -o other.json    # then: audit diff {file} other.json"


def _free(path: str) -> str:
    """A default file name never replaces a report: LABEL.json, LABEL-2.json, ..."""
    stem = path.removesuffix(".json")
    names = [path, *(f"{stem}-{number}.json" for number in range(2, 10_000))]
    return next((name for name in names if not os.path.exists(name)), path)
