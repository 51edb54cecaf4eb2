"""What several subcommands share: the format, where the text goes, and how it is written."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from audit.errors import AuditError
from probes.session import SECONDS_WITHOUT_PROGRESS

FORMATS = ("terminal", "markdown", "json")
CHECK_FORMATS = (*FORMATS, "github", "junit", "sarif", "gitlab", "line")
"""What a check is rendered in, for CI services and other programs that read findings."""


def add_rendering(command: argparse.ArgumentParser, formats: Sequence[str] = FORMATS) -> None:
    """--format, -o and --quiet, as every command that renders something has them."""
    command.add_argument("--format", choices=formats, default="terminal", help="how to show it (default: terminal)")
    command.add_argument("-o", "--output", metavar="FILE", help="write it to FILE instead of standard output")
    command.add_argument("--quiet", action="store_true", help="print nothing; the exit status is the answer")


def add_target(command: argparse.ArgumentParser) -> None:
    """--python, --via and --limit, as every command that measures a machine has them."""
    command.add_argument("--python", metavar="INTERPRETER", help="which Python (default: the active environment's)")
    command.add_argument(
        "--via",
        metavar="PREFIX",
        help="a command in front of the interpreter: 'ssh gpu02', 'qemu-x86_64-static -cpu Haswell'",
    )
    command.add_argument(
        "--limit",
        type=_seconds,
        default=SECONDS_WITHOUT_PROGRESS,
        metavar="SECONDS",
        help=f"end a process that shows no progress for so long (default: {SECONDS_WITHOUT_PROGRESS:.0f})",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError("more than 0, at most a day")
    return seconds


def deliver(text: str, options: argparse.Namespace, inputs: Sequence[str] = ()) -> None:
    """Write a rendering where the options say. Raises AuditError if that file cannot be written, or is an input."""
    if options.output:
        refuse_inputs(options.output, inputs, "-o ")
        write(options.output, text)
    elif not options.quiet and sys.stdout is not None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")


def refuse_inputs(path: str, inputs: Sequence[str], option: str = "") -> None:
    """Raise AuditError if `path` is one of the files that were read."""
    for name in inputs:
        if os.path.exists(path) and os.path.exists(name) and os.path.samefile(path, name):
            raise AuditError(f"{option}{path} would replace a report that was read; choose another file")


def color() -> bool:
    """Whether to colour: a person's terminal, and NO_COLOR (no-color.org) is not set."""
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def write(path: str, text: str) -> None:
    """Write a file whole or not at all. Raises AuditError naming the file."""
    from probes import assemble

    try:
        assemble.write(path, text)
    except OSError as error:
        raise AuditError(f"cannot write {path}: {error.strerror or error}") from None
