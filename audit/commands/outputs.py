"""Where a check goes: standard output, any number of files, and by itself what GitHub Actions shows of a step."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from audit.commands.options import CHECK_FORMATS, add_rendering, color, refuse_inputs, refuse_unwritable, write
from audit.commands.options import deliver as deliver_text
from audit.errors import AuditError

if TYPE_CHECKING:
    from reports.checked import Check

SUMMARY_BYTES = 1024 * 1024
"""The most that GitHub takes as the summary of a step; of a longer one it shows nothing."""


def add_outputs(command: argparse.ArgumentParser) -> None:
    """--report, --format, -o and --quiet, as a command that checks has them."""
    command.add_argument(
        "--report",
        action="append",
        dest="reports_to",
        type=report,
        default=[],
        metavar="FORMAT=FILE",
        help="write it to FILE in this format too; again for several files",
    )
    add_rendering(command, CHECK_FORMATS)


def report(text: str) -> tuple[str, str]:
    """The format and the file of "sarif=drift.sarif". Raises argparse.ArgumentTypeError."""
    form, separator, path = text.partition("=")
    if not separator or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not FORMAT=FILE, such as sarif=drift.sarif")
    if form not in CHECK_FORMATS:
        raise argparse.ArgumentTypeError(f"no format {form!r} (choose from {', '.join(CHECK_FORMATS)})")
    return form, path


def ready(options: argparse.Namespace, inputs: Sequence[str] = ()) -> None:
    """Refuse, before anything is measured, files that cannot be written or that are inputs. Raises AuditError."""
    paths = [*([options.output] if options.output else []), *(path for _, path in options.reports_to)]
    for path in paths:
        refuse_inputs(path, inputs)
        if paths.count(path) > 1:
            raise AuditError(f"two outputs go to {path}; give each its own file")
        refuse_unwritable(path)


def deliver(found: Check, options: argparse.Namespace, inputs: Sequence[str] = ()) -> None:
    """Write a check to all places that the options name, each whole or not at all, and under GitHub Actions show it
    with the step as well. Raises AuditError for a file that cannot be written or is an input."""
    from reports import render

    everything = getattr(options, "all", False)
    placed = _placed(found, os.environ)
    for form, path in options.reports_to:
        refuse_inputs(path, inputs)
        write(path, render.check(placed, form, all=everything))
    actions = os.environ.get("GITHUB_ACTIONS") == "true"
    text = render.check(placed, options.format, all=everything, color=not options.output and not actions and color())
    if actions and options.format == "terminal" and not options.output:
        text = _no_commands(text)
    deliver_text(text, options, inputs)
    if actions and not options.quiet:
        _annotate(render.check(placed, "github"), options)
        _summarise(render.check(placed, "markdown"), os.environ.get("GITHUB_STEP_SUMMARY", ""))


def _placed(found: Check, variables: Mapping[str, str]) -> Check:
    """With the baseline named as the repository names it, where a CI service says which folder that is: annotations
    and findings are shown beside a line only if the file's name is the repository's own."""
    from msgspec.structs import replace

    root = variables.get("GITHUB_WORKSPACE") or variables.get("CI_PROJECT_DIR")
    if not root or not found.baseline:
        return found
    path = os.path.relpath(os.path.realpath(found.baseline), os.path.realpath(root))
    return found if path.startswith(os.pardir) else replace(found, baseline=path)


def _no_commands(page: str) -> str:
    """A page that the runner of GitHub Actions will not take for its commands, though a report's text look like one."""
    if not any(line.lstrip().startswith("::") or "##[" in line for line in page.splitlines()):
        return page
    token = os.urandom(16).hex()  # the runner obeys nothing until it reads this again, which no report can know
    return f"::stop-commands::{token}\n{page}::{token}::\n"


def _annotate(commands: str, options: argparse.Namespace) -> None:
    """Print workflow commands where they spoil nothing: the runner reads both streams, and standard output may hold
    JSON for another program."""
    free = options.output or options.format == "terminal"
    stream = sys.stdout if free else sys.stderr
    if options.format != "github" and stream is not None:
        stream.write(commands)
        stream.flush()


def _summarise(page: str, path: str) -> None:
    """Append a page to the summary of the step, where there is one and the page still has room in it."""
    from probes import streams

    if not path:
        return
    data = page.encode("utf-8")
    try:
        before = os.path.getsize(path) if os.path.exists(path) else 0
        if before + len(data) > SUMMARY_BYTES:
            streams.say("audit check: no room is left in the summary of this step; nothing was added to it")
            return
        with open(path, "ab") as file:
            file.write(data)
    except OSError as error:  # a courtesy: the status and the files are the answer
        streams.say(f"audit check: cannot write the summary of this step: {error.strerror or error}")
