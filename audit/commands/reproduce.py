"""`audit reproduce`: make this machine give a report's bits, and prove by what."""

from __future__ import annotations

import argparse

from audit.commands.options import add_rendering, add_target, color, deliver
from probes.program.options import add_program


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("reproduce", help="make this machine give a report's bits, and prove by what")
    command.add_argument("report", metavar="REPORT[#TARGET]", help="the report whose bits this machine shall give")
    add_target(command)
    command.add_argument(
        "--container",
        metavar="IMAGE",
        help="search in containers of this image (default: the report's own image, if the engine has it)",
    )
    command.add_argument(
        "--packages",
        action="store_true",
        help="try the report's versions of packages, in environments that uv makes and that are removed afterwards",
    )
    command.add_argument("--wheels", metavar="DIR", help="take the wheels of --packages from here, without a network")
    command.add_argument("--save", metavar="FILE", help="where the proof is saved (default: REPORT-reproduction.json)")
    command.add_argument("--all", action="store_true", help="every try, and everything that still differs")
    command.add_argument("--allow-edited", action="store_true", help="read a report that was edited after writing")
    add_rendering(command)
    add_program(command, trace=False)
    command.set_defaults(execute=execute, trace=None, window=None, repeat=None)


def execute(options: argparse.Namespace) -> int:
    from audit import reproducing
    from reports import render

    found, inputs = reproducing.run(options)
    text = render.reproduction(found, options.format, all=options.all, color=not options.output and color())
    deliver(text, options, inputs)
    return found.exit
