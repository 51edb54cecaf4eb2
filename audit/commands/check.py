"""`audit check`: is this machine still what the baseline says, and if not, what changed and did it change results."""

from __future__ import annotations

import argparse

from audit.commands.options import add_target
from audit.commands.outputs import add_outputs, deliver, ready
from audit.commands.run import JOBS


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("check", help="hold a machine against a baseline: what drifted, and does it matter")
    command.add_argument(
        "report", nargs="?", metavar="REPORT[#TARGET]", help="a report of audit run (default: measure this machine now)"
    )
    command.add_argument(
        "--baseline", required=True, metavar="FILE", help="what audit baseline wrote, or a whole report"
    )
    command.add_argument(
        "--policy",
        metavar="FILE",
        help="rules: a TOML file, strict or results-only (default: audit.toml or [tool.audit] of pyproject.toml here)",
    )
    add_target(command)
    add_image(command)
    command.add_argument(
        "--job",
        action="append",
        choices=JOBS,
        help="operators: facts and battery (default); none: facts only; auto: all that this Python can run; or one job",
    )
    command.add_argument(
        "--previous", metavar="FILE", help="an earlier check, saved as JSON: says which findings are new"
    )
    command.add_argument("--all", action="store_true", help="every change, not only what decides the answer")
    command.add_argument("--allow-edited", action="store_true", help="read a report that was edited after writing")
    add_outputs(command)
    command.set_defaults(execute=execute)


def add_image(command: argparse.ArgumentParser) -> None:
    """--container and what belongs to it, for a command that measures one target."""
    command.add_argument(
        "--container", action="append", default=[], metavar="IMAGE", help="measure this image (or FILE.sif) instead"
    )
    command.add_argument("--container-python", metavar="PYTHON", help="the interpreter in it (default: found)")
    command.add_argument("--pull", action="store_true", help="pull the image if the engine does not have it")
    command.set_defaults(exec=[], dockerfile=[])


def execute(options: argparse.Namespace) -> int:
    from audit.checking import run

    ready(options, [options.baseline])
    found, inputs = run(options)
    deliver(found, options, inputs)
    return found.exit
