"""`audit show`: one report, or a saved answer of another command, for a person."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from audit.commands.options import CHECK_FORMATS, FORMATS, add_plot, add_rendering, color, deliver, deliver_plot
from audit.errors import SAME, AuditError, ReportError

if TYPE_CHECKING:
    from reports.codec import Found


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("show", help="read a report, or what diff, check, reproduce or vary saved")
    command.add_argument(
        "file",
        metavar="REPORT|ANSWER",
        help="a file of audit run or audit reproduce, or of audit diff, check or vary --format json",
    )
    command.add_argument("--all", action="store_true", help="every fact with its source")
    command.add_argument("--sharing", action="store_true", help="what leaves this machine if you send the file")
    command.add_argument("--allow-edited", action="store_true", help="read a report that was edited after writing")
    add_plot(command)
    add_rendering(command, CHECK_FORMATS)
    command.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    from audit import verdict
    from probes import streams
    from reports import codec, render
    from reports.checked import Check
    from reports.comparison import Comparison
    from reports.fleet import Fleet
    from reports.history import History
    from reports.render.escape import visible
    from reports.report import Report
    from reports.reproduction import Reproduction
    from reports.screening import Screening
    from reports.variation import Variation

    try:
        found, notes = codec.read_any(options.file, options.allow_edited)
    except codec.CodecError as error:
        raise ReportError(str(error)) from None
    for note in notes if not options.quiet else ():
        streams.say(visible(f"audit show: {note}"))
    colored = not options.output and color()
    if not isinstance(found, Check) and options.format not in FORMATS:
        raise AuditError(f"{options.file}: only a check is shown as {options.format}; choose {', '.join(FORMATS)}")
    if options.plot and not isinstance(found, Comparison | Report):
        raise AuditError(f"{options.file}: --plot draws a report or a comparison; this is neither")
    if options.sharing:
        return _sharing(found, options, colored)
    if isinstance(found, Check):
        deliver(render.check(found, options.format, all=options.all, color=colored), options, [options.file])
        return found.exit
    if isinstance(found, Comparison):
        deliver_plot(found, options, [options.file])
        deliver(render.diff(found, options.format, all=options.all, color=colored), options, [options.file])
        return found.exit
    if isinstance(found, Reproduction):
        from audit.causes import proven

        proven.check(options.file, found)
        deliver(render.reproduction(found, options.format, all=options.all, color=colored), options, [options.file])
        return found.exit
    if isinstance(found, Variation):
        deliver(render.variation(found, options.format, all=options.all, color=colored), options, [options.file])
        return found.exit
    if isinstance(found, Fleet):
        deliver(render.fleet(found, options.format, all=options.all, color=colored), options, [options.file])
        return found.exit
    if isinstance(found, History):
        deliver(render.history(found, options.format, all=options.all, color=colored), options, [options.file])
        return found.exit
    if isinstance(found, Screening):
        deliver(render.screening(found, options.format, all=options.all, color=colored), options, [options.file])
        return found.exit
    deliver_plot(found, options, [options.file])
    deliver(render.show(found, options.format, all=options.all, color=colored), options, [options.file])
    return verdict.status(found)


def _sharing(found: Found, options: argparse.Namespace, colored: bool) -> int:
    """Say what leaves this machine with a report. Raises AuditError for an answer."""
    from reports import render
    from reports.report import Report

    if not isinstance(found, Report):
        raise AuditError(f"{options.file}: an answer holds parts of its reports; --sharing reads a report")
    deliver(render.sharing(found, options.file, options.format, color=colored), options, [options.file])
    return SAME
