"""What several subcommands share: the format, where the text goes, and how it is written."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from audit.errors import AuditError
from probes import interrupts
from probes.session import SECONDS_WITHOUT_PROGRESS

if TYPE_CHECKING:
    from reports.comparison import Comparison
    from reports.report import Report

FORMATS = ("terminal", "markdown", "html", "json")
CHECK_FORMATS = (*FORMATS, "github", "junit", "sarif", "gitlab", "line")
"""What a check is rendered in, for CI services and other programs that read findings."""


def add_rendering(command: argparse.ArgumentParser, formats: Sequence[str] = FORMATS) -> None:
    """--format, -o and --quiet, as every command that renders something has them."""
    command.add_argument("--format", choices=formats, default="terminal", help="how to show it (default: terminal)")
    command.add_argument("-o", "--output", metavar="FILE", help="write it to FILE instead of standard output")
    command.add_argument("--quiet", action="store_true", help="print nothing; the exit status is the answer")


def add_plot(command: argparse.ArgumentParser) -> None:
    """--plot, as every command that has a picture has it."""
    command.add_argument(
        "--plot", type=_drawing, metavar="FILE.svg", help="write its main picture there too, for a README"
    )


def _drawing(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    if suffix.lower() in (".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf"):
        raise argparse.ArgumentTypeError(f"{path}: pictures are drawn as SVG; name it {stem}.svg")
    return path


def add_interpreter(command: argparse.ArgumentParser) -> None:
    """--python and --via, as every command that measures a machine has them."""
    command.add_argument("--python", metavar="INTERPRETER", help="which Python (default: the active environment's)")
    command.add_argument(
        "--via",
        metavar="PREFIX",
        help="a command in front of the interpreter: 'ssh gpu02', 'qemu-x86_64-static -cpu Haswell'",
    )


def add_target(command: argparse.ArgumentParser) -> None:
    """These and --limit, of a command that can wait for as long as there is progress."""
    add_interpreter(command)
    command.add_argument(
        "--limit",
        type=seconds,
        default=SECONDS_WITHOUT_PROGRESS,
        metavar="SECONDS",
        help=f"end a process that shows no progress for so long (default: {SECONDS_WITHOUT_PROGRESS:.0f})",
    )


def duration(text: str) -> float:
    """Seconds of "90m", "2h" or "3d", for argparse. Raises argparse.ArgumentTypeError."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or len(number) > 9 or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90m, 2h or 3d")
    return float(int(number) * _UNITS[unit])


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Seconds of what `duration` takes."""


def seconds(text: str) -> float:
    """For argparse. Raises argparse.ArgumentTypeError."""
    number = float(text)
    if not 0 < number <= 86400:
        raise argparse.ArgumentTypeError("more than 0, at most a day")
    return number


def deliver(text: str, options: argparse.Namespace, inputs: Sequence[str] = ()) -> None:
    """Write a rendering where the options say. Raises AuditError if that file cannot be written, or is an input."""
    if options.output:
        refuse_inputs(options.output, inputs, "-o ")
        interrupts.hold()  # what comes after the file is written comes too late to be told that nothing was
        write(options.output, text)
    elif not options.quiet and sys.stdout is not None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")


def deliver_plot(found: Comparison | Report, options: argparse.Namespace, inputs: Sequence[str]) -> None:
    """Write the picture where --plot says. Raises AuditError where nothing can be drawn, or as `deliver` does."""
    from reports import render

    if not options.plot:
        return
    refuse_inputs(options.plot, inputs, "--plot ")
    drawn = render.drawing(found)
    if not drawn:
        raise AuditError("--plot: nothing in it can be drawn; it has no results, or is of an older audit")
    write(options.plot, drawn, "--plot")


def refuse_inputs(path: str, inputs: Sequence[str], option: str = "") -> None:
    """Raise AuditError if `path` is one of the files that were read."""
    for name in inputs:
        if os.path.exists(path) and os.path.exists(name) and os.path.samefile(path, name):
            raise AuditError(f"{option}{path} would replace a report that was read; choose another file")


def color() -> bool:
    """Whether to colour: a person's terminal, and NO_COLOR (no-color.org) is not set."""
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def refuse_unwritable(path: str, option: str = "", make: bool = False) -> None:
    """Raise AuditError if a file cannot be written, before a minute of work. option: what names another one; make: its
    folder is made if it is not there."""
    from probes import assemble

    with writing(path, option):
        assemble.check_writable(path, make)


def write(path: str, text: str, option: str = "") -> int:
    """Write a file whole or not at all; returns its bytes. Raises AuditError naming the file."""
    from probes import assemble

    with writing(path, option):
        return assemble.write(path, text)


@contextlib.contextmanager
def writing(path: str, option: str = "") -> Iterator[None]:
    """Raise AuditError, which says what cannot be written and why, for an OSError."""
    try:
        yield
    except OSError as error:
        remedy = f"; name another file with {option}" if option else ""
        raise AuditError(f"cannot write {path}: {error.strerror or error}{remedy}") from None
