"""`audit vary`: which settings change this machine's bits, which machines they stand for, and what pins them."""

from __future__ import annotations

import argparse

from audit.commands.options import add_rendering, add_target, color, deliver
from probes.jobs import NAMES
from probes.program.options import add_program

JOBS = ("auto", "operators", *NAMES)


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("vary", help="which settings change bits here: where would this break if I moved it?")
    command.add_argument(
        "--job",
        action="append",
        choices=JOBS,
        help="auto: all that this Python can run (default); operators: only the battery; or one job with the battery",
    )
    add_target(command)
    command.add_argument(
        "--pins", metavar="FILE", help="write the settings under which bits are the same on every CPU imitated here"
    )
    command.add_argument("--all", action="store_true", help="every setting with what it changed")
    add_rendering(command)
    add_program(command, trace=False)
    command.set_defaults(execute=execute, trace=None, window=None, repeat=None)


def execute(options: argparse.Namespace) -> int:
    from audit import varying
    from reports import render

    found = varying.run(options)
    text = render.variation(found, options.format, all=options.all, color=not options.output and color())
    deliver(text, options)
    return found.exit
