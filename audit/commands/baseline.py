"""`audit baseline`: write down what a machine is held to. Only a person runs it; a check never does."""

from __future__ import annotations

import argparse

from audit.commands.check import add_image
from audit.commands.options import add_target, write
from audit.commands.run import JOBS
from audit.errors import SAME


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("baseline", help="write the file that audit check holds machines against")
    command.add_argument(
        "reports",
        nargs="*",
        metavar="REPORT[#TARGET]",
        help="reports of audit run, one for each class of hardware (default, with --update: measure this machine now)",
    )
    command.add_argument("-o", "--output", metavar="FILE", help="the baseline (default: the file to update)")
    update = command.add_mutually_exclusive_group()
    update.add_argument("--update", metavar="FILE", help="accept what is there: replace these classes in this baseline")
    update.add_argument(
        "--update-new-only", metavar="FILE", help="add new classes and new facts to this baseline, and change no line"
    )
    command.add_argument(
        "--policy", metavar="FILE", help="hold what this policy has rules for, too (default: as check)"
    )
    add_target(command)
    add_image(command)
    command.add_argument("--job", action="append", choices=JOBS, help="what is measured without a report, as for check")
    command.add_argument("--allow-edited", action="store_true", help="read a report that was edited after writing")
    command.add_argument("--quiet", action="store_true", help="print nothing")
    command.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    from audit.checking import make
    from probes import streams
    from reports.render.escape import visible

    text, path, said = make(options)
    write(path, text)
    for line in () if options.quiet else said:
        streams.show(visible(f"{path}: {line}") + "\n")
    return SAME
