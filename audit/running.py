"""What `audit run` does: choose the interpreter, capture the target, write the report, say what it came to."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from audit import __version__, verdict
from audit.commands.options import color, write
from audit.errors import AuditError, TargetError
from audit.progress import Progress
from audit.targets import bundle
from audit.targets.prefix import PrefixTarget, find_python
from probes import assemble, session
from reports import codec, render
from reports.render.pages.run import RunSummary


def run(options: argparse.Namespace) -> int:
    """Capture and write one report. Raises AuditError if it cannot be captured or written."""
    target, via, chosen = _target(options)
    label = (options.label or assemble.default_label()).encode("utf-8", "replace").decode("utf-8")
    path = options.output or _free(assemble.file_name(label))
    _refuse_unwritable(path)
    wanted = session.plan(options.job or ["auto"], options.repeat, options.verify, options.whole_step)
    warnings = []
    if chosen == "audit's own":
        warnings.append("no active environment: measured audit's own Python; name yours with --python")
    with Progress(quiet=options.quiet) as progress:
        try:
            captured = session.capture(wanted, target.launch, progress.notify)
        except session.Died as death:
            raise TargetError(f"{target.words} cannot run the probes: {death}") from None
    part = {"name": "host", "via": via, "interpreter": os.path.basename(target.python), "chosen": chosen, **captured}
    auditor = {"version": __version__, "bundle": bundle.digest()}
    tree = assemble.report(label, [{key: value for key, value in part.items() if value is not None}], auditor)
    try:
        report = codec.check(tree)
    except codec.CodecError as error:
        raise TargetError(f"{target.words} sent records that make no valid report: {error}") from None
    write(path, assemble.to_text(tree))
    if not options.quiet and sys.stdout is not None:
        summary = RunSummary(
            interpreter=target.python, file=path, bytes=os.path.getsize(path), warnings=warnings, next=_next(path)
        )
        sys.stdout.write(render.run_summary(report, summary, options.format, color=color()))
    return verdict.status(report)


def _target(options: argparse.Namespace) -> tuple[PrefixTarget, str | None, str]:
    """The target, the program in front of it, and how its interpreter was chosen."""
    if not options.via:
        python, chosen = find_python(options.python)
        return PrefixTarget([], python), None, chosen
    try:
        prefix = shlex.split(options.via)
    except ValueError as error:
        raise AuditError(f"--via: {error}") from None
    if not prefix:
        raise AuditError("--via is empty; give the command to put in front of the interpreter")
    chosen = "as --python says" if options.python else "python3 at the end of --via"
    return PrefixTarget(prefix, options.python or "python3"), os.path.basename(prefix[0]), chosen


def _refuse_unwritable(path: str) -> None:
    """Say that the report cannot be written before a minute of work, not after it."""
    if os.path.isdir(path):
        raise AuditError(f"cannot write {path}: it is a folder")
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise AuditError(f"cannot write {path}: no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise AuditError(f"cannot write {path}: no permission in {folder}")


def _next(path: str) -> str:
    return f"on the other machine:  audit run -o other.json    # then: audit diff {shlex.quote(path)} other.json"


def _free(path: str) -> str:
    """A default file name never replaces a report: LABEL.json, LABEL-2.json, ..."""
    stem = path.removesuffix(".json")
    names = [path, *(f"{stem}-{number}.json" for number in range(2, 10_000))]
    return next((name for name in names if not os.path.exists(name)), path)
