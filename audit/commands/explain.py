"""`audit explain`: what a fact, a rule or a component is, what decides it, and what to do about it."""

from __future__ import annotations

import argparse

from audit.commands.options import add_rendering, color, deliver
from audit.errors import SAME


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("explain", help="what a fact, a rule or a component is, and what decides it")
    command.add_argument("name", metavar="FACT|RULE|COMPONENT", help="such as blas.kernel, numeric-drift or libm")
    command.add_argument("--all", action="store_true", help="all that decides it and all that it decides")
    add_rendering(command)
    command.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    from audit.explaining import explain
    from reports import render

    found = explain(options.name)
    text = render.explain(found, options.format, all=options.all, color=not options.output and color())
    deliver(text, options)
    return SAME
