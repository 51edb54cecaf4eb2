"""`audit history`: what changed on which node when, and the first day on which results moved."""

from __future__ import annotations

import argparse
import datetime
from typing import TYPE_CHECKING

from audit.commands.options import add_rendering, color, deliver
from audit.errors import AuditError
from probes import interrupts

if TYPE_CHECKING:
    from reports.history import Added, History

DATABASE = "audit-history.sqlite"

EPILOG = """\
the day of a report is that on which it says it was made (UTC), whenever it is added; where that is in
the future, or no time, it is the day on which it is added. exit status: 0 no results moved; 1 some did;
3 nothing could be compared: a node tells something from its second report on"""


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "history",
        help="keep reports, and say what changed on which node when",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "words",
        nargs="*",
        metavar="NODE|add REPORT",
        help="the timeline of these nodes, also as ranges: gpu[001-117] (default: of all); or add: reports of audit "
        "run, or folders of them, to keep",
    )
    command.add_argument("--db", metavar="FILE", default=DATABASE, help=f"the history (default: {DATABASE} here)")
    command.add_argument(
        "--fact", metavar="NAME", help="one fact over time: its values, since when, and on which nodes"
    )
    command.add_argument(
        "--since", type=_day, metavar="DATE", help="only what changed on this day or later: 2026-11-03"
    )
    command.add_argument(
        "--fail-on",
        choices=("results", "numeric", "any"),
        default="results",
        help="what gives status 1: other results (default); or also facts that can change them; or any but identity",
    )
    command.add_argument("--all", action="store_true", help="every change with all its facts")
    command.add_argument("--allow-edited", action="store_true", help="add reports that were edited after writing")
    add_rendering(command)
    command.set_defaults(execute=execute)


def _day(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-11-03") from None


def execute(options: argparse.Namespace) -> int:
    from reports import render

    found = _added(options) if options.words[:1] == ["add"] else _told(options)
    text = render.history(found, options.format, all=options.all, color=not options.output and color())
    deliver(text, options, [options.db])
    return found.exit


def _added(options: argparse.Namespace) -> Added:
    from audit.history.add import add
    from audit.progress import Progress

    if not options.words[1:]:
        raise AuditError("what shall be added? audit history add REPORT..., or a folder of them")
    for option in ("fact", "since"):
        if getattr(options, option):
            raise AuditError(f"--{option} is not for add; afterwards: audit history --{option} ...")
    interrupts.hold()  # signals are taken up while reports are read; once they are stored it is too late
    with Progress(options.quiet) as progress:
        return add(options.words[1:], options.db, options.allow_edited, progress.notify)


def _told(options: argparse.Namespace) -> History:
    from audit.expect import expanded
    from audit.history import store
    from audit.history.drift import drift
    from audit.history.timeline import history

    try:
        nodes = [label for word in options.words for label in expanded(word)]
    except ValueError as error:
        raise AuditError(f"{' '.join(options.words)}: {error}") from None
    with store.reading(options.db) as opened:
        if options.fact:
            return drift(opened, options.fact, nodes, options.since)
        return history(opened, nodes, options.since, options.fail_on)
