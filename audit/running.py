"""What `audit run` does: choose the interpreter, capture the target, write the report, say what it came to."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from typing import Any

from audit import __version__, verdict
from audit.commands.options import color
from audit.errors import AuditError, TargetError
from audit.progress import Progress
from audit.targets import bundle
from audit.targets.prefix import PrefixTarget, find_python
from probes import assemble, interrupts, orphans, session, streams
from reports import codec, render
from reports.render.pages.run import RunSummary


def run(options: argparse.Namespace) -> int:
    """Capture and write one report. Raises AuditError if it cannot be captured or written."""
    interrupts.hold()  # signals are taken up while something is measured or waits for a reader; all else is short
    target, via, chosen = _target(options)
    label = (options.label or assemble.default_label()).encode("utf-8", "replace").decode("utf-8")
    path = options.output or _free(assemble.file_name(label))
    with _writing(path):
        assemble.check_writable(path)
    warnings = []
    if chosen == "audit's own":
        warnings.append("no active environment: measured audit's own Python; name yours with --python")
    captured = _capture(target, options)
    part = {"name": "host", "via": via, "interpreter": _interpreter(target.python), "chosen": chosen, **captured}
    auditor = {"version": __version__, "bundle": bundle.digest()}
    tree = assemble.report(label, [{key: value for key, value in part.items() if value is not None}], auditor)
    try:
        report = codec.check(tree)
    except codec.CodecError as error:
        raise TargetError(f"{target.words} sent records that make no valid report: {error}") from None
    with _writing(path):
        size = assemble.write(path, assemble.to_text(tree))
    if not options.quiet and not _is_standard_output(path):
        summary = RunSummary(interpreter=target.python, file=path, bytes=size, warnings=warnings, next=_next(path))
        _show(render.run_summary(report, summary, options.format, color=color()), path)
    return verdict.status(report)


def _capture(target: PrefixTarget, options: argparse.Namespace) -> dict[str, Any]:
    """Measure; nothing that was started runs on afterwards."""
    wanted = session.plan(
        options.job or ["auto"], options.repeat, options.verify, options.whole_step, partial=options.partial
    )
    with Progress(options.quiet, patience=0) as progress, orphans.ended():
        try:
            return session.capture(wanted, target.launch, progress.notify)
        except session.Died as death:
            raise TargetError(f"{target.words} cannot run the probes: {death}") from None
        except KeyboardInterrupt:
            hint = "before anything was measured" if options.partial else "--partial keeps what was measured"
            raise AuditError(f"interrupted; nothing was written ({hint})") from None


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    """Say what cannot be written, before a minute of work or after it."""
    try:
        yield
    except OSError as error:
        raise AuditError(f"cannot write {path}: {error.strerror or error}; name another file with -o") from None


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


def _target(options: argparse.Namespace) -> tuple[PrefixTarget, str | None, str]:
    """The target, the program in front of it, and how its interpreter was chosen."""
    if not options.via:
        python, chosen = find_python(options.python)
        return PrefixTarget([], python, options.limit), None, chosen
    try:
        prefix = shlex.split(options.via)
    except ValueError as error:
        raise AuditError(f"--via: {error}") from None
    if not prefix:
        raise AuditError("--via is empty; give the command to put in front of the interpreter")
    chosen = "as --python says" if options.python else "python3 at the end of --via"
    return PrefixTarget(prefix, options.python or "python3", options.limit), _via(prefix[0]), chosen


_PREFIXES = re.compile(
    r"apptainer|ch-run|chroot|conda|docker|enroot|env|ionice|kubectl|mpirun|nerdctl|nice|nsenter|numactl|oc|podman|"
    r"qemu-\w+(-static)?|setarch|setpriv|sh|singularity|srun|ssh|sudo|taskset|timeout|unshare"
)
"""Commands that stand in front of interpreters everywhere. Any other is somebody's own, and its name is theirs."""


def _via(program: str) -> str:
    """The name of a prefix's program, if it says nothing of a person or project."""
    name = os.path.basename(program)
    return name if _PREFIXES.fullmatch(name) else "(a command)"


def _interpreter(path: str) -> str:
    """The interpreter's name, if it says nothing of a person or project: a wrapper script may be called anything."""
    name = os.path.basename(path)
    return name if re.fullmatch(r"(python|pypy)[0-9.]*[a-z]{0,3}(\.exe)?", name) else "(a script)"


def _next(path: str) -> str:
    return f"on the other machine:  audit run -o other.json    # then: audit diff {shlex.quote(path)} other.json"


def _free(path: str) -> str:
    """A default file name never replaces a report: LABEL.json, LABEL-2.json, ..."""
    stem = path.removesuffix(".json")
    names = [path, *(f"{stem}-{number}.json" for number in range(2, 10_000))]
    return next((name for name in names if not os.path.exists(name)), path)
