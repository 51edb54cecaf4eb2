"""`audit diff`: do results agree, where do they first part, and what is the cause."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from audit.commands.options import add_plot, add_rendering, color, deliver, deliver_plot, duration
from audit.errors import AuditError

if TYPE_CHECKING:
    from audit.compare.side import Side
    from reports.comparison import Comparison


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("diff", help="compare reports: where results part, and why")
    command.add_argument(
        "reports", nargs="+", metavar="REPORT[#TARGET]", help="two or more reports of audit run, or folders of them"
    )
    command.add_argument(
        "--fail-on",
        choices=("results", "numeric", "any"),
        default="numeric",
        help="what gives status 1: other results; or also facts that can change them (default); or any but identity",
    )
    command.add_argument("--all", action="store_true", help="every difference, not only what decides the answer")
    command.add_argument("--allow-edited", action="store_true", help="read reports that were edited after writing")
    command.add_argument("--proof", metavar="FILE", help="what audit reproduce saved: its cause is then proven")
    command.add_argument(
        "--variation", metavar="FILE", help="what audit vary --format json saved: does the gap of final losses matter?"
    )
    command.add_argument(
        "--expect",
        metavar="HOSTS",
        help="who should have reported: a file (or -) of labels or ranges as Slurm writes them, gpu[001-117,119]; "
        "whoever did not, or late or incompletely, is a finding",
    )
    command.add_argument(
        "--within",
        type=duration,
        metavar="TIME",
        help="with --expect: how far a report's file may be from the median time of all files in the folder; beyond it "
        "is late, or an older one (default: 1h; such as 90m, 2d). A node's own clock decides nothing",
    )
    add_plot(command)
    add_rendering(command)
    command.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    from audit import expect, inputs
    from audit.compare import gap
    from audit.compare.engine import compare
    from audit.progress import Progress
    from reports import render

    if options.within and not options.expect:
        raise AuditError("--within goes with --expect: it says when a report is late")
    expected = expect.read(options.expect) if options.expect else None
    proof = _proof(options.proof)
    variation = gap.read(options.variation) if options.variation else None
    with Progress(quiet=options.quiet or len(options.reports) == 2) as progress:
        found = inputs.sides(options.reports, options.allow_edited, progress.notify, expecting=expected is not None)
        comparison = compare(
            found.sides,
            options.fail_on,
            found.notes,
            found.left_out,
            options.reports,
            progress.notify,
            expect.judge(expected, found.arrived, options.within or expect.WITHIN) if expected else None,
        )
    if proof:
        comparison = proof(comparison, found.sides)
    if variation:
        comparison = gap.beside(comparison, variation, [side.outline for side in found.sides], options.variation)
    colored = not options.output and color()
    text = render.diff(comparison, options.format, all=options.all, color=colored)
    read = [side.outline.file for side in found.sides]
    deliver_plot(comparison, options, read)
    deliver(text, options, read)
    return comparison.exit


def _proof(path: str | None) -> Callable[[Comparison, list[Side]], Comparison] | None:
    """What a saved reproduction makes of a comparison; it is read, and refused, before anything else."""
    if not path:
        return None
    from audit.causes import proven

    found = proven.read(path)
    return lambda comparison, sides: proven.applied(comparison, sides, found, path)
